//! A unit of systemd that a definition names.

/// What stands before a unit that need not be there, as before paths in units of systemd (systemd.exec(5), `EnvironmentFile=`).
const IF_THERE: char = '-';

/// A unit by its name, or a pattern of names where patterns mean something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The name with its kind, as `ssh.service`.
    pub name: String,
    /// Whether an image without it is as good.
    pub may_be_absent: bool,
}

impl Unit {
    /// Reads `NAME`, or `-NAME` for one that may be absent.
    pub(super) fn parse(text: &str) -> Self {
        let bare = text.strip_prefix(IF_THERE);
        Self {
            name: bare.unwrap_or(text).to_owned(),
            may_be_absent: bare.is_some(),
        }
    }
}
