//! `ephemera up` of a command: once, with this process's standard streams.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use ephemera::app::App;
use ephemera::build::Placement;
use ephemera::config::Project;
use ephemera::runtime::Command;

use super::{Surroundings, executor};

/// What only a command gets.
#[derive(Args)]
pub(crate) struct Once {
    /// A folder that a command may read and write, as it is called here and, after `::`, there; repeatable.
    #[arg(long = "dir", value_name = "HERE[::THERE]", value_parser = folder)]
    folders: Vec<(PathBuf, String)>,
    /// What a command gets as its arguments.
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

impl Once {
    /// # Errors
    ///
    /// There is something in it that nobody would look at.
    pub(crate) fn refuse(&self) -> Result<()> {
        ensure!(
            self.folders.is_empty() && self.arguments.is_empty(),
            "--dir and arguments are for a command: expected --component-id with the name of one"
        );
        Ok(())
    }
}

fn folder(text: &str) -> Result<(PathBuf, String), String> {
    let (here, there) = text.split_once("::").unwrap_or((text, text));
    match here.is_empty() || there.is_empty() {
        true => Err(format!("expected FOLDER or HERE::THERE, got `{text}`")),
        false => Ok((here.into(), there.to_owned())),
    }
}

/// Runs the command `name` of `project` until it ends; its status.
pub(crate) fn run(
    around: &Surroundings,
    project: Project,
    name: &str,
    once: Once,
    no_build: bool,
) -> Result<ExitCode> {
    let files = &project.function(name)?.spin.files;
    ensure!(
        files.is_empty() || once.folders.is_empty(),
        "--dir: `{name}` has `files` in the manifest, and then no other folders"
    );
    let names = [name.to_owned()];
    let artifacts = around.artifacts(Placement::Guest, &project, &names, no_build)?;
    let app = App::load(project, &artifacts, 1)?;
    let how = Command {
        arguments: once.arguments,
        folders: once.folders,
    };
    let executor = executor()?;
    let status = executor.block_on(app.function(name)?.command(&how));
    // A read of standard input may still be waiting.
    executor.shutdown_background();
    Ok(ExitCode::from(status?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_may_have_another_name_inside() {
        for (text, expected) in [
            ("pages", Some(("pages", "pages"))),
            ("/srv/pages::in", Some(("/srv/pages", "in"))),
            (".::.", Some((".", "."))),
            ("::in", None),
            ("pages::", None),
            ("", None),
        ] {
            let actual = folder(text).ok();
            let actual = actual
                .as_ref()
                .map(|(here, there)| (here.to_str().unwrap_or(""), there.as_str()));
            assert_eq!(actual, expected, "{text}");
        }
    }
}
