//! Criteria of ACLs: what each asks, as cells of requests.
//!
//! Of a criterion that routes cannot ask for in full it is kept for which requests it may hold, as
//! far as that is known: a part of a header's value is in no request without the header.

use super::acl::{Asked, Facts, Outcome};
use super::condition::{Cell, Expression};
use super::{hosts, paths};

pub(super) fn methods(names: &[&str]) -> Expression {
    any(names.iter().map(|name| Cell::of_method(name)).collect())
}

pub(super) fn any(cells: Vec<Cell>) -> Expression {
    Expression::AnyOf(cells.into_iter().map(Expression::Is).collect())
}

/// A criterion, cut up.
#[derive(Debug)]
pub(super) struct Criterion<'w> {
    /// The fetch method, such as `path` or `hdr`.
    pub(super) fetch: &'w str,
    /// What stands in its parentheses.
    argument: &'w str,
    /// How it is compared: `str`, `beg`, `end`, `reg`, ...
    pub(super) comparison: &'w str,
    /// Whether letters in upper and lower case are the same.
    pub(super) ignores_case: bool,
    /// What it is compared with.
    pub(super) values: Vec<&'w str>,
    /// Why its values are not known, or not what is compared.
    objection: Option<String>,
}

/// Reads `path_beg -i /a /b`.
pub(super) fn criterion(words: &[&str], facts: Facts) -> Outcome {
    let asked = |expression| Ok(Asked::exactly(expression));
    let criterion = cut(words)?;
    let Criterion { fetch, comparison, values, objection, .. } = &criterion;
    if let Some(header) = criterion.header() {
        return header_criterion(&criterion, header);
    }
    if let Some(reason) = objection {
        return Err(reason.clone());
    }
    match (*fetch, *comparison) {
        ("always_true" | "wait_end" | "req.proto_http" | "req_proto_http", _) => {
            asked(Expression::Constant(true))
        }
        ("always_false", _) => asked(Expression::Constant(false)),
        ("http_auth", _) => match facts.is_known {
            Some(is_known) => asked(Expression::Constant(is_known)),
            None => Err("routes ask for passwords by `http-request auth` alone".to_owned()),
        },
        ("ssl_fc", _) => match facts.is_tls {
            Some(is_tls) => asked(Expression::Constant(is_tls != is_zero(values))),
            None => Err("it is not known whether a request here came over TLS".to_owned()),
        },
        // Without TLS there is nothing to compare.
        (fetch, _)
            if facts.is_tls == Some(false)
                && (fetch.starts_with("ssl_fc_") || fetch.starts_with("ssl_c_")) =>
        {
            asked(Expression::Constant(false))
        }
        ("dst_port", _) => match (facts.port, values.as_slice()) {
            (Some(port), ["eq", text] | [text]) => {
                asked(Expression::Constant(text.parse() == Ok(port)))
            }
            _ => Err("it is not known at which port a request here came in".to_owned()),
        },
        ("path" | "url" | "uri" | "pathq" | "capture.req.uri", _) => paths::path(&criterion),
        ("method", "str") => asked(methods(values)),
        (fetch, _) => Err(format!("routes cannot ask for `{fetch}`")),
    }
}

fn is_zero(values: &[&str]) -> bool {
    matches!(values, ["0"] | ["false"])
}

fn cut<'w>(words: &[&'w str]) -> Result<Criterion<'w>, String> {
    let Some((first, rest)) = words.split_first() else {
        return Err("the criterion is missing".to_owned());
    };
    let name_end = first.find(['(', ',']).unwrap_or(first.len());
    let (name, after) = first.split_at_checked(name_end).unwrap_or((first, ""));
    let (argument, converters) = match after.strip_prefix('(') {
        Some(inner) => inner.split_once(')').ok_or("`(` is never closed")?,
        None => ("", after),
    };
    let (fetch, mut comparison) = split_comparison(name);
    // What is before the port.
    let converters =
        converters.replace("field(1,:)", "host_only").replace("word(1,:)", "host_only");
    let (mut ignores_case, mut objection) = (false, None);
    for converter in converters.split_terminator(',').filter(|name| !name.is_empty()) {
        match converter {
            "lower" => ignores_case = true,
            // The door compares hosts without their port.
            "host_only" => {}
            _ => objection = Some(format!("routes cannot ask for what `{converter}` makes of it")),
        }
    }
    let mut values = rest;
    while let Some((flag, after)) = values.split_first() {
        match *flag {
            "-i" => ignores_case = true,
            "-m" => {
                comparison = after.first().copied().unwrap_or_default();
                values = after.get(1..).unwrap_or_default();
                continue;
            }
            "-n" | "-u" => {}
            "-f" | "-M" => objection = Some("the values stand in a file of their own".to_owned()),
            "--" => {
                values = after;
                break;
            }
            _ => break,
        }
        values = after;
    }
    let values = values.to_vec();
    Ok(Criterion { fetch, argument, comparison, ignores_case, values, objection })
}

