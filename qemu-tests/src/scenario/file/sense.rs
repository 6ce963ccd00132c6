//! What a part of a scenario cannot mean, whatever the rest of the file says. A step that could not fail would pass for a proof.

use super::document::{Action, Expectation, Machine, Service};
use super::on_disk::MOST;

/// The largest disk, in MiB: 16 TiB.
const LARGEST_DISK: u64 = 16 << 20;

impl Action {
    /// What is wrong with it, if something is.
    pub(super) fn nonsense(&self) -> Option<String> {
        match self {
            Self::Run { expect, .. } | Self::WaitUntil { expect, .. } | Self::Request { expect, .. } => {
                expect.nonsense()
            }
            Self::Expect { expect, .. } if expect.status.is_some() => {
                Some("a text has no `status`: only commands and HTTP answers have".to_owned())
            }
            Self::Expect { expect, .. } if expect.is_empty() => Some("`expect` expects nothing".to_owned()),
            Self::Expect { expect, .. } => expect.nonsense(),
            Self::ExpectDisk {
                a,
                b,
                intact,
                damaged,
                entries,
                table,
            } => {
                let slots = intact.iter().chain(damaged);
                let unknown = slots.into_iter().find(|slot| !matches!(slot.as_str(), "a" | "b"));
                let labels = a.is_some() || b.is_some();
                let contents = !intact.is_empty() || !damaged.is_empty();
                match unknown {
                    Some(slot) => Some(format!("`{slot}` is no slot: `a` or `b`")),
                    None if labels || contents || entries.is_some() || table.is_some() => None,
                    None => Some("this step looks at nothing: say `a`, `b`, `intact`, `entries` or `table`".to_owned()),
                }
            }
            Self::Corrupt {
                place,
                file,
                offset,
                bytes,
                ..
            } => match file {
                _ if *bytes == 0 || *bytes > MOST => Some(format!("`bytes` must be from 1 to {MOST}")),
                Some(_) if place.is_some() => Some("`place` or `file`: one of them".to_owned()),
                Some(_) if *offset < 0 => Some("`offset` in a file counts from its beginning".to_owned()),
                _ => None,
            },
            Self::GrowDisk { mib } if !(1..=LARGEST_DISK).contains(mib) => {
                Some(format!("`mib` must be from 1 to {LARGEST_DISK}"))
            }
            Self::SetClock { to } => {
                let wrong = to.parse::<jiff::civil::DateTime>().err();
                wrong.map(|error| format!("`to` is no time: {error}"))
            }
            Self::Picture { name } if !is_name(name) => {
                Some("a picture's name has small letters, digits and `-`".to_owned())
            }
            _ => None,
        }
    }
}

impl Expectation {
    fn is_empty(&self) -> bool {
        let texts = self.is.is_some() || self.is_not.is_some() || !self.contains.is_empty() || !self.lacks.is_empty();
        !texts && self.json.is_empty() && self.json_lacks.is_empty()
    }

    fn nonsense(&self) -> Option<String> {
        // Nothing but the empty pointer, which is the whole, begins otherwise (RFC 6901).
        let pointers = self.json.keys().chain(&self.json_lacks);
        if let Some(pointer) = pointers.into_iter().find(|pointer| !pointer.starts_with('/')) {
            return Some(format!("`{pointer}` is no JSON pointer: it begins with `/`"));
        }
        let mut parts = self.contains.iter().chain(&self.lacks);
        let empty = parts.any(String::is_empty);
        empty.then(|| "every text contains the empty one".to_owned())
    }
}

impl Machine {
    /// What is wrong with the machine, if something is.
    pub(super) fn nonsense(&self) -> Option<&'static str> {
        // Fields of a line of tmpfiles.d(5), which has marks of its own.
        let plain = |path: &String| {
            let marks = |byte: u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || b"\"'\\%".contains(&byte);
            path.starts_with('/') && !path.ends_with('/') && !path.bytes().any(marks)
        };
        if self.image.is_some() && self.release.is_some() {
            Some("has an `image` and a `release`: one of them")
        } else if self.product.is_some() && self.release.is_none() {
            Some("has a `product` and no `release` of it")
        } else if self.processors == Some(0) || self.memory.is_some_and(|memory| memory < 128) {
            Some("needs a processor and 128 MiB at least")
        } else if self.disk.is_some_and(|disk| disk > LARGEST_DISK) {
            Some("has a `disk` of more than 16 TiB")
        } else if self.ports.values().any(|port| *port == 0) {
            Some("has a port 0, at which nobody can be reached")
        } else if !self.files.keys().all(plain) {
            Some("has a path in `files` that is not absolute, or has white space, a quote, `%` or `\\`")
        } else {
            None
        }
    }
}

impl Service {
    /// What is wrong with the service, if something is.
    pub(super) fn nonsense(&self) -> Option<String> {
        let Self::Command { command, files, .. } = self else {
            return None;
        };
        let plain = |name: &String| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        if command.is_empty() {
            return Some("`command` names no program".to_owned());
        }
        let wrong = files.keys().find(|name| !plain(name));
        wrong.map(|name| format!("`{name}` is no plain name of a file"))
    }
}

/// Whether it can name a machine, a service or a picture: names become names of files.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 32 && text.bytes().all(allowed)
}
