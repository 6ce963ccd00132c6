//! `apt-get indextargets`: which archives this host uses.

use super::{Log, command};
use crate::error::Result;

/// One archive the host's apt is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The address of the archive, without the suite.
    pub uri: String,
    /// The suite as configured, as "bookworm-security".
    pub release: String,
    /// What the archive calls itself, as "Debian-Security"; empty until `apt-get update` has run once.
    pub label: String,
}

/// Lists the package archives that apt of this host is configured with.
pub fn sources(log: &Log) -> Result<Vec<Source>> {
    let mut apt = command("apt-get");
    apt.args([
        "indextargets",
        "--format",
        "$(REPO_URI)|$(RELEASE)|$(LABEL)",
        "Created-By: Packages",
    ]);
    Ok(parse(&log.capture("asking apt for this host's archives", &mut apt)?))
}

fn parse(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('|');
        let (Some(uri), Some(release), Some(label)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        // apt prints an option that it does not know as it was written.
        let label = if label.starts_with('$') { "" } else { label };
        let source = Source {
            uri: uri.trim_end_matches('/').into(),
            release: release.into(),
            label: label.into(),
        };
        if !source.uri.is_empty() && !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_archive_once_and_no_unexpanded_label() {
        let text = "http://a.example/debian/|bookworm|Debian\nhttp://a.example/debian/|bookworm|Debian\nhttp://b.example/s/|x|$(LABEL)\n\n";
        let sources = parse(text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].uri, "http://a.example/debian");
        assert_eq!(sources[1].label, "");
    }
}
