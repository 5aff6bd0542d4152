//! Two snapshots of a server -> what to change, why, and with which setting. Nothing is remembered between calls.
//!
//! Each rule says what it saw in figures. A rule that would be guessing says nothing.

use serde::Serialize;

use super::snapshot::{Function, Histogram, Snapshot, total};
use crate::telemetry::record::Phase;

const MIB: f64 = 1_048_576.0;

/// Fewer requests than this say little about the next.
const ENOUGH: f64 = 20.0;

/// Room that a suggested ceiling leaves above the peak: inputs differ.
const ROOM: f64 = 1.15;

/// Suggested ceilings are multiples of so many MiB.
const STEP_MIB: f64 = 16.0;

/// A suggested ceiling that saves less than this share is not worth a change.
const WORTH: f64 = 0.75;

/// A 32-bit linear memory cannot be larger, in MiB.
const MOST_MIB: f64 = 4096.0;

/// Who waits this long, in seconds, notices.
const LONG_WAIT_S: f64 = 1.0;

/// With this share of the budget free, memory is not what requests wait for.
const FREE: f64 = 0.25;

/// Memory of a GPU is nearly all taken from this share on.
const NEARLY_ALL: f64 = 0.9;

/// Processors that are idle for this share of their time have room for more, if there was work.
const IDLE: f64 = 0.5;

/// An instance whose image is mapped starts in a tenth of this, in seconds; one that is copied takes more.
const SLOW_START_S: f64 = 0.005;

/// Major page faults of a request from which on files are read again and again.
const MAJOR_FAULTS: f64 = 1.0;

/// Connections are short from this share of their limit on.
const CROWDED: f64 = 0.9;

/// Memory of the control group that is left to the process beside its budget, in bytes: the host's own, and compiled code.
const BESIDE_BUDGET_BYTES: f64 = 64.0 * MIB;

/// Something to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Advice {
    /// A function's name, or `server`.
    pub(super) about: String,
    /// What was seen.
    pub(super) reason: String,
    /// What to change, and what that does.
    pub(super) action: String,
}

/// What to do about what happened between the snapshots: since the server started if there is one only. The most pressing first.
pub(super) fn advise(before: Option<&Snapshot>, now: &Snapshot) -> Vec<Advice> {
    let (passed, seconds) = now.since(before);
    let server = [
        pressure(now),
        group(now),
        waits(before, &passed, now, seconds),
        refusals(&passed, now),
        bodies(&passed),
        connections(now),
        spans(&passed),
    ];
    let functions = passed.functions.iter().filter(|(name, _)| !name.is_empty());
    let functions = functions.flat_map(|(name, function)| {
        let ever = &now.functions[name];
        [
            over_memory(name, function),
            over_time(name, function),
            failures(name, function),
            rereading(name, function),
            slow_start(name, function),
            ceiling(name, ever, now),
        ]
    });
    let gpus = now.gpus.iter().map(gpu);
    server
        .into_iter()
        .chain(functions)
        .chain(gpus)
        .flatten()
        .collect()
}

/// The machine is short of memory.
fn pressure(now: &Snapshot) -> Option<Advice> {
    (now.share < 1.0).then(|| {
        let stalled = now.pressure.map_or(String::new(), |share| {
            format!(", and something waited for memory in {} of the time", percent(share))
        });
        Advice::server(
            format!(
                "the machine is short of memory: {} of the budget is given out{stalled}",
                percent(now.share)
            ),
            format!(
                "give the machine more memory, or lower --memory-budget to {} so that it stays within it",
                mib(now.budget_bytes * now.share)
            ),
        )
    })
}

/// The budget is more than the control group has.
fn group(now: &Snapshot) -> Option<Advice> {
    let limit = now.group_limit_bytes?;
    let left = limit - now.anonymous_bytes.max(BESIDE_BUDGET_BYTES);
    (now.budget_bytes > left && left > 0.0).then(|| {
        Advice::server(
            format!(
                "the budget is {}, the control group's limit {}: the kernel would end the server before it refuses anybody",
                mib(now.budget_bytes),
                mib(limit)
            ),
            format!("lower --memory-budget to {} or raise the limit", mib(left)),
        )
    })
}

