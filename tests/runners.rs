//! Four ways to get an answer, behind one function.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ephemera::app::App;
use ephemera::build::{self, Artifact, Placement};
use ephemera::config::Project;
use ephemera::nn::cpu::Cpu;
use ephemera::nn::devices::Devices;
use ephemera::progress::Progress;
use ephemera::serve::{Options, Server};
use ephemera_gait::Gait;
use ephemera_http::{Function, HttpRequest};
use ephemera_infer::Infer;
use ephemera_ocr::Ocr;

/// A request as a client makes it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    /// `x-ephemera-peak-memory`, where there is a sandbox to measure.
    pub(crate) peak_bytes: Option<u64>,
    /// `x-request-id`.
    pub(crate) request_id: Option<String>,
    /// `x-ephemera-device`: where the models ran, which our host says.
    pub(crate) device: Option<String>,
}

impl Asked {
    /// A file's bytes, as they are, to `/v1/ocr`.
    pub(crate) fn file(path: &Path, accept: &str) -> Result<Self> {
        let body = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let content_type = match path.extension().and_then(|extension| extension.to_str()) {
            Some("png") => "image/png",
            Some("jpg") => "image/jpeg",
            Some("tif") => "image/tiff",
            Some("webp") => "image/webp",
            other => anyhow::bail!("a request with extension {other:?}"),
        };
        Ok(Self::post(content_type, accept, body))
    }

    /// The function that spin.toml has at its path.
    fn function(&self) -> Result<&'static str> {
        let path = self.target.split('?').next().unwrap_or_default();
        PROJECT.routes.find(path).context("a route")
    }

    /// `body`, as `content_type`, to `/v1/ocr`.
    pub(crate) fn post(content_type: &str, accept: &str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("accept", accept.to_owned()),
        ];
        Self {
            method: "POST",
            target: "/v1/ocr".to_owned(),
            headers,
            body,
        }
    }
}

/// The functions' code in this process.
pub(crate) fn native(asked: &Asked) -> Result<Answered> {
    static OCR: LazyLock<Ocr> = LazyLock::new(|| load("ocr"));
    static GAIT: LazyLock<Gait> = LazyLock::new(|| load("gait"));
    static INFER: LazyLock<Infer> = LazyLock::new(|| load("infer"));
    let headers: Vec<_> = asked
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let request = HttpRequest {
        method: asked.method,
        target: &asked.target,
        headers: &headers,
        body: asked.body.clone(),
    };
    let answer = match asked.function()? {
        "ocr" => OCR.handle(request),
        "gait" => GAIT.handle(request),
        "infer" => INFER.handle(request),
        other => anyhow::bail!("function `{other}`"),
    };
    let header = |name: &str| {
        let found = answer.headers.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.clone())
    };
    Ok(Answered {
        status: answer.status,
        content_type: header("content-type").unwrap_or_default(),
        peak_bytes: None,
        request_id: header("x-request-id"),
        device: None,
        body: answer.body,
    })
}

/// A function, loaded from the bundle that its snapshot is made of.
fn load<F: Function>(name: &str) -> F {
    let models = &PROJECT.function(name).expect("spin.toml has it").models;
    let bundle = ephemera::models::bundle(&PROJECT.root.join("models"), models)
        .expect("the models are committed");
    let loaded = F::load(bundle.stream.as_slice());
    loaded.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The component in our host, over a real connection.
pub(crate) fn host(asked: &Asked) -> Result<Answered> {
    over_http(&HOST.address, asked)
}

/// The component without its models, which our host runs natively: over a real connection, too.
pub(crate) fn device(asked: &Asked) -> Result<Answered> {
    over_http(&DEVICE_HOST.address, asked)
}

/// The component under `wasmtime serve`.
pub(crate) fn wasmtime(asked: &Asked) -> Result<Answered> {
    let running = match asked.function()? {
        "ocr" => &OCR_WASMTIME,
        "infer" => &INFER_WASMTIME,
        _ => &GAIT_WASMTIME,
    };
    over_http(&running.address, asked)
}

/// A way to get an answer.
pub(crate) type Runner = fn(&Asked) -> Result<Answered>;

/// All of them, by name.
pub(crate) const ALL: [(&str, Runner); 4] = [
    ("native", native),
    ("host", host),
    ("host, wasi-nn", device),
    ("wasmtime serve", wasmtime),
];

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in it")
        .to_owned()
}

/// What spin.toml declares.
pub(crate) static PROJECT: LazyLock<Project> =
    LazyLock::new(|| Project::open(&root().join("spin.toml")).expect("spin.toml is valid"));

/// The built functions.
static ARTIFACTS: LazyLock<Vec<Artifact>> = LazyLock::new(|| {
    let built = build::build(&PROJECT, &[], &Progress::stderr());
    built.unwrap_or_else(|error| panic!("{error:#}"))
});

/// The same functions with their models outside.
static DEVICE_ARTIFACTS: LazyLock<Vec<Artifact>> = LazyLock::new(|| {
    let built = build::build_as(Placement::Host, &PROJECT, &[], &Progress::stderr());
    built.unwrap_or_else(|error| panic!("{error:#}"))
});

/// All of them.
pub(crate) fn device_artifacts() -> &'static [Artifact] {
    &DEVICE_ARTIFACTS
}

