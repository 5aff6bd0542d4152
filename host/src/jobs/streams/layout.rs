//! The names of keys, all of which begin with the stream's.

use anyhow::{Result, ensure};
use ephemera_jobs::Urgency;

/// Characters of a stream's or a group's name.
const MAX_NAME: usize = 100;

/// The field of an entry that holds the job's JSON.
pub const FIELD: &str = "job";

/// Seconds after their last change for which counts are kept.
pub const COUNTS_LIFE_S: u64 = 24 * 3600;

/// Names in Redis.
#[derive(Debug, Clone)]
pub struct Layout {
    stream: String,
    group: String,
}

impl Layout {
    /// Of the stream of this name, and its workers' group.
    ///
    /// # Errors
    ///
    /// Names that are empty, long, or of other than visible ASCII characters.
    pub fn new(stream: &str, group: &str) -> Result<Self> {
        for (what, name) in [("stream", stream), ("group", group)] {
            let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(
                plain && (1..=MAX_NAME).contains(&name.len()),
                "{what}: expected 1 to {MAX_NAME} visible ASCII characters, got `{name}`"
            );
        }
        Ok(Self {
            stream: stream.to_owned(),
            group: group.to_owned(),
        })
    }

    /// The group of workers.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The stream of jobs of this priority.
    pub fn stream(&self, priority: Urgency) -> String {
        match priority {
            Urgency::Batch => self.stream.clone(),
            Urgency::Interactive => self.key("interactive"),
        }
    }

    /// Both streams, the more urgent one first.
    pub fn streams(&self) -> [String; 2] {
        [Urgency::Interactive, Urgency::Batch].map(|priority| self.stream(priority))
    }

    /// A sorted set: ids of jobs that wait for a time, by that time in milliseconds since 1970 UTC.
    pub fn delayed(&self) -> String {
        self.key("delayed")
    }

    /// A hash: their JSON by id, behind a letter for their priority and a space.
    pub fn delayed_jobs(&self) -> String {
        self.key("delayed:jobs")
    }

    /// A stream: jobs that were given up.
    pub fn dead(&self) -> String {
        self.key("dead")
    }

    /// A hash: what was counted of all jobs.
    pub fn progress(&self) -> String {
        self.key("progress")
    }

    /// A hash: what was counted of the jobs of one batch; of those without one, where `batch` is nothing.
    pub fn batch(&self, batch: Option<&str>) -> String {
        match batch {
            Some(batch) => self.key(&format!("batch:{batch}")),
            None => self.key("no-batch"),
        }
    }

    /// A hash: what is known of one job.
    pub fn job(&self, id: &str) -> String {
        self.key("job:") + id
    }

    /// Whether a key is the queue's own, and no place for a reply.
    pub fn has(&self, key: &str) -> bool {
        let rest = key.strip_prefix(&self.stream);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_begin_with_the_stream() {
        let layout = Layout::new("ocr", "workers").expect("names");
        assert_eq!(layout.streams(), ["ocr:interactive", "ocr"]);
        assert_eq!(layout.job("a-1"), "ocr:job:a-1");
        assert_eq!(layout.batch(Some("b")), "ocr:batch:b");
        for (key, own) in [
            ("ocr", true),
            ("ocr:job:a", true),
            ("ocr2", false),
            ("a:ocr", false),
        ] {
            assert_eq!(layout.has(key), own, "{key}");
        }
        for name in ["", "a b", "a\n", &"x".repeat(101)] {
            assert!(Layout::new(name, "workers").is_err(), "{name}");
            assert!(Layout::new("ocr", name).is_err(), "{name}");
        }
    }
}
