//! Workers as real processes that run real graphs on the processor: whatever happens to one, who asked is answered, and the next request
//! is served by another.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemera::gpu::check;
use ephemera::models;
use ephemera::nn::device::{Device, DeviceError};
use ephemera::nn::gpu::{Built, DeviceChoice, Gpu, GpuFlags, GpuSettings};
use ephemera_engine::{Precision, RealGraph, Tensor};

/// Far more than any of these graphs takes.
const PLENTY: u64 = 8 << 30;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

fn models_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn settings() -> GpuSettings {
    let flags = GpuFlags::default();
    let made = flags.settings(DeviceChoice::Auto, models_folder(), vec![]);
    GpuSettings {
        program: env!("CARGO_BIN_EXE_ephemera").into(),
        run_limit: LONG,
        ..made.expect("settings")
    }
}

fn device(settings: &GpuSettings, limit_bytes: u64) -> Arc<Gpu> {
    Arc::new(Gpu::on_processor(settings, limit_bytes))
}

type Inputs = Vec<(String, Tensor)>;

/// A line of text's worth of grey.
fn line() -> Inputs {
    picture(48, 64)
}

/// Takes about a second.
fn page() -> Inputs {
    picture(960, 960)
}

fn picture(height: usize, width: usize) -> Inputs {
    let pixels = vec![128; height * width * 3];
    let tensor = Tensor::u8(&[1, height, width, 3], pixels).expect("a tensor");
    vec![("x".to_owned(), tensor)]
}

const RECOGNISER: &str = "ocr-recogniser-latin";
const DETECTOR: &str = "ocr-detector";

fn signal(signal: &str, pid: u32) {
    let status = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(status.expect("kill").success(), "kill {signal} {pid}");
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LONG, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Seconds of processor time that a process has taken, in clock ticks.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    // Field 14 of proc_pid_stat(5), counted from field 3.
    fields.split_ascii_whitespace().nth(14 - 3)?.parse().ok()
}

/// Runs `graph` in a thread and calls `act` with the worker's id once it has worked on it for a while.
fn in_the_middle(gpu: &Arc<Gpu>, act: impl FnOnce(u32)) -> Result<Inputs, DeviceError> {
    gpu.run(DETECTOR, picture(32, 32)).expect("a small run");
    let pid = gpu.worker_pid().expect("a worker");
    let before = ticks(pid).expect("a process");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| gpu.run(DETECTOR, page()));
        // A clock tick is 10 ms.
        wait_for("the run", || (ticks(pid)? > before + 10).then_some(()));
        act(pid);
        run.join().expect("no panic")
    })
}

fn causes(error: &DeviceError) -> String {
    match error {
        DeviceError::Failed { cause, .. } => format!("{cause:#}"),
        other => panic!("expected a failed run, got {other}"),
    }
}

#[test]
fn one_worker_answers_one_request_after_the_other() {
    let gpu = device(&settings(), PLENTY);
    assert_eq!(gpu.worker_pid(), None);
    let outputs = gpu.run(RECOGNISER, line()).expect("a run");
    assert_eq!(outputs[0].0, "logits");
    assert_eq!(outputs[0].1.shape, [1, 8, 541]);
    let pid = gpu.worker_pid();
    assert!(pid.is_some() && gpu.used_bytes().is_some_and(|bytes| bytes > 1 << 20));
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| gpu.run(RECOGNISER, line())))
            .collect();
        for run in runs {
            let again = run.join().expect("no panic").expect("a run");
            assert_eq!(again, outputs);
        }
    });
    assert_eq!(gpu.worker_pid(), pid);
    assert_eq!(gpu.load(), 0);
}

