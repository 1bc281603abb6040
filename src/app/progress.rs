//! The progress bar on standard error: only on a terminal, only when not quiet.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;

/// Shows how far reading has come.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    calls: u32,
}

/// Frames between two looks at the position.
const EVERY: u32 = 16_384;

impl Progress {
    /// A bar over `total` bytes; a count of bytes where the total isn't known.
    pub(super) fn new(total: Option<u64>, quiet: bool) -> Self {
        if quiet || !std::io::stderr().is_terminal() {
            return Self { bar: None, calls: 0 };
        }
        let template = if total.is_some() {
            "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        } else {
            "{spinner} {bytes} {bytes_per_sec}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10)).with_style(style);
        Self { bar: Some(bar), calls: 0 }
    }

    /// One more frame; `position` is asked now and then.
    pub(super) fn step(&mut self, position: impl FnOnce() -> u64) {
        let Some(bar) = &self.bar else { return };
        self.calls += 1;
        if self.calls >= EVERY {
            self.calls = 0;
            bar.set_position(position());
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
