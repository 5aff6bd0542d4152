//! `ephemera up`: an [`App`] behind HTTP/1.1.
//!
//! A connection's request is routed, its body read within bounds, a slot waited for, and only then an instance made. What is full answers
//! 503 instead of growing: connections, bodies in memory, and requests that wait all have a limit.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};
use tokio::task::JoinHandle;

use crate::admission::{Admission, Budget, Load, Priority, Slot};
use crate::app::{App, explain};
use crate::body::{BodyLimits, Pieces};
use crate::failure::Failure;
use crate::metrics::Gauges;
use crate::pressure::Gauge;
use crate::request_id;
use crate::telemetry::listener::MetricsListener;
use crate::telemetry::record::Phase;
use crate::telemetry::trail::Trail;
use crate::telemetry::{self, Place as MetricsPlace, Telemetry};

/// How often the kernel is asked whether memory is short.
const PRESSURE_TIME: Duration = Duration::from_secs(1);

/// How a server is bounded.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What running requests may take, and who waits for it.
    pub budget: Budget,
    /// Bodies in memory at once, in KiB, those of running requests included.
    pub bodies_kib: u32,
    /// Open connections, idle ones included.
    pub connections: usize,
    /// Bounds of one body.
    pub body: BodyLimits,
    /// How long headers may take to arrive, and an idle connection stays open.
    pub header_time: Duration,
    /// How long running requests may still take after the server is told to stop.
    pub grace: Duration,
    /// What is told of requests, and where.
    pub telemetry: telemetry::Settings,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            budget: Budget {
                memory_bytes: u64::MAX,
                instances: u32::try_from(cores).unwrap_or(u32::MAX),
                waiting: 64,
                wait_time: Duration::from_secs(30),
            },
            bodies_kib: 64 << 10,
            connections: 512,
            body: BodyLimits {
                // The body limit of the smallest edge platform we target.
                bytes: 10 << 20,
                time: Duration::from_secs(30),
            },
            header_time: Duration::from_secs(15),
            grace: Duration::from_secs(30),
            telemetry: telemetry::Settings::default(),
        }
    }
}

/// A server, listening.
pub struct Server {
    address: SocketAddr,
    service: Arc<Service>,
    metrics: Option<MetricsListener>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<bool>,
}

