//! The target names of documents.

use twinhull_layout::{Arch, Product, Version};

/// The names that the role `releases` may speak for.
pub const RELEASE_PATTERN: &str = "releases/*/*/*.json";

/// The names that the role `channels` may speak for.
pub const CHANNEL_PATTERN: &str = "channels/*/*.json";

/// `releases/<product>/<arch>/<version>.json`.
pub fn release_target(product: &Product, arch: Arch, version: &Version) -> String {
    format!("releases/{product}/{arch}/{version}.json")
}

/// `channels/<product>/<channel>.json`.
pub fn channel_target(product: &Product, channel: &str) -> String {
    format!("channels/{product}/{channel}.json")
}
