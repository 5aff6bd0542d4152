//! The connection to Redis, which comes back when Redis does.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, IntoConnectionInfo, RedisError, RedisResult};
use tokio::sync::watch;

use super::layout::Layout;
use super::scripts::Call;

/// To connect, once.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// To an answer that is not waited for on purpose.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The longest that a read may wait for entries.
pub(super) const BLOCK_TIME: Duration = Duration::from_secs(5);

/// Between tries to reach Redis, and between tries to have it store something.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Redis, and where things are in it.
#[derive(Clone)]
pub struct Broker {
    /// Names of keys.
    pub layout: Layout,
    commands: ConnectionManager,
    /// Another connection, for commands that wait: on the same one, everything behind them would.
    waits: ConnectionManager,
}

impl Broker {
    /// Connects to the Redis at `url` (`redis://[user:password@]host[:port][/db]`, `rediss:` for TLS, `redis+unix:` for a socket).
    ///
    /// # Errors
    ///
    /// What is no such address, nobody there, or a wrong password. No password is in the message.
    pub async fn connect(url: &str, layout: Layout) -> Result<Self> {
        let info = url.into_connection_info();
        // The library's own message may repeat the address, and a password with it.
        let info = info.map_err(|_| {
            anyhow::anyhow!("expected an address such as redis://localhost:6379, got another")
        })?;
        let reaching = format!("reaching Redis at {}", info.addr());
        let client = Client::open(info)?;
        let commands = manager(&client, ANSWER_TIME).await;
        let waits = manager(&client, ANSWER_TIME + BLOCK_TIME).await;
        Ok(Self {
            layout,
            commands: commands.with_context(|| reaching.clone())?,
            waits: waits.context(reaching)?,
        })
    }

    /// For commands that answer at once.
    pub(super) fn commands(&self) -> ConnectionManager {
        self.commands.clone()
    }

    /// For commands that wait.
    pub(super) fn waits(&self) -> ConnectionManager {
        self.waits.clone()
    }

    /// Runs a script once.
    pub(super) async fn call<T: FromRedisValue>(&self, call: &Call) -> Result<T> {
        let answer = call.run(&mut self.commands()).await;
        answer.context("asking Redis")
    }

    /// Runs a script until Redis has answered, through its restarts and while its disk is full, or until `stop` becomes true.
    ///
    /// # Errors
    ///
    /// What will not pass, or `stop`.
    pub(super) async fn insist<T: FromRedisValue>(
        &self,
        call: &Call,
        stop: &watch::Receiver<bool>,
    ) -> Result<T> {
        let mut stop = stop.clone();
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        loop {
            let error = match call.run(&mut self.commands()).await {
                Ok(answer) => return Ok(answer),
                Err(error) if passes(&error) => error,
                Err(error) => return Err(error).context("asking Redis"),
            };
            if !told {
                tracing::warn!("Redis does not take it now, trying again: {error}");
                told = true;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                _ = stop.wait_for(|stop| *stop) => return Err(error).context("asking Redis"),
            }
        }
    }
}

async fn manager(client: &Client, answer_time: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIME))
        .set_response_timeout(Some(answer_time))
        .set_min_delay(FIRST_PAUSE)
        .set_max_delay(LONGEST_PAUSE)
        .set_number_of_retries(6);
    ConnectionManager::new_with_config(client.clone(), config).await
}

/// Whether it may go well the next time: Redis is away, is starting, or has no room now.
pub(super) fn passes(error: &RedisError) -> bool {
    const CODES: [&str; 9] = [
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
    ];
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_connection_refusal()
        || error.code().is_some_and(|code| CODES.contains(&code))
}
