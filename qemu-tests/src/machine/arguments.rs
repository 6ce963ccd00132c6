//! QEMU's command line, written once.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use twinhull_layout::Arch;

use super::credential::Credential;
use crate::accelerator::Accelerator;

/// Linux counts ticks of the timer for some milliseconds and panics when there are too few, which an emulated processor on a
/// busy machine cannot promise. Under KVM the kernel leaves this out by itself. The stub takes the word from here
/// (`systemd-stub(7)`; not under Secure Boot).
const NO_TIMER_CHECK: &str = "type=11,value=io.systemd.stub.kernel-cmdline-extra=no_timer_check";

/// A PC without what no machine here uses: a keyboard, the SATA controller on the board (a disk that needs one brings its own), a
/// second timer. An emulated guest takes a tenth of its boot to find them.
const PC: &str = "q35,vmport=off,i8042=off,sata=off,hpet=off";

/// All that the accelerator can do, but for page tables of five levels, which emulation walks for every page that is new to it, and machines in
/// the machine, for which the guest would load its half of KVM.
const PROCESSOR: &str = "max,la57=off,svm=off";

/// What connects a disk with its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// `virtio-blk`, what clouds have.
    #[default]
    Virtio,
    /// `NVMe`, what servers have.
    Nvme,
    /// A SATA disk behind an AHCI controller, what older servers have.
    Sata,
}

/// Everything that the command line of one machine depends on.
#[derive(Debug)]
pub struct Arguments<'a> {
    /// What the machine is.
    pub arch: Arch,
    /// How its processors are run.
    pub accelerator: Accelerator,
    /// Number of processors.
    pub processors: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The firmware's code.
    pub firmware_code: &'a Path,
    /// Whether only the firmware may write its variable store, as Secure Boot needs.
    pub secure: bool,
    /// The machine's own variable store.
    pub firmware_variables: &'a Path,
    /// The disk as a raw file; none for a machine that only shows its firmware.
    pub disk: Option<&'a Path>,
    /// What connects the disk.
    pub bus: Bus,
    /// Where every write and flush of the disk is recorded (see [`crate::write_log`]); an empty file.
    pub write_log: Option<&'a Path>,
    /// Where connections for the guest's ssh port are taken.
    pub ssh: Option<SocketAddr>,
    /// Where connections for other ports of the guest are taken.
    pub forwards: &'a [(SocketAddr, u16)],
    /// Whether it has a display, of which pictures can be taken.
    pub display: bool,
    /// What its hardware clock shows at power-on, in UTC, if not the host's time.
    pub clock: Option<jiff::civil::DateTime>,
    /// What the guest is told.
    pub credentials: &'a [Credential],
    /// The control socket of its TPM, which is served already.
    pub tpm: Option<&'a Path>,
    /// The socket on which we wait for QEMU to bring the serial console.
    pub console_socket: &'a Path,
    /// The socket on which we wait for QEMU to bring its monitor.
    pub monitor_socket: &'a Path,
}

