//! One HTTP/1.1 exchange with a server of ours or a collector: an address and a request -> status, headers and body, bounded in size and time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// `http://host[:port][/path]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// Of the `Host` header.
    authority: String,
    host: String,
    port: u16,
    /// Without its last slash.
    path: String,
}

impl Url {
    /// Reads `text`; a port that is not there is `port`.
    ///
    /// # Errors
    ///
    /// What is no address, or one that wants TLS, with a sentence.
    pub(crate) fn parse(text: &str, port: u16) -> Result<Self> {
        let uri: Uri = text.parse().with_context(|| {
            format!("expected an address such as http://localhost:{port}, got `{text}`")
        })?;
        let scheme = uri.scheme_str().unwrap_or_default();
        ensure!(
            scheme != "https",
            "{text}: TLS is not supported, expected http:// to something near that speaks TLS itself"
        );
        ensure!(
            scheme == "http" && uri.query().is_none(),
            "expected an address such as http://localhost:{port}, got `{text}`"
        );
        let authority = uri.authority().expect("an address with a scheme has one");
        ensure!(
            !authority.as_str().contains('@'),
            "{}: credentials in an address are not supported",
            authority.host()
        );
        let host = authority.host();
        // Brackets belong to the address's text, not to the address.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            authority: authority.to_string(),
            host: bare.to_owned(),
            port: authority.port_u16().unwrap_or(port),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// This address with `path` behind its own.
    pub(crate) fn join(&self, path: &str) -> Self {
        Self {
            path: format!("{}{path}", self.path),
            ..self.clone()
        }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// Sends `request` to `url`, whose path it gets, over a connection of its own.
///
/// # Errors
///
/// No connection, no answer within `time`, or one of more than `max_bytes`.
pub(crate) async fn exchange(
    url: &Url,
    request: Request<Bytes>,
    max_bytes: usize,
    time: Duration,
) -> Result<Response<Bytes>> {
    tokio::time::timeout(time, exchange_now(url, request, max_bytes))
        .await
        .unwrap_or_else(|_| anyhow::bail!("no answer within {} s", time.as_secs()))
}

async fn exchange_now(
    url: &Url,
    mut request: Request<Bytes>,
    max_bytes: usize,
) -> Result<Response<Bytes>> {
    let stream = TcpStream::connect((url.host.as_str(), url.port))
        .await
        .context("connecting")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    *request.uri_mut() = match url.path.as_str() {
        "" => Uri::from_static("/"),
        path => path.parse().context("the address's path")?,
    };
    let host = HeaderValue::from_str(&url.authority).context("the address's host")?;
    request.headers_mut().insert(HOST, host);
    let answer = async {
        let answer = sender.send_request(request.map(Full::new)).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, max_bytes).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    tokio::pin!(answer);
    // The connection does its work while it is polled; when it ends first, the answer says why.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_a_sentence() {
        for (text, expected) in [
            ("http://localhost:9", Ok(("localhost", 9, ""))),
            ("http://localhost", Ok(("localhost", 4318, ""))),
            ("http://a.b:9/c/d/", Ok(("a.b", 9, "/c/d"))),
            ("http://[::1]:9/", Ok(("::1", 9, ""))),
            ("https://a.b", Err("TLS is not supported")),
            ("a.b:9", Err("expected an address")),
            ("ftp://a.b", Err("expected an address")),
            ("http://a.b/c?d", Err("expected an address")),
            ("http://user:word@a.b", Err("credentials")),
            ("http://", Err("expected an address")),
            ("", Err("expected an address")),
        ] {
            match (Url::parse(text, 4318), expected) {
                (Ok(url), Ok((host, port, path))) => {
                    assert_eq!((&*url.host, url.port, &*url.path), (host, port, path));
                }
                (Err(error), Err(says)) => {
                    assert!(error.to_string().contains(says), "{text}: {error}");
                    assert!(!error.to_string().contains("word"), "{error}");
                }
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
        let url = Url::parse("http://a.b:9/c/", 1).expect("valid").join("/v1");
        assert_eq!(url.to_string(), "http://a.b:9/c/v1");
    }
}
