//! The report as one page of HTML that needs nothing else: scenarios, steps with their times, consoles, pictures.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::console;
use crate::report::Outcome;

/// The most that is shown of one log, in bytes: its end. The whole is in the folder of logs.
const SHOWN: usize = 256 << 10;

/// The largest picture that is shown, in bytes.
const PICTURE: u64 = 4 << 20;

const STYLE: &str = "
:root { color-scheme: light dark; --ok: #1a7f37; --bad: #c8332b; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.1rem; margin: 0; display: inline; }
p.about { margin: .2rem 0 1rem; opacity: .75; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .2rem .6rem .2rem 0; vertical-align: top; }
td.time { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; width: 6rem; }
section { border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; margin: 1rem 0; }
.ok { color: var(--ok); } .bad { color: var(--bad); }
tr.aside td { opacity: .75; padding-left: 1.5rem; } tr.bad td { color: var(--bad); font-weight: 600; }
pre { background: var(--soft); padding: .6rem; overflow: auto; max-height: 32rem; font-size: 12px; line-height: 1.35; }
pre.failure { border-left: 4px solid var(--bad); white-space: pre-wrap; overflow-wrap: anywhere; }
td.bar { width: 30%; } td.bar div { background: currentColor; opacity: .3; height: .6rem; margin-top: .45rem; border-radius: .3rem; }
summary { cursor: pointer; } details { margin-top: .5rem; } img { max-width: 100%; border: 1px solid var(--line); }
";

/// The page. Logs and pictures are read from the folders of the outcomes.
pub fn html(outcomes: &[Outcome], commit: &str, machine: &Value) -> String {
    let passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
    let failed = outcomes.len() - passed;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{passed} passed, {failed} failed</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n<h1><span \
         class=\"ok\">{passed} passed</span>, <span class=\"{}\">{failed} failed</span></h1>\n",
        if failed > 0 { "bad" } else { "ok" },
    );
    let of = |key: &str| {
        machine[key]
            .as_str()
            .map_or_else(|| machine[key].to_string(), str::to_owned)
    };
    line(
        &mut page,
        &format!(
            "<p class=\"about\">{} · commit {} · {}, {} cores, {} GiB · {}</p>",
            jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
            escaped(commit.get(..12).unwrap_or(commit)),
            escaped(&of("cpu")),
            escaped(&of("cores")),
            escaped(&of("memory_gib")),
            escaped(&of("os")),
        ),
    );
    let longest = outcomes.iter().map(|outcome| outcome.taken).max().unwrap_or_default();
    page.push_str("<table>");
    for outcome in outcomes {
        let (verdict, class) = verdict(outcome);
        let name = escaped(&outcome.name);
        line(
            &mut page,
            &format!(
                "<tr><td><a href=\"#{name}\">{name}</a></td><td class=\"{class}\">{verdict}</td><td \
                 class=\"time\">{}</td><td class=\"bar {class}\"><div style=\"width:{:.1}%\"></div></td></tr>",
                seconds(outcome.taken),
                share(outcome.taken, longest)
            ),
        );
    }
    page.push_str("</table>\n");
    for outcome in outcomes {
        scenario(&mut page, outcome);
    }
    page + "</body></html>\n"
}

