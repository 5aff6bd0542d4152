//! Somebody whom workers wait for, for as long as a test wants it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Result;

/// A service that answers each request when it is let to.
pub(super) struct Patient {
    pub(super) url: String,
    /// Says that a request is there.
    pub(super) asked: Receiver<()>,
    /// Lets the next one be answered.
    pub(super) answer: Sender<()>,
}

impl Patient {
    /// Answers GET with `page`, and everything else with nothing.
    pub(super) fn listen(page: Vec<u8>) -> Result<Self> {
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
