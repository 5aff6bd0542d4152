//! `fermyon:spin/redis@2.0.0`: commands that functions send to servers of Redis, which `allowed_outbound_hosts` must allow.
//!
//! Connections are made as those of requests are: the name is resolved here, its addresses are checked, and the connection goes to one that
//! was checked. How many an instance holds, how long an answer takes and how large it is are bounded; what makes a connection a stream of
//! messages, such as `SUBSCRIBE`, is refused.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, Value, cmd,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use crate::grants::Grants;
use crate::outbound::{self, Destination, Scheme, Stream};
use crate::state::Sandbox;

/// The interface that a component imports.
pub(crate) const INTERFACE: &str = "fermyon:spin/redis@2.0.0";

/// The interface of what a component for messages is told, from before there were versions: types, which need no host.
pub(crate) const TYPES: &str = "fermyon:spin/redis-types";

/// Connections that an instance may hold: enough to move things between several servers.
pub(crate) const CONNECTIONS: usize = 8;

/// What a guest may hand over in one command, in bytes: the longest answer of a function by default, with its name.
pub(crate) const CALL_BYTES: usize = (32 << 20) + (64 << 10);

/// What the server may answer to one command, in bytes; the host holds it whole.
const MAX_REPLY_BYTES: usize = 16 << 20;

/// What an element of an answer counts beyond its bytes: what the host holds of even the smallest. Each ends a line.
const LINE_BYTES: usize = 64;

/// To find a server, connect and log in.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// To answer a command, one that waits for something included.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// After these a connection no longer answers each command once, in the protocol that is spoken here.
const STREAMING: [&str; 8] = [
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "monitor",
    "sync",
    "psync",
    "hello",
    "client",
];

/// Why there is no answer, as the interface has it.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "invalid-address")]
    InvalidAddress,
    #[component(name = "too-many-connections")]
    TooManyConnections,
    #[component(name = "type-error")]
    WrongType,
    #[component(name = "other")]
    Other(String),
}

/// What a command gets, as the interface has it.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
enum Parameter {
    #[component(name = "int64")]
    Int64(i64),
    #[component(name = "binary")]
    Binary(Vec<u8>),
}

/// What a command answers, as the interface has it.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
enum Reply {
    #[component(name = "nil")]
    Nil,
    #[component(name = "status")]
    Status(String),
    #[component(name = "int64")]
    Int64(i64),
    #[component(name = "binary")]
    Binary(Vec<u8>),
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("WRONGTYPE") => Self::WrongType,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// A connection that a guest holds.
struct Handle {
    connection: MultiplexedConnection,
    left_bytes: Arc<AtomicUsize>,
    /// What reads and writes.
    driver: AbortHandle,
    _permit: OwnedSemaphorePermit,
}

impl Handle {
    /// Logs in over `stream`.
    async fn over(
        stream: Box<dyn Stream>,
        login: &RedisConnectionInfo,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let left_bytes = Arc::new(AtomicUsize::new(MAX_REPLY_BYTES));
        let stream = Metered {
            stream,
            left_bytes: Arc::clone(&left_bytes),
            after_return: false,
        };
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_TIME));
        let (connection, driver) =
            MultiplexedConnection::new_with_config(login, stream, config).await?;
        Ok(Self {
            connection,
            left_bytes,
            driver: tokio::spawn(driver).abort_handle(),
            _permit: permit,
        })
    }
}

