//! Opening a repository that is there: everything is verified as a host would, but for the dates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Keyring, Repository, RepositoryError, State, files};
use crate::metadata::envelope::{self, Signed};
use crate::metadata::{
    Delegator, FileRecord, ROOT, Role, Root, SNAPSHOT, Snapshot, TARGETS, TIMESTAMP, Targets, TimestampRole,
};
use crate::{SystemClock, TrustError};

/// The longest metadata file read back, in bytes.
const MAX_METADATA: u64 = 64 * 1024 * 1024;

impl Repository {
    /// Opens the repository in `directory`, to be signed with `keys`; those of roles that will not change may be missing.
    ///
    /// # Errors
    /// [`RepositoryError::Invalid`] if it does not verify; files that cannot be read.
    pub fn open(directory: &Path, keys: &Keyring) -> Result<Self, RepositoryError> {
        let roots = roots(directory)?;
        let mut newest = None;
        // A rotation that was cut may have left a root that the timestamp does not fit yet; then the next commit
        // finishes it, with the very file that hosts may have seen.
        for (root, bytes) in roots.into_iter().rev() {
            match State::read(directory, root.clone()) {
                Ok(state) => {
                    let mut made = Self {
                        directory: directory.to_owned(),
                        keys: keys.clone(),
                        clock: Box::new(SystemClock),
                        published_root: state.root.clone(),
                        state,
                        changed: BTreeSet::new(),
                        new_files: BTreeMap::new(),
                        given: BTreeMap::new(),
                        made_of_kept: BTreeSet::new(),
                    };
                    if let Some((root, bytes)) = newest {
                        made.state.root = root;
                        made.changed.insert(ROOT.to_owned());
                        made.given.insert(ROOT.to_owned(), bytes);
                    }
                    return Ok(made);
                }
                Err(error) if newest.is_some() => return Err(error),
                Err(error) if root.version() == 1 => return Err(error),
                Err(_) => newest = Some((root, bytes)),
            }
        }
        Err(files::failed("open", &directory.join("metadata/root.json"))(
            std::io::ErrorKind::NotFound.into(),
        ))
    }
}

/// The newest root and the one before it, oldest first. `root.json` is only a copy, and written last.
fn roots(directory: &Path) -> Result<Vec<(Root, Vec<u8>)>, RepositoryError> {
    let metadata = directory.join("metadata");
    let invalid = |path: &Path| {
        let path = path.to_owned();
        move |source| RepositoryError::Invalid { path, source }
    };
    let path = metadata.join("root.json");
    let bytes = files::read(&path, MAX_METADATA)?;
    let signed = Signed::parse(ROOT, &bytes).map_err(invalid(&path))?;
    let root: Root = signed.unverified(ROOT).map_err(invalid(&path))?;
    root.root().verify(ROOT, &signed).map_err(invalid(&path))?;
    let mut roots = vec![(root, bytes)];
    while let Some((last, _)) = roots.last() {
        let path = metadata.join(format!("{}.root.json", last.version() + 1));
        if !path.exists() {
            break;
        }
        let bytes = files::read(&path, MAX_METADATA)?;
        let next: Root = envelope::open(ROOT, &bytes, last.root()).map_err(invalid(&path))?;
        let signed = Signed::parse(ROOT, &bytes).map_err(invalid(&path))?;
        next.root().verify(ROOT, &signed).map_err(invalid(&path))?;
        roots.push((next, bytes));
    }
    Ok(roots)
}

impl State {
    fn read(directory: &Path, root: Root) -> Result<Self, RepositoryError> {
        let invalid = |source| RepositoryError::Invalid {
            path: directory.to_owned(),
            source,
        };
        let metadata = directory.join("metadata");
        let file = |name: &str| files::read(&metadata.join(name), MAX_METADATA);

        let bytes = file("timestamp.json")?;
        let timestamp: TimestampRole = envelope::open(TIMESTAMP, &bytes, root.timestamp()).map_err(invalid)?;
        let not_listed = |role: &str| invalid(TrustError::RoleNotListed { role: role.to_owned() });
        let record = timestamp.snapshot().ok_or_else(|| not_listed(SNAPSHOT))?;
        let snapshot: Snapshot = listed(&metadata, SNAPSHOT, record, root.snapshot())?;

        let record = snapshot.role(TARGETS).ok_or_else(|| not_listed(TARGETS))?;
        let targets: Targets = listed(&metadata, TARGETS, record, root.targets())?;
        let mut delegated = BTreeMap::new();
        if let Some(delegations) = &targets.delegations {
            for role in &delegations.roles {
                let record = snapshot.role(&role.name).ok_or_else(|| not_listed(&role.name))?;
                let opened: Targets = listed(&metadata, &role.name, record, delegations.delegator(role))?;
                delegated.insert(role.name.clone(), opened);
            }
        }
        Ok(Self {
            root,
            targets,
            delegated,
            snapshot,
            timestamp,
        })
    }
}

/// Reads the file of `role` that is listed by `record`.
fn listed<R: Role>(
    metadata: &Path,
    role: &str,
    record: &FileRecord,
    delegator: Delegator<'_>,
) -> Result<R, RepositoryError> {
    let path = metadata.join(format!("{}.{role}.json", record.version));
    let invalid = |source| RepositoryError::Invalid {
        path: path.clone(),
        source,
    };
    let bytes = files::read(&path, MAX_METADATA)?;
    let differs = |why| {
        invalid(TrustError::Mismatch {
            name: role.to_owned(),
            why,
        })
    };
    record.check(&bytes).map_err(differs)?;
    let opened: R = envelope::open(role, &bytes, delegator).map_err(invalid)?;
    if opened.version() != record.version.get() {
        return Err(differs(format!(
            "it is version {} where {} is listed",
            opened.version(),
            record.version
        )));
    }
    Ok(opened)
}
