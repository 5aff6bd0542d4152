//! Precompiled component + request -> response, in a fresh instance that is gone afterwards.
//!
//! In: a `.cwasm` file, mapped rather than read. Out: [`Loaded::handle`], and for what other triggers start [`Loaded::message`] and
//! [`Loaded::command`] (`runtime/`). Nothing is kept between requests: the pool hands out address
//! space only, memory is the component's image mapped copy-on-write, and what a request dirtied goes back to the kernel when its store is
//! dropped. Connections, queues and files are left to others.

mod calls;
mod entries;

use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use wasmtime::component::{Component, InstancePre, Linker, ResourceTableError};
use wasmtime::error::Context;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use crate::admission::Admission;
use crate::answer::collect;
use crate::body::Pieces;
use crate::config::{Limits, Start};
use crate::epoch::Ticker;
use crate::failure::Failure;
use crate::grants::Grants;
use crate::guest::{Long, Reason, Reins};
use crate::guest_log::GuestLog;
use crate::guest_stack;
use crate::nn;
use crate::nn::wasi::Session;
use crate::outbound_redis;
use crate::procfs::thread_minor_faults;
use crate::snapshot::INIT;
use crate::state::{Living, MAX_HANDLES, MAX_TABLE_ELEMENTS, Refused, Sandbox, link};
use crate::telemetry::record::Phase;
use crate::telemetry::trail::Trail;
use crate::turns::Turns;

pub use calls::{Command, NotHandled};
use entries::Entries;

/// Images up to this span are mapped however sparse they are. Above Wasmtime's default of 16 MiB, because what tract leaves behind when it
/// loads a graph is large and full of holes, and as large as the memory a request gets by default.
pub const DENSE_BYTES: u64 = 128 << 20;

/// Core modules in one component: the function, the WASI adapter, and the two that join them.
const MODULES: u32 = 8;

/// What a guest may hand to the host in one call, in bytes: the largest value of a key-value store with its key, and more. And what it may
/// get of random bytes.
const CALL_BYTES: usize = (1 << 20) + (64 << 10);
const RANDOM_BYTES: u64 = 64 << 10;

/// Guests that may run beside as many as may run, because they compute for long: whoever comes with little to do finds room all the same.
/// More would slow each other down until none was done in its time.
pub(crate) const ASIDE: u32 = 1;

/// How long a guest whose answer is complete may take to return, before it is ended.
const RETURN_TIME: Duration = Duration::from_millis(20);

/// How long one that is ended may take to get to its next loop, where its stack is taken; then it is dropped without.
const END_TIME: Duration = Duration::from_millis(100);

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
    turns: Arc<Turns>,
    living: Arc<Living>,
}

/// A function, ready to be instantiated for every request.
pub struct Loaded {
    name: Arc<str>,
    limits: Limits,
    grants: Arc<Grants>,
    pre: InstancePre<Sandbox>,
    entries: Entries,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
    living: Arc<Living>,
}

impl Runtime {
    /// An engine for at most `instances` instances at once, and [`ASIDE`] more that have computed for long.
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
            turns: Arc::new(Turns::new(cores())),
            engine,
            linker,
            living: Arc::default(),
        })
    }

    /// Maps the precompiled component at `path`, made under [`compiler`]'s settings.
    ///
    /// # Errors
    ///
    /// A file that another version or processor compiled, a component that nothing can start or that imports what `grants` has not, an image
    /// over `limits`.
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
            .with_context(|| format!("linking `{name}`"))?;
        let entries =
            anyhow::Context::with_context(Entries::of(&pre), || format!("linking `{name}`"))?;
        Ok(Loaded {
            entries,
            name: name.into(),
            limits,
            grants: Arc::new(grants),
            pre,
            ticker: Arc::clone(&self.ticker),
            turns: Arc::clone(&self.turns),
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
    let instances = instances.saturating_add(ASIDE);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(MODULES))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(MODULES))
        .total_stacks(instances)
        // No component takes another's share.
        .max_memories_per_component(1)
        .max_core_instances_per_component(MODULES)
        .max_tables_per_component(MODULES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_unused_warm_slots(instances)
        // All three are 0 already; stated, because the promise hangs on them.
        .linear_memory_keep_resident(0)
        .table_keep_resident(0)
        .async_stack_keep_resident(0)
        .pagemap_scan(Enabled::No);
    pool
}

