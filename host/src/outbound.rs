//! Requests that functions make: to the hosts that the manifest allows, within bounds, and nowhere else.
//!
//! In: an outgoing `wasi:http` request. Out: its answer, streamed. The name is resolved here, its addresses are checked, and the
//! connection goes to an address that was checked, so that a name cannot lead elsewhere between the two. Redirects are the function's
//! business, and each is a request of its own.

mod hosts;

use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::apart::Threads;
use crate::grants::Grants;
pub use hosts::Hosts;
use hosts::address;
pub(crate) use hosts::{Destination, Scheme};

/// Requests that one request may have under way: enough to ask several services at once, and no crawler.
const AT_ONCE: usize = 8;

/// What is written of an answer before it must be taken, in bytes. A guest may begin as many answers as it has handles.
const ANSWER_CHUNK_BYTES: usize = 64 << 10;

/// An answer, in bytes; it is streamed, so this bounds time and traffic rather than memory.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// To find a name's addresses and to connect, at most; a function may ask for less.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// To the first byte of an answer, and from one piece to the next, at most; a function may ask for less.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Hosts that stand for the application itself: the first is what `allowed_outbound_hosts` has, the second what Spin's SDKs send.
const OWN: [&str; 2] = ["self", "self.alt"];

/// What sends the requests of one instance.
pub(crate) struct Outbound {
    grants: Arc<Grants>,
    room: Arc<Semaphore>,
    /// Whether a refusal has been told: one is worth a warning, thousands are a full disk.
    told: Arc<AtomicBool>,
}

impl Outbound {
    pub(crate) fn new(grants: Arc<Grants>) -> Self {
        Self {
            grants,
            room: Arc::new(Semaphore::new(AT_ONCE)),
            told: Arc::default(),
        }
    }
}

impl Outbound {
    /// Whether a refusal has been told.
    pub(crate) fn told(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.told)
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Outbound {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        ANSWER_CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let grants = Arc::clone(&self.grants);
        let told = Arc::clone(&self.told);
        let permit = Arc::clone(&self.room).try_acquire_owned();
        Box::new(async move {
            let permit = permit.map_err(|_| Error::ConnectionLimitReached)?;
            send(&grants, &told, request, Times::new(options), permit).await
        })
    }
}

/// How long each part may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Times {
    fn new(options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        let least = |asked: Option<Duration>, limit: Duration| asked.unwrap_or(limit).min(limit);
        Self {
            connect: least(options.connect_timeout, CONNECT_TIME),
            first_byte: least(options.first_byte_timeout, ANSWER_TIME),
            between_bytes: least(options.between_bytes_timeout, ANSWER_TIME),
        }
    }
}

async fn send(
    grants: &Grants,
    told: &AtomicBool,
    mut request: Request<WasiBody>,
    times: Times,
    permit: OwnedSemaphorePermit,
) -> Sent {
    let to = destination(request.uri())?;
    let stream = timeout(times.connect, connect(grants, told, &to))
        .await
        .map_err(|_| Error::ConnectionTimeout)??;
    // Scheme and authority are for proxies.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or(Uri::from_static("/"), Uri::from);

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut io: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>> = Box::pin(connection);
    let mut io_ended = false;
    let answer = timeout(times.first_byte, async {
        let mut answer = std::pin::pin!(sender.send_request(request));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                ended = &mut io, if !io_ended => {
                    io_ended = true;
                    ended?;
                }
            }
        }
    });
    let answer = answer.await.map_err(|_| Error::ConnectionReadTimeout)??;
    let io: Io = Box::new(async move {
        match io_ended {
            true => Ok(()),
            false => io.await.map_err(Error::from),
        }
    });
    let bounded = |body| Bounded {
        body,
        left_bytes: MAX_ANSWER_BYTES,
        pause: times.between_bytes,
        late: Box::pin(tokio::time::sleep(times.between_bytes)),
        _permit: permit,
    };
    Ok((answer.map(|body| bounded(body).boxed_unsync()), io))
}

/// Where `uri` leads.
fn destination(uri: &Uri) -> Result<Destination, Error> {
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(Error::HttpProtocolError),
    };
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    // A name and a password before the host would only be there to be misread.
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(Error::HttpRequestUriInvalid);
    }
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    Ok(Destination {
        scheme,
        port: authority.port_u16().unwrap_or(scheme.port()),
        host,
    })
}

