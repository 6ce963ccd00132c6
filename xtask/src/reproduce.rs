//! `cargo xtask reproduce`: the same definition, lock and keys give the same bytes, whoever builds where and when.
//!
//! The image is built on this host as it is; by somebody else (another folder, umask, locale, time zone and home, and later);
//! and on the other release of Debian, in a chroot. Then every file is compared, and the first difference explained.

mod difference;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use twinhull_chroot::Chroot;

use crate::arch::Arch;
use crate::distribution::Distribution;
use crate::evidence::{Evidence, Figure, Goal, Publication};
use crate::phase::Phases;
use crate::privilege::as_root;
use crate::{artefacts, workspace};

const VERSION: &str = "1.0.0";
const ARCH: &str = "x86_64";

/// What to build, and where the figures go.
#[derive(Args, Debug)]
pub(crate) struct Reproduce {
    /// The definition
    #[arg(long, value_name = "FILE", default_value = "configs/server.toml")]
    definition: PathBuf,
    /// A lock file to build from; without it, one is written now
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    #[command(flatten)]
    publication: Publication,
}

/// One build of the image.
struct Build {
    title: String,
    output: PathBuf,
}

impl Reproduce {
    /// Builds three times and compares.
    pub(crate) fn run(&self, phases: &mut Phases) -> Result<()> {
        let work = std::path::absolute(workspace::work().join("reproduce"))?;
        phases.run("remove an earlier run", as_root("rm").args(["-rf"]).arg(&work))?;
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        let inputs = Inputs::prepare(self, phases, &work)?;
        let mut builds = vec![
            inputs.as_it_is(phases, &work.join("here"))?,
            inputs.by_another(phases, &work.join("elsewhere/deep"))?,
        ];
        builds.push(inputs.on_other_debian(phases, &work.join("other"))?);

        let mut evidence = Evidence::new("reproduce");
        let (first, others) = builds.split_first().context("nothing was built")?;
        let names = difference::artefacts(&first.output)?;
        evidence.add(Figure::count("reproduce.files", names.len() as u64, "1"));
        let mut differing = 0;
        for build in others {
            let found = difference::find(&first.output, &build.output, &names)?;
            println!(
                "{}: {} of {} files are the same as of a build {}",
                build.title,
                names.len() - found.len(),
                names.len(),
                first.title
            );
            if let Some(name) = found.first() {
                println!(
                    "{}",
                    difference::explain(
                        &inputs.file("twinhull"),
                        &first.output.join(name),
                        &build.output.join(name)
                    )?
                );
            }
            differing += found.len() as u64;
        }
        evidence.add(Figure::count("reproduce.builds", builds.len() as u64, "1").goal(Goal::AtLeast(3.0)));
        evidence.add(Figure::count("reproduce.differences", differing, "1").goal(Goal::AtMost(0.0)));
        evidence.publish(&self.publication)?;
        if differing > 0 {
            bail!("the builds differ; all of them are in {}", work.display());
        }
        Ok(())
    }
}

/// What every build gets.
struct Inputs {
    definition: PathBuf,
    folder: PathBuf,
}

