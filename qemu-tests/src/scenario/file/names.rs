//! `${NAME}` in a scenario file: ports, addresses, and what was kept from a guest.

use std::collections::BTreeMap;

use serde_json::Value;

/// The texts that names stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn set(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.0.insert(name.into(), text.into());
    }

    /// `text` with every name replaced. The error is a name that stands for nothing (yet).
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Name(name) => filled.push_str(self.0.get(name).ok_or_else(|| name.to_owned())?),
            }
        }
        Ok(filled)
    }

    /// [`Names::fill`] for every text in `value`.
    pub(super) fn fill_json(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill(text)?),
            Value::Array(values) => Value::Array(
                values
                    .iter()
                    .map(|value| self.fill_json(value))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, value)| Ok((self.fill(key)?, self.fill_json(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => other.clone(),
        })
    }
}

/// The names in `text`.
pub(super) fn used(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Name(name) => Some(name),
        Piece::Text(_) => None,
    })
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Takes `text` apart. `$${` stands for `${` itself, which shells want.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            pieces.push(Piece::Text(before));
            pieces.push(Piece::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        let Some(end) = rest[at..].find('}') else {
            break;
        };
        pieces.push(Piece::Text(&rest[..at]));
        pieces.push(Piece::Name(&rest[at + 2..at + end]));
        rest = &rest[at + end + 1..];
    }
    pieces.push(Piece::Text(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_shells_keep_theirs() {
        let mut names = Names::default();
        names.set("lock.port", "41");
        assert_eq!(
            names
                .fill("http://x:${lock.port}/ $HOME $${HOME} ${lock.port}")
                .unwrap(),
            "http://x:41/ $HOME ${HOME} 41"
        );
        assert_eq!(names.fill("a ${lok.port}").unwrap_err(), "lok.port");
        assert_eq!(names.fill("open ${lock").unwrap(), "open ${lock");
    }

    #[test]
    fn texts_inside_json_are_filled_too() {
        let mut names = Names::default();
        names.set("id", "x");
        let filled = names.fill_json(&serde_json::json!({ "a": ["${id}", 1] })).unwrap();
        assert_eq!(filled, serde_json::json!({ "a": ["x", 1] }));
    }
}
