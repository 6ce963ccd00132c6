//! What a text must be like.

use serde_json::Value;

use super::document::Expectation;
use super::names::Names;
use super::services::fill;
use crate::error::Result;

impl Expectation {
    /// With its names replaced.
    pub(super) fn filled(&self, names: &Names) -> Result<Self> {
        let all = |texts: &[String]| texts.iter().map(|text| fill(names, text)).collect::<Result<Vec<_>>>();
        let one = |text: &Option<String>| text.as_ref().map(|text| fill(names, text)).transpose();
        Ok(Self {
            status: self.status,
            is: one(&self.is)?,
            is_not: one(&self.is_not)?,
            contains: all(&self.contains)?,
            lacks: all(&self.lacks)?,
            json: (self.json.iter())
                .map(|(pointer, value)| {
                    let value = names.fill_json(value);
                    let value = value.map_err(|name| {
                        crate::error::Error::Expectation(format!("${{{name}}} is used before it is kept"))
                    })?;
                    Ok((fill(names, pointer)?, value))
                })
                .collect::<Result<_>>()?,
            json_lacks: all(&self.json_lacks)?,
        })
    }

    /// Whether `text`, which came with `status`, is as it must be; if not, what is wrong.
    pub(super) fn check(&self, text: &str, status: i32, usual: i32) -> Result<(), String> {
        let wanted = self.status.unwrap_or(usual);
        if status != wanted {
            return Err(format!("status {status} and not {wanted}: {}", shown(text)));
        }
        self.check_text(text)
    }

    /// [`Expectation::check`] for a text that has no status.
    pub(super) fn check_text(&self, text: &str) -> Result<(), String> {
        let trimmed = text.trim();
        if let Some(is) = &self.is
            && trimmed != is.trim()
        {
            return Err(format!("not \"{is}\" but {}", shown(text)));
        }
        if let Some(is_not) = &self.is_not
            && trimmed == is_not.trim()
        {
            return Err(format!("\"{is_not}\", which it must not be"));
        }
        if let Some(part) = self.contains.iter().find(|part| !text.contains(part.as_str())) {
            return Err(format!("no \"{part}\" in {}", shown(text)));
        }
        if let Some(part) = self.lacks.iter().find(|part| text.contains(part.as_str())) {
            return Err(format!("\"{part}\" is in {}", shown(text)));
        }
        if self.json.is_empty() && self.json_lacks.is_empty() {
            return Ok(());
        }
        let read: Value = serde_json::from_str(text).map_err(|error| format!("no JSON ({error}): {}", shown(text)))?;
        for (pointer, wanted) in &self.json {
            let found = read.pointer(pointer);
            if found != Some(wanted) {
                let found = found.map_or_else(|| "nothing".to_owned(), Value::to_string);
                return Err(format!("{pointer} is {found} and not {wanted} in {}", shown(text)));
            }
        }
        match self.json_lacks.iter().find(|pointer| read.pointer(pointer).is_some()) {
            Some(pointer) => Err(format!("{pointer} is there, in {}", shown(text))),
            None => Ok(()),
        }
    }
}

/// The end of a text, in one or more lines of a message.
fn shown(text: &str) -> String {
    match crate::tools::last_part(text.as_bytes()) {
        text if text.is_empty() => "nothing".to_owned(),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(expectation: Value, text: &str) -> Result<(), String> {
        let expectation: Expectation = serde_json::from_value(expectation).unwrap();
        expectation.check(text, 0, 0)
    }

    #[test]
    fn every_kind_can_fail() {
        let text = "{\"state\": {\"phase\": \"idle\"}, \"n\": 3}\n";
        for (holds, fails) in [
            (json!({ "status": 0 }), json!({ "status": 1 })),
            (
                json!({ "contains": ["idle", "3"] }),
                json!({ "contains": ["idle", "staged"] }),
            ),
            (json!({ "lacks": ["staged"] }), json!({ "lacks": ["staged", "idle"] })),
            (
                json!({ "json": { "/state/phase": "idle", "/n": 3 } }),
                json!({ "json": { "/n": 4 } }),
            ),
            (
                json!({ "json_lacks": ["/state/code"] }),
                json!({ "json_lacks": ["/n"] }),
            ),
            (json!({ "is": text }), json!({ "is": "x" })),
            (json!({ "is_not": "x" }), json!({ "is_not": text })),
        ] {
            assert_eq!(check(holds.clone(), text), Ok(()), "{holds}");
            assert!(check(fails.clone(), text).is_err(), "{fails}");
        }
    }

    #[test]
    fn what_is_no_json_is_told() {
        let error = check(json!({ "json": { "/a": 1 } }), "oops").unwrap_err();
        assert!(error.starts_with("no JSON") && error.ends_with("oops"), "{error}");
    }
}
