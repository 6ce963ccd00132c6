//! What a scenario is doing: shown while it runs, kept in a log, and part of the report.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress is shown: a spinner for each scenario on a terminal, plain lines otherwise.
#[derive(Debug, Clone)]
pub struct Board {
    bars: Option<MultiProgress>,
    started: Instant,
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// Shows progress on standard error, which leaves standard output to the results.
    pub fn new() -> Self {
        Self {
            bars: std::io::stderr().is_terminal().then(MultiProgress::new),
            started: Instant::now(),
        }
    }

    /// Shows a line that stays.
    pub fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(text)),
            None => eprintln!("[{:6.1} s] {text}", self.started.elapsed().as_secs_f64()),
        }
    }

    /// The steps of something called `name`, logged in the file `log`.
    pub fn steps(&self, name: &str, log: PathBuf) -> Rc<Steps> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style());
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Rc::new(Steps {
            name: name.to_owned(),
            board: self.clone(),
            bar,
            started: Instant::now(),
            log,
            taken: RefCell::default(),
        })
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:16} {elapsed:>4}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// One step and when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was begun.
    pub text: String,
    /// Time from the beginning of the scenario.
    pub at: Duration,
    /// Whether it is only something that happened during the last step before it that is none of these.
    pub aside: bool,
}

/// The steps of one scenario so far.
#[derive(Debug)]
pub struct Steps {
    name: String,
    board: Board,
    bar: Option<ProgressBar>,
    started: Instant,
    log: PathBuf,
    taken: RefCell<Vec<Step>>,
}

impl Steps {
    /// Begins a step, which ends the one before it.
    pub fn begin(&self, text: impl Into<String>) {
        self.take(text.into(), false);
    }

    /// Says that something happened during the present step, which goes on.
    pub fn aside(&self, text: impl Into<String>) {
        self.take(text.into(), true);
    }

    fn take(&self, text: String, aside: bool) {
        let step = Step {
            text,
            at: self.started.elapsed(),
            aside,
        };
        match &self.bar {
            Some(bar) => bar.set_message(step.text.clone()),
            None => self.board.line(&format!("{}: {}", self.name, step.text)),
        }
        self.taken.borrow_mut().push(step);
        self.write_log();
    }

    /// Says something about the present step, in the log only.
    pub fn note(&self, text: &str) {
        if let Some(step) = self.taken.borrow_mut().last_mut() {
            // Writing to a String cannot fail.
            let _ = write!(step.text, " ({text})");
        }
        self.write_log();
    }

    /// The steps, oldest first.
    pub fn taken(&self) -> Vec<Step> {
        self.taken.borrow().clone()
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes the spinner away and leaves one line with the outcome.
    pub fn finish(&self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.board.line(&format!("{}: {outcome}", self.name));
    }

    /// A progress bar below this scenario's line; `None` without a terminal.
    pub fn bar(&self) -> Option<ProgressBar> {
        let bars = self.board.bars.as_ref()?;
        let bar = bars.add(ProgressBar::new(0));
        let style = ProgressStyle::with_template("  {bar:40} {bytes}/{total_bytes}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Some(bar)
    }

    fn write_log(&self) {
        let mut text = String::new();
        for step in self.taken.borrow().iter() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:8.1} s  {}", step.at.as_secs_f64(), step.text);
        }
        if let Err(error) = fs::write(&self.log, text) {
            tracing::warn!(log = %self.log.display(), "the log of steps cannot be written: {error}");
        }
    }
}
