//! The storm over a folder: files, descriptions, functions that fail; each has one end, and each result is stored once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::dice::Dice;
use super::names;
use super::place::Place;
use super::project::page;
use super::stored::Stored;
use super::storm::{Queue, Size, storm};

/// What a job is and how it ends: by its number, so that every kind is in every storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A picture that nothing is said of.
    Plain,
    /// A picture with a description beside it.
    Described,
    /// A description with the picture inside, in a folder of the inbox.
    Inline,
    /// No picture: refused at once.
    Broken,
    /// A function that panics: given up after its attempts.
    Panics,
}

impl Kind {
    fn of(number: usize) -> Self {
        match number % 20 {
            3 | 9 => Self::Described,
            5 | 11 => Self::Inline,
            7 => Self::Broken,
            13 => Self::Panics,
            _ => Self::Plain,
        }
    }

    /// The item, below the inbox.
    fn item(self, number: usize) -> String {
        match self {
            Self::Plain | Self::Broken => format!("{number:04}.png"),
            Self::Described | Self::Panics => format!("{number:04}.png.job.json"),
            Self::Inline => format!("{number:04}.job.json"),
        }
    }

    /// The name of its result.
    fn result(self, number: usize) -> Option<String> {
        match self {
            Self::Plain => Some(format!("{number:04}.png.txt")),
            Self::Described => Some(format!("{number:04}.png.json")),
            Self::Inline => Some(format!("{number:04}.txt")),
            Self::Broken | Self::Panics => None,
        }
    }
}

struct Folder<'a> {
    place: &'a Place,
    size: Size,
    picture: Vec<u8>,
}

impl Folder<'_> {
    fn drop_in(&self, number: usize) -> Result<()> {
        let picture = format!("{number:04}.png");
        let kind = Kind::of(number);
        let input = match kind {
            Kind::Inline => json!({"inline": STANDARD.encode(&self.picture)}),
            _ => json!({"file": picture}),
        };
        let function = match kind {
            Kind::Panics => "panicking",
            _ => "ocr",
        };
        let options = match kind {
            Kind::Described => json!({"format": "json"}),
            _ => json!({}),
        };
        let priority = match number % 2 {
            0 => "batch",
            _ => "interactive",
        };
        let described = json!({"version": 1, "id": format!("job-{number}"), "function": function, "input": input,
            "options": options, "priority": priority});
        // As careful producers do it: under another name until it is whole, the description first.
        if kind.item(number).ends_with(".json") {
            self.place
                .put(&kind.item(number), described.to_string().as_bytes())?;
        }
        match kind {
            Kind::Inline => Ok(()),
            Kind::Broken => self.place.put(&picture, b"no picture"),
            Kind::Plain | Kind::Described | Kind::Panics => self.place.put(&picture, &self.picture),
        }
    }
}

impl Queue for Folder<'_> {
    fn submit(&mut self, jobs: Range<usize>) -> Result<()> {
        jobs.into_iter().try_for_each(|number| self.drop_in(number))
    }

    fn left(&mut self) -> Result<usize> {
        let there = |number: &usize| {
            let item = Kind::of(*number).item(*number);
            self.place.inbox().join(item).exists()
        };
        Ok((0..self.size.jobs).filter(there).count())
    }

    fn disturb(&mut self, _: usize, _: usize, _: &mut Dice) -> Result<()> {
        Ok(())
    }
}

#[test]
fn every_file_has_one_result_whoever_dies() -> Result<()> {
    let place = Place::new()?;
    let out = place.out();
    let Some(mut crew) = place.crew(&["--deaths", "1000"])? else {
        return Ok(());
    };
    let size = Size::asked()?;
    let mut dice = Dice::thrown()?;
    let (picture, word) = page()?;
    let stored = Stored::into(&out)?;
    let mut queue = Folder {
        place: &place,
        size,
        picture,
    };
    let took = storm(&mut queue, &mut crew, size, &mut dice)?;
    // Whoever died when it was done left a claim, which the next one that starts removes.
    crew.once()?;
    let times = stored.times()?;
    println!(
        "folder: {size:?} in {took:.1} s, {} results, {} stores",
        times.len(),
        times.values().sum::<usize>()
    );

    // One result for each that has one, of the right content, and stored once.
    let numbers = || (0..size.jobs).map(|number| (number, Kind::of(number)));
    let expected: BTreeSet<_> = numbers().filter_map(|(n, kind)| kind.result(n)).collect();
    assert_eq!(names(&out)?, expected);
    let once: BTreeMap<_, _> = expected.iter().map(|name| (name.clone(), 1)).collect();
    assert_eq!(times, once);
    for name in &expected {
        let text = std::fs::read_to_string(out.join(name))?;
        match name.ends_with(".json") {
            true => {
                let answer: Value = serde_json::from_str(&text)?;
                assert_eq!(answer["text"], word, "{name}");
            }
            false => assert_eq!(text.trim(), word, "{name}"),
        }
    }

    // A reason for each that has none, after as many attempts as there are.
    for (number, kind) in numbers() {
        match kind {
            Kind::Broken => assert!(!place.reason(&kind.item(number))?["reason"].is_null()),
            Kind::Panics => {
                let told = place.reason(&kind.item(number))?;
                assert_eq!(told["failures"], 3, "{number}: {told}");
            }
            Kind::Plain | Kind::Described | Kind::Inline => {}
        }
    }

    // Every original is somewhere, and nothing else.
    let originals = |wanted: fn(Kind) -> bool| -> BTreeSet<String> {
        let those = numbers().filter(|&(_, kind)| wanted(kind));
        let names = those.flat_map(|(number, kind)| {
            let picture = (kind != Kind::Inline).then(|| format!("{number:04}.png"));
            picture.into_iter().chain([kind.item(number)])
        });
        names.collect()
    };
    let fails = |kind| matches!(kind, Kind::Broken | Kind::Panics);
    assert_eq!(
        place.names("done")?,
        originals(|kind| kind != Kind::Broken && kind != Kind::Panics)
    );
    let mut failed = originals(fails);
    let reasons = numbers().filter(|&(_, kind)| fails(kind));
    failed.extend(reasons.map(|(number, kind)| format!("{}.reason.json", kind.item(number))));
    assert_eq!(place.names("failed")?, failed);
    assert_eq!(
        place.names("")?,
        BTreeSet::from(["progress.json".to_owned()])
    );
    assert_eq!(place.names(".ephemera/claims")?, BTreeSet::new());
    Ok(())
}
