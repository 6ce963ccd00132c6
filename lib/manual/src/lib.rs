//! Man pages of a command line: one for the program and one for each of its commands, as `PROGRAM help COMMAND` has them.
//!
//! What follows the options in a help text are tables and examples, line by line. A page that is filled would tear them apart, so here
//! they become sections that keep their lines.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

/// A further section of a program's page: its title, and its lines in the language of `man(7)`.
pub type Section = (&'static str, &'static str);

/// The part of the manual that a program's pages stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 1: what a user starts.
    Programs,
    /// 8: servers, and what looks after them.
    Administration,
}

impl Part {
    fn number(self) -> &'static str {
        match self {
            Self::Programs => "1",
            Self::Administration => "8",
        }
    }
}

/// The title of a paragraph that has none of its own.
const UNTITLED: &str = "NOTES";

/// Writes the pages of `command` for `part` into `folder`, which is made when it is not there; `sections` go to the page of the
/// program.
///
/// # Errors
/// The folder cannot be made, or a page not be written.
pub fn write(command: Command, part: Part, sections: &[Section], folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_built(&command, part, sections, folder)
}

fn write_built(command: &Command, part: Part, sections: &[Section], folder: &Path) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_built(inner, part, &[], folder)?;
    }
    let name = Man::new(command.clone()).section(part.number()).get_filename();
    let mut page = Vec::new();
    render(command, part, sections, &mut page)?;
    fs::write(folder.join(name), page)
}

fn render(command: &Command, part: Part, sections: &[Section], page: &mut Vec<u8>) -> io::Result<()> {
    let after = command.get_after_help().map(ToString::to_string);
    let man = Man::new(command.clone().after_help(None::<&str>)).section(part.number());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    // What is no more than the name says would stand there twice.
    if command.get_long_about().is_some() {
        man.render_description_section(page)?;
    }
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(page)?;
    }
    if command.get_subcommands().any(|inner| !inner.is_hide_set()) {
        man.render_subcommands_section(page)?;
    }
    for paragraph in after.unwrap_or_default().trim().split("\n\n") {
        table(paragraph, page)?;
    }
    for (title, text) in sections {
        writeln!(page, ".SH {title}\n{}", text.trim())?;
    }
    if command.get_version().is_some() {
        man.render_version_section(page)?;
    }
    Ok(())
}

/// One paragraph of a help text: a title with indented lines, a title with a sentence, or lines alone.
fn table(paragraph: &str, page: &mut Vec<u8>) -> io::Result<()> {
    if paragraph.is_empty() {
        return Ok(());
    }
    let titled = |separator| {
        let (title, rest): (&str, &str) = paragraph.split_once(separator)?;
        let is_title = title.len() <= 30 && !title.contains(['\n', '.', '`']);
        is_title.then_some((title, rest))
    };
    let (title, lines) = titled(":\n").or_else(|| titled(": ")).unwrap_or((UNTITLED, paragraph));
    writeln!(page, ".SH {}\n.nf", title.to_uppercase())?;
    for line in lines.lines() {
        // Indented by the section already.
        writeln!(page, "{}", roff(line.strip_prefix("  ").unwrap_or(line)))?;
    }
    writeln!(page, ".fi")
}

/// A line as `man` is to show it: a plain `-` would be a hyphen, which no shell takes, and a first `.` or `'` a command.
fn roff(line: &str) -> String {
    let line = line.replace('\\', r"\e").replace('-', r"\-");
    if line.starts_with(['.', '\'']) {
        format!(r"\&{line}")
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn pages(command: Command, sections: &[Section]) -> impl Fn(&str) -> String {
        let folder = tempfile::tempdir().unwrap();
        write(command, Part::Programs, sections, folder.path()).unwrap();
        move |name| fs::read_to_string(folder.path().join(name)).unwrap()
    }

    #[test]
    fn examples_and_tables_keep_their_lines() {
        let help = "Examples:\n  tool run --fast\n  .hidden 'x'\n\nExit status: 0 done, 1 failed\n\nSays `a: b` in the end.\nAnd more.";
        let page = pages(
            Command::new("tool").after_help(help),
            &[("FILES", "\n.TP\n.I /etc\nAll.\n")],
        );
        let page = page("tool.1");
        for wanted in [
            ".SH EXAMPLES\n.nf\ntool run \\-\\-fast\n\\&.hidden 'x'\n.fi\n",
            ".SH EXIT STATUS\n.nf\n0 done, 1 failed\n.fi\n",
            ".SH NOTES\n.nf\nSays `a: b` in the end.\nAnd more.\n.fi\n",
            ".SH FILES\n.TP\n.I /etc\nAll.\n",
        ] {
            assert!(page.contains(wanted), "{wanted}\nis not in\n{page}");
        }
    }

    #[test]
    fn each_command_has_a_page_and_hidden_ones_have_none() {
        let command = Command::new("tool")
            .subcommand(Command::new("run").arg(Arg::new("x").long("x").help("What it does")))
            .subcommand(Command::new("secret").hide(true));
        let folder = tempfile::tempdir().unwrap();
        write(command, Part::Programs, &[], &folder.path().join("made")).unwrap();
        let mut names: Vec<String> = fs::read_dir(folder.path().join("made"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["tool-run.1", "tool.1"]);
        let page = fs::read_to_string(folder.path().join("made/tool-run.1")).unwrap();
        assert!(page.contains("What it does") && !page.contains(".SH NOTES"), "{page}");
    }

    #[test]
    fn pages_of_a_server_are_in_the_part_of_administration() {
        let folder = tempfile::tempdir().unwrap();
        let command = Command::new("server").subcommand(Command::new("serve"));
        write(command, Part::Administration, &[], folder.path()).unwrap();
        let page = fs::read_to_string(folder.path().join("server.8")).unwrap();
        assert!(
            page.contains(".TH server 8") && page.contains("server\\-serve(8)"),
            "{page}"
        );
        assert!(folder.path().join("server-serve.8").exists());
    }
}
