//! What is in the queue, dead letters once more, and away with what nobody needs.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ephemera_jobs::Urgency;
use redis::AsyncCommands;
use redis::streams::{StreamInfoConsumersReply, StreamRangeReply};
use serde::Serialize;

use super::broker::Broker;
use super::pull::pending_of;
use super::scripts::{CLEAR, CLEAR_DELAYED, Call, RETRY};

/// Entries or keys that one call handles. An entry may have a picture in it.
const AT_ONCE: usize = 20;

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Jobs that nobody has begun: those in a hurry and the others.
    pub waiting: BTreeMap<&'static str, u64>,
    /// Jobs that workers have.
    pub running: u64,
    /// Jobs that wait to be tried again.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// What was counted in all, for a day after the last change.
    pub progress: BTreeMap<String, u64>,
    /// Workers that are in the group, dead ones for a day.
    pub workers: Vec<Worker>,
}

/// A worker, as its group knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// Its machine, process and start.
    pub name: String,
    /// Jobs that it has.
    pub running: u64,
    /// Milliseconds since it asked for something.
    pub silent_ms: u64,
}

/// Looks.
///
/// # Errors
///
/// Redis cannot be asked.
pub async fn overview(broker: &Broker) -> Result<Overview> {
    look(broker).await.context("asking Redis")
}

async fn look(broker: &Broker) -> redis::RedisResult<Overview> {
    super::pull::join(broker).await?;
    let mut redis = broker.commands();
    let layout = &broker.layout;
    let mut workers: BTreeMap<String, Worker> = BTreeMap::new();
    let mut waiting = BTreeMap::new();
    let mut running = 0;
    for priority in [Urgency::Interactive, Urgency::Batch] {
        let stream = layout.stream(priority);
        let pending = pending_of(&mut redis, &stream, layout.group()).await?;
        let length: u64 = redis.xlen(&stream).await?;
        waiting.insert(
            super::work::priority(priority),
            length.saturating_sub(pending),
        );
        running += pending;
        let found: StreamInfoConsumersReply =
            redis.xinfo_consumers(&stream, layout.group()).await?;
        for consumer in found.consumers {
            let silent_ms = consumer.idle as u64;
            let worker = workers.entry(consumer.name.clone()).or_insert(Worker {
                name: consumer.name,
                running: 0,
                silent_ms,
            });
            worker.running += consumer.pending as u64;
            worker.silent_ms = worker.silent_ms.min(silent_ms);
        }
    }
    Ok(Overview {
        waiting,
        running,
        delayed: redis.zcard(layout.delayed()).await?,
        dead: redis.xlen(layout.dead()).await?,
        progress: redis.hgetall(layout.progress()).await?,
        workers: workers.into_values().collect(),
    })
}

/// What was counted of a batch.
///
/// # Errors
///
/// Redis cannot be asked.
pub async fn batch(broker: &Broker, name: &str) -> Result<BTreeMap<String, u64>> {
    let mut redis = broker.commands();
    let counts = redis.hgetall(broker.layout.batch(Some(name))).await;
    counts.context("asking Redis")
}

/// A dead letter, without its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dead {
    /// The job's id; empty for what was no job.
    pub id: String,
    /// Why it was given up.
    pub reason: String,
    /// How often it was tried.
    pub attempts: String,
    #[serde(skip)]
    entry: String,
}

/// Hands over dead letters, the oldest first: all of them, or those of the job `id`.
///
/// # Errors
///
/// Redis cannot be asked.
pub async fn dead(broker: &Broker, id: Option<&str>, mut take: impl FnMut(Dead)) -> Result<()> {
    let mut redis = broker.commands();
    let mut from = "-".to_owned();
    loop {
        let found: StreamRangeReply = redis
            .xrange_count(broker.layout.dead(), &from, "+", AT_ONCE)
            .await
            .context("asking Redis")?;
        let Some(last) = found.ids.last() else {
            return Ok(());
        };
        from = format!("({}", last.id);
        for entry in found.ids {
            let text = |name: &str| entry.get(name).unwrap_or_default();
            let letter = Dead {
                id: text("id"),
                reason: text("reason"),
                attempts: text("attempts"),
                entry: entry.id.clone(),
            };
            if id.is_none_or(|id| id == letter.id) {
                take(letter);
            }
        }
    }
}

