//! A whole host in a folder, for the program itself: sysfs, disk image, boot entries, configuration.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use twinhull_layout::RootHash;

use crate::recorder::Machine;
use crate::script;
use crate::world::{Image, noise, product};

/// A kernel image of the least form that has sections: a command line that names `hash`, and noise for a kernel.
pub(crate) fn kernel(hash: &RootHash, seed: u8) -> Vec<u8> {
    let command_line = format!("roothash={hash} quiet").into_bytes();
    let payload = noise(u64::from(seed) + 100, 90_000);
    let sections = [(b".cmdline", command_line), (b".linux\0\0", payload)];
    let mut file = vec![0; 0x400];
    let mut headers = Vec::new();
    let mut address = 0x1000_u32;
    for (name, data) in &sections {
        let (at, size) = (u32::try_from(file.len()).unwrap(), u32::try_from(data.len()).unwrap());
        file.extend_from_slice(data);
        file.resize(file.len().next_multiple_of(0x200), 0);
        let raw = u32::try_from(file.len()).unwrap() - at;
        headers.extend_from_slice(*name);
        for field in [size, address, raw, at, 0, 0, 0, 0x4000_0040] {
            headers.extend_from_slice(&field.to_le_bytes());
        }
        address += raw.next_multiple_of(0x1000);
    }
    let mut set = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, b"MZ");
    set(0x3c, &0x40_u32.to_le_bytes());
    set(0x40, b"PE\0\0");
    set(0x44, &0x8664_u16.to_le_bytes());
    set(0x46, &2_u16.to_le_bytes());
    set(0x54, &240_u16.to_le_bytes());
    set(0x56, &0x22e_u16.to_le_bytes());
    set(0x58, &0x20b_u16.to_le_bytes());
    set(0x58 + 32, &0x1000_u32.to_le_bytes());
    set(0x58 + 36, &0x200_u32.to_le_bytes());
    set(0x58 + 56, &address.to_le_bytes());
    set(0x58 + 60, &0x400_u32.to_le_bytes());
    set(0x58 + 108, &16_u32.to_le_bytes());
    set(0x58 + 240, &headers);
    file
}

/// The folder.
pub(crate) struct Host {
    pub(crate) folder: tempfile::TempDir,
    /// What the environment of the program has besides.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// What the kernel calls a disk and its partitions.
#[derive(Clone, Copy)]
pub(crate) struct DiskName {
    pub(crate) disk: &'static str,
    /// What is between that and the number of a partition.
    pub(crate) between: &'static str,
    /// Bytes of a logical sector.
    pub(crate) sector: u64,
}

impl DiskName {
    pub(crate) const VDA: Self = Self {
        disk: "vda",
        between: "",
        sector: 512,
    };

    fn partition(self, number: u32) -> String {
        format!("{}{}{number}", self.disk, self.between)
    }

    fn sysfs(self) -> String {
        format!("sys/devices/pci/block/{}", self.disk)
    }
}

impl Host {
    /// Booted into `active`, with `machine` as its disk and `trusted` as its trusted root.
    pub(crate) fn new(active: &Image, machine: &Machine, trusted: &[u8]) -> Self {
        let host = Self::with_disk(DiskName::VDA, active, &machine.entries, trusted);
        host.write("dev/vda", &machine.disk);
        host
    }

    /// The same with a disk of that name, which is still to be put to `dev`.
    pub(crate) fn with_disk(
        name: DiskName,
        active: &Image,
        entries: &BTreeMap<String, Vec<u8>>,
        trusted: &[u8],
    ) -> Self {
        let host = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        };
        fs::create_dir_all(host.at("dev")).unwrap();
        for (name, content) in entries {
            host.write(&format!("efi/EFI/Linux/{name}"), content);
        }
        host.write("usr/share/twinhull/root.json", trusted);
        host.write("etc/machine-id", b"00112233445566778899aabbccddeeff\n");
        let sector = format!("{}\n", name.sector);
        host.add_disk(name);
        host.write(&format!("{}/queue/logical_block_size", name.sysfs()), sector.as_bytes());
        host.write("sys/block/dm-0/dm/name", b"root\n");
        fs::create_dir_all(host.at("sys/block/dm-0/slaves")).unwrap();
        let root = name.partition(2);
        symlink(
            host.at(&format!("{}/{root}", name.sysfs())),
            host.at(&format!("sys/block/dm-0/slaves/{root}")),
        )
        .unwrap();
        host.mount_esp_from(name);
        host.script("systemctl", "echo \"$@\" >> \"$(dirname \"$0\")/systemctl.log\"");
        host.boot(active);
        host
    }

