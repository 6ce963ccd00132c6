//! Progress for a person: a bar on a terminal, a line per step elsewhere.

use std::cell::RefCell;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::install::{Progress, Step};

/// Shows how far an install is, on standard error.
pub(super) struct Display {
    kind: Kind,
    current: RefCell<Option<(Step, ProgressBar)>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bar,
    Lines,
    Nothing,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        let kind = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Kind::Nothing,
            (false, true) => Kind::Bar,
            (false, false) => Kind::Lines,
        };
        Self {
            kind,
            current: RefCell::new(None),
        }
    }

    pub(super) fn show(&self, progress: Progress) {
        let mut current = self.current.borrow_mut();
        let begins = current.as_ref().is_none_or(|(step, _)| *step != progress.step);
        match self.kind {
            Kind::Lines if begins => {
                eprintln!("{}", progress.step);
                *current = Some((progress.step, ProgressBar::hidden()));
            }
            Kind::Nothing | Kind::Lines => {}
            Kind::Bar => {
                if begins {
                    if let Some((_, bar)) = current.take() {
                        bar.finish();
                    }
                    *current = Some((progress.step, bar(progress)));
                }
                if let Some((_, bar)) = current.as_ref() {
                    bar.set_position(progress.done);
                }
            }
        }
    }

    pub(super) fn end(&self) {
        if let Some((_, bar)) = self.current.borrow_mut().take() {
            bar.finish();
        }
    }
}

fn bar(progress: Progress) -> ProgressBar {
    let bar = ProgressBar::new(progress.total);
    let template = "{msg:10} {bar:24} {bytes:>10} of {total_bytes:10} {bytes_per_sec:>12} {eta:>4}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(progress.step.to_string());
    bar
}
