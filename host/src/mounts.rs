//! `files` of a component -> a tree of folders and files that it can read and nothing else.
//!
//! In: patterns and `{ source, destination }` of the manifest, and the project's folder. Out: a tree whose leaves are files of the
//! project, looked up once; nothing is copied, and a file is opened when the component opens it. A symbolic link counts as what it leads
//! to, which must be in the project's folder too.

mod wasi;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use glob::{MatchOptions, Pattern};

use crate::config::Mount;

pub(crate) use wasi::{View, link};

/// Files that one component may have; a pattern that matches more was probably not meant.
const MAX_FILES: usize = 10_000;

/// A slash is matched by a slash alone, as in Spin.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A component's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounts {
    /// The first is the root.
    nodes: Vec<Node>,
    files: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// Names and indices of what is in it.
    Folder(BTreeMap<String, usize>),
    /// Where the file is, without symbolic links.
    File(PathBuf),
}

/// Looks up the files of `mounts` below `root`; `None` when there are no `mounts`.
///
/// # Errors
///
/// A pattern that is none, a file that is not there or outside `root`, two files at one place, more than 10,000.
pub fn find(root: &Path, mounts: &[Mount], exclude: &[String]) -> Result<Option<Arc<Mounts>>> {
    if mounts.is_empty() {
        return Ok(None);
    }
    let root = root
        .canonicalize()
        .context("resolving the project's folder")?;
    let exclude = exclude.iter().map(|pattern| {
        let pattern = Pattern::new(pattern);
        pattern.with_context(|| "exclude_files: expected patterns of paths")
    });
    let mut tree = Tree {
        found: Mounts::empty(),
        root,
        exclude: exclude.collect::<Result<_>>()?,
    };
    for mount in mounts {
        match mount {
            Mount::Pattern(pattern) => tree.add_pattern(pattern),
            Mount::Placed {
                source,
                destination,
            } => tree.add_placed(source, destination),
        }
        .context("files")?;
    }
    Ok(Some(Arc::new(tree.found)))
}

/// A tree that grows.
struct Tree {
    found: Mounts,
    root: PathBuf,
    exclude: Vec<Pattern>,
}

impl Tree {
    /// Files that keep their paths below the project's folder.
    fn add_pattern(&mut self, pattern: &str) -> Result<()> {
        inside(Path::new(pattern))?;
        let folder = self.root.join(pattern).is_dir();
        let pattern = match folder {
            true => format!("{}/**/*", Pattern::escape(pattern.trim_end_matches('/'))),
            false => pattern.to_owned(),
        };
        let root = self.root.clone();
        self.walk(&pattern, &root, Path::new(""))
    }

    /// A folder's files, or one file, at `destination`.
    fn add_placed(&mut self, source: &Path, destination: &str) -> Result<()> {
        inside(source)?;
        let path = self.root.join(source);
        let destination = Path::new(destination.trim_start_matches('/'));
        inside(destination)?;
        if path.is_file() {
            return self.add(&path, destination);
        }
        ensure!(path.is_dir(), "`{}` does not exist", source.display());
        self.found.folder(destination)?;
        let text = source.to_str().context("a path is not UTF-8")?;
        let pattern = format!("{}/**/*", Pattern::escape(text.trim_end_matches('/')));
        self.walk(&pattern, &path, destination)
    }

    /// Adds the files that match `pattern`; their paths from `base` on are their places below `destination`.
    fn walk(&mut self, pattern: &str, base: &Path, destination: &Path) -> Result<()> {
        let root = self
            .root
            .to_str()
            .context("the project's path is not UTF-8")?;
        let whole = format!("{}/{pattern}", Pattern::escape(root));
        let paths = glob::glob_with(&whole, OPTIONS).with_context(|| format!("`{pattern}`"))?;
        for path in paths {
            let path = path?;
            if path.is_file() && !self.excluded(&path) {
                let place = path.strip_prefix(base).context("a match lies elsewhere")?;
                self.add(&path, &destination.join(place))?;
            }
        }
        Ok(())
    }

