//! An image whose base is an OCI image in a registry, named by its digest: pushed, fetched, built, read back.
//!
//! On request, since it takes minutes, packages and the rights of root: `TWINHULL_INIT` names the static init for this architecture.
//! Needs `mmdebstrap`, `skopeo` and `docker-registry` beside what a build does.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use twinhull::build::manifest::Manifest;
use twinhull::repository;
use twinhull_layout::Arch;

/// What the base is known as; the registry of the day has another address.
const NAME: &str = "registry.example/base";

const SUITE: &str = "trixie";

/// What of Debian the base holds beside the essential packages: what an image cannot boot without.
const PACKAGES: &str =
    "dbus-broker,kmod,systemd,systemd-boot,systemd-repart,systemd-resolved,systemd-sysv,systemd-timesyncd,udev";

/// A folder with everything.
struct World(tempfile::TempDir);

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    }

    /// Puts `content` among the blobs of the image and describes it.
    fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let hash = hex::encode(Sha256::digest(content));
        fs::write(self.path("layout/blobs/sha256").join(&hash), content).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{hash}"), "size": content.len() })
    }

    /// Makes an image of two layers, the second of which adds a file and takes one away, and gives its digest.
    fn image(&self) -> String {
        fs::create_dir_all(self.path("layout/blobs/sha256")).unwrap();
        let include = format!("--include={PACKAGES}");
        self.run(
            "mmdebstrap",
            &["--variant=essential", "--mode=root", &include, SUITE, "1.tar"],
        );
        fs::create_dir_all(self.path("second/etc")).unwrap();
        fs::create_dir_all(self.path("second/usr/share/base")).unwrap();
        fs::write(self.path("second/etc/.wh.debian_version"), "").unwrap();
        fs::write(self.path("second/usr/share/base/second"), "layer").unwrap();
        self.run(
            "tar",
            &[
                "--create",
                "--owner=0",
                "--group=0",
                "--file=2.tar",
                "--directory=second",
                ".",
            ],
        );
        let layers = ["1.tar", "2.tar"].map(|name| fs::read(self.path(name)).unwrap());
        let identities: Vec<String> = (layers.iter())
            .map(|layer| format!("sha256:{}", hex::encode(Sha256::digest(layer))))
            .collect();
        let layers: Vec<Value> = (layers.iter())
            .map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar", layer))
            .collect();
        let about = json!({
            "architecture": Arch::host().debian(), "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": identities },
        });
        let about = self.blob("application/vnd.oci.image.config.v1+json", about.to_string().as_bytes());
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": about, "layers": layers });
        let manifest = self.blob(kind, manifest.to_string().as_bytes());
        let digest = manifest["digest"].as_str().unwrap().to_owned();
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(self.path("layout/index.json"), index.to_string()).unwrap();
        fs::write(self.path("layout/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        digest
    }

    /// Builds an image on the base with `digest`, into the folder `output`.
    fn build(&self, init: &Path, digest: &str, output: &str) -> Output {
        let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/overlays/base");
        let definition = format!(
            "product = \"based\"\noverlays = [\"{}\"]\n[base]\noci = \"docker://{NAME}@{digest}\"\n\
             [distribution]\nsuite = \"{SUITE}\"\n\
             [kernel]\npackage = {{ x86_64 = \"linux-image-cloud-amd64\", aarch64 = \"linux-image-cloud-arm64\" }}\n",
            overlay.display()
        );
        fs::write(self.path("based.toml"), definition).unwrap();
        Command::new(env!("CARGO_BIN_EXE_twinhull"))
            // Where skopeo looks for the registry's address.
            .env("HOME", self.0.path())
            .arg("build")
            .arg(self.path("based.toml"))
            .args(["--version", "1.0.0", "--arch", Arch::host().as_str(), "--trust-root"])
            .arg(self.path("site/metadata/root.json"))
            .arg("--init")
            .arg(init)
            .arg("--cache")
            .arg(self.path("cache"))
            .arg("--output")
            .arg(self.path(output))
            .output()
            .unwrap()
    }
}

/// A registry on our loopback; ended when dropped.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    fn serve(world: &World) -> Self {
        let storage = json!(world.path("registry"));
        let config = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {storage} }} }}\n\
             http: {{ addr: '127.0.0.1:0' }}\n"
        );
        fs::write(world.path("registry.yml"), config).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(world.path("registry.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains("listening on ")));
        let line = line.expect("docker-registry does not serve");
        let (_, address) = line.split_once("listening on ").unwrap();
        let end = address.find(['"', ' ']).unwrap_or(address.len());
        let address = address[..end].to_owned();
        // What it says from now on must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn image_is_built_on_a_base_in_a_registry_and_only_on_the_one_that_is_named() {
    let Some(init) = std::env::var_os("TWINHULL_INIT").map(PathBuf::from) else {
        eprintln!("skipped: TWINHULL_INIT names no init to build an image with");
        return;
    };
    let world = World(tempfile::tempdir().unwrap());
    repository::init(&world.path("site"), &world.path("keys")).unwrap();
    let digest = world.image();
    let registry = Registry::serve(&world);
    let place = format!("docker://{}/base:1", registry.address);
    let push = [
        "--insecure-policy",
        "copy",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "oci:layout",
        &place,
    ];
    world.run("skopeo", &push);
    let known = world.path(".config/containers");
    fs::create_dir_all(&known).unwrap();
    let text = format!(
        "[[registry]]\nprefix = \"{NAME}\"\nlocation = \"{}/base\"\ninsecure = true\n",
        registry.address
    );
    fs::write(known.join("registries.conf"), text).unwrap();

    let output = world.build(&init, &digest, "out");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest = world.path("out").join(format!("based_1.0.0_{}.json", Arch::host()));
    let packages = Manifest::read(&manifest).unwrap().packages;
    assert!(packages.iter().any(|package| package.name == "systemd-boot"));
    let inspected = Command::new(env!("CARGO_BIN_EXE_twinhull"))
        .arg("inspect")
        .arg(&manifest)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inspected.stdout);
    assert!(
        inspected.status.success() && text.contains("everything agrees"),
        "{text}"
    );

    // The registry has no such image, whatever the tag says.
    let other = format!("sha256:{}", "0".repeat(64));
    let output = world.build(&init, &other, "other");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("fetching the base image failed"),
        "{said}"
    );
    assert!(
        !world
            .path("other")
            .join(format!("based_1.0.0_{}.raw", Arch::host()))
            .exists()
    );
}