impl Server {
    /// Listens, and serves `app` in the background of the current executor.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn start(app: Arc<App>, options: Options) -> Result<Self> {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("listening on {}", options.listen))?;
        let address = listener.local_addr().context("asking for the address")?;
        let (stop, stopped) = oneshot::channel();
        let place = options.telemetry.metrics;
        let functions = app.functions();
        let functions = functions.map(|f| (f.name(), f.limits().memory_bytes as u64));
        let telemetry = Telemetry::start(options.telemetry.clone(), functions);
        let service = Arc::new(Service {
            metrics_here: place == MetricsPlace::Beside && !app.names(telemetry::PATH),
            telemetry,
            connections: options.connections,
            app,
            doors: Doors::new(&options),
            admission: Admission::new(options.budget),
            body: options.body,
        });
        let metrics = match place {
            MetricsPlace::Apart(address) => {
                let asked = Arc::clone(&service);
                let page = move |request: &Request<Incoming>| asked.metrics(request);
                Some(MetricsListener::start(address, page).await?)
            }
            MetricsPlace::Beside | MetricsPlace::Nowhere => None,
        };
        let watched = watch_pressure(Arc::clone(&service));
        let serving = Arc::clone(&service);
        let task = tokio::spawn(async move {
            tokio::select! {
                finished = accept(listener, serving, options, stopped) => finished,
                () = watched => unreachable!("it watches as long as it is let"),
            }
        });
        Ok(Self {
            address,
            service,
            metrics,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are served, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        let beside = self.service.metrics_here.then_some(self.address);
        beside.or(self.metrics.as_ref().map(MetricsListener::address))
    }

    /// What it serves.
    pub fn app(&self) -> &App {
        &self.service.app
    }

    /// What runs and what waits now.
    pub fn load(&self) -> Load {
        self.service.admission.load()
    }

    /// Stops listening, lets running requests finish within the grace time, drops the rest. Returns whether all could finish.
    pub async fn stop(self) -> bool {
        // Nobody to tell: it has stopped already.
        let _ = self.stop.send(());
        let finished = self.task.await.unwrap_or(false);
        self.service.telemetry.stop().await;
        finished
    }
}

/// Gives out less memory while the machine is short of it.
async fn watch_pressure(service: Arc<Service>) {
    let mut gauge = Gauge::new();
    let mut share = 1.0;
    loop {
        tokio::time::sleep(PRESSURE_TIME).await;
        let before = std::mem::replace(&mut share, gauge.look());
        if share != before {
            tracing::debug!("giving out {:.0} % of the memory budget", share * 100.0);
            service.admission.limit(share);
        }
    }
}

async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    options: Options,
    mut stopped: oneshot::Receiver<()>,
) -> bool {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(options.connections));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            (listener.accept().await, permit)
        };
        tokio::select! {
            _ = &mut stopped => break,
            // Finished connections are collected, or the set would grow.
            Some(_) = connections.join_next() => {}
            (accepted, permit) = next => match accepted {
                Ok((stream, _)) => {
                    let connection = connect(stream, &service, &options, &graceful, permit);
                    connections.spawn(connection);
                }
                Err(error) => {
                    // Out of descriptors, or a client that has left: nothing that a short rest would make worse.
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let finished = tokio::time::timeout(options.grace, graceful.shutdown()).await;
    connections.shutdown().await;
    finished.is_ok()
}

fn connect(
    stream: TcpStream,
    service: &Arc<Service>,
    options: &Options,
    graceful: &GracefulShutdown,
    permit: OwnedSemaphorePermit,
) -> impl Future<Output = ()> + Send + 'static {
    let (service, counted) = (Arc::clone(service), service);
    // An answer is one write; waiting to fill a packet only delays it. A socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_time)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                let service = Arc::clone(&service);
                async move { Ok::<_, Infallible>(service.answer(request).await) }
            }),
        );
    let connection = graceful.watch(connection);
    let open = counted.telemetry.connection();
    async move {
        let _held = (permit, open);
        if let Err(error) = connection.await {
            tracing::debug!("connection: {error}");
        }
    }
}

struct Service {
    app: Arc<App>,
    telemetry: Arc<Telemetry>,
    /// Whether metrics are served beside the functions.
    metrics_here: bool,
    /// How many may be open.
    connections: usize,
    doors: Doors,
    admission: Admission,
    body: BodyLimits,
}

impl Service {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        if self.metrics_here && request.uri().path() == telemetry::PATH {
            return self.metrics(&request).map(Full::new);
        }
        let id = request_id::of_request(request.headers_mut());
        let ongoing = self.telemetry.begin(&mut request, &id);
        let mut response = match self.admit(request).await {
            Ok((request, _held)) => self.app.handle(request).await,
            Err(failure) => {
                ongoing.failed(&failure);
                explain(&failure)
            }
        };
        request_id::on_answer(response.headers_mut(), id);
        ongoing.sending(response).map(Full::new)
    }

    /// The answer to a request for metrics.
    fn metrics(&self, request: &Request<Incoming>) -> Response<Bytes> {
        let gauges = Gauges {
            load: self.admission.load(),
            budget: self.admission.budget(),
            instances: self.app.runtime().live_instances(),
            most_instances: self.app.runtime().most_instances(),
            connections: self.telemetry.connections(),
            max_connections: self.connections,
            inside: self.doors.inside.load(Ordering::Relaxed),
            bodies_bytes: self.doors.held_bytes(),
            max_bodies_bytes: u64::from(self.doors.max_bodies_kib) << 10,
            spans: self.telemetry.spans(),
        };
        self.telemetry
            .page(request.method(), request.headers(), &gauges)
    }

    /// The request with its body, and the right to hold it and to run.
    async fn admit(
        &self,
        request: Request<Incoming>,
    ) -> Result<(Request<Pieces>, (BodyPlace<'_>, Slot<'_>)), Failure> {
        let trail = Trail::of(&request);
        let function = self.app.route(request.uri().path())?;
        trail.leads_to(function.shared_name());
        let priority = priority(request.headers())?;
        trail.ranks(priority);
        let busy = || self.admission.busy();
        let place = self.doors.place().ok_or_else(busy)?;
        let (head, body) = request.into_parts();
        trail.enter(Phase::Body);
        // A body of unknown length may become as long as the longest.
        let bytes = body.size_hint().exact().unwrap_or(u64::MAX);
        let place = place.with_body(bytes.min(self.body.bytes as u64)).await;
        let place = place.ok_or_else(busy)?;
        let body = Pieces::read(&head.headers, body, self.body).await?;
        trail.received(body.size_hint().lower());
        trail.enter(Phase::Admission);
        let bytes = function.limits().memory_bytes as u64;
        let slot = self
            .admission
            .slot(function.name(), bytes, priority)
            .await?;
        Ok((Request::from_parts(head, body), (place, slot)))
    }
}