/// Requests wait long, and why.
fn waits(
    before: Option<&Snapshot>,
    passed: &Snapshot,
    now: &Snapshot,
    seconds: f64,
) -> Option<Advice> {
    let mut waits = Histogram::default();
    for function in passed.functions.values() {
        waits.add(function.phase(Phase::Admission));
    }
    let wait = waits.quantile(0.95).filter(|&wait| wait >= LONG_WAIT_S)?;
    let free = 1.0 - now.admitted_bytes / (now.budget_bytes * now.share).max(1.0);
    let reason = format!(
        "requests waited {} at the 95th percentile while {} of the budget was free",
        time(wait),
        percent(free.max(0.0))
    );
    // Functions compute, so more at once than there are processors helps only where these are idle while all slots are taken, as when a GPU
    // does the work. That is known of a window, not of a whole life with its idle times.
    let idle = before.map(|_| passed.idle_s / seconds / now.cores.max(1.0));
    let all_taken = now.running >= now.max_concurrency;
    let action = if free < FREE {
        let room = now.group_limit_bytes.map_or(now.available_bytes, |limit| {
            now.available_bytes
                .min(limit - now.group_bytes.unwrap_or(0.0))
        });
        match room > now.budget_bytes * FREE {
            true => format!(
                "raise --memory-budget: {} of the machine's memory is available",
                mib(room)
            ),
            false => "give the machine more memory, or lower the functions' memory_mib as far as they allow"
                .to_owned(),
        }
    } else if now.max_concurrency < now.cores {
        format!(
            "raise --max-concurrency from {} to {}, the number of processors",
            now.max_concurrency, now.cores
        )
    } else if let Some(idle) = idle.filter(|&idle| idle >= IDLE && all_taken) {
        format!(
            "raise --max-concurrency above {}: the processors were idle {} of the time",
            now.max_concurrency,
            percent(idle)
        )
    } else {
        format!(
            "add processors or machines: functions compute, and more than {} at once would only share the {} processors",
            now.max_concurrency, now.cores
        )
    };
    Some(Advice::server(reason, action))
}

/// Requests were sent away.
fn refusals(passed: &Snapshot, now: &Snapshot) -> Option<Advice> {
    let reasons = ["queue_full", "waited_too_long"];
    let refused = |reason: &str| {
        let functions = passed.functions.values();
        total(functions.map(|function| function.rejected_for(reason)))
    };
    let [full, late] = reasons.map(refused);
    let all = full + late;
    (all > 0.0).then(|| {
        Advice::server(
            format!(
                "{all} answers were 503: {full} found the queue of {} full, {late} waited too long",
                now.queue_limit
            ),
            "let clients come back after Retry-After, mark what nobody waits for with X-Priority: batch, or add machines"
                .to_owned(),
        )
    })
}

/// Bodies found no room.
fn bodies(passed: &Snapshot) -> Option<Advice> {
    let functions = passed.functions.values();
    let refused = total(functions.map(|function| function.rejected_for("no_room_for_body")));
    (refused > 0.0).then(|| {
        Advice::server(
            format!(
                "{refused} answers were 503 because bodies held {} already",
                mib(passed.bodies_limit_bytes)
            ),
            "send a content-length with each request, which takes no more room than the body, or send fewer at once"
                .to_owned(),
        )
    })
}

fn connections(now: &Snapshot) -> Option<Advice> {
    let crowded = now.connections >= now.connections_limit * CROWDED;
    (crowded && now.connections_limit > 0.0).then(|| {
        Advice::server(
            format!(
                "{} of {} connections are open: others wait to be accepted",
                now.connections, now.connections_limit
            ),
            "let clients close what they do not use, or put a proxy in front".to_owned(),
        )
    })
}

fn spans(passed: &Snapshot) -> Option<Advice> {
    let lost = passed.spans_dropped + passed.spans_failed;
    (lost > 0.0).then(|| {
        Advice::server(
            format!("{lost} spans of traces were not taken by the collector"),
            "look whether the collector at --otlp runs and keeps up".to_owned(),
        )
    })
}

/// Requests needed more memory than they may have.
fn over_memory(name: &str, passed: &Function) -> Option<Advice> {
    let refused = passed.rejected_for("memory_limit");
    let wanted_mib = round_up(passed.limit_bytes / MIB * 1.5).min(MOST_MIB);
    (refused > 0.0).then(|| {
        Advice::of(
            name,
            format!(
                "{refused} answers were 507: they needed more than {}",
                mib(passed.limit_bytes)
            ),
            match wanted_mib * MIB > passed.limit_bytes {
                true => {
                    format!("raise memory_mib in spin.toml to {wanted_mib}, or send smaller inputs")
                }
                false => "send smaller inputs".to_owned(),
            },
        )
    })
}

