//! What can stop an edit of a repository.

use std::io;
use std::path::PathBuf;

use crate::TrustError;

/// Why a repository could not be read, changed or written. What is published is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// There is a repository already.
    #[error("{} is a repository already; nothing was changed", path.display())]
    AlreadyThere {
        /// Its folder.
        path: PathBuf,
    },
    /// A file or folder cannot be read or made.
    #[error("cannot {action} {}: {source}", path.display())]
    Files {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file cannot be written durably.
    #[error("cannot write the repository: {0}")]
    Write(#[from] twinhull_durable::Error),
    /// What is in the folder does not verify.
    #[error("the repository in {} does not verify: {source}", path.display())]
    Invalid {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        source: TrustError,
    },
    /// A key file cannot be used.
    #[error("the key file {} cannot be used: {why}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The operating system gives no random bytes.
    #[error("cannot make a key: the operating system gives no random bytes: {why}")]
    NoRandomness {
        /// Its reason.
        why: String,
    },
    /// Too few keys to sign for a role.
    #[error("role `{role}` needs {threshold} of its keys to sign and {have} are at hand; nothing was published")]
    MissingKeys {
        /// The role.
        role: String,
        /// How many are needed.
        threshold: u32,
        /// How many there are.
        have: usize,
    },
    /// A key at hand cannot sign.
    #[error("cannot sign with key {key}: {why}")]
    Signer {
        /// Its id.
        key: String,
        /// Why not.
        why: String,
    },
    /// A file in `pending/` does not follow what is published.
    #[error(
        "{}: it is version {found} of `{role}` where {wanted} must come next; it was made from an older state of the \
         repository: remove it and make the change again", path.display()
    )]
    Stale {
        /// The file.
        path: PathBuf,
        /// Its role.
        role: String,
        /// Its version.
        found: u64,
        /// The version that must follow.
        wanted: u64,
    },
    /// A change of what is listed online that would be lost: only a channel's document can wait for a release.
    #[error(
        "the change of `{name}` cannot wait for the signatures of other roles: make it when those are published; nothing was changed"
    )]
    CannotWait {
        /// The target.
        name: String,
    },
    /// A file in `pending/channels` is not the document of the channel that its name says.
    #[error("{} is not the document of a channel of this name: remove it and set the channel again", path.display())]
    NoChannel {
        /// The file.
        path: PathBuf,
    },
    /// There is something in `pending/` already.
    #[error("{} waits for signatures; sign and publish it, or remove it, before another change of `{role}`", path.display())]
    Waiting {
        /// The file.
        path: PathBuf,
        /// Its role.
        role: String,
    },
    /// A key to remove that the role does not have.
    #[error("role `{role}` has no key {key}")]
    UnknownKey {
        /// The role.
        role: String,
        /// The id given.
        key: String,
    },
    /// A change of keys after which nobody could sign.
    #[error("role `{role}` would have {keys} keys and need {threshold} of them to sign")]
    BadKeys {
        /// The role.
        role: String,
        /// Its keys after the change.
        keys: usize,
        /// Its threshold after the change.
        threshold: u32,
    },
    /// The set-up of a new repository cannot work.
    #[error("role `{role}` cannot have a threshold of {threshold} with {keys} keys")]
    BadTerms {
        /// The role.
        role: &'static str,
        /// The threshold asked for.
        threshold: u32,
        /// The keys asked for.
        keys: u32,
    },
    /// There is no such role for targets.
    #[error("there is no role `{role}` that lists targets")]
    NoSuchRole {
        /// The name given.
        role: String,
    },
    /// A document or name cannot be published.
    #[error("cannot publish this: {0}")]
    Refused(TrustError),
    /// A release that was published is never replaced by another of the same name.
    #[error("`{name}` is published with another content; a release never changes: give the new one another version")]
    AlreadyPublished {
        /// The target.
        name: String,
    },
    /// A channel may only offer releases that are published.
    #[error("channel `{channel}` cannot offer `{release}`: it is not published")]
    UnknownRelease {
        /// The channel.
        channel: String,
        /// The target of the release.
        release: String,
    },
}
