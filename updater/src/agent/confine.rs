//! Confines the part that writes to what it has to write: the disk this host was booted from, the EFI system partition, and the
//! agent's own state. A second disk, even a copy of ours, is out of its reach, whatever goes wrong in it.
//!
//! The kernel does it (Landlock, `landlock(7)`), for one thread and for good; so the work gets a thread of its own. The unit's
//! `DeviceAllow=` cannot: the name of the boot disk is not known before the boot.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus,
};

/// The kernel interface that is asked for; an older kernel gives as much of it as it has.
const INTERFACE: ABI = ABI::V5;

/// Runs `work` so that it can write below `places` only. What it sends is given to `watch`, here, as it comes.
pub(super) fn confined<T: Send, P: Send>(
    places: &[PathBuf],
    watch: &mut dyn FnMut(P),
    work: impl FnOnce(&mut dyn FnMut(P)) -> T + Send,
) -> T {
    let (send, progress) = mpsc::channel();
    thread::scope(|scope| {
        let working = scope.spawn(move || {
            // Held to the end: open, the EFI system partition is mounted and stays so. Mounted anew, it would no longer be the
            // place that was named.
            let places: Vec<File> = places.iter().filter_map(|place| File::open(place).ok()).collect();
            match restrict(&places) {
                Ok(RulesetStatus::NotEnforced) => {
                    tracing::debug!("this kernel has no Landlock: writing is not confined");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!("writing is not confined: {error}"),
            }
            work(&mut |step| drop(send.send(step)))
        });
        // Ends when the other side is dropped with the thread.
        for step in progress {
            watch(step);
        }
        match working.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn restrict(places: &[File]) -> Result<RulesetStatus, RulesetError> {
    let writes = AccessFs::from_write(INTERFACE);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writes)?
        .create()?;
    for place in places {
        let is_folder = place.metadata().is_ok_and(|metadata| metadata.is_dir());
        let allowed = if is_folder {
            writes
        } else {
            writes & AccessFs::from_file(INTERFACE)
        };
        rules = rules.add_rule(PathBeneath::new(place, allowed))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, OpenOptions};
    use std::io::{ErrorKind, Write};

    #[test]
    fn only_the_named_places_can_be_written_and_only_in_that_thread() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for disk in ["vda", "vdb"] {
            fs::write(at(disk), "disk").unwrap();
        }
        fs::create_dir(at("esp")).unwrap();
        let places = [at("vda"), at("esp"), at("absent")];
        let write = |name: &str| {
            OpenOptions::new()
                .write(true)
                .open(at(name))
                .and_then(|mut file| file.write_all(b"x"))
        };
        let mut steps = Vec::new();
        let (boot, entry, copy, new) = confined(&places, &mut |step: u8| steps.push(step), |watch| {
            watch(1);
            (
                write("vda").is_ok(),
                fs::write(at("esp/twinhull.new"), "kernel")
                    .and_then(|()| fs::rename(at("esp/twinhull.new"), at("esp/a.efi"))),
                write("vdb").map_err(|error| error.kind()),
                fs::write(at("elsewhere"), "x").map_err(|error| error.kind()),
            )
        });
        assert!(boot);
        entry.unwrap();
        assert_eq!(steps, [1]);
        let status = thread::spawn(|| restrict(&[]).unwrap()).join().unwrap();
        if status != RulesetStatus::NotEnforced {
            assert_eq!(
                (copy, new),
                (Err(ErrorKind::PermissionDenied), Err(ErrorKind::PermissionDenied))
            );
        }
        write("vdb").unwrap();
    }
}
