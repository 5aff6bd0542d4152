//! What a server says of its requests: each leaves one record, and metrics, access lines and spans are made of it.
//!
//! ```text
//! trace.rs     traceparent, tracestate -> the trace that a request belongs to
//! trail.rs     notes while a request is worked on: phases, memory, faults
//! record.rs    all that is known when it is over
//! access.rs    record -> one line in the log
//! otlp.rs      record -> spans -> a collector
//! listener.rs  metrics on an address of their own
//! alone.rs     metrics where nothing else is served
//! logging.rs   lines of the log as text or JSON
//! ```
//!
//! A request costs some microseconds of it, and an idle server nothing: no timer, no thread, no buffer.

mod access;
pub(crate) mod alone;
pub(crate) mod listener;
pub mod logging;
pub mod otlp;
mod reason;
pub(crate) mod record;
pub(crate) mod trace;
pub(crate) mod trail;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::failure::Failure;
use crate::metrics::gpu::Gpus;
use crate::metrics::text::Format;
use crate::metrics::work::Work;
use crate::metrics::{Gauges, Metrics, SpanCounts};

use otlp::Exporter;
use trace::Trace;
use trail::{Start, Trail};

/// Where metrics are served.
pub const PATH: &str = "/metrics";

/// What is told, and where.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Who may read metrics.
    pub metrics: Place,
    /// Whether requests that went well have a line in the log too.
    pub access_log: bool,
    /// Where spans are sent.
    pub otlp: Option<otlp::Collector>,
    /// Whose GPUs are in the metrics.
    pub gpus: Gpus,
}

/// Where metrics can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// At [`PATH`] of the server, unless the manifest has that path itself.
    #[default]
    Beside,
    /// At [`PATH`] of a listener of its own.
    Apart(SocketAddr),
    /// Nowhere.
    Nowhere,
}

/// Takes records, and gives out what became of them.
pub(crate) struct Telemetry {
    metrics: Metrics,
    access_log: bool,
    /// Whether requests that went wrong have no line in the log: who made them has.
    quiet: bool,
    exporter: Option<Exporter>,
    connections: Arc<AtomicUsize>,
}

/// A request under way. It is over when this is dropped, which is when its answer has gone out, or its client has.
pub(crate) struct Ongoing {
    telemetry: Arc<Telemetry>,
    pub(crate) trail: Trail,
}

/// One open connection, counted.
pub(crate) struct Connection(Arc<AtomicUsize>);

impl Telemetry {
    /// Within an executor.
    pub(crate) fn start(settings: Settings) -> Arc<Self> {
        Self::new(settings, false)
    }

    /// Of `work` whose requests nobody made over HTTP, and nobody asks for lines or spans of. It needs no executor.
    pub(crate) fn of(work: Arc<Work>, gpus: Gpus) -> Arc<Self> {
        let settings = Settings {
            gpus,
            ..Settings::default()
        };
        let telemetry = Self::new(settings, true);
        telemetry.measures(work);
        telemetry
    }

    fn new(settings: Settings, quiet: bool) -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::new(settings.gpus),
            quiet,
            access_log: settings.access_log,
            exporter: settings.otlp.map(Exporter::start),
            connections: Arc::default(),
        })
    }

    /// There is a function of this name, of which one request may take `memory_bytes`.
    pub(crate) fn declare(&self, function: &str, memory_bytes: u64) {
        self.metrics.declare(function, memory_bytes);
    }

    /// Metrics tell of `work` too.
    pub(crate) fn measures(&self, work: Arc<Work>) {
        self.metrics.measures(work);
    }

    /// `request` has begun. It gets a trace, which its function sees, and carries its [`Trail`] from here on.
    pub(crate) fn begin<T>(
        self: &Arc<Self>,
        request: &mut Request<T>,
        request_id: &HeaderValue,
    ) -> Ongoing {
        let record = self.exporter.is_some();
        let trace = Trace::of_request(request.headers_mut(), record);
        let trail = Trail::begin(Start {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            request_id: request_id.to_str().unwrap_or_default().to_owned(),
            trace,
        });
        request.extensions_mut().insert(trail.clone());
        Ongoing {
            telemetry: Arc::clone(self),
            trail,
        }
    }

    /// A connection is open as long as the answer lives.
    pub(crate) fn connection(&self) -> Connection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connection(Arc::clone(&self.connections))
    }

    /// How many are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What became of spans.
    pub(crate) fn spans(&self) -> SpanCounts {
        let exporter = self.exporter.as_ref();
        exporter.map(Exporter::counts).unwrap_or_default()
    }

    /// The answer to a request for metrics.
    pub(crate) fn page(
        &self,
        method: &Method,
        headers: &HeaderMap,
        gauges: &Gauges,
    ) -> Response<Bytes> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut refusal = Response::new(Bytes::from_static(b"expected GET\n"));
            *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let allowed = HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(hyper::header::ALLOW, allowed);
            return refusal;
        }
        let format = Format::accepted(headers);
        let mut page = Response::new(Bytes::from(self.metrics.text(gauges, format)));
        let kind = HeaderValue::from_static(format.content_type());
        page.headers_mut().insert(CONTENT_TYPE, kind);
        let never = HeaderValue::from_static("no-store");
        page.headers_mut().insert(CACHE_CONTROL, never);
        page
    }

    /// Sends the spans that wait to be sent, as far as that is soon done.
    pub(crate) async fn stop(&self) {
        if let Some(exporter) = &self.exporter {
            exporter.flush().await;
        }
    }

    fn take(&self, record: record::Record) {
        self.metrics.count(&record);
        if !self.quiet {
            access::log(&record, self.access_log);
        }
        if let Some(exporter) = &self.exporter
            && record.trace.sampled
        {
            exporter.export(record);
        }
    }
}

