//! Reads `[admission]`, and what pools and routes say of who is let in.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::Name;
use model::configuration::{Admission, Class, FlowKey, PoolAdmission, SharedQuotas};

use crate::client::IN_FLIGHT_RANGE;
use crate::limit;
use crate::pool::token;
use crate::reader::{Table, Value};
use crate::server::host_name;

/// The classes, by their names.
pub(crate) const CLASSES: [(&str, Class); 4] = [
    ("critical", Class::Critical),
    ("important", Class::Important),
    ("normal", Class::Normal),
    ("bulk", Class::Bulk),
];

/// How long a request may wait for a place; who waits longer than this has gone.
const WAIT_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);

/// Less than half above the baseline is no flood.
const DEMOTE_RANGE: RangeInclusive<f64> = 1.5..=1_000.0;

/// Bytes of all buffers: from a megabyte to a tebibyte.
const BUFFERS_RANGE: RangeInclusive<u64> = 1 << 20..=1 << 40;

/// Reads `[admission]`.
pub(crate) fn admission(root: &mut Table<'_>) -> Admission {
    let mut table = root.sub("admission");
    let default = Admission::default();
    let admission = Admission {
        observe: table.boolean("observe", default.observe),
        keys_max: table.number("keys", default.keys_max, 1_000..=10_000_000),
        flow: table.get("flow").and_then(|value| flow(&value)).unwrap_or(default.flow),
        unknown_rate: table.get("unknown_rate").and_then(|value| value.count_rate()),
        unknown_in_flight_max: table
            .get("unknown_in_flight")
            .and_then(|value| value.number(&IN_FLIGHT_RANGE)),
        demote_above: table.get("demote_above").map_or(default.demote_above, |value| {
            demote_above(&value).unwrap_or(default.demote_above)
        }),
        retry_share: table.ratio("retry_share", default.retry_share),
        retry_header: table
            .get("retry_header")
            .and_then(|value| token(&value, true))
            .unwrap_or(default.retry_header),
        buffer_bytes_max: table.size("buffers", default.buffer_bytes_max, BUFFERS_RANGE),
        shared: table.get("shared").and_then(|value| shared(&value)),
    };
    table.finish();
    admission
}

/// Reads what a pool takes at once.
pub(crate) fn of_pool(table: &mut Table<'_>) -> PoolAdmission {
    let default = PoolAdmission::default();
    PoolAdmission {
        adaptive: table.boolean("adaptive", default.adaptive),
        wait_max: table.duration("queue_wait", default.wait_max, WAIT_RANGE),
        burst_wait_max: table.duration("burst_wait", default.burst_wait_max, WAIT_RANGE),
    }
}

fn flow(value: &Value<'_>) -> Option<FlowKey> {
    if !value.is_table() {
        return value.choice(&[("address", FlowKey::Address)]);
    }
    limit::header(value, "flow = { header = \"x-api-key\" }").map(FlowKey::Header)
}

/// How often the baseline; `false` and 0 turn it off.
fn demote_above(value: &Value<'_>) -> Option<f64> {
    match value.as_boolean() {
        Some(false) => return Some(0.0),
        Some(true) => {
            value.wrong_type("`false` or a number from 1.5 to 1000");
            return None;
        }
        None => {}
    }
    let above = value.decimal(&(0.0..=*DEMOTE_RANGE.end()))?;
    if above > 0.0 && !DEMOTE_RANGE.contains(&above) {
        let message = "`demote_above` must be 0 (off), or from 1.5 to 1000".to_owned();
        value.invalid("out-of-range", message, "write a number such as 4");
    }
    Some(above)
}

fn shared(value: &Value<'_>) -> Option<SharedQuotas> {
    let mut table = value.table("a table with `url`")?;
    let url = table.required("url", "url = \"redis://127.0.0.1:6379\"");
    let name = table.get("name").map_or(Some(Name::from("tidegate")), |value| value.word());
    let timeout = Duration::from_millis(100);
    let range = Duration::from_millis(1)..=Duration::from_secs(5);
    let timeout = table.duration("timeout", timeout, range);
    table.finish();
    let url = url.and_then(|value| redis_url(&value));
    Some(SharedQuotas { url: url?, name: name?, timeout })
}

/// `redis://[user:password@]host[:port][/db]`. Never quoted: it may hold a password.
fn redis_url(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    if is_redis_url(text) {
        return Some(Name::from(text));
    }
    let message = "`url` is not the address of a Redis or Valkey server".to_owned();
    let help = "write `redis://[user:password@]host[:port][/db]`";
    value.invalid("invalid-address", message, help);
    None
}

fn is_redis_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("redis://") else { return false };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, "0"));
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_visible = text.len() <= 1_024 && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    let is_database = database.is_empty() || database.parse::<u16>().is_ok();
    is_visible && is_database && !user.contains('@') && is_place(place)
}

/// A host or an address, and maybe a port.
fn is_place(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "6379"));
    (host.parse::<std::net::Ipv4Addr>().is_ok() || host_name(host).is_ok()) && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}
