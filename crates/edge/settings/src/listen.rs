//! Reads `[listen.NAME]`: where the door listens, and what clients may do there.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use ipnet::IpNet;
use model::configuration::{
    ClientLimits, ClientTimeouts, Door, ErrorFormat, ForwardedStyle, Http2, Listener,
    ListenerProtocol,
};

use crate::finding::{Finding, quote};
use crate::reader::{Table, Value};
use crate::{tcp, tls};

/// A listener and the place of its address in the text.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) listener: Listener,
    pub(crate) address_span: Range<usize>,
}

/// Reads all listeners, in file order. Those without a valid address are left out: that is an
/// error, so nothing is made of them.
pub(crate) fn listeners(root: &mut Table<'_>, door: &Door) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    let pools: Vec<&str> = root.names("pools").collect();
    let named = root.named("listen");
    if named.is_empty() && !root.has("listen") {
        let message = "the configuration has no listener".to_owned();
        let finding = Finding::error("no-listener", root.span(), message);
        root.context().findings.add(
            finding
                .label("no `[listen.NAME]`")
                .help("add `[listen.web]` with `address = \"127.0.0.1:8080\"`"),
        );
    }
    for (name, value) in named {
        let Some(mut table) = value.table("a table") else { continue };
        let address_value = table.required("address", "address = \"127.0.0.1:8080\"");
        let address = address_value.as_ref().and_then(address);
        if let (Some(address), Some(value)) = (address, &address_value) {
            check_unique(address, value, &placed);
        }
        let listener = Listener {
            protocol: match tcp::forward(&mut table, &pools) {
                Some(forward) => ListenerProtocol::Tcp(forward),
                None => ListenerProtocol::Http { http2: http2(&mut table) },
            },
            proxy_protocol: tcp::accepts_proxy(&mut table),
            name,
            address: address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            tls: table.get("tls").and_then(|value| tls::of_listener(&value, door)),
            trusted_proxies: trusted_proxies(&mut table),
            forwarded: forwarded(&mut table),
            limits: limits(&mut table, door),
            timeouts: timeouts(&mut table),
            errors: table.choice(
                "errors",
                ErrorFormat::ProblemJson,
                &[("problem+json", ErrorFormat::ProblemJson), ("text", ErrorFormat::Text)],
            ),
        };
        table.finish();
        if let (Some(_), Some(value)) = (address, address_value) {
            placed.push(Placed { listener, address_span: value.span });
        }
    }
    placed
}

fn http2(table: &mut Table<'_>) -> Option<Http2> {
    let value = table.get("http2");
    let told = value.as_ref().and_then(Value::as_boolean);
    let is_table = value.as_ref().is_some_and(Value::is_table);
    if let Some(value) = value.filter(|_| told.is_none() && !is_table) {
        value.wrong_type("`true`, `false` or a table");
    }
    let mut table = if is_table { table.sub("http2") } else { Table::empty(table) };
    let default = Http2::default().streams_max;
    let http2 = Http2 { streams_max: table.number("streams_max", default, 1..=1_000) };
    table.finish();
    (told != Some(false)).then_some(http2)
}

/// An IP address with a port; names are refused, since they could change under the door.
pub(crate) fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let help = match text.rsplit_once(':') {
        _ if text.parse::<IpAddr>().is_ok() => "add a port, as in \"127.0.0.1:8080\"",
        Some(("" | "*", _)) => "for every address write \"0.0.0.0:PORT\" or \"[::]:PORT\"",
        Some(("localhost", _)) => "write \"127.0.0.1:PORT\" or \"[::1]:PORT\"",
        Some((_, port)) if port.parse::<u16>().is_err() => "a port is a number from 0 to 65535",
        _ => "write an IP address and a port, such as \"127.0.0.1:8080\"",
    };
    let message = format!("{} is not an address to listen on", quote(text));
    value.invalid("invalid-address", message, help);
    None
}

/// Reports when an earlier listener has the same address. Port 0 is never the same.
pub(crate) fn check_unique(address: SocketAddr, value: &Value<'_>, listeners: &[Placed]) {
    let same = |placed: &&Placed| address.port() != 0 && placed.listener.address == address;
    let Some(earlier) = listeners.iter().find(same) else { return };
    let message = format!("{address} is listened on twice");
    let finding = Finding::error("duplicate-address", value.span.clone(), message);
    value.report(
        finding
            .label("the same address again")
            .related(
                earlier.address_span.clone(),
                format!("first used by {}", quote(&earlier.listener.name)),
            )
            .help("give each listener its own address or port"),
    );
}

fn trusted_proxies(table: &mut Table<'_>) -> Vec<IpNet> {
    let Some(value) = table.get("trusted_proxies") else { return Vec::new() };
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of networks");
        return Vec::new();
    };
    array.iter().filter_map(network).collect()
}

pub(crate) fn network(value: &Value<'_>) -> Option<IpNet> {
    let text = value.text()?;
    let network =
        text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(network) = network else {
        let message = format!("{} is not a network", quote(text));
        value.invalid("invalid-network", message, "write \"10.0.0.0/8\" or \"192.0.2.7\"");
        return None;
    };
    if network.trunc() != network {
        let message = format!("{} has bits behind its prefix", quote(text));
        value.invalid("invalid-network", message, format!("did you mean `{}`?", network.trunc()));
    }
    Some(network.trunc())
}

fn forwarded(table: &mut Table<'_>) -> ForwardedStyle {
    let styles = [
        ("x-forwarded", ForwardedStyle::XForwarded),
        ("rfc7239", ForwardedStyle::Rfc7239),
        ("both", ForwardedStyle::Both),
        ("off", ForwardedStyle::Off),
    ];
    table.choice("forwarded", ForwardedStyle::XForwarded, &styles)
}

fn limits(table: &mut Table<'_>, door: &Door) -> ClientLimits {
    let mut table = table.sub("limits");
    let connections_max = table.number("connections", door.connections_max, 1..=u32::MAX);
    let limits = ClientLimits {
        head_bytes_max: bytes(&mut table, "head", 16_384, 1_024),
        headers_max: table.number("headers", 100, 8..=256),
        target_bytes_max: bytes(&mut table, "target", 8_192, 64),
        body_bytes_max: table.size("body", 100 << 20, BODY_RANGE),
        connections_max,
        connections_per_address_max: table.number(
            "connections_per_address",
            connections_max,
            1..=u32::MAX,
        ),
    };
    table.finish();
    limits
}

/// Bytes of a body: up to an exbibyte, which is to say, as many as one likes.
pub(crate) const BODY_RANGE: std::ops::RangeInclusive<u64> = 0..=1 << 60;

fn bytes(table: &mut Table<'_>, key: &'static str, default: usize, least: u64) -> usize {
    let value = table.get(key).and_then(|value| value.size(&(least..=65_536)));
    value.and_then(|size| usize::try_from(size).ok()).unwrap_or(default)
}

fn timeouts(table: &mut Table<'_>) -> ClientTimeouts {
    let mut table = table.sub("timeouts");
    let timeouts = ClientTimeouts {
        handshake: table.timeout("handshake", 10),
        head: table.timeout("head", 10),
        body: table.timeout("body", 30),
        keep_alive: table.timeout("keep_alive", 60),
    };
    table.finish();
    timeouts
}