/// Connects to where `to` is, if `grants` has it, at an address that was checked; with TLS where its scheme says so.
pub(crate) async fn connect(
    grants: &Grants,
    told: &AtomicBool,
    to: &Destination,
) -> Result<Box<dyn Stream>, Error> {
    let hosts = &grants.hosts;
    let denied = |why: &str| {
        if told.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            "an outgoing connection to {}:{} was refused: {why}",
            to.host,
            to.port
        );
    };
    let addresses = if OWN.contains(&to.host.as_str()) && hosts.allow_own(to.scheme) {
        let own = grants.own_address.get().ok_or(Error::DestinationNotFound)?;
        vec![reachable(*own)]
    } else if !hosts.allow(to) {
        denied("not in allowed_outbound_hosts");
        return Err(Error::HttpRequestDenied);
    } else {
        let found = resolve(&grants.lookups, to).await?;
        let allowed = found
            .into_iter()
            .filter(|found| hosts.allow_address(to, found.ip()));
        let allowed: Vec<_> = allowed.collect();
        if allowed.is_empty() {
            denied(
                "its address is not the internet's, and allowed_outbound_hosts does not list it",
            );
            return Err(Error::DestinationIpProhibited);
        }
        allowed
    };
    let stream = TcpStream::connect(addresses.as_slice())
        .await
        .map_err(Error::Connect)?;
    // A request is one write; a socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    Ok(match to.scheme {
        Scheme::Http | Scheme::Redis => Box::new(stream),
        Scheme::Https | Scheme::Rediss => {
            let inner = to.host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(inner.to_owned());
            let name = name.map_err(|_| Error::HttpRequestUriInvalid)?;
            let connector = TlsConnector::from(Arc::clone(TLS.as_ref().ok_or(unsupported())?));
            let stream = connector.connect(name, stream).await;
            Box::new(stream.map_err(Error::Tls)?)
        }
    })
}

/// The addresses of a name. The function's time for it does not end what the resolver waits for, so `threads` has no more than so many.
async fn resolve(threads: &Threads, to: &Destination) -> Result<Vec<SocketAddr>, Error> {
    if let Some(address) = address(&to.host) {
        return Ok(vec![SocketAddr::new(address, to.port)]);
    }
    let name = (to.host.clone(), to.port);
    let lookup = move || Ok::<_, std::io::Error>(name.to_socket_addrs()?.collect());
    let unknown = || Error::DnsError {
        rcode: None,
        info_code: None,
    };
    let found = threads.run(lookup).await.map_err(|_| unknown())?;
    found.map_err(|_| unknown())
}

/// Who listens everywhere listens here too.
fn reachable(own: SocketAddr) -> SocketAddr {
    match own {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, v6.port()).into()
        }
        other => other,
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Made when first needed: most functions ask nobody.
static TLS: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.into(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?;
    let config = config.with_root_certificates(roots);
    Some(Arc::new(config.with_no_client_auth()))
});

fn unsupported() -> Error {
    Error::InternalError(Some("TLS is not available".into()))
}

