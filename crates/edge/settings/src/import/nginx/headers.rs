//! Header rules of a location: what its requests and answers get, lose and change.
//!
//! `add_header` and `proxy_set_header` each replace all of their name of the levels around them;
//! without `proxy_set_header Host` nginx names the servers as `proxy_pass` does, so that is written
//! too. What the door does by itself (forwarding headers, `Connection`, framing) is no rule.

use std::collections::BTreeSet;

use super::forward::mark_sets;
use super::level::Level;
use super::site::{Keys, Site};
use super::tree::Node;
use super::units::milliseconds;
use super::value::{Known, value};
use crate::import::Place;
use crate::import::fields::{Fields, Side, is_host, plain};

/// Said once of `add_header` and `expires` without `always`.
const STATUSES: &str = "nginx adds this to answers with status 200, 201, 204, 206, 301 to 304, 307 \
                        and 308; the door to all from 200 to 399";

/// Said where rules for all answers and for good ones meet in one route.
const MIXED: &str = "nginx adds this to good answers alone, and others here to all; a route of the \
                     door has one rule for both: it adds it to all";

/// What is done to the headers of answers. `module` is `proxy` or `grpc` where requests are passed
/// on.
pub(super) fn response(
    known: Known<'_, '_>,
    module: Option<&str>,
    (keys, site): (&mut Keys, &mut Site),
) {
    let level = known.level;
    let mut rules = Responses { fields: Fields::of(Side::Response), always: false, good: None };
    if let Some(module) = module {
        hidden(level, module, &mut rules, site);
    }
    for node in level.piled(&["more_set_headers", "more_clear_headers"]) {
        let result = more(node, known, &mut rules.fields);
        rules.always |= result.is_ok();
        site.settle(node, result);
    }
    if let Some(node) = level.one("expires") {
        let result = expires(node, &mut rules);
        site.settle(node, result);
    }
    for node in level.all("add_header") {
        let result = value(node.arg(1), known).and_then(|value| added(node, &value, &mut rules));
        if result.is_ok() {
            mark_sets(node.arg(1), level, site);
        }
        site.settle(node, result);
    }
    let Responses { fields, always, good } = rules;
    if let Some(place) = &good {
        site.inexact_once(place, if always { MIXED } else { STATUSES });
    }
    let place = fields.place().cloned();
    if let (Some(table), Some(place)) = (fields.value(!always && good.is_some()), place) {
        keys.push(("response_headers", table, place));
    }
}

/// Rules for answers in the making.
struct Responses {
    fields: Fields,
    /// Whether one of them is for all answers.
    always: bool,
    /// Where one stands that is for good answers alone.
    good: Option<Place>,
}

impl Responses {
    fn good(&mut self, place: &Place) {
        self.good.get_or_insert_with(|| place.clone());
    }
}

fn hidden(level: &Level<'_>, module: &str, rules: &mut Responses, site: &mut Site) {
    for node in level.all(&format!("{module}_hide_header")) {
        let result = rules.fields.remove(node.arg(0), &node.place);
        rules.always |= result.is_ok();
        site.settle(node, result);
    }
    for node in level.all(&format!("{module}_pass_header")) {
        site.mapped(node);
    }
}

/// `more_set_headers "NAME: VALUE"...`, and its kin, which nginx carries out for any status.
fn more(node: &Node, known: Known<'_, '_>, fields: &mut Fields) -> Result<(), String> {
    let clears = node.name.contains("_clear_");
    let mut all = Vec::new();
    for text in node.texts() {
        if text.starts_with('-') {
            return Err("the door changes headers whatever status or type there is".to_owned());
        }
        let (name, text) = text.split_once(':').unwrap_or((text, ""));
        if name.contains('*') {
            return Err("the door removes headers by their whole names".to_owned());
        }
        let text = if clears { "" } else { text.trim() };
        all.push((name.trim(), text, value(text, known)?));
    }
    for (name, text, value) in all {
        if text.is_empty() {
            fields.remove(name, &node.place)?;
        } else {
            fields.set(name, &value, &node.place)?;
        }
    }
    Ok(())
}

/// What is done to headers before nginx looks at them; what it sets afterwards replaces that.
fn before(known: Known<'_, '_>, set: &[&Node], fields: &mut Fields, site: &mut Site) {
    for node in known.level.piled(&["more_set_input_headers", "more_clear_input_headers"]) {
        let names = node.texts().map(|text| text.split(':').next().unwrap_or(text).trim());
        let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
        let is_used = |node: &&Node| {
            let asked =
                |name: &String| node.arg(1).contains(&format!("$http_{}", name.replace('-', "_")));
            names.iter().any(|name| node.arg(0).eq_ignore_ascii_case(name))
                || names.iter().any(asked)
        };
        let result = if set.iter().any(is_used) {
            Err("another directive sets this header, or one from it".to_owned())
        } else {
            more(node, known, fields)
        };
        site.settle(node, result);
    }
}

/// `add_header NAME VALUE [always]`.
fn added(node: &Node, value: &str, rules: &mut Responses) -> Result<(), String> {
    let (name, fields) = (node.arg(0), &mut rules.fields);
    // nginx has one of each of these.
    if ["etag", "last-modified"].contains(&name.to_ascii_lowercase().as_str()) {
        if value.is_empty() {
            fields.remove(name, &node.place)?;
        } else {
            fields.set(name, value, &node.place)?;
        }
    } else {
        fields.add(name, value, &node.place)?;
    }
    if node.arg(2) == "always" {
        rules.always = true;
    } else {
        rules.good(&node.place);
    }
    Ok(())
}

