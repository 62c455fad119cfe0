//! Header rules in the making: what a row of commands comes to, as `remove`, `set` and `add`.
//!
//! Other balancers carry out their commands one after the other; this door removes, then sets,
//! then adds. So each field remembers what the commands so far come to.
//! Invariant: what [`Fields::value`] gives is taken by the reader of header rules.

use std::collections::BTreeMap;

use super::Place;
use super::writer::{Placed, Value};
use crate::finding::quote;
pub(super) use crate::route::headers::Side;
use crate::route::headers::{self, RULES_MAX, TABLE_BYTES_MAX, VALUE_BYTES_MAX};

/// Fields whose lines may stand in one, behind commas (RFC 9110, section 5.3).
const LISTS: [&str; 16] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "allow",
    "cache-control",
    "content-security-policy",
    "content-security-policy-report-only",
    "feature-policy",
    "link",
    "permissions-policy",
    "pragma",
    "server-timing",
    "timing-allow-origin",
    "vary",
    "via",
    "x-robots-tag",
];

/// A value and where it came from; alike when the values are.
#[derive(Clone, Debug)]
struct At(String, Place);

impl PartialEq for At {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// What the commands so far come to for one field.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Removed(At),
    Set(At),
    Added(At),
    SetAndAdded(At, At),
}

impl Field {
    /// As many bytes as the rules for a field of this name write.
    fn bytes(&self, name: &str) -> usize {
        match self {
            Self::Removed(_) => 0,
            Self::Set(At(value, _)) | Self::Added(At(value, _)) => name.len() + value.len(),
            Self::SetAndAdded(At(first, _), At(second, _)) => {
                2 * name.len() + first.len() + second.len()
            }
        }
    }
}

/// Header rules of one side; alike when they do the same, wherever that is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    side: Side,
    by_name: BTreeMap<String, Field>,
}

impl Fields {
    /// No rules yet.
    pub(super) fn of(side: Side) -> Self {
        Self { side, by_name: BTreeMap::new() }
    }

    /// Whether anything is done to this field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(&name.to_ascii_lowercase())
    }

    /// Removes all fields of this name, or says why the door cannot.
    pub(super) fn remove(&mut self, name: &str, place: &Place) -> Result<(), String> {
        let name = self.name(name)?;
        if name == "host" {
            return Err("a server needs the host".to_owned());
        }
        self.keep(name.clone(), Field::Removed(At(name, place.clone())))
    }

    /// Replaces all fields of this name; `value` has this door's variables.
    pub(super) fn set(&mut self, name: &str, value: &str, place: &Place) -> Result<(), String> {
        let name = self.name(name)?;
        if name == "host" && !is_host(value) {
            return Err(
                "the door sends the client's own host, or one that is written here".to_owned()
            );
        }
        let value = At(checked(value)?, place.clone());
        self.keep(name, Field::Set(value))
    }

    /// Puts a field beside those of its name.
    pub(super) fn add(&mut self, name: &str, value: &str, place: &Place) -> Result<(), String> {
        let name = self.name(name)?;
        if name == "host" {
            return Err("a request has one host".to_owned());
        }
        let value = At(checked(value)?, place.clone());
        if value.0.is_empty() {
            return Ok(());
        }
        let together = |first: &At| {
            if first.0 == value.0 {
                return Ok(first.clone());
            }
            if !LISTS.contains(&name.as_str()) {
                return Err(format!("the door adds one field {} to a message", quote(&name)));
            }
            checked(&format!("{}, {}", first.0, value.0)).map(|text| At(text, first.1.clone()))
        };
        let field = match self.by_name.get(&name) {
            None => Field::Added(value),
            Some(Field::Removed(_)) => Field::Set(value),
            Some(Field::Set(set)) => Field::SetAndAdded(set.clone(), value),
            Some(Field::Added(added)) => Field::Added(together(added)?),
            Some(Field::SetAndAdded(set, added)) => {
                Field::SetAndAdded(set.clone(), together(added)?)
            }
        };
        self.keep(name, field)
    }

    /// Takes in what is done to a field, if the table has room for it.
    fn keep(&mut self, name: String, field: Field) -> Result<(), String> {
        let others = self.by_name.iter().filter(|(known, _)| **known != name);
        let bytes = others.map(|(name, field)| field.bytes(name)).sum::<usize>();
        if bytes + field.bytes(&name) > TABLE_BYTES_MAX {
            return Err(format!(
                "a route writes {} KiB of header fields at most",
                TABLE_BYTES_MAX >> 10
            ));
        }
        self.by_name.insert(name, field);
        Ok(())
    }

    /// The name as the door has it, or why no rule may touch it.
    fn name(&self, name: &str) -> Result<String, String> {
        if !crate::pool::is_token(name) {
            return Err(format!("{} is not the name of a header", quote(name)));
        }
        let name = name.to_ascii_lowercase();
        if let Some(why) = headers::fixed(&name, self.side) {
            return Err(format!("no rule of the door touches {}: {why}", quote(&name)));
        }
        if self.by_name.len() >= RULES_MAX && !self.by_name.contains_key(&name) {
            return Err(format!("a route changes {RULES_MAX} header fields at most"));
        }
        Ok(name)
    }

    /// The table; `only_success`: responses with other statuses are left as they are. `None` when
    /// nothing is changed.
    pub(super) fn value(&self, only_success: bool) -> Option<Value> {
        let (mut remove, mut set, mut add) = (Vec::new(), Vec::new(), Vec::new());
        let text = |At(text, place): &At| Value::text(text.clone()).at(place);
        for (name, field) in &self.by_name {
            match field {
                Field::Removed(value) => remove.push(text(value)),
                Field::Set(value) => set.push((name.clone(), text(value))),
                Field::Added(value) => add.push((name.clone(), text(value))),
                Field::SetAndAdded(first, second) => {
                    set.push((name.clone(), text(first)));
                    add.push((name.clone(), text(second)));
                }
            }
        }
        let mut entries: Vec<(String, Placed)> = Vec::new();
        if !remove.is_empty() {
            entries.push(("remove".to_owned(), Value::Array(remove).here()));
        }
        for (key, fields) in [("set", set), ("add", add)] {
            if !fields.is_empty() {
                entries.push((key.to_owned(), Value::Table(fields).here()));
            }
        }
        if entries.is_empty() {
            return None;
        }
        if only_success {
            entries.push(("when".to_owned(), Value::text("success").here()));
        }
        Some(Value::Table(entries))
    }

    /// Where the first of the rules came from.
    pub(super) fn place(&self) -> Option<&Place> {
        let places = self.by_name.values().map(|field| match field {
            Field::Removed(At(_, place))
            | Field::Set(At(_, place))
            | Field::Added(At(_, place))
            | Field::SetAndAdded(At(_, place), _) => place,
        });
        places.min_by_key(|place| (place.file, place.span.start))
    }
}

