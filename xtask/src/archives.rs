//! The archives of Debian that apt of this host uses: no address of one is written down in this project.

use std::process::Command;

use anyhow::{Context, Result};

/// Their addresses.
pub(crate) struct Archives {
    /// The releases, and their updates.
    pub(crate) main: String,
    /// What the security team adds.
    pub(crate) security: String,
}

impl Archives {
    /// Asks apt.
    ///
    /// # Errors
    /// When it cannot be started, or uses no such archive.
    pub(crate) fn of_this_host() -> Result<Self> {
        let output = Command::new("apt-get")
            .args([
                "indextargets",
                "--format",
                "$(LABEL) $(REPO_URI)",
                "Created-By: Packages",
            ])
            .output()
            .context("cannot start apt-get to ask for this host's archives")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let labelled = |label: &str| {
            let mut sources = text.lines().filter_map(|line| line.rsplit_once(' '));
            let uri = sources.find_map(|(found, uri)| (found == label).then_some(uri));
            uri.map(str::to_owned).with_context(|| {
                format!("apt of this host uses no archive with the label {label}: add it and run `apt-get update`")
            })
        };
        Ok(Self {
            main: labelled("Debian")?,
            security: labelled("Debian-Security")?,
        })
    }
}
