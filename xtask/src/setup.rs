//! Installs what the other commands need.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::distribution::{Distribution, PACKAGES, Package};
use crate::phase::Phases;
use crate::privilege::as_root;
use crate::{other_tuf, rust_targets, workspace};

const BACKPORTS: &str = "/etc/apt/sources.list.d/twinhull-backports.sources";
const CARGO_DEB_VERSION: &str = "3.8.0";
const SPDX_TOOLS_VERSION: &str = "0.8.5";

/// The tool that packages the agent, of which nothing is installed outside the checkout.
pub(crate) fn cargo_deb() -> PathBuf {
    tools().join("bin/cargo-deb")
}

/// The SPDX project's validator, which a test of the builder runs.
fn spdx_validator() -> PathBuf {
    tools().join("python/bin/pyspdxtools")
}

fn tools() -> PathBuf {
    workspace::target().join("tools")
}

/// Says what is missing, and changes nothing.
pub(crate) fn explain(arch: Arch) -> Result<()> {
    let missing = missing(arch);
    print_missing(&missing);
    if !cargo_deb().exists() {
        println!(
            "  cargo-deb {CARGO_DEB_VERSION}: packages the agent (from crates.io, into {})",
            tools().display()
        );
    }
    other_tuf::explain();
    if !spdx_validator().exists() {
        println!(
            "  spdx-tools {SPDX_TOOLS_VERSION}: validates bills of materials in a test (from PyPI, into {})",
            tools().display()
        );
    }
    for target in rust_targets::missing()? {
        println!("  the Rust target {target}: static programs of the image (through rustup)");
    }
    Distribution::of_this_host().map(|_| ())
}

/// Installs what is missing. On a distribution other than Debian 12 and 13 it says what is needed and stops.
pub(crate) fn run(phases: &mut Phases, arch: Arch) -> Result<()> {
    let missing = missing(arch);
    if !missing.is_empty() {
        print_missing(&missing);
        match Distribution::of_this_host()? {
            Ok(distribution) => {
                println!("They are installed with apt now.");
                install(phases, distribution, &missing)?;
            }
            Err(other) => bail!(
                "this is {other}; only on Debian 12 and 13 are packages installed for you. Install the above yourself"
            ),
        }
        if let Some(package) = missing.iter().find(|package| !package.is_installed()) {
            bail!(
                "{} is still not there, or too old, after the installation; see the logs in {}",
                package.name,
                workspace::work().join("logs").display()
            );
        }
    }
    rust_targets::install(phases)?;
    if !cargo_deb().exists() {
        phases.run(
            "install cargo-deb",
            workspace::cargo()
                .args([
                    "install",
                    "--quiet",
                    "--locked",
                    "cargo-deb",
                    "--version",
                    CARGO_DEB_VERSION,
                    "--root",
                ])
                .arg(tools()),
        )?;
    }
    if !spdx_validator().exists() {
        let python = tools().join("python");
        phases.run(
            "make a Python environment for spdx-tools",
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&python),
        )?;
        phases.run(
            "install spdx-tools",
            Command::new(python.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check"])
                .arg(format!("spdx-tools=={SPDX_TOOLS_VERSION}")),
        )?;
    }
    Ok(())
}

/// What is not there of what images of `arch` and the tests need.
fn missing(arch: Arch) -> Vec<&'static Package> {
    let needed = |package: &&Package| package.arch.is_none_or(|only| only == arch);
    (PACKAGES.iter().filter(needed))
        .filter(|package| !package.is_installed())
        .collect()
}

fn print_missing(missing: &[&Package]) {
    if missing.is_empty() {
        println!("All packages are installed.");
        return;
    }
    println!("These packages are missing:");
    for package in missing {
        let least = package
            .at_least
            .map(|version| format!(" (at least {version})"))
            .unwrap_or_default();
        println!("  {}{least}: {}", package.name, package.reason);
    }
}

fn install(phases: &mut Phases, distribution: Distribution, missing: &[&Package]) -> Result<()> {
    let apt = || {
        let mut command = as_root("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    // First, because before it apt cannot say which release an archive holds.
    phases.run("apt-get update", apt().arg("update"))?;
    if distribution == Distribution::Bookworm && missing.iter().any(|package| package.at_least.is_some()) {
        add_backports()?;
        phases.run("apt-get update with backports", apt().arg("update"))?;
    }
    let (newer, plain): (Vec<_>, Vec<_>) = missing.iter().partition(|package| package.at_least.is_some());
    let names = |packages: Vec<&&Package>| packages.into_iter().map(|package| package.name).collect::<Vec<_>>();
    let mut install_all = |title: &str, options: &[&str], packages: Vec<&str>| {
        if packages.is_empty() {
            return Ok(());
        }
        phases.run(
            title,
            apt()
                .args(["install", "--yes", "--no-install-recommends"])
                .args(options)
                .args(packages),
        )
    };
    install_all("apt-get install", &[], names(plain))?;
    let from_backports: &[&str] = match distribution {
        Distribution::Bookworm => &["--target-release", "bookworm-backports"],
        Distribution::Trixie => &[],
    };
    install_all("apt-get install newer", from_backports, names(newer))
}

/// Names the backports of the very archive that apt already uses.
fn add_backports() -> Result<()> {
    if Path::new(BACKPORTS).exists() {
        return Ok(());
    }
    let uris = archives_of("bookworm")?;
    if uris.is_empty() {
        bail!(
            "apt knows no archive of bookworm, so its backports cannot be named; add them to apt yourself, for QEMU 10"
        );
    }
    let uris = uris.into_iter().collect::<Vec<_>>().join(" ");
    let text = format!(
        "# Made by `cargo xtask setup`: QEMU 10 for virtual machines.\nTypes: deb\nURIs: {uris}\nSuites: bookworm-backports\n\
         Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    );
    println!("Adding {BACKPORTS} for QEMU 10.");
    let mut tee = as_root("tee")
        .arg(BACKPORTS)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot write {BACKPORTS}"))?;
    tee.stdin
        .take()
        .context("tee has an input")?
        .write_all(text.as_bytes())?;
    if !tee.wait()?.success() {
        bail!("cannot write {BACKPORTS}");
    }
    Ok(())
}

/// The archives from which apt takes `release`, component main.
fn archives_of(release: &str) -> Result<BTreeSet<String>> {
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ])
        .output()
        .context("cannot ask apt for its sources")?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said
        .lines()
        .filter_map(|line| line.strip_suffix(&format!(" {release} main")).map(str::to_owned))
        .collect())
}