    fn excluded(&self, path: &Path) -> bool {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        let mut patterns = self.exclude.iter();
        patterns.any(|pattern| pattern.matches_path_with(path, OPTIONS))
    }

    fn add(&mut self, path: &Path, place: &Path) -> Result<()> {
        let real = path
            .canonicalize()
            .with_context(|| format!("reading `{}`", path.display()))?;
        ensure!(
            real.starts_with(&self.root),
            "`{}` leads outside the project's folder",
            path.strip_prefix(&self.root).unwrap_or(path).display()
        );
        self.found.add(real, place)
    }
}

/// Refuses paths that could lead out of the project's folder.
fn inside(path: &Path) -> Result<()> {
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    ensure!(
        path.components().all(plain),
        "`{}`: expected a path below the project's folder",
        path.display()
    );
    Ok(())
}

impl Mounts {
    fn empty() -> Self {
        Self {
            nodes: vec![Node::Folder(BTreeMap::new())],
            files: 0,
        }
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files
    }

    fn add(&mut self, file: PathBuf, place: &Path) -> Result<()> {
        let folder = self.folder(place.parent().unwrap_or(Path::new("")))?;
        let name = place.file_name().and_then(|name| name.to_str());
        let name = name.context("a file's name is not UTF-8")?;
        if let Some(known) = self.child(folder, name) {
            ensure!(
                self.nodes[known] == Node::File(file),
                "two files at `/{}`",
                place.display()
            );
            return Ok(());
        }
        self.files += 1;
        ensure!(
            self.files <= MAX_FILES,
            "more than {MAX_FILES} files, which is the limit"
        );
        self.insert(folder, name, Node::File(file));
        Ok(())
    }

    /// The folder at `place`, which is made if need be.
    fn folder(&mut self, place: &Path) -> Result<usize> {
        let mut at = 0;
        for part in place.components() {
            let Component::Normal(name) = part else {
                continue;
            };
            let name = name.to_str().context("a folder's name is not UTF-8")?;
            at = match self.child(at, name) {
                Some(child) if matches!(self.nodes[child], Node::File(_)) => {
                    bail!("a file and a folder at `/{}`", place.display())
                }
                Some(child) => child,
                None => self.insert(at, name, Node::Folder(BTreeMap::new())),
            };
        }
        Ok(at)
    }

    fn insert(&mut self, folder: usize, name: &str, node: Node) -> usize {
        let index = self.nodes.len();
        if let Node::Folder(names) = &mut self.nodes[folder] {
            names.insert(name.to_owned(), index);
        }
        self.nodes.push(node);
        index
    }

    fn child(&self, folder: usize, name: &str) -> Option<usize> {
        match self.nodes.get(folder)? {
            Node::Folder(names) => names.get(name).copied(),
            Node::File(_) => None,
        }
    }

    /// What is at `path` from the folder `from`; `..` stops at that folder, as it does for a preopened one.
    fn lookup(&self, from: usize, path: &str) -> Result<usize, Missing> {
        let mut trail = vec![from];
        if path.starts_with('/') {
            return Err(Missing::Outside);
        }
        for part in path.split('/') {
            let at = *trail.last().ok_or(Missing::Outside)?;
            match (part, &self.nodes[at]) {
                ("" | ".", _) => {}
                (_, Node::File(_)) => return Err(Missing::NotAFolder),
                ("..", _) => {
                    trail.pop();
                }
                (name, Node::Folder(names)) => {
                    trail.push(*names.get(name).ok_or(Missing::None)?);
                }
            }
        }
        trail.last().copied().ok_or(Missing::Outside)
    }

    /// Opens the file `index`, if it is still where it was found, and nothing else has been put in its place.
    fn open(&self, index: usize) -> std::io::Result<File> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let Some(Node::File(path)) = self.nodes.get(index) else {
            return Err(gone());
        };
        let file = File::open(path)?;
        // A folder on the way may have become a link since.
        let same = path.canonicalize()? == *path && file.metadata()?.is_file();
        same.then_some(file).ok_or_else(gone)
    }
}

