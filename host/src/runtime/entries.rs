//! The ways in which a component can be started: what it exports of what triggers call.

use anyhow::{Result, ensure};
use wasmtime::component::{ComponentExportIndex, InstancePre};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::config::Start;
use crate::failure::Failure;
use crate::state::Sandbox;

/// The interface that a component for messages of Redis exports, and its function.
const MESSAGES: (&str, &str) = ("fermyon:spin/inbound-redis", "handle-message");

/// The interface that a command exports, and its function. Other versions of 0.2 are found by this one.
const RUN: (&str, &str) = ("wasi:cli/run@0.2.0", "run");

/// What a component exports.
pub(super) struct Entries {
    http: Option<ProxyPre<Sandbox>>,
    pub(super) message: Option<ComponentExportIndex>,
    pub(super) run: Option<ComponentExportIndex>,
}

impl Entries {
    /// Those of a component.
    ///
    /// # Errors
    ///
    /// It has none.
    pub(super) fn of(pre: &InstancePre<Sandbox>) -> Result<Self> {
        let function = |(interface, name): (&str, &str)| {
            let component = pre.component();
            let interface = component.get_export_index(None, interface)?;
            component.get_export_index(Some(&interface), name)
        };
        let entries = Self {
            http: ProxyPre::new(pre.clone()).ok(),
            message: function(MESSAGES),
            run: function(RUN),
        };
        ensure!(
            entries.http.is_some() || entries.message.is_some() || entries.run.is_some(),
            "expected an export of `wasi:http/incoming-handler`, `{}` or `wasi:cli/run` in version 0.2",
            MESSAGES.0
        );
        Ok(entries)
    }

    /// The way of requests.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn http(&self) -> Result<&ProxyPre<Sandbox>, Failure> {
        self.http.as_ref().ok_or(Failure::NoAnswer)
    }

    /// Whether there is a way for what starts so.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn check(&self, start: Start) -> Result<()> {
        let (has, interface) = match start {
            Start::Http => (self.http.is_some(), "wasi:http/incoming-handler"),
            Start::Redis => (self.message.is_some(), MESSAGES.0),
            Start::Command => (self.run.is_some(), "wasi:cli/run"),
        };
        ensure!(
            has,
            "its trigger calls `{interface}`, which it does not export"
        );
        Ok(())
    }
}
