//! The engine's measuring program, `functions/engine/examples/probe.rs`: built for this machine or for the sandbox, and run.
//!
//! In the sandbox it runs as functions do: compiled under the same settings, its epoch ticking, but as a plain module with some folders
//! to read.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use wasmtime::{Engine, InstancePre, Linker, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx};

use super::Measured;
use crate::epoch::Ticker;
use crate::progress::Progress;
use crate::{cargo, runtime, targets};

const PACKAGE: &str = "ephemera-engine";
const EXAMPLE: &str = "probe";

/// With `--profile` it names some hundred steps.
const MAX_OUTPUT_BYTES: usize = 4 << 20;

/// The measuring program, ready to run.
pub struct Probe(Form);

enum Form {
    Process(PathBuf),
    Sandbox(Box<Sandbox>),
}

/// How native code is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As `cargo run --release`: what is measured.
    Release,
    /// As `cargo test`.
    Dev,
}

impl Probe {
    /// For this machine, in the workspace at `root`; it can run graphs in tract too.
    ///
    /// # Errors
    ///
    /// It does not compile.
    pub fn native(root: &Path, profile: Profile, progress: &Progress) -> Result<Self> {
        progress.note("compiling the measuring program for this machine");
        let mut cargo = cargo::native(root);
        // Selected as the command that runs us was, so that dependencies have the same features and are not compiled again.
        match profile {
            Profile::Release => {
                cargo.args(["--release", "--package", PACKAGE, "--package", "ephemera"])
            }
            Profile::Dev => cargo.arg("--workspace"),
        };
        cargo.args(["--example", EXAMPLE]);
        let program = cargo::artifact(cargo, "example").context("building the probe")?;
        Ok(Self(Form::Process(program)))
    }

    /// For the sandbox, without tract. It can read the files in `folders`, under the same paths as here.
    ///
    /// # Errors
    ///
    /// It does not compile.
    pub fn wasm(root: &Path, folders: &[PathBuf], progress: &Progress) -> Result<Self> {
        progress.note("compiling the measuring program for WebAssembly");
        Self::sandboxed(root, "relaxed-simd", None, folders, progress)
    }

    /// The same with tract.
    ///
    /// # Errors
    ///
    /// It does not compile.
    pub fn wasm_with_tract(root: &Path, folders: &[PathBuf], progress: &Progress) -> Result<Self> {
        progress.note("compiling tract for WebAssembly, which takes some minutes whenever the engine has changed");
        // Both programs have the same name, so each has a folder of its own.
        let apart = root.join("target/bench/tract");
        Self::sandboxed(root, "relaxed-simd,tract", Some(&apart), folders, progress)
    }

    fn sandboxed(
        root: &Path,
        features: &str,
        target: Option<&Path>,
        folders: &[PathBuf],
        progress: &Progress,
    ) -> Result<Self> {
        targets::ensure(root, progress)?;
        let mut cargo = cargo::guest(root);
        cargo
            .args(["--package", PACKAGE, "--example", EXAMPLE])
            .args(["--no-default-features", "--features", features]);
        if let Some(target) = target {
            cargo.arg("--target-dir").arg(target);
        }
        let module = cargo::artifact(cargo, "example").context("building the probe")?;
        let sandbox = Sandbox::open(&module, folders)?;
        Ok(Self(Form::Sandbox(Box::new(sandbox))))
    }

    /// Runs it with `arguments`, in a process or an instance of its own.
    ///
    /// # Errors
    ///
    /// It fails, with its last words, or says something that is no measurement.
    pub fn measure(&self, arguments: &[String]) -> Result<Measured> {
        let answer = match &self.0 {
            Form::Process(program) => process(program, arguments)?,
            Form::Sandbox(sandbox) => sandbox.run(arguments)?,
        };
        serde_json::from_slice(&answer).context("reading what the probe says")
    }
}

fn process(program: &Path, arguments: &[String]) -> Result<Vec<u8>> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the probe failed: {}", said.trim());
    Ok(output.stdout)
}

/// A module with WASI preview 1, compiled.
struct Sandbox {
    engine: Engine,
    instance: InstancePre<WasiP1Ctx>,
    ticker: Ticker,
    executor: tokio::runtime::Runtime,
    folders: Vec<PathBuf>,
}

impl Sandbox {
    fn open(module: &Path, folders: &[PathBuf]) -> Result<Self> {
        let engine = runtime::compiler()?;
        let module = Module::from_file(&engine, module)
            .map_err(anyhow::Error::from)
            .with_context(|| format!("compiling {}", module.display()))?;
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_async(&mut linker, |wasi| wasi)?;
        Ok(Self {
            instance: linker.instantiate_pre(&module)?,
            ticker: Ticker::start(engine.clone())?,
            engine,
            executor: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .context("starting the executor")?,
            folders: folders.to_vec(),
        })
    }

    /// Runs the module's `_start` in a fresh instance; returns its standard output.
    fn run(&self, arguments: &[String]) -> Result<Vec<u8>> {
        let (output, problems) = (
            MemoryOutputPipe::new(MAX_OUTPUT_BYTES),
            MemoryOutputPipe::new(MAX_OUTPUT_BYTES),
        );
        let mut wasi = WasiCtx::builder();
        wasi.arg(EXAMPLE)
            .args(arguments)
            .stdout(output.clone())
            .stderr(problems.clone())
            // Reading files on other threads would only add noise.
            .allow_blocking_current_thread(true);
        for folder in &self.folders {
            let guest = folder.display().to_string();
            wasi.preopened_dir(folder, guest, FsPerms::ReadOnly)
                .map_err(anyhow::Error::from)
                .with_context(|| format!("opening {}", folder.display()))?;
        }
        let mut store = Store::new(&self.engine, wasi.build_p1());
        runtime::yielding(&mut store);
        let _running = self.ticker.running();
        let ended = self.executor.block_on(async {
            let instance = self.instance.instantiate_async(&mut store).await?;
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
            start.call_async(&mut store, ()).await
        });
        match ended {
            Ok(()) => Ok(output.contents().to_vec()),
            Err(error) if matches!(error.downcast_ref(), Some(I32Exit(0))) => {
                Ok(output.contents().to_vec())
            }
            Err(error) => {
                let said = problems.contents();
                let said = String::from_utf8_lossy(&said).trim().to_owned();
                Err(anyhow::Error::from(error).context(format!("the probe failed: {said}")))
            }
        }
    }
}
