//! What a server says of itself, to those who ask it over HTTP and to a collector.
//!
//! The formats are checked by the parsers of Prometheus's own client for Python, in the environment of tools that `.ci/run` makes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ephemera::app::App;
use ephemera::config::Project;
use ephemera::serve::{Options, Server};
use ephemera::telemetry::otlp::Collector;
use ephemera::telemetry::{Place, Settings};
use ephemera::top;
use serde_json::Value;
use tokio::runtime::Runtime;

/// A route to a component that is never built: it is there, and answers 404.
const ROUTE: &str = "/elsewhere";

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Served {
    executor: Runtime,
    server: Server,
}

impl Served {
    /// A manifest with `route`, without its function.
    fn start(route: &str, telemetry: Settings) -> Result<Self> {
        let executor = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let manifest = format!(
            "spin_manifest_version = 2\n[application]\nname = \"none\"\n\
             [[trigger.http]]\nroute = \"{route}\"\ncomponent = \"absent\"\n\
             [component.absent]\nsource = \"absent.wasm\"\n\
             [component.absent.tool.ephemera]\npackage = \"absent\"\nmodels = []\n"
        );
        let project = Project::parse(&manifest, Path::new("/nowhere"))?;
        let app = Arc::new(App::load(project, &[], 1)?);
        let options = Options {
            listen: ([127, 0, 0, 1], 0).into(),
            telemetry,
            ..Options::default()
        };
        let server = executor.block_on(Server::start(app, options))?;
        Ok(Self { executor, server })
    }

    fn ask(&self, head: &str) -> Result<String> {
        ask(self.server.address(), head)
    }

    /// The metrics, as soon as they have all `lines`: a request and its connection are over a moment after the answer is here.
    fn metrics_with(&self, lines: &[&str]) -> Result<String> {
        let mut text = String::new();
        for _ in 0..500 {
            text = self.ask("GET /metrics")?;
            if lines.iter().all(|line| has_line(&text, line)) {
                return Ok(text);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let missing: Vec<_> = lines.iter().filter(|line| !has_line(&text, line)).collect();
        anyhow::bail!("{missing:?} is not in {text}")
    }
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|other| other == line)
}

/// The whole answer to a request with this head, which lacks what all have.
fn ask(address: SocketAddr, head: &str) -> Result<String> {
    let mut lines = head.splitn(2, "\r\n");
    let first = lines.next().unwrap_or_default();
    let rest = lines
        .next()
        .map_or(String::new(), |rest| format!("{rest}\r\n"));
    let mut stream = TcpStream::connect(address).context("connecting")?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "{first} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{rest}\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("reading")?;
    Ok(answer)
}

const NO_ROUTE: &str = "ephemera_requests_total{function=\"\",status=\"404\"} 1";

#[test]
fn metrics_are_served_beside_the_functions() -> Result<()> {
    let served = Served::start(ROUTE, Settings::default())?;
    assert_eq!(
        served.server.metrics_address(),
        Some(served.server.address())
    );
    assert!(
        served
            .ask("GET /who-knows?secret")?
            .starts_with("HTTP/1.1 404 ")
    );
    let text = served.metrics_with(&[
        NO_ROUTE,
        "ephemera_rejected_requests_total{function=\"\",reason=\"no_route\"} 1",
        "ephemera_request_duration_seconds_count{function=\"\"} 1",
        "ephemera_running_requests 0",
        "ephemera_instances 0",
        "ephemera_connections 1",
        "ephemera_queue_limit 64",
        "ephemera_bodies_limit_bytes 67108864",
    ])?;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(text.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(!text.contains("who-knows") && !text.contains("secret"));
    let open = served.ask("GET /metrics\r\naccept: application/openmetrics-text")?;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(open.ends_with("# EOF\n"));
    let refused = served.ask("DELETE /metrics")?;
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD"));
    Ok(())
}

#[test]
fn prometheus_reads_both_formats() -> Result<()> {
    let served = Served::start(ROUTE, Settings::default())?;
    served.ask("GET /nothing")?;
    served.metrics_with(&[NO_ROUTE])?;
    for (accept, module) in [
        ("text/plain", "prometheus_client.parser"),
        (
            "application/openmetrics-text",
            "prometheus_client.openmetrics.parser",
        ),
    ] {
        let answer = served.ask(&format!("GET /metrics\r\naccept: {accept}"))?;
        let (_, text) = answer.split_once("\r\n\r\n").context("a body")?;
        let Some(families) = parsed(module, text)? else {
            return Ok(());
        };
        let family = |name: &str| {
            let found = families.iter().find(|family| family["name"] == name);
            found.with_context(|| format!("{name} by {module}"))
        };
        assert_eq!(family("ephemera_requests")?["type"], "counter");
        assert_eq!(family("ephemera_queue_length")?["type"], "gauge");
        let times = family("ephemera_request_phase_seconds")?;
        assert_eq!(times["type"], "histogram");
        assert!(times["samples"].as_u64() > Some(100));
        assert!(families.len() > 30, "{}", families.len());
    }
    Ok(())
}

/// What Prometheus's parser `module` makes of `text`; `None` where it is not installed.
fn parsed(module: &str, text: &str) -> Result<Option<Vec<Value>>> {
    let tools = std::env::var_os("EPHEMERA_FORMATS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/formats"),
        PathBuf::from,
    );
    let python = tools.join("bin/python3");
    let there = Command::new(&python)
        .args(["-c", "import prometheus_client"])
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        let message = "prometheus-client is missing: not checked; .ci/run installs it";
        ensure!(std::env::var_os("CI").is_none(), "{message}");
        eprintln!("{message}");
        return Ok(None);
    }
    let program = format!(
        "import json, sys\nfrom {module} import text_string_to_metric_families as read\n\
         print(json.dumps([dict(name=f.name, type=f.type, samples=len(f.samples)) for f in read(sys.stdin.read())]))"
    );
    let mut python = Command::new(&python)
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = python.stdin.take().context("its input")?;
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    let output = python.wait_with_output()?;
    ensure!(output.status.success(), "{module} refuses:\n{text}");
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

#[test]
fn the_manifests_own_route_goes_before_ours() -> Result<()> {
    for (route, ours) in [
        ("/metrics", false),
        ("/metrics/...", false),
        ("/...", true),
        ("/metrics/more", true),
    ] {
        let served = Served::start(route, Settings::default())?;
        let answer = served.ask("GET /metrics")?;
        assert_eq!(answer.contains("# TYPE"), ours, "{route}: {answer}");
        assert_eq!(served.server.metrics_address().is_some(), ours, "{route}");
    }
    Ok(())
}

#[test]
fn metrics_can_have_a_listener_of_their_own_or_none() -> Result<()> {
    let place = |metrics| Settings {
        metrics,
        ..Settings::default()
    };
    let apart = Place::Apart(([127, 0, 0, 1], 0).into());
    let served = Served::start(ROUTE, place(apart))?;
    assert!(served.ask("GET /metrics")?.starts_with("HTTP/1.1 404 "));
    let address = served.server.metrics_address().context("an address")?;
    assert_ne!(address, served.server.address());
    assert!(ask(address, "GET /metrics")?.contains("ephemera_build_info"));
    assert!(ask(address, "GET /")?.starts_with("HTTP/1.1 404 "));

    let served = Served::start(ROUTE, place(Place::Nowhere))?;
    assert!(served.ask("GET /metrics")?.starts_with("HTTP/1.1 404 "));
    assert_eq!(served.server.metrics_address(), None);
    Ok(())
}

#[test]
fn a_collector_gets_the_trace_that_a_request_belongs_to() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let collector = std::thread::spawn(move || collect(&listener));
    let settings = Settings {
        otlp: Some(Collector::new(&endpoint, "shop".into())?),
        ..Settings::default()
    };
    let served = Served::start(ROUTE, settings)?;
    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7");
    served.ask(&format!("GET /wanted\r\n{parent}-01\r\nx-request-id: id-7"))?;
    served.ask(&format!("GET /unwanted\r\n{parent}-00"))?;
    let both = "ephemera_requests_total{function=\"\",status=\"404\"} 2";
    served.metrics_with(&[both])?;
    let Served { executor, server } = served;
    assert!(executor.block_on(server.stop()), "what is left is exported");
    let posted = collector.join().expect("no panic")?;
    let spans = &posted["resourceSpans"][0]["scopeSpans"][0]["spans"];
    // The wanted request alone, and the one phase that a refusal has.
    assert_eq!(spans.as_array().map(Vec::len), Some(2), "{spans}");
    let (span, phase) = (&spans[0], &spans[1]);
    assert_eq!(phase["name"], "sending");
    assert_eq!(phase["parentSpanId"], span["spanId"]);
    assert_eq!(span["traceId"], TRACE);
    assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(span["name"], "GET");
    let attributes = span["attributes"].to_string();
    for part in ["\"/wanted\"", "\"404\"", "\"id-7\"", "\"no_route\""] {
        assert!(attributes.contains(part), "{part} in {attributes}");
    }
    Ok(())
}

