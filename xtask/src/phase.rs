//! Long work in phases: a line for each, a log file for each, and errors that point to it.

use std::fs::{self, File};
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Bytes of a log that are shown when its phase failed.
const SHOWN: u64 = 4000;

/// The phases of one run, numbered in their order.
pub(crate) struct Phases {
    logs: PathBuf,
    count: u32,
}

impl Phases {
    pub(crate) fn new(logs: PathBuf) -> Result<Self> {
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let failed = || format!("cannot empty {}", logs.display());
        for entry in fs::read_dir(&logs).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            // The folders in there are those of scenarios, which may be running.
            if entry.file_type().with_context(failed)?.is_file() {
                fs::remove_file(entry.path()).with_context(failed)?;
            }
        }
        Ok(Self { logs, count: 0 })
    }

    /// Runs `command` as the phase `title`, its output in a log file of its own.
    pub(crate) fn run(&mut self, title: &str, command: &mut Command) -> Result<()> {
        let log = self.next_log(title);
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors = file.try_clone().context("cannot share the log between two streams")?;
        let line = Line::start(title);
        let started = Instant::now();
        let status = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .status()
            .with_context(|| format!("{title}: cannot start {}", command.get_program().display()))?;
        line.finish(title, started.elapsed(), status.success());
        if !status.success() {
            let shown = end_of(&log).unwrap_or_default();
            bail!("{title}: {status}\n{shown}\nThe whole log is {}", log.display());
        }
        Ok(())
    }

    /// Runs `command` as the phase `title` with the terminal to itself: it shows its own progress.
    pub(crate) fn run_in_view(&mut self, title: &str, command: &mut Command) -> Result<()> {
        self.count += 1;
        println!("== {title}");
        let status = command
            .status()
            .with_context(|| format!("{title}: cannot start {}", command.get_program().display()))?;
        if !status.success() {
            bail!("{title}: {status}; what it did is in the messages above");
        }
        Ok(())
    }

    fn next_log(&mut self, title: &str) -> PathBuf {
        self.count += 1;
        let name: String = title
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() || letter == '.' {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        self.logs.join(format!("{:02}-{name}.log", self.count))
    }
}

/// One line of progress: a spinner on a terminal, plain text elsewhere.
struct Line(Option<ProgressBar>);

impl Line {
    fn start(title: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("== {title} …");
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_message(title.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(Some(bar))
    }

    fn finish(self, title: &str, took: Duration, success: bool) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
        let mark = if success { "ok" } else { "FAILED" };
        eprintln!("== {title}: {mark} ({:.1} s)", took.as_secs_f64());
    }
}

fn end_of(log: &Path) -> Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SHOWN)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
