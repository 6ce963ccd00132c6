//! The programs of the host that are started here, and the packages that bring them.

use std::env;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use twinhull_layout::Arch;

use crate::error::{Error, Result};

/// The lowest major version of QEMU whose software emulation runs the kernels we ship.
const QEMU_MAJOR: u32 = 10;

/// The emulator for `arch`, after checking that it is there and new enough.
pub async fn qemu(arch: Arch) -> Result<PathBuf> {
    let (name, package) = match arch {
        Arch::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
        Arch::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
    };
    let hint = " (version 10 or newer; on Debian 12 from the suite bookworm-backports)";
    let path = find(name).ok_or_else(|| Error::MissingTool {
        tool: name.to_owned(),
        package,
        hint,
    })?;
    let text = output(Command::new(&path).arg("--version")).await?;
    let found = version_of(&text).unwrap_or("of unknown version").to_owned();
    let major = found.split('.').next().and_then(|part| part.parse::<u32>().ok());
    if major.is_none_or(|major| major < QEMU_MAJOR) {
        return Err(Error::OldQemu {
            found,
            wanted: QEMU_MAJOR,
        });
    }
    Ok(path)
}

/// A small program of the base system or of openssh.
pub fn program(name: &'static str) -> Result<PathBuf> {
    let package = match name {
        "ssh" | "ssh-keygen" => "openssh-client",
        "setpriv" => "util-linux",
        "etcd" => "etcd-server",
        "haproxy" => "haproxy",
        "docker-registry" => "docker-registry",
        "openssl" => "openssl",
        "sbsign" => "sbsigntool",
        "swtpm" => "swtpm",
        _ => "coreutils",
    };
    find(name).ok_or_else(|| Error::MissingTool {
        tool: name.to_owned(),
        package,
        hint: "",
    })
}

/// Looks `name` up in the search path, with the system folders that a plain user's path may lack.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The version in the first line of `qemu-system-* --version`.
fn version_of(text: &str) -> Option<&str> {
    text.lines().next()?.split_once("version ")?.1.split([' ', '(']).next()
}

/// Runs a short program to its end; its standard output, or an error with the end of what it wrote.
pub async fn output(command: &mut Command) -> Result<String> {
    let name = Path::new(command.as_std().get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let out = command
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .map_err(|source| Error::file("start", command.as_std().get_program(), source))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let both = [out.stdout, out.stderr].concat();
    Err(Error::Program {
        program: name,
        status: out.status.to_string(),
        output: last_part(&both),
    })
}

/// The last 2000 bytes of a program's output as text: enough for a message, bounded whatever it wrote.
pub fn last_part(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(2000);
    String::from_utf8_lossy(&bytes[start..]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn qemu_version_is_found_in_what_distributions_print() {
        assert_eq!(
            version_of("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright"),
            Some("10.0.2")
        );
        assert_eq!(version_of("QEMU emulator version 7.2.17(x)\n"), Some("7.2.17"));
        assert_eq!(version_of("something else"), None);
    }
}