/// As `up --watch` has it: the same worker, for what was built before and what is built now.
#[test]
fn a_model_that_changes_takes_the_place_of_what_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join(RECOGNISER);
    std::fs::create_dir(&model).expect("a folder");
    for file in std::fs::read_dir(models_folder().join(RECOGNISER)).expect("a model") {
        let file = file.expect("a file").path();
        if file.is_file() {
            let name = file.file_name().expect("a name");
            std::fs::copy(&file, model.join(name)).expect("a copy");
        }
    }
    let settings = GpuSettings {
        models: folder.path().to_owned(),
        ..settings()
    };
    let gpu = device(&settings, PLENTY);
    let built = || {
        let names = [RECOGNISER.to_owned()];
        let bundle = models::bundle(folder.path(), &names).expect("a model");
        let described = models::descriptions(bundle.descriptions.as_slice());
        Built::new(Arc::clone(&gpu), described.expect("a stream").into())
    };
    let before = built();
    let outputs = before.run(RECOGNISER, line()).expect("a run");
    let pid = gpu.worker_pid();

    let table = model.join("model.toml");
    let mut text = std::fs::read_to_string(&table).expect("a manifest");
    text.insert_str(0, "# Changed.\n");
    std::fs::write(&table, text).expect("written");
    // What is on the device is what it was built with.
    assert_eq!(before.run(RECOGNISER, line()).expect("a run"), outputs);
    let after = built();
    assert_eq!(after.run(RECOGNISER, line()).expect("a run"), outputs);
    let error = before.run(RECOGNISER, line()).expect_err("it is gone");
    assert!(error.to_string().contains("was changed after"), "{error}");
    assert_eq!(after.run(RECOGNISER, line()).expect("a run"), outputs);
    assert_eq!(gpu.worker_pid(), pid, "the worker is the same");
}

#[test]
fn what_is_asked_wrongly_is_refused_and_costs_no_worker() {
    let gpu = device(&settings(), PLENTY);
    gpu.run(RECOGNISER, line()).expect("a run");
    let pid = gpu.worker_pid();
    for name in ["no-such-graph", "../models/ocr-detector", ""] {
        let error = gpu.run(name, line()).expect_err(name);
        assert!(matches!(error, DeviceError::UnknownGraph(_)), "{error}");
    }
    let wrong = vec![("y".to_owned(), line()[0].1.clone())];
    for inputs in [wrong, picture(47, 64), vec![]] {
        let error = gpu.run(RECOGNISER, inputs).expect_err("wrong inputs");
        assert!(matches!(error, DeviceError::Input { .. }), "{error}");
    }
    assert_eq!(gpu.worker_pid(), pid);
}

#[test]
fn a_worker_that_is_killed_fails_one_request_and_no_other() {
    let gpu = device(&settings(), PLENTY);
    let waiting = std::thread::scope(|scope| {
        let mut waiting = vec![];
        let result = in_the_middle(&gpu, |pid| {
            for _ in 0..3 {
                waiting.push(scope.spawn(|| gpu.run(RECOGNISER, line())));
            }
            wait_for("who waits", || (gpu.load() == 4).then_some(()));
            signal("-KILL", pid);
        });
        let error = result.expect_err("a killed worker");
        assert!(causes(&error).contains("signal 9"), "{}", causes(&error));
        assert!(error.to_string().contains("failed on cpu-f32"), "{error}");
        waiting
            .into_iter()
            .map(|run| run.join().expect("no panic").is_ok())
            .collect::<Vec<_>>()
    });
    assert_eq!(waiting, [true; 3]);
}

#[test]
fn a_worker_that_hangs_is_killed() {
    let gpu = device(
        &GpuSettings {
            run_limit: Duration::from_secs(10),
            ..settings()
        },
        PLENTY,
    );
    let mut stopped = 0;
    let result = in_the_middle(&gpu, |pid| {
        signal("-STOP", pid);
        stopped = pid;
    });
    let causes = causes(&result.expect_err("a stopped worker"));
    assert!(causes.contains("no answer within 10s"), "{causes}");
    let gone = || !Path::new("/proc").join(stopped.to_string()).exists();
    wait_for("its end", || gone().then_some(()));
    gpu.run(RECOGNISER, line()).expect("another worker");
}

#[test]
fn a_worker_that_has_nothing_to_do_ends() {
    let idle = GpuSettings {
        idle: Some(Duration::from_millis(300)),
        ..settings()
    };
    let gpu = device(&idle, PLENTY);
    let mut before = None;
    for _ in 0..2 {
        gpu.run(RECOGNISER, line()).expect("a run");
        let pid = gpu.worker_pid();
        assert_ne!(pid, before);
        before = pid;
        wait_for("its end", || gpu.worker_pid().is_none().then_some(()));
    }
}

