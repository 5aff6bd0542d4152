//! Files -> jobs: what is the same for every queue, and what is a folder's.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ephemera_jobs::{Answer, Input, Job, Urgency};

use super::inbox::{DONE, FAILED, Inbox, JOB, reason_at};
use crate::config::{Project, Takes};
use crate::digest::sha256;
use crate::files::{extended, move_aside, random, read_at_most, write_durable};
use crate::run::MAX_INPUT_BYTES;

/// Between looks at whether a file is done.
const LOOK_TIME: Duration = Duration::from_millis(250);

/// Characters of an id that is made of a digest: 128 bits, in hexadecimal digits.
const ID: usize = 32;

/// The first function that takes such files.
///
/// # Errors
///
/// There is none.
pub fn taker(project: &Project, wanted: Takes) -> Result<String> {
    let mut functions = project.functions.values();
    let taker = functions.find(|function| {
        let run = function.run.as_ref();
        run.is_some_and(|run| run.takes == wanted)
    });
    let taker = taker.context("no component takes such files: none has a `run` for them")?;
    Ok(taker.name.clone())
}

/// The id of a job by what it asks: whoever asks the same of the same bytes twice has one job.
pub fn id(function: &str, options: &BTreeMap<String, String>, bytes: &[u8]) -> String {
    let asked = serde_json::json!([function, options, sha256(bytes).to_string()]);
    let mut id = sha256(asked.to_string().as_bytes()).to_string();
    id.truncate(ID);
    id
}

/// A file to be sent.
///
/// # Errors
///
/// It cannot be read, or is larger than any function takes.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    read_at_most(path, MAX_INPUT_BYTES)
}

/// The path of a file below the folder that workers see as well.
///
/// # Errors
///
/// It is not below that folder.
pub fn shared(folder: &Path, file: &Path) -> Result<PathBuf> {
    let file = file.canonicalize()?;
    let below = file.strip_prefix(folder.canonicalize()?);
    let below = below.context("it is not below the shared folder")?;
    ensure!(below.to_str().is_some(), "its name is no UTF-8");
    Ok(below.to_owned())
}

/// Writes an answer below `out`, under the name of its file with the extension of its type.
///
/// # Errors
///
/// The folder cannot be written to.
pub fn write(out: &Path, below: &Path, answer: &Answer) -> Result<()> {
    let end = format!(".{}", extension(&answer.media_type));
    write_durable(&extended(&out.join(below), &end), &answer.bytes()?)
}

fn extension(media_type: &str) -> &'static str {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    match essence {
        "text/plain" => "txt",
        "text/tab-separated-values" => "tsv",
        "application/json" => "json",
        "application/pdf" => "pdf",
        "application/alto+xml" | "application/xml" | "text/xml" => "xml",
        "text/html" | "text/vnd.hocr+html" => "hocr",
        _ => "bin",
    }
}

/// What is asked of files that become items of an inbox.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The function.
    pub function: &'a str,
    /// Its parameters.
    pub options: &'a BTreeMap<String, String>,
    /// Who goes first.
    pub priority: Urgency,
}

/// An item that was put into an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Its path below the inbox.
    pub below: PathBuf,
    /// Which file it is, wherever it is moved.
    inode: u64,
}

/// Puts `file` into the inbox as `below`, or that with a number; whole, in one step. Without anything `wanted` of it, what is done is for the
/// workers to say.
///
/// # Errors
///
/// It cannot be read, or the inbox not be written to.
pub fn put(inbox: &Path, file: &Path, below: &Path, wanted: Option<Wanted<'_>>) -> Result<Put> {
    let bytes = read(file)?;
    let (name, bytes) = match wanted {
        None => (below.to_owned(), bytes),
        // The job has the file inside, so that both appear at once.
        Some(wanted) => (extended(below, JOB), wanted.job(&bytes)?),
    };
    let hidden = format!(".{}-{:016x}.part", std::process::id(), random());
    let hidden = inbox.join(hidden);
    write_durable(&hidden, &bytes)?;
    let inode = std::fs::metadata(&hidden)?.ino();
    let to = move_aside(&hidden, &inbox.join(&name))?;
    Ok(Put {
        below: to.strip_prefix(inbox).unwrap_or(&to).to_owned(),
        inode,
    })
}

impl Put {
    /// Where it is in `folder` of the inbox, if it is: others of its name may be there as well.
    fn find(&self, folder: &Path) -> Option<PathBuf> {
        let is_it = |path: &PathBuf| is_inode(path, self.inode);
        let there = folder.join(&self.below);
        if is_it(&there) {
            return Some(there);
        }
        // With a number, then.
        let beside = std::fs::read_dir(there.parent()?).ok()?;
        let beside = beside.flatten().filter(|entry| entry.ino() == self.inode);
        beside.map(|entry| entry.path()).find(is_it)
    }
}

fn is_inode(path: &Path, inode: u64) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|there| there.ino() == inode)
}

