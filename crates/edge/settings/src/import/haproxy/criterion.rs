//! Criteria of ACLs: what each asks, as cells of requests.

use super::acl::{Asked, Facts, Outcome};
use super::condition::{Cell, Expression, Host, Path};
use super::regex;

pub(super) fn methods(names: &[&str]) -> Expression {
    any(names.iter().map(|name| Cell::of_method(name)).collect())
}

fn any(cells: Vec<Cell>) -> Expression {
    Expression::AnyOf(cells.into_iter().map(Expression::Is).collect())
}

/// A criterion, cut up.
#[derive(Debug)]
struct Criterion<'w> {
    /// The fetch method, such as `path` or `hdr`.
    fetch: &'w str,
    /// What stands in its parentheses.
    argument: &'w str,
    /// How it is compared: `str`, `beg`, `end`, `reg`, ...
    comparison: &'w str,
    /// Whether letters in upper and lower case are the same.
    ignores_case: bool,
    /// What it is compared with.
    values: Vec<&'w str>,
}

/// Reads `path_beg -i /a /b`.
pub(super) fn criterion(words: &[&str], facts: Facts) -> Outcome {
    let asked = |expression| Ok(Asked { expression, difference: None });
    let criterion = cut(words)?;
    let Criterion { fetch, comparison, values, .. } = &criterion;
    match (*fetch, *comparison) {
        ("always_true", _) => asked(Expression::Constant(true)),
        ("always_false", _) => asked(Expression::Constant(false)),
        ("http_auth", _) => match facts.is_known {
            Some(is_known) => asked(Expression::Constant(is_known)),
            None => Err("routes ask for passwords by `http-request auth` alone".to_owned()),
        },
        ("ssl_fc", _) => match facts.is_tls {
            Some(is_tls) => asked(Expression::Constant(is_tls != is_zero(values))),
            None => Err("it is not known whether a request here came over TLS".to_owned()),
        },
        ("dst_port", _) => match (facts.port, values.as_slice()) {
            (Some(port), ["eq", text] | [text]) => {
                asked(Expression::Constant(text.parse() == Ok(port)))
            }
            _ => Err("it is not known at which port a request here came in".to_owned()),
        },
        ("path" | "url" | "capture.req.uri", _) => path(&criterion),
        ("hdr" | "req.hdr" | "req.fhdr", _) if criterion.argument.eq_ignore_ascii_case("host") => {
            host(&criterion)
        }
        ("hdr" | "req.hdr" | "req.fhdr" | "req.hdr_cnt" | "hdr_cnt", _) => header(&criterion),
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
    let mut ignores_case = false;
    for converter in converters.split_terminator(',').filter(|name| !name.is_empty()) {
        match converter {
            "lower" => ignores_case = true,
            // The door compares hosts without their port.
            "host_only" => {}
            _ => return Err(format!("routes cannot ask for what `{converter}` makes of it")),
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
            "-f" | "-M" => return Err("the values stand in a file of their own".to_owned()),
            "--" => {
                values = after;
                break;
            }
            _ => break,
        }
        values = after;
    }
    let criterion =
        Criterion { fetch, argument, comparison, ignores_case, values: values.to_vec() };
    Ok(criterion)
}

/// `path_beg` is `path` compared as `beg`.
fn split_comparison(name: &str) -> (&str, &str) {
    let suffixes = ["beg", "dir", "dom", "end", "len", "reg", "sub"];
    match name.rsplit_once('_') {
        Some((fetch, suffix)) if suffixes.contains(&suffix) => (fetch, suffix),
        _ => (name, "str"),
    }
}

const ENDS_AT_SEGMENT: &str = "a prefix ends at a segment here: `/api` is not one of `/apix`";
const MINDS_CASE: &str = "paths mind upper and lower case here";
const PARTS_OF_PATHS: &str = "routes compare whole paths and prefixes, not how a path ends or what \
                              is within it: list the paths, or let the server decide";
const PARTS_OF_HOSTS: &str = "routes compare whole hosts and their endings, not how a host begins or \
                              what is within it: list the hosts with `hdr(host)`";
const PARTS_OF_HEADERS: &str = "routes compare whole values of headers, not parts of them: list the \
                                values with `hdr`, or ask only whether the header is there";
const ONE_LABEL: &str = "a wildcard stands for exactly one label here";

fn path(criterion: &Criterion<'_>) -> Outcome {
    let mut difference = criterion.ignores_case.then_some(MINDS_CASE);
    let mut cells = Vec::new();
    for value in &criterion.values {
        match (criterion.comparison, criterion.fetch) {
            ("str", "path") => cells.push(Cell::of_path(Path::Exact(plain(value)?))),
            ("beg", _) if *value == "/" => return Ok(always()),
            ("beg", _) => {
                let is_segment = value.ends_with('/');
                cells.extend(prefix(value, !is_segment)?);
                difference = difference.or((!is_segment).then_some(ENDS_AT_SEGMENT));
            }
            ("reg", "path") => {
                let simple = regex::simple(value).ok_or("routes have no regular expressions")?;
                match simple.end {
                    regex::End::Exact => {
                        cells.push(Cell::of_path(Path::Exact(plain(&simple.literal)?)));
                    }
                    regex::End::Segment => cells.extend(prefix(&simple.literal, true)?),
                    regex::End::Open if simple.literal == "/" => return Ok(always()),
                    regex::End::Open => {
                        let is_segment = simple.literal.ends_with('/');
                        cells.extend(prefix(&simple.literal, !is_segment)?);
                        difference = difference.or((!is_segment).then_some(ENDS_AT_SEGMENT));
                    }
                }
            }
            ("end" | "sub", _) => return Err(PARTS_OF_PATHS.to_owned()),
            (comparison, fetch) => {
                return Err(format!("routes cannot compare `{fetch}` as `{comparison}`"));
            }
        }
    }
    Ok(Asked { expression: any(cells), difference })
}

fn always() -> Asked {
    Asked { expression: Expression::Constant(true), difference: None }
}

/// What is below a prefix, and perhaps the bare prefix itself.
fn prefix(value: &str, with_bare: bool) -> Result<Vec<Cell>, String> {
    // `/user-` is meant to go on within the segment.
    let last = value.chars().next_back();
    if last.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '/') {
        return Err(format!("`{value}` ends within a segment, and a prefix ends at one here"));
    }
    let path = plain(value.trim_end_matches('/'))?;
    let bare = with_bare.then(|| Cell::of_path(Path::Exact(path.clone())));
    Ok(std::iter::once(Cell::of_path(Path::Below(path))).chain(bare).collect())
}

