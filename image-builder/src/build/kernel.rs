//! Step 6: the unified kernel image, and the boot loader that starts it.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use twinhull_layout::{Arch, RootHash};
use twinhull_uki::Uki;

use super::packages::Packages;
use super::{Context, fits};
use crate::error::{Doing, Error, Result};
use crate::initramfs::Initramfs;
use crate::sign::authenticode;
use crate::sign::verity::Signature;
use crate::tree::Tree;

/// Where systemd's EFI programs are in its package.
const EFI_PROGRAMS: &str = "usr/lib/systemd/boot/efi";

/// Seconds after which a kernel that panicked starts the machine again; boot counting then falls back by itself.
const PANIC_SECONDS: u32 = 10;

/// What goes onto the ESP.
#[derive(Debug)]
pub(super) struct Boot {
    /// The unified kernel image.
    pub(super) uki: Vec<u8>,
    /// systemd-boot.
    pub(super) loader: Vec<u8>,
    /// The signed root hash, if the build is signed.
    pub(super) root_signature: Option<Signature>,
    /// The files that enrol the keys for Secure Boot, by name.
    pub(super) enrolment: Vec<(String, Vec<u8>)>,
}

impl Boot {
    /// The hash of the unified kernel image.
    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.uki).into()
    }
}

/// Assembles the unified kernel image for a root with `root_hash`.
pub(super) fn run(
    context: &Context<'_>,
    packages: &Packages,
    tree: &Tree,
    initramfs: &Initramfs,
    root_hash: &RootHash,
) -> Result<Boot> {
    let arch = context.options.arch;
    let programs = packages.boot.join(EFI_PROGRAMS);
    let stub = read(&programs.join(format!("linux{}.efi.stub", arch.efi())))?;
    let mut loader = read(&programs.join(format!("systemd-boot{}.efi", arch.efi())))?;
    let kernel = read(&crate::tree::modules::kernel(&packages.boot)?)?;
    let cmdline = cmdline(root_hash, arch, &context.definition.cmdline);
    let parts = Uki {
        stub: &stub,
        kernel: &kernel,
        initrd: &initramfs.bytes,
        cmdline: &cmdline,
        os_release: &tree.os_release,
        uname: &tree.kernel,
        sbat: None,
    };
    let mut uki = parts
        .assemble()
        .map_err(|error| Error::Content(format!("cannot assemble the unified kernel image: {error}")))?;
    let (mut root_signature, mut enrolment) = (None, Vec::new());
    if let Some(keys) = &context.keys {
        // All three are tried, so that a key which is elsewhere is asked once.
        let signed = (
            authenticode::sign(&uki, &keys.database),
            authenticode::sign(&loader, &keys.database),
            Signature::sign(root_hash, &keys.verity),
        );
        let (signed_uki, signed_loader, signature) = all(signed)?;
        (uki, loader, root_signature) = (signed_uki, signed_loader, Some(signature));
        enrolment.clone_from(&keys.enrolment);
    }
    fits(
        "the unified kernel image",
        uki.len() as u64,
        context.definition.uki_budget,
        "name fewer modules in [initramfs], or change [budget] uki; three must fit on the ESP",
    )?;
    Ok(Boot {
        uki,
        loader,
        root_signature,
        enrolment,
    })
}

/// The three signatures; when some of them have yet to be made, all of those at once.
fn all<A, B, C>(signed: (Result<A>, Result<B>, Result<C>)) -> Result<(A, B, C)> {
    let mut unsigned = Vec::new();
    let mut take = |error: Option<&Error>| {
        if let Some(Error::Unsigned { missing }) = error {
            unsigned.extend(missing.iter().cloned());
        }
    };
    take(signed.0.as_ref().err());
    take(signed.1.as_ref().err());
    take(signed.2.as_ref().err());
    match signed {
        (Ok(first), Ok(second), Ok(third)) => Ok((first, second, third)),
        // Any other failure comes first: what was to be signed might not be what is signed in the end.
        (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) if !matches!(error, Error::Unsigned { .. }) => {
            Err(error)
        }
        _ => Err(Error::Unsigned { missing: unsigned }),
    }
}

/// The kernel command line.
fn cmdline(root_hash: &RootHash, arch: Arch, extra: &str) -> String {
    let serial = match arch {
        Arch::X86_64 => "ttyS0",
        Arch::Aarch64 => "ttyAMA0",
    };
    let base = format!("roothash={root_hash} ro console=tty0 console={serial} panic={PANIC_SECONDS}");
    format!("{base} {}", extra.trim()).trim_end().to_owned()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).doing("read the part that the packages should have brought,", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_comes_first_and_what_is_extra_last() {
        let hash = RootHash::from([0xab; 32]);
        assert_eq!(
            cmdline(&hash, Arch::X86_64, " quiet "),
            format!(
                "roothash={} ro console=tty0 console=ttyS0 panic=10 quiet",
                "ab".repeat(32)
            )
        );
        assert!(cmdline(&hash, Arch::Aarch64, "").ends_with("console=ttyAMA0 panic=10"));
    }
}
