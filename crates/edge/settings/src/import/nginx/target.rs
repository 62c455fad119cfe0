//! Where a `proxy_pass` points.

use crate::finding::quote;

/// The parts of `http://host:port/uri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) is_tls: bool,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    /// What follows the host, if anything does.
    pub(super) uri: Option<&'a str>,
}

impl Target<'_> {
    /// The port, given or by the scheme.
    pub(super) fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(if self.is_tls { 443 } else { 80 })
    }

    /// What nginx calls the servers, `$proxy_host`: without a port that is the scheme's own.
    pub(super) fn name(&self) -> String {
        let own = if self.is_tls { 443 } else { 80 };
        match self.port.filter(|port| *port != own) {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_owned(),
        }
    }
}

/// Reads the address of a `proxy_pass`, or of a `grpc_pass`, which may be without a scheme and has
/// no path; or says why the door cannot go there.
pub(super) fn target(text: &str, is_grpc: bool) -> Result<Target<'_>, String> {
    let (plain, secured) = if is_grpc { ("grpc://", "grpcs://") } else { ("http://", "https://") };
    let (is_tls, rest) = match (text.strip_prefix(plain), text.strip_prefix(secured)) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) if is_grpc && !text.contains("://") => (false, text),
        (None, None) => {
            return Err(format!("{} is no address with {plain} or {secured}", quote(text)));
        }
    };
    if rest.starts_with("unix:") {
        return Err("the door reaches servers by TCP, not by Unix sockets".to_owned());
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, uri) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if is_grpc && !uri.is_empty() {
        return Err("nginx itself refuses it: calls are passed on with their path".to_owned());
    }
    let (host, port) = host_and_port(authority)?;
    if host.is_empty() {
        return Err(format!("{} names no host", quote(text)));
    }
    Ok(Target { is_tls, host, port, uri: (!uri.is_empty()).then_some(uri) })
}

/// Splits `host`, `host:port`, `[::1]:port`.
pub(super) fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let colon = match text.rfind(']') {
        Some(bracket) => text.get(bracket..).and_then(|rest| rest.find(':')).map(|at| bracket + at),
        None => text.rfind(':'),
    };
    let Some((host, port)) = colon.and_then(|at| text.split_at_checked(at)) else {
        return Ok((text, None));
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    port.map(|port| (host, Some(port))).ok_or_else(|| format!("{} has no valid port", quote(text)))
}

/// Variables in a text: `$name` or `${name}`.
pub(super) fn variables(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in text.split('$').skip(1) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = match part.strip_prefix('{') {
            Some(braced) => braced.split('}').next().unwrap_or(""),
            None => part.split(|c: char| !is_name(c)).next().unwrap_or(""),
        };
        found.push(name);
    }
    found
}

/// A text whose variables are replaced by what `variable` says of each, and whose other parts by
/// what `plain` makes of them.
pub(super) fn expanded(
    text: &str,
    plain: impl Fn(&str) -> String,
    mut variable: impl FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut parts = text.split('$');
    let mut out = plain(parts.next().unwrap_or_default());
    for part in parts {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, rest) = match part.strip_prefix('{') {
            Some(braced) => braced.split_once('}').unwrap_or((braced, "")),
            None => {
                let end = part.find(|c| !is_name(c)).unwrap_or(part.len());
                part.split_at_checked(end).unwrap_or((part, ""))
            }
        };
        out.push_str(&variable(name)?);
        out.push_str(&plain(rest));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, host, port, uri) in [
            ("http://a", "a", None, None),
            ("http://a:81/b?c", "a", Some(81), Some("/b?c")),
            ("https://[::1]:443/", "[::1]", Some(443), Some("/")),
            ("http://[::1]", "[::1]", None, None),
        ] {
            let target = target(text, false).unwrap();
            assert_eq!((target.host, target.port, target.uri), (host, port, uri), "{text}");
        }
        for text in ["a", "http://", "http://a:x", "http://unix:/a.sock", "http://a:0"] {
            assert!(target(text, false).is_err(), "{text}");
        }
        let calls = |text| target(text, true).map(|target| (target.is_tls, target.host));
        assert_eq!(calls("grpcs://a:1"), Ok((true, "a")));
        assert_eq!(calls("a:1"), Ok((false, "a")));
        assert!(calls("grpc://a/b").is_err() && calls("http://a").is_err());
        assert_eq!(variables("a${b}c$d-$e"), ["b", "d", "e"]);
    }
}
