//! One group: what state it is in, who holds its slots, who waits and why, and which versions its hosts run.

use std::fmt::Write;

use jiff::Timestamp;

use super::html::Text;
use super::{Admin, View, age, moment, plural};
use crate::semaphore::FailureKind;
use crate::status::{GroupStatus, HolderStatus};

/// Up to so many slots are drawn; more are only counted.
const DRAWN: u32 = 24;

/// How many waiting hosts and failures are named.
const NAMED: usize = 12;

/// The card of `group`.
pub(super) fn section(group: &GroupStatus, now: Timestamp, view: &View<'_>) -> String {
    let held = group.holders.len();
    let state = state(group);
    let mut text = format!(
        "<section class=\"card group {}\">\n<h2>{} <span class=\"state\">{}</span></h2>\n\
         <p class=\"slots\">{}<span>{held} of {} {} held</span></p>\n<p class=\"rules\">{}</p>\n",
        state.class,
        Text(&group.name),
        state.word,
        drawing(group.slots, held),
        group.slots,
        plural(group.slots.into(), "slot", "slots"),
        Text(&group.policy),
    );
    // Writing to a string cannot fail.
    if let Some(why) = state.why {
        let _ = writeln!(text, "<p class=\"why\">{why}</p>");
    }
    if !group.holders.is_empty() {
        text.push_str("<table>\n<thead><tr><th>Holder</th><th>Since</th><th>For</th></tr></thead>\n<tbody>\n");
        for holder in &group.holders {
            text.push_str(&row(group, holder, now, view));
        }
        text.push_str("</tbody>\n</table>\n");
    }
    text.push_str(&waiting(group, now));
    text.push_str(&failures(group));
    text.push_str(&versions(group));
    if let Some(admin) = view.admin {
        text.push_str(&intervention(group, view.link, &admin));
    }
    text.push_str("</section>\n");
    text
}

struct State {
    class: &'static str,
    word: &'static str,
    /// What the word alone does not say.
    why: Option<String>,
}

fn state(group: &GroupStatus) -> State {
    let (class, word, why) = if let Some(halt) = &group.halted {
        let why = format!(
            "Halted {}: {}. A person has to resume it.",
            moment(halt.since),
            Text(&halt.reason)
        );
        ("stopped", "halted", Some(why))
    } else if let Some(pause) = &group.paused {
        let why = format!(
            "Paused {} by {}: {}",
            moment(pause.since),
            Text(&pause.by),
            Text(&pause.reason)
        );
        ("stopped", "paused", Some(why))
    } else if !group.configured {
        let why = "The configuration no longer names this group. It grants nothing and goes with its last holder.";
        ("stopped", "removed", Some(why.to_owned()))
    } else if group.slots == 0 {
        let why = "It has no slots: no host of this group reboots.";
        ("stopped", "closed", Some(why.to_owned()))
    } else if group.holders.len() >= group.slots as usize {
        ("full", "full", None)
    } else {
        ("open", "open", None)
    };
    State { class, word, why }
}

/// Held and free slots, told apart by shape.
fn drawing(slots: u32, held: usize) -> String {
    if slots == 0 || slots > DRAWN {
        return String::new();
    }
    let drawn = (0..slots as usize)
        .map(|slot| {
            if slot < held {
                "<i class=\"held\"></i>"
            } else {
                "<i></i>"
            }
        })
        .collect::<String>();
    format!("<span class=\"drawing\" aria-hidden=\"true\">{drawn}</span>")
}

fn row(group: &GroupStatus, holder: &HolderStatus, now: Timestamp, view: &View<'_>) -> String {
    let form = view
        .admin
        .map_or_else(String::new, |admin| release(group, holder, view.link, &admin));
    let overdue = if holder.overdue {
        " <strong class=\"overdue\">overdue</strong>"
    } else {
        ""
    };
    let to = holder.version.as_ref().map_or_else(String::new, |version| {
        format!(" <span class=\"zone\">· boots {}</span>", Text(version))
    });
    format!(
        "<tr><td data-is=\"Holder\"><span><span class=\"host\">{}</span>{}{to}{overdue}</span>{form}</td>\
         <td data-is=\"Since\">{}</td><td data-is=\"For\">{}</td></tr>\n",
        Text(&holder.id),
        zone(holder.zone.as_deref()),
        moment(holder.since),
        age(holder.since, now),
    )
}

fn zone(zone: Option<&str>) -> String {
    zone.map_or_else(String::new, |zone| {
        format!(" <span class=\"zone\">in {}</span>", Text(zone))
    })
}

