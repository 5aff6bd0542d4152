//! A server and a keyboard -> one view after another, until somebody has seen enough.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::frame::Frame;
use super::snapshot::Snapshot;
use super::view::View;
use super::{Options, Server, plain};

/// Snapshots that are kept of a window, about.
const KEPT: f64 = 256.0;

/// Looks at the server again and again. A terminal is drawn on and takes keys; anything else gets one frame of lines after another. A server
/// that is away is waited for.
///
/// # Errors
///
/// An address that is none, or a terminal or output that fails.
pub fn watch(executor: &tokio::runtime::Runtime, options: &Options) -> Result<()> {
    let watcher = Watcher {
        executor,
        server: Server::new(&options.url)?,
        options,
        seen: VecDeque::new(),
    };
    // What knows no cursor cannot be drawn on.
    let dumb = std::env::var("TERM").map_or(true, |term| term.is_empty() || term == "dumb");
    let terminals = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    match terminals && !dumb {
        true => on_terminal(watcher),
        false => in_lines(watcher),
    }
}

struct Watcher<'a> {
    executor: &'a tokio::runtime::Runtime,
    server: Server,
    options: &'a Options,
    /// What was seen within the window, the oldest first.
    seen: VecDeque<Snapshot>,
}

impl Watcher<'_> {
    /// Looks, and puts what it saw, or why it saw nothing, into `view`.
    fn look(&mut self, view: &mut View) {
        match self.executor.block_on(self.server.look()) {
            Ok(now) => {
                view.frame = Some(self.frame(now));
                view.away = None;
            }
            Err(error) => {
                let url = &self.server.url;
                view.away = Some(format!("{url} is away: {error:#}; trying again"));
            }
        }
    }

    fn frame(&mut self, now: Snapshot) -> Frame {
        // Another life of the server has counts of its own.
        let begins = now.seen_s - self.options.window.as_secs_f64();
        let too_old = |seen: &Snapshot| seen.started_s != now.started_s || seen.seen_s < begins;
        while self.seen.front().is_some_and(too_old) {
            self.seen.pop_front();
        }
        let frame = Frame::of(&self.server.url, self.seen.front(), &now);
        // A long window needs no more than some hundreds of them.
        let apart = self.options.window.as_secs_f64() / KEPT;
        let last = self.seen.back();
        if last.is_none_or(|last| now.seen_s - last.seen_s >= apart) {
            self.seen.push_back(now);
        }
        frame
    }
}

fn in_lines(mut watcher: Watcher<'_>) -> Result<()> {
    let mut out = std::io::stdout();
    let mut view = View::default();
    loop {
        watcher.look(&mut view);
        let text = match (&view.away, &view.frame) {
            (Some(away), _) => format!("{away}\n"),
            (None, Some(frame)) => plain::text(frame),
            (None, None) => String::new(),
        };
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            // Who read has had enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("printing")?,
        }
        std::thread::sleep(watcher.options.interval);
    }
}

fn on_terminal(mut watcher: Watcher<'_>) -> Result<()> {
    let mut terminal = ratatui::try_init().context("taking the terminal")?;
    let watched = (|| {
        let mut view = View::default();
        loop {
            if !view.paused {
                watcher.look(&mut view);
            }
            let next = Instant::now() + watcher.options.interval;
            loop {
                terminal.draw(|screen| view.draw(screen))?;
                let left = next.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if wait_for_key(&mut view, left)? {
                    return Ok(());
                }
            }
        }
    })();
    ratatui::try_restore().context("giving the terminal back")?;
    watched
}

/// Waits for a key or a new size of the terminal; returns whether it was the key to leave.
fn wait_for_key(view: &mut View, at_most: Duration) -> Result<bool> {
    if !event::poll(at_most)? {
        return Ok(false);
    }
    let Event::Key(key) = event::read()? else {
        return Ok(false);
    };
    if key.kind != KeyEventKind::Press {
        return Ok(false);
    }
    Ok(pressed(view, key.code, key.modifiers))
}

/// What the key `code` does to `view`; whether it is the one to leave.
fn pressed(view: &mut View, code: KeyCode, modifiers: KeyModifiers) -> bool {
    let interrupt = code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
    match code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('s') => view.order = view.order.next(),
        KeyCode::Char('p' | ' ') => view.paused = !view.paused,
        _ => {}
    }
    interrupt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::frame::Order;

    #[test]
    fn keys_sort_pause_and_leave() {
        let mut view = View::default();
        let none = KeyModifiers::NONE;
        assert!(!pressed(&mut view, KeyCode::Char('s'), none));
        assert!(!pressed(&mut view, KeyCode::Char('p'), none));
        assert_eq!((view.order, view.paused), (Order::Rate, true));
        assert!(!pressed(&mut view, KeyCode::Char(' '), none));
        assert!(!view.paused);
        for _ in 0..3 {
            pressed(&mut view, KeyCode::Char('s'), none);
        }
        assert_eq!(view.order, Order::Name);
        assert!(!pressed(&mut view, KeyCode::Char('c'), none));
        for (code, modifiers) in [
            (KeyCode::Char('q'), none),
            (KeyCode::Esc, none),
            (KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            assert!(pressed(&mut view, code, modifiers), "{code:?}");
        }
    }
}
