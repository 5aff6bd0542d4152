//! Which file describes which, by their names alone: also where both have numbers, because others of their names were there before.

use std::path::{Path, PathBuf};

/// What ends the name of a file that describes a job: `page.png.job.json` is about the file `page.png` beside it, or has its input inside.
/// As others are called so, `page.png.job.1.json` is one too, about `page.1.png`.
pub const JOB: &str = ".job.json";

/// The parts of [`JOB`] that a number goes between.
const JOB_BEGIN: &str = ".job";
const JOB_END: &str = ".json";

/// Digits of a number among files of one name.
const MAX_DIGITS: usize = 6;

/// What a job is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// The file, below where the job is.
    pub(super) file: PathBuf,
    /// What it was called before there were numbers.
    pub(super) called: String,
}

/// Whether `path` is that of a job.
pub(super) fn is_job(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(JOB.as_bytes()) || described(path).is_some()
}

/// What a job at `path` is about; nothing if that is none, or its name no text.
pub(super) fn described(path: &Path) -> Option<Described> {
    let name = path.file_name()?.to_str()?;
    let (name, numbers) = split_numbers(name.strip_suffix(JOB_END)?);
    let called = name.strip_suffix(JOB_BEGIN)?;
    let file = match Path::new(called).extension().and_then(|end| end.to_str()) {
        Some(end) if !numbers.is_empty() => {
            let stem = called.strip_suffix(end)?.strip_suffix('.')?;
            format!("{stem}{numbers}.{end}")
        }
        _ => format!("{called}{numbers}"),
    };
    Some(Described {
        file: path.with_file_name(file),
        called: called.to_owned(),
    })
}

/// Paths of jobs that would be about the file at `path`.
pub(super) fn descriptions(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Vec::new();
    };
    let mut found = vec![path.with_file_name(format!("{name}{JOB}"))];
    // Which of its numbers both have cannot be known: the last one, or the last two, and so on.
    let mut add = |stem: &str, end: &str| {
        let (_, mut numbers) = split_numbers(stem);
        while !numbers.is_empty() {
            let called = &stem[..stem.len() - numbers.len()];
            let job = format!("{called}{end}{JOB_BEGIN}{numbers}{JOB_END}");
            found.push(path.with_file_name(job));
            numbers = numbers[1..].find('.').map_or("", |at| &numbers[at + 1..]);
        }
    };
    if let Some(at) = name.rfind('.').filter(|&at| at > 0) {
        add(&name[..at], &name[at..]);
    }
    // Of a name without an extension, what looks like one is the number.
    add(name, "");
    found
}

/// `page.1.2` as `page` and `.1.2`.
fn split_numbers(name: &str) -> (&str, &str) {
    let mut begin = name.len();
    while let Some(at) = name[..begin].rfind('.') {
        if at == 0 || !is_number(&name[at + 1..begin]) {
            break;
        }
        begin = at;
    }
    name.split_at(begin)
}

fn is_number(text: &str) -> bool {
    (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::numbered;

    #[test]
    fn a_job_is_about_the_file_of_its_number() {
        for (job, file, called) in [
            ("a/page.png.job.json", "a/page.png", "page.png"),
            ("a/page.png.job.1.json", "a/page.1.png", "page.png"),
            ("page.png.job.1.2.json", "page.1.2.png", "page.png"),
            ("page.1.png.job.2.json", "page.1.2.png", "page.1.png"),
            ("x.job.json", "x", "x"),
            ("x.job.3.json", "x.3", "x"),
            ("scan.001.job.1.json", "scan.1.001", "scan.001"),
        ] {
            let expected = Described {
                file: file.into(),
                called: called.to_owned(),
            };
            assert_eq!(described(Path::new(job)), Some(expected), "{job}");
            let jobs = descriptions(Path::new(file));
            assert!(jobs.contains(&job.into()), "{file}: {jobs:?}");
        }
        for name in [
            "page.png",
            "page.json",
            "page.1.json",
            "page.job.x.json",
            "page.job.1234567.json",
            "page.job.1.json.png",
        ] {
            assert!(!is_job(Path::new(name)), "{name}");
        }
        assert_eq!(
            descriptions(Path::new("a.b.png")),
            [Path::new("a.b.png.job.json")]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn numbers_keep_a_job_and_its_file_together(
            name in "[a-z0-9]{1,4}(\\.[a-z0-9]{1,3}){0,2}\\.[a-z]{1,3}",
            numbers in proptest::collection::vec(1_u32..1000, 0..3),
        ) {
            let job = PathBuf::from(format!("{name}{JOB}"));
            let file = PathBuf::from(name);
            let both = numbers.iter().fold((job, file), |(job, file), &number| {
                (numbered(&job, number), numbered(&file, number))
            });
            let (job, file) = both;
            prop_assert!(is_job(&job));
            prop_assert_eq!(described(&job).map(|found| found.file), Some(file.clone()));
            prop_assert!(descriptions(&file).contains(&job));
        }
    }
}