/// Queues dead letters again, all of them or those of the job `id`, as if they had never been tried. Returns how many; what was no job
/// stays.
///
/// # Errors
///
/// Redis cannot be asked.
pub async fn retry(broker: &Broker, id: Option<&str>) -> Result<u64> {
    let mut letters = Vec::new();
    dead(broker, id, |letter| letters.push(letter.entry)).await?;
    let layout = &broker.layout;
    let mut done = 0;
    for entry in letters {
        let keys = [
            layout.dead(),
            layout.stream(Urgency::Batch),
            layout.stream(Urgency::Interactive),
        ];
        let call = Call::new(&RETRY, keys).arg(entry).arg(layout.job(""));
        done += broker.call::<u64>(&call).await?;
    }
    Ok(done)
}

/// What is to be deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purge {
    /// Dead letters.
    pub dead: bool,
    /// What is known of jobs that are finished, their reports included.
    pub finished: bool,
    /// Jobs that nobody has begun, those that wait for their time included.
    pub waiting: bool,
}

/// Deletes, and returns how many.
///
/// # Errors
///
/// Redis cannot be asked.
pub async fn purge(broker: &Broker, what: Purge) -> Result<u64> {
    remove(broker, what).await.context("asking Redis")
}

async fn remove(broker: &Broker, what: Purge) -> redis::RedisResult<u64> {
    let mut redis = broker.commands();
    let layout = &broker.layout;
    let mut gone = 0;
    if what.dead {
        gone += redis.xlen::<_, u64>(layout.dead()).await?;
        let _: u64 = redis.del(layout.dead()).await?;
    }
    if what.waiting {
        let call = Call::new(&CLEAR_DELAYED, [layout.delayed(), layout.delayed_jobs()]);
        gone += call.arg(layout.job("")).run::<u64>(&mut redis).await?;
        for stream in layout.streams() {
            gone += remove_waiting(broker, &stream).await?;
        }
    }
    if what.finished {
        gone += remove_finished(broker).await?;
    }
    Ok(gone)
}

/// Deletes entries that no worker was given.
async fn remove_waiting(broker: &Broker, stream: &str) -> redis::RedisResult<u64> {
    let call = Call::new(&CLEAR, [stream.to_owned()])
        .arg(broker.layout.group())
        .arg(broker.layout.job(""))
        .arg(AT_ONCE);
    let mut gone = 0;
    loop {
        let some: u64 = call.run(&mut broker.commands()).await?;
        if some == 0 {
            return Ok(gone);
        }
        gone += some;
    }
}

/// As itself in a pattern of Redis.
fn escaped(text: &str) -> String {
    let special = |c: char| r"*?[]\^-".contains(c);
    let parts = text
        .chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]));
    parts.collect()
}

/// Deletes what is known of jobs that are done or failed.
async fn remove_finished(broker: &Broker) -> redis::RedisResult<u64> {
    let mut redis = broker.commands();
    let pattern = format!("{}*", escaped(&broker.layout.job("")));
    let mut cursor: u64 = 0;
    let mut gone = 0;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(AT_ONCE)
            .query_async(&mut redis)
            .await?;
        for key in keys {
            let state: Option<String> = redis.hget(&key, "state").await?;
            if matches!(state.as_deref(), Some("done" | "failed")) {
                gone += redis.del::<_, u64>(&key).await?;
            }
        }
        if next == 0 {
            return Ok(gone);
        }
        cursor = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_patterns() {
        for (text, expected) in [
            ("ocr:job:", "ocr:job:"),
            ("a*b?", r"a\*b\?"),
            ("[x]", r"\[x\]"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
