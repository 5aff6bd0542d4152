//! Pages in a folder, ready to be queued: a few distinct ones, repeated under different names.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A folder that goes with this value.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("ephemera-bench-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("removing {}: {error}", self.0.display());
        }
    }
}

/// The file `from`, or the files in the folder `from`, by name.
///
/// # Errors
///
/// There are none.
pub(super) fn sources(from: &Path) -> Result<Vec<PathBuf>> {
    if from.is_file() {
        return Ok(vec![from.to_owned()]);
    }
    let listing = || format!("listing {}", from.display());
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(from).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        if path.is_file() {
            sources.push(path);
        }
    }
    sources.sort();
    ensure!(!sources.is_empty(), "no pages in {}", from.display());
    Ok(sources)
}

/// Pages of one round.
pub(super) struct Stage {
    folder: PathBuf,
    files: Vec<String>,
}

impl Stage {
    /// Writes pages below `scratch`: those with these numbers, which take `sources` in turns.
    ///
    /// # Errors
    ///
    /// They cannot be copied.
    pub(super) fn new(scratch: &Path, sources: &[PathBuf], numbers: Range<u32>) -> Result<Self> {
        let folder = scratch.join("stage");
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut files = Vec::new();
        for number in numbers {
            let source = &sources[number as usize % sources.len()];
            let name = source.file_name().context("a page has a name")?;
            let name = format!("{number:06}-{}", name.to_string_lossy());
            let copying = || format!("copying {}", source.display());
            let mut bytes = std::fs::read(source).with_context(copying)?;
            // What lies behind a picture is not read, and makes each a file of its own: a queue does equal files once.
            bytes.extend(number.to_le_bytes());
            std::fs::write(folder.join(&name), bytes).with_context(copying)?;
            files.push(name);
        }
        Ok(Self { folder, files })
    }

    /// Where they lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Their names.
    pub(super) fn files(&self) -> &[String] {
        &self.files
    }

    /// How many there are.
    pub(super) fn pages(&self) -> u32 {
        self.files.len() as u32
    }

    /// Deletes them.
    ///
    /// # Errors
    ///
    /// They are in use, or gone.
    pub(super) fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.folder)
            .with_context(|| format!("removing {}", self.folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_take_sources_in_turns() {
        let scratch = tempfile::tempdir().expect("a folder");
        let from = scratch.path().join("from");
        std::fs::create_dir(&from).expect("a folder");
        for name in ["b.png", "a.png"] {
            std::fs::write(from.join(name), name).expect("a file");
        }
        let found = sources(&from).expect("two");
        let stage = Stage::new(scratch.path(), &found, 3..6).expect("three");
        assert_eq!(
            stage.files(),
            ["000003-b.png", "000004-a.png", "000005-b.png"]
        );
        assert_eq!(stage.pages(), 3);
        let folder = stage.folder().to_owned();
        assert_eq!(
            std::fs::read(folder.join("000004-a.png")).expect("a page"),
            b"a.png\x04\0\0\0"
        );
        stage.remove().expect("it goes");
        assert!(!folder.exists());
        let one = sources(&from.join("a.png")).expect("itself");
        assert_eq!(one, [from.join("a.png")]);
        std::fs::create_dir(scratch.path().join("none")).expect("a folder");
        assert!(sources(&scratch.path().join("none")).is_err());
    }
}