impl Arguments<'_> {
    /// The arguments, without the program.
    pub fn command_line(&self) -> Vec<OsString> {
        let mut line = Line::default();
        line.flag("-nodefaults").flag("-no-user-config");
        line.option("-display", "none");
        match self.arch {
            Arch::X86_64 if self.secure => line
                .option("-machine", &format!("{PC},smm=on"))
                .option("-global", "driver=cfi.pflash01,property=secure,value=on")
                .option("-cpu", PROCESSOR),
            Arch::X86_64 => line.option("-machine", PC).option("-cpu", PROCESSOR),
            Arch::Aarch64 => line.option("-machine", "virt").option("-cpu", "cortex-a72"),
        };
        line.option("-accel", self.accelerator.option());
        line.option("-smp", &self.processors.to_string())
            .option("-m", &self.memory_mib.to_string());
        line.with_file(
            "-drive",
            "if=pflash,unit=0,format=raw,readonly=on,file=",
            self.firmware_code,
        );
        line.with_file("-drive", "if=pflash,unit=1,format=raw,file=", self.firmware_variables);
        // QEMU connects to us, so there is no moment at which a socket is not there yet.
        line.with_file("-chardev", "socket,id=console,path=", self.console_socket);
        line.option("-serial", "chardev:console");
        line.with_file("-chardev", "socket,id=monitor,path=", self.monitor_socket);
        line.option("-mon", "chardev=monitor,mode=control");
        line.option("-device", "virtio-rng-pci");
        if let Some(disk) = self.disk {
            match self.write_log {
                // Flushes need not reach the host's disk: a machine's power is cut by ending QEMU, not the host.
                None => line.with_file(
                    "-drive",
                    "if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file=",
                    disk,
                ),
                Some(log) => line.recorded_disk(disk, log),
            };
            match self.bus {
                Bus::Virtio => line.option("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
                Bus::Nvme => line.option("-device", "nvme,drive=disk,serial=twinhull,bootindex=1"),
                Bus::Sata => line
                    .option("-device", "ich9-ahci,id=sata")
                    .option("-device", "ide-hd,drive=disk,bus=sata.0,bootindex=1"),
            };
            // A watchdog that really resets, as a server's does.
            line.option("-device", "i6300esb").option("-action", "watchdog=reset");
        }
        if let Some(ssh) = self.ssh {
            let mut network = format!("user,id=net,hostfwd=tcp:{ssh}-:22");
            for (address, port) in self.forwards {
                // Writing to a String cannot fail.
                let _ = write!(network, ",hostfwd=tcp:{address}-:{port}");
            }
            line.option("-netdev", &network);
            // No option ROM: the firmware would try the network before the disk.
            line.option("-device", "virtio-net-pci,netdev=net,romfile=");
        }
        if self.display {
            line.option(
                "-device",
                match self.arch {
                    Arch::X86_64 => "VGA",
                    Arch::Aarch64 => "virtio-gpu-pci",
                },
            );
        }
        if let Some(tpm) = self.tpm {
            line.with_file("-chardev", "socket,id=tpm,path=", tpm);
            line.option("-tpmdev", "emulator,id=tpm,chardev=tpm");
            line.option(
                "-device",
                match self.arch {
                    Arch::X86_64 => "tpm-crb,tpmdev=tpm",
                    Arch::Aarch64 => "tpm-tis-device,tpmdev=tpm",
                },
            );
        }
        if let Some(clock) = self.clock {
            line.option("-rtc", &format!("base={}", clock.strftime("%Y-%m-%dT%H:%M:%S")));
        }
        for credential in self.credentials {
            line.option("-smbios", &credential.smbios());
        }
        if (self.arch, self.accelerator) == (Arch::X86_64, Accelerator::Tcg) {
            line.option("-smbios", NO_TIMER_CHECK);
        }
        line.0
    }
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.into());
        self
    }

    fn option(&mut self, name: &str, value: &str) -> &mut Self {
        self.flag(name).flag(value)
    }

    /// A disk whose writes and flushes go into `log`. Flushes end there; a discard would leave its sectors undefined.
    fn recorded_disk(&mut self, disk: &Path, log: &Path) -> &mut Self {
        self.with_file(
            "-blockdev",
            "driver=file,node-name=file,cache.no-flush=on,filename=",
            disk,
        );
        self.with_file(
            "-blockdev",
            "driver=file,node-name=log,cache.no-flush=on,filename=",
            log,
        );
        self.option("-blockdev", "driver=raw,node-name=raw,file=file");
        self.option(
            "-blockdev",
            "driver=blklogwrites,node-name=disk,discard=ignore,file=raw,log=log",
        )
    }

    /// An option that ends in a file name. QEMU splits options at commas; a doubled one stands for itself.
    fn with_file(&mut self, name: &str, before: &str, file: &Path) -> &mut Self {
        let mut value = OsString::from(before);
        for (index, part) in file
            .as_os_str()
            .as_encoded_bytes()
            .split(|byte| *byte == b',')
            .enumerate()
        {
            if index > 0 {
                value.push(",,");
            }
            value.push(PathBuf::from(
                <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(part),
            ));
        }
        self.flag(name);
        self.0.push(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(disk: Option<&Path>, ssh: Option<SocketAddr>, credentials: &[Credential]) -> Vec<String> {
        Arguments {
            arch: Arch::X86_64,
            accelerator: Accelerator::Tcg,
            processors: 2,
            memory_mib: 1536,
            firmware_code: Path::new("/fw/code.fd"),
            secure: false,
            firmware_variables: Path::new("/run/vars.fd"),
            disk,
            bus: Bus::default(),
            write_log: None,
            ssh,
            forwards: &[],
            display: false,
            clock: None,
            tpm: None,
            credentials,
            console_socket: Path::new("/run/console"),
            monitor_socket: Path::new("/run/monitor"),
        }
        .command_line()
        .into_iter()
        .map(|argument| argument.into_string().unwrap())
        .collect()
    }

    fn values<'a>(line: &'a [String], name: &str) -> Vec<&'a str> {
        line.windows(2)
            .filter(|pair| pair[0] == name)
            .map(|pair| pair[1].as_str())
            .collect()
    }

    #[test]
    fn commas_in_a_path_do_not_become_options() {
        let line = line(Some(Path::new("/a,b/disk.raw,readonly=on")), None, &[]);
        assert!(values(&line, "-drive")[2].ends_with("file=/a,,b/disk.raw,,readonly=on"));
    }

    #[test]
    fn firmware_code_is_shared_read_only_and_variables_are_not() {
        let line = line(None, None, &[]);
        let drives = values(&line, "-drive");
        assert!(drives[0].contains("readonly=on,file=/fw/code.fd"));
        assert_eq!(drives[1], "if=pflash,unit=1,format=raw,file=/run/vars.fd");
    }

    #[test]
    fn the_guest_is_reached_on_loopback_only() {
        let line = line(None, Some(([127, 0, 0, 1], 2222).into()), &[]);
        assert_eq!(values(&line, "-netdev"), ["user,id=net,hostfwd=tcp:127.0.0.1:2222-:22"]);
    }

    #[test]
    fn the_watchdog_resets_instead_of_pausing() {
        let line = line(Some(Path::new("/d")), None, &[]);
        assert!(values(&line, "-device").contains(&"i6300esb"));
        assert_eq!(values(&line, "-action"), ["watchdog=reset"]);
    }

    #[test]
    fn each_credential_is_one_smbios_string() {
        let line = line(None, None, &[Credential::new("a", "1"), Credential::new("b", "2")]);
        let credentials = values(&line, "-smbios").into_iter();
        assert_eq!(
            credentials
                .filter(|value| value.contains("io.systemd.credential"))
                .count(),
            2
        );
    }

    #[test]
    fn an_emulated_pc_is_spared_the_timer_check() {
        assert!(values(&line(None, None, &[]), "-smbios").contains(&NO_TIMER_CHECK));
    }
}
