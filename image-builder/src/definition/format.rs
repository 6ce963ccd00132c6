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
    /// A file for each partition of the sparse file that holds something.
    #[serde(rename = "split")]
    Split,
}

impl Format {
    /// What a definition calls it; the name of its file ends with that, if it is one file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RawZst => "raw.zst",
            Self::Qcow2 => "qcow2",
            Self::Split => "split",
        }
    }
}
