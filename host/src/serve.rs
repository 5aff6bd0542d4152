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
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};
use tokio::task::JoinHandle;

use crate::app::{App, explain};
use crate::body::{BodyLimits, Pieces};
use crate::failure::Failure;
use crate::request_id;

/// How a server is bounded.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Instances at once. More than there are cores gains nothing: a function computes.
    pub instances: u32,
    /// Requests that may wait for an instance.
    pub waiting: usize,
    /// How long one may wait.
    pub wait_time: Duration,
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
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            instances: u32::try_from(cores).unwrap_or(u32::MAX),
            waiting: 64,
            wait_time: Duration::from_secs(30),
            bodies_kib: 64 << 10,
            connections: 512,
            body: BodyLimits {
                // The body limit of the smallest edge platform we target.
                bytes: 10 << 20,
                time: Duration::from_secs(30),
            },
            header_time: Duration::from_secs(15),
            grace: Duration::from_secs(30),
        }
    }
}

/// A server, listening.
pub struct Server {
    address: SocketAddr,
    app: Arc<App>,
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
        let service = Arc::new(Service {
            app: Arc::clone(&app),
            admission: Admission::new(&options),
            body: options.body,
        });
        let task = tokio::spawn(accept(listener, service, options, stopped));
        Ok(Self {
            address,
            app,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Stops listening, lets running requests finish within the grace time, drops the rest. Returns whether all could finish.
    pub async fn stop(self) -> bool {
        // Nobody to tell: it has stopped already.
        let _ = self.stop.send(());
        self.task.await.unwrap_or(false)
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
    let service = Arc::clone(service);
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
    async move {
        let _permit = permit;
        if let Err(error) = connection.await {
            tracing::debug!("connection: {error}");
        }
    }
}

struct Service {
    app: Arc<App>,
    admission: Admission,
    body: BodyLimits,
}

impl Service {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let id = request_id::of_request(request.headers_mut());
        let mut response = match self.admit(request).await {
            Ok((request, _slot)) => self.app.handle(request).await,
            Err(failure) => explain(&failure),
        };
        request_id::on_answer(response.headers_mut(), id);
        response.map(Full::new)
    }

    /// The request with its body, and the right to run it.
    async fn admit(
        &self,
        request: Request<Incoming>,
    ) -> Result<(Request<Pieces>, Slot<'_>), Failure> {
        self.app.route(request.uri().path())?;
        let place = self.admission.place()?;
        let (head, body) = request.into_parts();
        // A body of unknown length may become as long as the longest.
        let bytes = body.size_hint().exact().unwrap_or(u64::MAX);
        let place = place.with_body(bytes.min(self.body.bytes as u64)).await?;
        let body = Pieces::read(&head.headers, body, self.body).await?;
        let slot = place.slot().await?;
        Ok((Request::from_parts(head, body), slot))
    }
}

/// Who may hold a body, and who may run.
struct Admission {
    instances: Semaphore,
    bodies_kib: Semaphore,
    max_bodies_kib: u32,
    /// Requests between their headers and their answer.
    inside: AtomicUsize,
    max_inside: usize,
    wait_time: Duration,
}

/// The right to wait.
struct Place<'a>(&'a Admission);

/// The right to hold a body in memory.
struct BodyPlace<'a> {
    place: Place<'a>,
    _memory: SemaphorePermit<'a>,
}

/// The right to run.
struct Slot<'a> {
    _body: BodyPlace<'a>,
    _instance: SemaphorePermit<'a>,
}

impl Admission {
    fn new(options: &Options) -> Self {
        let instances = options.instances as usize;
        Self {
            instances: Semaphore::new(instances),
            bodies_kib: Semaphore::new(options.bodies_kib as usize),
            max_bodies_kib: options.bodies_kib,
            inside: AtomicUsize::new(0),
            max_inside: instances.saturating_add(options.waiting),
            wait_time: options.wait_time,
        }
    }

    fn place(&self) -> Result<Place<'_>, Failure> {
        let place = Place(self);
        if self.inside.fetch_add(1, Ordering::SeqCst) >= self.max_inside {
            return Err(Failure::Busy);
        }
        Ok(place)
    }

    async fn acquire<'a>(
        &self,
        semaphore: &'a Semaphore,
        permits: u32,
    ) -> Result<SemaphorePermit<'a>, Failure> {
        let permit = semaphore.acquire_many(permits);
        tokio::time::timeout(self.wait_time, permit)
            .await
            .map_err(|_| Failure::Busy)
            .map(|permit| permit.expect("the semaphore is never closed"))
    }
}

impl<'a> Place<'a> {
    async fn with_body(self, bytes: u64) -> Result<BodyPlace<'a>, Failure> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        // One that is larger than all of the memory waits until it is alone.
        let kib = kib.min(self.0.max_bodies_kib);
        Ok(BodyPlace {
            _memory: self.0.acquire(&self.0.bodies_kib, kib).await?,
            place: self,
        })
    }
}

impl<'a> BodyPlace<'a> {
    async fn slot(self) -> Result<Slot<'a>, Failure> {
        let admission = self.place.0;
        Ok(Slot {
            _instance: admission.acquire(&admission.instances, 1).await?,
            _body: self,
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

    fn admission(instances: u32, waiting: usize) -> Admission {
        Admission::new(&Options {
            instances,
            waiting,
            wait_time: Duration::from_millis(20),
            bodies_kib: 3,
            ..Options::default()
        })
    }

    #[tokio::test]
    async fn instances_and_waiting_requests_are_bounded() {
        let admission = admission(1, 1);
        let place = async || admission.place()?.with_body(0).await;
        let running = place().await.expect("free").slot().await.expect("free");
        let waiting = place().await.expect("one may wait");
        assert!(matches!(place().await, Err(Failure::Busy)));

        // It gives up after the waiting time, and leaves its place to another.
        assert!(matches!(waiting.slot().await, Err(Failure::Busy)));
        let waiting = place().await.expect("one may wait");
        drop(running);
        drop(waiting.slot().await.expect("free again"));
        assert_eq!(admission.inside.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn bodies_in_memory_are_bounded() {
        let admission = admission(9, 9);
        let body = async |bytes| admission.place()?.with_body(bytes).await;
        let first = body(1025).await.expect("2 of 3 KiB");
        let second = body(1024).await.expect("3 of 3 KiB");
        assert!(matches!(body(1).await, Err(Failure::Busy)));
        drop((first, second));
        drop(body(u64::MAX).await.expect("alone"));
    }
}
