//! One group: what state it is in, its slots, and who holds them.

use std::fmt::Write;

use jiff::Timestamp;

use super::html::Text;
use super::{Admin, View, age, moment, plural};
use crate::status::{GroupStatus, HolderStatus};

/// Up to so many slots are drawn; more are only counted.
const DRAWN: u32 = 24;

/// The card of `group`.
pub(super) fn section(group: &GroupStatus, now: Timestamp, view: &View<'_>) -> String {
    let held = group.holders.len();
    let (state, word, why) = state(group);
    let mut text = format!(
        "<section class=\"card group {state}\">\n<h2>{} <span class=\"state\">{word}</span></h2>\n\
         <p class=\"slots\">{}<span>{held} of {} {} held</span></p>\n",
        Text(&group.name),
        drawing(group.slots, held),
        group.slots,
        plural(group.slots.into(), "slot", "slots"),
    );
    if let Some(why) = why {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<p class=\"why\">{why}</p>");
    }
    if !group.holders.is_empty() {
        text.push_str("<table>\n<thead><tr><th>Holder</th><th>Since</th><th>For</th></tr></thead>\n<tbody>\n");
        for holder in &group.holders {
            text.push_str(&row(group, holder, now, view));
        }
        text.push_str("</tbody>\n</table>\n");
    }
    text.push_str("</section>\n");
    text
}

/// A class, a word, and what it means where the word alone does not say.
fn state(group: &GroupStatus) -> (&'static str, &'static str, Option<&'static str>) {
    if !group.configured {
        let why = "The configuration no longer names this group. It grants nothing and goes with its last holder.";
        ("stopped", "removed", Some(why))
    } else if group.slots == 0 {
        (
            "stopped",
            "closed",
            Some("It has no slots: no host of this group reboots."),
        )
    } else if group.holders.len() >= group.slots as usize {
        ("full", "full", None)
    } else {
        ("open", "open", None)
    }
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
    format!(
        "<tr><td data-is=\"Holder\"><span class=\"host\">{}</span>{form}</td><td data-is=\"Since\">{}</td><td data-is=\"For\">{}</td></tr>\n",
        Text(&holder.id),
        moment(holder.since),
        age(holder.since, now),
    )
}

fn release(group: &GroupStatus, holder: &HolderStatus, link: &str, admin: &Admin<'_>) -> String {
    format!(
        "<details><summary>Release…</summary>\
         <form method=\"post\" action=\"{}page/release\">\
         <input type=\"hidden\" name=\"key\" value=\"{}\">\
         <input type=\"hidden\" name=\"group\" value=\"{}\">\
         <input type=\"hidden\" name=\"id\" value=\"{}\">\
         <p class=\"hint\">Only when the host is down for good, or up and well: the next one may reboot at once.</p>\
         <label>Reason <input name=\"reason\" required maxlength=\"500\" placeholder=\"mainboard died, replaced\"></label>\
         <button>Release the slot by force</button></form></details>",
        Text(link),
        Text(admin.form_key),
        Text(&group.name),
        Text(&holder.id),
    )
}