/// `path_beg` is `path` compared as `beg`.
fn split_comparison(name: &str) -> (&str, &str) {
    let suffixes = ["beg", "dir", "dom", "end", "len", "reg", "sub"];
    match name.rsplit_once('_') {
        Some((fetch, suffix)) if suffixes.contains(&suffix) => (fetch, suffix),
        _ => (name, "str"),
    }
}

impl<'w> Criterion<'w> {
    /// The header without which it never holds.
    fn header(&self) -> Option<&'w str> {
        let fetch = self.fetch.strip_prefix("req.").unwrap_or(self.fetch);
        match fetch {
            "hdr" | "fhdr" | "hdr_cnt" | "fhdr_cnt" | "hdr_val" | "hdr_ip" => {
                let name = self.argument.split(',').next().unwrap_or_default();
                crate::pool::is_token(name).then_some(name)
            }
            "cook" | "cook_cnt" | "cook_val" => Some("cookie"),
            _ => None,
        }
    }
}

const PARTS_OF_HEADERS: &str = "routes compare whole values of headers, not parts of them: list the \
                                values with `hdr`, or ask only whether the header is there";

fn header_criterion(criterion: &Criterion<'_>, name: &str) -> Outcome {
    let Criterion { comparison, values, fetch, objection, .. } = criterion;
    let perhaps = |reason: String| Asked {
        unknown: Some(reason),
        ..Asked::exactly(Expression::perhaps(Cell::of_header(name, None)))
    };
    let is_header = fetch.ends_with("hdr");
    if is_header && name.eq_ignore_ascii_case("host") {
        return match objection {
            Some(reason) => Err(reason.clone()),
            None => hosts::host(criterion),
        };
    }
    let is_there = || Asked::exactly(Expression::Is(Cell::of_header(name, None)));
    let is_count = fetch.ends_with("hdr_cnt");
    match values.as_slice() {
        _ if is_header && *comparison == "found" => return Ok(is_there()),
        ["gt", "0"] | ["ge", "1"] if is_count => return Ok(is_there()),
        ["eq", "0"] | ["lt", "1"] | ["0"] if is_count => {
            let expression = is_there().expression.negated();
            return Ok(Asked::exactly(expression));
        }
        // No header at all is a number too.
        _ if is_count => return Err("routes do not count headers".to_owned()),
        _ => {}
    }
    if let Some(reason) = objection {
        return Ok(perhaps(reason.clone()));
    }
    if !is_header {
        return Ok(perhaps(format!("routes cannot ask for `{fetch}`")));
    }
    if matches!(*comparison, "beg" | "end" | "sub" | "dom" | "dir" | "reg") {
        return Ok(perhaps(PARTS_OF_HEADERS.to_owned()));
    }
    if *comparison != "str" {
        return Ok(perhaps(format!("routes cannot compare headers as `{comparison}`")));
    }
    let is_value = |value: &&str| {
        value.trim() == *value && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    };
    if !values.iter().all(is_value) {
        return Ok(perhaps("a value of a header is visible ASCII here".to_owned()));
    }
    let expression = any(values.iter().map(|value| Cell::of_header(name, Some(value))).collect());
    let has_letters = |value: &&str| value.bytes().any(|byte| byte.is_ascii_alphabetic());
    if criterion.ignores_case && values.iter().any(has_letters) {
        let otherwise = perhaps("values of headers mind upper and lower case here".to_owned());
        let either = Expression::AnyOf(vec![expression, otherwise.expression.clone()]);
        return Ok(Asked { expression: either, ..otherwise });
    }
    Ok(Asked::exactly(expression))
}
