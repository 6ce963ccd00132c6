//! How a machine's processors are run, decided by booting something.
//!
//! That `/dev/kvm` opens proves nothing: inside some virtual machines it creates processors that then hang or abort.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use twinhull_layout::Arch;

use crate::error::{Error, Result};
use crate::firmware::Firmware;
use crate::machine::{Machine, Plan};
use crate::pace::Pace;
use crate::run_folder::RunFolder;

/// What the firmware writes on the console when it looks for something to boot.
const BOOT_MENU: &str = "BdsDxe:";

/// Hardware virtualisation that works is at the boot menu in two seconds.
const PROOF: Duration = Duration::from_secs(20);

/// Software emulation gets longer: its time is also the measure of this machine.
const EMULATED: Duration = Duration::from_mins(2);

/// How a machine's processors are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// By the processor itself.
    Kvm,
    /// By software, one host thread for each.
    Tcg,
}

/// What a user may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// KVM if it proves itself, otherwise emulation.
    #[default]
    Auto,
    /// This one, or fail.
    Force(Accelerator),
}

/// The outcome of a choice, valid for the whole run.
#[derive(Debug, Clone)]
pub struct Proven {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// The time from power-on to the firmware's boot menu.
    pub firmware_boot: Duration,
    /// Why it is not KVM, where that was tried.
    pub kvm_refused: Option<String>,
}

impl Proven {
    /// What was found, for people.
    pub fn in_words(&self, arch: Arch, pace: Pace) -> String {
        let because = match &self.kvm_refused {
            Some(reason) => format!("; kvm did not prove itself: {reason}"),
            None => String::new(),
        };
        format!(
            "accelerator {} for {arch} (firmware in {:.1} s, limits x {:.1}{because})",
            self.accelerator,
            self.firmware_boot.as_secs_f64(),
            pace.factor()
        )
    }
}

impl Accelerator {
    /// The value of QEMU's `-accel`.
    pub fn option(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi,tb-size=512",
        }
    }

    /// How many processors a machine gets.
    ///
    /// An emulated one is a thread of this host. Where a busy host runs only one of two, each waits for the other, and one boot
    /// in some thirty ends in a kernel that has lost the ticks of its second processor.
    pub fn processors(self) -> u32 {
        match self {
            Self::Kvm => 2,
            Self::Tcg => 1,
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Force(Accelerator::Kvm)),
            "tcg" => Ok(Self::Force(Accelerator::Tcg)),
            _ => Err(format!("\"{text}\" is none of auto, kvm, tcg")),
        }
    }
}

/// Finds the accelerator for `arch` by booting the firmware.
pub async fn prove(choice: Choice, arch: Arch, folders: &RunFolder) -> Result<Proven> {
    let native = std::env::consts::ARCH == arch.to_string();
    let mut kvm_refused = None;
    if choice == Choice::Force(Accelerator::Kvm) || (choice == Choice::Auto && native && Path::new("/dev/kvm").exists())
    {
        match boot_firmware(Accelerator::Kvm, arch, folders, PROOF).await {
            Ok(firmware_boot) => {
                return Ok(Proven {
                    accelerator: Accelerator::Kvm,
                    firmware_boot,
                    kvm_refused,
                });
            }
            Err(error) if error.is_environment() => return Err(error),
            Err(error) => {
                let reason = first_line(&error.to_string());
                if choice != Choice::Auto {
                    return Err(Error::Accelerator {
                        accelerator: "kvm".to_owned(),
                        reason,
                    });
                }
                kvm_refused = Some(reason);
            }
        }
    }
    let firmware_boot = boot_firmware(Accelerator::Tcg, arch, folders, EMULATED)
        .await
        .map_err(|error| {
            if error.is_environment() {
                return error;
            }
            Error::Accelerator {
                accelerator: "tcg".to_owned(),
                reason: error.to_string(),
            }
        })?;
    Ok(Proven {
        accelerator: Accelerator::Tcg,
        firmware_boot,
        kvm_refused,
    })
}

/// The time in which `accelerator` brings the firmware, without any disk, to its boot menu.
async fn boot_firmware(accelerator: Accelerator, arch: Arch, folders: &RunFolder, limit: Duration) -> Result<Duration> {
    let started = Instant::now();
    let name = format!("firmware-{arch}-{accelerator}");
    let machine = Machine::start(Plan {
        memory_mib: 256,
        ..Plan::new(name, Firmware::find(arch)?, arch, accelerator, folders)
    })
    .await?;
    machine.wait_for_text(BOOT_MENU, 0, limit).await?;
    // What the machine could not run does not tell how fast it is.
    let taken = started.elapsed().saturating_sub(machine.starved());
    machine.cut_power().await;
    Ok(taken)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_uses_one_thread_for_each_processor() {
        assert!(Accelerator::Tcg.option().contains("thread=multi"));
    }

    #[test]
    fn an_unknown_accelerator_is_refused_with_the_known_ones() {
        assert_eq!(
            "hvf".parse::<Choice>().unwrap_err(),
            "\"hvf\" is none of auto, kvm, tcg"
        );
        assert_eq!("kvm".parse::<Choice>(), Ok(Choice::Force(Accelerator::Kvm)));
    }
}
