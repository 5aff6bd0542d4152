//! `ephemera up --watch`: builds again what has changed, and swaps it in under the running server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use ephemera::admission::Budget;
use ephemera::app::App;
use ephemera::nn::devices::Found;
use ephemera::serve::Server;
use ephemera::watch::{Seen, Watch};

use super::Surroundings;
use super::device;
use super::up::{check_budget, largest_ceiling};

/// Between two looks at the files. A change is built when the next look finds nothing more: editors and `git` write several files.
const PAUSE: Duration = Duration::from_millis(500);

/// Goes on for ever. What does not build leaves what is served as it is.
pub(super) async fn swap(
    around: &Surroundings,
    server: &Server,
    budget: Budget,
    found: &Found,
) -> Error {
    let mut seen: Option<Seen> = None;
    let mut last: Option<Watch> = None;
    loop {
        // Anew each time: what there is to look at is the manifest's to say. While that is half written, what it said before holds.
        let before = last.clone();
        let looked = apart(around, move |around| look(around, before)).await;
        let (watch, now) = match looked {
            Ok(looked) => looked,
            Err(error) => return error.context("watching the project"),
        };
        last = Some(watch.clone());
        if seen.is_none() {
            tracing::info!("watching for changes");
        }
        // What changed while something was built is a change too.
        let changed = wait(&watch, seen.get_or_insert(now)).await;
        tracing::info!("{changed} changed, building");
        let found = found.clone();
        let built = apart(around, move |around| load(around, budget, &found)).await;
        let replaced = async {
            let app = Arc::new(built?);
            app.check_ready().await?;
            server.replace(app);
            Ok::<_, Error>(())
        };
        match replaced.await {
            Ok(()) => tracing::info!("serving what was built"),
            Err(error) => tracing::error!("still serving what was built before: {error:#}"),
        }
    }
}

/// What to look at, and how it is.
fn look(around: &Surroundings, before: Option<Watch>) -> Result<(Watch, Seen)> {
    let project = around.project();
    let watch = project.and_then(|project| Watch::new(&around.manifest, &project));
    // The one who is editing it has been told, or will be by the build.
    let watch = watch
        .ok()
        .or(before)
        .unwrap_or_else(|| Watch::manifest(&around.manifest));
    let seen = watch.look();
    Ok((watch, seen))
}

/// Waits until something is not as it was in `seen`, and stays as it is for a moment; names it.
async fn wait(watch: &Watch, seen: &mut Seen) -> String {
    let mut changed = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let looking = watch.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || looking.look()).await else {
            continue;
        };
        match (now.changed_since(seen), changed.take()) {
            (Some(path), _) => changed = Some(path.display().to_string()),
            (None, Some(name)) => return name,
            (None, None) => {}
        }
        *seen = now;
    }
}

/// Where models run on the processor, they are read anew, and those that serve go when the last request is done with them. Of a GPU the
/// worker stays, and reads anew what has changed.
fn load(around: &Surroundings, budget: Budget, found: &Found) -> Result<App> {
    let project = around.project()?;
    let artifacts = around.artifacts(found.placement(), &project, &[], false)?;
    check_budget(largest_ceiling(&project), budget.memory_bytes)?;
    let devices = device::open(found, &artifacts, budget.instances)?;
    App::load_on(devices.as_ref(), project, &artifacts, budget.instances)
}

/// Does `work`, which waits for files and processes, where no request waits for it.
async fn apart<T: Send + 'static>(
    around: &Surroundings,
    work: impl FnOnce(&Surroundings) -> Result<T> + Send + 'static,
) -> Result<T> {
    let around = around.clone();
    let work = tokio::task::spawn_blocking(move || work(&around)).await;
    work.context("it panicked")?
}
