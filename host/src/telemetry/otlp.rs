//! Records -> spans -> a collector, by OTLP over HTTP with JSON.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>. Of our own, because the SDK brings a client with TLS, protobuf and threads that wait,
//! and one request is all that is needed: a batch is a JSON object, posted. A request never waits for it: what finds no room in the queue is
//! dropped and counted. Without requests nothing wakes.

mod json;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::record::Record;
use crate::http_client::{self, Url};
use crate::metrics::SpanCounts;

/// Requests that may wait to be exported: about a MiB of them.
const QUEUE: usize = 1024;

/// Requests in one batch: some 100 KiB of JSON.
const BATCH: usize = 128;

/// From the first request of a batch to its export.
const DELAY: Duration = Duration::from_secs(1);

/// A collector that does not answer is given up on after this.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Waits before a batch is tried again that a collector was too busy for.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// How long a server that stops waits for what is left.
const LAST: Duration = Duration::from_secs(3);

/// An answer says how many spans were refused, and is short.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The port that the standard gives to OTLP over HTTP.
const PORT: u16 = 4318;

/// Where spans are sent, and what they are said to be of.
#[derive(Debug, Clone)]
pub struct Collector {
    url: Url,
    service: String,
}

impl Collector {
    /// The collector at `endpoint`, such as `http://localhost:4318`, for spans of `service`.
    ///
    /// # Errors
    ///
    /// What is no address, and `https`, which is not supported.
    pub fn new(endpoint: &str, service: String) -> Result<Self> {
        let url = Url::parse(endpoint, PORT)?.join("/v1/traces");
        Ok(Self { url, service })
    }
}

/// Exports in the background.
pub(super) struct Exporter {
    queue: Sender<Item>,
    counts: Arc<Counts>,
}

enum Item {
    Record(Box<Record>),
    /// Export what is there, then say so.
    Flush(oneshot::Sender<()>),
}

#[derive(Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Exporter {
    /// Starts a task in this executor.
    pub(super) fn start(collector: Collector) -> Self {
        let (queue, items) = mpsc::channel(QUEUE);
        let counts = Arc::<Counts>::default();
        tokio::spawn(export(collector, items, Arc::clone(&counts)));
        Self { queue, counts }
    }

    /// Exports `record` soon, if there is room.
    pub(super) fn export(&self, record: Record) {
        let spans = json::spans(&record);
        if self.queue.try_send(Item::Record(Box::new(record))).is_err() {
            add(&self.counts.dropped, spans);
        }
    }

    /// Waits until what was to be exported is, but not for long.
    pub(super) async fn flush(&self) {
        let flushed = async {
            let (send, done) = oneshot::channel();
            if self.queue.send(Item::Flush(send)).await.is_ok() {
                // Its task has ended: nothing is left to wait for.
                let _ = done.await;
            }
        };
        if tokio::time::timeout(LAST, flushed).await.is_err() {
            tracing::warn!("spans that were not exported yet are lost");
        }
    }

    pub(super) fn counts(&self) -> SpanCounts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SpanCounts {
            exported: count(&self.counts.exported),
            dropped: count(&self.counts.dropped),
            failed: count(&self.counts.failed),
        }
    }
}

/// Batch by batch, until nobody has anything more to export.
async fn export(collector: Collector, mut items: Receiver<Item>, counts: Arc<Counts>) {
    while let Some(first) = items.recv().await {
        let (records, flushed) = batch(first, &mut items).await;
        if !records.is_empty() {
            send(&collector, &records, &counts).await;
        }
        if let Some(flushed) = flushed {
            // Who wanted to know may have gone.
            let _ = flushed.send(());
        }
    }
}

/// `first` and what comes soon after it.
async fn batch(
    first: Item,
    items: &mut Receiver<Item>,
) -> (Vec<Record>, Option<oneshot::Sender<()>>) {
    let mut records = vec![];
    let until = Instant::now() + DELAY;
    let mut next = Ok(Some(first));
    loop {
        match next {
            Ok(Some(Item::Record(record))) => records.push(*record),
            Ok(Some(Item::Flush(flushed))) => return (records, Some(flushed)),
            Ok(None) | Err(_) => return (records, None),
        }
        if records.len() == BATCH {
            return (records, None);
        }
        next = tokio::time::timeout_at(until, items.recv()).await;
    }
}

/// Posts `records`, again if that may help, and counts what became of their spans.
async fn send(collector: &Collector, records: &[Record], counts: &Counts) {
    let spans: u64 = records.iter().map(json::spans).sum();
    let body = Bytes::from(json::traces(records, &collector.service));
    let mut waits = RETRIES.iter();
    loop {
        let error = match post(collector, body.clone()).await {
            Ok(rejected) => {
                add(&counts.exported, spans.saturating_sub(rejected));
                add(&counts.failed, rejected.min(spans));
                return;
            }
            Err(error) => error,
        };
        let wait = waits.next().filter(|_| error.again);
        let Some(wait) = wait else {
            add(&counts.failed, spans);
            let cause = error.cause;
            tracing::warn!("exporting {spans} spans to {}: {cause:#}", collector.url);
            return;
        };
        tokio::time::sleep(*wait).await;
    }
}

