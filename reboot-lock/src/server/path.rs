//! Which endpoint a path means, given the base path that the server is published under.
//!
//! Clients join `v1/…` to a base URL in different ways. One that was given a base without a final slash loses the base's
//! last part (RFC 3986, section 5.2.3); one that pastes strings together doubles slashes. Both reach their endpoint here.

/// A base path: the parts between its slashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BasePath(Vec<String>);

impl BasePath {
    /// Takes `/`, `/fleet`, `/fleet/`, `fleet/lock` and the like.
    pub fn new(path: &str) -> Self {
        Self(parts(path).map(str::to_owned).collect())
    }

    /// The path below the base, in its one canonical form (`/v1/pre-reboot`), or `None` for a path that is not below it.
    pub fn strip(&self, path: &str) -> Option<String> {
        let asked: Vec<_> = parts(path).collect();
        let below = |length: usize| {
            let (base, rest) = asked.split_at_checked(length)?;
            (base == &self.0[..length]).then_some(rest)
        };
        // With the last part lost only what hosts ask is found: a page at two addresses helps nobody.
        let lost = || below(self.0.len().saturating_sub(1)).filter(|rest| rest.first() == Some(&"v1"));
        let rest = below(self.0.len()).or_else(lost)?;
        Some(format!("/{}", rest.join("/")))
    }

    /// The path that links begin with: `/` or `/fleet/`.
    pub fn link(&self) -> String {
        self.0.iter().fold("/".to_owned(), |link, part| link + part + "/")
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_is_the_same_with_and_without_slashes() {
        for base in ["fleet", "/fleet", "fleet/", "/fleet/", "//fleet//"] {
            assert_eq!(BasePath::new(base), BasePath(vec!["fleet".to_owned()]));
        }
        assert_eq!(BasePath::new("/"), BasePath::new(""));
    }

    #[test]
    fn every_way_of_joining_reaches_the_endpoint() {
        let endpoint = Some("/v1/pre-reboot".to_owned());
        let root = BasePath::new("/");
        for path in ["/v1/pre-reboot", "//v1/pre-reboot", "/v1/pre-reboot/"] {
            assert_eq!(root.strip(path), endpoint, "{path}");
        }
        let deep = BasePath::new("/fleet/lock");
        for path in [
            "/fleet/lock/v1/pre-reboot",
            "/fleet/lock//v1/pre-reboot",
            "/fleet/v1/pre-reboot",
        ] {
            assert_eq!(deep.strip(path), endpoint, "{path}");
        }
    }

    #[test]
    fn page_is_at_the_base_itself() {
        assert_eq!(BasePath::new("").strip("/"), Some("/".to_owned()));
        let deep = BasePath::new("/fleet/lock");
        for path in ["/fleet/lock", "/fleet/lock/", "/fleet//lock"] {
            assert_eq!(deep.strip(path), Some("/".to_owned()), "{path}");
        }
        assert_eq!(deep.strip("/fleet/lock/metrics"), Some("/metrics".to_owned()));
        assert_eq!(deep.link(), "/fleet/lock/");
        assert_eq!(BasePath::default().link(), "/");
    }

    #[test]
    fn path_outside_the_base_is_none() {
        let deep = BasePath::new("/fleet/lock");
        for path in [
            "/",
            "/v1/pre-reboot",
            "/fleet",
            "/fleet/metrics",
            "/other/v1/pre-reboot",
            "*",
        ] {
            assert_eq!(deep.strip(path), None, "{path}");
        }
    }
}
