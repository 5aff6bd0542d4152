//! Leases that are shorter than what they cover: a claim holds while its input is fetched and while its report is posted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::place::{Place, job_of};
use super::project::page;
use super::wait_until;

/// A service that answers each request when it is let to.
struct Patient {
    url: String,
    asked: Receiver<()>,
    answer: Sender<()>,
}

impl Patient {
    /// Answers GET with `page`, and everything else with nothing.
    fn listen(page: Vec<u8>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let (ask, asked) = channel();
        let (answer, answered) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Nobody waits for it any more when the test is over.
                if ask.send(()).is_err() || answered.recv().is_err() {
                    return;
                }
                let _ = reply(stream, &page);
            }
        });
        Ok(Self { url, asked, answer })
    }
}

fn reply(mut stream: TcpStream, page: &[u8]) -> Result<()> {
    let mut head = [0; 3];
    stream.read_exact(&mut head)?;
    let body = if &head == b"GET" { page } else { b"" };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(body)?;
    stream.flush()?;
    // What is still to be read would reset the connection, and the answer with it.
    stream.shutdown(std::net::Shutdown::Write)?;
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(())
}

#[test]
fn a_short_lease_holds_while_its_holder_waits_for_others() -> Result<()> {
    let place = Place::new()?;
    let (picture, word) = page()?;
    let service = Patient::listen(picture)?;
    let Some(mut crew) = place.crew(&["--lease-s", "1", "--allow-host", &service.url])? else {
        return Ok(());
    };
    let item = job_of("a");
    let job = json!({"version": 1, "id": "a", "function": "ocr",
        "input": {"url": format!("{}/page.png", service.url)},
        "reply": {"webhook": format!("{}/done", service.url)}});
    place.put(&item, job.to_string().as_bytes())?;
    crew.start()?;
    for what in ["fetched", "posted"] {
        service
            .asked
            .recv()
            .with_context(|| format!("to be {what}"))?;
        let expires = || Ok::<_, anyhow::Error>(place.record(&item)?.map_or(0, |r| r.expires));
        let first = expires()?;
        ensure!(first > 0, "{what}: nobody has it");
        // Longer than the lease.
        wait_until("it is renewed", || Ok(expires()? >= first + 3))
            .with_context(|| what.to_owned())?;
        service.answer.send(())?;
    }
    wait_until("it is done", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert_eq!(
        std::fs::read_to_string(place.out().join("a.txt"))?.trim(),
        word
    );
    Ok(())
}
