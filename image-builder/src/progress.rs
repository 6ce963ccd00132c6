//! One line per step: a spinner on a terminal, plain lines without one.

use std::io::{self, IsTerminal, Read};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How a step looks that cannot be counted, that counts bytes, and that counts things.
const PLAIN: &str = "{spinner} {prefix:<10} {msg} {elapsed}";
const BYTES: &str = "{spinner} {prefix:<10} {msg} {wide_bar} {bytes}/{total_bytes} {elapsed}";
const THINGS: &str = "{spinner} {prefix:<10} {msg} {wide_bar} {pos}/{len} {elapsed}";

/// How often work that does not tell how far it is is looked at.
const LOOK: Duration = Duration::from_millis(250);

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
            style(&bar, PLAIN);
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

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

fn advance(bar: &ProgressBar, template: &str, done: u64, total: u64) {
    if bar.length() != Some(total) {
        style(bar, template);
        bar.set_length(total);
    }
    bar.set_position(done);
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Step {
    /// Shows what the step does now, when it does several things one after the other.
    pub fn now(&self, doing: &str) {
        let Some(bar) = &self.bar else { return };
        bar.unset_length();
        style(bar, PLAIN);
        bar.set_message(doing.to_owned());
    }

    /// Shows how many bytes of `total` are done: a bar on a terminal, nothing without one.
    pub fn advance(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            advance(bar, BYTES, done, total);
        }
    }

    /// Does `work`, which does not tell how far it is, and shows meanwhile how many bytes of `total` are `done`.
    pub fn watch_bytes<R>(&self, total: u64, done: impl Fn() -> u64 + Sync, work: impl FnOnce() -> R) -> R {
        self.watch(BYTES, total, done, work)
    }

    /// The same of `total` things.
    pub fn watch_things<R>(&self, total: u64, done: impl Fn() -> u64 + Sync, work: impl FnOnce() -> R) -> R {
        self.watch(THINGS, total, done, work)
    }

    fn watch<R>(&self, template: &str, total: u64, done: impl Fn() -> u64 + Sync, work: impl FnOnce() -> R) -> R {
        let Some(bar) = &self.bar else { return work() };
        let (ended, ends) = mpsc::channel::<()>();
        let done = &done;
        // The work stays on this thread: programs that it starts end with the thread that started them.
        thread::scope(|scope| {
            scope.spawn(move || {
                while ends.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    advance(bar, template, done().min(total), total);
                }
            });
            let result = work();
            drop(ended);
            result
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn work_that_says_nothing_is_seen_to_advance_and_the_next_thing_begins_without_a_bar() {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let step = Step {
            name: "packages",
            began: Instant::now(),
            bar: Some(bar.clone()),
            finished: false,
        };
        let wait_for = |position: u64, length: u64| {
            // The work has no end but that somebody looked.
            while (bar.position(), bar.length()) != (position, Some(length)) {
                thread::yield_now();
            }
        };
        let installed = AtomicU64::new(3);
        let work = || {
            wait_for(3, 7);
            // More than there is to do is no more than all.
            installed.store(700, Ordering::Relaxed);
            wait_for(7, 7);
            "done"
        };
        assert_eq!(step.watch_things(7, || installed.load(Ordering::Relaxed), work), "done");
        step.now("tidy");
        assert_eq!((bar.message().as_str(), bar.length()), ("tidy", None));
        step.watch_bytes(2048, || 1024, || wait_for(1024, 2048));
    }

    #[test]
    fn work_that_nobody_watches_is_done_all_the_same() {
        let step = Progress::plain().step("packages", "install");
        assert_eq!(step.watch_bytes(1, || unreachable!("nobody looks"), || 5), 5);
    }
}
