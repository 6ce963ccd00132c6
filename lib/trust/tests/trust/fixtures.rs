//! The attacks of `tests/fixtures`, made by scripts that share no code with this crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use twinhull_trust::{Client, FixedClock, TrustError};

use crate::repository::Folder;

#[derive(Deserialize)]
struct Case {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    now: String,
    target: String,
    /// The kind of error that must come; nothing must if not given.
    error: Option<String>,
    /// Files of the metadata folder that are cut to half before the host looks.
    tear: Vec<PathBuf>,
}

/// One look of a host that has just started: refresh, find the target, download it.
fn look(root: &[u8], home: &Path, server: &Path, step: &Step) -> Result<(), TrustError> {
    let clock = FixedClock(step.now.parse().unwrap());
    let mut server = Folder(server.to_owned());
    let mut client = Client::open(&home.join("metadata"), root)?;
    client.refresh(&mut server, &clock)?;
    let target = client.find(&mut server, &clock, &step.target)?.unwrap();
    client.download(&mut server, &target, 1 << 20, &home.join("target"))
}

#[test]
fn every_attack_is_met_as_its_script_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let attacks: BTreeSet<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("case.json").exists())
        .collect();
    assert!(attacks.len() >= 20, "{} attacks", attacks.len());
    for attack in attacks {
        let name = attack.file_name().unwrap().display();
        assert!(attack.join("make.py").exists(), "{name} has no script");
        let root = fs::read(attack.join("root.json")).unwrap();
        let case: Case = serde_json::from_slice(&fs::read(attack.join("case.json")).unwrap()).unwrap();
        let home = tempfile::tempdir().unwrap();
        for (number, step) in (1..).zip(&case.steps) {
            for torn in &step.tear {
                let path = home.path().join("metadata").join(torn);
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            }
            let _ = fs::remove_file(home.path().join("target"));
            let said = look(&root, home.path(), &attack.join(number.to_string()), step);
            match (&said, &step.error) {
                (Ok(()), None) => assert!(home.path().join("target").exists()),
                (Err(error), Some(kind)) if format!("{error:?}").starts_with(kind.as_str()) => {
                    assert!(
                        !home.path().join("target").exists(),
                        "{name}, step {number}: something was kept"
                    );
                }
                _ => panic!("{name}, step {number}: {said:?} where {:?} must come", step.error),
            }
        }
    }
}
