//! What happened lately.

use super::html::Text;
use super::moment;
use crate::history::{Change, Event};

/// How many events the page shows.
const SHOWN: usize = 25;

/// The section with the latest of `events`.
pub(super) fn section(events: &[Event]) -> String {
    let rows: String = events.iter().take(SHOWN).map(row).collect();
    let table = if rows.is_empty() {
        "<p class=\"empty\">Nothing has happened yet.</p>\n".to_owned()
    } else {
        format!(
            "<table class=\"wide\">\n<thead><tr><th>When</th><th>Group</th><th>What</th><th>Host</th><th>By</th><th>Why</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table>\n"
        )
    };
    format!("<section class=\"card\">\n<h2>Lately</h2>\n{table}</section>\n")
}

fn row(event: &Event) -> String {
    let class = match &event.change {
        Change::ForcedRelease { .. } | Change::Overdue { .. } | Change::TimedOut { .. } | Change::Halted { .. } => {
            "bad"
        }
        _ => "plain",
    };
    let host = event.change.host().map_or("–", |host| host.as_str());
    format!(
        "<tr class=\"{class}\"><td data-is=\"When\">{}</td><td data-is=\"Group\">{}</td><td data-is=\"What\">{}</td>\
         <td data-is=\"Host\"><span class=\"host\">{}</span></td><td data-is=\"By\">{}</td><td data-is=\"Why\">{}</td></tr>\n",
        moment(event.at),
        Text(&event.group),
        Text(event.change.summary()),
        Text(host),
        Text(&event.by),
        Text(event.change.reason().unwrap_or_default()),
    )
}
