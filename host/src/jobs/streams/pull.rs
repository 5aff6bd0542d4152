//! Entries to be worked on: new ones, those of the dead, and those whose time has come.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ephemera_jobs::{Job, Urgency};
use redis::aio::ConnectionManager;
use redis::streams::StreamInfoGroupsReply;
use redis::{AsyncCommands, RedisError, RedisResult, Value, cmd};

use super::broker::{BLOCK_TIME, Broker};
use super::layout::FIELD;
use super::scripts::{Call, FORGET, PROMOTE};
use crate::jobs::queue::{BATCH_TURN, MAX_QUEUED_JOB_BYTES};

/// One call looks at ten times as many pending entries as are wanted; so many calls are made to get past those of the living.
const CLAIM_ROUNDS: usize = 64;

/// Delayed jobs that one call moves.
const PROMOTED: usize = 100;

/// Consumers that have had nothing for so long are dropped from the group.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Names and values in an entry.
type Fields = HashMap<Vec<u8>, Value>;

/// Streams by name, and their entries by id.
type Found = Vec<(String, Vec<(String, Fields)>)>;

/// An entry of a stream that this worker has.
#[derive(Debug)]
pub struct Entry {
    pub(super) stream: String,
    pub(super) id: String,
    /// What it says, or why that is no job.
    pub(super) job: Result<Job, String>,
    /// How long that is, in bytes.
    pub(super) bytes: usize,
    /// How often it was delivered to somebody, this time included.
    pub(super) deliveries: u64,
}

/// Where a worker is in its turns.
pub(super) struct Pull {
    consumer: String,
    lease: Duration,
    turn: u32,
    looked: Option<Instant>,
}

/// What there was.
#[derive(Default)]
pub(super) struct Pulled {
    pub(super) entries: Vec<Entry>,
    /// Entries that nobody has.
    pub(super) waiting: u64,
    /// Jobs that wait for their time, and entries that other workers have.
    pub(super) elsewhere: u64,
}

impl Pull {
    pub(super) fn new(consumer: String, lease: Duration) -> Self {
        Self {
            consumer,
            lease,
            turn: 0,
            looked: None,
        }
    }

    /// At most `most` entries; waits for `patience` where there are none.
    pub(super) async fn pull(
        &mut self,
        broker: &Broker,
        most: usize,
        patience: Duration,
    ) -> Result<Pulled> {
        let pulled = self.try_pull(broker, most, patience).await;
        match pulled {
            // Redis lost the group, or all it had.
            Err(error) if is_without_group(&error) => {
                join(broker).await?;
                self.try_pull(broker, most, patience).await
            }
            pulled => pulled,
        }
        .context("asking Redis for jobs")
    }

    async fn try_pull(
        &mut self,
        broker: &Broker,
        most: usize,
        patience: Duration,
    ) -> RedisResult<Pulled> {
        let mut redis = broker.commands();
        promote(broker, &mut redis).await?;
        let mut pulled = Pulled {
            entries: self.take_over(broker, &mut redis, most).await?,
            ..Pulled::default()
        };
        let [interactive, batch] = broker.layout.streams();
        let streams = match self.turn % BATCH_TURN == BATCH_TURN - 1 {
            true => [batch, interactive],
            false => [interactive, batch],
        };
        for stream in &streams {
            let room = most - pulled.entries.len();
            if room > 0 {
                let read = self.read(broker, &mut redis, &[stream], room, None).await?;
                pulled.entries.extend(read);
            }
        }
        if !pulled.entries.is_empty() {
            self.turn = self.turn.wrapping_add(1);
        }
        (pulled.waiting, pulled.elsewhere) = self.left(broker, &mut redis).await?;
        if pulled.entries.is_empty() {
            let patience = Some(patience.min(BLOCK_TIME));
            let streams: Vec<&String> = streams.iter().collect();
            let mut waits = broker.waits();
            let read = self.read(broker, &mut waits, &streams, 1, patience).await?;
            pulled.entries = read;
        }
        Ok(pulled)
    }