fn waiting(group: &GroupStatus, now: Timestamp) -> String {
    if group.waiting == 0 {
        return String::new();
    }
    let rows: Vec<_> = group
        .waiting_hosts
        .iter()
        .take(NAMED)
        .map(|host| {
            format!(
                "<tr><td data-is=\"Host\"><span><span class=\"host\">{}</span>{}</span></td><td data-is=\"Why\">{}</td>\
                 <td data-is=\"For\">{}</td></tr>\n",
                Text(&host.id),
                zone(host.zone.as_deref()),
                Text(&host.why),
                age(host.since, now),
            )
        })
        .collect();
    let rows = rows.concat();
    let shown = group.waiting_hosts.len().min(NAMED);
    let more = match group.waiting.saturating_sub(shown) {
        0 => String::new(),
        more => format!("<p class=\"hint\">and {more} more</p>\n"),
    };
    format!(
        "<h3>{} {} for a slot</h3>\n<table>\n\
         <thead><tr><th>Host</th><th>Why</th><th>For</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n{more}",
        group.waiting,
        plural(group.waiting as u64, "host waits", "hosts wait"),
    )
}

fn failures(group: &GroupStatus) -> String {
    if group.failures.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = group
        .failures
        .iter()
        .take(NAMED)
        .map(|failure| {
            let what = match failure.what {
                FailureKind::RolledBack => "rolled back",
                FailureKind::NotReturned => "not returned",
            };
            let from = failure
                .version
                .as_deref()
                .map_or_else(String::new, |version| format!(" from {version}"));
            format!(
                "<tr class=\"bad\"><td data-is=\"Host\"><span class=\"host\">{}</span></td>\
                 <td data-is=\"What\">{what}{}</td><td data-is=\"When\">{}</td></tr>\n",
                Text(&failure.id),
                Text(from),
                moment(failure.at),
            )
        })
        .collect();
    let rows = rows.concat();
    format!(
        "<h3>Failed since the group was resumed last: {}</h3>\n<table>\n\
         <thead><tr><th>Host</th><th>What</th><th>When</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
        group.failures.len()
    )
}

fn versions(group: &GroupStatus) -> String {
    if group.known == 0 {
        return String::new();
    }
    let versions: Vec<_> = group
        .versions
        .iter()
        .map(|version| {
            let name = version.version.as_deref().unwrap_or("not said");
            format!("<li><b>{}</b> on {}</li>\n", Text(name), version.hosts)
        })
        .collect();
    let versions = versions.concat();
    format!(
        "<h3>{} known {}, by version</h3>\n<ul class=\"versions\">\n{versions}</ul>\n",
        group.known,
        plural(group.known.into(), "host", "hosts")
    )
}

fn release(group: &GroupStatus, holder: &HolderStatus, link: &str, admin: &Admin<'_>) -> String {
    format!(
        "<details><summary>Release…</summary>\
         <form method=\"post\" action=\"{}page/release\">{}\
         <input type=\"hidden\" name=\"id\" value=\"{}\">\
         <p class=\"hint\">Only when the host is down for good, or up and well: the next one may reboot at once.</p>\
         <label>Reason <input name=\"reason\" required maxlength=\"500\" placeholder=\"mainboard died, replaced\"></label>\
         <button>Release the slot by force</button></form></details>",
        Text(link),
        hidden(group, admin),
        Text(&holder.id),
    )
}

fn intervention(group: &GroupStatus, link: &str, admin: &Admin<'_>) -> String {
    let (action, word, hint) = if group.paused.is_some() || group.halted.is_some() {
        (
            "resume",
            "Resume",
            "Slots are granted again, and the failures so far are forgotten.",
        )
    } else {
        (
            "pause",
            "Pause",
            "Nothing is granted until somebody resumes the group. Holders keep their slots.",
        )
    };
    format!(
        "<details class=\"intervene\"><summary>{word}…</summary>\
         <form method=\"post\" action=\"{}page/{action}\">{}<p class=\"hint\">{hint}</p>\
         <label>Reason <input name=\"reason\" required maxlength=\"500\"></label>\
         <button>{word} the group</button></form></details>\n",
        Text(link),
        hidden(group, admin),
    )
}

fn hidden(group: &GroupStatus, admin: &Admin<'_>) -> String {
    format!(
        "<input type=\"hidden\" name=\"key\" value=\"{}\"><input type=\"hidden\" name=\"group\" value=\"{}\">",
        Text(admin.form_key),
        Text(&group.name)
    )
}
