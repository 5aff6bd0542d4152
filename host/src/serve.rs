//! `ephemera up`: an [`App`] behind HTTP/1.1.
//!
//! A connection's request is routed, its body read within bounds, a slot waited for, and only then an instance made. What is full answers
//! 503 instead of growing: bodies and answers in memory, and requests that wait, have a limit. A client that sends or reads slowly costs its
//! connection and what has arrived of its body, nothing that others wait for. Connections have a limit too: while it is reached, new ones
//! wait in the kernel's queue until one of the others ends, which all do that are idle, or slower than is allowed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::admission::{Admission, Budget, Load, Priority, Slot};
use crate::app::{App, explain};
use crate::body::{Arriving, BodyLimits, Pieces};
use crate::failure::Failure;
use crate::guest::Long;
use crate::metrics::work::Work;
use crate::metrics::{Gauges, Served};
use crate::nn;
use crate::pace::Floor;
use crate::pressure::Gauge;
use crate::request_id;
use crate::room::{Held, Room};
use crate::runtime::Loaded;
use crate::socket::Socket;
use crate::spin_headers::Client;
use crate::telemetry::listener::MetricsListener;
use crate::telemetry::record::Phase;
use crate::telemetry::trail::Trail;
use crate::telemetry::{self, Place as MetricsPlace, Telemetry};

/// Names and values of one request's headers, in bytes; more is answered 431, as are more than 100 headers.
const HEADER_BYTES: usize = 32 << 10;

/// What is read ahead, in bytes: headers that do not fit are refused before they are all there.
const READ_BYTES: usize = 64 << 10;

/// A request that runs for so long no longer keeps others from running, even if it computes little.
const LONG_TIME: Duration = Duration::from_millis(250);

/// Slower than any telephone line that still carries pictures, and fast enough that nobody holds a connection for long with little.
const FLOOR: Floor = Floor {
    grace: Duration::from_secs(10),
    bytes_per_s: 4 << 10,
};

/// How long a finished answer waits for others to be read: it is in memory meanwhile.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

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
    /// Finished answers in memory at once, in KiB, until their clients have read them.
    pub answers_kib: u32,
    /// How fast an answer has to be read.
    pub answer_floor: Floor,
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
            answers_kib: 64 << 10,
            answer_floor: FLOOR,
            connections: 512,
            body: BodyLimits {
                // The body limit of the smallest edge platform we target.
                bytes: 10 << 20,
                floor: FLOOR,
            },
            header_time: Duration::from_secs(15),
            grace: Duration::from_secs(30),
            telemetry: telemetry::Settings::default(),
        }
    }
}

/// The threads that a server runs on: one more than there are cores, so that one is free to serve while guests compute.
///
/// # Errors
///
/// The system has no threads left.
pub fn executor() -> Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + 1)
        .enable_all()
        .build()
        .context("starting the executor")
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
        app.listens(address);
        let place = options.telemetry.metrics;
        let telemetry = Telemetry::start(options.telemetry.clone());
        let service = Arc::new(Service {
            metrics_here: AtomicBool::new(false),
            metrics_beside: place == MetricsPlace::Beside,
            telemetry,
            connections: options.connections,
            app: RwLock::new(Arc::clone(&app)),
            bodies: Room::new(options.bodies_kib, options.budget.wait_time),
            answers: Room::new(
                options.answers_kib,
                options.budget.wait_time.min(ANSWER_WAIT),
            ),
            admission: Arc::new(Admission::new(options.budget)),
            body: options.body,
        });
        service.declare(&app);
        app.counts_in(&service.admission);
        let metrics = match place {
            MetricsPlace::Apart(address) => {
                let asked = Arc::clone(&service);
                let page = move |request: &Request<Incoming>| asked.metrics(request);
                Some(MetricsListener::start(address, page).await?)
            }
            MetricsPlace::Beside | MetricsPlace::Nowhere => None,
        };
        let watched = watch_pressure(Arc::clone(&service.admission));
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
        let here = self.service.metrics_here.load(Ordering::Relaxed);
        let beside = here.then_some(self.address);
        beside.or(self.metrics.as_ref().map(MetricsListener::address))
    }

    /// What it serves.
    pub fn app(&self) -> Arc<App> {
        self.service.app()
    }

    /// Serves `app` from the next request on. Those that run are finished by what they were begun with, which goes when the last of
    /// them does.
    pub fn replace(&self, app: Arc<App>) {
        app.listens(self.address);
        self.service.declare(&app);
        app.counts_in(&self.service.admission);
        let serving = &self.service.app;
        *serving.write().unwrap_or_else(PoisonError::into_inner) = app;
    }

    /// Who runs next: what else starts functions of this process shares its budget.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.service.admission
    }

    /// Has its metrics tell of `work` too.
    pub(crate) fn measures(&self, work: Arc<Work>) {
        self.service.telemetry.measures(work);
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
pub(crate) async fn watch_pressure(admission: Arc<Admission>) {
    let mut gauge = Gauge::new();
    let mut share = 1.0;
    loop {
        tokio::time::sleep(PRESSURE_TIME).await;
        let before = std::mem::replace(&mut share, gauge.look());
        if share != before {
            tracing::debug!("giving out {:.0} % of the memory budget", share * 100.0);
            admission.limit(share);
        }
    }
}

async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    options: Options,
    mut stopped: oneshot::Receiver<()>,
) -> bool {
    let (stop, stopping) = watch::channel(());
    let room = Arc::new(Semaphore::new(options.connections));
    let mut connections = JoinSet::new();
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
                    let service = Arc::clone(&service);
                    let connection = connect(stream, service, options.clone(), stopping.clone());
                    connections.spawn(keeping(permit, connection));
                }
                Err(error) => {
                    // Out of descriptors, or a client that has left: nothing that a short rest would make worse.
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop((listener, stopping));
    // Each connection ends after the request that it is at; the channel is closed when the last one has.
    let _ = stop.send(());
    let finished = tokio::time::timeout(options.grace, stop.closed()).await;
    connections.shutdown().await;
    finished.is_ok()
}

