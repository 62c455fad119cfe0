//! From a URL to a target: read, allowed, resolved.
//!
//! A load generator can hurt a host that never asked for it. Loopback, private and unique local
//! addresses belong to whoever runs this; for anything else the user has to name the host a
//! second time, so that neither a slip of the pen nor a name that resolves elsewhere sends load
//! to strangers. Invariant: the address that was judged is the address that is used.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rehearsal::load::{Target, TlsTarget};
use url::{Host, Url};

use super::Refused;
use super::arguments::TargetArguments;

/// For the resolution of a name, and for each try to find the address that answers.
const PATIENCE: Duration = Duration::from_secs(3);

/// A target that may be loaded.
#[derive(Debug)]
pub(super) struct Aim {
    /// The URL as reports show it.
    pub(super) url: String,
    /// Path and query, as they go on the wire.
    pub(super) path: String,
    /// Where to send it.
    pub(super) target: Target,
}

/// Reads the URL, resolves its host and asks whether that may be loaded.
pub(super) async fn aim(arguments: &TargetArguments) -> Result<Aim, Refused> {
    let url = parse(&arguments.url)?;
    let host = url.host().ok_or_else(|| Refused::usage("the URL has no host"))?;
    let port = url.port_or_known_default().ok_or_else(|| Refused::usage("the URL has no port"))?;
    let addresses = match host {
        Host::Ipv4(address) => vec![SocketAddr::from((address, port))],
        Host::Ipv6(address) => vec![SocketAddr::from((address, port))],
        Host::Domain(name) => resolve(name, port).await?,
    };
    let host = host.to_string();
    let permitted = arguments.yes_i_may_load_this_host.as_deref();
    for address in &addresses {
        allow(&host, address.ip(), permitted)?;
    }
    let tls = (url.scheme() == "https").then(|| TlsTarget {
        server_name: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        roots: arguments.ca.clone(),
        verify: !arguments.insecure,
    });
    if tls.is_none() && (arguments.ca.is_some() || arguments.insecure) {
        return Err(Refused::usage("--ca and --insecure are for https:// targets"));
    }
    let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let path = url
        .query()
        .map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let address = answering(&addresses).await;
    Ok(Aim { url: url.to_string(), path, target: Target { address, host: authority, tls } })
}

fn parse(text: &str) -> Result<Url, Refused> {
    // `localhost:8080` would read as the scheme `localhost`.
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole)
        .map_err(|error| Refused::usage(format!("{text:?} is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::usage(format!("{text:?}: only http:// and https:// can be loaded")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::usage(
            "a URL with a password would be shown in reports; use --header 'Authorization: ...'",
        ));
    }
    Ok(url)
}

async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, Refused> {
    let failed = |why: String| Refused::Failed(format!("{name:?} cannot be resolved: {why}"));
    let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, port)));
    let found = match found.await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed("no answer in 3 s".to_owned())),
    };
    if found.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(found) }
}

/// The first address that accepts a connection, as clients do; the first when none does.
async fn answering(addresses: &[SocketAddr]) -> SocketAddr {
    let first = *addresses.first().expect("a host without addresses was refused");
    if addresses.len() == 1 {
        return first;
    }
    for address in addresses {
        let connect = tokio::net::TcpStream::connect(address);
        if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, connect).await {
            return *address;
        }
    }
    first
}

fn allow(host: &str, address: IpAddr, permitted: Option<&str>) -> Result<(), Refused> {
    let named = permitted.is_some_and(|named| {
        let bare = |name: &str| name.trim_matches(['[', ']']).to_ascii_lowercase();
        bare(named) == bare(host)
    });
    if named || is_own(address) {
        return Ok(());
    }
    let why = match permitted {
        Some(other) => format!("--yes-i-may-load-this-host names {other:?}, not this host"),
        None => format!(
            "if it is yours or its owner agreed, repeat the command with --yes-i-may-load-this-host {host}"
        ),
    };
    Err(Refused::Usage(format!(
        "{host} ({address}) is outside this machine and its private networks, and load can take a \
         service down; {why}"
    )))
}

/// This machine, or a network that is nobody else's. Link-local addresses are not: clouds put
/// services of their own there.
fn is_own(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST || address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_not_loaded() {
        for (address, permitted, allowed) in [
            ("127.0.0.1", None, true),
            ("127.9.9.9", None, true),
            ("::1", None, true),
            ("::ffff:127.0.0.1", None, true),
            ("10.1.2.3", None, true),
            ("172.31.0.1", None, true),
            ("192.168.0.1", None, true),
            ("fd00::1", None, true),
            ("172.32.0.1", None, false),
            ("169.254.169.254", None, false),
            ("0.0.0.0", None, false),
            ("192.0.2.1", None, false),
            ("192.0.2.1", Some("192.0.2.2"), false),
            ("192.0.2.1", Some("example.org"), true),
            ("2001:db8::1", Some("EXAMPLE.org"), true),
            ("::ffff:192.0.2.1", None, false),
            ("2001:db8::1", None, false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let found = allow("example.org", address, permitted);
            assert_eq!(found.is_ok(), allowed, "{address} {permitted:?}: {found:?}");
        }
    }

    #[test]
    fn urls_are_read() {
        for (text, expected) in [
            ("http://127.0.0.1:8080/a?b=c", Some("http://127.0.0.1:8080/a?b=c")),
            ("localhost:8080", Some("http://localhost:8080/")),
            ("https://[::1]/", Some("https://[::1]/")),
            ("ftp://localhost/", None),
            ("http://me:secret@localhost/", None),
            ("http://", None),
            ("", None),
        ] {
            let found = parse(text).ok().map(|url| url.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
