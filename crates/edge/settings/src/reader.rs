//! Typed reading of parsed TOML: a cursor over a table that reports what is wrong and goes on.
//!
//! A key is known because some reader asked for it; whatever is left when a table is finished
//! was misspelt or does not exist. So the list of known keys cannot differ from what is read.
//! Invariant: every reading method either returns a valid value or has reported a finding.

mod quantity;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Name;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Environment;
use crate::finding::{Finding, Findings, all_of, did_you_mean, one_of, quote};

/// Ten milliseconds to a day: what every timeout may be.
pub(crate) const TIMEOUT_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(86_400);

/// What every reader needs besides the value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) findings: &'a Findings,
    pub(crate) folder: &'a Path,
    pub(crate) environment: &'a Environment,
    /// Files whose content is part of what is read.
    pub(crate) files: &'a RefCell<BTreeSet<PathBuf>>,
}

/// A value with its key's name, for messages, and its place.
#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) name: &'a str,
    pub(crate) key_span: Range<usize>,
    pub(crate) span: Range<usize>,
    pub(crate) context: Context<'a>,
    inner: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// The whole document, under the name it has in messages, such as `the configuration`.
    pub(crate) fn root(name: &'a str, inner: &'a DeValue<'a>, context: Context<'a>) -> Self {
        Self { name, key_span: 0..0, span: 0..0, context, inner }
    }

    /// The same value under another name in messages.
    pub(crate) fn named(&self, name: &'a str) -> Self {
        Self { name, ..self.clone() }
    }

    /// The same value, for findings about its key.
    pub(crate) fn at_key(&self) -> Self {
        Self { span: self.key_span.clone(), ..self.clone() }
    }

    pub(crate) fn as_text(&self) -> Option<&'a str> {
        self.inner.as_str()
    }

    pub(crate) fn as_boolean(&self) -> Option<bool> {
        self.inner.as_bool()
    }

    pub(crate) fn is_integer(&self) -> bool {
        self.inner.is_integer()
    }

    pub(crate) fn is_table(&self) -> bool {
        self.inner.is_table()
    }

    /// The elements, each under the name of the array.
    pub(crate) fn as_array(&self) -> Option<Vec<Value<'a>>> {
        let array = self.inner.as_array()?;
        Some(array.iter().map(|element| self.element(element)).collect())
    }

    fn element(&self, element: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value { span: element.span(), inner: element.get_ref(), ..self.clone() }
    }

    /// A cursor over this value; reports anything but a table.
    pub(crate) fn table(&self, expected: &str) -> Option<Table<'a>> {
        let Some(entries) = self.inner.as_table() else {
            self.wrong_type(expected);
            return None;
        };
        Some(Table { entries: Some(entries), value: self.clone(), known: Vec::new() })
    }

    /// Reports that this value has the wrong type.
    pub(crate) fn wrong_type(&self, expected: &str) {
        let found = match self.inner {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let message = format!("{} must be {expected}, not {found}", quote(self.name));
        self.report(Finding::error("wrong-type", self.span.clone(), message).label(found));
    }

    /// Reports that this value is not acceptable: ``message` label`` and a help.
    pub(crate) fn invalid(&self, rule: &'static str, message: String, help: impl Into<String>) {
        let finding = Finding::error(rule, self.span.clone(), message);
        self.report(finding.label("not valid here").help(help));
    }

    pub(crate) fn report(&self, finding: Finding) {
        self.context.findings.add(finding);
    }

    /// A string; reports anything else.
    pub(crate) fn text(&self) -> Option<&'a str> {
        let text = self.as_text();
        if text.is_none() {
            self.wrong_type("a string");
        }
        text
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        let boolean = self.as_boolean();
        if boolean.is_none() {
            self.wrong_type("`true` or `false`");
        }
        boolean
    }

    /// An integer in `range`.
    pub(crate) fn number<T>(&self, range: &RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<i128>,
    {
        let Some(integer) = self.inner.as_integer() else {
            self.wrong_type(&format!("an integer from {} to {}", range.start(), range.end()));
            return None;
        };
        // What 128 bits cannot hold is out of every range.
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| T::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.out_of_range(&range.start().to_string(), &range.end().to_string());
        }
        number
    }

    /// A number in `range`, integer or float.
    pub(crate) fn decimal(&self, range: &RangeInclusive<f64>) -> Option<f64> {
        let digits = match (self.inner.as_float(), self.inner.as_integer()) {
            (Some(float), _) => float.as_str(),
            (None, Some(integer)) if integer.radix() == 10 => integer.as_str(),
            (None, _) => {
                self.wrong_type(&format!("a number from {} to {}", range.start(), range.end()));
                return None;
            }
        };
        let number = digits.parse::<f64>().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.out_of_range(&range.start().to_string(), &range.end().to_string());
        }
        // Adding zero turns a negative zero into zero.
        number.map(|number| number + 0.0)
    }

    pub(crate) fn out_of_range(&self, first: &str, last: &str) {
        let message = format!("{} must be from {first} to {last}", quote(self.name));
        let finding = Finding::error("out-of-range", self.span.clone(), message);
        self.report(finding.label("out of range"));
    }

    /// One of the given words.
    pub(crate) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        let Some(text) = self.as_text() else {
            self.wrong_type(&one_of(words()));
            return None;
        };
        let choice = choices.iter().find(|(word, _)| *word == text);
        if choice.is_none() {
            self.unknown_value(text, words());
        }
        choice.map(|(_, choice)| choice.clone())
    }

    pub(crate) fn unknown_value<'k>(
        &self,
        text: &str,
        words: impl Iterator<Item = &'k str> + Clone,
    ) {
        let message = format!("unknown value {} for {}", quote(text), quote(self.name));
        let finding = Finding::error("unknown-value", self.span.clone(), message)
            .label("not known")
            .help(format!("use {}", one_of(words.clone())))
            .help_maybe(did_you_mean(text, words));
        self.report(finding);
    }

    /// A path of a file, relative to the configuration's folder.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() || text.contains('\0') {
            let message = format!("{} must name a file", quote(self.name));
            self.invalid("invalid-path", message, "write a path, relative to this file's folder");
            return None;
        }
        Some(self.context.folder.join(text))
    }

    /// A path of a regular file that can be read.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        // Only a regular file is opened: opening a pipe would wait for its writer.
        let problem = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                std::fs::File::open(&path).err().map(|error| ("unreadable-file", error.to_string()))
            }
            Ok(_) => Some(("missing-file", "not a file".to_owned())),
            Err(error) => Some(("missing-file", error.to_string())),
        };
        let Some((rule, reason)) = problem else { return Some(path) };
        let message = format!("cannot read {}", quote(&path.to_string_lossy()));
        let finding = Finding::error(rule, self.span.clone(), message).label(reason);
        self.report(finding.help("paths are relative to the folder of this file"));
        None
    }

    /// A non-empty name of at most 64 printable characters.
    pub(crate) fn word(&self) -> Option<Name> {
        let text = self.text()?;
        if is_name(text) {
            return Some(Name::from(text));
        }
        let message = format!("{} is not a name", quote(text));
        self.invalid("invalid-name", message, NAME_HELP);
        None
    }
}

