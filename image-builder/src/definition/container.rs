//! A container image that comes with the release.

use std::path::{Path, PathBuf};

use super::fragment;
use crate::bounded;

/// What quadlet reads; podman-systemd.unit(5).
const QUADLETS: [&str; 6] = ["container", "image", "kube", "network", "pod", "volume"];

/// The longest quadlet that is read, in bytes.
const MAX_QUADLET: u64 = 64 * 1024;

/// A container image, named by its digest, and the quadlets that start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The registry and the name in it, as `registry.example.com/team/app`.
    pub repository: String,
    /// The SHA-256 of its manifest, as 64 small hexadecimal digits.
    pub digest: String,
    /// Files for quadlet.
    pub quadlets: Vec<PathBuf>,
}

impl Container {
    /// The reference of the image, as podman and containerd take it.
    pub fn reference(&self) -> String {
        format!("{}@sha256:{}", self.repository, self.digest)
    }

    /// What the text of a definition means. The error says what is wrong with it.
    pub(super) fn parse(written: fragment::Container) -> Result<Self, String> {
        let fragment::Container { image, quadlets } = written;
        let wrong = || {
            format!(
                "`{image}` in [[container]] is no REGISTRY/NAME@sha256:… with 64 digits, as registry.example.com/app@sha256:…: a tag may mean another image tomorrow"
            )
        };
        let (repository, digest) = image.split_once("@sha256:").ok_or_else(wrong)?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        // A first part without a dot, a port or the word would be a name on Docker Hub to some programs, and here to none.
        let (registry, name) = repository.split_once('/').ok_or_else(wrong)?;
        let is_registry = registry.contains(['.', ':']) || registry == "localhost";
        let is_word = |word: &str, more: &str| {
            word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        let is_name = |part: &str| is_word(part, "._-") && !part.contains(|c: char| c.is_ascii_uppercase());
        if !(is_digest && is_registry && is_word(registry, ".-:") && name.split('/').all(is_name)) {
            return Err(wrong());
        }
        let container = Self {
            repository: repository.to_owned(),
            digest: digest.to_owned(),
            quadlets,
        };
        for quadlet in &container.quadlets {
            container.check_quadlet(quadlet)?;
        }
        Ok(container)
    }

    /// A quadlet that names another image would ask a registry for it at boot, which is what preloading is to spare.
    fn check_quadlet(&self, path: &Path) -> Result<(), String> {
        let kind = path.extension().unwrap_or_default().to_string_lossy();
        if !QUADLETS.contains(&&*kind) {
            return Err(format!(
                "{} in [[container]] is no quadlet: its name ends with .{}",
                path.display(),
                QUADLETS.join(", .")
            ));
        }
        let failed = |error| format!("the quadlet {} cannot be read: {error}", path.display());
        let text = bounded::read(path, MAX_QUADLET).map_err(failed)?;
        let text = String::from_utf8(text).map_err(|_| format!("{} is no text and no quadlet", path.display()))?;
        let images: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Image")?.trim_start().strip_prefix('='))
            .map(str::trim)
            .collect();
        let reference = self.reference();
        match images.as_slice() {
            [] if kind != "container" => Ok(()),
            [image] if *image == reference => Ok(()),
            [] => Err(format!("{} names no Image=; it is to be {reference}", path.display())),
            [image, ..] => Err(format!(
                "{} says Image={image}, and it belongs to {reference}",
                path.display()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(image: &str, quadlets: Vec<PathBuf>) -> Result<Container, String> {
        Container::parse(fragment::Container {
            image: image.into(),
            quadlets,
        })
    }

    #[test]
    fn image_is_named_by_registry_name_and_digest() {
        let digest = "ab".repeat(32);
        let good = parse(&format!("r.example:5000/team/app@sha256:{digest}"), vec![]).unwrap();
        assert_eq!(good.repository, "r.example:5000/team/app");
        for bad in [
            "r.example/app:1.0".to_owned(),
            format!("app@sha256:{digest}"),
            format!("library/app@sha256:{digest}"),
            format!("r.example/app@sha256:{}", digest.to_uppercase()),
            format!("r.example/app:1.0@sha256:{digest}"),
            format!("r.example/../app@sha256:{digest}"),
            format!("r.example/-app@sha256:{digest}"),
            "r.example/app@sha256:12".to_owned(),
        ] {
            assert!(parse(&bad, vec![]).unwrap_err().contains("[[container]]"), "{bad}");
        }
    }

    #[test]
    fn quadlet_of_another_image_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let image = format!("r.example/app@sha256:{}", "ab".repeat(32));
        let quadlet = folder.path().join("app.container");
        let check = |text: &str| {
            std::fs::write(&quadlet, text).unwrap();
            parse(&image, vec![quadlet.clone()])
        };
        check(&format!("[Container]\nImage = {image}\n")).unwrap();
        assert!(
            check("[Container]\nImage=r.example/app:latest\n")
                .unwrap_err()
                .contains("belongs to r.example/app@")
        );
        assert!(check("[Container]\n").unwrap_err().contains("names no Image="));
        let long = "#".repeat(usize::try_from(MAX_QUADLET).unwrap() + 1);
        assert!(check(&long).unwrap_err().contains("more than the 65536 bytes"));
        let other = folder.path().join("app.service");
        std::fs::write(&other, "").unwrap();
        assert!(parse(&image, vec![other]).unwrap_err().contains("no quadlet"));
    }
}
