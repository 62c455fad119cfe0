//! Who is let in: registered clients, rate limits, and what holds for everybody.
//!
//! Invariant: no line holds a secret: neither a key nor its hash, and no password of a URL.

use model::configuration::{
    Admission, Class, Client, FlowKey, Identity, LimitKey, Rate, RateLimit, SharedQuotas,
};

use super::Pair;
use super::lines::{Concern, Lines};
use crate::words;

pub(super) fn admission(from: &Admission, to: &Admission, lines: &mut Lines) {
    let Admission {
        observe,
        keys_max,
        flow,
        unknown_rate,
        unknown_in_flight_max,
        demote_above,
        retry_share,
        retry_header,
        buffer_bytes_max,
        shared,
    } = from;
    let mut about = lines.about("admission");
    about.field("only observed", observe, &to.observe, |on| words::switch(*on));
    about.field("rate of unregistered clients", unknown_rate, &to.unknown_rate, rate_or_none);
    about.field(
        "requests in flight of unregistered clients at most",
        unknown_in_flight_max,
        &to.unknown_in_flight_max,
        |most| words::or_none(most.as_ref(), u32::to_string),
    );
    about.field("unregistered clients are told apart by", flow, &to.flow, |flow| match flow {
        FlowKey::Address => "address".to_owned(),
        FlowKey::Header(name) => format!("header {}", words::text(name)),
    });
    about.field("demoted above", demote_above, &to.demote_above, |times| {
        if *times == 0.0 { "never".to_owned() } else { format!("{times} times the baseline") }
    });
    about.field("retries of a client at most", retry_share, &to.retry_share, |share| {
        words::share(*share)
    });
    about.field("header that marks retries", retry_header, &to.retry_header, words::name);
    about.field("buffers at most", buffer_bytes_max, &to.buffer_bytes_max, |bytes| {
        words::size(*bytes)
    });
    about.door("keys of limits", keys_max, &to.keys_max, u32::to_string);
    about.door("shared quotas", shared, &to.shared, |shared| {
        words::or_none(shared.as_ref(), |SharedQuotas { url, name, timeout }| {
            // What stands before the place may be a password.
            let place = url.rsplit_once('@').map_or(&**url, |(_, place)| place);
            let place = place.strip_prefix("redis://").unwrap_or(place);
            let (place, name) = (words::text(place), words::text(name));
            format!("{name} at {place} within {}", words::duration(timeout))
        })
    });
}

pub(super) fn client(pair: Pair<'_, Client>, lines: &mut Lines) {
    let (from, to) = match pair {
        (Some(from), Some(to)) => (from, to),
        (Some(gone), None) => return whole_client(gone, "removed", lines),
        (None, Some(new)) => return whole_client(new, "added", lines),
        (None, None) => return,
    };
    let Client {
        name,
        identities,
        rate,
        burst,
        in_flight_max,
        class,
        routes,
        enabled,
        shared,
        headers,
    } = from;
    let mut about = lines.about(format!("client {}", words::text(name)));
    about.traffic("enabled", enabled, &to.enabled, |on| words::switch(*on));
    about.field("known by", identities, &to.identities, |identities| {
        words::list(identities, identity)
    });
    about.field("rate", rate, &to.rate, rate_or_none);
    // A burst without a rate means nothing, and one second's worth follows the rate.
    let is_told = rate == &to.rate || !is_usual(*rate, *burst) || !is_usual(to.rate, to.burst);
    if is_told {
        about.field("burst", burst, &to.burst, u32::to_string);
    }
    about.field("requests in flight at most", in_flight_max, &to.in_flight_max, |most| {
        words::or_none(most.as_ref(), u32::to_string)
    });
    about.field("class", class, &to.class, |class| class.name().to_owned());
    about.field("routes", routes, &to.routes, |routes| words_of_routes(routes));
    about.field("shared with other doors", shared, &to.shared, |on| words::switch(*on));
    about.field("RateLimit headers", headers, &to.headers, |on| words::switch(*on));
}

fn whole_client(client: &Client, what: &str, lines: &mut Lines) {
    let Client { name, identities, rate, class, enabled, .. } = client;
    lines.say(Concern::Treatment, || {
        let known = words::list(identities, identity);
        let class = match class {
            Class::Normal => String::new(),
            Class::Critical | Class::Important | Class::Bulk => format!(", {}", class.name()),
        };
        let disabled = if *enabled { "" } else { ", disabled" };
        let rate = rate_or_none(rate);
        let name = words::text(name);
        format!("client {name}: {what}: known by {known}, rate {rate}{class}{disabled}")
    });
}

/// What a client is known by, without what proves it.
fn identity(identity: &Identity) -> String {
    match identity {
        Identity::Header { name, sha256: _ } => format!("a key in header {}", words::text(name)),
        Identity::Jwt { claim, value, key: _ } => {
            format!("a token with {} = {}", words::text(claim), words::text(value))
        }
        Identity::Network(network) => network.to_string(),
        Identity::Certificate(name) => format!("a certificate of {}", words::text(name)),
    }
}

pub(super) fn limit(pair: Pair<'_, RateLimit>, lines: &mut Lines) {
    let (from, to) = match pair {
        (Some(from), Some(to)) => (from, to),
        (Some(gone), None) => return whole_limit(gone, "removed", lines),
        (None, Some(new)) => return whole_limit(new, "added", lines),
        (None, None) => return,
    };
    let RateLimit { name, by, rate, burst, routes, observe, headers, shared } = from;
    let mut about = lines.about(format!("limit {}", words::text(name)));
    about.field("counted by", by, &to.by, words_of_key);
    about.field("rate", rate, &to.rate, words::rate);
    let is_told =
        rate == &to.rate || !is_usual(Some(*rate), *burst) || !is_usual(Some(to.rate), to.burst);
    if is_told {
        about.field("burst", burst, &to.burst, u32::to_string);
    }
    about.field("routes", routes, &to.routes, |routes| words_of_routes(routes));
    about.field("only observed", observe, &to.observe, |on| words::switch(*on));
    about.field("RateLimit headers", headers, &to.headers, |on| words::switch(*on));
    about.field("shared with other doors", shared, &to.shared, |on| words::switch(*on));
}

fn whole_limit(limit: &RateLimit, what: &str, lines: &mut Lines) {
    let RateLimit { name, by, rate, burst, routes, observe, .. } = limit;
    lines.say(Concern::Treatment, || {
        let observed = if *observe { ", only observed" } else { "" };
        format!(
            "limit {}: {what}: {} with bursts of {burst}, by {}, on {} routes{observed}",
            words::text(name),
            words::rate(rate),
            words_of_key(by),
            words_of_routes(routes),
        )
    });
}

fn words_of_key(key: &LimitKey) -> String {
    match key {
        LimitKey::All => "everyone's requests".to_owned(),
        LimitKey::Client => "client".to_owned(),
        LimitKey::Address => "address".to_owned(),
        LimitKey::Route => "route".to_owned(),
        LimitKey::Header(name) => format!("header {}", words::text(name)),
    }
}

fn words_of_routes(routes: &[model::Name]) -> String {
    if routes.is_empty() { "all".to_owned() } else { words::list(routes, words::name) }
}

fn rate_or_none(rate: &Option<Rate>) -> String {
    words::or_none(rate.as_ref(), words::rate)
}

/// Whether a burst is what it is by default: one second's worth, at least 1.
fn is_usual(rate: Option<Rate>, burst: u32) -> bool {
    let second = rate.map_or(1.0, |rate| rate.per_second().floor());
    (f64::from(burst) - second.max(1.0)).abs() < 0.5
}
