//! How far it is, on a terminal.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::input::Position;

/// How far it is; hidden where standard error is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    position: Position,
    started: Instant,
}

impl Progress {
    /// Shows nothing, as one request is soon done.
    pub(super) fn hidden() -> Self {
        Self::of(ProgressBar::hidden(), Position::default())
    }

    /// Shows how much of the file is read, and how long the rest will take.
    pub(super) fn shown(position: Position) -> Self {
        let (bar, template) = match position.size {
            Some(size) => (
                ProgressBar::new(size),
                "{bar:30} {percent:>3}%  {msg}  {eta} left",
            ),
            None => (ProgressBar::no_length(), "{spinner} {msg}  {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::of(bar, position)
    }

    fn of(bar: ProgressBar, position: Position) -> Self {
        Self {
            bar,
            position,
            started: Instant::now(),
        }
    }

    /// So many requests are done.
    pub(super) fn set(&self, done: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let rate = done as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        self.bar
            .set_message(format!("{done} rows, {rate:.0} per second"));
        self.bar.set_position(self.position.read());
    }

    /// Does something that prints.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes it from the terminal.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