/// An answer's body that ends with an error when it is too long or stands still.
struct Bounded {
    body: Incoming,
    left_bytes: u64,
    pause: Duration,
    late: Pin<Box<Sleep>>,
    // The request is under way for as long as its answer is read.
    _permit: OwnedSemaphorePermit,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let late = self.late.as_mut().poll(cx);
            return late.map(|()| Some(Err(Error::ConnectionReadTimeout)));
        };
        let pause = self.pause;
        self.late
            .as_mut()
            .reset(tokio::time::Instant::now() + pause);
        let Some(frame) = frame else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = self.left_bytes.checked_sub(bytes) else {
            return Poll::Ready(Some(Err(Error::HttpResponseBodySize(Some(
                MAX_ANSWER_BYTES,
            )))));
        };
        self.left_bytes = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_from_urls() {
        let cases = [
            ("http://A.org/x", Some(("a.org", 80))),
            ("https://a.org:8443/", Some(("a.org", 8443))),
            ("https://a.org.", Some(("a.org", 443))),
            ("http://[::1]:1/", Some(("[::1]", 1))),
            ("http://user@a.org/", None),
            ("ftp://a.org/", None),
            ("/path", None),
        ];
        for (url, expected) in cases {
            let found = destination(&url.parse().expect(url)).ok();
            let found = found.as_ref().map(|to| (to.host.as_str(), to.port));
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn a_function_may_ask_for_less_time_and_not_for_more() {
        let asked = |seconds| {
            let time = Some(Duration::from_secs(seconds));
            Times::new(Some(RequestOptions {
                connect_timeout: time,
                first_byte_timeout: time,
                between_bytes_timeout: time,
            }))
        };
        assert_eq!(asked(1).connect, Duration::from_secs(1));
        assert_eq!(asked(600), Times::new(None));
    }

    /// A service on this machine that answers its first request with `head` and `bytes` zeros, and what is granted to reach it.
    async fn service(head: &'static str, bytes: usize) -> (String, Arc<Grants>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let grants = Grants {
            hosts: Hosts::parse(&[&url]).expect("an entry"),
            ..Grants::default()
        };
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(head.as_bytes()).await;
            let zeros = [0; 1 << 16];
            let mut left = bytes;
            while left > 0 {
                let now = left.min(zeros.len());
                if stream.write_all(&zeros[..now]).await.is_err() {
                    return;
                }
                left -= now;
            }
            // Open and silent, until the test ends.
            std::future::pending::<()>().await;
        });
        (url, Arc::new(grants))
    }

    fn ask(
        outbound: &mut Outbound,
        url: &str,
        time: Duration,
    ) -> Pin<Box<dyn Future<Output = Sent> + Send>> {
        let body = http_body_util::Empty::<Bytes>::new();
        let body = body.map_err(|never| match never {}).boxed_unsync();
        let request = Request::get(url).body(body).expect("a request");
        let options = RequestOptions {
            first_byte_timeout: Some(time),
            between_bytes_timeout: Some(time),
            ..RequestOptions::default()
        };
        Pin::from(outbound.send_request(request, Some(options), Box::new(async { Ok(()) })))
    }

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(20);

    /// The whole answer, or how it ended.
    async fn collected(sent: Sent) -> Result<usize, Error> {
        let (answer, io) = sent?;
        let io = tokio::spawn(Pin::from(io));
        let body = answer.into_body().collect().await;
        io.abort();
        Ok(body?.to_bytes().len())
    }

    #[tokio::test]
    async fn answers_are_bounded_in_time_and_size() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n";
        const SMALL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n";
        let (url, grants) = service(SMALL, 70_000).await;
        let sent = ask(&mut Outbound::new(grants), &url, LONG).await;
        assert_eq!(collected(sent).await.ok(), Some(70_000));

        let (url, grants) = service(HEAD, MAX_ANSWER_BYTES as usize + 1).await;
        let sent = ask(&mut Outbound::new(grants), &url, LONG).await;
        let ended = collected(sent).await;
        assert!(
            matches!(ended, Err(Error::HttpResponseBodySize(_))),
            "{ended:?}"
        );

        let (url, grants) = service("", 0).await;
        let sent = ask(&mut Outbound::new(grants), &url, SHORT).await;
        assert!(matches!(sent.err(), Some(Error::ConnectionReadTimeout)));

        let (url, grants) = service(SMALL, 10).await;
        let sent = ask(&mut Outbound::new(grants), &url, SHORT).await;
        let ended = collected(sent).await;
        assert!(
            matches!(ended, Err(Error::ConnectionReadTimeout)),
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn only_so_many_are_under_way_at_once() {
        let (url, grants) = service("", 0).await;
        let mut outbound = Outbound::new(grants);
        let asked: Vec<_> = (0..AT_ONCE)
            .map(|_| ask(&mut outbound, &url, LONG))
            .collect();
        let refused = ask(&mut outbound, &url, LONG).await;
        assert!(matches!(refused.err(), Some(Error::ConnectionLimitReached)));
        drop(asked);
        assert_eq!(outbound.room.available_permits(), AT_ONCE);
    }

    #[test]
    fn there_are_roots_of_trust() {
        assert!(TLS.is_some());
    }
}
