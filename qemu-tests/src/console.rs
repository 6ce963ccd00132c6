//! What a machine has written on its serial console: kept, searched and watched for the signs of a breakdown.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How much text is kept for searching; the log file holds everything.
const KEPT: usize = 8 << 20;

/// Texts after which a guest cannot go on by itself. Waiting for anything else then only wastes time.
const FATAL: [&str; 7] = [
    "Kernel panic - not syncing",
    "You are in emergency mode",
    "Give root password for maintenance",
    "(rebooting in ",
    "BdsDxe: failed to start",
    "X64 Exception Type",
    "Synchronous Exception at",
];

/// A console's text so far, without control sequences.
#[derive(Debug)]
pub struct Console {
    text: Mutex<Text>,
    length: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Text {
    kept: String,
    /// How much was dropped before `kept`.
    dropped: u64,
    filter: Filter,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            text: Mutex::default(),
            length: watch::channel(0).0,
        }
    }
}

impl Console {
    /// Takes what the machine has written next.
    pub fn feed(&self, bytes: &[u8]) {
        let mut text = self.text();
        let Text { kept, dropped, filter } = &mut *text;
        filter.plain(bytes, kept);
        if kept.len() > KEPT {
            let mut cut = kept.len() - KEPT / 2;
            while !kept.is_char_boundary(cut) {
                cut += 1;
            }
            kept.drain(..cut);
            *dropped += cut as u64;
        }
        let end = *dropped + kept.len() as u64;
        drop(text);
        self.length.send_replace(end);
    }

    /// Where the text ends now: a mark from which to search later.
    pub fn position(&self) -> u64 {
        *self.length.borrow()
    }

    /// Where the first `pattern` at or after `from` ends.
    pub fn find(&self, pattern: &str, from: u64) -> Option<u64> {
        let text = self.text();
        let start = text.start(from);
        let found = text.kept[start..].find(pattern)?;
        Some(text.dropped + (start + found + pattern.len()) as u64)
    }

    /// The line at or after `from` which says that the guest has broken down.
    pub fn fatal(&self, from: u64) -> Option<String> {
        let text = self.text();
        let kept = &text.kept[text.start(from)..];
        let found = FATAL.iter().filter_map(|pattern| kept.find(pattern)).min()?;
        let begin = kept[..found].rfind('\n').map_or(0, |at| at + 1);
        let end = kept[found..].find('\n').map_or(kept.len(), |at| found + at);
        Some(kept[begin..end].trim().to_owned())
    }

    /// The text from position `from` on, and the position after it.
    pub fn text_from(&self, from: u64) -> (String, u64) {
        let text = self.text();
        (
            text.kept[text.start(from)..].to_owned(),
            text.dropped + text.kept.len() as u64,
        )
    }

    /// The last `count` lines that are not blank, oldest first.
    pub fn tail(&self, count: usize) -> Vec<String> {
        let text = self.text();
        let mut lines: Vec<_> = text
            .kept
            .lines()
            .rev()
            .filter(|line| !line.trim().is_empty())
            .take(count)
            .map(str::to_owned)
            .collect();
        lines.reverse();
        lines
    }

    /// Waits until there is text after `position`.
    pub async fn grown(&self, position: u64) {
        // The sender lives as long as self, so waiting cannot fail.
        drop(self.length.subscribe().wait_for(|length| *length > position).await);
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Text {
    /// The place in `kept` of the absolute position `from`, moved to a character's beginning.
    fn start(&self, from: u64) -> usize {
        let mut at = usize::try_from(from.saturating_sub(self.dropped))
            .unwrap_or(usize::MAX)
            .min(self.kept.len());
        while !self.kept.is_char_boundary(at) {
            at += 1;
        }
        at
    }
}

/// Takes terminal control out: firmware paints its menus with cursor movements, systemd colours its status lines.
#[derive(Debug, Default)]
struct Filter {
    state: State,
    /// The bytes of a character that is not complete yet.
    pending: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Plain,
    /// After ESC.
    Escape,
    /// In a control sequence, until a final byte of 0x40..=0x7e.
    Control,
    /// In an operating system command, until BEL or ESC.
    Command,
}

impl Filter {
    fn plain(&mut self, bytes: &[u8], into: &mut String) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Plain | State::Command, 0x1b) => State::Escape,
                (State::Plain, _) => {
                    if byte == b'\n' || byte == b'\t' || byte >= 0x20 {
                        self.pending.push(byte);
                    }
                    State::Plain
                }
                (State::Escape, b'[') => State::Control,
                (State::Escape, b']') => State::Command,
                (State::Control, 0x40..=0x7e) | (State::Command, 0x07) | (State::Escape, _) => State::Plain,
                (state, _) => state,
            };
        }
        // Keep back only a character whose end has not arrived; anything else that is no UTF-8 becomes a mark.
        for chunk in std::mem::take(&mut self.pending).utf8_chunks() {
            into.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if !invalid.is_empty() {
                if bytes.ends_with(invalid) && invalid.len() < 4 && is_beginning(invalid) {
                    self.pending = invalid.to_vec();
                } else {
                    into.push('\u{fffd}');
                }
            }
        }
    }
}

/// What a console has written, without control sequences.
pub fn plain(bytes: &[u8]) -> String {
    let mut text = String::new();
    Filter::default().plain(bytes, &mut text);
    text
}

/// Whether these bytes can be the beginning of one longer UTF-8 character.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(bytes: &[&[u8]]) -> Console {
        let console = Console::default();
        for part in bytes {
            console.feed(part);
        }
        console
    }

    #[test]
    fn colours_and_cursor_movements_do_not_hide_text() {
        let console = console(&[
            b"\x1b[2J\x1b[01;01H[\x1b[0;32m  OK",
            b"  \x1b[0m] Reached \x1b",
            b"[1mtarget\x1b[0m\r\n",
        ]);
        assert_eq!(console.tail(1), ["[  OK  ] Reached target"]);
        assert!(console.find("Reached target", 0).is_some());
    }

    #[test]
    fn operating_system_commands_are_taken_out() {
        let console = console(&[b"a\x1b]3008;start=1\x07b\x1b]0;title\x1b\\c\n"]);
        assert_eq!(console.tail(1), ["abc"]);
    }

    #[test]
    fn characters_split_between_reads_survive() {
        let console = console(&[b"\xe2\x94", b"\x80 x \xff y\n"]);
        assert_eq!(console.tail(1), ["\u{2500} x \u{fffd} y"]);
    }

    #[test]
    fn a_search_starts_at_its_mark() {
        let console = console(&[b"login: "]);
        let mark = console.position();
        assert!(console.find("login:", mark).is_none());
        console.feed(b"\nagain login:");
        assert!(console.find("login:", mark).is_some());
    }

    #[test]
    fn a_panic_is_told_with_its_line_and_only_after_the_mark() {
        let console = console(&[b"x\n[ 1.0] Kernel panic - not syncing: VFS\nmore\n"]);
        assert_eq!(
            console.fatal(0).as_deref(),
            Some("[ 1.0] Kernel panic - not syncing: VFS")
        );
        assert_eq!(console.fatal(console.position()), None);
    }

    #[test]
    fn a_flood_is_bounded_and_marks_stay_right() {
        let console = Console::default();
        let line = [b'x'; 4096];
        for _ in 0..(KEPT / line.len() * 2) {
            console.feed(&line);
        }
        let mark = console.position();
        console.feed(b"\nend");
        assert!(console.text().kept.len() <= KEPT);
        assert_eq!(console.find("end", mark), Some(mark + 4));
    }
}
