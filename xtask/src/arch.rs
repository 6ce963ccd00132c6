//! The architectures that images are built for.

use clap::ValueEnum;

use crate::workspace;

/// The architecture of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// PCs and their servers
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit Arm; its packages are installed under emulation
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    /// Its name in file names and on command lines.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// What Debian calls it, and container images do.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The Rust target of the static programs in an image.
    pub(crate) const fn musl(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The folder for what is built for it. A trust root is of one architecture's images, so each has keys of its own.
    pub(crate) fn work(self) -> std::path::PathBuf {
        match self {
            Self::X86_64 => workspace::work(),
            Self::Aarch64 => workspace::work().join(self.name()),
        }
    }
}