/// `expires`: how long an answer may be kept, which is `Cache-Control` here.
fn expires(node: &Node, rules: &mut Responses) -> Result<(), String> {
    let text = node.arg(0);
    let value = match text {
        "off" => return Ok(()),
        "epoch" => "no-cache".to_owned(),
        "max" => "max-age=315360000".to_owned(),
        "modified" => return Err("the door knows no times of files".to_owned()),
        _ if text.starts_with('@') => {
            return Err("the door writes no times of day: `cache-control` has seconds".to_owned());
        }
        _ if text.starts_with('-') => "no-cache".to_owned(),
        _ => {
            let time = milliseconds(text).ok_or("the door takes a fixed time here")?;
            format!("max-age={}", time / 1_000)
        }
    };
    rules.fields.remove("expires", &node.place)?;
    rules.fields.set("cache-control", &value, &node.place)?;
    rules.good(&node.place);
    Ok(())
}

/// What is done to the headers of requests that are passed on. `copied` are names of headers that
/// whoever lets the request in has written already; `pass` is where it is passed on. Gives what a
/// reader should know.
pub(super) fn request(
    known: Known<'_, '_>,
    (module, pass): (&str, &Place),
    copied: &BTreeSet<String>,
    (keys, site): (&mut Keys, &mut Site),
) -> Option<String> {
    let (level, mut fields) = (known.level, Fields::of(Side::Request));
    let mut note = None;
    let nodes = level.all(&format!("{module}_set_header"));
    before(known, nodes, &mut fields, site);
    for node in nodes {
        if copied.contains(&node.arg(0).to_ascii_lowercase()) {
            continue;
        }
        match set(node, known, &mut fields) {
            Ok(Told::Rule) => {
                mark_sets(node.arg(1), level, site);
                site.settle(node, Ok(()));
            }
            Ok(Told::ByItself(difference)) => {
                site.settle(node, Ok(()));
                if let Some(difference) = difference.filter(|_| !trusts(level)) {
                    site.inexact_once(&node.place, difference);
                }
            }
            Err(reason) => site.settle(node, Err(reason)),
        }
    }
    let names_host = nodes.iter().any(|node| node.arg(0).eq_ignore_ascii_case("host"));
    if let Some(host) = known.proxy_host.filter(|_| !names_host)
        && fields.set("host", &plain(host), pass).is_err()
    {
        note = Some(format!(
            "nginx sends `Host: {host}` to these servers; the door sends the client's own"
        ));
    }
    let place = fields.place().cloned();
    if let (Some(table), Some(place)) = (fields.value(false), place) {
        keys.push(("request_headers", table, place));
    }
    note
}

/// Whether some network may say who the client is.
fn trusts(level: &Level<'_>) -> bool {
    !level.all("set_real_ip_from").is_empty()
}

/// What became of a `proxy_set_header`.
enum Told {
    /// It is a rule.
    Rule,
    /// The door does it by itself, perhaps a little differently.
    ByItself(Option<&'static str>),
}

const FORWARDED: &str = "the door writes the forwarding headers by itself, and believes those that \
                         come with a request only from `trusted_proxies`: name there what stands in \
                         front of it";

/// `proxy_set_header NAME VALUE`.
fn set(node: &Node, known: Known<'_, '_>, fields: &mut Fields) -> Result<Told, String> {
    let (name, text) = (node.arg(0).to_ascii_lowercase(), node.arg(1));
    let own = match (name.as_str(), text) {
        ("host", "$host" | "$http_host" | "$host:$server_port" | "$http_host:$server_port") => {
            Some(None)
        }
        ("connection" | "upgrade" | "te" | "keep-alive" | "x-request-id", _) => Some(None),
        // nginx itself leaves these to its framing.
        ("content-length" | "transfer-encoding" | "proxy-connection" | "trailer", "") => Some(None),
        ("x-forwarded-for", "$remote_addr" | "$proxy_add_x_forwarded_for")
        | ("x-forwarded-proto", "$scheme")
        | ("x-forwarded-host", "$host" | "$http_host" | "$host:$server_port") => Some(None),
        ("x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host", text)
            if text.starts_with("$http_x_forwarded_") =>
        {
            Some(Some(FORWARDED))
        }
        _ => None,
    };
    if let Some(difference) = own {
        return Ok(Told::ByItself(difference));
    }
    let value = match value(text, known) {
        Ok(value) => value,
        // A `map` that takes what came, or else what the door writes as well.
        Err(_)
            if ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].contains(&&*name) =>
        {
            return Ok(Told::ByItself(Some(FORWARDED)));
        }
        Err(reason) => return Err(reason),
    };
    if name == "host" && !is_host(&value) {
        return Err("the door sends the client's own host, or one that is written here".to_owned());
    }
    if value.is_empty() {
        fields.remove(&name, &node.place)?;
    } else if fields.has(&name) {
        fields.add(&name, &value, &node.place)?;
    } else {
        fields.set(&name, &value, &node.place)?;
    }
    Ok(Told::Rule)
}
