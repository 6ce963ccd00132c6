//! Builds what the demo and the scenarios need: programs, the agent's package, keys, images, a release repository.
//!
//! All of it goes below one folder; `docs/qemu-tests.md` says what lies where.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::apps::Apps;
use crate::arch::Arch;
use crate::phase::Phases;
use crate::privilege::{as_root, owner};
use crate::{setup, workspace};

const PRODUCT: &str = "twinhull-server";

/// What `configs/control.toml` is called.
const CONTROL: &str = "twinhull-control";

/// An image: its version, its definition, and the version that hosts have when they are offered it.
pub(crate) struct Image {
    version: &'static str,
    definition: &'static str,
    base: Option<&'static str>,
    signed: bool,
}

/// The image that hosts begin with.
const FIRST: Image = Image {
    version: "1.0.0",
    definition: "configs/server.toml",
    base: None,
    signed: false,
};
/// A good release.
const NEXT: Image = Image {
    version: "1.1.0",
    definition: "configs/server.toml",
    base: Some("1.0.0"),
    signed: false,
};
/// A release whose health check fails.
const SICK: Image = Image {
    version: "1.2.0",
    definition: "qemu-tests/images/sick.toml",
    base: Some("1.1.0"),
    signed: false,
};
/// A release that hangs in early boot.
const HANGS: Image = Image {
    version: "1.3.0",
    definition: "qemu-tests/images/hangs.toml",
    base: Some("1.1.0"),
    signed: false,
};

/// An image that is signed for Secure Boot. The others are not: firmware that could verify would enrol their keys at every
/// first boot.
const SIGNED: Image = Image {
    version: "1.4.0",
    definition: "configs/server.toml",
    base: None,
    signed: true,
};

/// The version of the image that brings a container image, and starts only what is signed. Its definition is made with the container
/// images.
const CONTAINERS: &str = "1.5.0";

/// The scenarios that have container images. None of them belongs to every run.
const WITH_CONTAINERS: [&str; 8] = [
    "containers",
    "fleet",
    "fleet_dies",
    "fleet_goes_on",
    "fleet_etcd",
    "minimal",
    "node",
    "bookworm",
];

/// A product that one scenario is about, which does not belong to every run.
struct Other {
    scenario: &'static str,
    product: &'static str,
    definition: &'static str,
    /// Each after the first is published, as what hosts with the one before are offered.
    versions: &'static [&'static str],
}

const OTHERS: [Other; 3] = [
    Other {
        scenario: "minimal",
        product: "twinhull-minimal",
        definition: "configs/minimal.toml",
        versions: &["1.0.0", "1.1.0"],
    },
    Other {
        scenario: "node",
        product: "twinhull-node",
        definition: "configs/node.toml",
        versions: &["1.0.0"],
    },
    Other {
        scenario: "bookworm",
        product: "twinhull-bookworm",
        definition: "qemu-tests/images/bookworm.toml",
        versions: &["1.0.0", "1.1.0"],
    },
];

/// The scenarios that have hosts of the role `control`. None of them belongs to every run.
const WITH_CONTROL: [&str; 2] = ["control", "fleet_etcd"];

/// Which scenarios to run, and how.
#[derive(Args)]
pub(crate) struct Scenarios {
    /// Only these scenarios (see `twinhull-qemu list`)
    #[arg(long = "scenario", value_name = "NAME")]
    names: Vec<String>,
    /// The architecture of the images and of the machines that boot them
    #[arg(long, value_enum, default_value_t = Arch::X86_64)]
    pub(crate) arch: Arch,
    /// Virtual machines side by side
    #[arg(long, default_value_t = 2)]
    jobs: u32,
    /// How many states that a power cut can leave are booted, beside all those that are only looked at
    #[arg(long, value_name = "N")]
    power_cuts: Option<u16>,
    /// Write the figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[arg(skip)]
    all: bool,
}

impl Scenarios {
    /// The long form where nothing else was asked for: as many power cuts as a night has room for.
    pub(crate) fn thorough(mut self) -> Self {
        self.power_cuts.get_or_insert(300);
        self.all = self.names.is_empty();
        self
    }

    /// Whether one of these is among them.
    pub(crate) fn have(&self, some: &[&str]) -> bool {
        self.all || self.names.iter().any(|name| some.contains(&name.as_str()))
    }
}

