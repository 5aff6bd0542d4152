//! URLs of jobs: inputs are got from them and reports posted to them, of hosts that are allowed and no others.
//!
//! By the same rules as the requests that functions make (`crate::outbound`): addresses are checked after names are resolved, times and sizes
//! are bounded, redirects are not followed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use wasmtime_wasi_http::{Error, WasiHttpHooks};

use crate::grants::Grants;
use crate::outbound::{Hosts, Outbound};

/// From the first byte of a request to the last one of its answer.
const TIME: Duration = Duration::from_secs(120);

/// What a report is posted with, so that whoever gets it twice knows (as proposed in the IETF's draft of that name).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Why a URL is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It will not be the next time either.
    Never(String),
    /// It may be the next time.
    Later(String),
}

/// Hosts that may be reached.
#[derive(Debug, Default, Clone)]
pub struct Reach(Arc<Grants>);

impl Reach {
    /// `hosts` as in `allowed_outbound_hosts` of spin.toml, such as `https://example.org`.
    ///
    /// # Errors
    ///
    /// An entry that is none.
    pub fn to<S: AsRef<str>>(hosts: &[S]) -> Result<Self> {
        Ok(Self(Arc::new(Grants {
            hosts: Hosts::parse(hosts)?,
            ..Grants::default()
        })))
    }

    /// What is behind `url`.
    ///
    /// # Errors
    ///
    /// See [`Trouble`]: hosts that are not allowed, statuses that are no success, connections that break.
    pub async fn get(&self, url: &str) -> Result<Bytes, Trouble> {
        self.exchange(Method::GET, url, |request| request, Bytes::new())
            .await
    }

    /// Posts a `report`, as JSON, of the job `id`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn post(&self, url: &str, id: &str, report: Vec<u8>) -> Result<(), Trouble> {
        let head = |request: hyper::http::request::Builder| {
            request
                .header(CONTENT_TYPE, "application/json")
                .header(IDEMPOTENCY_KEY, id)
        };
        let answer = self.exchange(Method::POST, url, head, report.into());
        answer.await.map(|_| ())
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        head: impl FnOnce(hyper::http::request::Builder) -> hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Bytes, Trouble> {
        let never = |error: hyper::http::Error| Trouble::Never(error.to_string());
        let request = head(Request::builder().method(method).uri(url));
        let mut request = request
            .body(Full::new(body).map_err(|e| match e {}).boxed_unsync())
            .map_err(never)?;
        if let Some(authority) = request.uri().authority()
            && let Ok(host) = authority.as_str().parse()
        {
            request.headers_mut().insert(HOST, host);
        }
        let mut outbound = Outbound::new(Arc::clone(&self.0));
        let sending = outbound.send_request(request, None, Box::new(async { Ok(()) }));
        let exchange = async {
            let (answer, io) = std::pin::Pin::from(sending).await?;
            let (head, body) = answer.into_parts();
            let mut io = std::pin::Pin::from(io);
            let mut body = std::pin::pin!(body.collect());
            // The connection does its work while it is polled.
            let mut open = true;
            let body = loop {
                tokio::select! {
                    body = &mut body => break body?,
                    _ = &mut io, if open => open = false,
                }
            };
            Ok((head.status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(TIME, exchange)
            .await
            .map_err(|_| Trouble::Later(format!("no answer within {} s", TIME.as_secs())))?
            .map_err(|error| trouble(&error))?;
        match judged(status) {
            Some(trouble) => Err(trouble),
            None => Ok(body),
        }
    }
}

/// What a status says of the next time; nothing if it is a success.
fn judged(status: StatusCode) -> Option<Trouble> {
    if status.is_success() {
        return None;
    }
    let sentence = format!("the host answered {status}");
    let passing = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    Some(
        match status.is_server_error() || passing.contains(&status) {
            true => Trouble::Later(sentence),
            false => Trouble::Never(sentence),
        },
    )
}

fn trouble(error: &Error) -> Trouble {
    match error {
        Error::HttpRequestDenied => Trouble::Never("the host is not allowed".to_owned()),
        Error::DestinationIpProhibited => {
            Trouble::Never("the host's address is not allowed".to_owned())
        }
        Error::HttpRequestUriInvalid | Error::HttpProtocolError => {
            Trouble::Never("expected an http: or https: URL of a host".to_owned())
        }
        Error::HttpResponseBodySize(_) => Trouble::Never("the answer is too long".to_owned()),
        other => Trouble::Later(format!("asking the host: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A service that answers one request with `answer`; what it was asked is sent to the task's end.
    async fn service(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = vec![0; 4096];
            let mut length = 0;
            // Head and body may come apart.
            while !String::from_utf8_lossy(&request[..length]).ends_with(['}', '\n']) {
                length += stream.read(&mut request[length..]).await.expect("read");
            }
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (url, asked)
    }

    #[tokio::test]
    async fn inputs_are_got_and_reports_posted() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npage";
        let (url, asked) = service(ok).await;
        let reach = Reach::to(&[&url]).expect("an entry");
        assert_eq!(
            reach.get(&format!("{url}/a?b")).await,
            Ok(Bytes::from("page"))
        );
        let asked = asked.await.expect("no panic");
        assert!(asked.starts_with("GET /a?b HTTP/1.1\r\n"), "{asked}");
        let (url, asked) = service("HTTP/1.1 204 No Content\r\n\r\n").await;
        let reach = Reach::to(&[&url]).expect("an entry");
        assert_eq!(reach.post(&url, "job-1", b"{}".to_vec()).await, Ok(()));
        let asked = asked.await.expect("no panic").to_ascii_lowercase();
        assert!(asked.contains("idempotency-key: job-1\r\n"), "{asked}");
        assert!(asked.contains("content-type: application/json\r\n"));
        assert!(asked.ends_with("\r\n\r\n{}"));
    }

    #[tokio::test]
    async fn what_is_not_allowed_or_not_there_is_told() {
        let (url, _asked) = service("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
        let reach = Reach::to(&[&url]).expect("an entry");
        let later = |said: &str| Err(Trouble::Later(said.to_owned()));
        let never = |said: &str| Err(Trouble::Never(said.to_owned()));
        assert_eq!(
            reach.get(&url).await,
            later("the host answered 503 Service Unavailable")
        );
        assert_eq!(
            Reach::default().get(&url).await,
            never("the host is not allowed")
        );
        // Nobody listens there any more.
        assert!(matches!(reach.get(&url).await, Err(Trouble::Later(_))));
    }

    #[test]
    fn a_status_says_whether_to_come_again() {
        for (status, again) in [
            (404, false),
            (301, false),
            (429, true),
            (408, true),
            (500, true),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let judged = judged(status).expect("no success");
            assert_eq!(matches!(judged, Trouble::Later(_)), again, "{status}");
        }
        assert_eq!(judged(StatusCode::NO_CONTENT), None);
    }
}
