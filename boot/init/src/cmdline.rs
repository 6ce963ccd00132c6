//! The kernel command line.

use twinhull_layout::RootHash;

const ROOT_HASH: &str = "roothash=";
const DEBUG: &str = "twinhull.init.debug";

/// What this program takes from the command line; everything else is for the kernel and for systemd.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cmdline {
    /// Which root to boot.
    pub(crate) root_hash: RootHash,
    /// Whether to tell details.
    pub(crate) debug: bool,
}

/// A command line without one clear root.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CmdlineError {
    #[error("it has no roothash=; boot the unmodified UKI of a Twinhull image")]
    Missing,
    #[error("roothash= is given more than once; boot the unmodified UKI and check credentials and add-ons")]
    Twice,
    #[error("roothash={0}; boot the unmodified UKI of a Twinhull image")]
    Malformed(twinhull_layout::ParseError),
}

impl Cmdline {
    /// Reads what `/proc/cmdline` holds.
    pub(crate) fn parse(text: &str) -> Result<Self, CmdlineError> {
        let mut root_hash = None;
        let mut debug = false;
        for word in words(text) {
            if let Some(value) = word.strip_prefix(ROOT_HASH) {
                let hash = value.parse().map_err(CmdlineError::Malformed)?;
                if root_hash.replace(hash).is_some() {
                    return Err(CmdlineError::Twice);
                }
            } else if word == DEBUG {
                debug = true;
            }
        }
        Ok(Self {
            root_hash: root_hash.ok_or(CmdlineError::Missing)?,
            debug,
        })
    }
}

/// The words, as the kernel splits them (`next_arg` in `lib/cmdline.c`): at white space outside of double quotes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Cmdline, CmdlineError};

    const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn hash_is_found_among_other_words() {
        let parsed = Cmdline::parse(&format!("console=ttyS0 roothash={HASH} panic=10\n")).unwrap();
        assert_eq!((parsed.root_hash.to_string().as_str(), parsed.debug), (HASH, false));
        assert!(
            Cmdline::parse(&format!("twinhull.init.debug roothash={HASH}"))
                .unwrap()
                .debug
        );
    }

    #[test]
    fn quoted_text_is_no_parameter() {
        let quoted = format!("x=\"a roothash={HASH} b\"");
        assert_eq!(Cmdline::parse(&quoted), Err(CmdlineError::Missing));
    }

    #[test]
    fn second_hash_is_refused_even_when_equal() {
        assert_eq!(
            Cmdline::parse(&format!("roothash={HASH} roothash={HASH}")),
            Err(CmdlineError::Twice)
        );
    }

    #[test]
    fn short_hash_is_refused() {
        assert!(matches!(
            Cmdline::parse("roothash=0011"),
            Err(CmdlineError::Malformed(_))
        ));
    }
}
