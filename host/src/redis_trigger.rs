//! Spin's Redis trigger: messages of channels -> components, each in a fresh instance.
//!
//! In: subscriptions of a project that is loaded. Out: [`Listener`], which works until it is stopped. One thread a server reads its messages one
//! by one and stops reading while too much is in hand, so that what is published faster than it can be done waits in Redis, which
//! bounds it (`client-output-buffer-limit pubsub`). A connection that is lost is made again; what is published meanwhile is lost, as Redis
//! has it: who needs every job uses a stream, see `jobs`.

mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::admission::{Admission, Budget, Priority};
use crate::app::App;
use crate::config::Subscription;
use crate::failure::Failure;
use crate::metrics::gpu::Gpus;
use crate::metrics::work::{End, Phase, Work};
use crate::runtime::{Loaded, NotHandled};
use crate::serve::{Server, watch_pressure};
use crate::telemetry::Telemetry;
use crate::telemetry::alone::Alone;
use server::{MAX_MESSAGE_BYTES, Message, Redis};

/// Messages in hand at once, waiting or running.
const IN_HAND: usize = 1024;

/// What they may be in all, in KiB, where a quarter of the budget is not less; and one of the longest in any case. One more of each server waits for its place, read already, and two of all of them.
const IN_HAND_KIB: u32 = 64 << 10;

const _: () = assert!(MAX_MESSAGE_BYTES <= (IN_HAND_KIB as usize) << 10);

/// How long after a signal to stop messages that were read before it may still come from the threads that read; half of the grace time if
/// that is less.
const LAST_TIME: Duration = Duration::from_secs(2);

/// After a refusal for want of room, until it is asked for again.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// Whether and how subscriptions are handled.
pub struct Listener {
    stopping: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<u64>,
    grace: Duration,
    handlers: Arc<Handlers>,
    metrics: Option<Alone>,
}

/// What handles messages.
struct Handlers {
    app: Arc<App>,
    admission: Arc<Admission>,
    /// Guests at once: the rest of the queue of requests is for requests.
    running: Semaphore,
    work: Arc<Work>,
    /// Components, by server and channel.
    components: BTreeMap<(usize, String), Vec<String>>,
}

