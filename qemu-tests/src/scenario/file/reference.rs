//! The documentation of scenario files, made from the comments of the types they are read into: `docs/scenario-file.md`. A test
//! compares the page with what is made here.

use std::fmt::Write as _;

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value};

use super::document::{Action, Common, Damage, Expectation, Head, Machine, Place, Service};

const HEAD: &str = "# The scenario file

<!-- Made by `cargo run -p twinhull-qemu --example qemu-docs -- target/dist/qemu`. Change the comments in qemu-tests/src/scenario/file/document.rs. -->

A scenario is a TOML file: machines, services beside them, and steps that are done in order. The first that fails ends it.

    about = \"the image boots, and is what it says\"

    [machine.host]
    credentials = { \"system.hostname\" = \"port\" }

    [[step]]
    do = \"boot\"

    [[step]]
    do = \"wait-for-login\"

    [[step]]
    do = \"run\"
    command = \"hostname\"
    expect.is = \"port\"

`twinhull-qemu test IMAGE.raw boots.toml` plays it. An unknown key, kind or name is an error with its line and the nearest there is, before
anything is booted; `twinhull-qemu check boots.toml` does no more than that.

**Names.** `${SERVICE.port}`, `${SERVICE.url}`, `${MACHINE.PORT}` and what steps keep (`save`) may stand in any text of credentials, files,
services and steps; `${key}` is the public ssh key with which the guests are reached, `${work}` the folder given by `--work`, and
`${efi}` and `${EFI}` are what the architecture is called in the names of UEFI files (`x64` and `X64`). `$${`
stands for `${` itself.
Paths count from the folder of the scenario file.

**Network.** Guests reach the services of their scenario at 10.0.2.2, and nothing else. Nothing reaches a guest but ssh and its `ports`.

";

/// The page.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    text.push_str("## The file\n\n");
    keys::<Head>(&mut text, &["machine"]);
    text.push_str("\n## [machine.NAME]\n\n");
    keys::<Machine>(&mut text, &[]);
    text.push_str("\n## [service.NAME]\n\n");
    text.push_str(&described(&schema::<Service>()));
    text.push_str(
        " They are started in the order of the file before the first step, but for clients, which a step `start`s.\n",
    );
    kinds::<Service>(&mut text, "kind");
    text.push_str("\n## [[step]]\n\nEvery step has `do`, and may have:\n\n");
    keys::<Common>(&mut text, &[]);
    kinds::<Action>(&mut text, "do");
    text.push_str("\n## expect\n\n");
    let _ = writeln!(text, "{}\n", described(&schema::<Expectation>()));
    keys::<Expectation>(&mut text, &[]);
    text.push_str("\n## Places and damage\n\n");
    words::<Place>(&mut text);
    words::<Damage>(&mut text);
    text
}

fn schema<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

/// A line for each key of a table.
fn keys<T: JsonSchema>(text: &mut String, without: &[&str]) {
    let root = schema::<T>();
    lines(text, &root, &root, without);
}

/// A heading for each kind, with its keys.
fn kinds<T: JsonSchema>(text: &mut String, tag: &str) {
    let root = schema::<T>();
    for kind in root.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let name = kind
            .pointer(&format!("/properties/{tag}/const"))
            .and_then(Value::as_str);
        let _ = writeln!(
            text,
            "\n### {tag} = \"{}\"\n\n{}\n",
            name.unwrap_or_default(),
            described(kind)
        );
        lines(text, &root, kind, &[tag]);
    }
}

fn lines(text: &mut String, root: &Value, table: &Value, without: &[&str]) {
    let none = Map::new();
    let properties = table.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required: Vec<_> = (table.get("required").and_then(Value::as_array).into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in properties {
        if without.contains(&name.as_str()) {
            continue;
        }
        let default = match property.get("x-default").and_then(Value::as_str) {
            _ if required.contains(&name.as_str()) => "must be given".to_owned(),
            Some(default) => format!("default: {default}"),
            None => "default: nothing".to_owned(),
        };
        let _ = writeln!(
            text,
            "- **`{name}`** ({}; {default}): {}",
            kind(root, property),
            described(property)
        );
    }
}

/// A line for each word of a choice.
fn words<T: JsonSchema>(text: &mut String) {
    let root = schema::<T>();
    let _ = writeln!(text, "{}\n", described(&root));
    for word in root.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let name = word.get("const").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(text, "- `{name}`: {}", described(word));
    }
    text.push('\n');
}

fn described(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a reference leads to; nullable ones lead to what they are when given.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return root.pointer(reference.trim_start_matches('#')).unwrap_or(schema);
    }
    let choices = schema
        .get("anyOf")
        .or_else(|| schema.get("allOf"))
        .and_then(Value::as_array);
    match choices.map(Vec::as_slice) {
        Some([one]) => resolve(root, one),
        Some([one, null]) if null.get("type").and_then(Value::as_str) == Some("null") => resolve(root, one),
        _ => schema,
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let kinds: Vec<_> = choices.iter().map(|choice| kind(root, choice)).collect();
        return kinds.join(" or ");
    }
    let words = schema
        .get("oneOf")
        .or_else(|| schema.get("enum"))
        .and_then(Value::as_array);
    let words: Vec<_> = (words.into_iter().flatten())
        .filter_map(|word| word.get("const").unwrap_or(word).as_str())
        .collect();
    if !words.is_empty() {
        return words.join(" or ");
    }
    let name = match schema.get("type") {
        Some(Value::Array(names)) => names.first().and_then(Value::as_str),
        other => other.and_then(Value::as_str),
    };
    match name {
        Some("string") => "text".into(),
        Some("integer") => "number".into(),
        Some("boolean") => "true or false".into(),
        Some("array") => format!(
            "list of {}",
            schema.get("items").map_or("values".into(), |items| kind(root, items))
        ),
        Some("object") if schema.get("properties").is_some() => "table as below".into(),
        Some("object") => match schema.get("additionalProperties") {
            Some(values) if values.is_object() => format!("names with {}", kind(root, values)),
            _ => "names with values".into(),
        },
        _ => "any value".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_it_means() {
        let text = markdown();
        for line in text.lines().filter(|line| line.starts_with("- ")) {
            let (_, meaning) = line.split_once("): ").or(line.split_once("`: ")).unwrap_or_default();
            assert!(meaning.len() > 5, "{line}");
        }
        for key in [
            "do = \"corrupt\"",
            "kind = \"registry\"",
            "**`json_lacks`**",
            "**`secure_boot`**",
            "`backup-table`",
        ] {
            assert!(text.contains(key), "{key} is missing");
        }
    }

    #[test]
    fn the_page_is_what_is_made_here() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scenario-file.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page == markdown(),
            "docs/scenario-file.md is old: cargo run -p twinhull-qemu --example qemu-docs -- target/dist/qemu"
        );
    }
}
