//! Values of header fields: HAProxy's formats and samples as this door's variables.

use super::super::fields::plain;
use super::acl::Facts;
use crate::finding::quote;

/// Said where a header is read that may have several values.
pub(super) const OF_SEVERAL: &str = "of a header with several values HAProxy takes the last one, \
                                     the door the first field whole";

/// Samples in brackets that say the same as one of the door's variables.
const SAMPLES: [(&str, &str); 17] = [
    ("src", "{client_address}"),
    ("ssl_fc,iif(https,http)", "{scheme}"),
    ("method", "{method}"),
    ("path", "{path}"),
    ("url", "{target}"),
    ("pathq", "{target}"),
    ("capture.req.uri", "{target}"),
    ("capture.req.method", "{method}"),
    ("unique-id", "{request_id}"),
    ("uuid", "{request_id}"),
    ("uuid()", "{request_id}"),
    ("uuid(4)", "{request_id}"),
    ("hdr(host)", "{authority}"),
    ("req.hdr(host)", "{authority}"),
    ("hdr(host),host_only", "{host}"),
    ("req.hdr(host),host_only", "{host}"),
    ("req.hdr(host),field(1,:)", "{host}"),
];

/// Aliases that say the same as one of the door's variables.
const ALIASES: [(&str, &str); 6] = [
    ("ci", "{client_address}"),
    ("HM", "{method}"),
    ("HU", "{target}"),
    ("HPO", "{path}"),
    ("HP", "{path}"),
    ("ID", "{request_id}"),
];

/// A format as a value of this door, and how the two differ; or why it is none.
pub(super) fn value(text: &str, facts: Facts) -> Result<(String, Option<&'static str>), String> {
    let mut out = String::new();
    let mut difference = None;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(&plain(before));
        if let Some(behind) = after.strip_prefix('%') {
            out.push('%');
            rest = behind;
        } else if let Some(inner) = after.strip_prefix('[') {
            let (sample, behind) = inner.split_once(']').ok_or("`%[` is never closed")?;
            let (variable, is_header) = sampled(sample, facts)?;
            difference = difference.or(is_header.then_some(OF_SEVERAL));
            out.push_str(&variable);
            rest = behind;
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (alias, behind) = after.split_at_checked(end).unwrap_or((after, ""));
            let known = ALIASES.iter().find(|(name, _)| *name == alias);
            let (_, variable) = known.ok_or_else(|| {
                format!("the door has no variable like {}", quote(&format!("%{alias}")))
            })?;
            out.push_str(variable);
            rest = behind;
        }
    }
    out.push_str(&plain(rest));
    Ok((out, difference))
}

/// The variable of a sample, and whether it is a header.
fn sampled(sample: &str, facts: Facts) -> Result<(String, bool), String> {
    let lower = sample.to_ascii_lowercase();
    if let Some((_, variable)) = SAMPLES.iter().find(|(known, _)| *known == lower) {
        return Ok(((*variable).to_owned(), false));
    }
    if let Some(text) = sample.strip_prefix("str(").and_then(|rest| rest.strip_suffix(')')) {
        return Ok((plain(text.trim_matches(['\'', '"'])), false));
    }
    if let (true, Some(port)) = (lower == "dst_port", facts.port) {
        return Ok((port.to_string(), false));
    }
    let fetches = ["hdr(", "req.hdr(", "req.fhdr("];
    let header = fetches.iter().find_map(|fetch| lower.strip_prefix(fetch));
    if let Some(name) = header.and_then(|name| name.strip_suffix(')'))
        && crate::pool::is_token(name)
    {
        return Ok((format!("{{header:{name}}}"), !lower.starts_with("req.fhdr")));
    }
    Err(match lower.as_str() {
        _ if lower.starts_with("ssl_c_") => {
            "the door tells servers a client's certificate in `Client-Cert` (RFC 9440)".to_owned()
        }
        _ if lower.starts_with("var(") => "the door has no variables to set".to_owned(),
        _ if lower.starts_with("res.") => {
            "a value of the door says what the request says, not the answer".to_owned()
        }
        _ => format!("the door has no variable like {}", quote(&format!("%[{sample}]"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_the_doors_variables() {
        let facts = Facts { is_tls: None, port: Some(8080), is_known: None };
        for (text, expected) in [
            ("max-age=1; a{b}", Some("max-age=1; a{{b}}")),
            ("%[src]:%[dst_port]", Some("{client_address}:8080")),
            ("100%% %ci", Some("100% {client_address}")),
            ("%[req.hdr(X-Org)]", Some("{header:x-org}")),
            ("%[str(a)]%[ssl_fc,iif(https,http)]", Some("a{scheme}")),
            ("%[hdr(host),lower]", None),
            ("%[rand]", None),
            ("%[src", None),
            ("%{+Q}o", None),
            ("%T", None),
        ] {
            let value = value(text, facts).ok().map(|(value, _)| value);
            assert_eq!(value.as_deref(), expected, "{text}");
        }
    }
}
