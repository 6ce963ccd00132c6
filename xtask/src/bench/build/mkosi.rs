//! The peer: mkosi of Debian 13, in a tree of that release, whatever this host is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use twinhull_chroot::{Chroot, LAUNCHER};

use super::content::{self, Place};
use super::{Case, Cost, disk, measured, quietly};
use crate::archives::Archives;
use crate::phase::Phases;
use crate::privilege::as_root;

/// What it is called in the table.
pub(super) const NAME: &str = "mkosi";

/// The package, and what it starts for an image of this kind.
const PACKAGES: &str = "mkosi,cpio,cryptsetup-bin,debian-archive-keyring,dosfstools,e2fsprogs,erofs-utils,kmod,mtools,python3-pefile,\
                        systemd-boot,systemd-repart,systemd-ukify,udev,zstd";

/// Keep what later builds can begin with, and begin with it.
const INCREMENTAL: &str = "--incremental=yes";

/// Take the package files that are there.
const FETCH_NOTHING: &str = "--cache-only=always";

/// The tool with its inputs.
pub(super) struct Mkosi {
    host: Chroot,
    folder: PathBuf,
}

impl Mkosi {
    /// Makes the tree, writes the configuration and fetches the packages.
    pub(super) fn prepare(phases: &mut Phases, place: &Place) -> Result<Self> {
        let folder = place.folder(NAME)?;
        let tree = place.path().join("debian");
        if !tree.join("usr/bin/mkosi").exists() {
            phases.run("remove what an earlier run left", as_root("rm").arg("-rf").arg(&tree))?;
            phases.run(
                "make a host with mkosi",
                as_root("mmdebstrap")
                    .args(["--variant=apt", "--mode=root", "--include", PACKAGES, content::SUITE])
                    .arg(&tree),
            )?;
        }
        // It is on the network as this host is.
        phases.run(
            "share the network",
            as_root("cp")
                .args(["--dereference", "/etc/resolv.conf", "/etc/hosts"])
                .arg(tree.join("etc")),
        )?;
        let [base, _] = place.overlays()?;
        let mkosi = Self {
            host: Chroot::new(&tree, vec![place.path().to_owned(), base]),
            folder,
        };
        mkosi.configure(place)?;
        phases.run(
            "a first build by mkosi, which fetches the packages",
            &mut mkosi.build(&[INCREMENTAL]),
        )?;
        Ok(mkosi)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn configure(&self, place: &Place) -> Result<()> {
        let write = |name: &str, text: String| {
            let file = self.file("config").join(name);
            let folder = file.parent().unwrap_or(&file);
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&file, text))
                .with_context(|| format!("cannot write {}", file.display()))
        };
        for folder in ["out", "cache", "packages", "work"] {
            place.folder(&format!("{NAME}/{folder}"))?;
        }
        write("mkosi.conf", self.settings(place)?)?;
        let archives = Archives::of_this_host()?;
        write("mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources", sources(&archives))?;
        let partitions = partitions().into_iter().enumerate();
        for (number, text) in partitions {
            write(&format!("mkosi.repart/{number}0.conf"), format!("[Partition]\n{text}"))?;
        }
        Ok(())
    }

    fn settings(&self, place: &Place) -> Result<String> {
        let lines = |words: &[String]| words.iter().flat_map(|word| ["\n    ", word]).collect::<String>();
        let packages: Vec<String> = (content::PACKAGES.iter().chain([&content::KERNEL, &content::LOADER]))
            .map(|name| (*name).to_owned())
            .collect();
        let overlays = place.overlays()?.map(|overlay| overlay.display().to_string());
        let folder = self.folder.display();
        Ok(format!(
            "[Distribution]\nDistribution=debian\nRelease={}\nArchitecture=x86-64\n\
             [Output]\nFormat=disk\nOutput=bench\nOutputDirectory={folder}/out\n\
             [Content]\nBootable=yes\nBootloader=systemd-boot\nUnifiedKernelImages=yes\nWithDocs=yes\n\
             ExtraTrees={}\nPackages={}\n\
             [Build]\nCacheDirectory={folder}/cache\nPackageCacheDirectory={folder}/packages\n\
             WorkspaceDirectory={folder}/work\nHistory=no\n\
             [Validation]\nSecureBoot=no\n",
            content::SUITE,
            lines(&overlays),
            lines(&packages),
        ))
    }

    fn build(&self, options: &[&str]) -> Command {
        let mut command = as_root(LAUNCHER);
        command
            .args(self.host.arguments())
            .args([
                "env",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "mkosi",
                "--directory",
            ])
            .arg(self.file("config"))
            .arg("--force")
            .args(options)
            .arg("build");
        command
    }

    /// A build that is not measured, after which what an incremental build keeps is there. One without it takes that away.
    pub(super) fn warm(&self, phases: &mut Phases) -> Result<()> {
        phases.run(
            "a build by mkosi, which fills its cache",
            &mut self.build(&[INCREMENTAL, FETCH_NOTHING]),
        )
    }

    /// Runs one build of the kind `case`.
    pub(super) fn run(&self, case: Case) -> Result<Cost> {
        let (cache, folders): (_, &[&str]) = match case {
            // What an incremental build would keep is not made, so it costs nothing.
            Case::Cold => ("--incremental=no", &["packages", "work", "out"]),
            Case::Overlay | Case::Unchanged => (INCREMENTAL, &["packages", "work", "out", "cache"]),
        };
        if case == Case::Cold {
            quietly(
                as_root("find")
                    .arg(self.file("out"))
                    .args(["-mindepth", "1", "-delete"]),
            )?;
        }
        let folders: Vec<PathBuf> = folders.iter().map(|name| self.file(name)).collect();
        measured(&self.build(&[cache, FETCH_NOTHING]), &folders)
    }

    /// Bytes of the package files.
    pub(super) fn packages(&self) -> Result<u64> {
        disk::held(&[self.file("packages")])
    }

    /// Bytes of the disk that the image takes, holes not counted.
    pub(super) fn image(&self) -> Result<u64> {
        disk::of_file(&self.file("out/bench.raw"))
    }

    /// Bytes of the kernel image.
    pub(super) fn kernel_image(&self) -> Result<u64> {
        super::size(&self.file("out/bench.efi"))
    }

    /// Its name and version.
    pub(super) fn version(&self) -> Result<String> {
        let mut command = as_root("chroot");
        let output = command.arg(self.host.tree()).args(["mkosi", "--version"]).output();
        let output = output.context("cannot start mkosi")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn sources(archives: &Archives) -> String {
    let (main, security, suite) = (&archives.main, &archives.security, content::SUITE);
    let rest = "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
    format!(
        "Types: deb\nURIs: {main}\nSuites: {suite} {suite}-updates\n{rest}\n\
         Types: deb\nURIs: {security}\nSuites: {suite}-security\n{rest}"
    )
}

/// The partitions of our layout, without the signatures: neither side signs.
fn partitions() -> Vec<String> {
    let size = |mib: u32| format!("SizeMinBytes={mib}M\nSizeMaxBytes={mib}M\n");
    let (root, hashes) = (size(content::ROOT), size(content::VERITY));
    vec![
        format!(
            "Type=esp\nFormat=vfat\nCopyFiles=/boot:/\nCopyFiles=/efi:/\n{}",
            size(content::ESP)
        ),
        format!("Type=root\nFormat=erofs\nCopyFiles=/\nVerity=data\nVerityMatchKey=root\n{root}"),
        format!("Type=root-verity\nVerity=hash\nVerityMatchKey=root\n{hashes}"),
        format!("Type=root\nLabel=_empty\n{root}"),
        format!("Type=root-verity\nLabel=_empty\n{hashes}"),
        format!("Type=linux-generic\nLabel=state\nFormat=ext4\n{}", size(content::STATE)),
    ]
}
