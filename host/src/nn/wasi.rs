//! `wasi:nn@0.2.0-rc-2024-10-28`: what a guest may ask of named graphs, and what that costs.
//!
//! In: calls of a guest, which may be hostile. Out: runs of graphs that its function lists, or a reason in the interface's codes. Graphs
//! from bytes are refused. What the host holds for a guest counts against the request's ceiling of memory, before it is taken; over it the
//! guest is ended, as it is when its own memory grows over it. Handles are bounded by the store's table.
//!
//! Defined by hand and not with `wasmtime-wasi-nn`, whose errors all have one code, whose runs hold the executor's thread, and whose
//! tensors cannot be counted.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::{
    ComponentType, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr,
};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi::WasiView;

use super::border::{Held, TensorType};
use super::device::DeviceError;
use super::registry::Registry;
use crate::state::Sandbox;

/// The package, before an interface's name.
pub(crate) const PACKAGE: &str = "wasi:nn/";
/// Its version, as the functions' `wit/deps` has it.
pub(crate) const VERSION: &str = "0.2.0-rc-2024-10-28";
/// All that it has.
pub(crate) const INTERFACES: [&str; 4] = ["tensor", "graph", "inference", "errors"];

/// Bytes of a name: a folder's, or a graph's input's.
const MAX_NAME_BYTES: usize = 256;

/// Tensors that go into one run: many times those of any graph of ours.
const MAX_INPUTS: usize = 64;

/// What a store knows of graphs.
pub(crate) struct Session {
    registry: Arc<Registry>,
    ran_on: RanOn,
}

/// Labels of the devices that have run something for a request, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct RanOn(Arc<Mutex<Vec<String>>>);

impl Session {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            ran_on: RanOn::default(),
        }
    }

    /// What is noted from now on, to be read when the store is gone.
    pub(crate) fn ran_on(&self) -> RanOn {
        self.ran_on.clone()
    }
}

impl RanOn {
    fn add(&self, label: String) {
        // A list of words is whole even if a holder panicked.
        let mut labels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !labels.contains(&label) {
            labels.push(label);
        }
    }

    /// All of them, in words; `None` if nothing has run.
    pub(crate) fn labels(&self) -> Option<String> {
        let labels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!labels.is_empty()).then(|| labels.join(", "))
    }
}

/// `wasi:nn/errors.error-code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // The interface has more than we need.
enum Code {
    #[component(name = "invalid-argument")]
    InvalidArgument,
    #[component(name = "invalid-encoding")]
    InvalidEncoding,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "runtime-error")]
    RuntimeError,
    #[component(name = "unsupported-operation")]
    UnsupportedOperation,
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "security")]
    Security,
    #[component(name = "unknown")]
    Unknown,
}

/// `wasi:nn/graph.graph-encoding`; none is taken.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // Lifted, and not looked at.
enum Encoding {
    #[component(name = "openvino")]
    Openvino,
    #[component(name = "onnx")]
    Onnx,
    #[component(name = "tensorflow")]
    Tensorflow,
    #[component(name = "pytorch")]
    Pytorch,
    #[component(name = "tensorflowlite")]
    Tensorflowlite,
    #[component(name = "ggml")]
    Ggml,
    #[component(name = "autodetect")]
    Autodetect,
}

/// `wasi:nn/graph.execution-target`; the operator decides instead.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // As above.
enum Target {
    #[component(name = "cpu")]
    Cpu,
    #[component(name = "gpu")]
    Gpu,
    #[component(name = "tpu")]
    Tpu,
}

/// `wasi:nn/graph.graph`.
struct Graph(Arc<str>);

/// `wasi:nn/inference.graph-execution-context`. Nothing stays in it between runs.
struct Context(Arc<str>);

/// `wasi:nn/errors.error`.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    code: Code,
    text: String,
}

impl Refusal {
    fn new(code: Code, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }

