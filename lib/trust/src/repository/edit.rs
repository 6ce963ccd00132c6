//! What can be changed in a repository.

use twinhull_layout::{Arch, Product, Version};

use super::{CHANNELS, RELEASES, Repository, RepositoryError, files};
use crate::metadata::{Hashes, SNAPSHOT, TARGETS, TIMESTAMP, TargetRecord, Targets};
use crate::{ChannelDocument, Hex32, MAX_DOCUMENT_BYTES, ReleaseDocument, channel_target, name, release_target};

impl Repository {
    /// Publishes a release: its payloads must be in place. Adding the very same again changes nothing.
    ///
    /// # Errors
    /// [`RepositoryError::Refused`] if the document is out of its bounds; [`RepositoryError::AlreadyPublished`] if there is
    /// another release of this name.
    pub fn add_release(&mut self, release: &ReleaseDocument) -> Result<(), RepositoryError> {
        let name = release.target();
        let bytes = release.to_bytes().map_err(RepositoryError::Refused)?;
        let published = self.role(RELEASES)?.listed.get(&name);
        match published.map(|record| record.hashes == Hashes::of(&bytes)) {
            Some(true) => Ok(()),
            Some(false) => Err(RepositoryError::AlreadyPublished { name }),
            None => self.add_target_bytes(RELEASES, &name, bytes),
        }
    }

    /// Says what a channel offers from now on.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownRelease`] if a release it offers is not published; [`RepositoryError::Refused`].
    pub fn set_channel(&mut self, channel: &ChannelDocument) -> Result<(), RepositoryError> {
        let bytes = channel.to_bytes().map_err(RepositoryError::Refused)?;
        for (arch, version) in &channel.releases {
            let release = release_target(&channel.product, *arch, version);
            if !self.role(RELEASES)?.listed.contains_key(&release) {
                return Err(RepositoryError::UnknownRelease {
                    channel: channel.channel.clone(),
                    release,
                });
            }
        }
        self.add_target_bytes(CHANNELS, &channel_target(&channel.product, &channel.channel), bytes)
    }

    /// Lists `bytes` as the target `name` in `role` (`targets`, `releases` or `channels`), unchecked: whatever is in them, and
    /// whether or not hosts let the role speak for the name. [`Repository::add_release`] and [`Repository::set_channel`] are
    /// for documents that are meant to be right; this is for other files, and for tests that need a wrong document with a
    /// right signature.
    ///
    /// # Errors
    /// [`RepositoryError::NoSuchRole`]; [`RepositoryError::Refused`] if the name leads out of the folder of targets.
    pub fn add_target_bytes(&mut self, role: &str, name: &str, bytes: Vec<u8>) -> Result<(), RepositoryError> {
        name::target_path(name).map_err(RepositoryError::Refused)?;
        let record = TargetRecord {
            length: bytes.len() as u64,
            hashes: Hashes::of(&bytes),
            custom: None,
        };
        let file = stored_as(name, &bytes);
        self.role_mut(role)?.listed.insert(name.to_owned(), record);
        self.changed.insert(role.to_owned());
        self.new_files.insert(file, bytes);
        Ok(())
    }

    /// Takes the target `name` off the list of `role`. Its file stays, for hosts that are just reading it.
    ///
    /// # Errors
    /// [`RepositoryError::NoSuchRole`].
    pub fn remove_target(&mut self, role: &str, name: &str) -> Result<(), RepositoryError> {
        if self.role_mut(role)?.listed.remove(name).is_some() {
            self.changed.insert(role.to_owned());
        }
        Ok(())
    }

    /// Has the online roles (channels, snapshot, timestamp) signed anew with the next commit, so that they stay fresh. Needs
    /// no offline key.
    pub fn renew_online(&mut self) {
        self.changed.extend([CHANNELS, SNAPSHOT, TIMESTAMP].map(str::to_owned));
    }

    /// The names of all published releases.
    pub fn releases(&self) -> impl Iterator<Item = &str> {
        self.state
            .delegated
            .get(RELEASES)
            .into_iter()
            .flat_map(|role| role.listed.keys())
            .map(String::as_str)
    }

