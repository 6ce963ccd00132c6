//! `gzip`: decompresses layers of container images.

use std::fs::File;
use std::path::Path;

use super::{Log, command};
use crate::error::{Doing, Result};

/// Decompresses `from` into the new file `to`.
pub fn decompress(log: &Log, from: &Path, to: &Path) -> Result<()> {
    let target = File::create(to).doing("write", to)?;
    let mut gzip = command("gzip");
    gzip.args(["--decompress", "--stdout"]).arg(from);
    log.run_into("decompressing a layer", &mut gzip, target)
}
