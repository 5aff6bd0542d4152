//! Metrics of a process that answers no requests: it handles messages, or works on jobs.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;

use super::Telemetry;
use super::listener::MetricsListener;
use crate::admission::Admission;
use crate::app::App;
use crate::metrics::Gauges;

/// What is told of what `app` does within an admission; served until it is dropped.
pub(crate) struct Alone {
    listener: MetricsListener,
}

impl Alone {
    /// Listens on `address`.
    ///
    /// # Errors
    ///
    /// It cannot be listened on.
    pub(crate) async fn start(
        address: SocketAddr,
        app: Arc<App>,
        admission: Arc<Admission>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self> {
        for function in app.functions() {
            let memory_bytes = function.limits().memory_bytes as u64;
            telemetry.declare(function.name(), memory_bytes);
        }
        let listener = MetricsListener::start(address, move |request| {
            let runtime = app.runtime();
            let gauges = Gauges {
                load: admission.load(),
                budget: admission.budget(),
                instances: runtime.live_instances(),
                most_instances: runtime.most_instances(),
                served: None,
                spans: telemetry.spans(),
            };
            telemetry.page(request.method(), request.headers(), &gauges)
        });
        Ok(Self {
            listener: listener.await?,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }
}
