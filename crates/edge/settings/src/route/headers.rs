//! Reads `request_headers` and `response_headers` of a route: which fields are removed, set and
//! added, and from what their values are made.
//!
//! Invariant: no rule touches what frames a message or belongs to one connection, and no text holds
//! what could end a line.

use model::Name;
use model::configuration::{HeaderRules, HeaderValue, ValuePart, Variable};

use crate::finding::{Finding, did_you_mean, quote};
use crate::pool::{TOKEN_HELP, is_token};
use crate::reader::Value;
use crate::server::host_name;

/// Names in one table or array, at most.
pub(crate) const RULES_MAX: usize = 32;

/// Bytes of a value as it is written, at most.
pub(crate) const VALUE_BYTES_MAX: usize = 4_096;

/// Bytes of all fields that one table writes, at most, as they are written here: the door writes
/// 24 KiB into a head, variables included.
pub(crate) const TABLE_BYTES_MAX: usize = 16_384;

/// Fields that say where a message ends, or that are of one connection only.
const OF_CONNECTION: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Variables without an argument, by name.
const VARIABLES: [(&str, Variable); 12] = [
    ("client_address", Variable::ClientAddress),
    ("peer_address", Variable::PeerAddress),
    ("host", Variable::Host),
    ("authority", Variable::Authority),
    ("scheme", Variable::Scheme),
    ("method", Variable::Method),
    ("path", Variable::Path),
    ("target", Variable::Target),
    ("request_id", Variable::RequestId),
    ("route", Variable::Route),
    ("client", Variable::Client),
    ("user", Variable::User),
];

/// Which messages are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    /// Those that servers get.
    #[default]
    Request,
    /// Those that clients get.
    Response,
}

/// Reads `request_headers`.
pub(super) fn of_requests(value: &Value<'_>) -> HeaderRules {
    rules(value, Side::Request)
}

/// Reads `response_headers`.
pub(super) fn of_responses(value: &Value<'_>) -> HeaderRules {
    rules(value, Side::Response)
}

fn rules(value: &Value<'_>, side: Side) -> HeaderRules {
    let Some(mut table) = value.table("a table with `remove`, `set` or `add`") else {
        return HeaderRules::default();
    };
    let remove = table.get("remove");
    let set = table.get("set").map_or_else(Vec::new, |value| fields(&value, side, true));
    let add = table.get("add").map_or_else(Vec::new, |value| fields(&value, side, false));
    let remove = remove.map_or_else(Vec::new, |value| removed(&value, side, &set));
    let whens = [("always", false), ("success", true)];
    let success_only = side == Side::Response && table.choice("when", false, &whens);
    table.finish();
    if set.iter().chain(&add).map(bytes_of).sum::<usize>() > TABLE_BYTES_MAX {
        let message = format!("{} writes more than 16 KiB", quote(value.name));
        value.invalid("too-many", message, "a head of this size is refused by many servers");
    }
    HeaderRules { remove, set, add, success_only }
}

/// As many bytes as a field has at least.
fn bytes_of((name, value): &(Name, HeaderValue)) -> usize {
    let texts = value.0.iter().map(|part| match part {
        ValuePart::Text(text) => text.len(),
        ValuePart::Variable(_) => 0,
    });
    name.len() + texts.sum::<usize>()
}

fn removed(value: &Value<'_>, side: Side, set: &[(Name, HeaderValue)]) -> Vec<Name> {
    let mut names = names(value);
    names.retain(|(element, name)| {
        if name.as_ref() == "host" {
            let message = "`host` cannot be removed".to_owned();
            element.invalid("fixed-header", message, "a server needs it; `set` it instead");
            return false;
        }
        if set.iter().any(|(known, _)| known == name) {
            let message = format!("{} is removed and set", quote(name));
            let help = "remove it here: what is set replaces all of its name anyway";
            element.invalid("duplicate-header", message, help);
        }
        may_be_touched(element, name, side)
    });
    names.into_iter().map(|(_, name)| name).collect()
}

/// The names of header fields in an array, in lower case, each once.
pub(super) fn names<'a>(value: &Value<'a>) -> Vec<(Value<'a>, Name)> {
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of names of header fields");
        return Vec::new();
    };
    limit(value, array.len());
    let mut names: Vec<(Value<'a>, Name)> = Vec::new();
    for element in array {
        let Some(text) = element.text() else { continue };
        if !is_token(text) {
            not_a_name(&element, text);
            continue;
        }
        let name = Name::from(text.to_ascii_lowercase());
        if names.iter().all(|(_, known)| *known != name) {
            names.push((element, name));
        }
    }
    names
}

fn limit(value: &Value<'_>, count: usize) {
    if count > RULES_MAX {
        let message = format!("more than {RULES_MAX} header fields in {}", quote(value.name));
        value.invalid("too-many", message, "keep those that are needed");
    }
}

fn not_a_name(value: &Value<'_>, text: &str) {
    let message = format!("{} is not the name of a header", quote(text));
    value.invalid("invalid-token", message, TOKEN_HELP);
}

/// Reports a name that no rule may touch.
fn may_be_touched(value: &Value<'_>, name: &str, side: Side) -> bool {
    let Some(help) = fixed(name, side) else { return true };
    let message = format!("no rule may touch {}", quote(name));
    value.invalid("fixed-header", message, help);
    false
}

