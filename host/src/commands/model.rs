//! `ephemera model`: looks at models.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use ephemera::inspect;
use ephemera::shapes::Shape;

use super::Surroundings;

#[derive(Subcommand)]
pub(crate) enum Model {
    /// The steps of a model's lowered graph, or why it has none.
    Inspect {
        /// Its name, a folder of models/, or the path of such a folder.
        model: String,
        /// The shape of an input in the graph, such as `x=1x3x736x736`; repeatable. Usual ones if none is given.
        #[arg(long = "input", value_name = "NAME=SHAPE")]
        inputs: Vec<Shape>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn model(around: &Surroundings, what: &Model) -> Result<()> {
    let Model::Inspect {
        model,
        inputs,
        json,
    } = what;
    let folder = folder(around, model)?;
    inspect::inspect(&folder, inputs)?.print(*json, &mut std::io::stdout())
}

/// The folder that `model` means. A name is looked up in the project; a path needs none.
fn folder(around: &Surroundings, model: &str) -> Result<PathBuf> {
    let path = Path::new(model);
    if path.components().count() > 1 || path.join("model.toml").is_file() {
        // Its own name is what the manifest in it is compared with.
        return path
            .canonicalize()
            .with_context(|| format!("no model at {model}"));
    }
    let folder = around.project()?.workspace().join("models").join(model);
    ensure!(
        folder.is_dir(),
        "no model `{model}`: {} is not there",
        folder.display()
    );
    Ok(folder)
}
