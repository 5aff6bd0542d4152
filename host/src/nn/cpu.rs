//! [`Cpu`]: the processor as a device, on which our engine runs lowered graphs natively.
//!
//! In: the graphs of built functions, lowered when they were built. They stay in memory for as long as the device lives, and all requests
//! share them. A run takes one thread, the caller's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result};
use ephemera_engine::{Error, Graph, Manifest, Tensor, bundle};

use super::device::{Device, DeviceError};

/// The label of the only device of this kind.
pub const LABEL: &str = "cpu";

/// The processor.
#[derive(Default)]
pub struct Cpu {
    graphs: BTreeMap<String, Graph>,
}

impl Cpu {
    /// Takes the graphs in the file at `path`, a stream as [`bundle::load`] reads it, beside those that it has. Of two of one name it
    /// keeps one: a name is a folder of `models/`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is no such stream.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let reading = || format!("reading the graphs in {}", path.display());
        let file = File::open(path).with_context(reading)?;
        let models = bundle::load(BufReader::new(file)).with_context(reading)?;
        for (manifest, graph) in &models {
            // What tract works in is not counted against anybody.
            if let Some(reason) = graph.float_reason() {
                let name = &manifest.name;
                anyhow::bail!(
                    "graph `{name}` runs in tract, and cannot run outside its function: {reason}"
                );
            }
        }
        self.add(models);
        Ok(())
    }

    /// Takes `models` beside those that it has.
    pub fn add(&mut self, models: Vec<(Manifest, Graph)>) {
        let named = models.into_iter();
        self.graphs
            .extend(named.map(|(manifest, graph)| (manifest.name, graph)));
    }

    /// Names of the graphs, in alphabetical order.
    pub fn graphs(&self) -> impl Iterator<Item = &str> {
        self.graphs.keys().map(String::as_str)
    }
}

impl Device for Cpu {
    fn label(&self) -> &str {
        LABEL
    }

    fn run(
        &self,
        graph: &str,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, DeviceError> {
        let found = self.graphs.get(graph);
        let found = found.ok_or_else(|| DeviceError::UnknownGraph(graph.to_owned()))?;
        let outputs = found.run_observed(&inputs, &mut |_| ());
        outputs.map_err(|error| failure(graph, error))
    }

    fn working_bytes(&self, graph: &str, inputs: &[(String, Tensor)]) -> usize {
        let found = self.graphs.get(graph);
        found.map_or(0, |found| found.arena_bytes(inputs).unwrap_or(0))
    }
}

/// Whose fault it is that `graph` did not run.
fn failure(graph: &str, error: Error) -> DeviceError {
    let graph = graph.to_owned();
    match error {
        Error::Input(reason) => DeviceError::Input { graph, reason },
        other => DeviceError::Failed {
            graph,
            device: LABEL.to_owned(),
            cause: other.into(),
        },
    }
}
