//! A project, loaded: request -> the function its path leads to -> response.
//!
//! Every failure of a function or of ours becomes a response here, and its cause a line in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response};

use crate::body::Pieces;
use crate::build::Artifact;
use crate::config::Project;
use crate::failure::Failure;
use crate::nn;
use crate::nn::devices::Devices;
use crate::nn::registry::Registry;
use crate::routes::Routes;
use crate::runtime::{Loaded, Runtime};
use crate::telemetry::trail::Trail;

/// Routes, and the functions behind them.
pub struct App {
    routes: Routes,
    functions: BTreeMap<String, Loaded>,
    runtime: Runtime,
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
        let functions = artifacts
            .iter()
            .map(|artifact| {
                let function = project.function(&artifact.name)?;
                let variables = project.variables_of(function)?;
                let (path, limits) = (&artifact.precompiled, function.limits);
                let name = &artifact.name;
                let loaded = match devices {
                    None => runtime.load(name, path, limits, variables)?,
                    Some(devices) => {
                        let graphs = Registry::new(&function.models, Arc::clone(devices));
                        runtime.load_with_graphs(name, path, limits, variables, graphs)?
                    }
                };
                Ok((artifact.name.clone(), loaded))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            routes: project.routes,
            functions,
            runtime,
        })
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

    /// Where instances are counted.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Asks each function whether it is set up (`GET /ready`), so that one that is not fails now and not at its first request. Functions
    /// without that path are taken as they are.
    ///
    /// # Errors
    ///
    /// A function that says it is not ready, with its reason, or that breaks off.
    pub async fn check_ready(&self) -> Result<()> {
        for (name, function) in &self.functions {
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