    /// A published release, if there is one of this name.
    ///
    /// # Errors
    /// Its file cannot be read or is not what is signed.
    pub fn release(
        &self,
        product: &Product,
        arch: Arch,
        version: &Version,
    ) -> Result<Option<ReleaseDocument>, RepositoryError> {
        let name = release_target(product, arch, version);
        let read = |bytes: Vec<u8>| ReleaseDocument::from_bytes(&bytes, &name, product, arch, version);
        self.target_bytes(RELEASES, &name)?
            .map(read)
            .transpose()
            .map_err(|source| self.invalid(source))
    }

    /// What a channel offers now, if there is one of this name.
    ///
    /// # Errors
    /// Its file cannot be read or is not what is signed.
    pub fn channel(&self, product: &Product, channel: &str) -> Result<Option<ChannelDocument>, RepositoryError> {
        let name = channel_target(product, channel);
        let read = |bytes: Vec<u8>| ChannelDocument::from_bytes(&bytes, &name, product, channel);
        self.target_bytes(CHANNELS, &name)?
            .map(read)
            .transpose()
            .map_err(|source| self.invalid(source))
    }

    /// All channels of a product, as they are now.
    ///
    /// # Errors
    /// A file cannot be read or is not what is signed.
    pub fn channels(&self, product: &Product) -> Result<Vec<ChannelDocument>, RepositoryError> {
        let folder = format!("channels/{product}/");
        let names = self.role(CHANNELS)?.listed.keys();
        names
            .filter_map(|name| name.strip_prefix(&folder)?.strip_suffix(".json"))
            .filter_map(|channel| self.channel(product, channel).transpose())
            .collect()
    }

    pub(super) fn target_bytes(&self, role: &str, name: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        let Some(record) = self.role(role)?.listed.get(name) else {
            return Ok(None);
        };
        let Some(hash) = record.hashes.for_name() else {
            return Ok(None);
        };
        let file = hashed_path(name, hash);
        if let Some(bytes) = self.new_files.get(&file) {
            return Ok(Some(bytes.clone()));
        }
        let bytes = files::read(&self.directory.join(&file), MAX_DOCUMENT_BYTES)?;
        let differs = |why| {
            self.invalid(crate::TrustError::Mismatch {
                name: name.to_owned(),
                why,
            })
        };
        record.hashes.check(&bytes).map_err(differs)?;
        Ok(Some(bytes))
    }

    /// Whether the next commit gives the channel of this target name another document.
    pub(super) fn changes_channel(&self, name: &str) -> Result<bool, RepositoryError> {
        let record = self.role(CHANNELS)?.listed.get(name);
        let file = record.and_then(|record| Some(hashed_path(name, record.hashes.for_name()?)));
        Ok(file.is_some_and(|file| self.new_files.contains_key(&file)))
    }

    fn invalid(&self, source: crate::TrustError) -> RepositoryError {
        RepositoryError::Invalid {
            path: self.directory.clone(),
            source,
        }
    }

    pub(super) fn role(&self, role: &str) -> Result<&Targets, RepositoryError> {
        let found = if role == TARGETS {
            Some(&self.state.targets)
        } else {
            self.state.delegated.get(role)
        };
        found.ok_or_else(|| RepositoryError::NoSuchRole { role: role.to_owned() })
    }

    fn role_mut(&mut self, role: &str) -> Result<&mut Targets, RepositoryError> {
        let found = if role == TARGETS {
            Some(&mut self.state.targets)
        } else {
            self.state.delegated.get_mut(role)
        };
        found.ok_or_else(|| RepositoryError::NoSuchRole { role: role.to_owned() })
    }
}

fn stored_as(name: &str, bytes: &[u8]) -> String {
    hashed_path(name, &Hex32::sha256_of(bytes).to_string())
}

/// The path of a target below the repository: `targets/DIR/HASH.FILE` (TUF 1.0.x section 6.2).
fn hashed_path(name: &str, hash: &str) -> String {
    match name.rsplit_once('/') {
        Some((folder, file)) => format!("targets/{folder}/{hash}.{file}"),
        None => format!("targets/{hash}.{name}"),
    }
}
