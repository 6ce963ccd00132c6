//! `twinhull-updater health`

use std::fs;

use twinhull_layout::paths::ENTRIES;

use super::Exit;
use crate::agent::reboot;
use crate::config::Config;
use crate::health::{self, Findings, Folders, HostProbe, Latest, RealTime, Report};
use crate::host::{Running, counted_boot};
use crate::install::Entries;
use crate::paths::Paths;

pub(super) fn run(paths: &Paths) -> Exit {
    let folders = Folders {
        required: paths.health_folders(),
        reported: paths.reported_health_folders(),
    };
    let Findings { wrong, reported } = match Config::load(paths) {
        Ok(config) => health::check(&config.health, &HostProbe, &folders, &RealTime::default()),
        // With such a configuration the agent could not fetch a repair either.
        Err(error) => Findings {
            wrong: vec![error.to_string()],
            reported: Vec::new(),
        },
    };
    for reason in &reported {
        tracing::warn!("not as it should be: {reason}");
    }
    let latest = Latest {
        at: jiff::Timestamp::now(),
        wrong: wrong.clone(),
        reported,
    };
    if let Err(error) = health::write_report(&paths.health_status(), &latest) {
        tracing::warn!("the findings cannot be kept for `status`: {error}");
    }
    if wrong.is_empty() {
        tracing::info!("healthy");
        return Exit::Done;
    }
    for reason in &wrong {
        tracing::error!("not healthy: {reason}");
    }
    let running = Running::read(paths);
    if !on_trial(paths, running.as_ref().ok()) {
        return Exit::Failed;
    }
    if let Ok(running) = running {
        let report = Report {
            version: running.version,
            at: jiff::Timestamp::now(),
            reasons: wrong,
        };
        if let Err(error) = health::write_report(&paths.health_report(), &report) {
            tracing::warn!("the reasons cannot be kept: {error}");
        }
    }
    tracing::error!("this release is on trial: rebooting");
    if let Err(problem) = reboot() {
        tracing::error!("{problem}");
    }
    Exit::Failed
}

/// Whether what runs has still to prove itself: its boot entry says so, or if that cannot be read, the firmware.
fn on_trial(paths: &Paths, running: Option<&Running>) -> bool {
    let counted = counted_boot(paths).is_some();
    let names = fs::read_dir(paths.esp().join(ENTRIES)).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>, _>>()
    });
    match (names, running) {
        (Ok(names), Some(running)) => Entries::of(&names, running).on_trial(),
        _ => counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinhull_layout::{Arch, RootHash};

    #[test]
    fn trial_is_told_by_the_entry_and_without_it_by_the_firmware() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let running = Running {
            product: "p".parse().unwrap(),
            version: "1.1.0".parse().unwrap(),
            root_hash: RootHash::from([0; 32]),
            arch: Arch::host(),
        };
        assert!(!on_trial(&paths, Some(&running)));

        let variables = paths.at("/sys/firmware/efi/efivars");
        fs::create_dir_all(&variables).unwrap();
        let mut value = vec![6, 0, 0, 0];
        value.extend("\\x\0".encode_utf16().flat_map(u16::to_le_bytes));
        fs::write(
            variables.join("LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"),
            value,
        )
        .unwrap();
        assert!(on_trial(&paths, Some(&running)));

        let entries = paths.esp().join(ENTRIES);
        fs::create_dir_all(&entries).unwrap();
        fs::write(entries.join("p_1.1.0+2-1.efi"), "").unwrap();
        assert!(on_trial(&paths, Some(&running)));
        fs::rename(entries.join("p_1.1.0+2-1.efi"), entries.join("p_1.1.0.efi")).unwrap();
        assert!(!on_trial(&paths, Some(&running)), "blessed, though the variable stays");
    }
}
