//! Messages to whoever listens, and what is there afterwards.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use redis::{Client, Connection};

use crate::redis::Redis;

/// How long a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection, as soon as there can be one.
pub(crate) fn connect(redis: &Redis) -> Result<Connection> {
    let client = Client::open(redis.url())?;
    until("redis-server answers", || {
        Ok(client
            .get_connection_with_timeout(Duration::from_secs(5))
            .ok())
    })
}

/// Publishes, as soon as somebody listens.
pub(crate) fn publish(redis: &Redis, channel: &str, message: &[u8]) -> Result<()> {
    let mut connection = connect(redis)?;
    until("somebody listens", || {
        let command = redis::cmd("PUBLISH").arg(channel).arg(message).to_owned();
        let heard: u32 = command.query(&mut connection)?;
        Ok((heard > 0).then_some(()))
    })
}

/// The text at `key`, as soon as it is there.
pub(crate) fn text_at(redis: &Redis, key: &str) -> Result<String> {
    let mut connection = connect(redis)?;
    until(key, || {
        Ok(redis::cmd("GET").arg(key).query(&mut connection)?)
    })
}

/// Waits for something to be there.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(there) = look()? {
            return Ok(there);
        }
        ensure!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
