//! A frame -> lines of text, and the words that the terminal's view shares with them.

use std::fmt::Write;

use super::frame::{Frame, Row, Times};
use super::snapshot::Gpu;

/// The columns of functions.
pub(super) const HEADERS: [&str; 12] = [
    "function",
    "req/s",
    "requests",
    "4xx",
    "5xx",
    "total ms",
    "body",
    "wait",
    "start",
    "guest",
    "cpu ms",
    "peak / ceiling MiB",
];

/// What the columns of times show.
pub(super) const TIMES: &str = "times are p50/p95 in ms";

const MIB: f64 = 1_048_576.0;

/// The whole frame.
pub(super) fn text(frame: &Frame) -> String {
    let mut text = format!("{}\n{}\n", title(frame), load(frame));
    for line in [budget(frame), memory(frame)] {
        text.push_str(&line);
        text.push('\n');
    }
    for gpu in &frame.gpus {
        text.push_str(&gpu_line(gpu));
        text.push('\n');
    }
    text.push('\n');
    table(&frame.functions, &mut text);
    text.push_str(TIMES);
    text.push('\n');
    if !frame.advice.is_empty() {
        text.push_str("\nrecommendations\n");
    }
    for advice in &frame.advice {
        line(
            &mut text,
            format_args!("- {}: {}\n  {}", advice.about, advice.reason, advice.action),
        );
    }
    text
}

/// Which server, and of when.
pub(super) fn title(frame: &Frame) -> String {
    format!(
        "ephemera {} at {}, up {}, the last {}",
        frame.version,
        frame.url,
        age(frame.up_s),
        age(frame.window_s)
    )
}

/// What runs and what waits.
pub(super) fn load(frame: &Frame) -> String {
    format!(
        "running {}/{}   queue {}/{}   instances {} (most {})   connections {}/{}   bodies {}/{} MiB",
        frame.running,
        frame.max_concurrency,
        frame.queue,
        frame.queue_limit,
        frame.instances,
        frame.most_instances,
        frame.connections,
        frame.connections_limit,
        mib(frame.bodies_bytes),
        mib(frame.bodies_limit_bytes)
    )
}

/// What of the budget is given out.
pub(super) fn budget(frame: &Frame) -> String {
    let share = match frame.budget_share < 1.0 {
        true => format!(" (given out: {:.0} %)", frame.budget_share * 100.0),
        false => String::new(),
    };
    format!(
        "budget {} of {} MiB{share}   processors {:.2} of {}",
        mib(frame.admitted_bytes),
        mib(frame.budget_bytes),
        frame.busy_cores,
        frame.cores
    )
}

/// Memory of the process and around it.
pub(super) fn memory(frame: &Frame) -> String {
    let mut text = format!(
        "process {:.1} MiB anonymous, {} of files   machine {} of {} MiB available",
        frame.anonymous_bytes / MIB,
        mib(frame.file_bytes),
        mib(frame.available_bytes),
        mib(frame.machine_bytes)
    );
    if let (Some(held), Some(limit)) = (frame.cgroup_bytes, frame.cgroup_limit_bytes) {
        append(
            &mut text,
            format_args!("   cgroup {} of {} MiB", mib(held), mib(limit)),
        );
    }
    if let Some(pressure) = frame.memory_pressure {
        append(
            &mut text,
            format_args!("   pressure {:.0} %", pressure * 100.0),
        );
    }
    text
}

/// One GPU.
pub(super) fn gpu_line(gpu: &Gpu) -> String {
    let mut text = format!(
        "{} {}: {} of {} MiB in use, {} by this server",
        gpu.device,
        gpu.name,
        mib(gpu.used_bytes),
        mib(gpu.total_bytes),
        mib(gpu.own_bytes)
    );
    if let Some(limit) = gpu.limit_bytes {
        append(&mut text, format_args!(" (may use {})", mib(limit)));
    }
    if let Some(utilisation) = gpu.utilisation {
        append(
            &mut text,
            format_args!(", {:.0} % busy", utilisation * 100.0),
        );
    }
    text
}

/// A row's cells, under [`HEADERS`].
pub(super) fn cells(row: &Row) -> [String; HEADERS.len()] {
    let name = match row.function.as_str() {
        "" => "(no route)",
        name => name,
    };
    let memory = match row.limit_bytes > 0.0 {
        true => format!("{} / {}", mib(row.peak_bytes), mib(row.limit_bytes)),
        false => "-".to_owned(),
    };
    [
        name.to_owned(),
        format!("{:.1}", row.per_second),
        row.requests.to_string(),
        row.refused.to_string(),
        row.failed.to_string(),
        times(row.total),
        times(row.body),
        times(row.admission),
        times(row.instantiation),
        times(row.guest),
        row.cpu_ms.map_or("-".to_owned(), milliseconds),
        memory,
    ]
}

/// How wide each column is, its header included.
pub(super) fn widths(lines: &[[String; HEADERS.len()]]) -> [usize; HEADERS.len()] {
    std::array::from_fn(|column| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        let header = HEADERS[column].chars().count();
        cells.fold(header, usize::max)
    })
}

fn table(rows: &[Row], text: &mut String) {
    let mut lines = vec![HEADERS.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let widths = widths(&lines);
    for cells in &lines {
        let [name, rest @ ..] = cells;
        append(text, format_args!("{name:<0$}", widths[0]));
        for (cell, width) in rest.iter().zip(&widths[1..]) {
            append(text, format_args!("  {cell:>width$}"));
        }
        text.push('\n');
    }
}

fn times(times: Times) -> String {
    match (times.p50_ms, times.p95_ms) {
        (Some(half), Some(most)) => format!("{}/{}", milliseconds(half), milliseconds(most)),
        _ => "-".to_owned(),
    }
}

/// Two digits that count.
fn milliseconds(time: f64) -> String {
    match time {
        time if time >= 10.0 => format!("{time:.0}"),
        time if time >= 1.0 => format!("{time:.1}"),
        time => format!("{time:.2}"),
    }
}

fn mib(bytes: f64) -> String {
    format!("{:.0}", bytes / MIB)
}

fn age(seconds: f64) -> String {
    match seconds as u64 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    append(text, arguments);
    text.push('\n');
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes anything");
}
