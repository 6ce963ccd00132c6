//! System credentials: how a host is told its keys and its configuration without anything being put in its image.
//!
//! systemd takes them from SMBIOS type 11 strings (`systemd.system-credentials(7)`).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One system credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    name: String,
    content: Vec<u8>,
}

impl Credential {
    /// A credential of this name; names are letters, digits, dots, dashes and underscores.
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            content: content.into(),
        }
    }

    /// The key that may log in as root (`ssh.authorized_keys.root`).
    pub fn root_key(public_key: &str) -> Self {
        Self::new("ssh.authorized_keys.root", public_key)
    }

    /// The credential that brings files (`tmpfiles.d(5)`).
    pub const FILES: &str = "tmpfiles.extra";

    /// Files written at each boot before services start, with the folders above each of them.
    ///
    /// Paths are absolute and without white space. One whose content begins with `#!` may be executed.
    pub fn files(files: &[(&str, &str)]) -> Self {
        Self::new(Self::FILES, Self::file_lines(files))
    }

    /// What [`Credential::files`] says. Contents travel as base64 (`f+~`), so they may be anything.
    pub fn file_lines(files: &[(&str, &str)]) -> String {
        let mut lines = String::new();
        for (path, content) in files {
            if let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
                // Writing to a String cannot fail.
                let _ = writeln!(lines, "d {folder} 0755 root root -");
            }
            let mode = if content.starts_with("#!") { "0755" } else { "0644" };
            let _ = writeln!(lines, "f+~ {path} {mode} root root - {}", STANDARD.encode(content));
        }
        lines
    }

    /// The SMBIOS string that carries it. Base64 has no comma, so QEMU takes it as it is.
    pub fn smbios(&self) -> String {
        format!(
            "type=11,value=io.systemd.credential.binary:{}={}",
            self.name,
            STANDARD.encode(&self.content)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smbios_string_is_what_systemd_reads() {
        let credential = Credential::root_key("ssh-ed25519 AAAA x");
        assert_eq!(
            credential.smbios(),
            "type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root=c3NoLWVkMjU1MTkgQUFBQSB4"
        );
    }

    #[test]
    fn files_bring_their_folder_and_survive_any_content() {
        let credential = Credential::files(&[("/etc/a.d/50-x.toml", "k = \"100%\"\n"), ("/x", "#!")]);
        let text = String::from_utf8(credential.content).unwrap();
        assert_eq!(
            text,
            "d /etc/a.d 0755 root root -\nf+~ /etc/a.d/50-x.toml 0644 root root - ayA9ICIxMDAlIgo=\n\
             f+~ /x 0755 root root - IyE=\n"
        );
    }
}
