//! A frame -> a terminal's cells.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, LineGauge, Paragraph, Row, Table, Wrap};

use super::frame::{Frame, Order};
use super::plain;

/// What keys do.
const KEYS: &str = "q quit   s sort   p pause";

/// All that is on the screen.
#[derive(Debug, Default)]
pub(super) struct View {
    /// What was seen last.
    pub(super) frame: Option<Frame>,
    /// Why nothing newer was seen.
    pub(super) away: Option<String>,
    pub(super) order: Order,
    pub(super) paused: bool,
}

impl View {
    /// Draws it.
    pub(super) fn draw(&self, screen: &mut ratatui::Frame<'_>) {
        let [top, bottom] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(screen.area());
        match &self.frame {
            Some(frame) => self.draw_frame(frame, screen, top),
            None => {
                let waiting = self.away.as_deref().unwrap_or("asking");
                screen.render_widget(Paragraph::new(waiting).wrap(Wrap { trim: true }), top);
            }
        }
        screen.render_widget(self.footer(), bottom);
    }

    fn draw_frame(&self, frame: &Frame, screen: &mut ratatui::Frame<'_>, area: Rect) {
        let mut rows = frame.functions.clone();
        self.order.sort(&mut rows);
        let [title, load, budget, memory, gpus, _, table, _, advice] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(length(frame.gpus.len())),
            Constraint::Length(1),
            Constraint::Length(length(rows.len() + 2)),
            Constraint::Length(1),
            Constraint::Min(0),
        ])
        .areas(area);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        screen.render_widget(Line::styled(plain::title(frame), bold), title);
        screen.render_widget(Line::raw(plain::load(frame)), load);
        draw_budget(frame, screen, budget);
        screen.render_widget(Line::raw(plain::memory(frame)), memory);
        let lines: Vec<_> = frame
            .gpus
            .iter()
            .map(plain::gpu_line)
            .map(Line::raw)
            .collect();
        screen.render_widget(Paragraph::new(lines), gpus);
        let [cells, legend] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(table);
        screen.render_widget(functions(&rows), cells);
        let dim = Style::new().add_modifier(Modifier::DIM);
        let said = format!("{}; in order of {}", plain::TIMES, self.order.name());
        screen.render_widget(Line::styled(said, dim), legend);
        screen.render_widget(advice_of(frame), advice);
    }

    fn footer(&self) -> Line<'_> {
        let mut spans = vec![Span::styled(KEYS, Style::new().add_modifier(Modifier::DIM))];
        if self.paused {
            spans.push(Span::styled("   paused", Style::new().fg(Color::Yellow)));
        }
        if let Some(away) = &self.away {
            let red = Style::new().fg(Color::Red);
            spans.push(Span::styled(format!("   {away}"), red));
        }
        Line::from(spans)
    }
}

fn draw_budget(frame: &Frame, screen: &mut ratatui::Frame<'_>, area: Rect) {
    let [bar, words] = Layout::horizontal([Constraint::Length(24), Constraint::Min(0)]).areas(area);
    let ratio = frame.admitted_bytes / frame.budget_bytes.max(1.0);
    // What is no number draws as nothing.
    let ratio = if ratio.is_finite() {
        ratio.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let colour = match ratio {
        ratio if ratio >= 0.9 => Color::Red,
        ratio if ratio >= 0.7 => Color::Yellow,
        _ => Color::Green,
    };
    let bar_of = LineGauge::default()
        .ratio(ratio)
        .filled_style(Style::new().fg(colour));
    screen.render_widget(bar_of, bar);
    screen.render_widget(Line::raw(format!(" {}", plain::budget(frame))), words);
}

fn functions(rows: &[super::frame::Row]) -> Table<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let cells: Vec<_> = rows.iter().map(plain::cells).collect();
    let widths = plain::widths(&cells).map(|width| Constraint::Length(length(width)));
    let lines = rows.iter().zip(cells).map(|(row, cells)| {
        let style = match row.failed > 0.0 {
            true => Style::new().fg(Color::Red),
            false => Style::new(),
        };
        let [name, rest @ ..] = cells;
        let rest = rest.map(|cell| Cell::from(Line::from(cell).right_aligned()));
        Row::new(std::iter::once(Cell::from(name)).chain(rest)).style(style)
    });
    let [name, rest @ ..] = plain::HEADERS;
    let rest = rest.map(|header| Cell::from(Line::from(header).right_aligned()));
    let header = Row::new(std::iter::once(Cell::from(name)).chain(rest));
    Table::new(lines, widths)
        .header(header.style(bold))
        .column_spacing(2)
}