/// The JSON of one request, which is told that all is well.
fn collect(listener: &TcpListener) -> Result<Value> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut seen = vec![];
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "it ended early");
        seen.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&seen);
        let Some((_, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        // A whole object, or not yet.
        if let Ok(json) = serde_json::from_str(body) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")?;
            return Ok(json);
        }
    }
}

#[test]
fn top_shows_a_server_and_says_why_it_cannot() -> Result<()> {
    let served = Served::start(ROUTE, Settings::default())?;
    served.ask("GET /nothing")?;
    served.metrics_with(&[NO_ROUTE])?;
    let once = |url: String, json| {
        let options = top::Options {
            url,
            interval: Duration::from_secs(1),
            window: Duration::from_secs(30),
        };
        let mut out = vec![];
        let looked = served
            .executor
            .block_on(top::once(&options, json, &mut out));
        looked.map(|()| String::from_utf8(out).expect("text"))
    };
    let address = served.server.address();
    let text = once(format!("http://{address}"), false)?;
    assert!(text.starts_with("ephemera "), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("(no route)")),
        "{text}"
    );
    let json: Value = serde_json::from_str(&once(format!("http://{address}/metrics"), true)?)?;
    assert_eq!(json["functions"][0]["refused"], 1.0);
    // The one that asks, and perhaps one that has just been left.
    assert!(json["connections"].as_f64() >= Some(1.0), "{json}");
    let error = once("http://127.0.0.1:1".into(), false).expect_err("nobody is there");
    assert!(
        format!("{error:#}").contains("127.0.0.1:1/metrics"),
        "{error:#}"
    );
    let error = once("https://a".into(), false).expect_err("no TLS");
    assert!(
        format!("{error:#}").contains("TLS is not supported"),
        "{error:#}"
    );
    Ok(())
}
