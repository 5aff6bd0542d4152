//! Items that wait -> whose turn it is: what a job in a hurry describes goes before the rest, as in the streams of Redis.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ephemera_jobs::Urgency;

use crate::files::open_plain;
use crate::jobs::claim::Identity;
use crate::jobs::inbox::Item;
use crate::jobs::queue::BATCH_TURN;

/// Bytes at the begin and at the end of a description in which its priority is looked for. An input inside it has megabytes, and the fields
/// of a job have room beside it.
const LOOKED_AT: usize = 8 << 10;

/// Items of the last look that are still to be begun.
#[derive(Default)]
pub(super) struct Order {
    urgent: VecDeque<Item>,
    rest: VecDeque<Item>,
    turn: u32,
    /// Descriptions that were looked into, so that each is once.
    known: Known,
}

/// What descriptions said when they were looked into.
pub(super) type Known = BTreeMap<PathBuf, (Identity, Urgency)>;

/// Items that wait, and what is known of them.
pub(super) struct Looked {
    items: Vec<(Item, Urgency)>,
    known: Known,
}

impl Looked {
    /// Looks into those of `items` below `root` that are not `known`.
    pub(super) fn into(root: &Path, items: Vec<Item>, mut known: Known) -> Self {
        let mut looked = Self {
            items: Vec::with_capacity(items.len()),
            known: Known::new(),
        };
        for item in items {
            let mut urgency = Urgency::Batch;
            if item.is_job() {
                let before = known.remove(&item.below);
                let before = before.filter(|(identity, _)| *identity == item.identity);
                urgency = match before {
                    Some((_, urgency)) => urgency,
                    None => urgency_at(&root.join(&item.below)),
                };
                let below = item.below.clone();
                looked.known.insert(below, (item.identity, urgency));
            }
            looked.items.push((item, urgency));
        }
        looked
    }
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was known after the last look, for the next one.
    pub(super) fn known(&mut self) -> Known {
        std::mem::take(&mut self.known)
    }

    /// What was looked at waits now, and nothing else.
    pub(super) fn wait(&mut self, looked: Looked) {
        self.urgent.clear();
        self.rest.clear();
        self.known = looked.known;
        for (item, urgency) in looked.items {
            match urgency {
                Urgency::Interactive => self.urgent.push_back(item),
                Urgency::Batch => self.rest.push_back(item),
            }
        }
    }

    /// The next one: of so many that both want, the rest gets one.
    pub(super) fn next(&mut self) -> Option<Item> {
        let rest_first = self.turn % BATCH_TURN == BATCH_TURN - 1;
        let [first, second] = match rest_first {
            true => [&mut self.rest, &mut self.urgent],
            false => [&mut self.urgent, &mut self.rest],
        };
        let item = first.pop_front().or_else(|| second.pop_front())?;
        self.turn = self.turn.wrapping_add(1);
        Some(item)
    }
}

/// What a description says of its priority, as far as that is at its begin or end. It is a matter of order only: whoever does the job reads
/// all of it.
fn urgency_at(path: &Path) -> Urgency {
    let begin_and_end = || {
        let file = open_plain(path, File::options().read(true))?;
        let length = file.metadata()?.len();
        let mut pieces = vec![piece(&file, 0)?];
        if length > LOOKED_AT as u64 {
            pieces.push(piece(&file, length - LOOKED_AT as u64)?);
        }
        Ok::<_, std::io::Error>(pieces)
    };
    // One that cannot be read has nothing urgent to say.
    let pieces = begin_and_end().unwrap_or_default();
    match pieces.iter().any(|piece| is_urgent(piece)) {
        true => Urgency::Interactive,
        false => Urgency::Batch,
    }
}

fn piece(file: &File, from: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; LOOKED_AT];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Whether a piece of JSON has the field `priority` with the value `interactive`, outside of texts: there, quotes are escaped.
fn is_urgent(json: &[u8]) -> bool {
    const FIELD: &[u8] = b"\"priority\"";
    let found = json.windows(FIELD.len()).enumerate();
    let mut found = found.filter(|&(at, window)| {
        window == FIELD && json[..at].last().is_none_or(|&before| before != b'\\')
    });
    found.any(|(at, _)| {
        let value = json[at + FIELD.len()..].trim_ascii_start();
        let value = value.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        value.is_some_and(|value| value.starts_with(b"\"interactive\""))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::jobs::inbox::Inbox;

    #[test]
    fn a_priority_is_found_at_either_end() {
        let long = "x".repeat(3 * LOOKED_AT);
        let urgent = r#""priority":"interactive""#;
        for (text, expected) in [
            (format!("{{{urgent}}}"), true),
            ("{ \"priority\" :\n \"interactive\" }".to_owned(), true),
            (format!(r#"{{"input":"{long}",{urgent}}}"#), true),
            (format!(r#"{{{urgent},"input":"{long}"}}"#), true),
            (format!(r#"{{"a":"{long}",{urgent},"b":"{long}"}}"#), false),
            (r#"{"priority":"batch"}"#.to_owned(), false),
            (r#"{"id":"priority","x":"interactive"}"#.to_owned(), false),
            (r#"{"id":"\"priority\":\"interactive\""}"#.to_owned(), false),
            (r#"{"priority""#.to_owned(), false),
            (String::new(), false),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("a.job.json");
            std::fs::write(&path, &text).expect("written");
            let actual = urgency_at(&path) == Urgency::Interactive;
            assert_eq!(actual, expected, "{}", &text[..text.len().min(60)]);
        }
    }

    #[test]
    fn only_plain_files_are_looked_into() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("plain"), r#"{"priority":"interactive"}"#).expect("written");
        std::os::unix::fs::symlink(at("plain"), at("link")).expect("linked");
        let mode = rustix::fs::Mode::RUSR;
        // Opened without further words, it would be waited for.
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), kind, mode, 0).expect("made");
        for (name, expected) in [
            ("plain", Urgency::Interactive),
            ("link", Urgency::Batch),
            ("pipe", Urgency::Batch),
            ("nothing", Urgency::Batch),
        ] {
            assert_eq!(urgency_at(&at(name)), expected, "{name}");
        }
    }

    #[test]
    fn who_is_in_a_hurry_goes_first_and_the_rest_gets_turns() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(folder.path(), Duration::ZERO).expect("made");
        for number in 0..9 {
            let job = r#"{"priority":"interactive"}"#;
            let path = inbox.root().join(format!("{number}.job.json"));
            std::fs::write(path, job).expect("written");
        }
        for name in ["a.png", "b.png"] {
            std::fs::write(inbox.root().join(name), "x").expect("written");
        }
        let mut order = Order::default();
        let look = |order: &mut Order| {
            let items = inbox.scan().expect("listed").items;
            let known = order.known();
            order.wait(Looked::into(inbox.root(), items, known));
        };
        look(&mut order);
        assert_eq!(order.len(), 11);
        let mut names = Vec::new();
        while let Some(item) = order.next() {
            names.push(item.below.display().to_string());
        }
        let hurried = |number: u32| format!("{number}.job.json");
        let mut expected: Vec<String> = (0..7).map(hurried).collect();
        expected.push("a.png".to_owned());
        expected.extend((7..9).map(hurried));
        expected.push("b.png".to_owned());
        assert_eq!(names, expected);
        // Another content of the same name is looked into again.
        let changed = inbox.root().join("0.job.json");
        std::fs::write(changed, r#"{"priority":"batch", "id": "x"}"#).expect("written");
        look(&mut order);
        let first = order.next().expect("there is one");
        assert_eq!(first.below, Path::new("1.job.json"));
    }
}
