//! [`Registry`]: the graphs that one function may load by name.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::devices::Devices;

/// Names, and the devices that run what has them.
pub struct Registry {
    graphs: BTreeSet<Arc<str>>,
    devices: Arc<Devices>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.graphs).finish()
    }
}

impl Registry {
    /// For a function whose manifest entry lists `models`.
    pub fn new(models: &[String], devices: Arc<Devices>) -> Self {
        Self {
            graphs: models.iter().map(|name| name.as_str().into()).collect(),
            devices,
        }
    }

    /// The graph of this name, if the function may use it.
    pub fn find(&self, name: &str) -> Option<Arc<str>> {
        self.graphs.get(name).cloned()
    }

    /// What runs the graphs.
    pub fn devices(&self) -> &Arc<Devices> {
        &self.devices
    }
}