/// A path as a canonical request has it.
fn plain(value: &str) -> Result<String, String> {
    let is_path_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    let is_plain = value.starts_with('/')
        && value.bytes().all(is_path_byte)
        && !value.contains("//")
        && !value.split('/').any(|segment| segment == "." || segment == "..");
    if is_plain {
        Ok(value.to_owned())
    } else {
        Err(format!("`{value}` is no path that a request has here"))
    }
}

fn host(criterion: &Criterion<'_>) -> Outcome {
    let mut cells = Vec::new();
    let mut difference = None;
    for value in &criterion.values {
        let simple = regex::simple(value);
        match (criterion.comparison, simple) {
            ("str", _) => cells.push(Cell::of_host(exact(value)?)),
            ("reg", Some(simple)) if simple.end == regex::End::Exact => {
                cells.push(Cell::of_host(exact(&simple.literal)?));
            }
            ("end", _) => {
                difference = Some(ONE_LABEL);
                let name = exact(value.trim_start_matches('.'))?;
                let Host::Exact(text) = &name else { continue };
                cells.push(Cell::of_host(Host::Wildcard(format!(".{text}"))));
                if !value.starts_with('.') {
                    cells.push(Cell::of_host(name));
                }
            }
            ("dom", _) => {
                difference = Some(ONE_LABEL);
                let name = exact(value.trim_matches('.'))?;
                let Host::Exact(text) = &name else { continue };
                if !text.contains('.') {
                    return Err(format!("`{value}` may stand anywhere in the host"));
                }
                cells.push(Cell::of_host(Host::Wildcard(format!(".{text}"))));
                cells.push(Cell::of_host(name));
            }
            // Nothing but a port follows the colon.
            ("beg", _) if value.contains(':') => {
                cells.push(Cell::of_host(exact(value)?));
            }
            ("beg" | "sub", _) => return Err(PARTS_OF_HOSTS.to_owned()),
            ("found", _) => return Ok(always()),
            (comparison, _) => {
                return Err(format!("routes cannot compare the host as `{comparison}`"));
            }
        }
    }
    if criterion.comparison == "found" {
        return Ok(always());
    }
    Ok(Asked { expression: any(cells), difference })
}

/// A host without its port, in lower case.
fn exact(value: &str) -> Result<Host, String> {
    let lower = value.to_ascii_lowercase();
    let name = match lower.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.contains(':') => {
            name
        }
        _ => lower.as_str(),
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
    let is_number =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || !name.split('.').all(label) || (is_number && !is_address) {
        return Err(format!("`{value}` is not a host"));
    }
    Ok(Host::Exact(name.to_owned()))
}

fn header(criterion: &Criterion<'_>) -> Outcome {
    let Criterion { argument, comparison, values, fetch, .. } = criterion;
    let name = argument.split(',').next().unwrap_or_default();
    if !crate::pool::is_token(name) {
        return Err("the header is not named".to_owned());
    }
    let counts = fetch.ends_with("_cnt");
    let is_presence = *comparison == "found"
        || (counts && matches!(values.as_slice(), ["gt", "0"] | ["ge", "1"]));
    if is_presence {
        let expression = Expression::Is(Cell::of_header(name, None));
        return Ok(Asked { expression, difference: None });
    }
    if matches!(*comparison, "beg" | "end" | "sub") {
        return Err(PARTS_OF_HEADERS.to_owned());
    }
    if counts || *comparison != "str" {
        return Err(format!("routes cannot compare headers as `{comparison}`"));
    }
    let has_letters = |value: &&str| value.bytes().any(|byte| byte.is_ascii_alphabetic());
    if criterion.ignores_case && values.iter().any(has_letters) {
        return Err("values of headers mind upper and lower case here".to_owned());
    }
    let is_value = |value: &&str| {
        value.trim() == *value && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    };
    if !values.iter().all(is_value) {
        return Err("a value of a header is visible ASCII here".to_owned());
    }
    let cells = values.iter().map(|value| Cell::of_header(name, Some(value))).collect();
    Ok(Asked { expression: any(cells), difference: None })
}