/// Why there is nothing at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    None,
    NotAFolder,
    Outside,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A project's folder with some files, and a file beside it.
    fn project() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in [
            "p/a.txt",
            "p/b.md",
            "p/sub/c.txt",
            "p/static/x/y.css",
            "secret",
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, file).expect("a file");
        }
        folder
    }

    fn pattern(pattern: &str) -> Mount {
        Mount::Pattern(pattern.into())
    }

    fn placed(source: &str, destination: &str) -> Mount {
        Mount::Placed {
            source: source.into(),
            destination: destination.into(),
        }
    }

    #[test]
    fn patterns_keep_paths_and_sources_move() {
        let folder = project();
        let root = folder.path().join("p");
        let cases: [(&[Mount], &[&str], &[&str]); 7] = [
            (&[pattern("*.txt")], &[], &["a.txt"]),
            (&[pattern("**/*.txt")], &[], &["a.txt", "sub/c.txt"]),
            (
                &[pattern("**/*")],
                &["**/*.txt", "b.md"],
                &["static/x/y.css"],
            ),
            (&[pattern("sub")], &[], &["sub/c.txt"]),
            (
                &[placed("static", "/"), placed("b.md", "/docs/read.md")],
                &[],
                &["x/y.css", "docs/read.md"],
            ),
            (&[placed("static/x", "/a/b")], &[], &["a/b/y.css"]),
            (&[pattern("no*")], &[], &[]),
        ];
        for (mounts, exclude, expected) in cases {
            let exclude: Vec<_> = exclude.iter().map(|&text| text.to_owned()).collect();
            let found = find(&root, mounts, &exclude).expect("they are there");
            let found = found.expect("there are mounts");
            assert_eq!(found.files(), expected.len(), "{mounts:?}: {found:?}");
            for path in expected {
                let index = found.lookup(0, path).expect(path);
                found.open(index).expect("it is a file");
            }
        }
        assert!(find(&root, &[], &[]).expect("nothing").is_none());
    }

    #[test]
    fn nothing_outside_is_reached() {
        let folder = project();
        let root = folder.path().join("p");
        std::os::unix::fs::symlink("../secret", root.join("link.txt")).expect("a link");
        std::os::unix::fs::symlink("a.txt", root.join("good.txt")).expect("a link");
        for (mount, expected) in [
            (pattern("../secret"), "below the project's folder"),
            (pattern("/etc/passwd"), "below the project's folder"),
            (placed("..", "/"), "below the project's folder"),
            (placed("a.txt", "/../a"), "below the project's folder"),
            (placed("none", "/"), "does not exist"),
            (pattern("link.txt"), "leads outside the project's folder"),
            (
                placed("link.txt", "/x"),
                "leads outside the project's folder",
            ),
            (pattern("[a"), "files"),
        ] {
            let error = find(&root, std::slice::from_ref(&mount), &[]).expect_err("refused");
            assert!(
                format!("{error:#}").contains(expected),
                "{mount:?}: {error:#}"
            );
        }
        let clash = [placed("a.txt", "/x"), placed("b.md", "/x")];
        assert!(find(&root, &clash, &[]).is_err());

        let found = find(&root, &[pattern("good.txt"), pattern("sub/*")], &[]);
        let found = found.expect("both are inside").expect("there are mounts");
        for (path, expected) in [
            ("sub/../good.txt", None),
            ("./sub//c.txt", None),
            ("..", Some(Missing::Outside)),
            ("sub/../../secret", Some(Missing::Outside)),
            ("/good.txt", Some(Missing::Outside)),
            ("a.txt", Some(Missing::None)),
            ("good.txt/x", Some(Missing::NotAFolder)),
        ] {
            assert_eq!(found.lookup(0, path).err(), expected, "{path}");
        }
        // Replaced by a link after it was looked up.
        let index = found.lookup(0, "good.txt").expect("it is there");
        std::fs::remove_file(root.join("a.txt")).expect("removed");
        std::os::unix::fs::symlink("../secret", root.join("a.txt")).expect("a link");
        assert!(found.open(index).is_err());
    }
}
