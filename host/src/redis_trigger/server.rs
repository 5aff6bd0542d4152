//! One server of Redis -> the messages of some of its channels, from a thread of their own.
//!
//! A thread, because it reads a message when the one before is taken, which the asynchronous clients of the crate do not: they collect what
//! arrives without bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, Msg, RedisError};
use tokio::sync::mpsc;

use crate::metrics::work::Work;

/// To connect, and to be answered that one is subscribed.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How often a thread that waits for a message looks whether it is to stop.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// Before a lost connection is made again; it doubles with each failure, up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A server that says nothing for so long is asked whether it is there, by TCP, and then so often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// What is handed to a function, in bytes: the longest job and more. Redis itself takes 512 MiB.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 << 20;

const _: () = assert!(ephemera_jobs::MAX_JOB_BYTES <= MAX_MESSAGE_BYTES);

/// What was published.
pub(super) struct Message {
    /// The server's place among all.
    pub(super) server: usize,
    pub(super) channel: String,
    pub(super) payload: Arc<[u8]>,
}

/// A server and what is wanted of it.
pub(super) struct Redis {
    index: usize,
    client: Client,
    /// Its host and port, for the log.
    place: String,
    channels: Vec<String>,
    work: Option<Arc<Work>>,
}

impl Redis {
    /// The one at the URL `address`.
    ///
    /// # Errors
    ///
    /// It is no URL of Redis.
    pub(super) fn new(index: usize, address: &str, channels: Vec<String>) -> Result<Self> {
        let info = address.into_connection_info();
        // What is wrong may be in what is secret.
        let info = info.ok().context("not a URL of a server of Redis")?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                format!("{host}:{port}")
            }
            other => other.to_string(),
        };
        let keep = TcpKeepalive::new()
            .with_time(KEEP_ALIVE)
            .with_interval(KEEP_ALIVE_EVERY);
        let info = info.set_tcp_settings(TcpSettings::default().set_keepalive(keep));
        Ok(Self {
            index,
            client: Client::open(info)?,
            place,
            channels,
            work: None,
        })
    }

    /// Has what is dropped counted in `work`.
    pub(super) fn counting(mut self, work: Arc<Work>) -> Self {
        self.work = Some(work);
        self
    }

    /// Sends what is published to `messages` from a thread of its own, until nobody takes it any more or `stopping` is true.
    ///
    /// # Errors
    ///
    /// The system has no threads left.
    pub(super) fn listen(
        self,
        messages: mpsc::Sender<Message>,
        stopping: Arc<AtomicBool>,
    ) -> Result<()> {
        let thread = std::thread::Builder::new().name("redis".to_owned());
        let listening = thread.spawn(move || self.keep_listening(&messages, &stopping));
        listening.context("starting a thread")?;
        Ok(())
    }

    fn keep_listening(&self, messages: &mpsc::Sender<Message>, stopping: &AtomicBool) {
        let mut pause = FIRST_PAUSE;
        while !stopping.load(Ordering::Relaxed) {
            let mut subscribed = false;
            let ended = self.listen_once(messages, stopping, &mut subscribed);
            let Err(error) = ended else { return };
            if subscribed {
                pause = FIRST_PAUSE;
            }
            tracing::warn!("redis at {}: {error}; connecting again", self.place);
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until nobody wants more.
    fn listen_once(
        &self,
        messages: &mpsc::Sender<Message>,
        stopping: &AtomicBool,
        subscribed: &mut bool,
    ) -> Result<(), RedisError> {
        let mut connection = self.client.get_connection_with_timeout(CONNECT_TIME)?;
        connection.set_read_timeout(Some(CONNECT_TIME))?;
        connection.set_write_timeout(Some(CONNECT_TIME))?;
        let mut channels = connection.as_pubsub();
        channels.subscribe(&self.channels)?;
        *subscribed = true;
        let names = self.channels.join(", ");
        tracing::info!("subscribed to {names} at {}", self.place);
        channels.set_read_timeout(Some(LOOK_TIME))?;
        while !stopping.load(Ordering::Relaxed) {
            let message = match channels.get_message() {
                Ok(message) => message,
                Err(error) if error.is_timeout() => continue,
                Err(error) => return Err(error),
            };
            let Some(message) = self.checked(&message) else {
                continue;
            };
            if messages.blocking_send(message).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What was published, unless it is too long to be handled.
    fn checked(&self, message: &Msg) -> Option<Message> {
        let (channel, payload) = (message.get_channel_name(), message.get_payload_bytes());
        let bytes = payload.len();
        if bytes > MAX_MESSAGE_BYTES {
            if let Some(work) = &self.work {
                work.dropped();
            }
            tracing::warn!(
                "redis at {}: a message of {bytes} bytes to `{channel}` is dropped, expected at most {MAX_MESSAGE_BYTES}",
                self.place
            );
            return None;
        }
        Some(Message {
            server: self.index,
            channel: channel.to_owned(),
            payload: payload.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use redis::Value;

    use super::*;

    /// Answers what a client asks when it connects, then sends `pieces`, with pauses between them.
    fn server(pieces: &'static [&'static [u8]], pause: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has one").port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client comes");
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !asked.windows(9).any(|word| word == b"SUBSCRIBE") {
                let read = stream.read(&mut buffer).expect("it asks");
                let words = String::from_utf8_lossy(&buffer[..read])
                    .matches("CLIENT")
                    .count();
                asked.extend_from_slice(&buffer[..read]);
                stream
                    .write_all(&b"+OK\r\n".repeat(words))
                    .expect("it listens");
            }
            for piece in pieces {
                stream.write_all(piece).expect("it listens");
                std::thread::sleep(pause);
            }
        });
        port
    }

    #[test]
    fn a_message_may_take_longer_than_one_look() {
        const PIECES: &[&[u8]] = &[
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
            b"*3\r\n$7\r\nmess",
            b"age\r\n$1\r\nc\r\n$10\r\n01234",
            b"56789\r\n",
        ];
        let port = server(PIECES, LOOK_TIME * 3 / 2);
        let address = format!("redis://127.0.0.1:{port}");
        let redis = Redis::new(0, &address, vec!["c".to_owned()]).expect("an address");
        let (send, mut messages) = mpsc::channel(1);
        let stopping = Arc::new(AtomicBool::new(false));
        redis.listen(send, Arc::clone(&stopping)).expect("a thread");
        let message = messages.blocking_recv().expect("it arrives");
        stopping.store(true, Ordering::Relaxed);
        assert_eq!((message.server, message.channel.as_str()), (0, "c"));
        assert_eq!(*message.payload, *b"0123456789");
    }

    #[test]
    fn what_is_too_long_is_dropped() {
        let redis = Redis::new(0, "redis://queue", vec![]).expect("an address");
        for (bytes, expected) in [
            (0, true),
            (MAX_MESSAGE_BYTES, true),
            (MAX_MESSAGE_BYTES + 1, false),
        ] {
            let text = |text: &[u8]| Value::BulkString(text.to_vec());
            let parts = [text(b"message"), text(b"c"), text(&vec![b'x'; bytes])];
            let message = Msg::from_owned_value(Value::Array(parts.into())).expect("a message");
            let checked = redis.checked(&message).map(|m| m.payload.len());
            assert_eq!(checked, expected.then_some(bytes));
        }
    }

    #[test]
    fn an_address_is_of_redis() {
        for address in ["http://a", "", "redis://"] {
            assert!(Redis::new(0, address, vec![]).is_err(), "{address}");
        }
        let redis = Redis::new(0, "redis://:secret@queue", vec![]).expect("an address");
        assert_eq!(redis.place, "queue:6379");
    }
}
