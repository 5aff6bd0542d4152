//! A project, loaded: request -> the function its path leads to -> response.
//!
//! Every failure of a function or of ours becomes a response here, and its cause a line in the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response};

use crate::admission::Admission;
use crate::body::Pieces;
use crate::build::Artifact;
use crate::config::{Project, Start};
use crate::failure::Failure;
use crate::grants::Grants;
use crate::nn::devices::Devices;
use crate::nn::registry::Registry;
use crate::routes::Routes;
use crate::runtime::{Loaded, Runtime};
use crate::spin_headers;

/// Routes, and the functions behind them.
pub struct App {
    routes: Routes,
    functions: BTreeMap<String, Loaded>,
    runtime: Runtime,
    own_address: Arc<OnceLock<SocketAddr>>,
}

impl App {
    /// Loads `artifacts`, the built functions of `project`, with room for `instances` instances at once.
    ///
    /// # Errors
    ///
    /// Precompiled code that does not fit this engine, or too little address space.
    pub fn load(project: Project, artifacts: &[Artifact], instances: u32) -> Result<Self> {
        Self::load_on(None, project, artifacts, instances)
    }

    /// The same for functions whose models run on `devices`; without any, they are inside.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_on(
        devices: Option<&Arc<Devices>>,
        project: Project,
        artifacts: &[Artifact],
        instances: u32,
    ) -> Result<Self> {
        let runtime = Runtime::new(instances)?;
        let own_address = Arc::default();
        let functions = artifacts
            .iter()
            .map(|artifact| {
                let function = project.function(&artifact.name)?;
                let grants = Grants {
                    own_address: Arc::clone(&own_address),
                    graphs: devices.filter(|_| function.wasi_nn).map(|devices| {
                        let devices = Arc::clone(devices);
                        Arc::new(Registry::new(&function.models, devices))
                    }),
                    ..project.grants_of(function)?
                };
                let (path, limits) = (&artifact.precompiled, function.limits);
                let loaded = runtime.load(&artifact.name, path, limits, grants)?;
                for &start in &function.starts {
                    loaded.check_start(start)?;
                }
                Ok((artifact.name.clone(), loaded))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            routes: project.routes,
            functions,
            runtime,
            own_address,
        })
    }

    /// Says where requests of functions to the application itself go. The first to say it is the one that counts.
    pub(crate) fn listens(&self, address: SocketAddr) {
        let _ = self.own_address.set(address);
    }

    /// The function called `name`.
    ///
    /// # Errors
    ///
    /// It was not among the artifacts.
    pub fn function(&self, name: &str) -> Result<&Loaded> {
        let loaded = self.functions.get(name);
        loaded.with_context(|| format!("function `{name}` is not loaded"))
    }

    /// All functions.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Loaded> {
        self.functions.values()
    }

    /// Has runs of graphs that nobody waits for any more counted in the budget of `admission`.
    pub(crate) fn counts_in(&self, admission: &Arc<Admission>) {
        for function in self.functions() {
            function.counts_in(admission);
        }
    }

    /// Where instances are counted.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Asks each function of ours whether it is set up (`GET /ready`), so that one that is not fails now and not at its first request. Functions
    /// without that path are taken as they are.
    ///
    /// # Errors
    ///
    /// A function that says it is not ready, with its reason, or that breaks off.
    pub async fn check_ready(&self) -> Result<()> {
        let ours = self
            .functions
            .iter()
            .filter(|(_, f)| !f.is_foreign() && f.check_start(Start::Http).is_ok());
        for (name, function) in ours {
            let request = Request::get("/ready").body(Pieces::from(Bytes::new()))?;
            let answer = function.handle(request).await;
            let answer = answer.with_context(|| format!("asking `{name}` whether it is ready"))?;
            let said = String::from_utf8_lossy(answer.body());
            ensure!(
                !answer.status().is_server_error(),
                "`{name}` is not ready: {said}"
            );
        }
        Ok(())
    }

    /// Whether the manifest has `path` itself, and not only by a route that takes every path.
    pub(crate) fn names(&self, path: &str) -> bool {
        self.routes.names(path)
    }

    /// The function that answers `path`.
    pub(crate) fn route(&self, path: &str) -> Result<&Loaded, Failure> {
        let name = self.routes.find(path).ok_or(Failure::NoRoute)?;
        self.functions.get(name).ok_or(Failure::NoRoute)
    }

    /// The function that answers `request`, which is told along which route it came.
    pub(crate) fn tell_route(&self, request: &mut Request<Pieces>) -> Result<&Loaded, Failure> {
        let uri = request.uri().clone();
        let found = self.routes.lookup(uri.path()).ok_or(Failure::NoRoute)?;
        let client = request.extensions().get().copied();
        spin_headers::set(request.headers_mut(), &uri, &found, client);
        self.functions.get(found.function).ok_or(Failure::NoRoute)
    }
}

/// The response that tells the caller of `failure`.
pub(crate) fn explain(failure: &Failure) -> Response<Bytes> {
    // What a guest did is logged where its stack is known.
    tracing::debug!("{failure}");
    let mut response = Response::new(Bytes::from(failure.json()));
    *response.status_mut() = failure.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Failure::Busy { retry_after } = failure {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
    }
    response
}
