//! `ephemera build`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use ephemera::build;
use ephemera::outside::{self, Outside};
use ephemera::shapes::Shape;

use super::Surroundings;
use super::device::DeviceOptions;

#[derive(Args)]
pub(crate) struct Build {
    /// The components to build; all of them if none is named.
    components: Vec<String>,
    /// Print what was built, as JSON.
    #[arg(long, conflicts_with = "model")]
    json: bool,
    /// The models of the one component that is named, in place of those that the manifest lists: folders of models/, such as
    /// `ocr-recogniser-latin,ocr-detector`. Serving asks for those of the manifest again.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        conflicts_with = "model"
    )]
    models: Vec<String>,
    #[command(flatten)]
    device: DeviceOptions,
    /// An ONNX file to make a project of, which serves it by the Open Inference Protocol v2.
    #[arg(long, value_name = "FILE", conflicts_with = "components")]
    model: Option<PathBuf>,
    /// What that model is called; the file's name if not given.
    #[arg(long, requires = "model")]
    name: Option<String>,
    /// The project's folder; target/ephemera/NAME if not given.
    #[arg(long, value_name = "FOLDER", requires = "model")]
    out: Option<PathBuf>,
    /// The one shape of an input with free axes, such as `x=1x3x224x224`; repeatable.
    #[arg(long = "input", value_name = "NAME=SHAPE", requires = "model")]
    inputs: Vec<Shape>,
}

pub(crate) fn build(around: &Surroundings, options: &Build) -> Result<()> {
    match &options.model {
        Some(onnx) => outside(around, onnx, options),
        None => {
            let placement = options.device.placement();
            let mut project = around.project()?;
            let names = &options.components;
            if !options.models.is_empty() {
                project.take_models(names, &options.models)?;
            }
            let built = build::build_as(placement, &project, names, &around.progress)?;
            if options.json {
                writeln!(std::io::stdout(), "{}", serde_json::to_string(&built)?)?;
            }
            Ok(())
        }
    }
}

/// A model from outside: builds its project and says how to serve it.
fn outside(around: &Surroundings, onnx: &Path, options: &Build) -> Result<()> {
    // The code comes from the workspace of the manifest, which need not be there for that.
    let workspace = around
        .manifest
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let made = outside::make(
        &Outside {
            onnx,
            name: options.name.as_deref(),
            out: options.out.as_deref(),
            shapes: &options.inputs,
            workspace: workspace.unwrap_or(Path::new(".")),
        },
        &around.progress,
    )?;
    let mut out = std::io::stdout();
    let folder = made.manifest.parent().unwrap_or(Path::new("."));
    writeln!(
        out,
        "serve: ephemera --manifest {} up",
        made.manifest.display()
    )?;
    let example = made.example.replace("{url}", "http://127.0.0.1:3000");
    let request = format!("@{}/request.", folder.display());
    writeln!(out, "try: {}", example.replace("@request.", &request))?;
    Ok(out.flush()?)
}
