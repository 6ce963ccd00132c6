//! The partitions that both sides of a bench have: those of our images, without the signatures, since neither side signs.

/// MiB: ESP, root, hashes of the root, state. There are two of the root.
pub(super) const ESP: u32 = 512;
pub(super) const ROOT: u32 = 2048;
const VERITY: u32 = 21;
pub(super) const STATE: u32 = 1024;

/// The partitions in order, each as the section of `repart.d(5)`.
pub(super) fn for_repart() -> Vec<String> {
    let size = |mib: u32| format!("SizeMinBytes={mib}M\nSizeMaxBytes={mib}M\n");
    let (root, hashes) = (size(ROOT), size(VERITY));
    let partitions = [
        format!(
            "Type=esp\nFormat=vfat\nCopyFiles=/boot:/\nCopyFiles=/efi:/\n{}",
            size(ESP)
        ),
        format!("Type=root\nFormat=erofs\nCopyFiles=/\nVerity=data\nVerityMatchKey=root\n{root}"),
        format!("Type=root-verity\nVerity=hash\nVerityMatchKey=root\n{hashes}"),
        format!("Type=root\nLabel=_empty\n{root}"),
        format!("Type=root-verity\nLabel=_empty\n{hashes}"),
        format!("Type=linux-generic\nLabel=state\nFormat=ext4\n{}", size(STATE)),
    ];
    partitions.map(|partition| format!("[Partition]\n{partition}")).into()
}
