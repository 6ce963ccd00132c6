//! The packages that a manifest names, compared with the database of packages in the root file system.
//!
//! The kernel and the boot loader are unpacked and not installed, so the image has no record of them: their names are all there is to
//! judge by, and the report says so.

use std::collections::BTreeSet;
use std::path::Path;

use super::Report;
use crate::build::lock::Lock;
use crate::build::manifest::Manifest;
use crate::build::resolve;
use crate::erofs;
use crate::part::Part;
use crate::tree;

const WHAT: &str = "packages";

/// Compares the packages of `manifest`, whose image is at `disk`, with what is installed in `root`.
pub(super) fn inspect(manifest: &Manifest, disk: &Path, root: &Part, report: &mut Report) {
    let database = match erofs::file(root, Path::new(tree::PACKAGES)) {
        Ok(Some(text)) => text,
        Ok(None) => return report.bad(WHAT, "no database", format!("the root has no {}", tree::PACKAGES)),
        Err(error) => return report.bad(WHAT, "unreadable", error.to_string()),
    };
    let Some(installed) = tree::installed(&String::from_utf8_lossy(&database)) else {
        return report.bad(
            WHAT,
            "unreadable",
            format!("{} is no database of packages", tree::PACKAGES),
        );
    };
    let installed: BTreeSet<(String, String)> = installed.into_iter().collect();
    let named: BTreeSet<(String, String)> = (manifest.packages.iter())
        .map(|package| (package.name.clone(), package.version.clone()))
        .collect();
    // A kernel may be called anything; then the lock of the build, if it is still there, knows the name.
    let lock = Lock::read(&disk.with_extension("lock")).ok();
    let of_kernel = |name: &str| {
        let locked = lock.iter().flat_map(|lock| &lock.boot);
        resolve::is_boot(name, "") || locked.into_iter().any(|package| package.name == *name)
    };
    let (unpacked, foreign): (Vec<_>, Vec<_>) = named.difference(&installed).partition(|(name, _)| of_kernel(name));
    let found = format!(
        "{} of the manifest, {} installed in the root",
        named.len(),
        installed.len()
    );
    if let Some((name, version)) = installed.difference(&named).next() {
        report.bad(
            WHAT,
            found,
            format!("the manifest lacks {name} {version}, which is installed"),
        );
    } else if let Some((name, version)) = foreign.first() {
        report.bad(WHAT, found, format!("{name} {version} is not installed"));
    } else {
        let rest: Vec<String> = unpacked
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        report.good(WHAT, found);
        if !rest.is_empty() {
            report.good(
                "  not checked",
                format!("{}: nothing in the image tells", rest.join(", ")),
            );
        }
    }
}
