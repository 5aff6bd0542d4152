//! Paths, folders and patterns -> the files they mean, and where each one's answer goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Extensions of the picture files that are looked for in folders.
const EXTENSIONS: [&str; 10] = [
    "jpg", "jpeg", "jpe", "png", "apng", "tif", "tiff", "webp", "bmp", "gif",
];

/// Folders are entered this deep; deeper ones are likely a loop of links.
const MAX_DEPTH: usize = 64;

/// A file to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub file: PathBuf,
    /// Where it stands below the folder that was named, or its name.
    pub below: PathBuf,
}

/// Where answers go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To standard output, one after the other.
    Output,
    /// Beside each file.
    Beside,
    /// Below this folder, in the folders in which the files were found.
    Folder(PathBuf),
}

/// The files that `named` mean, in that order and without repetition: files as they are, folders with all pictures below them, and
/// patterns such as `scans/*.png`.
///
/// # Errors
///
/// A path or pattern that means nothing, a folder that cannot be listed.
pub fn find(named: &[PathBuf]) -> Result<Vec<Input>> {
    let mut inputs = vec![];
    for path in named {
        let before = inputs.len();
        if path.exists() {
            add(path, &mut inputs)?;
        } else {
            let pattern = path.to_str().context("a pattern must be UTF-8")?;
            let matches = glob::glob(pattern);
            for found in matches.with_context(|| format!("{pattern}: no file, and no pattern"))? {
                add(&found?, &mut inputs)?;
            }
        }
        ensure!(inputs.len() > before, "{}: no such file", path.display());
    }
    let mut seen = std::collections::BTreeSet::new();
    inputs.retain(|input| seen.insert(input.file.clone()));
    Ok(inputs)
}

fn add(path: &Path, inputs: &mut Vec<Input>) -> Result<()> {
    if path.is_dir() {
        return list(path, path, MAX_DEPTH, inputs);
    }
    inputs.push(Input {
        file: path.to_owned(),
        below: path.file_name().unwrap_or_default().into(),
    });
    Ok(())
}

fn list(folder: &Path, root: &Path, depth: usize, inputs: &mut Vec<Input>) -> Result<()> {
    let reading = || format!("listing {}", folder.display());
    ensure!(
        depth > 0,
        "{}: over {MAX_DEPTH} folders deep",
        folder.display()
    );
    let entries = std::fs::read_dir(folder).with_context(reading)?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(reading)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(&path, root, depth - 1, inputs)?;
        } else if is_picture(&path) {
            let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
            inputs.push(Input { file: path, below });
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
}

/// Where each input's answer goes; `None` is standard output. Where two inputs differ only in their extension, the answers keep it:
/// `page.png.txt` and `page.jpg.txt`.
pub(super) fn outputs(
    inputs: &[Input],
    destination: &Destination,
    extension: &str,
) -> Vec<Option<PathBuf>> {
    let place = |input: &Input| match destination {
        Destination::Output => None,
        Destination::Beside => Some(input.file.clone()),
        Destination::Folder(folder) => Some(folder.join(&input.below)),
    };
    let places: Vec<Option<PathBuf>> = inputs.iter().map(place).collect();
    let plain = |place: &Path| place.with_extension(extension);
    let mut counts: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for place in places.iter().flatten() {
        *counts.entry(plain(place)).or_default() += 1;
    }
    let mut taken: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let named = places.into_iter().map(|place| {
        let place = place?;
        let mut output = plain(&place);
        if counts[&output] > 1 {
            let mut name = place.into_os_string();
            name.push(".");
            name.push(extension);
            output = name.into();
        }
        // Files of one name from several folders, all into one.
        let again = taken.entry(output.clone()).or_default();
        *again += 1;
        Some(match *again {
            1 => output,
            again => output.with_extension(format!("{again}.{extension}")),
        })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for file in files {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().expect("it has one")).expect("a folder");
            std::fs::write(file, "").expect("a file");
        }
        root
    }

    #[test]
    fn folders_and_patterns_become_files() {
        let root = tree(&[
            "b/2.PNG",
            "b/1.jpg",
            "b/c/3.tif",
            "b/notes.txt",
            "a.png",
            "[x].png",
        ]);
        for (named, expected) in [
            (&["a.png"][..], &["a.png"][..]),
            (&["b"], &["b/1.jpg", "b/2.PNG", "b/c/3.tif"]),
            (&["*.png", "a.png"], &["[x].png", "a.png"]),
            (&["b/*.txt"], &["b/notes.txt"]),
            (&["[x].png"], &["[x].png"]),
        ] {
            let named: Vec<_> = named.iter().map(|name| root.path().join(name)).collect();
            let found = find(&named).expect("all are there");
            let found: Vec<_> = found.into_iter().map(|input| input.file).collect();
            let expected: Vec<_> = expected.iter().map(|name| root.path().join(name)).collect();
            assert_eq!(found, expected, "{named:?}");
        }
        for named in ["none.png", "*.bmp", "b/notes", "a***"] {
            assert!(find(&[root.path().join(named)]).is_err(), "{named}");
        }
    }

    #[test]
    fn no_two_answers_go_to_one_file() {
        let input = |file: &str, below: &str| Input {
            file: file.into(),
            below: below.into(),
        };
        let inputs = [
            input("in/a.png", "a.png"),
            input("in/a.jpg", "a.jpg"),
            input("in/c/b.png", "c/b.png"),
            input("other/a.png", "a.png"),
        ];
        let folder = Destination::Folder("out".into());
        for (destination, expected) in [
            (
                Destination::Beside,
                ["in/a.png.txt", "in/a.jpg.txt", "in/c/b.txt", "other/a.txt"],
            ),
            (
                folder,
                [
                    "out/a.png.txt",
                    "out/a.jpg.txt",
                    "out/c/b.txt",
                    "out/a.png.2.txt",
                ],
            ),
        ] {
            let expected = expected.map(|name| Some(PathBuf::from(name)));
            assert_eq!(outputs(&inputs, &destination, "txt"), expected);
        }
        assert_eq!(
            outputs(&inputs, &Destination::Output, "txt"),
            [const { None }; 4]
        );
    }
}
