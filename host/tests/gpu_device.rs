//! A real GPU, where there is one. Elsewhere each test says that there is none and is skipped, also where `CI` is set: a GPU is nothing that
//! `.ci/run` could install.

use std::path::Path;
use std::time::{Duration, Instant};

use ephemera::gpu::{check, survey};
use ephemera::nn::device::{Device, DeviceError};
use ephemera::nn::gpu::{self, DeviceChoice, GpuFlags, GpuSettings, Preset};
use ephemera_engine::Tensor;

/// The settings of a preset, or `None` where there is no GPU, which is said.
fn settings(preset: Preset) -> Option<GpuSettings> {
    if let Some(problem) = survey::survey().problem {
        println!("skipped: {problem}");
        return None;
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let flags = GpuFlags {
        preset,
        ..GpuFlags::default()
    };
    let made = flags.settings(DeviceChoice::Cuda(0), models, vec![]);
    Some(GpuSettings {
        program: env!("CARGO_BIN_EXE_ephemera").into(),
        ..made.expect("settings")
    })
}

fn line() -> Vec<(String, Tensor)> {
    let tensor = Tensor::u8(&[1, 48, 64, 3], vec![128; 48 * 64 * 3]).expect("a tensor");
    vec![("x".to_owned(), tensor)]
}

const RECOGNISER: &str = "ocr-recogniser-latin";

#[test]
fn every_model_answers_as_the_processor_does() {
    for preset in [Preset::Balanced, Preset::Performance] {
        let Some(settings) = settings(preset) else {
            return;
        };
        let report = check::check(&settings).expect("a report");
        report
            .print(false, &mut std::io::stdout())
            .expect("a table");
        assert!(report.agrees(), "{preset:?}: {report:?}");
    }
}

#[test]
fn a_limit_below_what_a_context_takes_is_refused_with_a_sentence() {
    let Some(settings) = settings(Preset::Balanced) else {
        return;
    };
    let small = GpuSettings {
        max_memory_bytes: Some(16 << 20),
        ..settings
    };
    let devices = gpu::devices(&small).expect("a GPU");
    let error = devices[0].run(RECOGNISER, line()).expect_err("too much");
    assert!(matches!(error, DeviceError::Memory { .. }), "{error}");
    assert!(error.to_string().contains("needs more than"), "{error}");
}

#[test]
fn memory_is_back_after_the_idle_time() {
    let Some(settings) = settings(Preset::Balanced) else {
        return;
    };
    let used = || survey::survey().gpus[0].memory_used_bytes.expect("a size");
    let idle = GpuSettings {
        idle: Some(Duration::from_secs(2)),
        ..settings
    };
    let before = used();
    let devices = gpu::devices(&idle).expect("a GPU");
    devices[0].run(RECOGNISER, line()).expect("a run");
    let during = used();
    assert!(during > before, "{before} bytes before, {during} during");
    let start = Instant::now();
    // Other tests of this file may have workers too; theirs end as well.
    while used() > before + (64 << 20) {
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "{} bytes",
            used()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