impl Wanted<'_> {
    fn job(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let input = Input::Inline(STANDARD.encode(bytes));
        let id = id(self.function, self.options, bytes);
        let job = Job {
            options: self.options.clone(),
            priority: self.priority,
            ..Job::new(id, self.function, input)
        };
        // What is no job would only be found out by a worker.
        Ok(Job::parse(&job.json())?.json())
    }
}

/// Waits until none of `items` is in the inbox any more, and tells of each, with the reason if it failed. Returns how many failed.
pub async fn wait_in(
    inbox: &Inbox,
    items: Vec<Put>,
    mut tell: impl FnMut(&Path, Option<&str>),
) -> u64 {
    let mut left = items;
    let mut failed = 0;
    while !left.is_empty() {
        let there = |item: &Put| is_inode(&inbox.root().join(&item.below), item.inode);
        let (still, ended): (Vec<_>, Vec<_>) = left.into_iter().partition(there);
        for item in ended {
            let reason = end_of(inbox.root(), &item);
            failed += u64::from(reason.is_some());
            tell(&item.below, reason.as_deref());
        }
        left = still;
        if !left.is_empty() {
            tokio::time::sleep(LOOK_TIME).await;
        }
    }
    failed
}

/// Why an item that is not in the inbox any more failed, if it did.
fn end_of(root: &Path, item: &Put) -> Option<String> {
    if let Some(dead) = item.find(&root.join(FAILED)) {
        return Some(reason_at(&dead));
    }
    let done = item.find(&root.join(DONE)).is_some();
    (!done).then(|| format!("it is neither in {DONE}/ nor in {FAILED}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_is_the_same_job() {
        let options = |format: &str| BTreeMap::from([("format".to_owned(), format.to_owned())]);
        let first = id("ocr", &options("text"), b"x");
        assert_eq!(first.len(), ID);
        assert_eq!(first, id("ocr", &options("text"), b"x"));
        for other in [
            id("gait", &options("text"), b"x"),
            id("ocr", &options("json"), b"x"),
            id("ocr", &options("text"), b"y"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_dropped_file_appears_whole_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(&folder.path().join("in"), Duration::ZERO).expect("made");
        let file = folder.path().join("page.png");
        std::fs::write(&file, "x").expect("written");
        let put = |wanted: Option<Wanted<'_>>| {
            let put = put(inbox.root(), &file, Path::new("a/page.png"), wanted);
            put.map_err(|error| error.to_string()).map(|put| put.below)
        };
        assert_eq!(put(None), Ok("a/page.png".into()));
        assert_eq!(put(None), Ok("a/page.1.png".into()));
        let wanted = Wanted {
            function: "ocr",
            options: &BTreeMap::new(),
            priority: Urgency::Batch,
        };
        assert_eq!(put(Some(wanted)), Ok("a/page.png.job.json".into()));
        let items = inbox.scan().expect("listed").items;
        assert_eq!(items.len(), 2, "{items:?}");
        let text = std::fs::read(inbox.root().join("a/page.png.job.json")).expect("there");
        assert_eq!(
            Job::parse(&text).expect("a job").input,
            Input::Inline("eA==".to_owned())
        );
    }

    #[tokio::test]
    async fn what_became_of_an_item_is_not_told_of_another_of_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(&folder.path().join("in"), Duration::ZERO).expect("made");
        let file = folder.path().join("page.png");
        std::fs::write(&file, "x").expect("written");
        let at = |name: &str| inbox.root().join(name);
        let put = || put(inbox.root(), &file, Path::new("page.png"), None).expect("put");
        // Others of its name were done and failed before.
        for (to, reason) in [("done/page.png", None), ("failed/page.png", Some("old"))] {
            put();
            std::fs::rename(at("page.png"), at(to)).expect("moved");
            if let Some(reason) = reason {
                let told = format!(r#"{{"reason":"{reason}"}}"#);
                std::fs::write(at("failed/page.png.reason.json"), told).expect("written");
            }
        }
        let reason = r#"{"reason":"new"}"#;
        std::fs::write(at("failed/page.1.png.reason.json"), reason).expect("written");
        for (to, expected) in [
            ("done/page.1.png", None),
            ("failed/page.1.png", Some("new")),
            ("elsewhere", Some("it is neither in done/ nor in failed/")),
        ] {
            let item = put();
            std::fs::rename(at("page.png"), at(to)).expect("moved");
            // Somebody drops in another one at once.
            std::fs::write(at("page.png"), "y").expect("written");
            let mut told = None;
            let failed = wait_in(&inbox, vec![item], |item, reason| {
                told = Some((item.to_owned(), reason.map(str::to_owned)));
            });
            assert_eq!(failed.await, u64::from(expected.is_some()), "{to}");
            let expected = Some(("page.png".into(), expected.map(str::to_owned)));
            assert_eq!(told, expected, "{to}");
            std::fs::remove_file(at("page.png")).expect("removed");
        }
    }
}