/// The images of the demo.
pub(crate) const DEMO: &[Image] = &[FIRST, NEXT];

/// The images of all scenarios.
pub(crate) const ALL: &[Image] = &[FIRST, NEXT, SICK, HANGS, SIGNED];

/// Everything that was built.
pub(crate) struct Artefacts {
    arch: Arch,
    work: PathBuf,
}

impl Artefacts {
    /// Builds programs, keys, repository and `images`, and publishes every image after the first.
    pub(crate) fn build(phases: &mut Phases, arch: Arch, images: &[Image]) -> Result<Self> {
        let artefacts = Self {
            arch,
            work: arch.work(),
        };
        artefacts.programs(phases)?;
        artefacts.agent_package(phases)?;
        artefacts.repository(phases)?;
        for image in images {
            artefacts.image(phases, image)?;
        }
        for image in images {
            if let Some(base) = image.base {
                artefacts.publish(phases, PRODUCT, image.version, base)?;
            }
        }
        Ok(artefacts)
    }

    /// Builds what only some of the scenarios need: `wanted` says of a list of scenarios whether any of them is to run.
    pub(crate) fn build_rest(&self, phases: &mut Phases, wanted: impl Fn(&[&str]) -> bool) -> Result<()> {
        if wanted(&WITH_CONTAINERS) {
            self.with_containers(phases)?;
        }
        if wanted(&WITH_CONTROL) {
            self.control(phases)?;
        }
        for other in OTHERS.iter().filter(|other| wanted(&[other.scenario])) {
            for version in other.versions {
                let build = self.builder(other.definition);
                self.build_image(phases, build, other.product, version, false)?;
            }
            for pair in other.versions.windows(2) {
                if let [base, version] = pair {
                    self.publish(phases, other.product, version, base)?;
                }
            }
        }
        Ok(())
    }

    /// Builds the image of the role `control`, with the lock server.
    fn control(&self, phases: &mut Phases) -> Result<()> {
        static_program(phases, "twinhull-lock", self.arch)?;
        let package = self.work.join("twinhull-lock.deb");
        self.package(phases, "twinhull-lock", "reboot-lock-docs", "lock", &package)?;
        let mut builder = self.builder("configs/control.toml");
        builder.arg("--deb").arg(&package);
        self.build_image(phases, builder, CONTROL, FIRST.version, false)
    }

    /// Makes container images, and the image that brings one of them.
    fn with_containers(&self, phases: &mut Phases) -> Result<()> {
        let app = static_program(phases, "twinhull-app", self.arch)?;
        let apps = Apps::make(phases, self.work.join("apps"), &app, self.arch)?;
        let mut build = as_root("env");
        build
            .arg(format!("HOME={}", std::path::absolute(apps.home())?.display()))
            .arg(self.work.join("bin/twinhull"))
            .arg("build")
            .arg(apps.image_definition());
        self.build_image(phases, build, PRODUCT, CONTAINERS, false)
    }

    /// Shows one update from beginning to end.
    pub(crate) fn demo(&self, phases: &mut Phases) -> Result<()> {
        phases.run_in_view(
            "one update",
            self.program("twinhull-qemu").arg("demo").arg("--work").arg(&self.work),
        )
    }

    /// Runs scenarios: those named, or all.
    pub(crate) fn scenarios(&self, phases: &mut Phases, wanted: &Scenarios) -> Result<()> {
        let mut command = self.program("twinhull-qemu");
        command
            .arg("prove")
            .args(&wanted.names)
            .args(["--arch", self.arch.name(), "--work"])
            .arg(&self.work)
            .arg("--jobs")
            .arg(wanted.jobs.to_string());
        if wanted.all {
            command.arg("--all");
        }
        if let Some(cuts) = wanted.power_cuts {
            command.arg("--power-cuts").arg(cuts.to_string());
        }
        command
            .arg("--json")
            .arg(wanted.json.as_ref().unwrap_or(&self.work.join("qemu.json")))
            .arg("--junit")
            .arg(self.work.join("qemu.xml"))
            .arg("--html")
            .arg(self.work.join("qemu.html"));
        phases.run_in_view("scenarios in virtual machines", &mut command)
    }

