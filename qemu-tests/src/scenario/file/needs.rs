//! What a scenario needs of the host: looked for before anything starts, since nobody wants to hear of it after half an hour.

use std::path::{Path, PathBuf};

use super::document::{Action, Machine, Service};
use super::reading::Written;
use crate::artefacts::Artefacts;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::firmware::Firmware;
use crate::tools;

impl Written {
    /// Looks for everything; machines that name no image of their own get `image`.
    ///
    /// # Errors
    /// [`Error::MissingTool`] or [`Error::Artefact`] says what is not there. [`Error::Usage`]: a machine has no image, or one for
    /// another architecture.
    pub(in crate::scenario) fn look_for_needs(&self, artefacts: &Artefacts, image: Option<&Path>) -> Result<()> {
        for (name, machine) in &self.machines {
            let arch = machine.arch.unwrap_or(artefacts.arch());
            let disk = self.disk_of(name, machine, artefacts, image)?;
            // What is no image of ours may still be one that starts.
            if let Some(other) = Disk::architecture(&disk).ok().filter(|found| *found != arch) {
                return Err(Error::Usage(format!(
                    "machine {name} is {arch} and {} is for {other}: say --arch {other}, or `arch` in the scenario",
                    disk.display()
                )));
            }
            if machine.tpm == Some(true) {
                tools::program("swtpm")?;
            }
            if machine.secure_boot == Some(true) {
                Firmware::find_secure(arch)?;
            }
        }
        for step in &self.steps {
            if let Action::Publish {
                release, base, product, ..
            } = &step.action
            {
                for version in release.iter().chain(base) {
                    artefacts.image_of(product.as_ref(), version)?;
                }
            }
        }
        for (name, service) in &self.services {
            match service {
                Service::Releases { repository, keys } => {
                    if repository.is_none() {
                        artefacts.repository()?;
                    }
                    if keys.is_none() {
                        artefacts.keys()?;
                    }
                }
                Service::Lock { .. } => drop(artefacts.program("twinhull-lock")?),
                Service::Etcd {} => drop(tools::program("etcd")?),
                Service::Registry { .. } => drop(tools::program("docker-registry")?),
                Service::Balancer { .. } => drop(tools::program("haproxy")?),
                Service::Command { command, .. } => {
                    // One with a slash is found from the folder of the scenario, and may be made of names.
                    let program = command.first().filter(|program| !program.contains(['/', '$']));
                    if let Some(program) = program.filter(|program| tools::find(program).is_none()) {
                        let why = format!("service {name} of {}.toml: there is no program {program}", self.name);
                        return Err(Error::Usage(why));
                    }
                }
                Service::Client { .. } => {}
            }
        }
        Ok(())
    }

    /// The image of the machine `name`; `image` is that of the command line.
    pub(super) fn disk_of(
        &self,
        name: &str,
        machine: &Machine,
        artefacts: &Artefacts,
        image: Option<&Path>,
    ) -> Result<PathBuf> {
        let artefacts = artefacts.of(machine.arch.unwrap_or(artefacts.arch()));
        match (&machine.image, &machine.release) {
            (Some(path), _) => {
                let path = self.folder.join(path);
                match path.metadata() {
                    Ok(_) => Ok(path),
                    Err(error) => Err(Error::Usage(format!(
                        "cannot find the image {} of machine {name}: {error}",
                        path.display()
                    ))),
                }
            }
            (None, Some(version)) => Ok(artefacts.image_of(machine.product.as_ref(), version)?.disk),
            (None, None) => image.map(Path::to_owned).ok_or_else(|| {
                let why = "has no `image` and no `release`: name an image before the scenario";
                Error::Usage(format!("machine {name} of {}.toml {why}", self.name))
            }),
        }
    }
}
