//! Reports that are posted: to somebody who is away and comes back. Stored once whatever happens there, and not lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::faults::{set_mode, without_rights};
use super::patient::Patient;
use super::place::{Place, job_of};
use super::producer::{Producer, job};
use super::wait_until;

/// What was posted.
struct Posted {
    key: String,
    report: Value,
}

/// A port at which nobody listens now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Listens there: the first post is answered 503, the others 200 and handed over.
fn listen(port: u16) -> Result<Receiver<Posted>> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let Ok((mut stream, posted)) = read(stream) else {
                continue;
            };
            let (status, keep) = match number {
                0 => ("503 Service Unavailable", false),
                _ => ("200 OK", true),
            };
            // Whoever posted may be gone.
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            if keep && send.send(posted).is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

fn read(stream: std::net::TcpStream) -> Result<(std::net::TcpStream, Posted)> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut key) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            "idempotency-key" => key = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let report = serde_json::from_slice(&body)?;
    Ok((reader.into_inner(), Posted { key, report }))
}

fn check(posted: &Posted, id: &str) -> Result<()> {
    assert_eq!(posted.key, id);
    assert_eq!(posted.report["id"], id);
    assert_eq!(posted.report["status"], "done");
    let text = posted.report["answer"]["text"].as_str();
    assert!(!text.context("a text")?.is_empty());
    Ok(())
}

#[test]
fn a_report_from_redis_waits_for_its_webhook() -> Result<()> {
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let port = free_port()?;
    let url = format!("http://127.0.0.1:{port}");
    let Some(mut crew) = producer.crew(&["--allow-host", &url])? else {
        return Ok(());
    };
    let mut asked = job("a", "ocr")?;
    asked["reply"] = json!({"webhook": format!("{url}/done")});
    producer.submit(&asked)?;
    let mut stranger = job("b", "ocr")?;
    stranger["reply"] = json!({"webhook": "http://127.0.0.2:1/done"});
    producer.submit(&stranger)?;
    let worker = crew.start()?;
    wait_until("it could not be posted", || {
        Ok(producer
            .known("a")?
            .get("failures")
            .is_some_and(|failures| failures != "0"))
    })?;
    // Not even the death of the worker loses it.
    crew.replace(worker)?;
    let posts = listen(port)?;
    wait_until("it is posted", || Ok(producer.queued()? == 0))?;
    crew.stop()?;
    let posted: Vec<Posted> = posts.try_iter().collect();
    assert_eq!(posted.len(), 1);
    check(&posted[0], "a")?;
    let known = producer.known("a")?;
    assert_eq!(
        (known["stored"].as_str(), known["state"].as_str()),
        ("1", "done")
    );
    // Its report is kept, and where it should have gone is told.
    let known = producer.known("b")?;
    assert_eq!(known["stored"], "1");
    assert!(producer.letter("b")?["reason"].contains("reply.webhook"));
    Ok(())
}

#[test]
fn a_report_from_a_folder_waits_for_its_webhook() -> Result<()> {
    let place = Place::new()?;
    let port = free_port()?;
    let url = format!("http://127.0.0.1:{port}");
    let Some(mut crew) = place.crew(&["--allow-host", &url])? else {
        return Ok(());
    };
    let mut asked = job("a", "ocr")?;
    asked["reply"] = json!({"webhook": format!("{url}/done")});
    place.put(&job_of("a"), asked.to_string().as_bytes())?;
    let worker = crew.start()?;
    wait_until("it could not be posted", || {
        Ok(crew.all_said()?.contains("reply.webhook"))
    })?;
    assert_eq!(place.results()?.len(), 1, "it is stored");
    crew.replace(worker)?;
    let posts = listen(port)?;
    wait_until("it is posted", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    let posted: Vec<Posted> = posts.try_iter().collect();
    assert_eq!(posted.len(), 1);
    check(&posted[0], "a")?;
    assert!(place.names("done")?.contains("a.job.json"));
    Ok(())
}

#[test]
fn who_was_told_is_not_told_again_while_an_original_cannot_be_moved() -> Result<()> {
    let place = Place::new()?;
    let service = Patient::listen(Vec::new())?;
    let Some(crew) = place.crew(&["--allow-host", &service.url])? else {
        return Ok(());
    };
    let mut crew = crew.wrapped(without_rights()?);
    let mut asked = job("a", "ocr")?;
    asked["reply"] = json!({"webhook": format!("{}/done", service.url)});
    let item = job_of("a");
    place.put(&item, asked.to_string().as_bytes())?;
    let done = place.inbox().join("done");
    std::fs::create_dir(&done)?;
    set_mode(&done, 0o555)?;
    crew.start()?;
    service.asked.recv().context("it is posted")?;
    service.answer.send(())?;
    wait_until("it could not be moved, more than once", || {
        let said = crew.all_said()?;
        Ok(said.matches("Permission denied").count() > 1)
    })?;
    set_mode(&done, 0o755)?;
    wait_until("it is moved", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert!(service.asked.try_recv().is_err(), "it was posted twice");
    assert_eq!(place.names("done")?, [item].into());
    assert_eq!(place.results()?, ["a.txt".to_owned()].into());
    Ok(())
}
