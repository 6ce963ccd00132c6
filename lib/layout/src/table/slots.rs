//! The table understood as slots, and the two edits an update makes.

use uuid::Uuid;

use super::{Partition, Table, TableError};
use crate::{Arch, RootHash, Slot, Version, partition};

/// The partitions of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPartitions {
    /// The root file system.
    pub root: Partition,
    /// Its dm-verity tree.
    pub verity: Partition,
    /// Its signed root hash.
    pub signature: Partition,
}

/// What the labels say of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotContent {
    /// Nothing that may boot.
    Empty,
    /// A whole release.
    Release(Version),
}

impl SlotPartitions {
    /// What the labels say. A slot whose labels disagree holds nothing: an edit writes all of them at once.
    #[must_use]
    pub fn content(&self) -> SlotContent {
        let root = partition::version_of_label(&self.root.label);
        let verity = partition::version_of_label(&self.verity.label);
        match (root, verity) {
            (Some(root), Some(verity)) if root == verity => SlotContent::Release(root),
            _ => SlotContent::Empty,
        }
    }

    /// Whether the PARTUUIDs say that this slot holds the content with this root hash.
    #[must_use]
    pub fn holds(&self, hash: &RootHash) -> bool {
        self.root.id == hash.root_partuuid() && self.verity.id == hash.verity_partuuid()
    }
}

impl Table {
    /// The partitions of `slot`, checked to have the types of `arch`.
    ///
    /// # Errors
    /// [`TableError::Layout`] if a partition is missing or of another type.
    pub fn slot(&self, slot: Slot, arch: Arch) -> Result<SlotPartitions, TableError> {
        Ok(SlotPartitions {
            root: self.expect(slot.root_number(), partition::root(arch))?,
            verity: self.expect(slot.verity_number(), partition::root_verity(arch))?,
            signature: self.expect(slot.signature_number(), partition::root_verity_signature(arch))?,
        })
    }

    /// The EFI system partition.
    ///
    /// # Errors
    /// [`TableError::Layout`] if it is missing or of another type.
    pub fn esp(&self) -> Result<Partition, TableError> {
        self.expect(partition::ESP_NUMBER, partition::ESP)
    }

    /// The state partition.
    ///
    /// # Errors
    /// [`TableError::Layout`] if it is missing or of another type.
    pub fn state(&self) -> Result<Partition, TableError> {
        self.expect(partition::STATE_NUMBER, partition::STATE)
    }

    /// The slot whose PARTUUIDs are those of `hash`, if one has them.
    ///
    /// # Errors
    /// The table does not have our layout.
    pub fn slot_holding(&self, hash: &RootHash, arch: Arch) -> Result<Option<Slot>, TableError> {
        for slot in Slot::ALL {
            if self.slot(slot, arch)?.holds(hash) {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// Marks `slot` as holding nothing: labels `_empty` and `ids` as PARTUUIDs of root, verity and signature, which the
    /// caller draws at random. In memory only; see [`Table::write_stages`].
    pub fn invalidate(&mut self, slot: Slot, ids: [Uuid; 3]) {
        for (number, id) in numbers(slot).into_iter().zip(ids) {
            self.rename(number, id, partition::EMPTY_LABEL.to_owned());
        }
    }

    /// Marks `slot` as holding `version` with root hash `hash`. In memory only; see [`Table::write_stages`].
    pub fn assign(&mut self, slot: Slot, version: &Version, hash: &RootHash) {
        self.rename(slot.root_number(), hash.root_partuuid(), partition::root_label(version));
        self.rename(
            slot.verity_number(),
            hash.verity_partuuid(),
            partition::verity_label(version),
        );
    }

    /// Marks the signature partition of `slot` as holding the signed root hash of `version`. Without this it stays empty, as
    /// that of a release that nobody signed. In memory only; see [`Table::write_stages`].
    pub fn assign_signature(&mut self, slot: Slot, version: &Version) {
        let number = slot.signature_number();
        if let Some(id) = self.partition(number).map(|partition| partition.id) {
            self.rename(number, id, partition::signature_label(version));
        }
    }

    fn rename(&mut self, number: u32, id: Uuid, label: String) {
        if let Some(partition) = self.partitions.get_mut(&number) {
            partition.id = id;
            partition.label = label;
        }
    }

    fn expect(&self, number: u32, kind: Uuid) -> Result<Partition, TableError> {
        let problem = match self.partition(number) {
            Some(partition) if partition.kind == kind => return Ok(partition.clone()),
            Some(partition) => format!("has type {} and not {kind}", partition.kind),
            None => "is missing".to_owned(),
        };
        Err(TableError::Layout { number, problem })
    }
}

fn numbers(slot: Slot) -> [u32; 3] {
    [slot.root_number(), slot.verity_number(), slot.signature_number()]
}