impl Drop for Handle {
    /// Closes it, even while the server owes an answer, such as to `BLPOP`: the driver would wait for that.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Adds the interface to `linker`.
pub(crate) fn link(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    type This = Resource<Handle>;
    let mut interface = linker.instance(INTERFACE)?;
    let close = |mut call: StoreContextMut<'_, Sandbox>, rep| {
        let handle = Resource::<Handle>::new_own(rep);
        call.data_mut().table().delete(handle)?;
        Ok(())
    };
    interface.resource("connection", ResourceType::host::<Handle>(), close)?;
    interface.func_wrap_async(
        "[static]connection.open",
        |mut call, (address,): (String,)| {
            Box::new(async move {
                let sandbox = call.data_mut();
                let (grants, told) = (Arc::clone(&sandbox.grants), sandbox.told());
                let permit = Arc::clone(&sandbox.redis).try_acquire_owned();
                let Ok(permit) = permit else {
                    return Ok((Err(Error::TooManyConnections),));
                };
                let opened = open(&grants, &told, &address, permit).await;
                Ok((opened.and_then(|handle| {
                    let handle = call.data_mut().table().push(handle);
                    handle.map_err(|_| Error::TooManyConnections)
                }),))
            })
        },
    )?;
    interface.func_wrap_async(
        "[method]connection.publish",
        |mut call, (this, channel, payload): (This, String, Vec<u8>)| {
            let mut command = cmd("PUBLISH");
            command.arg(channel).arg(payload);
            let answer = ask(&mut call, &this, command);
            Box::new(async move { Ok((answer?.await.map(|_| ()),)) })
        },
    )?;
    interface.func_wrap_async(
        "[method]connection.get",
        |mut call, (this, key): (This, String)| {
            let mut command = cmd("GET");
            command.arg(key);
            let answer = ask(&mut call, &this, command);
            Box::new(async move { Ok((answer?.await.and_then(payload),)) })
        },
    )?;
    interface.func_wrap_async(
        "[method]connection.set",
        |mut call, (this, key, value): (This, String, Vec<u8>)| {
            let mut command = cmd("SET");
            command.arg(key).arg(value);
            let answer = ask(&mut call, &this, command);
            Box::new(async move { Ok((answer?.await.map(|_| ()),)) })
        },
    )?;
    interface.func_wrap_async(
        "[method]connection.incr",
        |mut call, (this, key): (This, String)| {
            let mut command = cmd("INCR");
            command.arg(key);
            let answer = ask(&mut call, &this, command);
            Box::new(async move {
                let answer = answer?.await.and_then(integer);
                Ok((answer.map_err(|error| match error {
                    Error::Other(text) if text.contains("not an integer") => Error::WrongType,
                    other => other,
                }),))
            })
        },
    )?;
    for (name, word) in [("sadd", "SADD"), ("srem", "SREM")] {
        interface.func_wrap_async(
            &format!("[method]connection.{name}"),
            move |mut call, (this, key, values): (This, String, Vec<String>)| {
                let mut command = cmd(word);
                command.arg(key).arg(values);
                let answer = ask(&mut call, &this, command);
                Box::new(async move { Ok((answer?.await.and_then(count),)) })
            },
        )?;
    }
    interface.func_wrap_async(
        "[method]connection.del",
        |mut call, (this, keys): (This, Vec<String>)| {
            let mut command = cmd("DEL");
            command.arg(keys);
            let answer = ask(&mut call, &this, command);
            Box::new(async move { Ok((answer?.await.and_then(count),)) })
        },
    )?;
    interface.func_wrap_async(
        "[method]connection.smembers",
        |mut call, (this, key): (This, String)| {
            let mut command = cmd("SMEMBERS");
            command.arg(key);
            let answer = ask(&mut call, &this, command);
            Box::new(async move { Ok((answer?.await.and_then(texts),)) })
        },
    )?;
    interface.func_wrap_async(
        "[method]connection.execute",
        |mut call, (this, word, parameters): (This, String, Vec<Parameter>)| {
            let streams = STREAMING
                .iter()
                .any(|known| word.eq_ignore_ascii_case(known));
            let mut command = cmd(&word);
            for parameter in parameters {
                match parameter {
                    Parameter::Int64(number) => command.arg(number),
                    Parameter::Binary(bytes) => command.arg(bytes),
                };
            }
            let answer = ask(&mut call, &this, command);
            Box::new(async move {
                if streams {
                    let said = format!("the command `{word}` is not supported");
                    return Ok((Err(Error::Other(said)),));
                }
                Ok((answer?.await.and_then(replies),))
            })
        },
    )?;
    Ok(())
}

async fn open(
    grants: &Grants,
    told: &AtomicBool,
    address: &str,
    permit: OwnedSemaphorePermit,
) -> Result<Handle, Error> {
    let (to, login) = destination(address)?;
    let connecting = async {
        let stream = outbound::connect(grants, told, &to).await;
        let stream = stream.map_err(|error| match error {
            // As Spin has it: an address that is not allowed is none.
            wasmtime_wasi_http::Error::HttpRequestDenied
            | wasmtime_wasi_http::Error::DestinationIpProhibited => Error::InvalidAddress,
            other => Error::Other(format!("cannot connect: {other}")),
        })?;
        Handle::over(stream, &login, permit).await
    };
    let opened = timeout(CONNECT_TIME, connecting).await;
    opened.map_err(|_| Error::Other("the server does not answer".to_owned()))?
}

