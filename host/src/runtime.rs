//! Precompiled component + request -> response, in a fresh instance that is gone afterwards.
//!
//! In: a `.cwasm` file, mapped rather than read. Out: [`Loaded::handle`]. Nothing is kept between requests: the pool hands out address
//! space only, memory is the component's image mapped copy-on-write, and what a request dirtied goes back to the kernel when its store is
//! dropped. Connections, queues and files are left to others.

use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue};
use hyper::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::component::{Component, Linker};
use wasmtime::error::Context;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::body::Pieces;
use crate::config::Limits;
use crate::epoch::Ticker;
use crate::failure::Failure;
use crate::grants::Grants;
use crate::guest_log::GuestLog;
use crate::procfs::thread_minor_faults;
use crate::snapshot::INIT;
use crate::state::{Living, Sandbox, link};

/// Images up to this span are mapped however sparse they are. Above Wasmtime's default of 16 MiB, because what tract leaves behind when it
/// loads a graph is large and full of holes, and as large as the memory a request gets by default.
pub const DENSE_BYTES: u64 = 128 << 20;

/// Core modules in one component: the function, the WASI adapter, and the two that join them.
const MODULES: u32 = 8;

/// A function's answer is text about one request; the host holds it whole, so it is bounded.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Settings that decide what compiled code looks like. Code compiled under them runs in every engine that has them.
///
/// # Errors
///
/// Settings that this processor or this build of Wasmtime cannot honour.
pub fn compiler() -> Result<Engine> {
    Engine::new(&code_settings())
}

fn code_settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(DENSE_BYTES)
        // WASI 0.2 functions are called one at a time.
        .concurrency_support(false);
    config
}

/// An engine with room for a fixed number of instances.
pub struct Runtime {
    engine: Engine,
    linker: Linker<Sandbox>,
    ticker: Arc<Ticker>,
    living: Arc<Living>,
}

/// A function, ready to be instantiated for every request.
pub struct Loaded {
    name: Arc<str>,
    limits: Limits,
    grants: Arc<Grants>,
    pre: ProxyPre<Sandbox>,
    ticker: Arc<Ticker>,
    living: Arc<Living>,
}

impl Runtime {
    /// An engine for at most `instances` instances at once.
    ///
    /// # Errors
    ///
    /// Not enough address space, or no thread for the clock.
    pub fn new(instances: u32) -> anyhow::Result<Self> {
        let mut config = code_settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        link(&mut linker)?;
        Ok(Self {
            ticker: Arc::new(Ticker::start(engine.clone())?),
            engine,
            linker,
            living: Arc::default(),
        })
    }

    /// Maps the precompiled component at `path`, made under [`compiler`]'s settings.
    ///
    /// # Errors
    ///
    /// A file that another version or processor compiled, a component that is no HTTP function or that imports what `grants` has not, an
    /// image over `limits`.
    pub fn load(
        &self,
        name: &str,
        path: &Path,
        limits: Limits,
        grants: impl Into<Grants>,
    ) -> anyhow::Result<Loaded> {
        let component = map(&self.engine, path)
            .with_context(|| format!("loading the precompiled component of `{name}`"))?;
        let grants = grants.into();
        let pre = grants
            .link(&self.linker)
            .and_then(|linker| linker.instantiate_pre(&component))
            .and_then(ProxyPre::new)
            .with_context(|| format!("linking `{name}`"))?;
        Ok(Loaded {
            name: name.into(),
            limits,
            grants: Arc::new(grants),
            pre,
            ticker: Arc::clone(&self.ticker),
            living: Arc::clone(&self.living),
        })
    }

    /// How many instances there are now.
    pub fn live_instances(&self) -> usize {
        self.living.now()
    }

    /// How many there were at the busiest moment.
    pub fn most_instances(&self) -> usize {
        self.living.most()
    }
}

/// Address space for `instances` instances, nothing resident in any of it.
fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(MODULES))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(MODULES))
        .total_stacks(instances)
        .max_memories_per_component(1)
        .max_unused_warm_slots(instances)
        // All three are 0 already; stated, because the promise hangs on them.
        .linear_memory_keep_resident(0)
        .table_keep_resident(0)
        .async_stack_keep_resident(0)
        .pagemap_scan(Enabled::No);
    pool
}

/// Makes what runs in `store` give way to others at every tick of the engine's clock.
pub(crate) fn yielding<T>(store: &mut Store<T>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
}

#[allow(unsafe_code)]
fn map(engine: &Engine, path: &Path) -> Result<Component> {
    // SAFETY: `path` was written by `precompile` in this crate, under a name made of the engine's and the content's hash, and moved into
    // place by one rename; no code of ours opens it for writing again. Who else can write there can also replace this executable.
    unsafe { Component::deserialize_file(engine, path) }
}