/// Why no rule may touch a field of these messages; `name` is lower case.
pub(crate) fn fixed(name: &str, side: Side) -> Option<&'static str> {
    let of_requests = side == Side::Request;
    match name {
        "content-encoding" => Some("it says how the body is coded, which no rule changes"),
        "x-request-id" => Some("the door sets it, so that logs and servers name a request alike"),
        "expect" if of_requests => Some("the door answers to it, so the server must see it"),
        "host" if !of_requests => Some("responses have no host"),
        _ if OF_CONNECTION.contains(&name) => {
            Some("the door writes it from what it understood, so that a message has one reading")
        }
        _ => None,
    }
}

/// The entries of `set` or `add`.
fn fields(value: &Value<'_>, side: Side, sets: bool) -> Vec<(Name, HeaderValue)> {
    let Some(table) = value.table("a table of header fields") else { return Vec::new() };
    let entries = table.entries();
    limit(value, entries.len());
    let mut fields: Vec<(Name, HeaderValue)> = Vec::new();
    for entry in entries {
        if !is_token(entry.name) {
            not_a_name(&entry.at_key(), entry.name);
            continue;
        }
        let name = Name::from(entry.name.to_ascii_lowercase());
        if fields.iter().any(|(known, _)| *known == name) {
            let message = format!("header {} is given twice", quote(&name));
            let finding = Finding::error("duplicate-header", entry.key_span.clone(), message);
            entry.report(finding.label("the same name in other letters").help("keep one of them"));
            continue;
        }
        let at_key = entry.at_key();
        if name.as_ref() == "host" && !sets && side == Side::Request {
            let message = "`host` cannot be added".to_owned();
            at_key.invalid("fixed-header", message, "a request has one; `set` it instead");
            continue;
        }
        if !may_be_touched(&at_key, &name, side) {
            continue;
        }
        let Some(value) = header_value(&entry, sets) else { continue };
        if name.as_ref() == "host" && !is_host(&value) {
            let message = format!("{} is not a host", quote(entry.as_text().unwrap_or_default()));
            let help = "write a host, with a port if needed, or use {host} or {authority}: any other \
                        variable is of the client's choice";
            entry.invalid("invalid-host", message, help);
            continue;
        }
        fields.push((name, value));
    }
    fields
}

/// A value with its variables.
fn header_value(value: &Value<'_>, may_be_empty: bool) -> Option<HeaderValue> {
    let text = value.text()?;
    let shape = if text.len() > VALUE_BYTES_MAX {
        Err(format!("a value has at most {VALUE_BYTES_MAX} bytes"))
    } else if text.trim() != text {
        Err("leave out the blanks at the ends: they are no part of a value".to_owned())
    } else if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\t') {
        Err("use visible ASCII and blanks".to_owned())
    } else if text.is_empty() && !may_be_empty {
        Err("give it a value, or leave it out".to_owned())
    } else {
        parts(text)
    };
    match shape {
        Ok(parts) => Some(HeaderValue(parts)),
        Err(help) => {
            let message = format!("{} is not a header's value", quote(text));
            value.invalid("invalid-header", message, help);
            None
        }
    }
}

/// The parts of a value, or what is wrong with it.
fn parts(text: &str) -> Result<Vec<ValuePart>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        plain.push_str(before);
        if let Some(doubled) = ["{{", "}}"].into_iter().find(|pair| after.starts_with(pair)) {
            plain.extend(doubled.chars().next());
            rest = after.get(doubled.len()..).unwrap_or_default();
            continue;
        }
        let variable = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let Some((name, behind)) = variable else {
            return Err("write `{{` and `}}` for braces that are no variable's".to_owned());
        };
        if !plain.is_empty() {
            parts.push(ValuePart::Text(Name::from(std::mem::take(&mut plain))));
        }
        parts.push(ValuePart::Variable(variable_of(name)?));
        rest = behind;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(ValuePart::Text(Name::from(plain)));
    }
    Ok(parts)
}

fn variable_of(name: &str) -> Result<Variable, String> {
    if let Some(field) = name.strip_prefix("header:") {
        return if is_token(field) {
            Ok(Variable::Header(Name::from(field.to_ascii_lowercase())))
        } else {
            Err(format!("{} is not the name of a header: {TOKEN_HELP}", quote(field)))
        };
    }
    let known = VARIABLES.iter().find(|(known, _)| *known == name);
    known.map(|(_, variable)| variable.clone()).ok_or_else(|| {
        let words = || VARIABLES.iter().map(|(word, _)| *word);
        let all: Vec<String> = words().map(|word| format!("{{{word}}}")).collect();
        let meant = did_you_mean(name, words()).map(|meant| format!("; {meant}"));
        format!(
            "there is no {{{}}}: the variables are {} and {{header:NAME}}{}",
            crate::finding::printable(name, 64),
            all.join(", "),
            meant.unwrap_or_default()
        )
    })
}

/// Whether a server gets a host by this value, whatever a client sends.
fn is_host(value: &HeaderValue) -> bool {
    let mut sample = String::new();
    for part in &value.0 {
        sample.push_str(match part {
            ValuePart::Text(text) => text,
            ValuePart::Variable(Variable::Host) => "host",
            ValuePart::Variable(Variable::Authority) if value.0.len() == 1 => "host",
            ValuePart::Variable(Variable::Route) => "route",
            ValuePart::Variable(_) => return false,
        });
    }
    let (host, port) = match sample.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (sample.as_str(), None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && matches!(port.parse::<u16>(), Ok(1..))
    };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok()
        || bracketed.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    (is_address || host_name(host).is_ok()) && port.is_none_or(is_port)
}