    /// Has programs of others read the signed image.
    pub(crate) fn read_by_others(&self, phases: &mut Phases) -> Result<()> {
        let image = std::path::absolute(self.facts(PRODUCT, SIGNED.version).with_extension("raw"))?;
        phases.run(
            "an image, read by programs of others",
            workspace::cargo()
                // Of the whole workspace, so that what is compiled is what the other tests were compiled with.
                .args(["test", "--locked", "--workspace", "--test", "read_by_others"])
                .env("TWINHULL_IMAGE", image)
                .env("TWINHULL_KEYS", std::path::absolute(self.work.join("keys"))?),
        )
    }

    fn programs(&self, phases: &mut Phases) -> Result<()> {
        let bin = self.work.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
        phases.run("build host programs", &mut host_programs())?;
        phases.run(
            "build static programs of the image",
            cargo_build().args(["--release", "--target", self.arch.musl()]).args([
                "-p",
                "twinhull-init",
                "-p",
                "twinhull-updater",
            ]),
        )?;
        for name in ["twinhull", "twinhull-lock", "twinhull-qemu"] {
            copy(&workspace::target().join("debug").join(name), &bin.join(name))?;
        }
        copy(
            &workspace::target().join(self.arch.musl()).join("release/twinhull-init"),
            &bin.join("twinhull-init"),
        )?;
        // Of the programs that are in no package: theirs are written with it.
        phases.run(
            "write man pages and completions of twinhull",
            Command::new(workspace::target().join("debug/examples/image-builder-docs"))
                .arg(workspace::target().join("dist/image-builder")),
        )
    }

    fn agent_package(&self, phases: &mut Phases) -> Result<()> {
        self.package(phases, "twinhull-updater", "updater-docs", "updater", &self.agent_deb())
    }

    /// Packages the static program `name`. The example `docs` writes its man pages and completions into `target/dist/FOLDER`.
    fn package(&self, phases: &mut Phases, name: &str, docs: &str, folder: &str, package: &Path) -> Result<()> {
        phases.run(
            &format!("write man pages and completions of {name}"),
            Command::new(workspace::target().join("debug/examples").join(docs))
                .arg(workspace::target().join("dist").join(folder)),
        )?;
        phases.run(
            &format!("package {name}"),
            Command::new(setup::cargo_deb())
                .args([
                    "-p",
                    name,
                    "--no-build",
                    "--no-strip",
                    "--target",
                    self.arch.musl(),
                    "--output",
                ])
                .arg(package),
        )
    }

    /// Keys and repository begin anew: an image trusts the root that was made with them.
    fn repository(&self, phases: &mut Phases) -> Result<()> {
        for folder in ["keys", "repo-pristine", "images"] {
            let folder = self.work.join(folder);
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        }
        phases.run(
            "make the keys of images and releases",
            self.program("twinhull")
                .args(["keys", "init", "--keys"])
                .arg(self.work.join("keys")),
        )?;
        let mut command = self.program("twinhull");
        command
            .args(["repo", "init", "--repo"])
            .arg(self.work.join("repo-pristine"));
        command.arg("--keys").arg(self.work.join("keys"));
        phases.run("make an empty release repository", &mut command)
    }

    fn image(&self, phases: &mut Phases, image: &Image) -> Result<()> {
        let builder = self.builder(image.definition);
        self.build_image(phases, builder, PRODUCT, image.version, image.signed)
    }

    /// `twinhull build DEFINITION`, as root.
    fn builder(&self, definition: &str) -> Command {
        let mut builder = as_root(&self.work.join("bin/twinhull").to_string_lossy());
        builder.arg("build").arg(definition);
        builder
    }

    /// Has `builder`, which is told the definition of `product`, build it as `version`.
    fn build_image(
        &self,
        phases: &mut Phases,
        mut builder: Command,
        product: &str,
        version: &str,
        signed: bool,
    ) -> Result<()> {
        let output = self.work.join("images").join(version);
        fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
        builder
            .args(["--version", version, "--arch", self.arch.name(), "--trust-root"])
            .arg(self.work.join("repo-pristine/metadata/root.json"))
            .arg("--init")
            .arg(self.work.join("bin/twinhull-init"))
            .arg("--deb")
            .arg(self.agent_deb())
            .arg("--cache")
            .arg(workspace::work().join("cache"))
            .arg("--output")
            .arg(&output);
        if signed {
            builder.arg("--keys").arg(self.work.join("keys"));
        }
        phases.run(&format!("build {product} {version}"), &mut builder)?;
        if let Some(owner) = owner() {
            phases.run(
                "give the image to you",
                as_root("chown").arg("--recursive").arg(owner).arg(&output),
            )?;
        }
        Ok(())
    }

