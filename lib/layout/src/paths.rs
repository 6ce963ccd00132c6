//! Well-known paths on a host.

/// The trusted root of the release repository, part of the verified image.
pub const TRUSTED_ROOT: &str = "/usr/share/twinhull/root.json";
/// Where systemd-gpt-auto-generator mounts the EFI system partition.
pub const ESP_MOUNT: &str = "/efi";
/// Folder of boot entries on the EFI system partition (Boot Loader Specification, type 2).
pub const ENTRIES: &str = "EFI/Linux";
/// Where the state partition is mounted.
pub const STATE_MOUNT: &str = "/state";
/// The agent's durable state.
pub const AGENT_STATE: &str = "/var/lib/twinhull-updater";
/// Where the initramfs counts boots that do not get as far as the agent, in [`AGENT_STATE`]; the agent removes it.
pub const UNFINISHED_BOOTS: &str = "unfinished-boots";
/// The agent's state that ends with the boot.
pub const AGENT_RUN: &str = "/run/twinhull-updater";
/// Health checks that the image brings.
pub const HEALTH_CHECKS: &str = "/usr/lib/twinhull/health.d";
/// Health checks of this host.
pub const HOST_HEALTH_CHECKS: &str = "/etc/twinhull/health.d";
/// Name of the device-mapper device of the root file system.
pub const ROOT_DEVICE: &str = "root";