    /// What the guest is told of `error`. Whose fault it is decides the code; causes are for the log.
    fn of(error: &DeviceError) -> Self {
        let code = match error {
            DeviceError::UnknownGraph(_) => Code::NotFound,
            DeviceError::Input { .. } => Code::InvalidArgument,
            DeviceError::Memory { .. } => Code::TooLarge,
            DeviceError::Unavailable { .. } | DeviceError::Failed { .. } => Code::RuntimeError,
        };
        match error {
            DeviceError::UnknownGraph(_) | DeviceError::Input { .. } => tracing::debug!("{error}"),
            DeviceError::Memory { .. } | DeviceError::Unavailable { .. } => {
                tracing::warn!("{error}");
            }
            DeviceError::Failed { cause, .. } => tracing::error!("{error}: {cause:#}"),
        }
        Self::new(code, error.to_string())
    }
}

type Store<'a> = StoreContextMut<'a, Sandbox>;
type Answer<T> = Result<(Result<T, Resource<Refusal>>,)>;
type Named = (String, Resource<Held>);

/// Adds the four interfaces to `linker`; what they may reach is the store's.
pub(crate) fn link(linker: &mut Linker<Sandbox>) -> Result<()> {
    let name = |interface: &str| format!("{PACKAGE}{interface}@{VERSION}");

    let mut tensor = linker.instance(&name("tensor"))?;
    tensor.resource("tensor", ResourceType::host::<Held>(), |mut store, rep| {
        let held = table(&mut store).delete(Resource::<Held>::new_own(rep))?;
        store.data_mut().memory.give_back(held.held_bytes());
        Ok(())
    })?;
    tensor.func_wrap("[constructor]tensor", new_tensor)?;
    tensor.func_wrap(
        "[method]tensor.dimensions",
        |mut store: Store<'_>, (own,)| Ok((table(&mut store).get::<Held>(&own)?.extents.clone(),)),
    )?;
    tensor.func_wrap("[method]tensor.ty", |mut store: Store<'_>, (own,)| {
        Ok((table(&mut store).get::<Held>(&own)?.kind,))
    })?;
    tensor.func_wrap("[method]tensor.data", |mut store: Store<'_>, (own,)| {
        Ok((Arc::clone(&table(&mut store).get::<Held>(&own)?.bytes),))
    })?;

    let mut graph = linker.instance(&name("graph"))?;
    graph.resource("graph", ResourceType::host::<Graph>(), drop_of::<Graph>)?;
    graph.func_wrap("load", load)?;
    graph.func_wrap("load-by-name", load_by_name)?;
    graph.func_wrap("[method]graph.init-execution-context", init)?;

    let mut inference = linker.instance(&name("inference"))?;
    let context = ResourceType::host::<Context>();
    inference.resource("graph-execution-context", context, drop_of::<Context>)?;
    inference.func_wrap_async(
        "[method]graph-execution-context.compute",
        |store, (context, inputs)| Box::new(compute(store, context, inputs)),
    )?;

    let mut errors = linker.instance(&name("errors"))?;
    errors.resource("error", ResourceType::host::<Refusal>(), drop_of::<Refusal>)?;
    errors.func_wrap("[method]error.code", |mut store: Store<'_>, (own,)| {
        Ok((table(&mut store).get::<Refusal>(&own)?.code,))
    })?;
    errors.func_wrap("[method]error.data", |mut store: Store<'_>, (own,)| {
        Ok((table(&mut store).get::<Refusal>(&own)?.text.clone(),))
    })
}

fn table<'a>(store: &'a mut Store<'_>) -> &'a mut wasmtime::component::ResourceTable {
    store.data_mut().ctx().table
}

fn drop_of<T: Send + 'static>(mut store: Store<'_>, rep: u32) -> Result<()> {
    table(&mut store).delete(Resource::<T>::new_own(rep))?;
    Ok(())
}

/// Takes `bytes` of the request's memory, or ends the guest.
fn take(store: &mut Store<'_>, bytes: usize) -> Result<()> {
    if store.data_mut().memory.take(bytes) {
        return Ok(());
    }
    bail!(
        "the host would hold {bytes} bytes more for its tensors, which is over the request's ceiling"
    )
}

