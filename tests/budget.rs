//! A crowd before a small budget of memory: each is answered or told when to come back, and nothing is lost.

use std::sync::Arc;

use anyhow::Result;
use ephemera::admission::Budget;
use ephemera::app::App;
use ephemera::serve::{Options, Server};

use crate::runners::{self, Asked, over_http};

/// How many ask at once, and how many of them may wait.
const CROWD: usize = 24;
const WAITING: usize = 8;

#[test]
fn a_crowd_is_answered_or_told_to_come_back() -> Result<()> {
    let project = ephemera::config::Project::open(&runners::root().join("spin.toml"))?;
    let ceiling = project.function("ocr")?.limits.memory_bytes as u64;
    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let app = Arc::new(App::load(project, runners::artifacts(), 4)?);
    let options = Options::default();
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        // Room for four instances, and memory for one.
        budget: Budget {
            memory_bytes: ceiling * 3 / 2,
            instances: 4,
            waiting: WAITING,
            ..options.budget
        },
        ..options
    };
    let server = executor.block_on(Server::start(Arc::clone(&app), options))?;
    let address = server.address().to_string();
    let word = runners::root().join("tests/cases/ocr/single-word/request.png");
    let asked = Asked::file(&word, "text/plain")?;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |_| scope.spawn(|| over_http(&address, &asked).map(|answer| answer.status));
        let asking: Vec<_> = (0..CROWD).map(ask).collect();
        let done = asking.into_iter().map(|one| one.join().expect("no panic"));
        done.collect::<Result<_>>()
    })?;
    let answered = |status: u16| statuses.iter().filter(|&&other| other == status).count();
    assert_eq!(answered(200) + answered(503), CROWD, "{statuses:?}");
    assert!(answered(200) > WAITING, "{statuses:?}");
    assert_eq!(app.runtime().most_instances(), 1);
    let load = server.load();
    assert_eq!((load.running, load.waiting, load.admitted_bytes), (0, 0, 0));

    let urgent = Asked {
        headers: vec![("x-priority", "urgent".to_owned())],
        ..asked.clone()
    };
    assert_eq!(over_http(&address, &urgent)?.status, 400);
    Ok(())
}