fn scenario(page: &mut String, outcome: &Outcome) {
    let (verdict, class) = verdict(outcome);
    let name = escaped(&outcome.name);
    line(
        page,
        &format!(
            "<section id=\"{name}\"><h2>{name}</h2> <span class=\"{class}\">{verdict}</span> after {}<p \
             class=\"about\">{}</p>",
            seconds(outcome.taken),
            escaped(&outcome.about)
        ),
    );
    if let Some(failure) = &outcome.failure {
        line(page, &format!("<pre class=\"failure\">{}</pre>", escaped(failure)));
    }
    page.push_str("<table>");
    for (at, step) in outcome.steps.iter().enumerate() {
        if step.aside {
            let text = escaped(&step.text);
            line(
                page,
                &format!("<tr class=\"aside\"><td></td><td>{text}</td><td></td></tr>"),
            );
            continue;
        }
        let next = outcome.steps[at + 1..].iter().find(|next| !next.aside);
        let taken = next.map_or(outcome.taken, |next| next.at).saturating_sub(step.at);
        let failed = !outcome.passed() && next.is_none();
        line(
            page,
            &format!(
                "<tr{}><td class=\"time\">{}</td><td>{}</td><td class=\"bar\"><div style=\"width:{:.1}%\"></div></td></tr>",
                if failed { " class=\"bad\"" } else { "" },
                seconds(taken),
                escaped(&step.text),
                share(taken, outcome.taken)
            ),
        );
    }
    page.push_str("</table>\n");
    for path in files(&outcome.logs) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let title = escaped(&name);
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("png") if fs::metadata(&path).is_ok_and(|file| file.len() <= PICTURE) => {
                let bytes = fs::read(&path).unwrap_or_default();
                line(
                    page,
                    &format!(
                        "<details open><summary>{title}</summary><img alt=\"{title}\" \
                         src=\"data:image/png;base64,{}\"></details>",
                        STANDARD.encode(bytes)
                    ),
                );
            }
            Some("log") if name != "steps.log" && name != "failure.log" => {
                let (text, cut) = end_of(&path);
                if text.trim().is_empty() {
                    continue;
                }
                let before = if cut {
                    "… (the whole is in the folder of logs)\n"
                } else {
                    ""
                };
                line(
                    page,
                    &format!(
                        "<details><summary>{title}</summary><pre>{before}{}</pre></details>",
                        escaped(&text)
                    ),
                );
            }
            _ => {}
        }
    }
    page.push_str("</section>\n");
}

/// The files of a folder by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// The end of a log without control sequences, and whether something is missing before it.
fn end_of(path: &Path) -> (String, bool) {
    let bytes = fs::read(path).unwrap_or_default();
    let start = bytes.len().saturating_sub(SHOWN);
    (console::plain(&bytes[start..]), start > 0)
}

fn verdict(outcome: &Outcome) -> (&'static str, &'static str) {
    if outcome.passed() {
        ("passed", "ok")
    } else {
        ("FAILED", "bad")
    }
}

fn seconds(taken: Duration) -> String {
    format!("{:.1} s", taken.as_secs_f64())
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() {
        return 0.0;
    }
    100.0 * part.as_secs_f64() / whole.as_secs_f64()
}

fn line(page: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{line}");
}

/// Text as HTML takes it; control characters, which no browser shows, become a mark.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(character),
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::steps::Step;

    #[test]
    fn consoles_pictures_and_failures_are_in_the_page_and_cannot_leave_their_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("host.console.log"), "\u{1b}[1m</pre><script>x\n").unwrap();
        fs::write(folder.path().join("host.png"), b"png").unwrap();
        fs::write(folder.path().join("steps.log"), "not twice").unwrap();
        let step = |text: &str, seconds| Step {
            text: text.to_owned(),
            at: Duration::from_secs(seconds),
            aside: text.starts_with("seen"),
        };
        let outcome = Outcome {
            name: "boots".to_owned(),
            about: "it boots".to_owned(),
            taken: Duration::from_secs(30),
            steps: vec![
                step("booting", 0),
                step("seen it", 5),
                step("looking", 20),
                step("seen no more", 25),
            ],
            counts: BTreeMap::new(),
            failure: Some("no <thing>".to_owned()),
            logs: folder.path().to_owned(),
        };
        let page = html(&[outcome], "abc", &serde_json::json!({ "cpu": "c" }));
        assert!(page.contains("&lt;/pre&gt;&lt;script&gt;x") && !page.contains("<script>"));
        assert!(page.contains("no &lt;thing&gt;") && page.contains("data:image/png;base64,cG5n"));
        assert!(!page.contains("not twice"));
        // The first step took 20 s; the last one failed. What was seen on the way is no step.
        assert!(page.contains("<tr><td class=\"time\">20.0 s</td><td>booting"));
        assert!(page.contains("<tr class=\"bad\"><td class=\"time\">10.0 s</td><td>looking"));
    }
}