async fn keeping(_permit: OwnedSemaphorePermit, connection: impl Future<Output = ()>) {
    connection.await;
}

async fn connect(
    stream: TcpStream,
    service: Arc<Service>,
    options: Options,
    mut stopping: watch::Receiver<()>,
) {
    let _open = service.telemetry.connection();
    let client = stream.peer_addr().ok().map(Client);
    let socket = Socket::new(stream, options.answer_floor);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_time)
        .max_buf_size(READ_BYTES)
        .serve_connection(
            TokioIo::new(socket),
            service_fn(move |mut request: Request<Incoming>| {
                if let Some(client) = client {
                    request.extensions_mut().insert(client);
                }
                let service = Arc::clone(&service);
                async move { Ok::<_, Infallible>(service.answer(request).await) }
            }),
        );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stopping.changed() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let Err(error) = ended else {
        return;
    };
    tracing::debug!("connection: {error}");
    if error.is_timeout() {
        let parts = connection.into_parts();
        // One that is merely idle is closed without a word.
        if !parts.read_buf.is_empty() {
            let failure = Failure::HeadersTooSlow(options.header_time);
            parts.io.into_inner().say(&failure);
        }
    }
}

struct Service {
    app: RwLock<Arc<App>>,
    telemetry: Arc<Telemetry>,
    /// Whether metrics are to be served beside the functions, and are: the manifest may have that path itself.
    metrics_beside: bool,
    metrics_here: AtomicBool,
    /// How many may be open.
    connections: usize,
    admission: Arc<Admission>,
    bodies: Room,
    answers: Room,
    body: BodyLimits,
}

/// A request that may run.
struct Admitted<'a> {
    function: &'a Loaded,
    request: Request<Pieces>,
    slot: Slot<'a>,
    /// What its body takes, until it is answered.
    _held: Held,
}

impl Service {
    /// Takes note of the functions of `app`.
    fn declare(&self, app: &App) {
        let here = self.metrics_beside && !app.names(telemetry::PATH);
        self.metrics_here.store(here, Ordering::Relaxed);
        for function in app.functions() {
            let memory_bytes = function.limits().memory_bytes as u64;
            self.telemetry.declare(function.name(), memory_bytes);
        }
    }

    fn app(&self) -> Arc<App> {
        Arc::clone(&self.app.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        if self.metrics_here.load(Ordering::Relaxed) && request.uri().path() == telemetry::PATH {
            return self.metrics(&request).map(Full::new);
        }
        let id = request_id::of_request(request.headers_mut());
        let ongoing = self.telemetry.begin(&mut request, &id);
        let app = self.app();
        let mut response = match self.admit(&app, request).await {
            Ok(admitted) => self.run(admitted).await,
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
        let app = self.app();
        let runtime = app.runtime();
        let gauges = Gauges {
            load: self.admission.load(),
            budget: self.admission.budget(),
            instances: runtime.live_instances(),
            most_instances: runtime.most_instances(),
            served: Some(Served {
                connections: self.telemetry.connections(),
                max_connections: self.connections,
                bodies_bytes: self.bodies.held_bytes(),
                max_bodies_bytes: self.bodies.all_bytes(),
                answers_bytes: self.answers.held_bytes(),
                max_answers_bytes: self.answers.all_bytes(),
            }),
            spans: self.telemetry.spans(),
        };
        self.telemetry
            .page(request.method(), request.headers(), &gauges)
    }

    /// The request with its body, and the right to hold it and to run. Until the body is there, only its bytes count.
    async fn admit<'a>(
        &'a self,
        app: &'a App,
        request: Request<Incoming>,
    ) -> Result<Admitted<'a>, Failure> {
        let trail = Trail::of(&request);
        let (head, body) = request.into_parts();
        let arriving = Arriving::new(&head.headers, body, self.body);
        let busy = || self.admission.busy();
        let welcome = || {
            check_size(&head.headers)?;
            let function = app.route(head.uri.path())?;
            trail.leads_to(function.shared_name());
            let priority = priority(&head.headers)?;
            trail.ranks(priority);
            let bytes = function.limits().memory_bytes as u64;
            match self.admission.is_full(bytes, priority) {
                true => Err(busy()),
                false => Ok((function, bytes, priority)),
            }
        };
        let (function, bytes, priority) = match welcome() {
            Ok(welcome) => welcome,
            Err(failure) => return Err(arriving.refused(failure).await),
        };
        trail.enter(Phase::Body);
        let (body, _held) = arriving.read(&self.bodies, busy).await?;
        trail.received(body.size_hint().lower());
        trail.enter(Phase::Admission);
        let slot = self.admission.slot(function.name(), bytes, priority);
        let mut request = Request::from_parts(head, body);
        app.tell_route(&mut request)?;
        Ok(Admitted {
            function,
            slot: slot.await?,
            request,
            _held,
        })
    }