/// How many guests can compute at once.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

    /// The same, to keep.
    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it can be started so: it exports what is called then.
    ///
    /// # Errors
    ///
    /// It cannot; the export that it lacks.
    pub(crate) fn check_start(&self, start: Start) -> anyhow::Result<()> {
        let checked = self.entries.check(start);
        anyhow::Context::with_context(checked, || format!("component `{}`", self.name))
    }

    /// Whether others built it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.grants.foreign
    }

    /// What one request may take.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Has runs of its graphs that nobody waits for any more counted in the budget of `admission`.
    pub(crate) fn counts_in(&self, admission: &Arc<Admission>) {
        if let Some(graphs) = &self.grants.graphs {
            graphs.devices().count_in(admission);
        }
    }

    /// The devices that its models may run on; none where they are inside.
    pub(crate) fn devices(&self) -> Option<String> {
        let graphs = self.grants.graphs.as_ref();
        graphs.map(|graphs| graphs.devices().labels())
    }

    /// Answers one request in an instance of its own, which is gone when this returns or is dropped.
    ///
    /// # Errors
    ///
    /// A limit, a trap, or no answer. Each is logged, with the guest's stack where it was computing.
    pub async fn handle(&self, request: Request<Pieces>) -> Result<Response<Bytes>, Failure> {
        self.handle_telling(request, Arc::default()).await
    }

    /// The same, and tells by `long` when the guest has computed for long.
    ///
    /// # Errors
    ///
    /// The same.
    pub async fn handle_telling(
        &self,
        mut request: Request<Pieces>,
        long: Arc<Long>,
    ) -> Result<Response<Bytes>, Failure> {
        check_host(&mut request)?;
        let limits = self.limits;
        let reins = Reins::new(&self.turns, limits.cpu, limits.timeout, long);
        let nn = self.grants.graphs.clone().map(Session::new);
        let ran_on = nn.as_ref().map(Session::ran_on);
        let answer = self.run(request, Arc::new(reins), nn).await?;
        let device = ran_on.and_then(|ran_on| ran_on.labels()).or(self.devices());
        Ok(nn::tell(answer, device))
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
        self.log(&mut wasi, &Trail::default());
        let mut store = self.store(wasi, usize::MAX, Trail::default(), None);
        let instance = self.pre.instantiate_async(&mut store).await?;
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
        let memory_bytes = self.limits.memory_bytes;
        let mut store = self.store(WasiCtx::builder(), memory_bytes, Trail::default(), None);
        self.pre.instantiate_async(&mut store).await?;
        drop(store);
        Ok(thread_minor_faults()? - before)
    }

    /// Has what the guest prints go to the log.
    fn log(&self, wasi: &mut WasiCtxBuilder, trail: &Trail) {
        let log = GuestLog::new(Arc::clone(&self.name), trail.request_id());
        wasi.stdout(log.clone()).stderr(log);
    }

    /// A store, which counts as an instance from here on.
    fn store(
        &self,
        mut wasi: WasiCtxBuilder,
        memory_bytes: usize,
        trail: Trail,
        nn: Option<Session>,
    ) -> Store<Sandbox> {
        let wasi = wasi.max_random_size(RANDOM_BYTES);
        let wasi = wasi.envs(&self.grants.environment).build();
        let mut sandbox = Sandbox::new(wasi, memory_bytes, &self.grants, &self.living);
        sandbox.memory.trail = trail;
        sandbox.nn = nn;
        let mut store = Store::new(self.pre.engine(), sandbox);
        store.limiter(|sandbox| &mut sandbox.memory);
        // Tensors are handed over whole, and count against its memory.
        let outside = store.data().nn.is_some();
        let redis = self.grants.hosts.allow_redis();
        store.set_hostcall_fuel(match (outside, redis) {
            (true, _) => memory_bytes,
            (false, true) => outbound_redis::CALL_BYTES,
            (false, false) => CALL_BYTES,
        });
        yielding(&mut store);
        store
    }

    /// A store whose guest `reins` holds, within the function's limits.
    fn reined(
        &self,
        wasi: WasiCtxBuilder,
        trail: &Trail,
        nn: Option<Session>,
        reins: &Arc<Reins>,
    ) -> Store<Sandbox> {
        let mut store = self.store(wasi, self.limits.memory_bytes, trail.clone(), nn);
        let ticked = Arc::clone(reins);
        store.epoch_deadline_callback(move |_| ticked.tick());
        store
    }

    async fn run(
        &self,
        request: Request<Pieces>,
        reins: Arc<Reins>,
        nn: Option<Session>,
    ) -> Result<Response<Bytes>, Failure> {
        let _running = self.ticker.running();
        let (send, answer) = oneshot::channel();
        let trail = Trail::of(&request);
        trail.enter(Phase::Instantiation);
        let proxy = self.entries.http()?;
        let mut wasi = WasiCtx::builder();
        self.log(&mut wasi, &trail);
        let mut store = self.reined(wasi, &trail, nn, &reins);
        let account = store.data().memory.account();

        // The store goes with this future: when the guest is done, whatever it still held is dropped, and a reader of an answer that will
        // not come is woken.
        let guest = async move {
            let result = async {
                let mut http = store.data_mut().http();
                let request = http.new_incoming_request(Scheme::Http, request)?;
                let out = http.new_response_outparam(send)?;
                let proxy = proxy.instantiate_async(&mut store).await?;
                store.data().memory.trail.enter(Phase::Guest);
                let handler = proxy.wasi_http_incoming_handler();
                handler.call_handle(&mut store, request, out).await
            }
            .await;
            result.map_err(|trap| (trap, store.data().memory.refused))
        };
        let mut guest = pin!(reins.hold(trail.measured(guest)));
        let mut answer = pin!(collect(answer, self.limits.answer_bytes, account));
        let step = tokio::select! {
            biased;
            returned = &mut guest => Step::Returned(returned),
            answer = &mut answer => Step::Answered(answer),
            () = sleep(self.limits.timeout) => Step::Late,
        };
        match step {
            Step::Returned(Ok(())) => answer.await.map_err(|failure| self.ended(failure, None)),
            Step::Returned(Err(end)) => Err(self.trapped(end, &reins)),
            Step::Answered(Ok(answer)) => match timeout(RETURN_TIME, &mut guest).await {
                Ok(Ok(())) => Ok(answer),
                Ok(Err(end)) => Err(self.trapped(end, &reins)),
                Err(_) => {
                    let trap = end(guest, &reins, Reason::Answered).await;
                    let stack = trap.as_ref().and_then(guest_stack::of);
                    let stack = stack.as_deref().unwrap_or("(not computing)");
                    tracing::warn!(function = &*self.name, stack, "ended after its answer");
                    Ok(answer)
                }
            },
            // A guest whose answer is refused fails to write more of it, and may well trap over that.
            Step::Answered(Err(failure)) => {
                let trap = end(guest, &reins, Reason::Answered).await;
                Err(self.ended(failure, trap.as_ref()))
            }
            Step::Late => {
                let trap = end(guest, &reins, Reason::Deadline).await;
                Err(self.ended(Failure::Deadline(self.limits.timeout), trap.as_ref()))
            }
        }
    }

    /// Why a guest that trapped did: what the host ended it for, what it was refused before, or its own doing.
    fn trapped(&self, (trap, refused): Trapped, reins: &Reins) -> Failure {
        let limits = &self.limits;
        let no_handles = matches!(
            trap.downcast_ref::<ResourceTableError>(),
            Some(ResourceTableError::Full)
        );
        let failure = match (reins.reason(), refused) {
            (Some(Reason::Cpu), _) => Failure::Cpu(limits.cpu),
            (Some(Reason::Deadline), _) => Failure::Deadline(limits.timeout),
            (_, _) if no_handles => Failure::Handles { limit: MAX_HANDLES },
            // A guest that cannot allocate aborts; the refusal before that is the reason.
            (_, Some(Refused::Memory)) => Failure::Memory {
                limit_bytes: limits.memory_bytes,
            },
            (_, Some(Refused::Tables)) => Failure::Tables {
                limit: MAX_TABLE_ELEMENTS,
            },
            _ => Failure::Function(anyhow::Error::msg(guest_stack::cause(&trap))),
        };
        self.ended(failure, Some(&trap))
    }

    /// Logs `failure`, as one event with the stack that `trap` has.
    fn ended(&self, failure: Failure, trap: Option<&wasmtime::Error>) -> Failure {
        let function = &*self.name;
        let stack = trap.and_then(guest_stack::of);
        let stack = stack.as_deref().unwrap_or("(not computing)");
        match &failure {
            Failure::Function(cause) => tracing::error!(function, stack, "{failure}: {cause:#}"),
            Failure::NoAnswer => tracing::error!(function, stack, "{failure}"),
            _ => tracing::warn!(function, stack, "{failure}"),
        }
        failure
    }
}

/// A trap, and what was refused before it.
type Trapped = (wasmtime::Error, Option<Refused>);

/// What happens first to a guest.
enum Step {
    Returned(Result<(), Trapped>),
    Answered(Result<Response<Bytes>, Failure>),
    Late,
}

/// Ends `guest`; with its stack, if it computes.
async fn end<T>(
    guest: Pin<&mut impl Future<Output = Result<T, Trapped>>>,
    reins: &Reins,
    reason: Reason,
) -> Option<wasmtime::Error> {
    reins.end(reason);
    // One that waits in the host is dropped as it is, unless what it waits for is just now there: to write an answer that is refused.
    let time = if reins.is_away() {
        Duration::ZERO
    } else {
        END_TIME
    };
    let returned = timeout(time, guest).await.ok()?;
    returned.err().map(|(trap, _)| trap)
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
