//! One line per step: a spinner on a terminal, plain lines without one.

use std::io::{self, IsTerminal, Read};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where steps are shown: standard error, so that standard output stays clean for results.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
}

/// A step under way. Dropped without [`Step::done`] it counts as failed and its line is left standing.
#[derive(Debug)]
pub struct Step {
    name: &'static str,
    began: Instant,
    bar: Option<ProgressBar>,
    finished: bool,
}

impl Progress {
    /// Finds out whether a person is watching.
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// A progress display that shows plain lines only.
    pub const fn plain() -> Self {
        Self { terminal: false }
    }

    /// Begins a step; `doing` says what happens, as "fetch and install packages".
    pub fn step(&self, name: &'static str, doing: &str) -> Step {
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<10} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_prefix(name);
            bar.set_message(doing.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Step {
            name,
            began: Instant::now(),
            bar,
            finished: false,
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Step {
    /// Shows how far a countable step is: a bar on a terminal, nothing without one.
    pub fn advance(&self, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if bar.length() != Some(total) {
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix:<10} {msg} {wide_bar} {bytes}/{total_bytes} {elapsed}")
            {
                bar.set_style(style);
            }
            bar.set_length(total);
        }
        bar.set_position(done);
    }

    /// `reader`, of which `total` bytes are to be read, with how far that is shown as by [`Self::advance`].
    pub fn follow<R: Read>(&self, reader: R, total: u64) -> Followed<'_, R> {
        Followed {
            step: self,
            reader,
            done: 0,
            total,
        }
    }

    /// Ends the step; `outcome` says what came of it, as "312 packages".
    pub fn done(mut self, outcome: &str) {
        self.finished = true;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        eprintln!(
            "{:<10} {:>6.1} s  {outcome}",
            self.name,
            self.began.elapsed().as_secs_f64()
        );
    }
}

/// See [`Step::follow`].
#[derive(Debug)]
pub struct Followed<'a, R> {
    step: &'a Step,
    reader: R,
    done: u64,
    total: u64,
}

impl<R: Read> Read for Followed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.done += read as u64;
        self.step.advance(self.done, self.total);
        Ok(read)
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
            eprintln!(
                "{:<10} {:>6.1} s  failed",
                self.name,
                self.began.elapsed().as_secs_f64()
            );
        }
    }
}
