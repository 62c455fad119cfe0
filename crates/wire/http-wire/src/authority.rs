//! Reads `host[:port]`, from `Host` or from an absolute target.
//!
//! Stricter than RFC 3986: no user information, no percent-encoding, no zone, no empty port. What
//! is left is what DNS names and addresses look like, so two servers cannot read it differently.

use std::net::Ipv6Addr;

use model::Reason;

use crate::Span;
use crate::bytes::strict_decimal;

/// The longest host name, as in DNS.
const HOST_BYTES_MAX: usize = 253;

/// A valid `host[:port]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority {
    /// As written.
    pub(crate) whole: Span,
    /// Without the port and without one trailing dot; IPv6 addresses keep their brackets.
    pub(crate) host: Span,
    pub(crate) port: Option<u16>,
}

impl Authority {
    /// Reads the authority at `span`.
    pub(crate) fn parse(head: &[u8], span: Span) -> Result<Self, Reason> {
        let text = span.of(head);
        let (host, port) = if text.first() == Some(&b'[') {
            let end = text.iter().position(|&byte| byte == b']').ok_or(Reason::BadHost)?;
            text.split_at_checked(end + 1).ok_or(Reason::BadHost)?
        } else {
            let end = memchr::memchr(b':', text).unwrap_or(text.len());
            text.split_at_checked(end).ok_or(Reason::BadHost)?
        };
        let port = match port {
            [] => None,
            [b':', digits @ ..] => Some(parse_port(digits).ok_or(Reason::BadHost)?),
            _ => return Err(Reason::BadHost),
        };
        // `a.` and `a` are the same name: a dot must not choose another route.
        let host = host.strip_suffix(b".").unwrap_or(host);
        if !is_host(host) {
            return Err(Reason::BadHost);
        }
        Ok(Self { whole: span, host: Span::locate(host, head), port })
    }

    /// True when both name the same place; a missing port is `port_default`.
    pub(crate) fn agrees_with(&self, other: &Self, head: &[u8], port_default: u16) -> bool {
        self.host.of(head).eq_ignore_ascii_case(other.host.of(head))
            && self.port.unwrap_or(port_default) == other.port.unwrap_or(port_default)
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    strict_decimal(digits).and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0)
}

/// A host name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        return std::str::from_utf8(address)
            .is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    if host.is_empty() || host.len() > HOST_BYTES_MAX {
        return false;
    }
    // Underscores are not in host names, but are in names that people serve.
    let mut previous = b'.';
    for &byte in host {
        let empty_label = byte == b'.' && previous == b'.';
        if empty_label || !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')) {
            return false;
        }
        previous = byte;
    }
    previous != b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_strict() {
        fn check(text: &str, expected: Option<(&str, Option<u16>)>) {
            let parsed = Authority::parse(text.as_bytes(), Span::between(0, text.len())).ok();
            let parsed = parsed.map(|found| {
                (std::str::from_utf8(found.host.of(text.as_bytes())).unwrap(), found.port)
            });
            assert_eq!(parsed, expected, "{text:?}");
        }
        check("example.com", Some(("example.com", None)));
        check("example.com.", Some(("example.com", None)));
        check("Example.COM:8080", Some(("Example.COM", Some(8080))));
        check("under_score.example", Some(("under_score.example", None)));
        check("127.0.0.1:80", Some(("127.0.0.1", Some(80))));
        check("[::1]", Some(("[::1]", None)));
        check("[::1]:443", Some(("[::1]", Some(443))));
        for refused in [
            "",
            ".",
            "a..b",
            ".a",
            "a..",
            "a:",
            "a:0",
            "a:65536",
            "a:080",
            "a:8 0",
            "a:b",
            "a b",
            "user@a",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%2eb",
            "a,b",
            "[::1",
            "::1",
            "[::1]x",
            "[v1.x]",
            "[fe80::1%25eth0]",
            "[]",
            "é",
            "a:80:80",
            "[::1].",
        ] {
            check(refused, None);
        }
        check(&"a".repeat(254), None);
    }
}
