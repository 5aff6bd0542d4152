//! What a function may reach beside its request, and the linker that gives it just that.
//!
//! In: what `spin.toml` says of a component, looked up and checked. Out: an interface for each thing granted. A function without any
//! links `wasi:http/proxy` and Spin's variables, and whatever else it imports is an error when it is loaded.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use wasmtime::Result;
use wasmtime::component::Linker;

use crate::apart::Threads;
use crate::keyvalue::{self, Store};
use crate::mounts::{self, Mounts};
use crate::nn;
use crate::nn::registry::Registry;
use crate::outbound::Hosts;
use crate::outbound_redis;
use crate::state::Sandbox;
use crate::variables::Values;

/// What one function may reach.
#[derive(Debug, Default)]
pub struct Grants {
    /// What it may ask for by `fermyon:spin/variables`.
    pub variables: Values,
    /// Its environment: names and values.
    pub environment: Vec<(String, String)>,
    /// Files that it may read.
    pub files: Option<Arc<Mounts>>,
    /// Where its requests may go.
    pub hosts: Hosts,
    /// What looks up their names.
    pub(crate) lookups: Threads,
    /// The graphs that it may run outside its instances; none where its models are inside.
    pub graphs: Option<Arc<Registry>>,
    /// Its store of keys and values.
    pub store: Option<Arc<Store>>,
    /// Whether others built it, for all of WASI 0.2. What it finds there is what is granted here, and nothing else.
    pub foreign: bool,
    /// Whether something else than requests starts it, for all of WASI 0.2, in the same way.
    pub wide: bool,
    /// Where requests to `self` go, as soon as somebody listens.
    pub own_address: Arc<OnceLock<SocketAddr>>,
}

impl From<Values> for Grants {
    fn from(variables: Values) -> Self {
        Self {
            variables,
            ..Self::default()
        }
    }
}

impl Grants {
    /// `base`, and what is granted beyond it.
    pub(crate) fn link(&self, base: &Linker<Sandbox>) -> Result<Linker<Sandbox>> {
        let mut linker = base.clone();
        // The wider worlds include what is linked already.
        linker.allow_shadowing(true);
        if self.foreign || self.wide || !self.environment.is_empty() || self.files.is_some() {
            wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        }
        if self.files.is_some() {
            mounts::link(&mut linker)?;
        }
        if self.graphs.is_some() {
            nn::wasi::link(&mut linker)?;
        }
        if self.hosts.allow_redis() {
            outbound_redis::link(&mut linker)?;
        }
        if self.store.is_some() {
            keyvalue::link(&mut linker)?;
        }
        Ok(linker)
    }
}