/// What `X-Priority` says; interactive without it.
fn priority(headers: &HeaderMap) -> Result<Priority, Failure> {
    let Some(name) = headers.get("x-priority") else {
        return Ok(Priority::default());
    };
    let name = name.to_str().ok();
    name.and_then(Priority::named).ok_or(Failure::Priority)
}

/// Who may hold a body in memory: a bounded number of requests, and of bytes.
struct Doors {
    bodies_kib: Semaphore,
    max_bodies_kib: u32,
    /// Requests between their headers and their answer.
    inside: AtomicUsize,
    max_inside: usize,
    wait_time: Duration,
}

/// The right to be inside.
struct Place<'a>(&'a Doors);

/// The right to hold a body in memory.
struct BodyPlace<'a> {
    _place: Place<'a>,
    _memory: SemaphorePermit<'a>,
}

impl Doors {
    fn new(options: &Options) -> Self {
        let instances = options.budget.instances as usize;
        Self {
            bodies_kib: Semaphore::new(options.bodies_kib as usize),
            max_bodies_kib: options.bodies_kib,
            inside: AtomicUsize::new(0),
            max_inside: instances.saturating_add(options.budget.waiting),
            wait_time: options.budget.wait_time,
        }
    }

    /// Memory that is set aside for bodies.
    fn held_bytes(&self) -> u64 {
        let free_kib = self.bodies_kib.available_permits() as u64;
        (u64::from(self.max_bodies_kib).saturating_sub(free_kib)) << 10
    }

    fn place(&self) -> Option<Place<'_>> {
        let place = Place(self);
        (self.inside.fetch_add(1, Ordering::SeqCst) < self.max_inside).then_some(place)
    }
}

impl<'a> Place<'a> {
    /// Waits for memory for a body of `bytes`; `None` when that takes too long.
    async fn with_body(self, bytes: u64) -> Option<BodyPlace<'a>> {
        let doors = self.0;
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        // One that is larger than all of the memory waits until it is alone.
        let permit = doors.bodies_kib.acquire_many(kib.min(doors.max_bodies_kib));
        let permit = tokio::time::timeout(doors.wait_time, permit).await.ok()?;
        Some(BodyPlace {
            _memory: permit.expect("the semaphore is never closed"),
            _place: self,
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(instances: u32, waiting: usize) -> Doors {
        Doors::new(&Options {
            budget: Budget {
                memory_bytes: 1 << 20,
                instances,
                waiting,
                wait_time: Duration::from_millis(20),
            },
            bodies_kib: 3,
            ..Options::default()
        })
    }

    #[test]
    fn requests_inside_are_bounded() {
        let doors = doors(1, 1);
        let running = doors.place().expect("one runs");
        let waiting = doors.place().expect("one may wait");
        assert!(doors.place().is_none());
        drop(waiting);
        drop(doors.place().expect("one may wait"));
        drop(running);
        assert_eq!(doors.inside.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn bodies_in_memory_are_bounded() {
        let doors = doors(9, 9);
        let body = async |bytes| doors.place()?.with_body(bytes).await;
        let first = body(1025).await.expect("2 of 3 KiB");
        let second = body(1024).await.expect("3 of 3 KiB");
        assert!(body(1).await.is_none());
        drop((first, second));
        drop(body(u64::MAX).await.expect("alone"));
    }
}
