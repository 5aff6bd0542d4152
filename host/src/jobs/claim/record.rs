//! What stands in a claim's file, as one line of JSON.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What stands in a claim's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is about. A claim of another item of the same name says nothing of this one.
    pub item: Option<Identity>,
    /// The machine of the holder, by its boot.
    pub machine: String,
    /// The holder, on that machine.
    #[serde(default)]
    pub process: u32,
    /// Until when it is the holder's even if its lock cannot be seen, in seconds since 1970 UTC.
    pub expires: u64,
    /// How long it holds without being renewed, in seconds.
    #[serde(default)]
    pub lease_s: u64,
    /// How often the item failed in a way that may pass; once it is stored or given up, how often telling of it failed.
    pub failures: u32,
    /// How often a holder died with it.
    pub deaths: u32,
    /// Not before this is it tried again, in seconds since 1970 UTC.
    pub not_before: u64,
    /// Its path below the inbox.
    #[serde(default, with = "any_path")]
    pub below: PathBuf,
    /// Which content the file had that the item describes, if it describes one.
    #[serde(default)]
    pub described: Option<Identity>,
    /// What is about to be stored, once it is known.
    pub storing: Option<Storing>,
    /// Where it is about to be moved together with the file that it describes, once that is known.
    #[serde(default)]
    pub put_away: Option<PutAway>,
    /// Whether whoever is to be told of its end need not be told any more.
    #[serde(default)]
    pub told: bool,
    /// That it is given up, once it is.
    #[serde(default)]
    pub given_up: Option<GivenUp>,
    /// Why it failed last.
    pub reason: Option<String>,
}

/// A result that was about to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storing {
    /// Where, relative to the folder of results.
    #[serde(with = "any_path")]
    pub target: PathBuf,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// How many those are.
    #[serde(default)]
    pub bytes: u64,
    /// Their type, as the function said.
    #[serde(default)]
    pub media_type: String,
    /// How often it was tried, the last time included.
    #[serde(default)]
    pub attempts: u32,
}

/// A path as text, or as its bytes where it is none.
mod any_path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum AnyPath {
        Text(PathBuf),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(to),
            None => path.as_os_str().as_bytes().serialize(to),
        }
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match AnyPath::deserialize(from)? {
            AnyPath::Text(path) => path,
            AnyPath::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

/// Where two files go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAway {
    /// The folder of the inbox.
    pub folder: String,
    /// The number that both names get in it; 0 for none.
    pub number: u32,
}

/// The end of an item that has no result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// Which file it is, and which content: a file that is replaced or written to becomes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub(super) inode: u64,
    pub(super) bytes: u64,
    pub(super) modified_ns: i128,
}

impl Identity {
    /// By what the file system says of it.
    pub fn of(metadata: &Metadata) -> Self {
        let seconds = i128::from(metadata.mtime()) * 1_000_000_000;
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: seconds + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// What a claim's file says: its first line. One that was cut short by a crash says nothing; its holder is dead.
pub(super) fn parse(text: &[u8]) -> Option<Record> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_not_be_text() {
        use std::os::unix::ffi::OsStringExt;
        for name in [b"caf\xc3\xa9".to_vec(), b"caf\xe9".to_vec()] {
            let record = Record {
                below: std::ffi::OsString::from_vec(name).into(),
                ..Record::default()
            };
            let text = serde_json::to_vec(&record).expect("JSON");
            assert_eq!(
                serde_json::from_slice::<Record>(&text).expect("ours"),
                record
            );
        }
    }

    #[test]
    fn what_is_left_behind_a_shorter_line_says_nothing() {
        let record = Record {
            deaths: 3,
            ..Record::default()
        };
        let mut text = serde_json::to_vec(&record).expect("JSON");
        text.extend_from_slice(b"\n,\"deaths\":5}\n");
        assert_eq!(parse(&text), Some(record));
        assert_eq!(parse(b""), None);
    }
}
