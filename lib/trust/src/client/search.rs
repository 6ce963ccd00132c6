//! Targets roles, and the search through delegations (TUF 1.0.x section 5.6).

use std::collections::HashSet;

use jiff::Timestamp;

use super::online::{check_listed_version, fetch_listed};
use super::{Client, Current, limits};
use crate::metadata::{Delegator, Role, Snapshot, TARGETS, TargetRecord, Targets, envelope};
use crate::{Fetcher, TrustError, name};

impl Client {
    /// Takes the top-level targets that `snapshot` lists.
    pub(super) fn refresh_targets(
        &self,
        fetcher: &mut dyn Fetcher,
        start: Timestamp,
        snapshot: &Snapshot,
    ) -> Result<Targets, TrustError> {
        self.targets_role(fetcher, start, snapshot, TARGETS, self.root.targets())
    }

    /// Takes the targets role `role` that `snapshot` lists and `delegator` gives keys to: the kept file if it still is the
    /// one listed, else the repository's.
    fn targets_role(
        &self,
        fetcher: &mut dyn Fetcher,
        start: Timestamp,
        snapshot: &Snapshot,
        role: &str,
        delegator: Delegator<'_>,
    ) -> Result<Targets, TrustError> {
        let record = snapshot
            .role(role)
            .ok_or_else(|| TrustError::RoleNotListed { role: role.to_owned() })?;
        let file = name::role_file(role)?;
        let kept_as = if role == TARGETS {
            format!("{file}.json")
        } else {
            format!("delegated/{file}.json")
        };

        let kept = self
            .store
            .read(&kept_as, limits::TARGETS)
            .filter(|bytes| record.check(bytes).is_ok());
        let kept = kept.and_then(|bytes| envelope::open::<Targets>(role, &bytes, delegator).ok());
        if let Some(kept) = kept.filter(|kept| kept.version() == record.version.get()) {
            kept.check_fresh(role, start)?;
            return Ok(kept);
        }

        let prefix = self.root.file_prefix(record.version.get());
        let path = format!("metadata/{prefix}{file}.json");
        let bytes = fetch_listed(fetcher, role, &path, record, limits::TARGETS)?;
        let targets: Targets = envelope::open(role, &bytes, delegator)?;
        check_listed_version(role, targets.version(), record)?;
        targets.check_fresh(role, start)?;
        self.store.write(&kept_as, &bytes)?;
        Ok(targets)
    }

    /// What the repository says about the target `name`: a depth-first search in order of priority that opens a role only
    /// when it is reached (section 5.6.7). `None` if no role that may speak for the name lists it.
    pub(super) fn search(
        &self,
        fetcher: &mut dyn Fetcher,
        current: &mut Current,
        name: &str,
    ) -> Result<Option<TargetRecord>, TrustError> {
        // Roles still to visit, the next one last.
        let mut waiting: Vec<Step> = vec![Step::top()];
        let mut visited = HashSet::new();
        while let Some(step) = waiting.pop() {
            if visited.len() >= limits::ROLES_VISITED {
                break;
            }
            if !visited.insert(step.role.clone()) {
                continue;
            }
            self.open_step(fetcher, current, &step)?;
            let Some(targets) = current.opened(&step) else { continue };
            if let Some(found) = targets.listed.get(name) {
                return Ok(Some(found.clone()));
            }
            let mut children = Vec::new();
            for delegated in targets.delegations.iter().flat_map(|all| &all.roles) {
                if !delegated.may_speak_for(name) {
                    continue;
                }
                children.push(step.child(&delegated.name));
                if delegated.terminating {
                    // Nobody after this one is asked, here or above.
                    waiting.clear();
                    break;
                }
            }
            waiting.extend(children.into_iter().rev());
        }
        Ok(None)
    }

    /// Opens the role of `step` with the keys that its delegator gives it, unless that was done since the last refresh.
    fn open_step(&self, fetcher: &mut dyn Fetcher, current: &mut Current, step: &Step) -> Result<(), TrustError> {
        let Some(parent) = &step.parent else { return Ok(()) };
        if current.opened(step).is_some() {
            return Ok(());
        }
        let not_delegated = || TrustError::RoleNotListed {
            role: step.role.clone(),
        };
        let delegator = current.opened(parent).ok_or_else(not_delegated)?;
        let delegations = delegator.delegations.as_ref().ok_or_else(not_delegated)?;
        let role = delegations
            .roles
            .iter()
            .find(|role| role.name == step.role)
            .ok_or_else(not_delegated)?;
        let opened = self.targets_role(
            fetcher,
            current.start,
            &current.snapshot,
            &step.role,
            delegations.delegator(role),
        )?;
        current.delegated.insert(step.key(), opened);
        Ok(())
    }
}

/// One role on the way of a search, and the way that led to it.
#[derive(Debug, Clone)]
struct Step {
    role: String,
    parent: Option<Box<Self>>,
}

impl Step {
    fn top() -> Self {
        Self {
            role: TARGETS.to_owned(),
            parent: None,
        }
    }

    fn child(&self, role: &str) -> Self {
        Self {
            role: role.to_owned(),
            parent: Some(Box::new(self.clone())),
        }
    }

    /// Under which an opened role is remembered: the whole way, since each delegator gives its own keys.
    fn key(&self) -> Vec<String> {
        let mut way = self.parent.as_ref().map(|parent| parent.key()).unwrap_or_default();
        way.push(self.role.clone());
        way
    }
}

impl Current {
    fn opened(&self, step: &Step) -> Option<&Targets> {
        match step.parent {
            None => Some(&self.targets),
            Some(_) => self.delegated.get(&step.key()),
        }
    }
}