const NAME_HELP: &str = "use 1 to 64 letters, digits, `-`, `_` or `.`";

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A cursor over a table.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    /// `None`: the table is absent or was no table, and every key has its default.
    entries: Option<&'a DeTable<'a>>,
    value: Value<'a>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(crate) fn span(&self) -> Range<usize> {
        self.value.span.clone()
    }

    pub(crate) fn name(&self) -> &'a str {
        self.value.name
    }

    pub(crate) fn context(&self) -> Context<'a> {
        self.value.context
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// The value of `key`, which becomes a known key.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let (key, value) = self.entries?.get_key_value(key)?;
        Some(self.entry(key, value))
    }

    fn entry(
        &self,
        key: &'a Spanned<std::borrow::Cow<'a, str>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Value<'a> {
        Value {
            name: key.get_ref(),
            key_span: key.span(),
            span: value.span(),
            inner: value.get_ref(),
            context: self.context(),
        }
    }

    /// The value of `key`; reports its absence, with an `example` of how to write it.
    pub(crate) fn required(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            let message = format!("{} needs {}", quote(self.value.name), quote(key));
            let finding = Finding::error("missing-key", self.span(), message);
            self.value.report(
                finding
                    .label(format!("{} is missing", quote(key)))
                    .help(format!("add `{example}`")),
            );
        }
        value
    }

    /// The table under `key`; empty, so that all its keys have defaults, when it is absent.
    pub(crate) fn sub(&mut self, key: &'static str) -> Table<'a> {
        let value = self.get(key);
        value.and_then(|value| value.table("a table")).unwrap_or_else(|| Table::empty(self))
    }

    /// A table without entries, inside `parent`.
    pub(crate) fn empty(parent: &Table<'a>) -> Table<'a> {
        Table { entries: None, value: parent.value.clone(), known: Vec::new() }
    }

    /// All entries in file order, whatever their keys: for tables whose keys are the user's.
    pub(crate) fn entries(&self) -> Vec<Value<'a>> {
        let entries = self.entries.into_iter().flat_map(|entries| entries.iter());
        entries.map(|(key, value)| self.entry(key, value)).collect()
    }

    /// The entries of a table of tables, `[key.NAME]`, with their names checked.
    pub(crate) fn named(&mut self, key: &'static str) -> Vec<(Name, Value<'a>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(table) = value.table(&format!("made of tables `[{key}.NAME]`")) else {
            return Vec::new();
        };
        for entry in table.entries() {
            if !is_name(entry.name) {
                let message = format!("{} is not a name", quote(entry.name));
                let finding = Finding::error("invalid-name", entry.key_span.clone(), message);
                entry.report(finding.label("not a name").help(NAME_HELP));
            }
        }
        table.entries().into_iter().map(|entry| (Name::from(entry.name), entry)).collect()
    }

    /// The names of the tables `[key.NAME]`, valid or not; reports nothing.
    pub(crate) fn names(&self, key: &str) -> impl Iterator<Item = &'a str> {
        let table = self.entries.and_then(|entries| entries.get(key)?.get_ref().as_table());
        table.into_iter().flat_map(|table| table.iter()).map(|(name, _)| &**name.get_ref())
    }

    pub(crate) fn number<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: Copy + Display + PartialOrd + TryFrom<i128>,
    {
        self.get(key).and_then(|value| value.number(&range)).unwrap_or(default)
    }

    pub(crate) fn ratio(&mut self, key: &'static str, default: f64) -> f64 {
        self.decimal(key, default, 0.0..=1.0)
    }

    pub(crate) fn decimal(
        &mut self,
        key: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> f64 {
        self.get(key).and_then(|value| value.decimal(&range)).unwrap_or(default)
    }

    pub(crate) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.get(key).and_then(|value| value.boolean()).unwrap_or(default)
    }

    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.get(key).and_then(|value| value.duration(&range)).unwrap_or(default)
    }

    /// A duration in [`TIMEOUT_RANGE`], by default so many seconds.
    pub(crate) fn timeout(&mut self, key: &'static str, default_seconds: u64) -> Duration {
        self.duration(key, Duration::from_secs(default_seconds), TIMEOUT_RANGE)
    }

    pub(crate) fn size(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        self.get(key).and_then(|value| value.size(&range)).unwrap_or(default)
    }

    pub(crate) fn choice<T: Clone>(
        &mut self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        self.get(key).and_then(|value| value.choice(choices)).unwrap_or(default)
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        for entry in self.entries() {
            if !self.known.contains(&entry.name) {
                self.context().findings.add_error_with(|| self.unknown_key(&entry));
            }
        }
    }

    fn unknown_key(&self, entry: &Value<'a>) -> Finding {
        let known = || self.known.iter().copied();
        let message = format!("unknown key {} in {}", quote(entry.name), quote(self.value.name));
        Finding::error("unknown-key", entry.key_span.clone(), message)
            .label("not known here")
            .help(format!("known keys are {}", all_of(known())))
            .help_maybe(did_you_mean(entry.name, known()))
    }
}