/// Where a URL leads, and how to log in there.
fn destination(address: &str) -> Result<(Destination, RedisConnectionInfo), Error> {
    let info = address.into_connection_info();
    let info = info.map_err(|_| Error::InvalidAddress)?;
    let (scheme, host, port) = match info.addr() {
        ConnectionAddr::Tcp(host, port) => (Scheme::Redis, host, *port),
        ConnectionAddr::TcpTls { host, port, .. } => (Scheme::Rediss, host, *port),
        _ => return Err(Error::InvalidAddress),
    };
    let mut host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.contains(':') && !host.starts_with('[') {
        host = format!("[{host}]");
    }
    // Others have answers that the interface has not.
    let login = info.redis_settings().clone();
    let login = login.set_protocol(ProtocolVersion::RESP2);
    Ok((Destination { scheme, host, port }, login))
}

/// Sends `command` over the connection `this`.
fn ask(
    call: &mut StoreContextMut<'_, Sandbox>,
    this: &Resource<Handle>,
    command: Cmd,
) -> wasmtime::Result<impl Future<Output = Result<Value, Error>> + Send + use<>> {
    let handle = call.data_mut().table().get(this)?;
    let mut connection = handle.connection.clone();
    handle.left_bytes.store(MAX_REPLY_BYTES, Ordering::Relaxed);
    Ok(async move { Ok(command.query_async::<Value>(&mut connection).await?) })
}

fn payload(value: Value) -> Result<Option<Vec<u8>>, Error> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(Error::WrongType),
    }
}

fn integer(value: Value) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(number),
        _ => Err(Error::WrongType),
    }
}

fn count(value: Value) -> Result<u32, Error> {
    u32::try_from(integer(value)?).map_err(|_| Error::WrongType)
}

fn texts(value: Value) -> Result<Vec<String>, Error> {
    let (Value::Array(values) | Value::Set(values)) = value else {
        return Err(Error::WrongType);
    };
    let text = |value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| Error::WrongType),
        _ => Err(Error::WrongType),
    };
    values.into_iter().map(text).collect()
}

/// All that a command answered, lists in lists laid out in a row, as Spin has it.
fn replies(value: Value) -> Result<Vec<Reply>, Error> {
    let mut row = Vec::new();
    lay_out(value, &mut row)?;
    Ok(row)
}

fn lay_out(value: Value, row: &mut Vec<Reply>) -> Result<(), Error> {
    match value {
        Value::Nil => row.push(Reply::Nil),
        Value::Okay => row.push(Reply::Status("OK".to_owned())),
        Value::SimpleString(text) => row.push(Reply::Status(text)),
        Value::Int(number) => row.push(Reply::Int64(number)),
        Value::BulkString(bytes) => row.push(Reply::Binary(bytes)),
        Value::Array(values) | Value::Set(values) => {
            for value in values {
                lay_out(value, row)?;
            }
        }
        // Only newer protocols than the one that is spoken here have others.
        _ => return Err(Error::WrongType),
    }
    Ok(())
}

/// A connection that breaks when an answer is too long, or has too many elements.
struct Metered {
    stream: Box<dyn Stream>,
    left_bytes: Arc<AtomicUsize>,
    /// Whether the last byte was half of a line's end.
    after_return: bool,
}