/// All of them.
pub(crate) fn artifacts() -> &'static [Artifact] {
    &ARTIFACTS
}

/// The one of this name.
pub(crate) fn artifact(name: &str) -> &'static Artifact {
    let found = ARTIFACTS.iter().find(|artifact| artifact.name == name);
    found.unwrap_or_else(|| panic!("spin.toml has no `{name}`"))
}

/// Our host, serving until the process ends.
pub(crate) struct Host {
    pub(crate) address: String,
    pub(crate) app: Arc<App>,
    _server: Server,
    _executor: tokio::runtime::Runtime,
}

pub(crate) fn project() -> Project {
    Project::open(&root().join("spin.toml")).expect("spin.toml is valid")
}

pub(crate) static HOST: LazyLock<Host> = LazyLock::new(|| Host::start(project(), artifacts()));

pub(crate) static DEVICE_HOST: LazyLock<Host> = LazyLock::new(|| {
    let devices = processor(device_artifacts()).expect("the graphs load");
    Host::start_on(Some(&devices), project(), device_artifacts())
});

/// This machine's processor, with the graphs of `artifacts`.
pub(crate) fn processor(artifacts: &[Artifact]) -> Result<Arc<Devices>> {
    let mut cpu = Cpu::default();
    for artifact in artifacts {
        if let Some(graphs) = &artifact.graphs {
            cpu.load(graphs)?;
        }
    }
    Ok(Arc::new(Devices::new(vec![Box::new(cpu)], 2)?))
}

impl Host {
    /// Serves `project`.
    pub(crate) fn start(project: Project, artifacts: &[Artifact]) -> Self {
        Self::start_on(None, project, artifacts)
    }

    fn start_on(devices: Option<&Arc<Devices>>, project: Project, artifacts: &[Artifact]) -> Self {
        let executor = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("an executor starts");
        let options = Options {
            listen: ([127, 0, 0, 1], 0).into(),
            ..Options::default()
        };
        let app = App::load_on(devices, project, artifacts, 2).expect("the functions load");
        let app = Arc::new(app);
        let server = executor
            .block_on(Server::start(Arc::clone(&app), options))
            .expect("a port is free");
        Host {
            address: server.address().to_string(),
            app,
            _server: server,
            _executor: executor,
        }
    }
}

/// A `wasmtime serve` that ends with the test process.
pub(crate) struct Wasmtime {
    pub(crate) address: String,
}

static OCR_WASMTIME: LazyLock<Wasmtime> = LazyLock::new(|| Wasmtime::start("ocr"));
static GAIT_WASMTIME: LazyLock<Wasmtime> = LazyLock::new(|| Wasmtime::start("gait"));
static INFER_WASMTIME: LazyLock<Wasmtime> = LazyLock::new(|| Wasmtime::start("infer"));

impl Wasmtime {
    fn start(function: &'static str) -> Self {
        Self::start_at(artifact(function).component.clone())
    }

    /// The same for a component that is not this repository's.
    pub(crate) fn start_at(component: PathBuf) -> Self {
        let (send, address) = mpsc::channel();
        // The kernel ends the child with the thread that started it, and a test's thread ends with the test.
        std::thread::spawn(move || {
            if let Err(error) = serve_with_wasmtime(&component, &send) {
                eprintln!("wasmtime serve: {error:#}");
            }
        });
        let address = address.recv().expect("wasmtime serve listens");
        Self { address }
    }
}

/// Starts it, sends its address, and stays with it.
fn serve_with_wasmtime(component: &Path, address: &mpsc::Sender<String>) -> Result<()> {
    let mut child = ending_with_us(env!("CARGO_BIN_EXE_wasmtime"))
        .args(["serve", "--addr", "127.0.0.1:0"])
        .arg(component)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting it")?;
    let stderr = child.stderr.take().context("its standard error")?;
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        match line.split_once("http://") {
            // It may name other addresses later, when nobody asks any more.
            Some((_, listening)) => drop(address.send(listening.trim_end_matches('/').to_owned())),
            None => eprintln!("wasmtime serve: {line}"),
        }
    }
    anyhow::bail!("ended, {}", child.wait()?)
}

/// Statics are never dropped, so the kernel is asked to end the child: `setpriv` comes with util-linux.
fn ending_with_us(program: &str) -> Command {
    let available = Command::new("setpriv")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !available.is_ok_and(|status| status.success()) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

pub(crate) fn over_http(address: &str, asked: &Asked) -> Result<Answered> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(600)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder()
        .method(asked.method)
        .uri(format!("http://{address}{}", asked.target));
    for (name, value) in &asked.headers {
        request = request.header(*name, value);
    }
    let response = if asked.method == "GET" {
        agent.run(request.body(())?)?
    } else {
        agent.run(request.body(asked.body.as_slice())?)?
    };
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let content_type = header("content-type").unwrap_or_default();
    let peak = header("x-ephemera-peak-memory");
    let request_id = header("x-request-id");
    let device = header("x-ephemera-device");
    let status = response.status().as_u16();
    let body = response.into_body().read_to_vec()?;
    let peak_bytes = peak.map(|peak| peak.parse()).transpose()?;
    ensure!(
        status < 500 || peak_bytes.is_none() || !body.is_empty(),
        "an empty failure"
    );
    Ok(Answered {
        status,
        content_type,
        body,
        peak_bytes,
        request_id,
        device,
    })
}
