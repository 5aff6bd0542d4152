//! Messages and commands: an exported function of a fresh instance, called once, within the same limits as a request.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::sleep;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, ComponentType, Lift, Lower};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxBuilder};

use super::{Loaded, Trapped, end};
use crate::failure::Failure;
use crate::guest::{Reason, Reins};
use crate::nn::wasi::Session;
use crate::telemetry::record::Phase;
use crate::telemetry::trail::Trail;

/// What a component says of a message, as the interface has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
// It is the guests that make them.
#[allow(dead_code)]
enum MessageError {
    #[component(name = "success")]
    Success,
    #[component(name = "error")]
    Error,
}

/// A component's own word on a message: it could not handle it, and its log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotHandled;

/// How a command is run, beside its standard streams, which are this process's.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// What it gets after its name.
    pub arguments: Vec<String>,
    /// Folders that it may read and write: where they are here, and what it calls them.
    pub folders: Vec<(std::path::PathBuf, String)>,
}

/// How a call ended.
enum Ended<R> {
    Returned(R),
    /// By `exit`, with this status.
    Exited(i32),
}

impl Loaded {
    /// Hands one message to an instance of its own, which is gone when this returns or is dropped.
    ///
    /// # Errors
    ///
    /// A limit or a trap. Each is logged, with the guest's stack where it was computing.
    pub async fn message(&self, payload: Arc<[u8]>) -> Result<Result<(), NotHandled>, Failure> {
        let entry = self.entries.message.as_ref().ok_or(Failure::NoAnswer)?;
        let mut wasi = WasiCtx::builder();
        self.log(&mut wasi, &Trail::default());
        let called = self.call(wasi, entry, (payload,)).await?;
        match called {
            Ended::Returned((Ok(()) | Err(MessageError::Success),)) => Ok(Ok(())),
            Ended::Returned((Err(MessageError::Error),)) => Ok(Err(NotHandled)),
            Ended::Exited(status) => {
                let cause = anyhow::anyhow!("it ended itself with status {status}");
                Err(self.ended(Failure::Function(cause), None))
            }
        }
    }

    /// Runs the command until it ends; its status.
    ///
    /// # Errors
    ///
    /// A limit or a trap, logged as above; a folder that cannot be opened.
    pub async fn command(&self, how: &Command) -> anyhow::Result<u8> {
        let entry = self.entries.run.as_ref().ok_or(Failure::NoAnswer)?;
        let mut wasi = WasiCtx::builder();
        wasi.inherit_stdio().arg(&*self.name).args(&how.arguments);
        for (here, there) in &how.folders {
            let opened = wasi.preopened_dir(here, there, FsPerms::ReadWrite);
            opened.map_err(|error| anyhow::anyhow!("--dir {}: {error}", here.display()))?;
        }
        let called = self.call::<_, (Result<(), ()>,)>(wasi, entry, ()).await?;
        Ok(match called {
            Ended::Returned((Ok(()),)) => 0,
            Ended::Returned((Err(()),)) => 1,
            Ended::Exited(status) => u8::try_from(status).unwrap_or(1),
        })
    }

    async fn call<P, R>(
        &self,
        wasi: WasiCtxBuilder,
        entry: &ComponentExportIndex,
        parameters: P,
    ) -> Result<Ended<R>, Failure>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let _running = self.ticker.running();
        let limits = self.limits;
        let trail = Trail::default();
        trail.enter(Phase::Instantiation);
        let reins = Reins::new(&self.turns, limits.cpu, limits.timeout, Arc::default());
        let reins = Arc::new(reins);
        let nn = self.grants.graphs.clone().map(Session::new);
        let mut store = self.reined(wasi, &trail, nn, &reins);
        let guest = async move {
            let result: wasmtime::Result<R> = async {
                let instance = self.pre.instantiate_async(&mut store).await?;
                store.data().memory.trail.enter(Phase::Guest);
                let function = instance.get_typed_func::<P, R>(&mut store, entry)?;
                function.call_async(&mut store, parameters).await
            }
            .await;
            let result = result.map(Ended::Returned).or_else(|trap| {
                let exit = trap.downcast_ref::<I32Exit>().map(|exit| exit.0);
                exit.map(Ended::Exited).ok_or(trap)
            });
            result.map_err(|trap| -> Trapped { (trap, store.data().memory.refused) })
        };
        let mut guest = pin!(reins.hold(trail.measured(guest)));
        tokio::select! {
            biased;
            returned = &mut guest => returned.map_err(|end| self.trapped(end, &reins)),
            () = sleep(limits.timeout) => {
                let trap = end(guest, &reins, Reason::Deadline).await;
                Err(self.ended(Failure::Deadline(limits.timeout), trap.as_ref()))
            }
        }
    }
}