impl Listener {
    /// Handles `subscriptions` with the functions of `app` in the background of the current executor: within the budget of `server`, or within
    /// `budget` where nothing is served.
    ///
    /// # Errors
    ///
    /// An address that is none of Redis, a component that is not loaded or handles no messages, no thread.
    pub fn start(
        app: Arc<App>,
        subscriptions: &[Subscription],
        server: Option<&Server>,
        budget: Budget,
        grace: Duration,
    ) -> Result<Self> {
        let own = || Arc::new(Admission::new(budget));
        let admission = server.map_or_else(own, |server| Arc::clone(server.admission()));
        let mut addresses: Vec<&str> = subscriptions.iter().map(|s| s.address.as_str()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut components: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
        for Subscription {
            address,
            channel,
            component,
        } in subscriptions
        {
            app.function(component)?;
            let index = addresses.binary_search(&address.as_str());
            let index = index.unwrap_or_default();
            let key = (index, channel.clone());
            components.entry(key).or_default().push(component.clone());
        }
        app.counts_in(&admission);
        let work = Arc::new(Work::messages());
        if let Some(server) = server {
            server.measures(Arc::clone(&work));
        }
        let handlers = Arc::new(Handlers {
            app,
            admission,
            work: Arc::clone(&work),
            running: Semaphore::new(budget.instances as usize),
            components,
        });
        let stopping = Arc::new(AtomicBool::new(false));
        let (send, messages) = mpsc::channel(1);
        for (index, address) in addresses.into_iter().enumerate() {
            let of_server = handlers.components.keys().filter(|(of, _)| *of == index);
            let channels = of_server.map(|(_, channel)| channel.clone()).collect();
            let redis = Redis::new(index, address, channels)
                .context("trigger.redis: address: expected redis://host:port")?
                .counting(Arc::clone(&work));
            redis.listen(send.clone(), Arc::clone(&stopping))?;
        }
        let own = server.is_none().then(|| Arc::clone(&handlers.admission));
        let (stop, stopped) = oneshot::channel();
        let last_time = LAST_TIME.min(grace / 2);
        let handling = handle_all(Arc::clone(&handlers), messages, stopped, last_time);
        Ok(Self {
            task: tokio::spawn(async move {
                let watching = async {
                    match own {
                        Some(admission) => watch_pressure(admission).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    handled = handling => handled,
                    () = watching => unreachable!("it watches as long as it is let"),
                }
            }),
            stopping,
            stop,
            grace,
            handlers,
            metrics: None,
        })
    }

    /// Serves metrics on `address`, where no server does; returns where that is.
    ///
    /// # Errors
    ///
    /// It cannot be listened on.
    pub async fn serve_metrics(&mut self, address: SocketAddr, gpus: Gpus) -> Result<SocketAddr> {
        let Handlers {
            app,
            admission,
            work,
            ..
        } = &*self.handlers;
        let telemetry = Telemetry::of(Arc::clone(work), gpus);
        let (app, admission) = (Arc::clone(app), Arc::clone(admission));
        let alone = Alone::start(address, app, admission, telemetry).await?;
        Ok(self.metrics.insert(alone).address())
    }

    /// Takes no more messages, lets those that it has finish within the grace time, drops the rest. Returns whether all could finish.
    pub async fn stop(self) -> bool {
        self.stopping.store(true, Ordering::Relaxed);
        // Nobody to tell: it has ended already.
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        match tokio::time::timeout(self.grace, self.task).await {
            Ok(handled) => {
                tracing::info!("{} messages handled", handled.unwrap_or(0));
                true
            }
            Err(_) => {
                abort.abort();
                false
            }
        }
    }
}

/// Handles messages until there are no more; how many.
async fn handle_all(
    handlers: Arc<Handlers>,
    mut messages: mpsc::Receiver<Message>,
    stopped: oneshot::Receiver<()>,
    last_time: Duration,
) -> u64 {
    let mut closing = pin!(async {
        // Also when nobody is left who could say it.
        let _ = stopped.await;
        tokio::time::sleep(last_time).await;
    });
    let mut open = true;
    let places = Arc::new(Semaphore::new(IN_HAND));
    let budget = handlers.admission.budget();
    let kib = Arc::new(Semaphore::new(in_hand_kib(budget.memory_bytes)));
    let mut running = JoinSet::new();
    let mut handled = 0;
    loop {
        let next = tokio::select! {
            message = messages.recv() => message,
            Some(_) = running.join_next() => {
                handled += 1;
                continue;
            }
            () = &mut closing, if open => {
                open = false;
                messages.close();
                continue;
            }
        };
        // All threads have ended, or nobody takes what they have.
        let Some(message) = next else { break };
        let size = u32::try_from(message.payload.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let place = Arc::clone(&places).acquire_owned().await;
        let room = Arc::clone(&kib).acquire_many_owned(size).await;
        let (Ok(place), Ok(room)) = (place, room) else {
            break;
        };
        running.spawn(Arc::clone(&handlers).handle(message, (place, room)));
    }
    while running.join_next().await.is_some() {
        handled += 1;
    }
    handled
}

/// What messages in hand may be in all, in KiB, where so many bytes are given out.
fn in_hand_kib(budget_bytes: u64) -> usize {
    let quarter = usize::try_from(budget_bytes / 4 / 1024).unwrap_or(usize::MAX);
    quarter.clamp(MAX_MESSAGE_BYTES / 1024, IN_HAND_KIB as usize)
}

impl Handlers {
    async fn handle(
        self: Arc<Self>,
        message: Message,
        _in_hand: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) {
        let Message {
            server,
            channel,
            payload,
        } = message;
        let _held = self.admission.hold(payload.len() as u64);
        let key = (server, channel);
        let components = self.components.get(&key).map_or(&[][..], Vec::as_slice);
        for component in components {
            let Ok(function) = self.app.function(component) else {
                continue;
            };
            let in_hand = self.work.takes(component);
            let end = match self.start(function, Arc::clone(&payload)).await {
                Ok(Ok(())) => End::Done,
                Ok(Err(NotHandled)) => {
                    tracing::warn!(function = component, "a message was not handled");
                    End::Failed
                }
                Err(failure) => {
                    // Logged where the guest's stack was known.
                    tracing::debug!(function = component, "{failure}");
                    End::Failed
                }
            };
            in_hand.ends(end);
        }
    }

    /// Runs `function` as soon as there is room for it.
    async fn start(
        &self,
        function: &Loaded,
        payload: Arc<[u8]>,
    ) -> Result<Result<(), NotHandled>, Failure> {
        let bytes = function.limits().memory_bytes as u64;
        let waiting = async {
            let running = self.running.acquire().await;
            loop {
                let slot = self.admission.slot(function.name(), bytes, Priority::Batch);
                match slot.await {
                    Err(Failure::Busy { .. }) => tokio::time::sleep(BUSY_PAUSE).await,
                    slot => return slot.map(|slot| (slot, running)),
                }
            }
        };
        let name = function.name();
        let _room = self.work.time(name, Phase::Wait, waiting).await?;
        self.work
            .time(name, Phase::Run, function.message(payload))
            .await
    }
}
