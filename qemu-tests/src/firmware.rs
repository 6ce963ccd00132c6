//! The UEFI firmware that machines start from.

use std::path::{Path, PathBuf};

use twinhull_layout::Arch;

use crate::error::{Error, Result};

/// The firmware's code, shared read-only, and the variable store that each machine copies.
#[derive(Debug, Clone)]
pub struct Firmware {
    /// The code.
    pub code: PathBuf,
    /// An empty variable store.
    pub variables: PathBuf,
    /// Whether it verifies what it starts, once keys are enrolled.
    pub secure: bool,
}

impl Firmware {
    /// The distribution's firmware for `arch`, without Secure Boot.
    pub fn find(arch: Arch) -> Result<Self> {
        let (folder, code, variables, package) = match arch {
            Arch::X86_64 => ("/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", "ovmf"),
            Arch::Aarch64 => ("/usr/share/AAVMF", "AAVMF_CODE.fd", "AAVMF_VARS.fd", "qemu-efi-aarch64"),
        };
        let found = |name: &str| {
            let path = Path::new(folder).join(name);
            let tool = path.display().to_string();
            path.is_file().then_some(path).ok_or(Error::MissingTool {
                tool,
                package,
                hint: "",
            })
        };
        Ok(Self {
            code: found(code)?,
            variables: found(variables)?,
            secure: false,
        })
    }

    /// The distribution's firmware for `arch` that verifies what it starts, with no keys yet: whoever boots first enrols some.
    pub fn find_secure(arch: Arch) -> Result<Self> {
        let plain = Self::find(arch)?;
        let code = match arch {
            Arch::X86_64 => Path::new("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd").to_owned(),
            // The one file does both.
            Arch::Aarch64 => plain.code,
        };
        if !code.is_file() {
            return Err(Error::MissingTool {
                tool: code.display().to_string(),
                package: "ovmf",
                hint: "",
            });
        }
        Ok(Self {
            code,
            secure: true,
            ..plain
        })
    }
}
