//! OCR by messages of Redis, in our host: a real server, jobs in by PUBLISH, reports out by keys, lists and webhooks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};
use ephemera::admission::Budget;
use ephemera::app::App;
use ephemera::metrics::gpu::Gpus;
use ephemera::redis_trigger::Listener;
use serde_json::{Value, json};

use super::listeners::{connect, publish, text_at, until};
use super::{OCR_JOBS, PAGE, over_http, project, text};
use crate::metrics::{scrape, value};
use crate::redis::Redis;
use crate::runners;

/// A place where a page lies and where reports are posted to, for as many requests as there are.
fn web() -> Result<(u16, mpsc::Receiver<(String, String)>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let page = std::fs::read(runners::root().join(PAGE))?;
    let (send, posted) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that breaks off is none that the test waits for.
            let _ = answer(stream, &page, &send);
        }
    });
    Ok((port, posted))
}

fn answer(
    mut stream: TcpStream,
    page: &[u8],
    posted: &mpsc::Sender<(String, String)>,
) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        head.push_str(&line.to_lowercase());
        line.clear();
    }
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "));
    let length: usize = length.map_or(Ok(0), str::parse)?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, content) = match head.split(' ').nth(1) {
        Some("/page.png") => ("200 OK", page),
        Some("/hook") => {
            posted.send((head, String::from_utf8(body)?))?;
            ("204 No Content", &[][..])
        }
        _ => ("500 Internal Server Error", &[][..]),
    };
    write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\n")?;
    if !status.starts_with("204") {
        write!(stream, "content-length: {}\r\n", content.len())?;
    }
    stream.write_all(b"\r\n")?;
    Ok(stream.write_all(content)?)
}

fn job(id: &str, input: Value, reply: Value) -> Vec<u8> {
    let mut job = json!({ "version": 1, "id": id, "function": "ocr", "input": input });
    if !reply.is_null() {
        job["reply"] = reply;
    }
    job.to_string().into_bytes()
}

/// What is counted at `address` of the function, by the end of a family's name and more labels.
fn metrics(address: SocketAddr) -> Result<impl Fn(&str, &str) -> Result<f64>> {
    let text = scrape(address)?;
    Ok(move |name: &str, labels: &str| {
        let sample = format!("ephemera{name}{{function=\"ocr-jobs\"{labels}}}");
        value(&text, &sample)
    })
}

