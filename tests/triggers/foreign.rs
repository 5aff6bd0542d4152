//! A component of others that messages start: what it finds of Redis, and that one that misbehaves costs nobody else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ephemera::admission::Budget;
use ephemera::app::App;
use ephemera::build;
use ephemera::config::Project;
use ephemera::failure::Failure;
use ephemera::progress::Progress;
use ephemera::redis_trigger::Listener;

use super::listeners::{publish, text_at};
use crate::redis::Redis;
use crate::runners;

const COMMAND: &str = "env -u RUSTFLAGS cargo build --quiet --profile guest --package unruly --features redis --target wasm32-wasip1";

/// The same component twice: as it is, and with small limits.
fn manifest(host: &str) -> String {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    // `ephemera build` makes another module of the same package.
    let module = target.join("wasm32-wasip1/guest/unruly.wasm");
    let source = target.join("wasm32-wasip1/guest/unruly-messages.wasm");
    let (copied, module) = (source.display(), module.display());
    format!(
        r#"
spin_manifest_version = 2
[application]
name = "unruly"
[application.trigger.redis]
address = "redis://{host}"
[[trigger.redis]]
channel = "calm"
component = "calm"
[[trigger.redis]]
channel = "wild"
component = "wild"
[component.calm]
source = {source:?}
allowed_outbound_hosts = ["redis://{host}"]
variables = {{ redis_address = "redis://{host}" }}
build = {{ command = "{COMMAND} && cp {module} {copied}" }}
[component.wild]
source = {source:?}
allowed_outbound_hosts = ["redis://{host}"]
variables = {{ redis_address = "redis://{host}" }}
tool = {{ ephemera = {{ memory_mib = 16, timeout_s = 3, cpu_s = 1 }} }}
"#
    )
}

const TOUR: &str = "Ok(None)
Ok(())
Ok(Some([120]))
Err(Error::TypeError)
Ok(1)
Ok(2)
Ok(1)
Ok([\"a\"])
Err(Error::TypeError)
Ok(())
Ok([RedisResult::Binary([120]), RedisResult::Nil])
Ok([RedisResult::Status(\"OK\")])
Err(Error::Other(\"the command `monitor` is not supported\"))
Ok(1)";

#[test]
fn a_component_that_misbehaves_ends_at_its_limits_and_costs_nobody_else() -> Result<()> {
    let Some(redis) = Redis::start(&[])? else {
        return Ok(());
    };
    let project = Project::parse(&manifest(&redis.host()), &runners::root())?;
    let artifacts = build::build(&project, &[], &Progress::stderr())?;
    let subscriptions = project.subscriptions(&[])?;
    let app = Arc::new(App::load(project, &artifacts, 2)?);
    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let entered = executor.enter();
    let budget = Budget {
        memory_bytes: 256 << 20,
        instances: 2,
        waiting: 64,
        wait_time: Duration::from_secs(30),
    };
    let grace = Duration::from_secs(30);
    let listener = Listener::start(Arc::clone(&app), &subscriptions, None, budget, grace)?;

    // Each is followed by one of another component, which is answered all the same.
    for what in [
        "loop", "grow", "panic", "recurse", "sleep", "exit", "nothing",
    ] {
        publish(&redis, "wild", what.as_bytes())?;
        publish(&redis, "calm", format!("fine after:{what}").as_bytes())?;
        assert_eq!(text_at(&redis, &format!("after:{what}"))?, "fine");
    }
    // And so is the next message of its own.
    publish(&redis, "wild", b"fine wild")?;
    assert_eq!(text_at(&redis, "wild")?, "fine");

    // What it finds of Redis.
    let other = format!("redis://localhost:{}", redis.port());
    for (what, expected) in [
        ("tour", TOUR),
        ("many", "8, then Error::TooManyConnections"),
        ("redis://127.0.0.1:1", "Error::InvalidAddress"),
        (&other, "Error::InvalidAddress"),
        ("http://127.0.0.1:1", "Error::InvalidAddress"),
    ] {
        publish(&redis, "calm", format!("{what} told:{what}").as_bytes())?;
        assert_eq!(
            text_at(&redis, &format!("told:{what}"))?,
            expected,
            "{what}"
        );
    }
    assert!(executor.block_on(listener.stop()), "nothing runs any more");

    // The reasons are those that requests have.
    let wild = app.function("wild")?;
    for (what, expected) in [
        (
            "grow",
            "the function needs more than 16 MiB for this request",
        ),
        ("sleep", "the function took longer than 3 s"),
        ("panic", "the function failed"),
        ("exit", "the function failed"),
    ] {
        let failure = executor.block_on(wild.message(what.as_bytes().into()));
        let failure: Failure = failure.expect_err(what);
        assert_eq!(failure.to_string(), expected, "{what}");
    }
    let failure = executor.block_on(wild.message(b"loop"[..].into()));
    // Where others keep the processors busy, its time is over before it has computed for so long.
    let failure = failure.expect_err("it never ends");
    assert!(matches!(failure, Failure::Cpu(_) | Failure::Deadline(_)));
    let refused = executor.block_on(wild.message(b"nothing"[..].into()))?;
    assert!(refused.is_err(), "its own error is not the host's");
    assert_eq!(app.runtime().live_instances(), 0);
    drop(entered);
    Ok(())
}