/// Requests took longer than they may.
fn over_time(name: &str, passed: &Function) -> Option<Advice> {
    let refused = passed.rejected_for("deadline");
    let guest = passed.phase(Phase::Guest).quantile(0.95);
    (refused > 0.0).then(|| {
        Advice::of(
            name,
            format!(
                "{refused} answers were 504; the function takes {} at the 95th percentile",
                guest.map_or("long".to_owned(), time)
            ),
            "raise timeout_s in spin.toml, send smaller inputs, or lower --max-concurrency so that each gets a processor"
                .to_owned(),
        )
    })
}

/// The function failed.
fn failures(name: &str, passed: &Function) -> Option<Advice> {
    let failed = passed.rejected_for("function_failed") + passed.rejected_for("answer_too_large");
    (failed > 0.0).then(|| {
        Advice::of(
            name,
            format!("{failed} answers were 500 because the function failed"),
            "look into the server's log, which has the cause of each with its request's id"
                .to_owned(),
        )
    })
}

/// Compiled code is pushed out of memory and read again.
fn rereading(name: &str, passed: &Function) -> Option<Advice> {
    let each = passed.major_faults / passed.requests().max(1.0);
    (passed.requests() >= ENOUGH && each >= MAJOR_FAULTS).then(|| {
        Advice::of(
            name,
            format!("a request reads {each:.1} pages from the disk: memory is too short to keep its code"),
            "lower --memory-budget, or give the machine more memory".to_owned(),
        )
    })
}

/// The memory image is copied instead of mapped.
fn slow_start(name: &str, passed: &Function) -> Option<Advice> {
    let starts = passed.phase(Phase::Instantiation);
    let start = starts
        .quantile(0.5)
        .filter(|&start| start >= SLOW_START_S)?;
    (starts.count() >= ENOUGH).then(|| {
        Advice::of(
            name,
            format!("half of its instances take more than {} to make: the memory image may be copied instead of mapped", time(start)),
            "compare with `ephemera bench start`, and build the function again".to_owned(),
        )
    })
}

/// The ceiling is far above what was ever taken.
fn ceiling(name: &str, ever: &Function, now: &Snapshot) -> Option<Advice> {
    let limit_mib = ever.limit_bytes / MIB;
    let wanted_mib = round_up(ever.peak_bytes / MIB * ROOM);
    let known = ever.memory.count() >= ENOUGH && ever.rejected_for("memory_limit") == 0.0;
    (known && wanted_mib <= limit_mib * WORTH).then(|| {
        let fit = |ceiling_mib: f64| (now.budget_bytes / MIB / ceiling_mib).floor();
        Advice::of(
            name,
            format!(
                "the ceiling is {limit_mib:.0} MiB, the most it took in {} requests is {:.0}",
                ever.memory.count(),
                ever.peak_bytes / MIB
            ),
            format!(
                "set memory_mib = {wanted_mib} in spin.toml: {} instead of {} would fit into the budget",
                fit(wanted_mib),
                fit(limit_mib)
            ),
        )
    })
}

fn gpu(gpu: &super::snapshot::Gpu) -> Option<Advice> {
    let limit = gpu.limit_bytes?;
    (limit > 0.0 && gpu.own_bytes >= limit * NEARLY_ALL).then(|| Advice {
        about: gpu.device.clone(),
        reason: format!(
            "{} of the {} that it may use are in use",
            mib(gpu.own_bytes),
            mib(limit)
        ),
        action:
            "raise SURYA_GPU_MAX_MEMORY_MB or SURYA_GPU_MEMORY_FRACTION, or use fewer graphs on it"
                .to_owned(),
    })
}

impl Advice {
    fn server(reason: String, action: String) -> Self {
        Self::of("server", reason, action)
    }

    fn of(about: &str, reason: String, action: String) -> Self {
        Self {
            about: about.to_owned(),
            reason,
            action,
        }
    }
}

impl Histogram {
    fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
        } else if self.0.len() == other.0.len() {
            for ((_, count), (_, more)) in self.0.iter_mut().zip(&other.0) {
                *count += more;
            }
        }
    }
}

fn round_up(mib: f64) -> f64 {
    (mib / STEP_MIB).ceil().max(1.0) * STEP_MIB
}

