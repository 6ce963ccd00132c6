//! What a command came to.

use serde::{Deserialize, Serialize};
use twinhull_layout::Version;

use crate::machine::Problem;

/// What a command came to, as JSON has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// One word: `available`, `staged`, `current`, `rollback-pending`, `held`, `released`, `switched`, `refused`, `failed`.
    #[serde(rename = "outcome")]
    pub word: String,
    /// The release it is about.
    pub version: Option<Version>,
    /// Why not.
    pub problem: Option<Problem>,
    /// For people.
    #[serde(default)]
    pub text: String,
}

impl Outcome {
    /// It was done, or there was nothing to do.
    pub fn done(word: &str, version: Option<Version>, text: impl Into<String>) -> Self {
        Self {
            word: word.to_owned(),
            version,
            problem: None,
            text: text.into(),
        }
    }

    /// It was not done.
    pub fn not(version: Option<Version>, problem: Problem) -> Self {
        let word = if problem.is_fault() { "failed" } else { "refused" };
        Self {
            word: word.to_owned(),
            version,
            text: problem.text.clone(),
            problem: Some(problem),
        }
    }
}
