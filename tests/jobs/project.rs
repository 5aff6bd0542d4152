//! A manifest with a good function and bad ones, which take files as it does.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use ephemera::build;
use ephemera::config::Project;
use ephemera::progress::Progress;

use crate::{binary, runners};

/// Bad functions: the name, and the path at which `tests/guests/unruly` does it. They say that they take clips, so that pictures which nothing
/// is said of go to `ocr`.
const BAD: [(&str, &str); 4] = [
    ("endless", "/loop"),
    ("growing", "/grow"),
    ("panicking", "/panic"),
    ("sleeping", "/sleep"),
];

/// What workers are started with: the binary, and a manifest in a folder of its own.
pub(super) struct Built {
    pub(super) program: PathBuf,
    folder: tempfile::TempDir,
}

impl Built {
    /// Everything; `None`, with a word about it, if the binary is not there.
    pub(super) fn new() -> Result<Option<Self>> {
        let Some(program) = binary::path() else {
            binary::skip("`ephemera` is not built: test the whole workspace")?;
            return Ok(None);
        };
        runners::artifacts();
        LazyLock::force(&BAD_ONES);
        let folder = tempfile::tempdir()?;
        let root = runners::root();
        let text = manifest(&root)?;
        std::fs::write(folder.path().join("spin.toml"), text)?;
        for name in ["models", "target"] {
            let there = root.join(name).canonicalize()?;
            std::os::unix::fs::symlink(there, folder.path().join(name))?;
        }
        Ok(Some(Self { program, folder }))
    }

    pub(super) fn manifest(&self) -> PathBuf {
        self.folder.path().join("spin.toml")
    }
}

static BAD_ONES: LazyLock<()> = LazyLock::new(|| {
    let built = (|| {
        let root = runners::root();
        let project = Project::parse(&manifest(&root)?, &root)?;
        let names = BAD.map(|(name, _)| name.to_owned());
        build::build(&project, &names, &Progress::stderr())
    })();
    built.unwrap_or_else(|error| panic!("{error:#}"));
});

/// `ocr` as it is in spin.toml, and the bad ones.
fn manifest(root: &Path) -> Result<String> {
    let ours: toml::Table = std::fs::read_to_string(root.join("spin.toml"))?.parse()?;
    let ocr = ours["component"].get("ocr").context("component.ocr")?;
    let mut components = toml::Table::new();
    components.insert("ocr".to_owned(), ocr.clone());
    let mut routes = vec![route("/...", "ocr")];
    for (name, path) in BAD {
        let text = format!(
            "source = \"target/ephemera/unruly.wasm\"
             [tool.ephemera]
             package = \"unruly\"
             models = []
             memory_mib = 16
             timeout_s = 3
             cpu_s = 1
             run = {{ path = \"{path}\", takes = \"clips\" }}"
        );
        components.insert(name.to_owned(), text.parse::<toml::Table>()?.into());
        routes.push(route(path, name));
    }
    let mut whole = toml::Table::new();
    whole.insert("spin_manifest_version".to_owned(), 2.into());
    whole.insert("application".to_owned(), ours["application"].clone());
    whole.insert("component".to_owned(), components.into());
    let trigger = toml::Table::from_iter([("http".to_owned(), routes.into())]);
    whole.insert("trigger".to_owned(), trigger.into());
    Ok(toml::to_string(&whole)?)
}

fn route(path: &str, component: &str) -> toml::Value {
    let fields = [("route", path), ("component", component)];
    let fields = fields.map(|(key, value)| (key.to_owned(), value.into()));
    toml::Table::from_iter(fields).into()
}

/// The bytes of a page with one word, and the word.
pub(super) fn page() -> Result<(Vec<u8>, String)> {
    let case = runners::root().join("tests/cases/ocr/single-word");
    let word = std::fs::read_to_string(case.join("text.txt"))?;
    Ok((
        std::fs::read(case.join("request.png"))?,
        word.trim().to_owned(),
    ))
}