fn refuse<T>(store: &mut Store<'_>, refusal: Refusal) -> Answer<T> {
    Ok((Err(table(store).push(refusal)?),))
}

/// Copies a tensor out of the guest, once its cost is accounted for.
fn new_tensor(
    mut store: Store<'_>,
    (extents, kind, bytes): (WasmList<u32>, TensorType, WasmList<u8>),
) -> Result<(Resource<Held>,)> {
    take(&mut store, Held::cost(extents.len(), bytes.len()))?;
    let held = Held {
        extents: extents
            .as_le_slice(&store)
            .iter()
            .map(|&e| u32::from_le(e))
            .collect(),
        kind,
        bytes: Arc::new(bytes.as_le_slice(&store).to_vec()),
    };
    Ok((table(&mut store).push(held)?,))
}

fn load(
    mut store: Store<'_>,
    _: (WasmList<WasmList<u8>>, Encoding, Target),
) -> Answer<Resource<Graph>> {
    let text = "graphs are loaded by name, not from bytes";
    refuse(&mut store, Refusal::new(Code::UnsupportedOperation, text))
}

fn load_by_name(mut store: Store<'_>, (name,): (WasmStr,)) -> Answer<Resource<Graph>> {
    let name = name.to_str(&store)?;
    let session = store.data().nn.as_ref();
    if let Some(graph) = session.and_then(|session| session.registry.find(&name)) {
        return Ok((Ok(table(&mut store).push(Graph(graph))?),));
    }
    let refusal = if name.len() > MAX_NAME_BYTES {
        Refusal::new(
            Code::NotFound,
            format!("no graph has a name of {} bytes", name.len()),
        )
    } else {
        Refusal::of(&DeviceError::UnknownGraph(name.into_owned()))
    };
    refuse(&mut store, refusal)
}

fn init(mut store: Store<'_>, (graph,): (Resource<Graph>,)) -> Answer<Resource<Context>> {
    let graph = Arc::clone(&table(&mut store).get(&graph)?.0);
    Ok((Ok(table(&mut store).push(Context(graph))?),))
}

async fn compute(
    mut store: Store<'_>,
    context: Resource<Context>,
    inputs: Vec<(WasmStr, Resource<Held>)>,
) -> Answer<Vec<Named>> {
    let graph = Arc::clone(&table(&mut store).get(&context)?.0);
    // All of them are ours now, whatever becomes of the run.
    let mut held_bytes = 0;
    let mut tensors = Vec::new();
    for (name, tensor) in inputs {
        let name = name.to_str(&store)?;
        // No input of a graph has a longer name.
        let end = name.floor_char_boundary(MAX_NAME_BYTES);
        let name = name[..end].to_owned();
        let tensor = table(&mut store).delete(tensor)?;
        held_bytes += tensor.held_bytes();
        tensors.push((name, tensor));
    }
    let outputs = run(&mut store, &graph, tensors).await;
    store.data_mut().memory.give_back(held_bytes);
    match outputs? {
        Ok(outputs) => {
            let handed = outputs.into_iter();
            let handed = handed.map(|(name, held)| {
                take(&mut store, held.held_bytes())?;
                Ok((name, table(&mut store).push(held)?))
            });
            let handed = handed.collect::<Result<Vec<Named>>>()?;
            Ok((Ok(handed),))
        }
        Err(refusal) => refuse(&mut store, refusal),
    }
}

type Outputs = Vec<(String, Held)>;

