//! Where packages come from: the archives that apt of this host uses, with the suite of the definition.

use crate::definition::Definition;
use crate::error::{Error, Result};
use crate::tools::apt::Source;

/// The archives of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirrors {
    /// Debian's main archive.
    pub(super) main: String,
    /// Debian's security archive.
    pub(super) security: Option<String>,
}

impl Mirrors {
    /// Picks Debian's archives out of what apt uses. `main` and `security`, when given, win.
    pub(super) fn choose(sources: &[Source], main: Option<&str>, security: Option<&str>) -> Result<Self> {
        let found = |label: &str, ending: &str| {
            let labelled = sources.iter().find(|source| source.label == label);
            labelled
                .or_else(|| {
                    sources
                        .iter()
                        .find(|source| source.label.is_empty() && source.uri.ends_with(ending))
                })
                .map(|source| source.uri.clone())
        };
        let main = main
            .map(str::to_owned)
            .or_else(|| found("Debian", "/debian"))
            .ok_or_else(|| {
                Error::Usage(
                    "apt of this host uses no archive of Debian; name one with --mirror (see `apt-get indextargets`)"
                        .into(),
                )
            })?;
        let security = security
            .map(str::to_owned)
            .or_else(|| found("Debian-Security", "/debian-security"));
        Ok(Self { main, security })
    }

    /// The lines of sources.list for a definition: the suite, its updates and its security fixes.
    pub(super) fn lines(&self, definition: &Definition) -> Result<Vec<String>> {
        let suite = &definition.suite;
        let components = definition.components.join(" ");
        let mut lines = vec![format!("deb {} {suite} {components}", self.main)];
        // The development suites have neither.
        if !matches!(suite.as_str(), "sid" | "unstable" | "experimental") {
            let security = self.security.as_ref().ok_or_else(|| {
                Error::Usage(
                    "apt of this host uses no security archive of Debian; name one with --security-mirror".into(),
                )
            })?;
            lines.push(format!("deb {} {suite}-updates {components}", self.main));
            lines.push(format!("deb {security} {suite}-security {components}"));
        }
        for repository in &definition.repositories {
            lines.push(format!(
                "deb [signed-by={}] {} {} {}",
                repository.key.display(),
                repository.uri,
                repository.suite,
                repository.components.join(" ")
            ));
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, release: &str, label: &str) -> Source {
        Source {
            uri: uri.into(),
            release: release.into(),
            label: label.into(),
        }
    }

    #[test]
    fn label_decides_before_the_address() {
        let sources = [
            source("http://x.example/debian", "bookworm", "Backports of someone"),
            source("http://mirror.example/d", "bookworm", "Debian"),
            source("http://mirror.example/s", "bookworm-security", "Debian-Security"),
        ];
        let mirrors = Mirrors::choose(&sources, None, None).unwrap();
        assert_eq!(mirrors.main, "http://mirror.example/d");
        assert_eq!(mirrors.security.as_deref(), Some("http://mirror.example/s"));
    }

    #[test]
    fn address_decides_before_the_first_update_of_apt() {
        let sources = [
            source("http://m.example/debian-security", "x", ""),
            source("http://m.example/debian", "x", ""),
        ];
        let mirrors = Mirrors::choose(&sources, None, None).unwrap();
        assert_eq!(mirrors.main, "http://m.example/debian");
        assert_eq!(mirrors.security.as_deref(), Some("http://m.example/debian-security"));
    }

    #[test]
    fn host_without_debian_is_told_the_option() {
        let sources = [source("http://m.example/ubuntu", "noble", "Ubuntu")];
        assert!(
            Mirrors::choose(&sources, None, None)
                .unwrap_err()
                .to_string()
                .contains("--mirror")
        );
        assert!(Mirrors::choose(&sources, Some("http://a.example"), None).is_ok());
    }
}