    async fn read(
        &self,
        broker: &Broker,
        redis: &mut ConnectionManager,
        streams: &[&String],
        most: usize,
        patience: Option<Duration>,
    ) -> RedisResult<Vec<Entry>> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP")
            .arg(broker.layout.group())
            .arg(&self.consumer);
        read.arg("COUNT").arg(most);
        if let Some(patience) = patience {
            read.arg("BLOCK").arg(patience.as_millis().max(1) as u64);
        }
        read.arg("STREAMS")
            .arg(streams)
            .arg(vec![">"; streams.len()]);
        let found: Option<Found> = read.query_async(redis).await?;
        let streams = found.into_iter().flatten();
        let entries = streams.flat_map(|(stream, entries)| {
            let entries = entries.into_iter();
            entries.map(move |(id, fields)| Entry {
                stream: stream.clone(),
                id,
                bytes: bytes_of(&fields),
                job: job_of(fields),
                deliveries: 1,
            })
        });
        Ok(entries.collect())
    }

    /// Entries of workers that have said nothing for longer than the lease. Asked for from time to time.
    async fn take_over(
        &mut self,
        broker: &Broker,
        redis: &mut ConnectionManager,
        most: usize,
    ) -> RedisResult<Vec<Entry>> {
        let often = self.lease / 4;
        if self.looked.is_some_and(|looked| looked.elapsed() < often) {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        for stream in broker.layout.streams() {
            let room = most - entries.len();
            if room > 0 {
                entries.extend(self.claim(broker, redis, &stream, room).await?);
            }
            self.forget_the_dead(broker, redis, &stream).await?;
        }
        // There may be more of them, if all that there was room for were.
        self.looked = (entries.len() < most).then(Instant::now);
        Ok(entries)
    }

    async fn claim(
        &self,
        broker: &Broker,
        redis: &mut ConnectionManager,
        stream: &str,
        most: usize,
    ) -> RedisResult<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut from = "0-0".to_owned();
        for _ in 0..CLAIM_ROUNDS {
            let mut claim = cmd("XAUTOCLAIM");
            claim.arg(stream).arg(broker.layout.group());
            claim.arg(&self.consumer).arg(self.lease.as_millis() as u64);
            claim.arg(&from).arg("COUNT").arg(most - entries.len());
            let (next, found, _): (String, Vec<(String, Fields)>, Value) =
                claim.query_async(redis).await?;
            for (id, fields) in found {
                let deliveries = self.deliveries(broker, redis, stream, &id).await?;
                entries.push(Entry {
                    stream: stream.to_owned(),
                    id,
                    bytes: bytes_of(&fields),
                    job: job_of(fields),
                    deliveries,
                });
            }
            if next == "0-0" || entries.len() >= most {
                break;
            }
            from = next;
        }
        Ok(entries)
    }

    /// How often an entry was delivered.
    async fn deliveries(
        &self,
        broker: &Broker,
        redis: &mut ConnectionManager,
        stream: &str,
        id: &str,
    ) -> RedisResult<u64> {
        let mut pending = cmd("XPENDING");
        pending.arg(stream).arg(broker.layout.group());
        pending.arg(id).arg(id).arg(1);
        let known: Vec<(String, String, u64, u64)> = pending.query_async(redis).await?;
        Ok(known.first().map_or(1, |known| known.3))
    }

    /// Every worker that ever was would stay in the group.
    async fn forget_the_dead(
        &self,
        broker: &Broker,
        redis: &mut ConnectionManager,
        stream: &str,
    ) -> RedisResult<()> {
        let call = Call::new(&FORGET, [stream.to_owned()])
            .arg(broker.layout.group())
            .arg(&self.consumer)
            .arg(FORGOTTEN.as_millis() as u64);
        call.run::<u64>(redis).await.map(|_| ())
    }

    /// Entries that nobody has; and those that others have, with the jobs that wait for their time.
    async fn left(
        &self,
        broker: &Broker,
        redis: &mut ConnectionManager,
    ) -> RedisResult<(u64, u64)> {
        let mut all = 0;
        let mut pending = 0;
        for stream in broker.layout.streams() {
            all += redis.xlen::<_, u64>(&stream).await?;
            pending += pending_of(redis, &stream, broker.layout.group()).await?;
        }
        let delayed: u64 = redis.zcard(broker.layout.delayed()).await?;
        Ok((all.saturating_sub(pending), pending + delayed))
    }
}

/// How many entries of `stream` workers have.
pub(super) async fn pending_of(
    redis: &mut ConnectionManager,
    stream: &str,
    group: &str,
) -> RedisResult<u64> {
    let mut pending = cmd("XPENDING");
    pending.arg(stream).arg(group);
    let (count, _, _, _): (u64, Value, Value, Value) = pending.query_async(redis).await?;
    Ok(count)
}

/// Makes the group on both streams, where it is not there yet.
pub(super) async fn join(broker: &Broker) -> RedisResult<()> {
    let mut redis = broker.commands();
    for stream in broker.layout.streams() {
        if has_group(&mut redis, &stream, broker.layout.group()).await? {
            continue;
        }
        // From the first entry on, so that what was submitted before the first worker came is done.
        let made: RedisResult<()> = redis
            .xgroup_create_mkstream(stream, broker.layout.group(), "0")
            .await;
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a group is there: a Redis without memory refuses to make it once more, and its jobs are to be done.
async fn has_group(redis: &mut ConnectionManager, stream: &str, group: &str) -> RedisResult<bool> {
    if !redis.exists::<_, bool>(stream).await? {
        return Ok(false);
    }
    let found: StreamInfoGroupsReply = redis.xinfo_groups(stream).await?;
    Ok(found.groups.iter().any(|there| there.name == group))
}

async fn promote(broker: &Broker, redis: &mut ConnectionManager) -> RedisResult<()> {
    let layout = &broker.layout;
    let keys = [
        layout.delayed(),
        layout.delayed_jobs(),
        layout.stream(Urgency::Batch),
        layout.stream(Urgency::Interactive),
    ];
    let call = Call::new(&PROMOTE, keys).arg(now_ms()).arg(PROMOTED);
    call.run::<u64>(redis).await.map(|_| ())
}

/// Milliseconds since 1970 UTC.
pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

fn is_without_group(error: &RedisError) -> bool {
    error.code() == Some("NOGROUP")
}

/// How long all that an entry says is, in bytes.
fn bytes_of(fields: &Fields) -> usize {
    let values = fields.values().map(|value| match value {
        Value::BulkString(text) => text.len(),
        _ => 0,
    });
    values.sum()
}

/// The job in the fields of an entry.
fn job_of(fields: Fields) -> Result<Job, String> {
    let field = fields
        .into_iter()
        .find(|(name, _)| name == FIELD.as_bytes());
    let Some((_, Value::BulkString(text))) = field else {
        return Err(format!("expected a field `{FIELD}`, there is none"));
    };
    if text.len() as u64 > MAX_QUEUED_JOB_BYTES {
        return Err(format!(
            "it has over {MAX_QUEUED_JOB_BYTES} bytes, which is the limit"
        ));
    }
    Job::parse(&text).map_err(|error| error.to_string())
}