fn advice_of(frame: &Frame) -> Paragraph<'static> {
    let mut lines = vec![];
    for advice in &frame.advice {
        let about = Span::styled(
            format!("{}: ", advice.about),
            Style::new().fg(Color::Yellow),
        );
        lines.push(Line::from(vec![about, Span::raw(advice.reason.clone())]));
        lines.push(Line::raw(format!("  -> {}", advice.action)));
    }
    Paragraph::new(lines).wrap(Wrap { trim: false })
}

fn length(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::top::samples::Samples;
    use crate::top::snapshot::Snapshot;

    const METRICS: &str = "\
        ephemera_build_info{version=\"1.2.3\"} 1\n\
        ephemera_budget_bytes 104857600\nephemera_admitted_bytes 52428800\n\
        ephemera_running_requests 1\nephemera_max_concurrency 2\nephemera_queue_limit 64\n\
        ephemera_requests_total{function=\"ocr\",status=\"200\"} 30\n\
        ephemera_requests_total{function=\"ocr\",status=\"503\"} 2\n\
        ephemera_rejected_requests_total{function=\"ocr\",reason=\"queue_full\"} 2\n\
        ephemera_request_duration_seconds_bucket{function=\"ocr\",le=\"0.01\"} 32\n\
        ephemera_request_duration_seconds_bucket{function=\"ocr\",le=\"+Inf\"} 32\n\
        ephemera_request_duration_seconds_count{function=\"ocr\"} 32\n\
        ephemera_memory_peak_bytes{function=\"ocr\"} 20971520\n\
        ephemera_memory_limit_bytes{function=\"ocr\"} 134217728\n\
        ephemera_request_duration_seconds_count{function=\"gait\"} 0\n\
        ephemera_gpu_info{device=\"cuda:0\",name=\"H200\"} 1\n\
        ephemera_gpu_memory_used_bytes{device=\"cuda:0\"} 1048576\n";

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a backend");
        terminal.draw(|screen| view.draw(screen)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let cells: Vec<_> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let lines = cells
            .chunks(width.into())
            .map(|line| line.concat().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn view() -> View {
        let snapshot = Snapshot::of(&Samples::parse(METRICS).expect("valid"));
        View {
            frame: Some(Frame::of("http://a:1", None, &snapshot)),
            ..View::default()
        }
    }

    #[test]
    fn a_screen_shows_functions_budget_gpus_and_advice() {
        let screen = drawn(&view(), 140, 24);
        for part in [
            "ephemera 1.2.3 at http://a:1",
            "running 1/2   queue 0/64",
            "budget 50 of 100 MiB",
            "cuda:0 H200: 1 of 0 MiB in use",
            "ocr ",
            "5.0/9.5",
            "20 / 128",
            "2 answers were 503: 2 found the queue of 64 full",
            "-> let clients come back",
            "q quit   s sort   p pause",
        ] {
            assert!(screen.contains(part), "{part} in\n{screen}");
        }
        let place = |name: &str| screen.find(name).expect(name);
        assert!(place("\ngait") < place("\nocr"));
        let by_rate = View {
            order: Order::Rate,
            ..view()
        };
        let screen = drawn(&by_rate, 140, 24);
        assert!(screen.find("\nocr") < screen.find("\ngait"), "{screen}");
    }

    #[test]
    fn a_server_that_is_away_leaves_what_was_seen_last() {
        let mut view = view();
        view.away = Some("no answer".to_owned());
        view.paused = true;
        let screen = drawn(&view, 140, 24);
        assert!(screen.contains("no answer") && screen.contains("20 / 128"));
        assert!(screen.contains("paused"));
        view.frame = None;
        assert!(drawn(&view, 60, 5).starts_with("no answer"));
    }

    #[test]
    fn any_size_of_screen_will_do() {
        for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 100)] {
            drawn(&view(), width, height);
            drawn(&View::default(), width, height);
        }
    }

    #[test]
    fn plain_text_says_the_same() {
        let text = plain::text(&view().frame.expect("a frame"));
        let table: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("ocr"))
            .collect();
        let [row] = table.as_slice() else {
            panic!("{text}");
        };
        assert!(row.ends_with("20 / 128"), "{row}");
        assert!(text.contains("recommendations\n- server: 2 answers were 503"));
        assert!(text.is_ascii(), "for any terminal");
    }
}
