//! Component + models -> the same component with its models loaded.
//!
//! The component is instantiated, its `wizer-initialize` reads the models from standard input, and the memory it leaves behind becomes
//! the component's initial memory. The sandbox is closed and its time and randomness are fixed, so the same inputs give the same bytes.

use anyhow::{Context, Result, anyhow, ensure};
use wasmparser::{Parser, Payload};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm, Store};
use wasmtime_wasi::cli::StdoutStream;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx};
use wasmtime_wizer::Wizer;

use crate::state::{Sandbox, link};
use crate::{nn, outbound_redis};

/// The export that loads the models.
pub const INIT: &str = "wizer-initialize";

/// What a failing guest may say about it, in bytes.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// The "random" bytes a guest gets while it is snapshotted: whatever it derives from them is the same in every build and every request.
const FIXED_RANDOM: [u8; 16] = *b"ephemera/fixed/1";

/// Whether `component` has the export that loads models.
///
/// # Errors
///
/// Bytes that do not parse.
pub fn loads(component: &[u8]) -> Result<bool> {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.context("parsing the component")? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // Modules and inner components have exports of their own.
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    if export?.name.name == INIT {
                        return Ok(true);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(false)
}

/// Loads the models in the tar stream `models` into `component`.
///
/// Blocks for as long as compiling and loading take, on a thread of its own.
///
/// # Errors
///
/// A component that does not instantiate, lacks the export or fails while loading; what it wrote to standard error is in the error.
pub fn snapshot(component: &[u8], models: Vec<u8>) -> Result<Vec<u8>> {
    // A caller may itself run on an asynchronous executor, in which a second one cannot be entered.
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .context("starting an executor")?
                    .block_on(run(component, models))
            })
            .join()
            .map_err(|_| anyhow!("the snapshot panicked"))?
    })
}

async fn run(component: &[u8], models: Vec<u8>) -> Result<Vec<u8>> {
    let mut config = Config::new();
    // Values computed while loading must not depend on the machine that builds.
    config.relaxed_simd_deterministic(true);
    // The code runs once, for about a second: compiling it quickly matters more.
    config
        .cranelift_opt_level(OptLevel::None)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    let engine = Engine::new(&config)?;

    let output = MemoryOutputPipe::new(MAX_OUTPUT_BYTES);
    let wasi = closed_world(models, output.clone());
    let mut store = Store::new(&engine, Sandbox::unlimited(wasi));

    let mut linker = Linker::new(&engine);
    link(&mut linker)?;
    // A component of jobs imports files and Redis; while it loads, there are none. The wider world includes what is linked already.
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    outbound_redis::link(&mut linker)?;
    // A function whose models are outside imports it; while it loads, there are no graphs.
    nn::wasi::link(&mut linker)?;
    let instantiate = async |store: &mut Store<Sandbox>, component: &Component| {
        linker.instantiate_async(store, component).await
    };

    let mut wizer = Wizer::new();
    // Kept, because the component's own type still names it: a snapshot without it does not validate.
    wizer.init_func(INIT).keep_init_func(true);
    let (snapshot, _) = wizer
        .run_component(&mut store, component, instantiate)
        .await
        .map_err(anyhow::Error::from)
        .with_context(|| match said(&output) {
            said if said.is_empty() => "loading the models".to_owned(),
            said => format!("loading the models; the function said:\n{said}"),
        })?;
    ensure!(
        store.data().holds_nothing(),
        "the function still holds host resources after loading, which no later instance will have: read the models from \
         the WASI 0.2 standard input, and print nothing; it said: {}",
        said(&output)
    );
    Ok(snapshot)
}

/// Models on standard input, both outputs captured, frozen clocks, fixed randomness, nothing else.
fn closed_world(models: Vec<u8>, output: impl StdoutStream + Clone + 'static) -> WasiCtx {
    let random = || Deterministic::new(FIXED_RANDOM.to_vec());
    WasiCtx::builder()
        .stdin(MemoryInputPipe::new(models))
        .stdout(output.clone())
        .stderr(output)
        .secure_random(random())
        .insecure_random(random())
        .insecure_random_seed(u128::from_le_bytes(FIXED_RANDOM))
        .wall_clock(Frozen)
        .monotonic_clock(Frozen)
        .build()
}

fn said(output: &MemoryOutputPipe) -> String {
    String::from_utf8_lossy(&output.contents())
        .trim()
        .to_owned()
}

/// A clock that always shows its start.
struct Frozen;

impl HostWallClock for Frozen {
    fn resolution(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(1)
    }

    fn now(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}
