//! The unruly guest, built and served.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use ephemera::admission::Budget;
use ephemera::app::App;
use ephemera::build::{self, Artifact};
use ephemera::config::Project;
use ephemera::progress::Progress;
use ephemera::serve::{Options, Server};
use tracing_subscriber::fmt::MakeWriter;

/// What all servers of this process logged.
static LOG: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(Mutex::default);

static UNRULY: LazyLock<Vec<Artifact>> = LazyLock::new(|| {
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(Log);
    log.init();
    build::build(&project(""), &[], &Progress::silent()).expect("the guest builds")
});

/// A server of its own, and the threads that it runs on.
pub(crate) struct Running {
    pub(crate) server: Server,
    _executor: tokio::runtime::Runtime,
}

/// As many instances as there are cores, unless `change` says otherwise.
pub(crate) fn start(change: impl FnOnce(&mut Options)) -> Running {
    start_with("", change)
}

/// The same, with these limits instead of the manifest's.
pub(crate) fn start_with(limits: &str, change: impl FnOnce(&mut Options)) -> Running {
    let artifacts = &*UNRULY;
    let mut options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Options::default()
    };
    change(&mut options);
    let Budget { instances, .. } = options.budget;
    let app = App::load(project(limits), artifacts, instances).expect("it loads");
    let executor = ephemera::serve::executor().expect("threads");
    let server = executor.block_on(Server::start(Arc::new(app), options));
    Running {
        server: server.expect("a free port"),
        _executor: executor,
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn instances(&self) -> usize {
        self.server.app().runtime().live_instances()
    }

    /// Waits until `instances` are alive.
    pub(crate) fn wait_for_instances(&self, instances: usize) {
        let since = Instant::now();
        while self.instances() != instances {
            let now = self.instances();
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "expected {instances} instances, there are {now}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What was logged so far.
pub(crate) fn log() -> String {
    let log = LOG.lock().expect("nobody panicked while logging");
    String::from_utf8_lossy(&log).into_owned()
}

fn project(limits: &str) -> Project {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/unruly/spin.toml");
    let text = std::fs::read_to_string(&manifest).expect("the manifest is there");
    let text = match limits {
        "" => text,
        limits => text.replace("timeout_s = 3\ncpu_s = 1\n", limits),
    };
    let root = manifest.parent().expect("a file has a folder");
    let root = root.canonicalize().expect("it is there");
    Project::parse(&text, &root).expect("the manifest is good")
}

struct Log;

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().expect("as above").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
