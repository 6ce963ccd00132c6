//! What a tree begins with, when not with packages.

use std::path::PathBuf;

/// A whole root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// An archive, as `tar` reads it.
    Tarball(PathBuf),
    /// An OCI image.
    Oci(Oci),
}

/// Where an OCI image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oci {
    /// A folder in the image layout.
    Layout(PathBuf),
    /// An archive of such a folder.
    Archive(PathBuf),
    /// A registry: a reference with a digest, as `registry.example/base@sha256:…`.
    Registry(String),
}

/// What begins the name of an image in a registry.
pub(super) const REGISTRY: &str = "docker://";

impl Oci {
    /// What the text of a definition means. The error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(reference) = text.strip_prefix(REGISTRY) {
            let digest = reference.split_once("@sha256:").map(|(_, digest)| digest);
            let is_digest = digest.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit()));
            return if is_digest && reference.bytes().all(|c| c.is_ascii_graphic()) {
                Ok(Self::Registry(reference.to_owned()))
            } else {
                Err(format!(
                    "[base] oci {text} must end with @sha256: and 64 digits: a tag may mean another image tomorrow"
                ))
            };
        }
        let path = PathBuf::from(text);
        if path.join("index.json").is_file() {
            Ok(Self::Layout(path))
        } else if path.is_file() {
            Ok(Self::Archive(path))
        } else {
            Err(format!(
                "[base] oci {text} is neither an OCI layout (a folder with index.json) nor an archive of one"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_wants_a_digest_and_a_path_must_be_there() {
        let digest = "ab".repeat(32);
        assert_eq!(
            Oci::parse(&format!("docker://r.example/base@sha256:{digest}")),
            Ok(Oci::Registry(format!("r.example/base@sha256:{digest}")))
        );
        for text in ["docker://r.example/base:latest", "docker://r.example/base@sha256:12"] {
            assert!(Oci::parse(text).unwrap_err().contains("@sha256:"), "{text}");
        }
        assert!(
            Oci::parse("/nowhere/base.tar")
                .unwrap_err()
                .contains("/nowhere/base.tar")
        );
    }
}
