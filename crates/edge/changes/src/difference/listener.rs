//! Listeners: where the door listens, and what it lets clients do.

use model::configuration::{
    Acme, AcmeChallenge, CertificateFiles, ClientCertificates, ClientLimits, ClientTimeouts,
    ErrorFormat, ForwardedStyle, HostPattern, Listener, ListenerProtocol, ListenerTls, SniRoute,
    TcpForward, TlsVersion,
};

use super::Pair;
use super::lines::{About, Concern, Lines};
use crate::words;

pub(super) fn tell(pair: Pair<'_, Listener>, lines: &mut Lines) {
    let (from, to) = match pair {
        (Some(from), Some(to)) => (from, to),
        (Some(gone), None) => return whole(gone, "removed, it listened on", lines),
        (None, Some(new)) => return whole(new, "added, it listens on", lines),
        (None, None) => return,
    };
    let Listener {
        name,
        address,
        tls,
        trusted_proxies,
        forwarded,
        limits,
        timeouts,
        errors,
        protocol,
        proxy_protocol,
    } = from;
    let mut about = lines.about(format!("listener {}", words::text(name)));
    about.traffic("address", address, &to.address, ToString::to_string);
    about.traffic("protocol", protocol, &to.protocol, words_of_protocol);
    about.traffic("PROXY headers are expected", proxy_protocol, &to.proxy_protocol, |on| {
        words::switch(*on)
    });
    tell_tls(tls.as_ref(), to.tls.as_ref(), &mut about);
    about.field("trusted proxies", trusted_proxies, &to.trusted_proxies, |proxies| {
        words::list(proxies, ToString::to_string)
    });
    about.field("forwarding headers", forwarded, &to.forwarded, |style| {
        match style {
            ForwardedStyle::XForwarded => "X-Forwarded-*",
            ForwardedStyle::Rfc7239 => "Forwarded",
            ForwardedStyle::Both => "both kinds",
            ForwardedStyle::Off => "off",
        }
        .to_owned()
    });
    tell_limits(limits, &to.limits, &mut about);
    let ClientTimeouts { handshake, head, body, keep_alive } = timeouts;
    about.field("handshake timeout", handshake, &to.timeouts.handshake, words::duration);
    about.field("head timeout", head, &to.timeouts.head, words::duration);
    about.field("body timeout", body, &to.timeouts.body, words::duration);
    about.field("keep-alive timeout", keep_alive, &to.timeouts.keep_alive, words::duration);
    about.field("error bodies", errors, &to.errors, |format| {
        match format {
            ErrorFormat::ProblemJson => "problem+json",
            ErrorFormat::Text => "text",
        }
        .to_owned()
    });
}

/// Pools by their place in the file: this room is not told their names here.
fn words_of_protocol(protocol: &ListenerProtocol) -> String {
    let TcpForward { pool, sni } = match protocol {
        ListenerProtocol::Http { http2: None } => return "HTTP/1.1".to_owned(),
        ListenerProtocol::Http { http2: Some(http2) } => {
            return format!("HTTP with up to {} streams", http2.streams_max);
        }
        ListenerProtocol::Tcp(forward) => forward,
    };
    let number = |pool: usize| format!("pool number {}", pool + 1);
    let otherwise = pool.map_or_else(|| "nowhere".to_owned(), number);
    let names = words::list(sni, |SniRoute { host, pool }| {
        let host = match host {
            HostPattern::Exact(host) => host.to_string(),
            HostPattern::Wildcard(suffix) => format!("*{suffix}"),
        };
        format!("{} to {}", words::text(host), number(*pool))
    });
    format!("TCP, to {otherwise}, by server name: {names}")
}

fn words_of_clients(clients: &ClientCertificates) -> String {
    let ClientCertificates { roots, revocation, required } = clients;
    let lists = words::list(revocation, |path| words::text(path.display()).to_string());
    let how = if *required { "required" } else { "asked for" };
    format!("{how}, of {}, revoked by {lists}", words::text(roots.display()))
}

fn whole(listener: &Listener, what: &str, lines: &mut Lines) {
    let tls = if listener.tls.is_some() { " with TLS" } else { "" };
    lines.say(Concern::Traffic, || {
        format!("listener {}: {what} {}{tls}", words::text(&listener.name), listener.address)
    });
}

fn words_of_acme(acme: &Acme) -> String {
    let Acme { hosts, contact, directory, roots, challenge, folder: _, files: _ } = acme;
    let challenge = match challenge {
        AcmeChallenge::Http01 => "http-01",
        AcmeChallenge::TlsAlpn01 => "tls-alpn-01",
    };
    let contact = contact.as_deref().unwrap_or("nobody");
    let roots = roots.as_ref().map_or_else(String::new, |roots| {
        format!(", which is trusted by {}", words::text(roots.display()))
    });
    format!(
        "for {} from {} by {challenge}, contact {}{roots}",
        words::list(hosts, |host| words::text(host)),
        words::text(directory),
        words::text(contact)
    )
}

fn tell_tls(from: Option<&ListenerTls>, to: Option<&ListenerTls>, about: &mut About<'_>) {
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) => (from, to),
        (Some(_), None) => return about.say(Concern::Traffic, "TLS from on to off"),
        (None, Some(_)) => return about.say(Concern::Traffic, "TLS from off to on"),
        (None, None) => return,
    };
    let ListenerTls { certificates, version_min, strict_sni, clients, acme } = from;
    about.field("certificate that the door obtains", acme, &to.acme, |acme| {
        words::or_none(acme.as_ref(), words_of_acme)
    });
    about.field("certificates of clients", clients, &to.clients, |clients| {
        words::or_none(clients.as_ref(), words_of_clients)
    });
    about.field("certificates", certificates, &to.certificates, |certificates| {
        words::list(certificates, |CertificateFiles { certificate, key, ocsp }| {
            let (certificate, key) = (certificate.display(), key.display());
            let ocsp = ocsp.as_ref().map_or_else(String::new, |path| {
                format!(" and the OCSP response {}", words::text(path.display()))
            });
            format!("{} with the key {}{ocsp}", words::text(certificate), words::text(key))
        })
    });
    about.field("oldest TLS version", version_min, &to.version_min, |version| {
        match version {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        }
        .to_owned()
    });
    about.field("strict SNI", strict_sni, &to.strict_sni, |on| words::switch(*on));
}

fn tell_limits(from: &ClientLimits, to: &ClientLimits, about: &mut About<'_>) {
    let ClientLimits {
        head_bytes_max,
        headers_max,
        target_bytes_max,
        body_bytes_max,
        connections_max,
        connections_per_address_max,
    } = from;
    let bytes = |bytes: &usize| words::size(*bytes as u64);
    about.field("body limit", body_bytes_max, &to.body_bytes_max, |bytes| words::size(*bytes));
    about.field("head limit", head_bytes_max, &to.head_bytes_max, bytes);
    about.field("header limit", headers_max, &to.headers_max, usize::to_string);
    about.field("target limit", target_bytes_max, &to.target_bytes_max, bytes);
    about.field("connections at most", connections_max, &to.connections_max, u32::to_string);
    about.field(
        "connections of one address at most",
        connections_per_address_max,
        &to.connections_per_address_max,
        u32::to_string,
    );
}
