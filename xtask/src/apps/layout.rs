//! A container image of one program, as an OCI image layout.
//!
//! Specifications: OCI image layout, manifest and configuration, version 1; POSIX ustar.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::arch::Arch;

/// Bytes of a block of a tar archive.
const BLOCK: usize = 512;

/// Something that is named by its hash.
struct Blob {
    media_type: &'static str,
    content: Vec<u8>,
}

/// An image.
pub(super) struct Layout {
    manifest: Blob,
    blobs: Vec<Blob>,
}

impl Layout {
    /// The image that has `program` in it and starts it with `arguments` if nothing else is said.
    pub(super) fn of_program(program: &[u8], arch: Arch, arguments: &[&str]) -> Self {
        let layer = Blob {
            media_type: "application/vnd.oci.image.layer.v1.tar",
            content: archive("app", program),
        };
        let config = json!({
            "architecture": arch.debian(),
            "os": "linux",
            // It keeps nothing, and as the first process of a container it would not notice anything milder.
            "config": { "Entrypoint": ["/app"], "Cmd": arguments, "StopSignal": "SIGKILL" },
            "rootfs": { "type": "layers", "diff_ids": [layer.digest()] },
        });
        Self::new(&config, layer, &json!({}))
    }

    /// What cosign and podman push beside an image: `payload`, and the signature over it in base64.
    pub(super) fn of_signature(payload: &str, signature: &str) -> Self {
        let layer = Blob {
            media_type: "application/vnd.dev.cosign.simplesigning.v1+json",
            content: payload.into(),
        };
        let config = json!({
            "architecture": "", "os": "", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [layer.digest()] },
        });
        Self::new(
            &config,
            layer,
            &json!({ "dev.cosignproject.cosign/signature": signature }),
        )
    }

    fn new(config: &Value, layer: Blob, annotations: &Value) -> Self {
        let config = Blob {
            media_type: "application/vnd.oci.image.config.v1+json",
            content: config.to_string().into_bytes(),
        };
        let mut described = layer.described();
        described["annotations"] = annotations.clone();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.described(),
            "layers": [described],
        });
        let manifest = Blob {
            media_type,
            content: manifest.to_string().into_bytes(),
        };
        Self {
            manifest,
            blobs: vec![config, layer],
        }
    }

    /// The digest of its manifest, as `sha256:…`.
    pub(super) fn digest(&self) -> String {
        self.manifest.digest()
    }

    /// Writes it into the new folder `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot create {}", blobs.display()))?;
        let index = json!({ "schemaVersion": 2, "manifests": [self.manifest.described()] });
        let marker = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
        let mut files = vec![
            (folder.join("oci-layout"), marker),
            (folder.join("index.json"), index.to_string().into_bytes()),
        ];
        for blob in self.blobs.iter().chain([&self.manifest]) {
            files.push((blobs.join(blob.hash()), blob.content.clone()));
        }
        for (path, content) in files {
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Blob {
    fn hash(&self) -> String {
        hex::encode(Sha256::digest(&self.content))
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hash())
    }

    fn described(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.content.len() })
    }
}

/// A tar archive of one executable file of root.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(content);
    header.resize(header.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    header
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_unpacks_the_program_that_was_packed() {
        let folder = tempfile::tempdir().unwrap();
        let layer = folder.path().join("layer.tar");
        fs::write(&layer, archive("app", b"what it does")).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("--extract")
            .arg("--file")
            .arg(&layer)
            .arg("--directory")
            .arg(folder.path());
        assert!(tar.status().unwrap().success());
        let app = folder.path().join("app");
        assert_eq!(app.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read(&app).unwrap(), b"what it does");
    }

    #[test]
    fn digest_is_that_of_the_manifest_in_the_layout() {
        let folder = tempfile::tempdir().unwrap();
        let image = |text: &str| Layout::of_program(b"program", Arch::X86_64, &["say", text]);
        image("ahoy").write(folder.path()).unwrap();
        let index: Value = serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], image("ahoy").digest());
        assert_ne!(image("ahoy").digest(), image("ahoi").digest());
    }
}
