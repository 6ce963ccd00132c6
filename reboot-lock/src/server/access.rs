//! Which hosts may ask for the slots of which group.

use std::collections::BTreeMap;

use super::token::Token;
use crate::names::{GroupName, HostId};

/// The stand-in for the host's id in a certificate pattern.
const ID: &str = "{id}";

/// What the groups ask of those who want a slot of theirs.
#[derive(Default)]
pub struct Access(BTreeMap<GroupName, Admission>);

/// Whom one group admits: those that show one of the tokens, or a certificate with a fitting name.
#[derive(Default)]
pub struct Admission {
    /// Bearer tokens.
    pub tokens: Vec<Token>,
    /// Patterns for the DNS names of client certificates: `host.example.org`, `*.example.org` (one label or more), or
    /// with `{id}` for the id that the host asks under, so that no host can ask in the name of another.
    pub certificates: Vec<String>,
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    /// The bearer token.
    pub(super) bearer: Option<&'a [u8]>,
    /// The names in its certificate.
    pub(super) names: &'a [String],
}

/// Why a caller is not admitted, in words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied(pub(super) String);

impl Access {
    /// Groups that `admissions` does not name admit nobody, unless it names none at all: then every group admits everybody.
    pub fn new(admissions: BTreeMap<GroupName, Admission>) -> Self {
        Self(admissions)
    }

    /// Whether `id` may ask for slots of `group`, and by which right, for the history; `None` where none is needed.
    pub(super) fn admit(&self, group: &GroupName, id: &HostId, shown: Shown<'_>) -> Result<Option<String>, Denied> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let admission = self.0.get(group).ok_or_else(|| {
            Denied(format!(
                "group {group} admits nobody; its credentials belong into [access.{group}]"
            ))
        })?;
        let fitting = |name: &&String| {
            let fits = |pattern: &String| matches(pattern, name, id.as_str());
            admission.certificates.iter().any(fits)
        };
        if let Some(name) = shown.names.iter().find(fitting) {
            return Ok(Some(format!("certificate {name}")));
        }
        match shown.bearer {
            Some(bearer) if admission.tokens.iter().any(|token| token.matches(bearer)) => {
                Ok(Some(format!("token of {group}")))
            }
            Some(_) => Err(Denied(format!("the token is not one of group {group}"))),
            None if !shown.names.is_empty() => Err(Denied(format!(
                "the certificate is for {}, which group {group} does not admit for this id",
                shown.names.join(", ")
            ))),
            None => Err(Denied(format!(
                "group {group} wants a client certificate or `authorization: Bearer <token>`"
            ))),
        }
    }
}

/// Whether `name` is one that `pattern` means, for the host `id`. DNS names know no upper and lower case.
fn matches(pattern: &str, name: &str, id: &str) -> bool {
    let pattern = if pattern.contains(ID) {
        // An id with a wildcard in it must not widen the pattern.
        if id.contains('*') {
            return false;
        }
        pattern.replace(ID, id)
    } else {
        pattern.to_owned()
    };
    match pattern.strip_prefix('*') {
        Some(rest) => {
            // A wildcard certificate is not a host's own.
            let split = name.len().checked_sub(rest.len());
            split
                .filter(|at| *at > 0 && name.is_char_boundary(*at))
                .is_some_and(|at| name[at..].eq_ignore_ascii_case(rest) && !name.starts_with('*'))
        }
        None => name.eq_ignore_ascii_case(&pattern),
    }
}

/// Whether `pattern` can be used: a wildcard only as the whole first label.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    let rest = pattern.strip_prefix("*.").unwrap_or(pattern);
    !rest.is_empty() && !rest.contains('*') && !rest.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(access: &Access, group: &str, id: &str, bearer: Option<&str>, names: &[&str]) -> bool {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let shown = Shown {
            bearer: bearer.map(str::as_bytes),
            names: &names,
        };
        let id = HostId::try_from(id.to_owned()).unwrap();
        access.admit(&group.parse().unwrap(), &id, shown).is_ok()
    }

    fn access() -> Access {
        let admission = |tokens: &[&str], certificates: &[&str]| Admission {
            tokens: tokens.iter().map(|token| Token::new(token)).collect(),
            certificates: certificates.iter().map(|name| (*name).to_owned()).collect(),
        };
        Access::new(
            [
                ("edge".parse().unwrap(), admission(&["edge-token"], &[])),
                ("web".parse().unwrap(), admission(&[], &["*.web.example.org"])),
                ("own".parse().unwrap(), admission(&[], &["{id}.example.org"])),
            ]
            .into(),
        )
    }

    #[test]
    fn without_rules_everybody_may_ask() {
        assert!(admit(&Access::default(), "any", "a", None, &[]));
    }

    #[test]
    fn token_opens_its_own_group_only() {
        let access = access();
        assert!(admit(&access, "edge", "a", Some("edge-token"), &[]));
        assert!(!admit(&access, "edge", "a", Some("other"), &[]));
        assert!(!admit(&access, "edge", "a", None, &[]));
        assert!(!admit(&access, "web", "a", Some("edge-token"), &[]));
        // One without rules of its own, beside others that have some.
        assert!(!admit(&access, "forgotten", "a", Some("edge-token"), &[]));
    }

    #[test]
    fn certificate_opens_the_groups_that_its_name_fits() {
        let access = access();
        assert!(admit(&access, "web", "a", None, &["n1.WEB.example.org"]));
        assert!(admit(&access, "web", "a", None, &["x", "n1.web.example.org"]));
        for name in [
            ".web.example.org",
            "web.example.org",
            "evilweb.example.org",
            "*.web.example.org",
            "",
        ] {
            assert!(!admit(&access, "web", "a", None, &[name]), "{name}");
        }
    }

    #[test]
    fn certificate_of_one_host_does_not_speak_for_another() {
        let access = access();
        assert!(admit(&access, "own", "a", None, &["a.example.org"]));
        assert!(!admit(&access, "own", "b", None, &["a.example.org"]));
        assert!(!admit(&access, "own", "*", None, &["a.example.org"]));
    }

    #[test]
    fn wildcards_stand_first_or_not_at_all() {
        for pattern in ["*.example.org", "a.example.org", "{id}.example.org"] {
            assert!(is_pattern(pattern), "{pattern}");
        }
        for pattern in ["", "*", "*.", "a.*.org", "*a.org", "a b"] {
            assert!(!is_pattern(pattern), "{pattern}");
        }
    }
}
