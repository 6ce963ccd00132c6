//! The page: what a person sees of the lock. Whole HTML from the server, so that it works without scripts; a small script
//! keeps it current. Style, script and icon are files beside this one, built into the program.

mod group;
mod history;
mod html;

use jiff::Timestamp;

use crate::span;
use crate::status::Status;
use html::Text;

/// The style sheet.
pub const STYLE: &str = include_str!("style.css");

/// The script that follows the server's events.
pub const SCRIPT: &str = include_str!("live.js");

/// The icon.
pub const ICON: &str = include_str!("icon.svg");

/// For whom the page is.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The path that links begin with, with a slash at its end.
    pub link: &'a str,
    /// The administrator who is logged in; others see no forms.
    pub admin: Option<Admin<'a>>,
}

/// An administrator.
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    /// As they call themselves.
    pub operator: &'a str,
    /// What each form carries (see `server/browser.rs`).
    pub form_key: &'a str,
}

/// The whole page, with `notice` (what came of a form) on top.
pub fn document(status: &Status, view: &View<'_>, notice: Option<&str>) -> String {
    let notice = notice.map_or_else(String::new, |notice| {
        format!("<p class=\"notice\" role=\"status\">{}</p>\n", Text(notice))
    });
    let body = format!(
        "{notice}<main id=\"content\">\n{}</main>\n\
         <script src=\"{link}page/live.js\" defer></script>\n",
        content(status, view),
        link = Text(view.link),
    );
    frame(view, &title(status), &body)
}

/// The part of the page that changes.
pub fn content(status: &Status, view: &View<'_>) -> String {
    let groups: String = status
        .groups
        .iter()
        .map(|group| group::section(group, status.now, view))
        .collect();
    let groups = if groups.is_empty() {
        "<p class=\"empty\">No group is configured: nobody is granted anything.</p>\n".to_owned()
    } else {
        format!("<div class=\"groups\">\n{groups}</div>\n")
    };
    format!(
        "<p class=\"summary\">{} <span class=\"as-of\">As of {}.</span></p>\n{groups}{}",
        summary(status),
        moment(status.now),
        history::section(&status.history),
    )
}

/// The log-in, with what was wrong the last time.
pub fn login(view: &View<'_>, problem: Option<&str>) -> String {
    let problem = problem.map_or_else(String::new, |problem| {
        format!(
            "<p class=\"notice bad\" role=\"alert\">Not logged in: {}.</p>\n",
            Text(problem)
        )
    });
    let body = format!(
        "{problem}<main>\n<form class=\"login\" method=\"post\" action=\"{}page/login\">\n\
         <h2>Administration</h2>\n\
         <label>Your name <input name=\"operator\" required maxlength=\"64\" autocomplete=\"username\"></label>\n\
         <label>Token <input name=\"token\" type=\"password\" required autocomplete=\"current-password\"></label>\n\
         <p class=\"hint\">Your name goes into the history beside what you do.</p>\n\
         <button>Log in</button>\n</form>\n</main>\n",
        Text(view.link)
    );
    frame(view, "Log in", &body)
}

/// A page that says one thing.
pub fn message(view: &View<'_>, heading: &str, text: &str) -> String {
    let body = format!(
        "<main>\n<section class=\"card\"><h2>{}</h2>\n<p>{}</p>\n<p><a href=\"{}\">Back to the lock</a></p></section>\n</main>\n",
        Text(heading),
        Text(text),
        Text(view.link)
    );
    frame(view, heading, &body)
}

fn frame(view: &View<'_>, title: &str, body: &str) -> String {
    let link = Text(view.link);
    let person = view.admin.map_or_else(String::new, |admin| {
        format!(
            "<form class=\"person\" method=\"post\" action=\"{link}page/logout\">\
             <input type=\"hidden\" name=\"key\" value=\"{}\"><span>{}</span> <button>Log out</button></form>\n",
            Text(admin.form_key),
            Text(admin.operator)
        )
    });
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} · reboot lock</title>\n\
         <link rel=\"icon\" href=\"{link}page/icon.svg\">\n\
         <link rel=\"stylesheet\" href=\"{link}page/style.css\">\n</head>\n\
         <body data-link=\"{link}\">\n\
         <header>\n<img src=\"{link}page/icon.svg\" alt=\"\" width=\"32\" height=\"32\">\
         <h1><a href=\"{link}\">Reboot lock</a></h1>\n\
         <p id=\"live\" class=\"live\" hidden></p>\n{person}</header>\n\
         {body}</body>\n</html>\n",
        Text(title),
    )
}