impl Inputs {
    /// Builds the programs and makes keys, repository and lock.
    fn prepare(request: &Reproduce, phases: &mut Phases, work: &Path) -> Result<Self> {
        let folder = work.join("inputs");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let target = folder.clone();
        let copy = |from: &Path, name: &str| {
            fs::copy(from, target.join(name)).with_context(|| format!("cannot copy {}", from.display()))
        };
        copy(&artefacts::host_program(phases, "twinhull")?, "twinhull")?;
        copy(
            &artefacts::static_program(phases, "twinhull-init", Arch::X86_64)?,
            "twinhull-init",
        )?;
        let inputs = Self {
            definition: request.definition.clone(),
            folder,
        };
        let keys = inputs.file("keys");
        phases.run(
            "make keys",
            Command::new(inputs.file("twinhull"))
                .args(["keys", "init", "--keys"])
                .arg(&keys),
        )?;
        phases.run(
            "make a release repository",
            Command::new(inputs.file("twinhull"))
                .args(["repo", "init", "--repo"])
                .arg(inputs.file("repo"))
                .arg("--keys")
                .arg(work.join("repo-keys")),
        )?;
        match &request.lock {
            Some(lock) => copy(lock, "lock").map(|_| ())?,
            None => phases.run(
                "lock the packages",
                Command::new(inputs.file("twinhull"))
                    .arg("lock")
                    .arg(&inputs.definition)
                    .args(["--arch", ARCH, "--cache"])
                    .arg(work.join("lock-cache"))
                    .arg("--output")
                    .arg(inputs.file("lock")),
            )?,
        }
        Ok(inputs)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The arguments of a build, with the inputs in `inputs`, the definition `definition`, and everything else below `place`.
    fn arguments(inputs: &Path, definition: &Path, place: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![inputs.join("twinhull").into(), "build".into(), definition.into()];
        arguments.extend(["--version", VERSION, "--arch", ARCH].map(OsString::from));
        for (option, path) in [
            ("--trust-root", inputs.join("repo/metadata/root.json")),
            ("--init", inputs.join("twinhull-init")),
            ("--keys", inputs.join("keys")),
            ("--lock", inputs.join("lock")),
            ("--cache", place.join("cache")),
            ("--output", place.join("out")),
        ] {
            arguments.push(option.into());
            arguments.push(path.into());
        }
        arguments
    }

    fn as_it_is(&self, phases: &mut Phases, place: &Path) -> Result<Build> {
        let title = "on this host";
        let arguments = Self::arguments(&self.folder, &self.definition, place);
        phases.run(&format!("build {title}"), as_root("env").args(arguments))?;
        Ok(Build {
            title: title.to_owned(),
            output: place.join("out"),
        })
    }

    fn by_another(&self, phases: &mut Phases, place: &Path) -> Result<Build> {
        let title = "by another user in another folder";
        let definition = std::path::absolute(&self.definition)?;
        seed(phases, place)?;
        let mut build = as_root("env");
        build
            .args([
                "--chdir=/tmp",
                "HOME=/nonexistent",
                "USER=nobody",
                "LOGNAME=nobody",
                "LANG=de_DE.UTF-8",
            ])
            .args([
                "LC_ALL=C",
                "TZ=Pacific/Kiritimati",
                "sh",
                "-c",
                "umask 0077; exec \"$@\"",
                "build",
            ])
            .args(Self::arguments(&self.folder, &definition, place));
        phases.run(&format!("build {title}"), &mut build)?;
        Ok(Build {
            title: title.to_owned(),
            output: place.join("out"),
        })
    }

    /// Builds inside a tree of the release of Debian that this host is not.
    fn on_other_debian(&self, phases: &mut Phases, place: &Path) -> Result<Build> {
        let suite = match Distribution::of_this_host()? {
            Ok(Distribution::Bookworm) => "trixie",
            // The program was linked for this host, and an older C library would not do; a newer one does.
            Ok(Distribution::Trixie) | Err(_) => "sid",
        };
        let tree = place.join("tree");
        fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
        phases.run(
            &format!("make a host with Debian {suite}"),
            as_root("mmdebstrap")
                .args([
                    "--variant=apt",
                    "--mode=root",
                    "--include=debian-archive-keyring,mount",
                    suite,
                ])
                .arg(&tree),
        )?;
        let inner = tree.join("build");
        phases.run("make a folder there", as_root("mkdir").arg("-p").arg(&inner))?;
        for from in [self.folder.clone(), PathBuf::from("configs")] {
            phases.run(
                "copy the inputs there",
                as_root("cp").args(["-a"]).arg(from).arg(&inner),
            )?;
        }
        seed(phases, &inner)?;
        let definition = Path::new("/build").join(&self.definition);
        let mut build = as_root(twinhull_chroot::LAUNCHER);
        build
            .args(Chroot::new(&tree, Vec::new()).arguments())
            .args(["env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(Self::arguments(
                Path::new("/build/inputs"),
                &definition,
                Path::new("/build"),
            ));
        let title = format!("on Debian {suite}");
        phases.run(&format!("build {title}"), &mut build)?;
        Ok(Build {
            title,
            output: inner.join("out"),
        })
    }
}

/// Gives the cache of a further build the package files of the first: they are fetched by their hash, wherever that happens.
fn seed(phases: &mut Phases, place: &Path) -> Result<()> {
    let first = std::path::absolute(workspace::work().join("reproduce/here/cache/debs"))?;
    let cache = place.join("cache");
    phases.run("make a cache", as_root("mkdir").arg("-p").arg(&cache))?;
    phases.run(
        "hand on the package files",
        as_root("cp").arg("-al").arg(first).arg(&cache),
    )
}