impl Metered {
    /// What `bytes` count, which follow those before.
    fn cost(&mut self, bytes: &[u8]) -> usize {
        let mut lines = 0;
        for &byte in bytes {
            lines += usize::from(self.after_return && byte == b'\n');
            self.after_return = byte == b'\r';
        }
        bytes.len() + lines * LINE_BYTES
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let cost = self.cost(&buffer.filled()[before..]);
        let left = self.left_bytes.load(Ordering::Relaxed);
        match left.checked_sub(cost) {
            Some(left) => self.left_bytes.store(left, Ordering::Relaxed),
            None => {
                // What a failed read has read is nobody's.
                buffer.set_filled(before);
                let said = format!(
                    "an answer of more than {MAX_REPLY_BYTES} bytes, with {LINE_BYTES} for each element"
                );
                return Poll::Ready(Err(io::Error::other(said)));
            }
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    #[test]
    fn addresses_are_read_as_spin_reads_them() {
        for (address, expected) in [
            ("redis://Queue", Some((Scheme::Redis, "queue", 6379))),
            (
                "redis://a:secret@queue:7000/2",
                Some((Scheme::Redis, "queue", 7000)),
            ),
            ("rediss://queue:7000", Some((Scheme::Rediss, "queue", 7000))),
            ("redis://[::1]:7000", Some((Scheme::Redis, "[::1]", 7000))),
            ("unix:///run/redis.sock", None),
            ("http://queue", None),
            ("", None),
        ] {
            let actual = destination(address).ok().map(|(to, _)| to);
            let actual = actual
                .as_ref()
                .map(|to| (to.scheme, to.host.as_str(), to.port));
            assert_eq!(actual, expected, "{address}");
        }
    }

    #[test]
    fn no_address_changes_the_protocol() {
        let (_, login) = destination("redis://queue/?protocol=resp3").expect("an address");
        assert_eq!(login.protocol(), ProtocolVersion::RESP2);
    }

    #[tokio::test]
    async fn a_connection_ends_with_its_handle_though_an_answer_is_owed() -> anyhow::Result<()> {
        let (mut server, client) = tokio::io::duplex(4096);
        let (tell, told) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let (mut buffer, mut tell) = ([0; 4096], Some(tell));
            loop {
                let read = server.read(&mut buffer).await?;
                if read == 0 {
                    return io::Result::Ok(());
                }
                let asked = String::from_utf8_lossy(&buffer[..read]);
                // What a client says of itself when it connects is all that is answered.
                let answers = b"+OK\r\n".repeat(asked.matches("SETINFO").count());
                server.write_all(&answers).await?;
                if asked.contains("BLPOP")
                    && let Some(tell) = tell.take()
                {
                    let _ = tell.send(());
                }
            }
        });
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned()?;
        let (_, login) = destination("redis://queue").expect("an address");
        let handle = Handle::over(Box::new(client), &login, permit).await;
        let handle = handle.expect("it logs in");
        let mut connection = handle.connection.clone();
        let asking = tokio::spawn(async move {
            let command = cmd("BLPOP").arg("a").arg(0).to_owned();
            command.query_async::<Value>(&mut connection).await
        });
        told.await?;
        drop(handle);
        timeout(ANSWER_TIME / 2, serving).await???;
        assert!(asking.await?.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn many_small_elements_count_more_than_their_bytes() -> io::Result<()> {
        let line = 4 + LINE_BYTES;
        for (answer, limit_bytes, expected) in [
            (&b":1\r\n:2\r\n:3\r\n"[..], line * 3, true),
            (b":1\r\n:2\r\n:3\r\n", line * 3 - 1, false),
            (b"$4\r\na\nb\n\r\n", 10 + LINE_BYTES * 2, true),
            (b"$4\r\na\nb\n\r\n", 9 + LINE_BYTES * 2, false),
        ] {
            // However it arrives.
            for at_once in [1, 3, 64] {
                let (mut server, client) = tokio::io::duplex(at_once);
                let mut metered = Metered {
                    stream: Box::new(client),
                    left_bytes: Arc::new(AtomicUsize::new(limit_bytes)),
                    after_return: false,
                };
                let sent = tokio::spawn(async move { server.write_all(answer).await });
                let mut read = Vec::new();
                let done = metered.read_to_end(&mut read).await.is_ok();
                assert_eq!(done, expected, "{answer:?}, {at_once} at once");
                drop(metered);
                // It fails where it was not read to its end.
                let _ = sent.await?;
            }
        }
        Ok(())
    }

    #[test]
    fn answers_are_laid_out_in_a_row() {
        let inner = Value::Array(vec![Value::Int(1), Value::Nil]);
        let value = Value::Array(vec![Value::Okay, inner, Value::BulkString(b"x".to_vec())]);
        let expected = [
            Reply::Status("OK".to_owned()),
            Reply::Int64(1),
            Reply::Nil,
            Reply::Binary(b"x".to_vec()),
        ];
        assert_eq!(replies(value).expect("all are known"), expected);
        assert_eq!(replies(Value::Boolean(true)), Err(Error::WrongType));
        assert_eq!(count(Value::Int(-1)), Err(Error::WrongType));
        assert_eq!(payload(Value::Nil), Ok(None));
    }
}
