//! Rollouts by name or from a file, drawn and played through: `twinhull rollout`.

use std::fmt::Write as _;
use std::path::Path;

use jiff::SignedDuration;
use serde::Deserialize;
use twinhull_rollout::{Load, PRESETS, Rollout, Simulated, Wave};

use crate::error::{Error, Result};

/// The rows of the table that `simulate` prints.
const ROWS: usize = 24;

/// A file with waves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    wave: Vec<FileWave>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileWave {
    share: String,
    start: String,
    #[serde(default)]
    pace: Option<String>,
}

/// The preset of this name, or the waves in the file of this name.
///
/// # Errors
/// Neither; a file that means nothing, with what is wrong in it.
pub fn named(name: &str) -> Result<Rollout> {
    if let Some(rollout) = twinhull_rollout::preset(name) {
        return Ok(rollout);
    }
    let path = Path::new(name);
    if !path.exists() {
        let known: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        return Err(Error::Usage(format!(
            "`{name}` is neither a preset ({}) nor a file with waves",
            known.join(", ")
        )));
    }
    let file: File = twinhull_config::read(path)?;
    let refused = |problem: String| Error::Definition {
        path: path.to_owned(),
        problem,
    };
    let stem = path
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().to_lowercase());
    let mut rollout = Rollout {
        name: stem,
        waves: Vec::new(),
    };
    for (index, wave) in file.wave.iter().enumerate() {
        let place = |problem: String| refused(format!("wave {}: {problem}", index + 1));
        rollout.waves.push(Wave {
            share: share(&wave.share).map_err(place)?,
            start_seconds: seconds(&wave.start).map_err(place)?,
            pace_seconds: wave.pace.as_deref().map_or(Ok(0), seconds).map_err(place)?,
        });
    }
    rollout.check().map_err(|error| refused(error.to_string()))?;
    Ok(rollout)
}

/// `12 %` or `0.25%`, in hundredths of a percent.
fn share(text: &str) -> Result<u32, String> {
    let wrong = || format!("share = {text:?}: write a percentage with at most two decimals, as \"12.5%\"");
    let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim_end();
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 2 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    format!("{whole}{part:0<2}").parse().map_err(|_| wrong())
}

/// `36h`, `1h 30m` or `2d`, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    // A day of a rollout is 24 hours, whatever clocks do.
    let days = text.trim().strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let duration = match days {
        Some(days) => Some(SignedDuration::from_hours(24 * i64::from(days))),
        None => text.parse::<SignedDuration>().ok(),
    };
    duration
        .and_then(|duration| u64::try_from(duration.as_secs()).ok())
        .ok_or_else(|| format!("{text:?} is not a time such as \"36h\", \"1h 30m\" or \"2d\""))
}

/// What a simulation showed, for a terminal.
pub fn to_text(rollout: &Rollout, load: &Load, made: &Simulated) -> String {
    let mut text = format!(
        "rollout {} to {} hosts, {} bytes each, a look every {} s\n{:>9}  {:>12}  {:>10}  {:>12}  {:>11}\n",
        rollout.name,
        load.hosts,
        load.update_bytes,
        load.poll_seconds,
        "from",
        "arrivals/min",
        "hosts",
        "bytes/s",
        "requests/s"
    );
    let every = made.arrivals.len().div_ceil(ROWS).max(1);
    let mut sum = 0;
    for (index, minutes) in made.arrivals.chunks(every).enumerate() {
        let from = index * every;
        let to = from + minutes.len();
        let count = minutes.len() as u64;
        let arrived: u64 = minutes.iter().sum();
        sum += arrived;
        let rate = |of: &[u64]| of[from..to].iter().sum::<u64>() / (60 * count);
        let _ = writeln!(
            text,
            "{:>6}:{:02}  {:>12}  {sum:>10}  {:>12}  {:>11}",
            from / 60,
            from % 60,
            arrived / count,
            rate(&made.bytes),
            rate(&made.requests)
        );
    }
    let _ = writeln!(
        text,
        "{} hosts have it; the worst minutes: {} arrivals, {} bytes/s, {} requests/s",
        made.arrived(),
        made.peak_arrivals(),
        made.peak_rate(),
        made.peak_requests()
    );
    if made.left_out > 0 {
        let _ = writeln!(text, "{} hosts are in no wave", made.left_out);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Rollout> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours.toml");
        std::fs::write(&path, text).unwrap();
        named(&path.to_string_lossy())
    }

    #[test]
    fn waves_of_a_file_are_read_in_words_of_people() {
        let rollout = file(
            "[[wave]]\nshare = \"0.25%\"\nstart = \"0h\"\n[[wave]]\nshare = \"99.75 %\"\nstart = \"1h 30m\"\npace = \"2h\"\n",
        )
        .unwrap();
        assert_eq!(rollout.name, "ours");
        assert_eq!((rollout.waves[0].share, rollout.waves[1].share), (25, 9_975));
        assert_eq!(
            (rollout.waves[1].start_seconds, rollout.waves[1].pace_seconds),
            (5_400, 7_200)
        );
    }

    #[test]
    fn wrong_waves_are_refused_with_their_place() {
        for (text, why) in [
            ("[[wave]]\nshare = \"1\"\nstart = \"0h\"\n", "wave 1: share"),
            ("[[wave]]\nshare = \"1%\"\nstart = \"soon\"\n", "wave 1: \"soon\""),
            ("[[wave]]\nshare = \"1%\"\nstart = \"-1h\"\n", "wave 1: \"-1h\""),
            ("[[wave]]\nshare = \"101%\"\nstart = \"0h\"\n", "more than 100 %"),
        ] {
            let error = file(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(named("careful").unwrap_err().to_string().contains("default"));
    }
}
