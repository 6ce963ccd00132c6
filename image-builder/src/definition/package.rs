//! A package that a definition asks for, or several of which one is enough.

use std::fmt;

/// What stands between packages of which one is enough, as in dependencies of Debian's (Debian Policy, section 7.1).
const OR: char = '|';

/// A package by its name, or several: the first of them that an archive has is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package(Vec<String>);

impl Package {
    /// Reads `name` or `name | other`.
    ///
    /// # Errors
    /// With the name that is none of Debian's.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split(OR).map(|name| name.trim().to_owned()).collect();
        match names.iter().find(|name| !is_name(name)) {
            Some(bad) => Err(bad.clone()),
            None => Ok(Self(names)),
        }
    }

    /// The package `name` and no other.
    pub(crate) fn named(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// The names, the wanted one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" | "))
    }
}

/// Names of packages and suites, with an architecture or a release behind a colon or slash left out on purpose:
/// what is written here becomes an argument of another program. apt takes one that ends with - for a package to remove.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
        && !name.ends_with('-')
}
