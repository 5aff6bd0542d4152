//! Hostile guests beside good ones.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::server::{Running, log, start, start_with};
use crate::wire::{connect, get};

struct Case {
    path: &'static str,
    status: u16,
    says: &'static str,
    /// What its stack has, in the log.
    stack: &'static str,
}

const fn case(path: &'static str, status: u16, says: &'static str, stack: &'static str) -> Case {
    Case {
        path,
        status,
        says,
        stack,
    }
}

const FAILED: &str = r#"{"detail":"the function failed"}"#;
const TIME: &str = r#"{"detail":"the function took longer than 3 s"}"#;
const HANDLES: &str = r#"{"detail":"the function needs more than 256 handles for this request"}"#;

const CASES: [Case; 15] = [
    case(
        "/loop",
        504,
        r#"{"detail":"the function computed for longer than 1 s"}"#,
        "unruly::spin",
    ),
    case(
        "/grow",
        507,
        r#"{"detail":"the function needs more than 16 MiB for this request"}"#,
        "unruly::grow",
    ),
    case("/tables", 507, HANDLES, "unruly::hold_handles"),
    case("/bodies", 507, HANDLES, "unruly::hold_answers"),
    case("/fields", 500, FAILED, "exceeds limit"),
    case("/panic", 500, FAILED, "panic_fmt"),
    case("/recurse", 500, FAILED, "unruly::recurse"),
    case("/exit", 500, FAILED, "std::process::exit"),
    case(
        "/silent",
        500,
        r#"{"detail":"the function ended without an answer"}"#,
        "without an answer",
    ),
    case("/early", 500, FAILED, "its answer broke off"),
    case("/half", 500, FAILED, "panic_fmt"),
    case("/twice", 500, FAILED, "unruly::answer"),
    case(
        "/write-forever",
        500,
        r#"{"detail":"the function's answer is larger than 1048576 bytes"}"#,
        "larger than 1048576 bytes",
    ),
    // What it has answered is an answer.
    case("/late", 200, "late", "unruly::spin"),
    case("/late-sleep", 200, "late", "ended after its answer"),
];

const SLEEPING: [Case; 2] = [
    case("/sleep", 504, TIME, "(not computing)"),
    case("/stalled", 504, TIME, "(not computing)"),
];

#[test]
fn each_ends_at_its_limit_and_its_neighbours_are_answered() {
    // On a busy machine a second of computing takes many.
    let running = start_with("timeout_s = 120\ncpu_s = 1\n", |options| {
        options.budget.waiting = 256;
    });
    beside_neighbours(&running, &CASES);
}

#[test]
fn who_sleeps_ends_at_its_time() {
    let running = start(|options| options.budget.waiting = 256);
    beside_neighbours(&running, &SLEEPING);
}

/// Sends each of `cases` twice, all at once, while others ask for what is answered.
fn beside_neighbours(running: &Running, cases: &[Case]) {
    let address = running.address();
    let done = AtomicBool::new(false);
    let neighbours = std::thread::scope(|scope| {
        let neighbour = || {
            let mut answered = 0;
            while !done.load(Ordering::SeqCst) {
                let answer = get(address, "/ok");
                assert_eq!((answer.status, &*answer.body), (200, "ok"));
                answered += 1;
            }
            answered
        };
        let neighbours = [scope.spawn(neighbour), scope.spawn(neighbour)];
        let hostile = cases.iter().map(|case| {
            scope.spawn(move || {
                for _ in 0..2 {
                    let answer = get(address, case.path);
                    let expected = (case.status, case.says);
                    assert_eq!((answer.status, &*answer.body), expected, "{}", case.path);
                }
            })
        });
        let hostile: Vec<_> = hostile.collect();
        let ended: Vec<_> = hostile.into_iter().map(|one| one.join()).collect();
        done.store(true, Ordering::SeqCst);
        let neighbours = neighbours.map(|neighbour| neighbour.join().expect("all were answered"));
        for one in ended {
            one.expect("it ended as expected");
        }
        neighbours.iter().sum::<u32>()
    });
    assert!(neighbours > 20, "{neighbours}");
    running.wait_for_instances(0);
    let load = running.server.load();
    assert_eq!((load.running, load.waiting, load.admitted_bytes), (0, 0, 0));
    let log = log();
    for case in cases {
        assert!(log.contains(case.stack), "{}: {}", case.path, case.stack);
    }
}

#[test]
fn as_many_endless_loops_as_cores_starve_nobody() {
    let running = start_with("timeout_s = 120\ncpu_s = 2\n", |options| {
        options.budget.waiting = 64;
    });
    let address = running.address();
    // All that may run at once; one of them makes way.
    let loops = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let ask = |_| scope.spawn(|| get(address, "/loop").status);
        let hostile: Vec<_> = (0..loops).map(ask).collect();
        running.wait_for_instances(loops);
        for _ in 0..50 {
            let since = Instant::now();
            assert_eq!(get(address, "/ok").status, 200);
            // A short request needs milliseconds, and the loops have seconds.
            assert!(since.elapsed() < Duration::from_secs(10));
        }
        assert!(running.instances() > 0, "they still run");
        for one in hostile {
            assert_eq!(one.join().expect("it is answered"), 504);
        }
    });
}

#[test]
fn a_guest_goes_when_its_client_does() {
    let running = start_with("timeout_s = 600\ncpu_s = 600\n", |_| {});
    for path in ["/loop", "/sleep", "/stalled"] {
        let mut client = connect(running.address());
        write!(client, "GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").expect("it is taken");
        running.wait_for_instances(1);
        drop(client);
        running.wait_for_instances(0);
        let load = running.server.load();
        assert_eq!((load.running, load.admitted_bytes), (0, 0), "{path}");
    }
}

#[test]
fn the_wall_clock_ends_a_loop_too() {
    let running = start_with("timeout_s = 1\ncpu_s = 1\n", |_| {});
    let answer = get(running.address(), "/loop");
    assert_eq!(answer.status, 504);
    assert!(!answer.body.contains("unruly"), "{}", answer.body);
}