    /// The function's answer, or why there is none; it says where the models ran.
    async fn run(&self, admitted: Admitted<'_>) -> Response<Bytes> {
        let (trail, function) = (Trail::of(&admitted.request), admitted.function);
        let answer = self.answer_of(admitted).await;
        answer.unwrap_or_else(|failure| {
            trail.failed(&failure);
            nn::tell(explain(&failure), function.devices())
        })
    }

    /// The function's answer, which holds its place among the answers until it has been sent.
    async fn answer_of(&self, admitted: Admitted<'_>) -> Result<Response<Bytes>, Failure> {
        let Admitted {
            function,
            request,
            mut slot,
            _held,
        } = admitted;
        let long = Arc::new(Long::default());
        let mut running = std::pin::pin!(function.handle_telling(request, Arc::clone(&long)));
        let answer = tokio::select! {
            answer = &mut running => answer?,
            () = takes_long(&long) => {
                slot.step_aside();
                running.await?
            }
        };
        // It has done its work: others may run while it waits for room.
        drop((slot, _held));
        let mut held = Held::default();
        let grown = self.answers.grow(&mut held, answer.body().len()).await;
        grown.map_err(|_| self.admission.busy())?;
        Ok(answer.map(|bytes| Bytes::from_owner(Answer { bytes, _held: held })))
    }
}

/// Waits until a guest has computed for long, or has been there for long without that.
async fn takes_long(long: &Long) {
    let _ = tokio::time::timeout(LONG_TIME, long.happened()).await;
}

/// Bytes that count until the last of them is dropped.
struct Answer {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn check_size(headers: &HeaderMap) -> Result<(), Failure> {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    match sizes.sum::<usize>() > HEADER_BYTES {
        true => Err(Failure::HeadersTooLarge {
            limit_bytes: HEADER_BYTES,
        }),
        false => Ok(()),
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

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &'static str, value: &[u8]) -> Option<HeaderMap> {
        let value = HeaderValue::from_bytes(value).ok()?;
        Some(HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static(name),
            value,
        )]))
    }

    #[test]
    fn a_priority_is_one_of_two_words() {
        for (value, expected) in [
            (&b"interactive"[..], Some(Priority::Interactive)),
            (b"Batch", Some(Priority::Batch)),
            (b" batch\t", Some(Priority::Batch)),
            (b"", None),
            (b"batch, interactive", None),
            (b"b\xc3\xa4tch", None),
        ] {
            let headers = headers("x-priority", value).expect("a header");
            assert_eq!(priority(&headers).ok(), expected, "{value:?}");
        }
        let none = priority(&HeaderMap::new());
        assert_eq!(none.ok(), Some(Priority::Interactive));
    }

    #[test]
    fn headers_count_with_their_names() {
        let fits = vec![b'x'; HEADER_BYTES - "x-filler".len()];
        let headers = |value: &[u8]| headers("x-filler", value).expect("a header");
        assert!(check_size(&headers(&fits)).is_ok());
        let larger = [&fits[..], b"x"].concat();
        assert!(check_size(&headers(&larger)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_are_a_priority_or_refused(value in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(headers) = headers("x-priority", &value) {
                let text = String::from_utf8_lossy(&value).trim().to_ascii_lowercase();
                let known = ["interactive", "batch"].contains(&&*text);
                prop_assert_eq!(priority(&headers).is_ok(), known);
            }
        }

        #[test]
        fn a_request_id_is_echoed_or_made(value in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(mut headers) = headers("x-request-id", &value) {
                let id = request_id::of_request(&mut headers);
                let plain = value.iter().all(u8::is_ascii_graphic);
                let kept = plain && (1..=128).contains(&value.len());
                prop_assert_eq!(id.as_bytes() == value, kept);
                prop_assert!(id.as_bytes().iter().all(u8::is_ascii_graphic));
            }
        }
    }
}
