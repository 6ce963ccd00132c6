//! A cpio archive in the "newc" form, which the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format).
//!
//! Everything belongs to root and carries no time, so that the same files give the same bytes.

/// An archive being written.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

impl Archive {
    /// An empty archive.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a folder; those above it must be in the archive before it.
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, 2, &[]);
    }

    /// Adds a file of at most 4 GiB.
    pub(super) fn file(&mut self, name: &str, content: &[u8], mode: u32) {
        self.entry(name, FILE | mode, 1, content);
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, 1, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, links: u32, content: &[u8]) {
        use std::io::Write as _;
        let inode = self.entries;
        self.entries += 1;
        let (size, name_size) = (content.len(), name.len() + 1);
        // Magic, inode, mode, user, group, links, time, size, device (2), special device (2), length of the name, checksum.
        // Writing to a Vec cannot fail.
        let _ = write!(
            self.bytes,
            "070701{inode:08X}{mode:08X}{:08X}{:08X}{links:08X}{:08X}{size:08X}{:08X}{:08X}{:08X}{:08X}{name_size:08X}{:08X}",
            0, 0, 0, 0, 0, 0, 0, 0
        );
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new();
        archive.folder("modules");
        archive.file("modules/a.ko", b"abc", 0o644);
        archive.file("init", b"12345678", 0o755);
        archive.finish()
    }

    #[test]
    fn same_files_give_same_bytes_aligned() {
        assert_eq!(sample(), sample());
        assert_eq!(sample().len() % 4, 0);
    }

    #[test]
    fn first_entry_is_as_the_format_says() {
        let bytes = sample();
        // Inode, mode, user, group, links, time, size, two devices of two parts, length of the name, checksum.
        let fields = [0, 0o040_755, 0, 0, 2, 0, 0, 0, 0, 0, 0, 8, 0].map(|field| format!("{field:08X}"));
        let expected = format!("070701{}modules\0\0\0", fields.concat());
        assert_eq!(String::from_utf8_lossy(&bytes[..expected.len()]), expected);
        assert_eq!(expected.len(), 120);
    }

    #[test]
    fn gnu_cpio_reads_it() {
        let Ok(mut cpio) = Command::new("cpio")
            .args(["-t", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            crate::skip::skip("no cpio here");
            return;
        };
        cpio.stdin.take().unwrap().write_all(&sample()).unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "modules\nmodules/a.ko\ninit\n");
    }
}
