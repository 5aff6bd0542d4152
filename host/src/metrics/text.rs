//! Families of samples -> text: Prometheus 0.0.4, or OpenMetrics 1.0 for who asks for it.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>. The formats differ in how a counter's family is
//! named, in their end and in their content type.

use std::fmt::Write;

use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// What the text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What the `Accept` of `headers` asks for; weights are Prometheus's business, which prefers OpenMetrics wherever it names it.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(ACCEPT).iter();
        let open = accepted.any(|value| {
            let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
            let mut ranges = value.split(',');
            ranges.any(|range| is_acceptable(range, "application/openmetrics-text"))
        });
        match open {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Whether `range` names `kind`, and not with a weight of 0.
fn is_acceptable(range: &str, kind: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let named = parts.next() == Some(kind);
    let refused = |part: &str| {
        let weight = part.strip_prefix("q=").map(str::parse::<f64>);
        weight.is_some_and(|weight| weight == Ok(0.0))
    };
    named && !parts.any(refused)
}

/// What a family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows. Its samples end in `_total`, which is added.
    Counter,
    Gauge,
    Histogram,
}

/// Text in the making.
pub(crate) struct Text {
    format: Format,
    out: String,
}

/// A family, whose samples come next.
pub(crate) struct Family<'a> {
    out: &'a mut String,
    kind: Kind,
    name: &'a str,
}

impl Text {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            out: String::with_capacity(32 << 10),
        }
    }

    /// Begins the family `name`. `help` is one line of plain text.
    pub(crate) fn family<'a>(&'a mut self, kind: Kind, name: &'a str, help: &str) -> Family<'a> {
        let suffix = match (kind, self.format) {
            (Kind::Counter, Format::Prometheus) => "_total",
            _ => "",
        };
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        write(
            &mut self.out,
            format_args!("# HELP {name}{suffix} {help}\n"),
        );
        write(
            &mut self.out,
            format_args!("# TYPE {name}{suffix} {word}\n"),
        );
        Family {
            out: &mut self.out,
            kind,
            name,
        }
    }

    /// The whole of it.
    pub(crate) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

impl Family<'_> {
    /// A sample of a counter or a gauge.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.line(suffix, labels, None, value);
    }

    /// So many observations of a histogram are at most `bound`.
    pub(super) fn bucket(&mut self, labels: &[(&str, &str)], bound: f64, count: u64) {
        self.line("_bucket", labels, Some(bound), count as f64);
    }

    /// Ends a histogram.
    pub(super) fn sum_and_count(&mut self, labels: &[(&str, &str)], sum: f64, count: u64) {
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count as f64);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<f64>, value: f64) {
        let out = &mut *self.out;
        write(out, format_args!("{}{suffix}", self.name));
        let mut before = '{';
        for (name, value) in labels {
            write(out, format_args!("{before}{name}=\"{}\"", Escaped(value)));
            before = ',';
        }
        match bound {
            Some(bound) if bound.is_infinite() => write(out, format_args!("{before}le=\"+Inf\"}}")),
            // With its point: both formats read it, and one wants it.
            Some(bound) => write(out, format_args!("{before}le=\"{bound:?}\"}}")),
            None if before == ',' => out.push('}'),
            None => {}
        }
        write(out, format_args!(" {value}\n"));
    }
}

/// A label's value between quotes.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

fn write(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a string takes anything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut text = Text::new(format);
        let mut family = text.family(Kind::Counter, "a", "Counts.");
        family.sample(&[("of", "x\"\\\n")], 3.0);
        text.family(Kind::Gauge, "b", "Is.").sample(&[], 0.5);
        let mut family = text.family(Kind::Histogram, "c", "Spreads.");
        family.bucket(&[("of", "x")], 1.0, 1);
        family.bucket(&[], f64::INFINITY, 2);
        family.sum_and_count(&[], 1.5, 2);
        text.end()
    }

    #[test]
    fn families_are_written_as_the_formats_have_them() {
        let samples = [
            "a_total{of=\"x\\\"\\\\\\n\"} 3\n",
            "# HELP b Is.\n# TYPE b gauge\nb 0.5\n",
            "# HELP c Spreads.\n# TYPE c histogram\nc_bucket{of=\"x\",le=\"1.0\"} 1\n",
            "c_bucket{le=\"+Inf\"} 2\nc_sum 1.5\nc_count 2\n",
        ];
        assert_eq!(
            written(Format::Prometheus),
            format!(
                "# HELP a_total Counts.\n# TYPE a_total counter\n{}",
                samples.concat()
            )
        );
        assert_eq!(
            written(Format::OpenMetrics),
            format!(
                "# HELP a Counts.\n# TYPE a counter\n{}# EOF\n",
                samples.concat()
            )
        );
    }

    #[test]
    fn the_format_is_the_one_asked_for() {
        for (accept, expected) in [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some("text/plain;version=0.0.4"), Format::Prometheus),
            (
                Some("application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"),
                Format::OpenMetrics,
            ),
            (
                Some("text/plain, Application/OpenMetrics-Text; version=1.0.0"),
                Format::OpenMetrics,
            ),
            (Some("application/openmetrics-text;q=0"), Format::Prometheus),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().expect("a header"));
            }
            assert_eq!(Format::accepted(&headers), expected, "{accept:?}");
        }
    }
}
