//! Every path the agent touches, below one root, so that a test can give it another.

use std::path::{Path, PathBuf};

use twinhull_layout::paths;

/// The file system as the agent sees it. On a host the root is `/`.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The paths below `root`; `/` on a host.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `absolute` below the root.
    pub fn at(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.root.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// Durable state of the agent.
    pub fn state(&self) -> PathBuf {
        self.at(paths::AGENT_STATE)
    }

    /// The state machine's file.
    pub fn state_file(&self) -> PathBuf {
        self.state().join("state.json")
    }

    /// Verified metadata and version floors of the repository.
    pub fn metadata(&self) -> PathBuf {
        self.state().join("metadata")
    }

    /// Boots that did not get as far as the agent, counted by the initramfs.
    pub fn unfinished_boots(&self) -> PathBuf {
        self.state().join(paths::UNFINISHED_BOOTS)
    }

    /// What the last failed health check found.
    pub fn health_report(&self) -> PathBuf {
        self.state().join("health.json")
    }

    /// What the agent tells `status`; ends with the boot.
    pub fn status_file(&self) -> PathBuf {
        self.at(paths::AGENT_RUN).join("status.json")
    }

    /// Copies of the files that start this host ([`crate::scrub`]).
    pub fn boot_copies(&self) -> PathBuf {
        self.state().join("boot-files")
    }

    /// The file whose lock says which agent may act.
    pub fn agent_lock(&self) -> PathBuf {
        self.at(paths::AGENT_RUN).join("agent.lock")
    }

    /// The EFI system partition.
    pub fn esp(&self) -> PathBuf {
        self.at(paths::ESP_MOUNT)
    }

    /// The trusted root of the repository, in the verified image.
    pub fn trusted_root(&self) -> PathBuf {
        self.at(paths::TRUSTED_ROOT)
    }

    /// Folders of configuration drop-ins, the weakest first.
    pub fn config_folders(&self) -> Vec<PathBuf> {
        ["/usr/lib", "/etc", "/run"]
            .iter()
            .map(|base| self.at(base).join("twinhull-updater/config.d"))
            .collect()
    }

    /// Marker files that forbid a reboot.
    pub fn markers(&self) -> [PathBuf; 2] {
        ["/etc", "/run"].map(|base| self.at(base).join("twinhull-updater/no-reboot"))
    }

    /// Folders of scripts that may refuse a reboot, the weakest first.
    pub fn gate_folders(&self) -> Vec<PathBuf> {
        self.script_folders("gates.d")
    }

    /// Folders of hooks before and after a reboot, the weakest first.
    pub fn hook_folders(&self) -> Vec<PathBuf> {
        self.script_folders("hooks.d")
    }

    /// Which hooks have something to undo.
    pub fn hook_journal(&self) -> PathBuf {
        self.state().join("hooks.json")
    }

    fn script_folders(&self, name: &str) -> Vec<PathBuf> {
        ["/usr/lib/twinhull", "/etc/twinhull"]
            .iter()
            .map(|base| self.at(base).join(name))
            .collect()
    }

    /// The folder of drop-ins that belong to this host.
    pub fn host_config_folder(&self) -> PathBuf {
        self.at("/etc/twinhull-updater/config.d")
    }

    /// Folders of health checks, the weakest first.
    pub fn health_folders(&self) -> Vec<PathBuf> {
        vec![self.at(paths::HEALTH_CHECKS), self.at(paths::HOST_HEALTH_CHECKS)]
    }

    /// Folders of health checks that decide nothing, the weakest first.
    pub fn reported_health_folders(&self) -> Vec<PathBuf> {
        self.script_folders("health-reported.d")
    }

    /// What the last health check of this boot found.
    pub fn health_status(&self) -> PathBuf {
        self.at(paths::AGENT_RUN).join("health.json")
    }

    /// Held by the service as long as it runs.
    pub fn service_lock(&self) -> PathBuf {
        self.at(paths::AGENT_RUN).join("service.lock")
    }

    /// Where the service listens for commands.
    pub fn control_socket(&self) -> PathBuf {
        self.at(paths::AGENT_RUN).join("control.sock")
    }
}
