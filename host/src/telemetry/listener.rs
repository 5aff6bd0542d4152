//! Metrics on a listener of their own, for whom the functions' address is open to more people than should read them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::PATH;

/// Connections at once: who reads metrics are few.
const CONNECTIONS: usize = 16;

/// How long headers may take to arrive, and an idle connection stays open.
const HEADER_TIME: Duration = Duration::from_secs(60);

/// Serves until it is dropped.
pub(crate) struct MetricsListener {
    address: SocketAddr,
    task: AbortHandle,
}

impl MetricsListener {
    /// Listens on `address`, and answers requests for [`PATH`] with `page`.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub(crate) async fn start<P>(address: SocketAddr, page: P) -> Result<Self>
    where
        P: Fn(&Request<Incoming>) -> Response<Bytes> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listening on {address} for metrics"))?;
        let address = listener.local_addr().context("asking for the address")?;
        let task = tokio::spawn(accept(listener, Arc::new(page)));
        Ok(Self {
            address,
            task: task.abort_handle(),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<P>(listener: TcpListener, page: Arc<P>)
where
    P: Fn(&Request<Incoming>) -> Response<Bytes> + Send + Sync + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        // Finished connections are collected, or the set would grow.
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or a client that has left: nothing that a short rest would make worse.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let page = Arc::clone(&page);
        connections.spawn(async move {
            let _permit = permit;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| {
                        let answer = answer(&request, &*page).map(Full::new);
                        std::future::ready(Ok::<_, Infallible>(answer))
                    }),
                );
            if let Err(error) = connection.await {
                tracing::debug!("connection for metrics: {error}");
            }
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    page: &impl Fn(&Request<Incoming>) -> Response<Bytes>,
) -> Response<Bytes> {
    if request.uri().path() == PATH {
        return page(request);
    }
    let mut refusal = Response::new(Bytes::from_static(b"metrics are at /metrics\n"));
    *refusal.status_mut() = StatusCode::NOT_FOUND;
    refusal
}