fn mib(bytes: f64) -> String {
    match bytes >= 1024.0 * MIB {
        true => format!("{:.1} GiB", bytes / MIB / 1024.0),
        false => format!("{:.0} MiB", bytes / MIB),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn time(seconds: f64) -> String {
    match seconds >= 1.0 {
        true => format!("{seconds:.1} s"),
        false => format!("{:.0} ms", seconds * 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with one function that has done well, and nothing to say about.
    fn well() -> Snapshot {
        let function = Function {
            statuses: [("200".to_owned(), 100.0)].into(),
            memory: Histogram(vec![(f64::INFINITY, 100.0)]),
            peak_bytes: 100.0 * MIB,
            limit_bytes: 128.0 * MIB,
            ..Function::default()
        };
        Snapshot {
            version: "1".into(),
            started_s: 1000.0,
            seen_s: 1100.0,
            functions: [("gait".to_owned(), function)].into(),
            max_concurrency: 2.0,
            queue_limit: 64.0,
            budget_bytes: 1024.0 * MIB,
            share: 1.0,
            cores: 2.0,
            connections_limit: 512.0,
            machine_bytes: 4096.0 * MIB,
            available_bytes: 2048.0 * MIB,
            ..Snapshot::default()
        }
    }

    fn gait(snapshot: &mut Snapshot) -> &mut Function {
        snapshot.functions.get_mut("gait").expect("it is there")
    }

    /// All of a hundred values between 2 and 4.
    fn long() -> Histogram {
        Histogram(vec![(2.0, 0.0), (4.0, 100.0), (f64::INFINITY, 100.0)])
    }

    fn refused(reason: &str) -> std::collections::BTreeMap<String, f64> {
        [(reason.to_owned(), 3.0)].into()
    }

    type Change = fn(&mut Snapshot);

    #[test]
    fn each_rule_says_what_it_saw_and_what_to_change() {
        let cases: &[(&str, Change, &str, &str, &str)] = &[
            (
                "low peak",
                |now| gait(now).peak_bytes = 54.0 * MIB,
                "gait",
                "the ceiling is 128 MiB, the most it took in 100 requests is 54",
                "memory_mib = 64 in spin.toml: 16 instead of 8 would fit",
            ),
            (
                "507",
                |now| gait(now).rejected = refused("memory_limit"),
                "gait",
                "3 answers were 507: they needed more than 128 MiB",
                "raise memory_mib in spin.toml to 192",
            ),
            (
                "504",
                |now| {
                    gait(now).rejected = refused("deadline");
                    gait(now).phases[Phase::Guest as usize] = long();
                },
                "gait",
                "3 answers were 504; the function takes 3.9 s at the 95th",
                "raise timeout_s",
            ),
            (
                "500",
                |now| gait(now).rejected = refused("function_failed"),
                "gait",
                "3 answers were 500",
                "log",
            ),
            (
                "major faults",
                |now| gait(now).major_faults = 250.0,
                "gait",
                "2.5 pages from the disk",
                "lower --memory-budget",
            ),
            (
                "slow start",
                |now| gait(now).phases[Phase::Instantiation as usize] = long(),
                "gait",
                "more than 3.0 s to make",
                "bench start",
            ),
            (
                "waits, free budget, fewer at once than processors",
                |now| {
                    gait(now).phases[Phase::Admission as usize] = long();
                    now.max_concurrency = 1.0;
                    now.admitted_bytes = 0.6 * now.budget_bytes;
                },
                "server",
                "waited 3.9 s at the 95th percentile while 40 % of the budget was free",
                "raise --max-concurrency from 1 to 2",
            ),
            (
                "waits, free budget, as many at once as processors",
                |now| {
                    gait(now).phases[Phase::Admission as usize] = long();
                    now.running = 2.0;
                    now.idle_s = 190.0;
                },
                "server",
                "while 100 % of the budget was free",
                "add processors or machines: functions compute, and more than 2 at once",
            ),
            (
                "waits, full budget, memory to be had",
                |now| {
                    gait(now).phases[Phase::Admission as usize] = long();
                    now.admitted_bytes = now.budget_bytes;
                },
                "server",
                "while 0 % of the budget was free",
                "raise --memory-budget: 2.0 GiB of the machine's memory is available",
            ),
            (
                "waits, full budget, nothing to be had",
                |now| {
                    gait(now).phases[Phase::Admission as usize] = long();
                    now.admitted_bytes = now.budget_bytes;
                    now.available_bytes = 100.0 * MIB;
                },
                "server",
                "while 0 % of the budget was free",
                "more memory, or lower the functions' memory_mib",
            ),
            (
                "503",
                |now| gait(now).rejected = refused("queue_full"),
                "server",
                "3 answers were 503: 3 found the queue of 64 full, 0 waited",
                "X-Priority: batch",
            ),
            (
                "bodies",
                |now| {
                    gait(now).rejected = refused("no_room_for_body");
                    now.bodies_limit_bytes = 64.0 * MIB;
                },
                "server",
                "3 answers were 503 because bodies held 64 MiB",
                "content-length",
            ),
            (
                "pressure",
                |now| {
                    now.share = 0.5;
                    now.pressure = Some(0.25);
                },
                "server",
                "50 % of the budget is given out, and something waited for memory in 25 %",
                "lower --memory-budget to 512 MiB",
            ),
            (
                "control group",
                |now| now.group_limit_bytes = Some(768.0 * MIB),
                "server",
                "the budget is 1.0 GiB, the control group's limit 768 MiB",
                "lower --memory-budget to 704 MiB",
            ),
            (
                "connections",
                |now| now.connections = 500.0,
                "server",
                "500 of 512 connections",
                "proxy",
            ),
            (
                "spans",
                |now| now.spans_dropped = 4.0,
                "server",
                "4 spans",
                "--otlp",
            ),
            (
                "GPU",
                |now| {
                    now.gpus = vec![super::super::snapshot::Gpu {
                        device: "cuda:0".into(),
                        own_bytes: 95.0 * MIB,
                        limit_bytes: Some(100.0 * MIB),
                        ..Default::default()
                    }];
                },
                "cuda:0",
                "95 MiB of the 100 MiB",
                "SURYA_GPU_MAX_MEMORY_MB",
            ),
        ];
        for (name, change, about, reason, action) in cases {
            let mut now = well();
            change(&mut now);
            let advice = advise(None, &now);
            let [one] = advice.as_slice() else {
                panic!("{name}: {advice:?}");
            };
            assert_eq!(one.about, *about, "{name}");
            assert!(one.reason.contains(reason), "{name}: {}", one.reason);
            assert!(one.action.contains(action), "{name}: {}", one.action);
        }
    }

    #[test]
    fn who_does_well_or_is_hardly_known_hears_nothing() {
        let cases: &[(&str, Change)] = &[
            ("as it is", |_| {}),
            ("few requests", |now| {
                gait(now).peak_bytes = MIB;
                gait(now).memory = Histogram(vec![(f64::INFINITY, 19.0)]);
            }),
            ("little to save", |now| gait(now).peak_bytes = 90.0 * MIB),
            ("a short wait", |now| {
                let short = vec![(0.5, 100.0), (f64::INFINITY, 100.0)];
                gait(now).phases[Phase::Admission as usize] = Histogram(short);
            }),
            ("a wide control group", |now| {
                now.group_limit_bytes = Some(4096.0 * MIB)
            }),
        ];
        for (name, change) in cases {
            let mut now = well();
            change(&mut now);
            assert_eq!(advise(None, &now), [], "{name}");
        }
    }

    /// Of a window it is known whether processors were idle while requests waited.
    #[test]
    fn more_at_once_helps_where_processors_are_idle() {
        let before = well();
        for (running, idle_s, expected) in [
            (
                2.0,
                30.0,
                "raise --max-concurrency above 2: the processors were idle 75 %",
            ),
            (2.0, 10.0, "add processors"),
            (1.0, 30.0, "add processors"),
        ] {
            let mut now = well();
            now.seen_s += 20.0;
            now.running = running;
            now.idle_s = idle_s;
            gait(&mut now).phases[Phase::Admission as usize] = long();
            let mut before = before.clone();
            let none = long().0.into_iter().map(|(bound, _)| (bound, 0.0));
            gait(&mut before).phases[Phase::Admission as usize] = Histogram(none.collect());
            let advice = advise(Some(&before), &now);
            assert!(
                advice[0].action.starts_with(expected),
                "{running} {idle_s}: {advice:?}"
            );
        }
    }

    #[test]
    fn what_was_before_the_window_is_not_told_again() {
        let mut before = well();
        gait(&mut before).rejected = refused("queue_full");
        let now = Snapshot {
            seen_s: before.seen_s + 30.0,
            ..before.clone()
        };
        assert_eq!(advise(Some(&before), &now), []);
        assert_eq!(advise(None, &now).len(), 1);
    }
}
