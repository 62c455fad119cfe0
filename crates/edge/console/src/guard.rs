//! Decides whether a caller may ask anything at all, before the path is looked at.
//!
//! Order: the peer (Unix), then `Host` and `Origin`, then the token (TCP). A browser sends
//! `Host` and `Origin` itself and a page cannot forge them: a name other than `localhost` in
//! `Host` is what DNS rebinding looks like, and an `Origin` other than the address asked is what
//! a foreign page looks like. A browser's no-cors GET carries no `Origin`; `Sec-Fetch-Site`
//! tells it apart. Addresses are accepted as `Host` because nobody rebinds an address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};

use crate::answer::Problem;
use crate::token::Token;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A local user, as the kernel says; `None` when it would not say.
    User(Option<u32>),
    /// A network peer; a token says whether it may ask.
    Network(SocketAddr),
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(Some(user)) => write!(f, "uid {user}"),
            Self::User(None) => f.write_str("unknown uid"),
            Self::Network(address) => write!(f, "token from {address}"),
        }
    }
}

/// Whom one socket of the console admits.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Root and this user.
    User(u32),
    /// Whoever presents this token.
    Token(Token),
}

impl Admission {
    /// `Err` is the answer to a request that is not admitted.
    pub(crate) fn admit(&self, caller: Caller, headers: &HeaderMap) -> Result<(), Problem> {
        if let Self::User(own) = self {
            admit_user(caller, *own)?;
        }
        let host = checked_host(headers)?;
        check_origin(headers, host)?;
        match self {
            Self::User(_) => Ok(()),
            Self::Token(token) => check_token(headers, token),
        }
    }
}

fn admit_user(caller: Caller, own: u32) -> Result<(), Problem> {
    match caller {
        Caller::User(Some(user)) if user == 0 || user == own => Ok(()),
        Caller::User(_) | Caller::Network(_) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong_user",
            "Only root and the user that runs the door may use this socket.",
        )),
    }
}

/// The one `Host`, when it is an address or `localhost`.
fn checked_host(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        (None | Some(_), _) => {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_host",
                "Host must be sent exactly once.",
            ));
        }
    };
    if is_local_or_address(host) {
        return Ok(host);
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "wrong_host",
        "Ask by address or as localhost: other names are refused, so that DNS rebinding cannot reach this interface.",
    ))
}

/// True for `localhost`, an IPv4 address or a bracketed IPv6 address, each with or without port.
fn is_local_or_address(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, "")) => address.parse::<Ipv6Addr>().is_ok(),
            Some((address, port)) => {
                address.parse::<Ipv6Addr>().is_ok() && port.strip_prefix(':').is_some_and(is_port)
            }
            None => false,
        };
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return false,
        None => host,
    };
    name.eq_ignore_ascii_case("localhost") || matches!(name.parse(), Ok(IpAddr::V4(_)))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let same_origin = |origin: &str| {
        origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
    };
    let origins_fit =
        headers.get_all(ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(same_origin));
    let sites_fit = headers
        .get_all("sec-fetch-site")
        .iter()
        .all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    if origins_fit && sites_fit {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "wrong_origin",
        "Requests of pages from another origin are refused.",
    ))
}

fn check_token(headers: &HeaderMap, token: &Token) -> Result<(), Problem> {
    let mut presented = headers.get_all(AUTHORIZATION).iter();
    let fits = match (presented.next(), presented.next()) {
        (Some(value), None) => value
            .to_str()
            .is_ok_and(|value| bearer(value).is_some_and(|given| token.matches(given))),
        (None | Some(_), _) => false,
    };
    if fits {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "no_token",
        "Send `Authorization: Bearer TOKEN` with the token of `admin.tcp.token_file`.",
    ))
}

