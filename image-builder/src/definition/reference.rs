//! The documentation of the definition file, made from the comments of the types it is read into: `docs/definition.md` and
//! the man page `twinhull-definition(5)`. A test compares the page with what is made here.

use std::fmt::Write as _;

use schemars::Schema;
use serde_json::Value;

use super::fragment::Fragment;

/// One key, or one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it is, as `packages.install`; `[]` stands for each entry of a list, `NAME` for each key of a table.
    pub path: String,
    /// What it holds, as "list of texts".
    pub kind: String,
    /// What holds when it is not given.
    pub default: String,
    /// What it means.
    pub text: String,
}

/// Every key, tables before what is in them.
pub fn keys() -> Vec<Key> {
    let schema: Schema = schemars::schema_for!(Fragment);
    let root = schema.as_value();
    let mut keys = Vec::new();
    walk(root, root, "", &mut keys);
    keys
}

/// The page in Markdown.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    for key in keys() {
        if key.kind.starts_with("table") {
            let _ = write!(text, "\n## {}\n\n{}\n\n", heading(&key), key.text);
            continue;
        }
        let name = key.path.rsplit_once('.').map_or(key.path.as_str(), |(_, name)| name);
        let _ = writeln!(
            text,
            "- **`{name}`** ({}; {}): {}",
            key.kind,
            in_words(&key.default),
            key.text
        );
    }
    text
}

/// The man page.
pub fn man() -> String {
    let mut text = String::from(
        ".TH TWINHULL-DEFINITION 5\n.SH NAME\ntwinhull-definition \\- what an image is made of\n.SH DESCRIPTION\n",
    );
    for paragraph in HEAD.split("\n\n").skip(2) {
        let _ = writeln!(text, "{}\n.PP", roff(paragraph));
    }
    for key in keys() {
        if key.kind.starts_with("table") {
            let _ = writeln!(text, ".SH {}\n{}", roff(&heading(&key)).to_uppercase(), roff(&key.text));
        } else {
            let name = key.path.rsplit_once('.').map_or(key.path.as_str(), |(_, name)| name);
            let _ = writeln!(
                text,
                ".TP\n\\fB{}\\fR ({}; {})\n{}",
                roff(name),
                key.kind,
                roff(&in_words(&key.default)),
                roff(&key.text)
            );
        }
    }
    text.push_str(".SH SEE ALSO\n\\fBtwinhull\\fR(1)\n");
    text
}

const HEAD: &str = "# The definition file

<!-- Made by `cargo run -p twinhull --example image-builder-docs -- target/dist/image-builder`. Change the comments in image-builder/src/definition/fragment.rs. -->

One TOML file says what an image is made of. A short one is enough:

    include = [\"server.toml\"]
    product = \"my-server\"

    [packages]
    install = [\"htop\"]

Paths count from the folder of the file that names them. An unknown key is an error with its line and the nearest key there
is; `twinhull check` says so in a second, together with packages that do not exist.

Keys before the first table:

";

fn heading(key: &Key) -> String {
    if key.path.ends_with("[]") {
        format!("[[{}]]", key.path.trim_end_matches("[]"))
    } else {
        format!("[{}]", key.path)
    }
}

fn in_words(default: &str) -> String {
    if default.is_empty() {
        "no default".into()
    } else {
        format!("default: {default}")
    }
}

/// Text for roff: backslashes and leading dots are commands there, and code marks mean nothing.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('`', "")
        .replace("\n.", "\n\\&.")
}

/// Adds the keys of the table `schema`; single values first, as they must stand in a file.
fn walk(root: &Value, schema: &Value, prefix: &str, keys: &mut Vec<Key>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required: Vec<&str> = (schema.get("required").and_then(Value::as_array).into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let mut tables = Vec::new();
    for (name, property) in properties {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let text = described(property).unwrap_or_default();
        let target = resolve(root, property);
        let inner = [("items", "[]"), ("additionalProperties", ".NAME")]
            .into_iter()
            .find_map(|(key, ending)| {
                let inner = resolve(root, target.get(key)?);
                inner.get("properties").map(|_| (inner, ending))
            });
        if target.get("properties").is_some() {
            tables.push((path, text, target));
        } else if let Some((inner, ending)) = inner {
            tables.push((format!("{path}{ending}"), text, inner));
        } else {
            keys.push(Key {
                path,
                kind: kind(root, property),
                default: default(name, property, required.contains(&name.as_str())),
                text,
            });
        }
    }
    for (path, text, target) in tables {
        // What a section for one architecture or suite may hold is described where it belongs to all.
        let repeated = prefix.starts_with("arch.") || prefix.starts_with("suite.");
        if repeated {
            keys.push(Key {
                path: path.clone(),
                kind: "table as above".into(),
                default: String::new(),
                text,
            });
            continue;
        }
        keys.push(Key {
            path: path.clone(),
            kind: "table".into(),
            default: String::new(),
            text,
        });
        walk(root, target, &path, keys);
    }
}

fn described(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
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
    (choices.into_iter().flatten())
        .find(|choice| choice.get("type").and_then(Value::as_str) != Some("null"))
        .map_or(schema, |choice| resolve(root, choice))
}

fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    let choices: Vec<&str> = (schema
        .get("oneOf")
        .or_else(|| schema.get("enum"))
        .and_then(Value::as_array))
    .into_iter()
    .flatten()
    .filter_map(|choice| choice.get("const").unwrap_or(choice).as_str())
    .collect();
    if !choices.is_empty() {
        return choices.join(" or ");
    }
    let name = match schema.get("type") {
        Some(Value::Array(names)) => names.first().and_then(Value::as_str),
        other => other.and_then(Value::as_str),
    };
    match name {
        Some("string") => "text".into(),
        Some("integer") => "number".into(),
        Some("array") => match schema.get("items") {
            Some(items) => format!("list of {}", kind(root, items)),
            None => "list".into(),
        },
        Some("object") => match schema.get("additionalProperties") {
            Some(values) => format!("names with {}", kind(root, values)),
            None => "names".into(),
        },
        _ => "value".into(),
    }
}

fn default(name: &str, schema: &Value, required: bool) -> String {
    if required {
        return "none, it must be given".into();
    }
    match schema.get("x-default") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ if name == "product" => String::new(),
        _ => "nothing".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_has_every_key_and_no_line_that_is_a_command_by_accident() {
        let page = man();
        for key in keys() {
            let name = roff(key.path.trim_end_matches("[]").rsplit('.').next().unwrap());
            let is_there =
                page.contains(&format!("\\fB{name}\\fR")) || page.to_lowercase().contains(&name.to_lowercase());
            assert!(is_there, "{}", key.path);
        }
        let known = [".TH ", ".SH ", ".TP", ".PP"];
        for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(known.iter().any(|known| line.starts_with(known)), "{line}");
        }
    }

    #[test]
    fn every_key_has_its_text_and_its_kind() {
        let keys = keys();
        for key in &keys {
            assert!(!key.text.is_empty(), "{key:?}");
            assert_ne!(key.kind, "value", "{key:?}");
        }
        let of = |path: &str| {
            keys.iter()
                .find(|key| key.path == path)
                .unwrap_or_else(|| panic!("{path}: {keys:#?}"))
        };
        assert_eq!(of("distribution.suite").default, "trixie");
        assert_eq!(of("disk.esp").default, "512.0 MiB");
        assert_eq!(of("repository[].key").default, "none, it must be given");
        assert_eq!(of("image.formats").kind, "list of raw.zst or qcow2 or split");
        assert_eq!(of("users.NAME.id").kind, "number");
    }
}
