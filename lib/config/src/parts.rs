//! Files with tables of several kinds: steps of a list, services by name, each with a key that says what it is.
//!
//! serde buffers a value before it looks at such a key, and forgets on the way where in the file it stood. Here each of
//! those tables is read by itself, so that an error still names its line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use crate::{ConfigError, explain, line_at, quoted_after};

/// A file whose tables are taken out one by one.
#[derive(Debug)]
pub struct Parts<'a> {
    text: &'a str,
    origin: PathBuf,
    root: Spanned<DeTable<'a>>,
}

/// One table of a [`Parts`].
#[derive(Debug, Clone)]
pub struct Part<'a> {
    text: &'a str,
    origin: PathBuf,
    span: Range<usize>,
    table: DeTable<'a>,
    taken: Vec<&'static str>,
}

impl<'a> Parts<'a> {
    /// Parses `text`; `origin` is the path to name in errors.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if it is not TOML.
    pub fn parse(text: &'a str, origin: &Path) -> Result<Self, ConfigError> {
        let root = DeTable::parse(text).map_err(|error| explain(&error, text, origin))?;
        let origin = origin.to_owned();
        Ok(Self { text, origin, root })
    }

    /// Takes the list of tables `key` out; empty if there is none.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if it is something else.
    pub fn take_list(&mut self, key: &str) -> Result<Vec<Part<'a>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        match value.get_ref() {
            DeValue::Array(entries) => entries.iter().map(|entry| self.part(entry.clone())).collect(),
            _ => Err(self.invalid(
                &value.span(),
                format!("`{key}` must be a list of tables, each written [[{key}]]"),
            )),
        }
    }

    /// Takes the tables below `key` out, in the order of the file.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if it is something else.
    pub fn take_named(&mut self, key: &str) -> Result<Vec<(String, Part<'a>)>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            return Err(self.invalid(&span, format!("`{key}` must hold tables, each written [{key}.NAME]")));
        };
        let mut named = Vec::new();
        for (name, value) in table {
            let at = name.span().start;
            named.push((at, name.into_inner().into_owned(), self.part(value)?));
        }
        named.sort_by_key(|(at, ..)| *at);
        Ok(named.into_iter().map(|(_, name, part)| (name, part)).collect())
    }

    /// Reads what was not taken out as a `T`. The keys `beside` are those that are taken out where they are there.
    ///
    /// # Errors
    /// As [`crate::parse`].
    pub fn read_beside<T: DeserializeOwned>(self, beside: &[&str]) -> Result<T, ConfigError> {
        T::deserialize(Deserializer::from(self.root))
            .map_err(|error| explain(&error, self.text, &self.origin).with_known(beside))
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'a>>> {
        self.root.get_mut().remove(key)
    }

    fn part(&self, value: Spanned<DeValue<'a>>) -> Result<Part<'a>, ConfigError> {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            return Err(self.invalid(&span, "a table belongs here".to_owned()));
        };
        Ok(Part {
            text: self.text,
            origin: self.origin.clone(),
            span,
            table,
            taken: Vec::new(),
        })
    }

    fn invalid(&self, span: &Range<usize>, message: String) -> ConfigError {
        ConfigError::Invalid {
            path: self.origin.clone(),
            line: line_at(self.text, span.start),
            message,
        }
    }
}