/// Short enough for a tab: what needs a look first.
fn title(status: &Status) -> String {
    let (held, slots) = totals(status);
    format!("{held}/{slots} held")
}

fn totals(status: &Status) -> (usize, u64) {
    let held = status.groups.iter().map(|group| group.holders.len()).sum();
    let slots = status.groups.iter().map(|group| u64::from(group.slots)).sum();
    (held, slots)
}

fn summary(status: &Status) -> String {
    let (held, slots) = totals(status);
    let groups = status.groups.len();
    format!(
        "{held} of {slots} {} held in {groups} {}.",
        plural(slots, "slot", "slots"),
        plural(groups as u64, "group", "groups"),
    )
}

fn plural<'a>(count: u64, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// A time as people read it; the machine-readable one goes with it.
fn moment(at: Timestamp) -> String {
    format!(
        "<time datetime=\"{at}\">{} UTC</time>",
        at.strftime("%Y-%m-%d %H:%M:%S")
    )
}

/// How long `since` is ago at `now`; the script counts on from there.
fn age(since: Timestamp, now: Timestamp) -> String {
    format!(
        "<time class=\"age\" datetime=\"{since}\">{}</time>",
        span::words(now.as_second() - since.as_second())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn status(text: &str) -> Status {
        serde_json::from_str(text).unwrap()
    }

    const PUBLIC: View<'_> = View {
        link: "/fleet/",
        admin: None,
    };

    const ADMIN: View<'_> = View {
        link: "/",
        admin: Some(Admin {
            operator: "alice <a>",
            form_key: "k3y",
        }),
    };

    fn evil() -> Status {
        status(
            r#"{"now":"2026-01-02T03:05:00Z","groups":[
                {"name":"default","slots":1,"configured":true,
                 "holders":[{"id":"<script>alert(1)</script>","since":"2026-01-02T00:00:00Z"}]}],
              "history":[{"at":"2026-01-01T00:00:00Z","group":"default","what":"forced-release","id":"\"><img src=x>",
                 "since":"2025-12-31T00:00:00Z","reason":"<i>'\"","by":"<u>eve</u>"}]}"#,
        )
    }

    #[test]
    fn names_of_hosts_and_reasons_are_text() {
        for view in [PUBLIC, ADMIN] {
            let page = document(&evil(), &view, Some("<notice>"));
            for markup in ["<script>alert", "<img src=x", "<i>", "<u>eve", "<notice>", "<a>"] {
                assert!(!page.contains(markup), "{markup} in {page}");
            }
            assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        }
    }

    #[test]
    fn only_administrators_see_forms_each_with_the_key() {
        assert!(!document(&evil(), &PUBLIC, None).contains("<form"));
        let page = document(&evil(), &ADMIN, None);
        // Logging out, releasing the slot, pausing the group.
        assert_eq!(page.matches("<form").count(), 3);
        assert_eq!(page.matches("name=\"key\" value=\"k3y\"").count(), 3);
    }

    #[test]
    fn page_needs_nothing_inline_and_nothing_from_elsewhere() {
        let page = document(&evil(), &ADMIN, None);
        for inline in [" style=", " onclick=", "<style", "javascript:", "http://", "https://"] {
            assert!(!page.contains(inline), "{inline}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn links_stay_below_the_base() {
        let page = document(&evil(), &PUBLIC, None);
        for part in page.split("href=\"").skip(1).chain(page.split("src=\"").skip(1)) {
            assert!(part.starts_with("/fleet/"), "{part}");
        }
    }
}
