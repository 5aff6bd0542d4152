//! Jobs into Redis, and what became of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use ephemera_jobs::{Job, Report};
use redis::{AsyncCommands, FromRedisValue, RedisResult};
use tokio::sync::watch;

use super::broker::{Broker, passes};
use super::layout::COUNTS_LIFE_S;
use super::scripts::{Call, SUBMIT};
use crate::jobs::claim::now;

/// Between looks at whether there is room or an end.
const LOOK_TIME: Duration = Duration::from_millis(250);

/// Jobs that one look asks for.
const ASKED: usize = 256;

/// What a submission did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is queued now.
    Queued,
    /// It was known before, in this state.
    Known(String),
}

/// Queues `job`, unless one of its id is known. One that failed is queued again. Waits while Redis is away.
///
/// # Errors
///
/// What will not pass.
pub async fn submit(broker: &Broker, job: &Job) -> Result<Submitted> {
    let layout = &broker.layout;
    let keys = [
        layout.stream(job.priority),
        layout.job(&job.id),
        layout.progress(),
        layout.batch(job.batch.as_deref()),
    ];
    let call = Call::new(&SUBMIT, keys)
        .arg(job.json())
        .arg(now())
        .arg(&job.function)
        .arg(COUNTS_LIFE_S);
    let (_never, stop) = watch::channel(false);
    let state: String = broker.insist(&call, &stop).await?;
    Ok(match state.as_str() {
        "new" => Submitted::Queued,
        _ => Submitted::Known(state),
    })
}

/// Waits until fewer than `most` jobs are queued or under way: what is queued is in Redis' memory.
///
/// # Errors
///
/// Redis cannot be asked.
pub async fn wait_for_room(broker: &Broker, most: u64, mut told: impl FnMut()) -> Result<()> {
    let mut redis = broker.commands();
    loop {
        let mut queued = 0;
        for stream in broker.layout.streams() {
            queued += redis.xlen::<_, u64>(stream).await.context("asking Redis")?;
        }
        if queued < most {
            return Ok(());
        }
        told();
        tokio::time::sleep(LOOK_TIME).await;
    }
}

/// Waits until each of `ids` has its report, and hands each over to `take` as it comes. One that is no longer known has none.
///
/// # Errors
///
/// `take` fails; a report that is none.
pub async fn wait(
    broker: &Broker,
    ids: Vec<String>,
    mut take: impl FnMut(&str, Option<Report>) -> Result<()>,
) -> Result<()> {
    let mut left = ids;
    while !left.is_empty() {
        let mut still = Vec::new();
        for some in left.chunks(ASKED) {
            let states = match states(broker, some).await {
                Ok(states) => states,
                // Redis may be away for a moment.
                Err(error) if passes(&error) => {
                    still.extend_from_slice(some);
                    continue;
                }
                Err(error) => return Err(error).context("asking Redis"),
            };
            for (id, state) in some.iter().zip(states) {
                match state.as_deref() {
                    None => take(id, None)?,
                    Some("done" | "failed") => match report(broker, id).await {
                        Err(error) if error.downcast_ref().is_some_and(passes) => {
                            still.push(id.clone());
                        }
                        report => take(id, report?)?,
                    },
                    Some(_) => still.push(id.clone()),
                }
            }
        }
        left = still;
        if !left.is_empty() {
            tokio::time::sleep(LOOK_TIME).await;
        }
    }
    Ok(())
}

async fn states(broker: &Broker, ids: &[String]) -> RedisResult<Vec<Option<String>>> {
    let mut ask = redis::pipe();
    for id in ids {
        ask.hget(broker.layout.job(id), "state");
    }
    ask.query_async(&mut broker.commands()).await
}

/// The report of a job, once there is one.
///
/// # Errors
///
/// Redis cannot be asked, or has something else in its place.
pub async fn report(broker: &Broker, id: &str) -> Result<Option<Report>> {
    let text: Option<Vec<u8>> = field(broker, id, "report").await?;
    let report = text.map(|text| serde_json::from_slice(&text));
    report.transpose().context("reading a report")
}

async fn field<T: FromRedisValue>(broker: &Broker, id: &str, name: &str) -> Result<T> {
    let mut redis = broker.commands();
    let value = redis.hget(broker.layout.job(id), name).await;
    value.context("asking Redis")
}

/// All that is known of a job, by name; nothing if it is not known.
///
/// # Errors
///
/// Redis cannot be asked.
pub async fn known(broker: &Broker, id: &str) -> Result<BTreeMap<String, String>> {
    let mut redis = broker.commands();
    let known = redis.hgetall(broker.layout.job(id)).await;
    known.context("asking Redis")
}