    /// A disk with partitions in sysfs.
    pub(crate) fn add_disk(&self, name: DiskName) {
        for number in [1, 2] {
            let folder = format!("{}/{}", name.sysfs(), name.partition(number));
            self.write(&format!("{folder}/partition"), format!("{number}\n").as_bytes());
        }
    }

    /// The EFI system partition is that of the disk `name`.
    pub(crate) fn mount_esp_from(&self, name: DiskName) {
        let device = fs::metadata(self.folder.path()).unwrap().dev();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let link = self.at(&format!("sys/dev/block/{major}:{minor}"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(self.at(&format!("{}/{}", name.sysfs(), name.partition(1))), link).unwrap();
    }

    /// The next boot: another release runs, and what ends with a boot is gone.
    pub(crate) fn boot(&self, image: &Image) {
        let os_release = format!("IMAGE_ID={}\nIMAGE_VERSION={}\n", product(), image.version);
        self.write("usr/lib/os-release", os_release.as_bytes());
        self.write("proc/cmdline", format!("roothash={}\n", image.hash).as_bytes());
        self.write("dev/mapper/root", &image.root);
        let _ = fs::remove_dir_all(self.at("run"));
        let _ = fs::remove_file(self.at("bin/systemctl.log"));
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn script(&self, name: &str, text: &str) {
        self.executable(&format!("bin/{name}"), text);
    }

    /// A shell script at `path`.
    pub(crate) fn executable(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        script::write(&path, text);
    }

    pub(crate) fn configure(&self, text: &str) {
        self.write("etc/twinhull-updater/config.d/50-test.toml", text.as_bytes());
    }

    pub(crate) fn rename_entry(&self, from: &str, to: &str) {
        let entries = self.at("efi/EFI/Linux");
        fs::rename(entries.join(from), entries.join(to)).unwrap();
    }

    /// What is on the disk and on the EFI system partition.
    pub(crate) fn machine(&self) -> Machine {
        let entries = fs::read_dir(self.at("efi/EFI/Linux")).unwrap();
        Machine {
            disk: fs::read(self.at("dev/vda")).unwrap(),
            entries: entries
                .map(|entry| entry.unwrap().path())
                .map(|path| (name_of(&path), fs::read(&path).unwrap()))
                .collect(),
        }
    }

    /// What systemd was asked for in this boot.
    pub(crate) fn asked_of_systemd(&self) -> String {
        fs::read_to_string(self.at("bin/systemctl.log")).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // A measurement brings the program as it is shipped.
        let program =
            std::env::var_os("TWINHULL_UPDATER").unwrap_or_else(|| env!("CARGO_BIN_EXE_twinhull-updater").into());
        let mut command = Command::new(program);
        command.arg("--root").arg(self.folder.path()).args(arguments);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.at("bin").display()));
        command
            .env("NO_PROXY", "127.0.0.1")
            .env("TWINHULL_LOG", "debug,hyper=warn,reqwest=warn")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command with `--json` and gives its exit code and what it printed.
    pub(crate) fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let output = self.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), value)
    }

    /// Starts the service. It is ended when the returned value is dropped.
    pub(crate) fn service(&self) -> Service {
        let log = fs::File::create(self.at("service.log")).unwrap();
        Service(self.command(&["run"]).stdin(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// The same with a journal of its own: the socket `journal/socket` in this folder takes the place of the host's.
    pub(crate) fn service_with_journal(&self) -> Service {
        let program = self.command(&["run"]);
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let mount = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal \
                     && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
        command.args(["--mount", "sh", "-c", mount]).arg(self.at("journal"));
        command.arg(program.get_program()).args(program.get_args());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Service(
            command
                .env("JOURNAL_STREAM", "1:1")
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Waits until `done`; the service works on its own clock.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut(&serde_json::Value) -> bool) {
        let started = std::time::Instant::now();
        loop {
            let (_, status) = self.json(&["status"]);
            if done(&status) {
                return;
            }
            if started.elapsed().as_secs() > 60 {
                let log = fs::read_to_string(self.at("service.log")).unwrap_or_default();
                panic!("not {what} within a minute:\n{status:#}\n{log}");
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The running service.
pub(crate) struct Service(Child);

impl Service {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
