//! Lines of the log, on standard error: text for people, or one JSON object each for programs.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// What lines look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object a line: `timestamp`, `level`, `target`, `message` and the line's own fields.
    Json,
}

/// From here on, lines of this process are written to standard error. `EPHEMERA_LOG` says which, by the syntax of `tracing`'s filters; `info`
/// and above without it.
pub fn start(format: Format) {
    // An empty variable is one that is not set.
    let said = std::env::var("EPHEMERA_LOG").ok();
    let said = said.filter(|said| !said.trim().is_empty());
    let filter = said.and_then(|said| EnvFilter::try_new(said).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    match format {
        Format::Text => text(filter, ansi).init(),
        Format::Json => json(filter, std::io::stderr).init(),
    }
}

fn text(filter: EnvFilter, ansi: bool) -> impl Subscriber + Send + Sync {
    fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(std::io::stderr)
        .finish()
}

fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::telemetry::record::tests::record;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `act` makes, each of them one JSON object.
    fn logged(filter: &str, act: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = json(EnvFilter::new(filter), move || writer.clone());
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().expect("whole").clone();
        let text = String::from_utf8(bytes).expect("JSON is UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    #[test]
    fn an_access_line_has_the_fields_that_programs_read() {
        let mut one = record("ocr", 200);
        one.path = "/a\"\n\u{1b}[2J".into();
        one.phases[3] = Some((
            std::time::Duration::ZERO,
            std::time::Duration::from_micros(1500),
        ));
        let lines = logged("info", || super::super::access::log(&one, true));
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        for (field, expected) in [
            ("level", Value::from("INFO")),
            ("target", "ephemera::access".into()),
            ("message", "request".into()),
            ("method", "POST".into()),
            ("path", "/a\"\n\u{1b}[2J".into()),
            ("status", 200.into()),
            ("function", "ocr".into()),
            ("priority", "interactive".into()),
            ("total_ms", 40.0.into()),
            ("guest_ms", 1.5.into()),
            ("peak_memory_bytes", 0.into()),
            ("request_id", "id-1".into()),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736".into()),
            ("span_id", "0000000000000002".into()),
        ] {
            assert_eq!(line[field], expected, "{field} of {line}");
        }
        assert!(line["timestamp"].is_string());
        for absent in ["reason", "device", "body_ms"] {
            assert!(line.get(absent).is_none(), "{absent} of {line}");
        }
    }

    #[test]
    fn what_went_well_is_logged_for_who_asks() {
        for (status, all, filter, expected) in [
            (200, false, "info", 0),
            (200, true, "info", 1),
            (200, false, "ephemera::access=debug", 1),
            (404, false, "info", 1),
            (499, false, "info", 1),
            (503, false, "warn", 0),
        ] {
            let one = record("ocr", status);
            let lines = logged(filter, || super::super::access::log(&one, all));
            assert_eq!(lines.len(), expected, "{status} {all} {filter}");
        }
    }
}
