//! Writes TOML, and remembers which place of the original each part of it came from.
//!
//! Values are written in the order they are given; the importer decides on order and names.
//! Invariant: what is written is TOML that parses, whatever the texts in it.

use std::ops::Range;

use super::Place;

/// A value to be written, with where it came from if that is more exact than its key's place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    /// What is written.
    pub(super) value: Value,
    /// Where it came from; `None` is where the key around it came from.
    pub(super) place: Option<Place>,
}

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(u64),
    /// A number, written with two digits after the point.
    Number(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// An array, one element a line when there are several tables in it.
    Array(Vec<Placed>),
    /// An inline table.
    Table(Vec<(String, Placed)>),
}

impl Value {
    /// This value, from `place`.
    pub(super) fn at(self, place: &Place) -> Placed {
        Placed { value: self, place: Some(place.clone()) }
    }

    /// This value, from where its key came from.
    pub(super) fn here(self) -> Placed {
        Placed { value: self, place: None }
    }

    /// A string.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A duration in milliseconds, written in the largest unit that is exact.
    pub(super) fn duration_ms(ms: u64) -> Self {
        Self::Text(match ms {
            0 => "0s".to_owned(),
            _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
            _ => format!("{ms}ms"),
        })
    }

    /// A size in bytes, written in the largest unit that is exact.
    pub(super) fn bytes(bytes: u64) -> Self {
        let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let exact = units.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
        exact.map_or_else(
            || Self::Integer(bytes),
            |(unit, name)| Self::Text(format!("{}{name}", bytes / unit)),
        )
    }
}

/// A TOML text in the making.
#[derive(Debug, Default)]
pub(super) struct Toml {
    text: String,
    map: SourceMap,
}

impl Toml {
    /// Writes comment lines; control characters in them become spaces.
    pub(super) fn comment(&mut self, text: &str) {
        for line in text.lines() {
            let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            self.text.push_str(format!("# {line}").trim_end());
            self.text.push('\n');
        }
    }

    /// Begins a table such as `[pools.web]`, which came from `place`. Keys follow.
    pub(super) fn table(&mut self, path: &[&str], place: &Place) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let path: Vec<String> = path.iter().map(|part| key_text(part)).collect();
        self.mark(place, |toml| toml.text.push_str(&format!("[{}]", path.join("."))));
        self.text.push('\n');
    }

    /// Writes `key = value`, which came from `place`.
    pub(super) fn key(&mut self, key: &str, value: &Value, place: &Place) {
        self.mark(place, |toml| {
            toml.text.push_str(&key_text(key));
            toml.text.push_str(" = ");
            toml.value(value);
        });
        self.text.push('\n');
    }

    /// The text and where its parts came from.
    pub(super) fn finish(self) -> (String, SourceMap) {
        (self.text, self.map)
    }

    fn mark(&mut self, place: &Place, write: impl FnOnce(&mut Self)) {
        let entry = self.map.entries.len();
        let start = self.text.len();
        // Pushed before its parts, so that entries are sorted by start, the outer one first.
        self.map.entries.push((start..start, place.clone()));
        write(self);
        if let Some((range, _)) = self.map.entries.get_mut(entry) {
            range.end = self.text.len();
        }
    }

    fn placed(&mut self, placed: &Placed) {
        match &placed.place {
            Some(place) => self.mark(place, |toml| toml.value(&placed.value)),
            None => self.value(&placed.value),
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text.push_str(&quoted(text)),
            // TOML's integers have 63 bits.
            Value::Integer(number) => {
                let number = i64::try_from(*number).unwrap_or(i64::MAX);
                self.text.push_str(&number.to_string());
            }
            Value::Number(number) if number.is_finite() => {
                self.text.push_str(&format!("{number:.2}"));
            }
            Value::Number(_) => self.text.push_str("0.0"),
            Value::Boolean(yes) => self.text.push_str(if *yes { "true" } else { "false" }),
            Value::Array(elements) => self.array(elements),
            Value::Table(entries) => self.inline_table(entries),
        }
    }

    fn array(&mut self, elements: &[Placed]) {
        let is_table = |element: &Placed| matches!(element.value, Value::Table(_));
        let is_tall = elements.len() > 1 && elements.iter().any(is_table);
        self.text.push('[');
        for (index, element) in elements.iter().enumerate() {
            match (is_tall, index) {
                (true, _) => self.text.push_str("\n  "),
                (false, 0) => {}
                (false, _) => self.text.push_str(", "),
            }
            self.placed(element);
            if is_tall {
                self.text.push(',');
            }
        }
        self.text.push_str(if is_tall { "\n]" } else { "]" });
    }

    fn inline_table(&mut self, entries: &[(String, Placed)]) {
        self.text.push('{');
        for (index, (key, value)) in entries.iter().enumerate() {
            self.text.push_str(if index == 0 { " " } else { ", " });
            self.text.push_str(&key_text(key));
            self.text.push_str(" = ");
            self.placed(value);
        }
        self.text.push_str(if entries.is_empty() { "}" } else { " }" });
    }
}

fn key_text(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { quoted(key) }
}

/// A basic string: everything TOML does not take as it is, escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            _ if character.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(character)));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Where the parts of a written text came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMap {
    /// Ranges of the written text, sorted by start, outer ones before those inside them.
    entries: Vec<(Range<usize>, Place)>,
}

impl SourceMap {
    /// The known parts of the written text.
    pub(super) fn ranges(&self) -> impl Iterator<Item = &Range<usize>> {
        self.entries.iter().map(|(range, _)| range)
    }

    /// Where a part of the written text came from: the innermost known part around `span`, or
    /// the last one before it, or the start of the main file.
    #[must_use]
    pub fn origin(&self, span: &Range<usize>) -> Place {
        let after = self.entries.partition_point(|(range, _)| range.start <= span.start);
        let before = self.entries.get(..after).unwrap_or_default();
        let around = before.iter().rev().find(|(range, _)| range.end >= span.end);
        around.or(before.last()).map_or(Place { file: 0, span: 0..0 }, |(_, place)| place.clone())
    }
}
