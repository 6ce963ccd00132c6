//! A status as tables for people.

use std::fmt::Write;

use jiff::Timestamp;

use crate::history::Event;
use crate::span;
use crate::status::{GroupStatus, Status};

/// How many events of the history are shown.
const EVENTS: usize = 10;

/// How many waiting hosts are named for each group.
const NAMED_WAITING: usize = 3;

/// The tables, with a line end after each line.
pub(super) fn render(status: &Status) -> String {
    let mut rows = vec![row(["GROUP", "SLOTS", "HELD", "HOLDER", "SINCE", "FOR"])];
    for group in &status.groups {
        rows.extend(group_rows(group, status.now));
    }
    let mut text = columns(&rows);
    if status.groups.iter().any(|group| !group.configured) {
        text.push_str("* no longer configured: grants nothing, waits for its last holder\n");
    }
    for group in &status.groups {
        text.push_str(&notes(group));
    }
    if !status.history.is_empty() {
        text.push('\n');
        text.push_str(&history(&status.history[..status.history.len().min(EVENTS)]));
    }
    text
}

/// The table of `events`.
pub(super) fn history(events: &[Event]) -> String {
    let mut rows = vec![row(["WHEN", "GROUP", "WHAT", "HOST", "BY", "WHY"])];
    rows.extend(events.iter().map(event_row));
    columns(&rows)
}

/// The table of the holders alone.
pub(super) fn holders(status: &Status) -> String {
    let mut rows = vec![row(["GROUP", "HOLDER", "SINCE", "FOR"])];
    for group in &status.groups {
        rows.extend(group.holders.iter().map(|holder| {
            let age = span::words(status.now.as_second() - holder.since.as_second());
            row([group.name.as_str(), holder.id.as_str(), &holder.since.to_string(), &age])
        }));
    }
    columns(&rows)
}

type Row = [String; 6];

fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
    cells.map(str::to_owned)
}

fn group_rows(group: &GroupStatus, now: Timestamp) -> Vec<Row> {
    let name = format!("{}{}", group.name, if group.configured { "" } else { "*" });
    let (slots, held) = (group.slots.to_string(), group.holders.len().to_string());
    let mut rows: Vec<_> = group
        .holders
        .iter()
        .map(|holder| {
            let age = now.as_second() - holder.since.as_second();
            [
                String::new(),
                String::new(),
                String::new(),
                holder.id.to_string(),
                holder.since.to_string(),
                span::words(age),
            ]
        })
        .collect();
    match rows.first_mut() {
        Some(first) => {
            let [group, slots_cell, held_cell, ..] = first;
            (*group, *slots_cell, *held_cell) = (name, slots, held);
        }
        None => rows.push(row([&name, &slots, &held, "-", "-", "-"])),
    }
    rows
}

/// What stops a group, and who waits for what.
fn notes(group: &GroupStatus) -> String {
    let mut lines = Vec::new();
    if let Some(pause) = &group.paused {
        lines.push(format!(
            "paused since {} by {}: {}",
            pause.since, pause.by, pause.reason
        ));
    }
    if let Some(halt) = &group.halted {
        lines.push(format!("halted since {}: {}", halt.since, halt.reason));
    }
    for holder in group.holders.iter().filter(|holder| holder.overdue) {
        lines.push(format!("overdue: {} has not returned", holder.id));
    }
    for host in group.waiting_hosts.iter().take(NAMED_WAITING) {
        lines.push(format!("{} waits since {}: {}", host.id, host.since, host.why));
    }
    if group.waiting > NAMED_WAITING {
        lines.push(format!("{} more wait", group.waiting - NAMED_WAITING));
    }
    lines
        .into_iter()
        .map(|line| format!("{}: {line}\n", group.name))
        .collect::<Vec<_>>()
        .concat()
}

fn event_row(event: &Event) -> Row {
    [
        event.at.to_string(),
        event.group.to_string(),
        event.change.summary(),
        event.change.host().map_or_else(|| "-".to_owned(), ToString::to_string),
        event.by.clone(),
        event.change.reason().unwrap_or_default().to_owned(),
    ]
}

/// The rows with each column as wide as its widest cell.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_say_who_holds_what_for_how_long() {
        let status: Status = serde_json::from_str(
            r#"{"now":"2026-01-02T03:05:00Z","groups":[
                {"name":"default","slots":1,"configured":true,"holders":[{"id":"host-a","since":"2026-01-02T00:00:00Z"}]},
                {"name":"idle","slots":2,"configured":true,"holders":[],"waiting":5,
                  "paused":{"since":"2026-01-02T00:00:00Z","by":"alice","reason":"audit"},
                  "waiting_hosts":[{"id":"w","since":"2026-01-02T01:00:00Z","why":"paused"}]},
                {"name":"old","slots":0,"configured":false,"holders":[
                    {"id":"x","since":"2025-12-31T00:00:00Z"},{"id":"y","since":"2026-01-02T03:04:50Z"}]}],
              "history":[
                {"at":"2026-01-02T00:00:00Z","group":"default","what":"granted","id":"host-a","by":"10.0.0.7"},
                {"at":"2026-01-01T00:00:00Z","group":"default","what":"forced-release","id":"b",
                 "since":"2025-12-31T00:00:00Z","reason":"disk died","by":"alice (uid 0)"}]}"#,
        )
        .unwrap();
        assert_eq!(
            render(&status),
            "\
GROUP    SLOTS  HELD  HOLDER  SINCE                 FOR
default  1      1     host-a  2026-01-02T00:00:00Z  3h 05m
idle     2      0     -       -                     -
old*     0      2     x       2025-12-31T00:00:00Z  2d 03h
                      y       2026-01-02T03:04:50Z  10s
* no longer configured: grants nothing, waits for its last holder
idle: paused since 2026-01-02T00:00:00Z by alice: audit
idle: w waits since 2026-01-02T01:00:00Z: paused
idle: 2 more wait

WHEN                  GROUP    WHAT            HOST    BY             WHY
2026-01-02T00:00:00Z  default  granted         host-a  10.0.0.7
2026-01-01T00:00:00Z  default  forced release  b       alice (uid 0)  disk died
"
        );
    }
}