impl Ongoing {
    /// The host, not the function, answers.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.trail.failed(failure);
    }

    /// The answer goes out. The request is over when its last byte is with the kernel.
    pub(crate) fn sending(self, answer: Response<Bytes>) -> Response<Bytes> {
        self.trail
            .answers(answer.status().as_u16(), answer.body().len());
        answer.map(|bytes| {
            Bytes::from_owner(Sending {
                bytes,
                _ongoing: self,
            })
        })
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if let Some(record) = self.trail.end() {
            self.telemetry.take(record);
        }
    }
}

/// An answer's bytes, which end the request when the server lets go of them.
struct Sending {
    bytes: Bytes,
    _ongoing: Ongoing,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::admission::Priority;
    use record::{Phase, Record};

    fn telemetry() -> Arc<Telemetry> {
        let telemetry = Telemetry::start(Settings::default());
        telemetry.declare("ocr", 1 << 20);
        telemetry
    }

    fn request(telemetry: &Arc<Telemetry>) -> (Request<()>, Ongoing) {
        let mut request = Request::get("/v1/ocr?secret").body(()).expect("valid");
        let id = HeaderValue::from_static("id-1");
        let ongoing = telemetry.begin(&mut request, &id);
        (request, ongoing)
    }

    /// What was noted so far.
    fn noted(ongoing: &Ongoing) -> Record {
        ongoing.trail.end().expect("it carries notes")
    }

    #[test]
    fn phases_follow_each_other_and_the_most_memory_counts() {
        let (request, ongoing) = request(&telemetry());
        let trail = Trail::of(&request);
        trail.leads_to(&"ocr".into());
        trail.ranks(Priority::Batch);
        for phase in [Phase::Body, Phase::Admission] {
            trail.enter(phase);
            std::thread::sleep(Duration::from_millis(2));
        }
        for bytes in [1, 5, 3] {
            trail.holds(bytes);
        }
        trail.runs_on("cuda:1");
        let record = noted(&ongoing);
        assert_eq!(
            (record.path.as_str(), record.request_id.as_str()),
            ("/v1/ocr", "id-1")
        );
        assert_eq!(
            (record.function.as_deref(), record.priority),
            (Some("ocr"), Priority::Batch)
        );
        assert_eq!(
            (record.peak_memory_bytes, record.device.as_deref()),
            (5, Some("cuda:1"))
        );
        assert!(record.took(Phase::Guest).is_none());
        let span = |phase| record.phases[phase as usize].expect("it came to that");
        let ((body, took), (admission, _)) = (span(Phase::Body), span(Phase::Admission));
        assert!(took >= Duration::from_millis(2) && body + took <= admission);
        assert!(admission + span(Phase::Admission).1 <= record.total);
    }

    #[tokio::test]
    async fn what_a_future_does_is_measured_whatever_thread_it_is_on() {
        let (_, ongoing) = request(&telemetry());
        let work = async {
            tokio::task::yield_now().await;
            let begun = Instant::now();
            // More than glibc ever keeps for another use (32 MiB), so that each page is new.
            let mut pages = vec![0_u8; 64 << 20];
            while begun.elapsed() < Duration::from_millis(50) {
                pages.iter_mut().step_by(4096).for_each(|byte| {
                    *byte = byte.wrapping_add(1);
                });
            }
            std::hint::black_box(&pages);
        };
        ongoing.trail.measured(work).await;
        let record = noted(&ongoing);
        assert!(record.minor_faults > 0, "{record:?}");
        assert!(record.cpu > Duration::from_millis(1), "{record:?}");
        // Without notes it only runs.
        assert_eq!(Trail::default().measured(std::future::ready(7)).await, 7);
    }

    #[test]
    fn a_request_ends_when_its_answer_is_let_go_of_or_its_client_leaves() {
        let telemetry = telemetry();
        let text = |line: &str| {
            let mut text = crate::metrics::text::Text::new(Format::Prometheus);
            telemetry.metrics.write_functions(&mut text);
            text.end().lines().any(|other| other == line)
        };
        let (_, ongoing) = request(&telemetry);
        let answer = ongoing.sending(Response::new(Bytes::from_static(b"four")));
        let ended = "ephemera_requests_total{function=\"\",status=\"200\"} 1";
        assert!(!text(ended));
        // Whoever holds a part of it still sends.
        let part = answer.body().slice(1..);
        drop(answer);
        assert!(!text(ended));
        drop(part);
        assert!(text(ended));
        assert!(text("ephemera_sent_bytes_total{function=\"\"} 4"));
        drop(request(&telemetry));
        assert!(text(
            "ephemera_requests_total{function=\"\",status=\"499\"} 1"
        ));
    }

    /// Some microseconds; the bound is for the slowest machine, unoptimised and busy.
    #[test]
    fn a_request_costs_little() {
        let telemetry = telemetry();
        let requests = 2000;
        let begun = Instant::now();
        for _ in 0..requests {
            let (request, ongoing) = request(&telemetry);
            let trail = Trail::of(&request);
            trail.leads_to(&"ocr".into());
            trail.ranks(Priority::Interactive);
            for phase in Phase::ALL {
                trail.enter(phase);
            }
            pollster(trail.measured(std::future::ready(())));
            drop(ongoing.sending(Response::new(Bytes::new())));
        }
        let each = begun.elapsed() / requests;
        eprintln!("{each:?} a request");
        assert!(each < Duration::from_millis(2), "{each:?}");
    }

    /// Polls what is ready at once.
    fn pollster<F: Future>(future: F) {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_ready());
    }
}