#[test]
fn a_limit_that_is_too_small_for_a_graph_is_refused() {
    // The detector's weights fit; a page's activations do not.
    let gpu = device(&settings(), 60 << 20);
    let error = gpu.run(DETECTOR, page()).expect_err("too much");
    match &error {
        DeviceError::Memory { limit_bytes, .. } => assert_eq!(*limit_bytes, 60 << 20),
        other => panic!("expected a limit, got {other}"),
    }
    let sentence = format!(
        "graph `{DETECTOR}` needs more than the {} bytes that cpu-f32 may use",
        60 << 20
    );
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn a_worker_that_takes_more_than_its_limit_is_killed() {
    let model = models::read(&models_folder().join(DETECTOR)).expect("a model");
    let graph = RealGraph::load(&model.manifest, &model.onnx, Precision::F32, "cpu");
    let graph = graph.expect("a graph");
    let page = page();
    let given = [("x", page[0].1.clone())];
    let estimate = graph.weight_bytes() + graph.activation_bytes(&given).expect("a size");
    let free = device(&settings(), PLENTY);
    free.run(RECOGNISER, line()).expect("a small run");
    let program = free.used_bytes().expect("a size");
    // What the graph takes by itself fits, and so does the program; both together do not.
    let gpu = device(&settings(), estimate.max(program) + (24 << 20));
    gpu.run(RECOGNISER, line()).expect("a small run");
    let pid = gpu.worker_pid();
    let error = gpu.run(DETECTOR, page).expect_err("too much");
    assert!(matches!(error, DeviceError::Memory { .. }), "{error}");
    assert_ne!(gpu.worker_pid(), pid);
    gpu.run(RECOGNISER, line()).expect("another worker");
}

#[test]
fn garbage_from_a_worker_ends_it_and_the_third_is_not_started_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("worker");
    std::fs::write(
        &program,
        "#!/bin/sh\nprintf 'this is no frame at all' >&0\nexec sleep 60\n",
    )
    .expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a script");
    let gpu = device(
        &GpuSettings {
            program,
            ..settings()
        },
        PLENTY,
    );
    for _ in 0..2 {
        let error = gpu.run(RECOGNISER, line()).expect_err("garbage");
        let causes = causes(&error);
        assert!(
            causes.contains("does not begin as a frame does"),
            "{causes}"
        );
        assert_eq!(gpu.worker_pid(), None);
    }
    let error = gpu.run(RECOGNISER, line()).expect_err("a pause");
    assert!(matches!(error, DeviceError::Unavailable { .. }), "{error}");
    assert!(
        error.to_string().contains("failed 2 times in a row"),
        "{error}"
    );
}

fn bare_worker(theirs: UnixStream) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_ephemera"))
        .args([
            "gpu-worker",
            "--device",
            "cpu-f32",
            "--limit-bytes",
            "1000000000",
        ])
        .args(["--graphs-kept", "1", "--models"])
        .arg(models_folder())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a worker")
}

#[test]
fn garbage_to_a_worker_ends_it() {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let mut worker = bare_worker(theirs);
    ours.write_all(b"this is no frame either")
        .expect("a reader");
    let status = worker.wait().expect("its end");
    assert_eq!(status.code(), Some(2));
    let mut said = String::new();
    let mut stderr = worker.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("its log");
    assert!(said.contains("does not begin as a frame does"), "{said}");
}

/// Names the variable that makes this test program the parent of a worker.
const PARENT: &str = "EPHEMERA_TEST_IS_PARENT";

#[test]
fn a_worker_ends_with_its_host_in_the_middle_of_a_run() {
    if std::env::var_os(PARENT).is_some() {
        return be_a_parent();
    }
    let this = std::env::current_exe().expect("a path");
    let mut parent = Command::new(this)
        .args([
            "--exact",
            "a_worker_ends_with_its_host_in_the_middle_of_a_run",
            "--nocapture",
        ])
        .env(PARENT, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a parent");
    let lines = BufReader::new(parent.stdout.take().expect("a pipe")).lines();
    let mut pids = lines.map_while(Result::ok).filter_map(|line| {
        let (_, pid) = line.split_once("worker ")?;
        pid.trim().parse::<u32>().ok()
    });
    let worker = pids.next().expect("a worker");
    assert!(ticks(worker).is_some());
    parent.kill().expect("a parent");
    parent.wait().expect("its end");
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{worker}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    wait_for("the worker's end", || gone().then_some(()));
}

fn be_a_parent() {
    let gpu = device(&settings(), PLENTY);
    let _ = in_the_middle(&gpu, |pid| {
        println!("worker {pid}");
        std::thread::sleep(LONG);
    });
}

#[test]
fn stripped_graphs_agree_with_the_int8_ones_on_the_models_pictures() {
    let settings = settings();
    let report = check::check_on(&settings, &[device(&settings, PLENTY)]).expect("a report");
    report
        .print(false, &mut std::io::stdout())
        .expect("a table");
    // All models that have pictures to check: the detector, three recognisers, the gait network.
    assert_eq!(report.rows.len(), 5);
    assert!(report.agrees(), "{report:?}");
}
