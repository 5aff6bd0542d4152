//! Paths, folders and patterns -> what each request is about, and where each one's answer goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ephemera_video::natural_order;

use crate::config::Takes;

/// Extensions of the picture files that are looked for in folders.
const PICTURES: [&str; 10] = [
    "jpg", "jpeg", "jpe", "png", "apng", "tif", "tiff", "webp", "bmp", "gif",
];

/// Extensions of the clips that are looked for in folders. What can be a picture as well (GIF, WebP, PNG) is a frame there.
const CLIPS: [&str; 8] = ["mp4", "m4v", "mov", "mjpeg", "mjpg", "zip", "tar", "apng"];

/// Folders are entered this deep; deeper ones are likely a loop of links.
const MAX_DEPTH: usize = 64;

/// What one request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// A file, or a folder whose pictures are the frames of a clip.
    pub path: PathBuf,
    /// The frames, in their order, if it is a folder.
    pub frames: Vec<PathBuf>,
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

/// What `named` mean, in that order and without repetition: files as they are, patterns such as `scans/*.png`, and folders with all that
/// is below them, which is each picture, or each clip and each folder of frames.
///
/// # Errors
///
/// A path or pattern that means nothing, a folder that cannot be listed.
pub fn find(named: &[PathBuf], takes: Takes) -> Result<Vec<Input>> {
    let mut inputs = vec![];
    for path in named {
        let before = inputs.len();
        if path.exists() {
            add(path, takes, &mut inputs)?;
        } else {
            let pattern = path.to_str().context("a pattern must be UTF-8")?;
            let matches = glob::glob(pattern);
            for found in matches.with_context(|| format!("{pattern}: no file, and no pattern"))? {
                add(&found?, takes, &mut inputs)?;
            }
        }
        ensure!(inputs.len() > before, "{}: no such file", path.display());
    }
    let mut seen = std::collections::BTreeSet::new();
    inputs.retain(|input| seen.insert(input.path.clone()));
    Ok(inputs)
}

/// What a file is looked at as, by its extension.
pub(crate) fn takes(path: &Path) -> Takes {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    match CLIPS.contains(&extension.to_ascii_lowercase().as_str()) {
        true => Takes::Clips,
        false => Takes::Pictures,
    }
}

fn add(path: &Path, takes: Takes, inputs: &mut Vec<Input>) -> Result<()> {
    if path.is_dir() {
        // `.` and `..` have a name only in full, and answers are named after folders of frames.
        let named = path.file_name().is_none().then(|| path.canonicalize());
        let named = named.transpose()?;
        let folder = named.as_deref().unwrap_or(path);
        return list(folder, folder, takes, MAX_DEPTH, inputs);
    }
    inputs.push(Input {
        path: path.to_owned(),
        frames: vec![],
        below: path.file_name().unwrap_or_default().into(),
    });
    Ok(())
}

fn list(
    folder: &Path,
    root: &Path,
    takes: Takes,
    depth: usize,
    inputs: &mut Vec<Input>,
) -> Result<()> {
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
    paths.sort_by(|a, b| {
        let name = |path: &Path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        natural_order(&name(a), &name(b)).then_with(|| a.cmp(b))
    });
    let mut frames = vec![];
    for path in paths {
        let input = |path: PathBuf| {
            let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
            Input {
                path,
                frames: vec![],
                below,
            }
        };
        if path.is_dir() {
            list(&path, root, takes, depth - 1, inputs)?;
        } else if takes == Takes::Clips && has_extension(&path, &CLIPS) {
            inputs.push(input(path));
        } else if has_extension(&path, &PICTURES) {
            match takes {
                Takes::Pictures => inputs.push(input(path)),
                Takes::Clips => frames.push(path),
            }
        }
    }
    if !frames.is_empty() {
        let below = folder.strip_prefix(root).unwrap_or(folder);
        // The folder that was named goes by its own name.
        let below = match below.as_os_str().is_empty() {
            true => Path::new(folder.file_name().unwrap_or("frames".as_ref())),
            false => below,
        };
        inputs.push(Input {
            path: folder.to_owned(),
            frames,
            below: below.to_owned(),
        });
    }
    Ok(())
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    extensions.contains(&extension.to_ascii_lowercase().as_str())
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
        Destination::Beside => Some(input.path.clone()),
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
            let found = find(&named, Takes::Pictures).expect("all are there");
            let found: Vec<_> = found.into_iter().map(|input| input.path).collect();
            let expected: Vec<_> = expected.iter().map(|name| root.path().join(name)).collect();
            assert_eq!(found, expected, "{named:?}");
        }
        for named in ["none.png", "*.bmp", "b/notes", "a***"] {
            let named = [root.path().join(named)];
            assert!(find(&named, Takes::Pictures).is_err(), "{named:?}");
        }
    }

    #[test]
    fn a_folder_of_frames_is_one_clip() {
        let root = tree(&[
            "walks/a.mp4",
            "walks/b/frame10.jpg",
            "walks/b/frame9.jpg",
            "walks/c/1.png",
            "walks/notes.txt",
        ]);
        let clips = |named: &str| {
            let found = find(&[root.path().join(named)], Takes::Clips).expect("they are there");
            let shorter = |path: &Path| path.strip_prefix(root.path()).expect("inside").to_owned();
            let told = found.into_iter().map(|input| {
                let frames = input.frames.iter().map(|frame| shorter(frame)).collect();
                (shorter(&input.path), frames, input.below)
            });
            told.collect::<Vec<(PathBuf, Vec<PathBuf>, PathBuf)>>()
        };
        let b = |below: &str| {
            let frames = vec!["walks/b/frame9.jpg".into(), "walks/b/frame10.jpg".into()];
            (PathBuf::from("walks/b"), frames, PathBuf::from(below))
        };
        assert_eq!(clips("walks/b"), [b("b")]);
        let a = (PathBuf::from("walks/a.mp4"), vec![], PathBuf::from("a.mp4"));
        let c = (
            PathBuf::from("walks/c"),
            vec!["walks/c/1.png".into()],
            PathBuf::from("c"),
        );
        assert_eq!(clips("walks"), [a, b("b"), c]);
    }

    #[test]
    fn no_two_answers_go_to_one_file() {
        let input = |file: &str, below: &str| Input {
            path: file.into(),
            frames: vec![],
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