/// The credentials of a `Bearer` header; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    /// `lines` are `name: value`; `expected` is `ok` or `STATUS code`.
    fn check(admission: &Admission, caller: Caller, lines: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers
                .append(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
        }
        let found = match admission.admit(caller, &headers) {
            Ok(()) => "ok".to_owned(),
            Err(problem) => format!("{} {}", problem.status.as_u16(), problem.code()),
        };
        assert_eq!(found, expected, "{caller:?} {lines:?}");
    }

    #[test]
    fn the_unix_socket_admits_root_and_the_own_user() {
        let admission = Admission::User(1_000);
        for (user, expected) in [
            (Some(1_000), "ok"),
            (Some(0), "ok"),
            (Some(1_001), "403 wrong_user"),
            (None, "403 wrong_user"),
        ] {
            check(&admission, Caller::User(user), &["host: localhost"], expected);
        }
        check(
            &Admission::User(0),
            Caller::User(Some(1_000)),
            &["host: localhost"],
            "403 wrong_user",
        );
    }

    #[test]
    fn host_is_an_address_or_localhost() {
        let ask = |host: &str, expected: &str| {
            check(&Admission::User(7), Caller::User(Some(7)), &[&format!("host: {host}")], expected)
        };
        for host in [
            "localhost",
            "LOCALHOST:9000",
            "127.0.0.1",
            "127.0.0.1:9000",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:9000",
        ] {
            ask(host, "ok");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "[::1",
            "[::1]9000",
            "[evil]",
            "::1",
            "a@127.0.0.1",
            "127.0.0.1:80:80",
            "127.1",
        ] {
            ask(host, "421 wrong_host");
        }
        check(&Admission::User(7), Caller::User(Some(7)), &[], "400 bad_host");
        check(
            &Admission::User(7),
            Caller::User(Some(7)),
            &["host: localhost", "host: localhost"],
            "400 bad_host",
        );
    }

    #[test]
    fn foreign_pages_are_refused() {
        let ask = |lines: &[&str], expected: &str| {
            let lines: Vec<&str> = ["host: 127.0.0.1:9000"].iter().chain(lines).copied().collect();
            check(&Admission::User(7), Caller::User(Some(7)), &lines, expected);
        };
        ask(&["origin: http://127.0.0.1:9000"], "ok");
        ask(&["sec-fetch-site: same-origin"], "ok");
        ask(&["sec-fetch-site: none"], "ok");
        for origin in [
            "http://127.0.0.1:9001",
            "http://localhost:9000",
            "http://evil.example",
            "null",
            "http://127.0.0.1:9000.evil.example",
        ] {
            ask(&[&format!("origin: {origin}")], "403 wrong_origin");
        }
        ask(&["origin: http://127.0.0.1:9000", "origin: http://evil.example"], "403 wrong_origin");
        ask(&["sec-fetch-site: cross-site"], "403 wrong_origin");
        ask(&["sec-fetch-site: same-site"], "403 wrong_origin");
    }

    #[test]
    fn tcp_needs_the_token() {
        let admission = Admission::Token(Token::new(TOKEN).unwrap());
        let ask = |lines: &[&str], expected: &str| {
            let lines: Vec<&str> = ["host: 127.0.0.1:9000"].iter().chain(lines).copied().collect();
            check(&admission, Caller::Network(([127, 0, 0, 1], 5).into()), &lines, expected);
        };
        ask(&["authorization: Bearer 0123456789abcdef"], "ok");
        ask(&["authorization: bearer  0123456789abcdef"], "ok");
        ask(&[], "401 no_token");
        ask(&["authorization: Basic 0123456789abcdef"], "401 no_token");
        ask(&["authorization: 0123456789abcdef"], "401 no_token");
        ask(&["authorization: Bearer 0123456789abcdeF"], "401 no_token");
        ask(
            &["authorization: Bearer 0123456789abcdef", "authorization: Bearer 0123456789abcdef"],
            "401 no_token",
        );
        ask(
            &["authorization: Bearer 0123456789abcdef", "origin: http://evil.example"],
            "403 wrong_origin",
        );
    }
}
