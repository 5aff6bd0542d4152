//! [`Device`]: what runs a named graph once.
//!
//! The processor and each GPU are one. Nothing here falls back: what cannot run says so.

use ephemera_engine::Tensor;

use crate::metrics::gpu::Ours;

/// Runs graphs that it knows by the names of their folders under `models/`.
pub trait Device: Send + Sync {
    /// `cpu`, or `cuda:` and its number.
    fn label(&self) -> &str;

    /// Runs `graph` once and waits for it; who calls from an asynchronous task must expect to be held for milliseconds to seconds.
    ///
    /// `inputs` and outputs are those of [`ephemera_engine::Model::run`]: pictures and clips `u8`, all else `f32`, by the manifest's names.
    ///
    /// # Errors
    ///
    /// See [`DeviceError`].
    fn run(
        &self,
        graph: &str,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, DeviceError>;

    /// Bytes of this machine's memory that such a run takes for itself while it lasts, beside its inputs and outputs; counted against the
    /// request's ceiling. Zero where the memory is not this machine's, or the inputs are not the graph's.
    fn working_bytes(&self, _graph: &str, _inputs: &[(String, Tensor)]) -> usize {
        0
    }

    /// Whether it would take a run now, and not refuse it after failures.
    fn is_ready(&self) -> bool {
        true
    }

    /// What this server may take and takes of its memory, where it has memory of its own.
    fn ours(&self) -> Option<Ours> {
        None
    }

    /// Memory of its own that nothing has taken, in bytes; of devices that are equally loaded, the one with the most is chosen.
    fn free_bytes(&self) -> u64 {
        0
    }
}

/// Why a device did not run a graph.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The guest's: no such folder, or it was not preloaded.
    #[error("no graph `{0}`")]
    UnknownGraph(String),
    /// The guest's: a name, shape or type that is not the manifest's.
    #[error("graph `{graph}`: {reason}")]
    Input {
        /// The graph's name.
        graph: String,
        /// Expected and actual.
        reason: String,
    },
    /// The operator's: a GPU, a driver or a library that is not there.
    #[error("{device} cannot be used: {reason}")]
    Unavailable {
        /// The device's label.
        device: String,
        /// What is missing, and what to do about it.
        reason: String,
    },
    /// The operator's: the device's memory limit is too small for the graph.
    #[error("graph `{graph}` needs more than the {limit_bytes} bytes that {device} may use")]
    Memory {
        /// The graph's name.
        graph: String,
        /// The device's label.
        device: String,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Ours: the cause is for the log.
    #[error("graph `{graph}` failed on {device}")]
    Failed {
        /// The graph's name.
        graph: String,
        /// The device's label.
        device: String,
        /// What happened.
        #[source]
        cause: anyhow::Error,
    },
}