/// Runs `graph` on one of the devices.
async fn run(
    store: &mut Store<'_>,
    graph: &Arc<str>,
    inputs: Vec<(String, Held)>,
) -> Result<Result<Outputs, Refusal>> {
    let wrong = |reason: String| {
        let graph = graph.as_ref().to_owned();
        Refusal::of(&DeviceError::Input { graph, reason })
    };
    if inputs.len() > MAX_INPUTS {
        let count = inputs.len();
        return Ok(Err(wrong(format!(
            "expected at most {MAX_INPUTS} tensors, got {count}"
        ))));
    }
    let copied_bytes = inputs.iter().map(|(_, held)| held.copied_bytes()).sum();
    take(store, copied_bytes)?;
    let tensors = inputs.into_iter().map(|(name, held)| {
        let tensor = held.into_tensor();
        let tensor = tensor.map_err(|reason| wrong(format!("{name}: {reason}")))?;
        Ok((name, tensor))
    });
    let outputs = match tensors.collect::<Result<Vec<_>, Refusal>>() {
        Ok(tensors) => run_tensors(store, graph, tensors).await?,
        Err(refusal) => Err(refusal),
    };
    store.data_mut().memory.give_back(copied_bytes);
    Ok(outputs)
}

async fn run_tensors(
    store: &mut Store<'_>,
    graph: &Arc<str>,
    tensors: Vec<(String, ephemera_engine::Tensor)>,
) -> Result<Result<Outputs, Refusal>> {
    let Some(session) = &store.data().nn else {
        bail!("a graph without a session");
    };
    let devices = Arc::clone(session.registry.devices());
    let working_bytes = devices.working_bytes(graph, &tensors);
    // The function asked for what its client sent, and knows what to say of it.
    let left_bytes = store.data().memory.left_bytes();
    if working_bytes > left_bytes {
        let text = format!(
            "inputs of these shapes need {working_bytes} bytes of activations, limit is {left_bytes}"
        );
        // Whoever sets `memory_mib` looks for what would have been needed.
        let memory = &store.data().memory;
        let needed_bytes = memory.account().held_bytes().saturating_add(working_bytes);
        memory.trail.holds(needed_bytes);
        tracing::warn!("{graph}: {text}");
        return Ok(Err(Refusal::new(Code::TooLarge, text)));
    }
    take(store, working_bytes)?;
    let running = devices.run(Arc::clone(graph), tensors, working_bytes);
    let ran = running.await;
    let sandbox = store.data_mut();
    sandbox.memory.give_back(working_bytes);
    sandbox.memory.trail.runs_on(&ran.device);
    if let Some(session) = &sandbox.nn {
        session.ran_on.add(ran.device);
    }
    let outputs = ran.outputs.map_err(|error| Refusal::of(&error));
    Ok(outputs.and_then(|outputs| {
        let held = outputs.into_iter().map(|(name, tensor)| {
            let large = || Refusal::new(Code::TooLarge, format!("{name}: an extent over 32 bits"));
            let held = Held::from_tensor(tensor).ok_or_else(large)?;
            Ok((name, held))
        });
        held.collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_code_of_whose_fault_it_is() {
        let graph = || "g".to_owned();
        let device = || "cuda:0".to_owned();
        let reason = || "because".to_owned();
        let cause = anyhow::anyhow!("at /home/me/libcuda.so");
        for (error, code, text) in [
            (
                DeviceError::UnknownGraph(graph()),
                Code::NotFound,
                "no graph `g`",
            ),
            (
                DeviceError::Input {
                    graph: graph(),
                    reason: reason(),
                },
                Code::InvalidArgument,
                "graph `g`: because",
            ),
            (
                DeviceError::Unavailable {
                    device: device(),
                    reason: reason(),
                },
                Code::RuntimeError,
                "cuda:0 cannot be used: because",
            ),
            (
                DeviceError::Memory {
                    graph: graph(),
                    device: device(),
                    limit_bytes: 5,
                },
                Code::TooLarge,
                "graph `g` needs more than the 5 bytes that cuda:0 may use",
            ),
            (
                DeviceError::Failed {
                    graph: graph(),
                    device: device(),
                    cause,
                },
                Code::RuntimeError,
                "graph `g` failed on cuda:0",
            ),
        ] {
            assert_eq!(Refusal::of(&error), Refusal::new(code, text));
        }
    }
}
