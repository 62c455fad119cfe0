//! Reads `cors` of a route: the scripts of which other sites may use it.
//!
//! Invariant: the door never tells a browser to let any site in with the user's cookies.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use model::Name;
use model::configuration::{Cors, Origins};

use super::headers;
use crate::finding::quote;
use crate::reader::{Table, Value};
use crate::server::host_name;

/// Sites, at most.
const ORIGINS_MAX: usize = 256;

/// Browsers remember nothing for longer.
const MAX_AGE_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

/// What any site may do without asking first, as forms can do it too.
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

/// Reads `cors`.
pub(super) fn cors(value: &Value<'_>) -> Option<Cors> {
    let mut table = value.table("a table with `origins`")?;
    let origins = table.required("origins", "origins = [\"https://app.example.com\"]");
    let origins = origins.and_then(|value| origins_of(&value));
    let methods = table.get("methods").map(|value| super::methods(&value));
    let fields = table.get("headers").map_or(Some(Vec::new()), |value| fields(&value));
    let expose = table.get("expose").map_or_else(Vec::new, |value| names(&value));
    let credentials = credentials(&mut table, origins.as_ref());
    let max_age = table.duration("max_age", Duration::from_secs(600), MAX_AGE_RANGE);
    table.finish();
    Some(Cors {
        origins: origins?,
        methods: methods.unwrap_or_else(|| METHODS.iter().map(|text| Name::from(*text)).collect()),
        headers: fields,
        expose,
        credentials,
        max_age,
    })
}

fn credentials(table: &mut Table<'_>, origins: Option<&Origins>) -> bool {
    let Some(value) = table.get("credentials") else { return false };
    let credentials = value.boolean().unwrap_or(false);
    if credentials && origins == Some(&Origins::Any) {
        let message = "cookies are not for scripts of any site".to_owned();
        let help = "list the sites in `origins`: browsers refuse `*` with credentials, since any \
                    page could then act as the user";
        value.invalid("conflicting-keys", message, help);
    }
    credentials
}

fn names(value: &Value<'_>) -> Vec<Name> {
    headers::names(value).into_iter().map(|(_, name)| name).collect()
}

/// `None` stands for any.
fn fields(value: &Value<'_>) -> Option<Vec<Name>> {
    match value.as_text() {
        Some("*") => None,
        Some(text) => {
            let message = format!("{} is not an array", quote(text));
            let help = "write the names of header fields in an array, or \"*\" for any";
            value.invalid("wrong-type", message, help);
            Some(Vec::new())
        }
        None => Some(names(value)),
    }
}

fn origins_of(value: &Value<'_>) -> Option<Origins> {
    if value.as_text() == Some("*") {
        return Some(Origins::Any);
    }
    let listed = super::list(value, "\"*\" or an array of sites");
    if listed.len() > ORIGINS_MAX {
        let message = format!("more than {ORIGINS_MAX} sites");
        value.invalid("too-many", message, "use a wildcard such as \"https://*.example.com\"");
    }
    let mut origins: Vec<Name> = Vec::new();
    for element in listed {
        let Some(text) = element.text() else { continue };
        match origin(text) {
            Ok(origin) if origins.contains(&origin) => {}
            Ok(origin) => origins.push(origin),
            Err(help) => {
                let message = format!("{} is not a site", quote(text));
                element.invalid("invalid-origin", message, help);
            }
        }
    }
    Some(Origins::Listed(origins))
}

/// A site as browsers name it (RFC 6454, section 6.2), or what is wrong with it.
fn origin(text: &str) -> Result<Name, &'static str> {
    let lower = text.to_ascii_lowercase();
    if lower == "*" {
        return Err("write `origins = \"*\"` for any site");
    }
    if lower == "null" {
        return Err("`null` is what any page in a sandbox is called: name the site itself");
    }
    let Some((scheme, rest)) = lower.split_once("://") else {
        return Err("begin it with the scheme, as in \"https://app.example.com\"");
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return Err("the scheme is `https` or `http`, or that of an app");
    }
    if rest.contains(['/', '?', '#', '@']) {
        return Err("a site is a scheme, a host and a port: leave out the rest");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    match (scheme, port) {
        ("https", Some("443")) | ("http", Some("80")) => {
            return Err("browsers leave out the port that is the scheme's own: leave it out too");
        }
        (_, Some(port)) => {
            let number = port.parse::<u16>().map_or(0, |number| number);
            if number == 0 || number.to_string() != port {
                return Err("a port is a number from 1 to 65535");
            }
        }
        (_, None) => {}
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = bracketed.and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        return Ok(Name::from(format!("{scheme}://[{address}]{port}")));
    }
    let named = host.strip_prefix("*.").unwrap_or(host);
    if named.contains('*') {
        return Err("a wildcard is the whole first label, as in \"https://*.example.com\"");
    }
    if host.parse::<Ipv4Addr>().is_err() {
        host_name(named)?;
    }
    Ok(Name::from(lower))
}