#[test]
fn jobs_by_messages_are_answered_once_and_through_a_restart() -> Result<()> {
    let Some(mut redis) = Redis::start(&[])? else {
        return Ok(());
    };
    let (web_port, posted) = web()?;
    let web = format!("http://127.0.0.1:{web_port}");
    let project = project(&[
        ("127.0.0.1:6379", &redis.host()),
        ("https://nowhere.invalid", &web),
    ])?;
    let names = ["ocr-jobs".to_owned()];
    let artifacts = [OCR_JOBS.clone()];
    let subscriptions = project.subscriptions(&names)?;
    let app = Arc::new(App::load(project, &artifacts, 2)?);
    let budget = Budget {
        memory_bytes: 512 << 20,
        instances: 2,
        waiting: 64,
        wait_time: Duration::from_secs(30),
    };
    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let entered = executor.enter();
    let grace = Duration::from_secs(60);
    let mut listener = Listener::start(Arc::clone(&app), &subscriptions, None, budget, grace)?;

    // The page comes from a URL, three reports go to three kinds of places.
    let expected = over_http("/v1/ocr?format=text", PAGE, "image/png")?;
    let page = json!({ "url": format!("{web}/page.png") });
    let send = |id: &str, reply: Value| publish(&redis, "jobs:ocr", &job(id, page.clone(), reply));
    let report_at = |key: &str| -> Result<Value> {
        let report = text_at(&redis, key)?;
        Ok(serde_json::from_str(&report)?)
    };
    send("own", Value::Null)?;
    send("named", json!({ "key": "a:report" }))?;
    // Twice at the same time, and once more when it is done.
    send("listed", json!({ "list": "reports" }))?;
    send("listed", json!({ "list": "reports" }))?;
    send("posted", json!({ "webhook": format!("{web}/hook") }))?;
    let own = report_at("ephemera:report:ocr:own")?;
    let named = report_at("a:report")?;
    for (report, id) in [(&own, "own"), (&named, "named")] {
        assert_eq!(
            (text(report), &report["id"]),
            (expected.as_str(), &json!(id))
        );
        assert_eq!(report["status"], "done");
    }
    let (head, body) = posted.recv_timeout(Duration::from_secs(120))?;
    assert!(head.contains("idempotency-key: posted\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    assert_eq!(text(&serde_json::from_str(&body)?), expected);
    let mut connection = connect(&redis)?;
    let mut list = |want: usize| {
        until("the list", || {
            let range = redis::cmd("LRANGE")
                .arg("reports")
                .arg(0)
                .arg(-1)
                .to_owned();
            let list: Vec<String> = range.query(&mut connection)?;
            Ok((list.len() >= want).then_some(list))
        })
    };
    assert_eq!(text(&serde_json::from_str(&list(1)?[0])?), expected);
    send("own", Value::Null)?;
    send("listed", json!({ "list": "reports" }))?;

    // What is wrong is told where it can be.
    let bad = |text: &str| publish(&redis, "jobs:ocr", text.as_bytes());
    bad("no job")?;
    bad(r#"{"version":1,"id":"bad","function":"ocr","input":{"path":"x"}}"#)?;
    bad(
        r#"{"version":1,"id":"gait","function":"gait","input":{"inline":""},"reply":{"key":"b"}}"#,
    )?;
    bad(r#"{"version":1,"id":"reply","function":"ocr","input":{"inline":""},"reply":{"list":5}}"#)?;
    send("file", json!({ "file": "out/a.txt" }))?;
    send("refused", json!({ "webhook": format!("{web}/down") }))?;
    // The list is a text, and the key another's.
    send("typed", json!({ "list": "a:report" }))?;
    redis.ask(&["SET", "theirs", "x"])?;
    send("taken", json!({ "key": "theirs" }))?;
    let elsewhere = json!({ "url": "http://127.0.0.1:1/page.png" });
    publish(&redis, "jobs:ocr", &job("denied", elsewhere, Value::Null))?;
    for (key, status, says) in [
        (
            "ephemera:report:ocr:bad",
            "failed",
            "unknown variant `path`",
        ),
        ("b", "failed", "function: expected ocr, got `gait`"),
        (
            "ephemera:report:ocr:denied",
            "failed",
            "input.url: its host is not allowed",
        ),
        (
            "ephemera:report:ocr:reply",
            "failed",
            "not a job: invalid type",
        ),
        // Nothing that was worked out is lost for want of its place.
        ("ephemera:report:ocr:typed", "done", ""),
        ("ephemera:report:ocr:taken", "done", ""),
        ("ephemera:report:ocr:file", "done", ""),
        ("ephemera:report:ocr:refused", "done", ""),
    ] {
        let report = report_at(key)?;
        assert_eq!(report["status"], status, "{report}");
        let reason = report["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(says), "{report}");
    }
    // Later deliveries have been looked at by now, and changed nothing.
    assert_eq!(report_at("ephemera:report:ocr:own")?, own);
    assert_eq!(list(1)?.len(), 1);
    assert_eq!(redis.ask(&["GET", "theirs"])?, "x");

    // What failed may be tried again.
    send("denied", Value::Null)?;
    until("it is done now", || {
        Ok((report_at("ephemera:report:ocr:denied")?["status"] == "done").then_some(()))
    })?;

    // A server that comes back is listened to again.
    redis.stop(true)?;
    redis.run()?;
    publish(&redis, "jobs:ocr", &job("after", page.clone(), Value::Null))?;
    let report: Value = serde_json::from_str(&text_at(&redis, "ephemera:report:ocr:after")?)?;
    assert_eq!(text(&report), expected);

    // All that came in is counted, and by what became of it.
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = executor.block_on(listener.serve_metrics(anywhere, Gpus::default()))?;
    let counted = until("all has an end", || {
        let metrics = metrics(address)?;
        Ok((metrics("_messages_in_hand", "")? == 0.0).then_some(metrics))
    })?;
    let ended = |result: &str| counted("_messages_total", &format!(",result=\"{result}\""));
    let received = counted("_messages_received_total", "")?;
    assert!(received >= 18.0, "{received}");
    assert_eq!(ended("done")? + ended("failed")?, received);
    // One was no job at all.
    assert!(ended("failed")? >= 1.0 && ended("done")? >= 8.0);
    let runs = counted("_message_phase_seconds_count", ",phase=\"run\"")?;
    assert_eq!(runs, received);

    // What was begun is finished before it stops.
    publish(&redis, "jobs:ocr", &job("last", page, Value::Null))?;
    until("it has begun", || {
        Ok((app.runtime().live_instances() > 0).then_some(()))
    })?;
    assert!(executor.block_on(listener.stop()), "within the grace time");
    assert_eq!(app.runtime().live_instances(), 0);
    let mut connection = connect(&redis)?;
    let last: Option<String> = redis::cmd("GET")
        .arg("ephemera:report:ocr:last")
        .query(&mut connection)?;
    last.context("it was finished")?;
    drop(entered);
    Ok(())
}
