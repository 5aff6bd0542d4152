//! Whoever submits jobs to Redis and waits for what becomes of them; made of none of our worker's parts.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redis::{Cmd, Connection, FromRedisValue, RedisResult, cmd};
use serde_json::{Value, json};

use super::crew::Crew;
use super::project::{Built, page};
use crate::redis::Redis;

/// The stream of jobs, and what the keys begin with.
pub(super) const STREAM: &str = "storm";

/// The list of replies.
pub(super) const ANSWERS: &str = "answers";

/// Acknowledged is on the disk: what somebody was told is queued is, whatever ends the server.
const SURE: [&str; 2] = ["--appendfsync", "always"];

/// How long Redis may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Redis with a queue.
pub(super) struct Producer {
    pub(super) redis: Redis,
    connection: Option<Connection>,
}

impl Producer {
    /// With a Redis of its own; `None`, with a word about it, if there is none here.
    pub(super) fn new() -> Result<Option<Self>> {
        Ok(Redis::start(&SURE)?.map(|redis| Self {
            redis,
            connection: None,
        }))
    }

    /// Its workers, none yet; `None`, with a word about it, if they cannot be built.
    pub(super) fn crew(&self, more: &[&str]) -> Result<Option<Crew>> {
        let Some(built) = Built::new()? else {
            return Ok(None);
        };
        let url = self.redis.url();
        let words = ["--redis", &url, "--stream", STREAM];
        let words = words.iter().chain(more).map(OsString::from);
        Crew::new(built, words.collect()).map(Some)
    }

    /// Asks Redis until it answers: a command that is lost with its connection is sent once more.
    pub(super) fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T> {
        let since = Instant::now();
        loop {
            let error = match self.try_to_ask(command) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.connection = None;
            let passes = error.is_io_error() || error.code() == Some("LOADING");
            ensure!(passes && since.elapsed() < PATIENCE, "{error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn try_to_ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        if self.connection.is_none() {
            let client = redis::Client::open(self.redis.url())?;
            let connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
            self.connection = Some(connection);
        }
        match &mut self.connection {
            Some(connection) => command.query(connection),
            None => Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into()),
        }
    }

    /// Queues a job, as anybody may.
    pub(super) fn submit(&mut self, job: &Value) -> Result<()> {
        let stream = match job["priority"].as_str() {
            Some("interactive") => key("interactive"),
            _ => STREAM.to_owned(),
        };
        let text = job.to_string();
        let mut add = cmd("XADD");
        add.arg(stream).arg("*").arg("job").arg(text);
        self.ask::<String>(&add).map(|_| ())
    }

    /// What is known of a job.
    pub(super) fn known(&mut self, id: &str) -> Result<HashMap<String, String>> {
        self.ask(cmd("HGETALL").arg(key("job:") + id))
    }

    /// What was counted, by name.
    pub(super) fn counts(&mut self) -> Result<HashMap<String, u64>> {
        self.ask(cmd("HGETALL").arg(key("progress")))
    }

    /// Entries that are queued or under way, and jobs that wait for their time.
    pub(super) fn queued(&mut self) -> Result<u64> {
        let mut sum = self.ask::<u64>(cmd("ZCARD").arg(key("delayed")))?;
        for stream in [STREAM.to_owned(), key("interactive")] {
            sum += self.ask::<u64>(cmd("XLEN").arg(stream))?;
        }
        Ok(sum)
    }

    /// Entries that some worker has.
    pub(super) fn pending(&mut self) -> Result<u64> {
        let mut sum = 0;
        for stream in [STREAM.to_owned(), key("interactive")] {
            let pending: (u64, redis::Value, redis::Value, redis::Value) =
                self.ask(cmd("XPENDING").arg(stream).arg("workers"))?;
            sum += pending.0;
        }
        Ok(sum)
    }

    /// The dead letters: id and reason, in their order.
    pub(super) fn dead(&mut self) -> Result<Vec<HashMap<String, String>>> {
        let entries: Vec<(String, HashMap<String, String>)> =
            self.ask(cmd("XRANGE").arg(key("dead")).arg("-").arg("+"))?;
        Ok(entries.into_iter().map(|(_, fields)| fields).collect())
    }

    /// The dead letter of a job.
    pub(super) fn letter(&mut self, id: &str) -> Result<HashMap<String, String>> {
        let found = self.dead()?.into_iter().find(|letter| letter["id"] == id);
        found.with_context(|| format!("no dead letter of {id}"))
    }
}

/// A key of the queue.
fn key(name: &str) -> String {
    format!("{STREAM}:{name}")
}

/// A job about the page with one word.
pub(super) fn job(id: &str, function: &str) -> Result<Value> {
    let (picture, _) = page()?;
    let inline = STANDARD.encode(picture);
    Ok(json!({"version": 1, "id": id, "function": function, "input": {"inline": inline}}))
}