/// A text without variables as a value of this door.
pub(super) fn plain(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn checked(value: &str) -> Result<String, String> {
    let value = value.trim();
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("a value has {VALUE_BYTES_MAX} bytes at most"));
    }
    if !value.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\t') {
        return Err("a value of a header is visible ASCII here".to_owned());
    }
    Ok(value.to_owned())
}

/// Whether a server gets a host by this value, whatever a client sends.
pub(super) fn is_host(value: &str) -> bool {
    if value == "{authority}" {
        return true;
    }
    let sample = value.replace("{host}", "host");
    let (host, port) = match sample.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (sample.as_str(), None),
    };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok()
        || bracketed.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse().is_ok_and(|port: u16| port > 0)
    };
    (is_address || crate::server::host_name(host).is_ok()) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands such as `set a 1`, and the table they come to.
    fn check(commands: &[&str], expected: &str) {
        let mut fields = Fields::of(Side::Response);
        let place = Place { file: 0, span: 0..0 };
        for command in commands {
            let words: Vec<&str> = command.splitn(3, ' ').collect();
            let value = words.get(2).copied().unwrap_or_default();
            let result = match words[0] {
                "set" => fields.set(words[1], value, &place),
                "add" => fields.add(words[1], value, &place),
                _ => fields.remove(words[1], &place),
            };
            result.unwrap_or_else(|reason| panic!("{command}: {reason}"));
        }
        let mut toml = super::super::writer::Toml::default();
        toml.key("h", &fields.value(false).unwrap_or(Value::Boolean(false)), &place);
        assert_eq!(toml.finish().0.trim_end(), format!("h = {expected}"), "{commands:?}");
    }

    #[test]
    fn commands_in_a_row_come_to_one_table() {
        check(&[], "false");
        check(&["del X-A", "set x-a 1"], "{ set = { x-a = \"1\" } }");
        check(&["set x-a 1", "del x-a"], "{ remove = [\"x-a\"] }");
        check(&["del x-a", "add x-a 1"], "{ set = { x-a = \"1\" } }");
        check(&["add x-a 1", "set x-a 2"], "{ set = { x-a = \"2\" } }");
        check(&["set x-a 1", "add x-a 2"], "{ set = { x-a = \"1\" }, add = { x-a = \"2\" } }");
        check(&["add link <a>", "add Link <b>"], "{ add = { link = \"<a>, <b>\" } }");
        check(&["add x-a 1", "add x-a 1", "add x-b"], "{ add = { x-a = \"1\" } }");
    }

    #[test]
    fn what_no_rule_may_touch_is_refused() {
        let place = Place { file: 0, span: 0..0 };
        let mut request = Fields::of(Side::Request);
        for name in ["Connection", "content-length", "X-Request-ID", "expect", "a b", ""] {
            assert!(request.set(name, "1", &place).is_err(), "{name}");
        }
        for (value, is_taken) in [
            ("{host}", true),
            ("{authority}", true),
            ("a.example:81", true),
            ("[::1]:81", true),
            ("a b", false),
            ("{header:x}", false),
            ("a:0", false),
        ] {
            assert_eq!(request.set("Host", value, &place).is_ok(), is_taken, "{value}");
        }
        assert!(
            request.remove("host", &place).is_err() && request.add("host", "a", &place).is_err()
        );
        let large = "x".repeat(4_000);
        let mut full = Fields::of(Side::Response);
        for number in 0..4 {
            full.set(&format!("x-{number}"), &large, &place).unwrap();
        }
        assert!(full.set("x-4", &large, &place).is_err(), "a table has 16 KiB at most");
        full.set("x-0", "small", &place).unwrap();
        full.set("x-4", &large, &place).unwrap();
        request.add("set-cookie", "a=1", &place).unwrap();
        assert!(request.add("set-cookie", "b=2", &place).is_err(), "cookies are no list");
        assert!(request.set("x-a", "\u{e9}", &place).is_err());
    }
}