    fn publish(&self, phases: &mut Phases, product: &str, version: &str, base: &str) -> Result<()> {
        let mut command = self.program("twinhull");
        command
            // The demo and the scenarios ask whether it works, not how small it is.
            .args(["publish", "--level", "3", "--channel", "stable", "--repo"])
            .arg(self.work.join("repo-pristine"));
        command.arg("--keys").arg(self.work.join("keys"));
        command
            .arg(self.facts(product, version))
            .arg("--base")
            .arg(self.facts(product, base));
        phases.run(&format!("publish {product} {version}"), &mut command)
    }

    /// The file in which the builder says what it made.
    fn facts(&self, product: &str, version: &str) -> PathBuf {
        self.work
            .join("images")
            .join(version)
            .join(format!("{product}_{version}_{}.json", self.arch.name()))
    }

    fn agent_deb(&self) -> PathBuf {
        self.work.join("twinhull-updater.deb")
    }

    fn program(&self, name: &str) -> Command {
        Command::new(self.work.join("bin").join(name))
    }
}

/// Builds the program `name` for this host, as it is built for tests.
pub(crate) fn host_program(phases: &mut Phases, name: &str) -> Result<PathBuf> {
    phases.run(&format!("build {name}"), &mut host_programs())?;
    Ok(workspace::target().join("debug").join(name))
}

/// What a build of an image needs beside its definition.
pub(crate) struct ForBuilds {
    /// `twinhull`, as a user has it.
    pub(crate) builder: PathBuf,
    /// The static init.
    pub(crate) init: PathBuf,
    /// The package of the agent.
    pub(crate) agent: PathBuf,
}

/// Builds the programs that a build of an image for `arch` needs.
pub(crate) fn for_builds(phases: &mut Phases, arch: Arch) -> Result<ForBuilds> {
    let artefacts = Artefacts {
        arch,
        work: arch.work(),
    };
    artefacts.programs(phases)?;
    artefacts.agent_package(phases)?;
    phases.run(
        "build twinhull as a user has it",
        cargo_build().args(["--release", "--workspace", "--bin", "twinhull"]),
    )?;
    let absolute = |path: PathBuf| {
        path.canonicalize()
            .with_context(|| format!("there is no {}", path.display()))
    };
    Ok(ForBuilds {
        builder: absolute(workspace::target().join("release/twinhull"))?,
        init: absolute(artefacts.work.join("bin/twinhull-init"))?,
        agent: absolute(artefacts.agent_deb())?,
    })
}

/// Builds the image that brings a container image, with all that it takes, below the folder `work`; the file in which the builder says
/// what it made. What the container says on the console is [`apps::PRELOADED_SAYS`](crate::apps::PRELOADED_SAYS).
pub(crate) fn image_with_a_container(phases: &mut Phases, work: PathBuf) -> Result<PathBuf> {
    let artefacts = Artefacts {
        arch: Arch::X86_64,
        work,
    };
    artefacts.programs(phases)?;
    artefacts.agent_package(phases)?;
    artefacts.repository(phases)?;
    artefacts.with_containers(phases)?;
    Ok(artefacts.facts(PRODUCT, CONTAINERS))
}

/// Builds the static program of package `name` for `arch` as it is shipped.
pub(crate) fn static_program(phases: &mut Phases, name: &str, arch: Arch) -> Result<PathBuf> {
    phases.run(
        &format!("build {name}, static"),
        cargo_build().args(["--release", "--target", arch.musl(), "-p", name]),
    )?;
    Ok(workspace::target().join(arch.musl()).join("release").join(name))
}

/// The whole workspace with its examples: then the dependencies have the same features as for `cargo test`, and are compiled once.
fn host_programs() -> Command {
    let mut command = cargo_build();
    command.args(["--workspace", "--bins", "--examples"]);
    command
}

fn cargo_build() -> Command {
    let mut command = workspace::cargo();
    command.args(["build", "--locked"]);
    command
}

/// Puts a copy of the program `from` at `to`, where an older one may be running.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new)
        .and_then(|_| fs::rename(&new, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
