//! Which queue: its options on the command line.

use anyhow::{Context, Result};
use clap::Args;
use ephemera::jobs::streams::{Broker, Layout};

/// A queue in Redis.
#[derive(Args, Clone)]
pub(crate) struct RedisOptions {
    /// Redis, as redis://[user:password@]host[:port][/db]; rediss: for TLS, with whom the machine or the file
    /// SSL_CERT_FILE trusts. In the environment, a password is seen by fewer.
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    redis: Option<String>,
    /// The stream of jobs; what else is kept is called after it.
    #[arg(long, value_name = "NAME", default_value = "ephemera")]
    stream: String,
    /// The group of workers.
    #[arg(long, value_name = "NAME", default_value = "workers")]
    group: String,
}

impl RedisOptions {
    pub(crate) fn is_given(&self) -> bool {
        self.redis.is_some()
    }

    pub(crate) async fn connect(&self) -> Result<Broker> {
        let url = self.redis.as_deref().context("expected --redis URL")?;
        let layout = Layout::new(&self.stream, &self.group)?;
        Broker::connect(url, layout).await
    }
}
