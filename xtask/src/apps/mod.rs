//! Container images of the scenarios: made of one program of ours, pushed to a registry, and signed by their owner or not.
//!
//! What is left is the folder `apps`, of which `docs/qemu-tests.md` says what lies where.

mod layout;
mod registry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::arch::Arch;
use crate::phase::Phases;
use layout::Layout;
use registry::Registry;

/// What the registry is called where its address of the day does not matter.
const REGISTRY: &str = "registry.test";

/// The image that comes with the release.
const PRELOADED: &str = "owner/preloaded";

/// What that one answers, and its unit writes on the console once it does.
pub(crate) const PRELOADED_SAYS: &str = "preloaded, and up without a registry";

/// What the other images are served at, in their containers.
const SERVE: &str = "0.0.0.0:8080";

/// Whose signature lies beside an image.
enum Signed {
    ByOwner,
    ByStranger,
    /// By the owner, who meant another image of the same name.
    ByOwnerForAnother,
    Not,
}

/// The images that are pushed, by their name in the registry, with what they say.
const IMAGES: [(&str, &str, Signed); 6] = [
    (PRELOADED, PRELOADED_SAYS, Signed::ByOwner),
    ("owner/pulled", "pulled, and signed by its owner", Signed::ByOwner),
    ("owner/unsigned", "unsigned", Signed::Not),
    ("owner/foreign", "signed by somebody else", Signed::ByStranger),
    (
        "owner/swapped",
        "put where another image was signed",
        Signed::ByOwnerForAnother,
    ),
    ("stranger/app", "of somebody whom nobody named", Signed::ByStranger),
];

/// The folder of container images, and the registry that serves them.
pub(crate) struct Apps {
    folder: PathBuf,
    registry: Registry,
}

impl Apps {
    /// Makes the images of `program` anew in `folder` and serves them.
    pub(crate) fn make(phases: &mut Phases, folder: PathBuf, program: &Path, arch: Arch) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let images = folder.join("registry");
        fs::create_dir_all(&images).with_context(|| format!("cannot create {}", images.display()))?;
        let registry = Registry::serve(&images, &folder)?;
        let apps = Self { folder, registry };
        for who in ["owner", "stranger"] {
            apps.key(phases, who)?;
        }
        let program = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        for (name, text, signed) in &IMAGES {
            let arguments = if *name == PRELOADED {
                // Where it listens matters to nobody but itself.
                ["serve", "127.0.0.1:8081", text]
            } else {
                ["serve", SERVE, text]
            };
            let image = Layout::of_program(&program, arch, &arguments);
            apps.push(phases, name, "1", &image)?;
            let digest = image.digest();
            let signature = match signed {
                Signed::ByOwner => apps.signature("owner", name, &digest)?,
                Signed::ByStranger => apps.signature("stranger", name, &digest)?,
                Signed::ByOwnerForAnother => {
                    let another = Layout::of_program(&program, arch, &["serve", SERVE, "what was meant"]);
                    apps.signature("owner", name, &another.digest())?
                }
                Signed::Not => continue,
            };
            // Where cosign puts it, and podman looks for it.
            apps.push(phases, name, &format!("{}.sig", digest.replace(':', "-")), &signature)?;
            if *name == PRELOADED {
                apps.definition(&format!("{REGISTRY}/{name}@{digest}"))?;
            }
        }
        apps.known_to_skopeo()?;
        Ok(apps)
    }

    /// The definition of the image that one of them is preloaded in.
    pub(crate) fn image_definition(&self) -> PathBuf {
        self.folder.join("containers.toml")
    }

    /// The home folder of a user who knows where the registry is.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Makes a pair of keys as cosign does: ECDSA over P-256.
    fn key(&self, phases: &mut Phases, who: &str) -> Result<()> {
        let secret = self.folder.join(format!("{who}.key"));
        let mut make = Command::new("openssl");
        make.args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
        ]);
        phases.run(&format!("make the {who}'s key for container images"), make.arg(&secret))?;
        let mut public = Command::new("openssl");
        public.args(["pkey", "-pubout", "-in"]).arg(&secret).arg("-out");
        public.arg(self.folder.join(format!("{who}.pub")));
        phases.run(&format!("make the {who}'s public key"), &mut public)
    }

    /// What `who` says of the image `digest` called `name`, in the form that cosign and podman share (containers-signature(5), signed
    /// as sigstore does).
    fn signature(&self, who: &str, name: &str, digest: &str) -> Result<Layout> {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": format!("{REGISTRY}/{name}") },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string();
        let path = self.folder.join("payload.json");
        fs::write(&path, &payload).with_context(|| format!("cannot write {}", path.display()))?;
        let output = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.folder.join(format!("{who}.key")))
            .arg(&path)
            .output()
            .context("cannot start openssl")?;
        ensure!(
            output.status.success(),
            "openssl does not sign {}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        Ok(Layout::of_signature(&payload, &STANDARD.encode(output.stdout)))
    }

    fn push(&self, phases: &mut Phases, name: &str, tag: &str, image: &Layout) -> Result<()> {
        let layout = tempfile::tempdir_in(&self.folder).context("cannot make a folder for a container image")?;
        image.write(layout.path())?;
        let mut skopeo = Command::new("skopeo");
        skopeo
            // What is pushed is what was made here a moment ago; the policy is for those who fetch it.
            .args([
                "--insecure-policy",
                "copy",
                "--preserve-digests",
                "--dest-tls-verify=false",
            ])
            .arg(format!("oci:{}", layout.path().display()))
            .arg(format!("docker://{}/{name}:{tag}", self.registry.address()));
        let what = if tag == "1" { "" } else { "the signature of " };
        phases.run(&format!("push {what}{name}"), &mut skopeo)
    }

    /// Writes the definition that preloads `reference`, and the quadlet that starts it.
    fn definition(&self, reference: &str) -> Result<()> {
        let root = std::env::current_dir().context("cannot find the checkout")?;
        for name in ["containers.toml", "preloaded.container"] {
            let template = Path::new("qemu-tests/images").join(format!("{name}.in"));
            let text = fs::read_to_string(&template).with_context(|| format!("cannot read {}", template.display()))?;
            let text = text
                .replace("@IMAGE@", reference)
                .replace("@ROOT@", &root.to_string_lossy());
            let path = self.folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Tells skopeo where the registry is today (containers-registries.conf(5)).
    fn known_to_skopeo(&self) -> Result<()> {
        let folder = self.home().join(".config/containers");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("registries.conf");
        let text = format!(
            "[[registry]]\nprefix = \"{REGISTRY}\"\nlocation = \"{}\"\ninsecure = true\n",
            self.registry.address()
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
