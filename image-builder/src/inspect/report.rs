//! What was found.

use std::fmt::Write as _;

use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is, as "slot A".
    pub what: String,
    /// What it was found to be.
    pub found: String,
    /// What does not agree, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// All findings, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn good(&mut self, what: &str, found: impl Into<String>) {
        self.add(what, found.into(), None);
    }

    pub(super) fn bad(&mut self, what: &str, found: impl Into<String>, problem: impl Into<String>) {
        self.add(what, found.into(), Some(problem.into()));
    }

    fn add(&mut self, what: &str, found: String, problem: Option<String>) {
        self.findings.push(Finding {
            what: what.to_owned(),
            found,
            problem,
        });
    }

    /// Whether nothing contradicts anything else.
    pub fn agrees(&self) -> bool {
        self.findings.iter().all(|finding| finding.problem.is_none())
    }

    /// The lines for a person.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for Finding { what, found, problem } in &self.findings {
            let _ = writeln!(text, "{what:<18} {found}");
            if let Some(problem) = problem {
                let _ = writeln!(text, "{:<18} DOES NOT AGREE: {problem}", "");
            }
        }
        let wrong = self.findings.iter().filter(|finding| finding.problem.is_some()).count();
        let _ = match wrong {
            0 => writeln!(text, "everything agrees"),
            1 => writeln!(text, "1 thing does not agree"),
            more => writeln!(text, "{more} things do not agree"),
        };
        text
    }
}