impl Part<'_> {
    /// The line, from 1, on which it begins.
    pub fn line(&self) -> usize {
        line_at(self.text, self.span.start)
    }

    /// Takes the key `key` out and reads it as a `T`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if it holds something else.
    pub fn take<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, ConfigError> {
        self.taken.push(key);
        let Some(value) = self.table.remove(key) else {
            return Ok(None);
        };
        T::deserialize(ValueDeserializer::from(value))
            .map(Some)
            .map_err(|error| explain(&error, self.text, &self.origin))
    }

    /// Reads what was not taken out as a `T`.
    ///
    /// # Errors
    /// As [`crate::parse`]. What serde has no place for is said to be where the key is, or else the table.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ConfigError> {
        let Self {
            text,
            origin,
            span,
            table,
            taken,
        } = self;
        let keys: Vec<(String, usize)> = table
            .keys()
            .map(|key| (key.get_ref().to_string(), key.span().start))
            .collect();
        let value = Spanned::new(span.clone(), DeValue::Table(table));
        T::deserialize(ValueDeserializer::from(value)).map_err(|error| {
            let unknown = quoted_after("unknown field ", error.message());
            let named = unknown.and_then(|(key, _)| keys.iter().find(|(name, _)| *name == key).map(|(_, at)| *at));
            let at = named.or(error.span().map(|span| span.start)).unwrap_or(span.start);
            let mut explained = explain(&error, text, &origin).with_known(&taken);
            if let ConfigError::UnknownKey { line, .. }
            | ConfigError::UnknownWord { line, .. }
            | ConfigError::Invalid { line, .. } = &mut explained
            {
                *line = line_at(text, at);
            }
            explained
        })
    }
}

impl ConfigError {
    /// Also knows the keys `more`.
    fn with_known(mut self, more: &[&str]) -> Self {
        if let Self::UnknownKey {
            key, nearest, known, ..
        } = &mut self
        {
            known.extend(more.iter().map(|&name| name.to_owned()));
            *nearest = crate::nearest(key, known);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
    enum Step {
        Run { command: String },
        Wait {},
    }

    fn steps(text: &str) -> Result<Vec<(Option<u32>, Step)>, String> {
        let mut parts = Parts::parse(text, Path::new("s.toml")).map_err(|error| error.to_string())?;
        let list = parts.take_list("step").map_err(|error| error.to_string())?;
        list.into_iter()
            .map(|mut part| Ok((part.take("within")?, part.read()?)))
            .collect::<Result<_, ConfigError>>()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn kinds_are_told_apart_and_shared_keys_are_taken_first() {
        let text = "[[step]]\ncommand = \"x\"\ndo = \"run\"\nwithin = 3\n\n[[step]]\ndo = \"wait\"\n";
        let run = Step::Run {
            command: "x".to_owned(),
        };
        assert_eq!(steps(text).unwrap(), [(Some(3), run), (None, Step::Wait {})]);
    }

    #[test]
    fn a_wrong_key_in_the_second_table_is_found_on_its_line() {
        let text = "[[step]]\ndo = \"wait\"\n\n[[step]]\ndo = \"run\"\ncomand = \"x\"\n";
        assert_eq!(
            steps(text).unwrap_err(),
            "s.toml:6: unknown key `comand`; did you mean `command`?"
        );
        let text = "[[step]]\ndo = \"wait\"\nwithn = 3\n";
        assert_eq!(
            steps(text).unwrap_err(),
            "s.toml:3: unknown key `withn`; did you mean `within`?"
        );
    }

    #[test]
    fn a_kind_that_does_not_exist_and_one_that_lacks_something_are_found() {
        let error = steps("\n[[step]]\ndo = \"rnu\"\n").unwrap_err();
        assert_eq!(error, "s.toml:3: unknown word `rnu`; known here: run, wait");
        let error = steps("\n\n[[step]]\ndo = \"run\"\n").unwrap_err();
        assert_eq!(error, "s.toml:3: missing field `command`");
    }

    #[test]
    fn named_tables_keep_the_order_of_the_file() {
        let text = "[service.z]\na = 1\n[service.b]\na = 2\n";
        let mut parts = Parts::parse(text, Path::new("s.toml")).unwrap();
        let names: Vec<_> = parts
            .take_named("service")
            .unwrap()
            .into_iter()
            .map(|(name, part)| (name, part.line()))
            .collect();
        assert_eq!(names, [("z".to_owned(), 1), ("b".to_owned(), 3)]);
    }
}