struct Refused {
    /// Whether the same may go well later.
    again: bool,
    cause: anyhow::Error,
}

/// How many spans the collector took only to refuse them.
async fn post(collector: &Collector, body: Bytes) -> Result<u64, Refused> {
    let request = Request::post("/")
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .expect("its parts are valid");
    let answer = http_client::exchange(&collector.url, request, MAX_ANSWER_BYTES, TIMEOUT).await;
    let answer = answer.map_err(|cause| Refused { again: true, cause })?;
    let status = answer.status();
    let accepted = || {
        ensure!(status.is_success(), "it answered {status}");
        Ok(rejected(answer.body()))
    };
    accepted().map_err(|cause| Refused {
        again: [429, 502, 503, 504].contains(&status.as_u16()),
        cause,
    })
}

/// `partialSuccess.rejectedSpans` of an answer: a number as JSON has it, or as protobuf writes one of 64 bits.
fn rejected(answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    let text = || count.as_str()?.parse().ok();
    count.as_u64().or_else(text).unwrap_or(0)
}

fn add(count: &AtomicU64, spans: u64) {
    count.fetch_add(spans, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::telemetry::record::tests::record;

    /// Answers one request after another with the next of `answers`; gives back what was posted.
    async fn collector(answers: Vec<String>) -> (Exporter, tokio::task::JoinHandle<Vec<Value>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let mut posted = vec![];
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let (mut seen, mut piece) = (vec![], [0; 4096]);
                let body = loop {
                    let read = stream.read(&mut piece).await.expect("bytes");
                    assert!(read > 0, "a whole request");
                    seen.extend_from_slice(&piece[..read]);
                    let text = String::from_utf8_lossy(&seen).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    let head = head.to_ascii_lowercase();
                    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
                    assert!(head.contains("content-type: application/json"), "{head}");
                    let length = head.split_once("content-length: ").expect("a length").1;
                    let length = length.lines().next().expect("a line");
                    if body.len() >= length.parse().expect("a number") {
                        break body.to_owned();
                    }
                };
                posted.push(serde_json::from_str(&body).expect("JSON"));
                stream.write_all(answer.as_bytes()).await.expect("sent");
            }
            posted
        });
        let endpoint = format!("http://{address}");
        let collector = Collector::new(&endpoint, "shop".into()).expect("valid");
        (Exporter::start(collector), task)
    }

    fn answer(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn records_are_posted_in_batches_and_counted() {
        let partial = json!({"partialSuccess": {"rejectedSpans": "1"}}).to_string();
        let answers = vec![
            answer("503 Service Unavailable", ""),
            answer("200 OK", &partial),
            answer("400 Bad Request", ""),
        ];
        let (exporter, posted) = collector(answers).await;
        exporter.export(record("ocr", 200));
        exporter.export(record("gait", 500));
        exporter.flush().await;
        let counts = |exported, failed| SpanCounts {
            exported,
            dropped: 0,
            failed,
        };
        assert_eq!(exporter.counts(), counts(1, 1));
        exporter.export(record("ocr", 200));
        exporter.flush().await;
        assert_eq!(exporter.counts(), counts(1, 2), "400 is not tried again");
        let posted = posted.await.expect("no panic");
        assert_eq!(posted[0], posted[1], "the same again");
        let spans = &posted[1]["resourceSpans"][0]["scopeSpans"][0]["spans"];
        let names: Vec<_> = spans.as_array().expect("spans").iter().collect();
        assert_eq!(
            (&names[0]["name"], &names[1]["name"]),
            (&json!("POST ocr"), &json!("POST gait"))
        );
    }

    /// In an executor of one thread nothing takes from the queue while it is filled.
    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_counted() {
        // A port that nobody listens on.
        let collector = Collector::new("http://127.0.0.1:9", "shop".into()).expect("valid");
        let exporter = Exporter::start(collector);
        for _ in 0..QUEUE + 3 {
            exporter.export(record("ocr", 200));
        }
        assert_eq!(exporter.counts().dropped, 3);
    }

    #[test]
    fn answers_are_read_as_both_encodings_write_numbers() {
        for (answer, expected) in [
            (&b"{}"[..], 0),
            (b"", 0),
            (b"\xff", 0),
            (br#"{"partialSuccess":{"rejectedSpans":"7"}}"#, 7),
            (br#"{"partialSuccess":{"rejectedSpans":7}}"#, 7),
            (br#"{"partialSuccess":{"errorMessage":"slow down"}}"#, 0),
        ] {
            assert_eq!(rejected(answer), expected);
        }
    }
}
