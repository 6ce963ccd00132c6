//! The forms a disk image is written in.

use schemars::JsonSchema;
use serde::Deserialize;

/// A form beside the sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Format {
    /// The sparse file, compressed.
    #[serde(rename = "raw.zst")]
    RawZst,
    /// The format of QEMU.
    #[serde(rename = "qcow2")]
    Qcow2,
}

impl Format {
    /// What its file's name ends with.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::RawZst => "raw.zst",
            Self::Qcow2 => "qcow2",
        }
    }
}
