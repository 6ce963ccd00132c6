//! Boots: from the moment at which the firmware hands over to `login:` and to a container that answers, beside the same content built by
//! mkosi.
//!
//! The content is the role `server` with a container image in its store: the same packages, network, units and container on both
//! sides. Both are booted in turns by the same emulator, each time as a disk that was never booted.

mod peer;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::apps::PRELOADED_SAYS;
use crate::evidence::{Evidence, Figure, Goal, Publication, number};
use crate::phase::Phases;
use crate::workspace;
use crate::{artefacts, bench};
use peer::Peer;

/// Our time over the peer's.
const TIME_GOAL: f64 = 0.6;

/// Bytes of our kernel image with its initramfs over the peer's.
const PAYLOAD_GOAL: f64 = 0.5;

/// The end of a boot for a person.
const LOGIN: &str = "login:";

/// What to measure.
#[derive(Args)]
pub(crate) struct Boot {
    /// How often each image is booted; the median counts
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: u16,
    #[command(flatten)]
    publication: Publication,
}

/// One boot up to one text, as `twinhull-qemu boot-time --json` tells it.
#[derive(Debug, Deserialize)]
struct Cost {
    image: PathBuf,
    text: String,
    cpu_seconds: f64,
    seconds: f64,
    bytes_read: u64,
    memory: u64,
}

/// All boots.
#[derive(Debug)]
struct Costs(Vec<Cost>);

impl Boot {
    pub(crate) fn run(&self, phases: &mut Phases) -> Result<()> {
        ensure!(self.runs > 0, "--runs 0 measures nothing");
        let place = std::path::absolute(workspace::work().join("bench/boot"))?;
        let ours = artefacts::image_with_a_container(phases, place.clone())?;
        let peer = Peer::build(phases, &place, &ours)?;
        let disks = [ours.with_extension("raw"), peer.disk()];
        let costs = Costs::measure(&place.join("bin/twinhull-qemu"), &disks, self.runs)?;

        let name = peer.version()?;
        let [left, right] = &disks;
        let beside = |figure: &'static str, unit, text, of: fn(&Cost) -> f64| -> Result<Figure> {
            let value = costs.median(left, text, of)?;
            Ok(Figure::new(figure, value, unit).against(&name, costs.median(right, text, of)?))
        };
        let mut evidence = Evidence::new("bench boot");
        let goal = Goal::RatioAtMost(TIME_GOAL);
        evidence.add(beside("boot.login.cpu", "s", LOGIN, |cost| cost.cpu_seconds)?.goal(goal));
        evidence.add(beside("boot.login.wall", "s", LOGIN, |cost| cost.seconds)?.goal(goal));
        evidence.add(beside("boot.container.cpu", "s", PRELOADED_SAYS, |cost| cost.cpu_seconds)?.goal(goal));
        evidence.add(beside("boot.container.wall", "s", PRELOADED_SAYS, |cost| cost.seconds)?.goal(goal));
        evidence.add(beside("boot.login.read", "B", LOGIN, |cost| number(cost.bytes_read))?);
        evidence.add(beside("boot.login.memory", "B", LOGIN, |cost| number(cost.memory))?);
        evidence.add(
            Figure::count("boot.payload", bench::size(&ours.with_extension("efi"))?, "B")
                .against(&name, number(bench::size(&peer.kernel_image())?))
                .goal(Goal::RatioAtMost(PAYLOAD_GOAL)),
        );
        evidence.publish(&self.publication)
    }
}

impl Costs {
    /// Boots `disks` in turns.
    fn measure(tool: &Path, disks: &[PathBuf], runs: u16) -> Result<Self> {
        let mut command = Command::new(tool);
        command.arg("boot-time").args(disks).args(["--json", "--runs"]);
        command.arg(runs.to_string());
        for text in [LOGIN, PRELOADED_SAYS] {
            command.args(["--until", text]);
        }
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {}", tool.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("booting in turns: {}; it measured so far:\n{text}", output.status);
        }
        let costs = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(Self(costs.context("boot-time wrote something that is no cost")?))
    }

    fn median(&self, image: &Path, text: &str, of: fn(&Cost) -> f64) -> Result<f64> {
        let mut values: Vec<f64> = (self.0.iter())
            .filter(|cost| cost.image == image && cost.text == text)
            .map(of)
            .collect();
        ensure!(
            !values.is_empty(),
            "no boot of {} was measured up to \"{text}\"",
            image.display()
        );
        values.sort_by(f64::total_cmp);
        Ok(values.swap_remove(values.len() / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_of_one_image_and_one_text() {
        let cost = |image: &str, text: &str, cpu_seconds| Cost {
            image: image.into(),
            text: text.to_owned(),
            cpu_seconds,
            seconds: 0.0,
            bytes_read: 0,
            memory: 0,
        };
        let costs = Costs(vec![
            cost("a", LOGIN, 3.0),
            cost("b", LOGIN, 50.0),
            cost("a", "other", 70.0),
            cost("a", LOGIN, 1.0),
            cost("a", LOGIN, 2.0),
        ]);
        let median = costs.median("a".as_ref(), LOGIN, |cost| cost.cpu_seconds).unwrap();
        assert!((median - 2.0).abs() < f64::EPSILON);
        assert!(costs.median("c".as_ref(), LOGIN, |cost| cost.cpu_seconds).is_err());
    }
}