impl Loaded {
    /// The function's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether others built it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.grants.foreign
    }

    /// What one request may take.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Answers one request in an instance of its own, which is gone when this returns or is dropped.
    ///
    /// # Errors
    ///
    /// The limits of memory and time, a trap, or no answer.
    pub async fn handle(&self, request: Request<Pieces>) -> Result<Response<Bytes>, Failure> {
        let deadline = self.limits.timeout;
        tokio::time::timeout(deadline, self.run(request))
            .await
            .unwrap_or(Err(Failure::Deadline(deadline)))
    }

    /// Loads the models in the tar stream `models` in an instance that was built without them, and drops it: what a snapshot saves.
    ///
    /// # Errors
    ///
    /// The function does not start or does not load.
    pub async fn load_models(&self, models: Vec<u8>) -> anyhow::Result<()> {
        let _running = self.ticker.running();
        let mut wasi = WasiCtx::builder();
        wasi.stdin(MemoryInputPipe::new(models));
        let mut store = self.store(wasi, usize::MAX);
        let pre = self.pre.instance_pre();
        let instance = pre.instantiate_async(&mut store).await?;
        let load = instance.get_typed_func::<(), ()>(&mut store, INIT)?;
        load.call_async(&mut store, ()).await?;
        Ok(())
    }

    /// How many pages, or runs of pages, the calling thread touches to make an instance and drop it.
    ///
    /// A mapped image costs some tens, whatever its size; one that is copied costs about one for every 4 KiB of it.
    ///
    /// # Errors
    ///
    /// The function does not start, or the kernel does not count.
    pub async fn start_faults(&self) -> anyhow::Result<u64> {
        let before = thread_minor_faults()?;
        let mut store = self.store(WasiCtx::builder(), self.limits.memory_bytes);
        let pre = self.pre.instance_pre();
        pre.instantiate_async(&mut store).await?;
        drop(store);
        Ok(thread_minor_faults()? - before)
    }

    /// A store, which counts as an instance from here on.
    fn store(&self, mut wasi: WasiCtxBuilder, memory_bytes: usize) -> Store<Sandbox> {
        let log = GuestLog::new(Arc::clone(&self.name));
        let wasi = wasi.stdout(log.clone()).stderr(log);
        let wasi = wasi.envs(&self.grants.environment).build();
        let sandbox = Sandbox::new(wasi, memory_bytes, &self.grants, &self.living);
        let mut store = Store::new(self.pre.engine(), sandbox);
        store.limiter(|sandbox| &mut sandbox.memory);
        yielding(&mut store);
        store
    }

    async fn run(&self, mut request: Request<Pieces>) -> Result<Response<Bytes>, Failure> {
        check_host(&mut request)?;
        let _running = self.ticker.running();
        let (send, answer) = oneshot::channel();
        let mut store = self.store(WasiCtx::builder(), self.limits.memory_bytes);

        // The store goes with this future: when the guest is done, whatever it still held is dropped, and a reader of an answer that will
        // not come is woken.
        let guest = async move {
            let result = async {
                let mut http = store.data_mut().http();
                let request = http.new_incoming_request(Scheme::Http, request)?;
                let out = http.new_response_outparam(send)?;
                let proxy = self.pre.instantiate_async(&mut store).await?;
                let handler = proxy.wasi_http_incoming_handler();
                handler.call_handle(&mut store, request, out).await
            }
            .await;
            (result, store.data().memory.refused)
        };
        let ((result, refused), response) = tokio::join!(guest, collect(answer));

        match (result, response) {
            (Ok(()), response) => response,
            // A guest that cannot allocate aborts; the refusal before that is the reason.
            (Err(_), _) if refused => Err(Failure::Memory {
                limit_bytes: self.limits.memory_bytes,
            }),
            (Err(trap), _) => Err(Failure::Function(trap.into())),
        }
    }
}

/// `wasi:http` wants an authority. HTTP/1.0 may leave it out, and no function of ours reads it.
fn check_host(request: &mut Request<Pieces>) -> Result<(), Failure> {
    if request.uri().authority().is_some() {
        return Ok(());
    }
    let host = request
        .headers_mut()
        .entry(HOST)
        .or_insert(HeaderValue::from_static("localhost"));
    host.to_str().map(|_| ()).map_err(|_| Failure::Host)
}

type Answer = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Takes the whole answer, while the guest writes it.
async fn collect(answer: oneshot::Receiver<Answer>) -> Result<Response<Bytes>, Failure> {
    let failed = |message: String| Failure::Function(anyhow::Error::msg(message));
    let response = answer
        .await
        .map_err(|_| failed("it ended without an answer".into()))?
        .map_err(|code| failed(format!("it answered with the error {code:?}")))?;
    let (mut head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => Failure::AnswerTooLarge {
                limit_bytes: MAX_ANSWER_BYTES,
            },
            Err(error) => failed(format!("its answer broke off: {error}")),
        })?;
    // The server states the length of what it sends.
    head.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(head, body.to_bytes()))
}
