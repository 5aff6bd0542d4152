//! Records -> `ExportTraceServiceRequest` as JSON: a span for each request, and a child for each of its phases.
//!
//! Names are those of `opentelemetry/proto/trace/v1/trace.proto` in lower camel case; ids are hex and 64-bit numbers strings, as OTLP's JSON
//! has it. Attributes follow the semantic conventions for HTTP servers, our own begin with `ephemera.`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::telemetry::record::{Phase, Record};

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_SERVER`.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;

/// `STATUS_CODE_ERROR`. By the conventions a server's span failed if the server did: from 500 on.
const ERROR: u8 = 2;

/// How many spans [`traces`] makes of `record`.
pub(super) fn spans(record: &Record) -> u64 {
    let phases = record.phases.iter().flatten().count();
    1 + phases as u64
}

/// A request's body with the spans of `records`.
pub(super) fn traces(records: &[Record], service: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let spans: Vec<Value> = records.iter().flat_map(of_record).collect();
    json!({
        "resourceSpans": [{
            "resource": {
                "attributes": [text("service.name", service), text("service.version", version)],
            },
            "scopeSpans": [{
                "scope": { "name": "ephemera", "version": version },
                "spans": spans,
            }],
        }],
    })
    .to_string()
}

fn of_record(record: &Record) -> impl Iterator<Item = Value> + '_ {
    std::iter::once(request(record)).chain(phases(record))
}

fn request(record: &Record) -> Value {
    let trace = record.trace;
    let function = record.function.as_deref();
    let name = match function {
        Some(function) => format!("{} {function}", record.method),
        None => record.method.clone(),
    };
    let status = match record.status() {
        500.. => json!({ "code": ERROR, "message": record.failure.unwrap_or_default() }),
        _ => json!({}),
    };
    let mut span = json!({
        "traceId": format!("{:032x}", trace.trace_id),
        "spanId": format!("{:016x}", trace.span_id),
        "name": name,
        "kind": SERVER,
        "startTimeUnixNano": nanoseconds(record.begun_at),
        "endTimeUnixNano": nanoseconds(record.begun_at + record.total),
        "attributes": attributes(record),
        "status": status,
        "flags": u8::from(trace.sampled),
    });
    if let Some(parent) = trace.parent_id {
        span["parentSpanId"] = format!("{parent:016x}").into();
    }
    span
}

fn attributes(record: &Record) -> Vec<Value> {
    let mut attributes = vec![
        text("http.request.method", &record.method),
        text("url.path", &record.path),
        text("url.scheme", "http"),
        number("http.response.status_code", record.status().into()),
        number("http.request.body.size", record.received_bytes),
        number("http.response.body.size", record.sent_bytes),
        text("ephemera.request_id", &record.request_id),
        text("ephemera.priority", record.priority.name()),
        number("ephemera.peak_memory_bytes", record.peak_memory_bytes),
        number("ephemera.minor_faults", record.minor_faults),
        number("ephemera.major_faults", record.major_faults),
        number("ephemera.cpu_us", record.cpu.as_micros() as u64),
    ];
    for (key, value) in [
        ("ephemera.function", record.function.as_deref()),
        ("ephemera.device", record.device.as_deref()),
        ("error.type", record.failure),
    ] {
        attributes.extend(value.map(|value| text(key, value)));
    }
    attributes
}

fn phases(record: &Record) -> impl Iterator<Item = Value> + '_ {
    let spans = Phase::ALL.into_iter().zip(&record.phases);
    spans.filter_map(|(phase, span)| {
        let (after, took): (Duration, Duration) = (*span)?;
        let begun_at = record.begun_at + after;
        // It tells spans apart and guards nothing, so the keys of the standard library's hash tables will do.
        let id = RandomState::new().build_hasher().finish().max(1);
        Some(json!({
            "traceId": format!("{:032x}", record.trace.trace_id),
            "spanId": format!("{id:016x}"),
            "parentSpanId": format!("{:016x}", record.trace.span_id),
            "name": phase.name(),
            "kind": INTERNAL,
            "startTimeUnixNano": nanoseconds(begun_at),
            "endTimeUnixNano": nanoseconds(begun_at + took),
            "status": {},
            "flags": u8::from(record.trace.sampled),
        }))
    })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn nanoseconds(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::record::tests::record;

    #[test]
    fn a_request_is_a_span_with_a_child_for_each_phase() {
        let mut one = record("ocr", 503);
        one.trace.parent_id = Some(0xabc);
        one.failure = Some("queue_full");
        let span = |after, took| Some((Duration::from_millis(after), Duration::from_millis(took)));
        one.phases[Phase::Body as usize] = span(1, 2);
        one.phases[Phase::Admission as usize] = span(3, 4);
        let traces: Value = serde_json::from_str(&traces(&[one.clone()], "shop")).expect("JSON");
        let resource = &traces["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"][0],
            json!({"key": "service.name", "value": {"stringValue": "shop"}})
        );
        let all = &resource["scopeSpans"][0]["spans"];
        assert_eq!(all.as_array().map(Vec::len), Some(3));
        assert_eq!(spans(&one), 3);
        let request = &all[0];
        for (key, expected) in [
            ("traceId", json!("4bf92f3577b34da6a3ce929d0e0e4736")),
            ("spanId", json!("0000000000000002")),
            ("parentSpanId", json!("0000000000000abc")),
            ("name", json!("POST ocr")),
            ("kind", json!(2)),
            ("startTimeUnixNano", json!("1700000000000000000")),
            ("endTimeUnixNano", json!("1700000000040000000")),
            ("status", json!({"code": 2, "message": "queue_full"})),
        ] {
            assert_eq!(request[key], expected, "{key}");
        }
        let attributes = request["attributes"].as_array().expect("attributes");
        let status = json!({"key": "http.response.status_code", "value": {"intValue": "503"}});
        assert!(attributes.contains(&status));
        let waited = &all[2];
        for (key, expected) in [
            ("traceId", &request["traceId"]),
            ("parentSpanId", &request["spanId"]),
            ("name", &json!("admission")),
            ("kind", &json!(1)),
            ("startTimeUnixNano", &json!("1700000000003000000")),
            ("endTimeUnixNano", &json!("1700000000007000000")),
        ] {
            assert_eq!(&waited[key], expected, "{key}");
        }
        assert_ne!(waited["spanId"], all[1]["spanId"]);
    }

    #[test]
    fn who_begins_a_trace_has_no_parent_and_who_goes_well_no_error() {
        let traces: Value =
            serde_json::from_str(&traces(&[record("ocr", 404)], "s")).expect("JSON");
        let span = &traces["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert!(span.get("parentSpanId").is_none());
        assert_eq!(span["status"], json!({}));
    }
}
