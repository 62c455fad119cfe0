//! Listeners: where the door listens, and what it lets clients do.

use model::configuration::{
    CertificateFiles, ClientLimits, ClientTimeouts, ErrorFormat, ForwardedStyle, Listener,
    ListenerTls, TlsVersion,
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
    let Listener { name, address, tls, trusted_proxies, forwarded, limits, timeouts, errors } =
        from;
    let mut about = lines.about(format!("listener {}", words::text(name)));
    about.traffic("address", address, &to.address, ToString::to_string);
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

fn whole(listener: &Listener, what: &str, lines: &mut Lines) {
    let tls = if listener.tls.is_some() { " with TLS" } else { "" };
    lines.say(Concern::Traffic, || {
        format!("listener {}: {what} {}{tls}", words::text(&listener.name), listener.address)
    });
}

fn tell_tls(from: Option<&ListenerTls>, to: Option<&ListenerTls>, about: &mut About<'_>) {
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) => (from, to),
        (Some(_), None) => return about.say(Concern::Traffic, "TLS from on to off"),
        (None, Some(_)) => return about.say(Concern::Traffic, "TLS from off to on"),
        (None, None) => return,
    };
    let ListenerTls { certificates, version_min, strict_sni } = from;
    about.field("certificates", certificates, &to.certificates, |certificates| {
        words::list(certificates, |CertificateFiles { certificate, key }| {
            let (certificate, key) = (certificate.display(), key.display());
            format!("{} with the key {}", words::text(certificate), words::text(key))
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
