//! A GPU for the functions of one build: it runs the models that they were built with, or says that these were changed.
//!
//! A worker reads `models/` when it loads a graph, which may be long after the build, and it goes on while `up --watch` builds anew. What is
//! not changed stays on the GPU; of what is, there is one form there at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemera_engine::Tensor;

use super::Gpu;
use crate::digest::Sha256Hex;
use crate::metrics::gpu::Ours;
use crate::nn::device::{Device, DeviceError};

/// The SHA-256 of each `model.toml`, by the names of the models.
pub type Descriptions = BTreeMap<String, Sha256Hex>;

/// One GPU, for one build.
#[derive(Debug)]
pub struct Built {
    gpu: Arc<Gpu>,
    descriptions: Arc<Descriptions>,
}

impl Built {
    /// Runs what `descriptions` has on `gpu`, and what it has not as it is when it is loaded.
    pub fn new(gpu: Arc<Gpu>, descriptions: Arc<Descriptions>) -> Self {
        Self { gpu, descriptions }
    }
}

impl Device for Built {
    fn label(&self) -> &str {
        self.gpu.label()
    }

    fn run(
        &self,
        graph: &str,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, DeviceError> {
        let described = self.descriptions.get(graph).map(Sha256Hex::as_str);
        let limit = self.gpu.settings.run_limit;
        self.gpu.run_within(graph, described, &inputs, limit)
    }

    fn is_ready(&self) -> bool {
        self.gpu.is_ready()
    }

    fn ours(&self) -> Option<Ours> {
        self.gpu.ours()
    }

    fn free_bytes(&self) -> u64 {
        self.gpu.free_bytes()
    }
}
