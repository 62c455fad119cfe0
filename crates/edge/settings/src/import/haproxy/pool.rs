//! A proxy's servers and how they are used, as `[pools.NAME]`.
//!
//! What HAProxy does when nothing is written is written out where this door does something
//! else, so that rules judge what is really configured.

use super::super::Place;
use super::super::writer::{Placed, Value};
use super::account::Account;
use super::check;
use super::global::Global;
use super::items::Line;
use super::options::Choice;
use super::protocol;
use super::proxy::{Proxy, is_keyword};
use super::server::{self, Server, shared};
use super::tls;
use super::units::{number, timeout_ms};
use crate::finding::Finding;

/// A table that is to be written.
#[derive(Debug)]
pub(super) struct Table {
    /// Its path, such as `pools`, `web`.
    pub(super) path: Vec<String>,
    /// Where it comes from.
    pub(super) place: Place,
    /// Its keys.
    pub(super) keys: Vec<(&'static str, Value, Place)>,
}

/// The pool of a proxy; `None` when none of its servers can be taken over. `client`: how long
/// connections to a pool of plain TCP may be silent by what their front ends say.
pub(super) fn pool(
    proxy: &Proxy<'_>,
    name: &str,
    (global, client): (&Global, Option<(u64, Place)>),
    account: &mut Account,
) -> Option<Table> {
    let (servers, backups) = server::servers(proxy, account);
    let head = proxy.section.head.place();
    let mut keys = vec![("servers", listed(&servers, account), head.clone())];
    keys.extend(balance(proxy, &backups, account));
    let checked = check::check(proxy, &servers, account);
    keys.extend(checked.map(|(value, place)| ("check", value, place)));
    keys.extend(tls::tls(&servers, global, account).map(|value| ("tls", value, head.clone())));
    keys.push(("timeouts", timeouts(proxy, client, account), head.clone()));
    keys.extend(retries(proxy, account));
    keys.push(("ejection", ejection(&servers, account), head.clone()));
    let slow = shared(&servers, "slowstart", account);
    let slow_ms = slow.as_ref().and_then(|choice| super::units::time_ms(&choice.value));
    let slow_place = slow.map_or(head.clone(), |choice| choice.place);
    keys.push(("slow_start", Value::duration_ms(slow_ms.unwrap_or(0).min(3_600_000)), slow_place));
    if let Some(choice) = shared(&servers, "maxconn", account) {
        queue(proxy, &choice, &servers, account);
        let limit = number(&choice.value).unwrap_or(0).min(1_000_000);
        keys.push(("in_flight_max", Value::Integer(limit), choice.place));
        keys.extend(queue_wait(proxy, account));
    }
    keys.extend(protocols(proxy, &servers, account));
    settle_rest(proxy, &servers, account);
    if servers.is_empty() {
        return None;
    }
    Some(Table { path: vec!["pools".to_owned(), name.to_owned()], place: head, keys })
}

/// What is spoken with servers, and whether their connections are used again.
fn protocols(
    proxy: &Proxy<'_>,
    servers: &[Server],
    account: &mut Account,
) -> Vec<(&'static str, Value, Place)> {
    let told = protocol::told(servers, account);
    let mut keys = Vec::new();
    if proxy.is_http() {
        match protocol::http2_to_servers(servers, told.is_some(), account) {
            Some(choice) => {
                keys.push(("protocol", Value::text("http2"), choice.place));
                if let Some((_, _, line)) = idle(proxy, account) {
                    let reason = "over HTTP/2 a connection has many requests";
                    account.items.refused(line.item, reason);
                }
            }
            None => keys
                .extend(idle(proxy, account).map(|(key, value, line)| (key, value, line.place()))),
        }
    } else {
        for choice in servers.iter().filter_map(|server| server.last("proto")) {
            account.items.refused(choice.item, "connections are passed on as they come");
        }
    }
    keys.extend(told.map(|(version, at)| ("proxy_protocol", Value::text(version), at.place)));
    keys
}

fn listed(servers: &[Server], account: &mut Account) -> Value {
    let mut array = Vec::new();
    for server in servers {
        let weight = server.last("weight").and_then(|choice| {
            let weight = number(&choice.value).filter(|weight| *weight <= 256);
            account.result(choice.item, weight.ok_or("a weight is from 0 to 256"))
        });
        let switch =
            server.choices.iter().rev().find(|c| matches!(c.name.as_str(), "disabled" | "enabled"));
        for choice in
            server.choices.iter().filter(|c| matches!(c.name.as_str(), "disabled" | "enabled"))
        {
            account.items.mapped(choice.item);
        }
        let is_drained = switch.is_some_and(|choice| choice.name == "disabled");
        let address = Value::text(server.address.clone());
        let mut entries: Vec<(String, Placed)> =
            vec![("address".to_owned(), address.clone().here())];
        if let Some(weight) = weight.filter(|weight| *weight != 1) {
            entries.push(("weight".to_owned(), Value::Integer(weight).here()));
        }
        if is_drained {
            entries.push(("drain".to_owned(), Value::Boolean(true).here()));
        }
        let value = if entries.len() == 1 { address } else { Value::Table(entries) };
        array.push(value.at(&server.place));
        resolved(server, account);
    }
    Value::Array(array)
}

/// HAProxy resolves a name once, unless the server has `resolvers`.
fn resolved(server: &Server, account: &mut Account) {
    if let Some(choice) = server.last("resolvers") {
        account.items.mapped(choice.item);
    } else if server.is_name {
        let message = format!("`{}` is resolved once, when HAProxy starts", server.address);
        account.breaks("name-resolved-once", &server.place, message);
    }
}

fn balance(
    proxy: &Proxy<'_>,
    backups: &[Place],
    account: &mut Account,
) -> Option<(&'static str, Value, Place)> {
    let hash_type = proxy.set("hash-type");
    let Some(line) = proxy.set("balance") else {
        if let Some(line) = hash_type {
            account.items.ignored(line.item, "the algorithm is no hash");
        }
        let round_robin = Value::text("round-robin");
        return Some(("balance", round_robin, proxy.section.head.place()));
    };
    let place = line.place();
    let words = line.texts(1);
    let algorithm = words.first().copied().unwrap_or_default();
    if matches!(algorithm, "roundrobin" | "static-rr") {
        let message =
            format!("after each reload `{}` begins its turns at the first server", proxy.name());
        account.breaks("state-losing-reload", &place, message);
    }
    let maglev = |key: Value| Value::Table(vec![("maglev".to_owned(), key.here())]);
    let of_header = |name: &str| {
        crate::pool::is_token(name)
            .then(|| maglev(Value::Table(vec![("header".to_owned(), Value::text(name).here())])))
            .ok_or("the header is not named")
    };
    let (name, argument) = split_argument(algorithm);
    let by_hash = match (name, words.as_slice()) {
        ("source", _) => Some(Ok(maglev(Value::text("client-address")))),
        ("uri", [_]) | ("uri", [_, "path-only"]) => Some(Ok(maglev(Value::text("path")))),
        ("uri", _) => Some(Err("the whole path is hashed here, without its query")),
        ("hdr", [_]) => Some(of_header(argument)),
        ("hdr", _) => Some(Err("the whole value of a header is hashed here")),
        ("hash", [_, expression]) => Some(match split_argument(expression) {
            ("src", _) => Ok(maglev(Value::text("client-address"))),
            ("path", _) => Ok(maglev(Value::text("path"))),
            ("hdr" | "req.hdr", header) => of_header(header),
            ("cook" | "req.cook", name) if crate::pool::is_token(name) => {
                let cookie = Value::Table(vec![("cookie".to_owned(), Value::text(name).here())]);
                Ok(maglev(cookie))
            }
            _ => Err("the door hashes addresses, paths, headers and cookies"),
        }),
        ("url_param" | "rdp-cookie" | "hash", _) => {
            Some(Err("the door hashes addresses, paths, headers and cookies"))
        }
        _ => None,
    };
    hashed(by_hash.is_some(), line, hash_type, account);
    if by_hash.is_some()
        && let Some(backup) = backups.first()
    {
        let message =
            format!("a backup server of `{}`, whose servers are chosen by a hash", proxy.name());
        account.breaks("backup-with-hash", backup, message);
    }
    let value = by_hash.unwrap_or_else(|| match (name, argument) {
        ("roundrobin" | "static-rr", _) => Ok(Value::text("round-robin")),
        ("leastconn", _) => Ok(Value::text("least-request")),
        ("random", "1") => Ok(Value::text("random")),
        ("random", _) => Ok(Value::text("p2c")),
        ("first", _) => Err("the door fills no server before it uses the next"),
        _ => Err("the door knows no such algorithm"),
    });
    let is_of_requests =
        matches!(value, Ok(Value::Table(_))) && value != Ok(maglev(Value::text("client-address")));
    let value = if is_of_requests && !proxy.is_http() {
        Err("connections are hashed by the client's address alone")
    } else {
        value
    };
    let value = account.result(line.item, value);
    // A refused algorithm leaves what HAProxy does without one.
    Some(("balance", value.unwrap_or_else(|| Value::text("round-robin")), place))
}

fn hashed(is_hash: bool, line: &Line, hash_type: Option<&Line>, account: &mut Account) {
    let is_consistent = hash_type.is_some_and(|line| line.text(1) == "consistent");
    match hash_type {
        Some(hash_type) if is_consistent && is_hash => account.items.mapped(hash_type.item),
        Some(hash_type) if is_hash => {
            account.items.ignored(hash_type.item, "the door's hash is consistent");
        }
        Some(hash_type) => account.items.ignored(hash_type.item, "the algorithm is no hash"),
        None => {}
    }
    if is_hash && !is_consistent {
        let message = "without `hash-type consistent` nearly every key moves when the pool changes";
        account.breaks("inconsistent-hash", &line.place(), message.to_owned());
    }
}

/// `hdr(X-User)` is `hdr` of `X-User`.
pub(super) fn split_argument(text: &str) -> (&str, &str) {
    match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
        None => (text, ""),
    }
}

fn timeouts(proxy: &Proxy<'_>, client: Option<(u64, Place)>, account: &mut Account) -> Value {
    let connect = timeout(proxy, "timeout connect", account);
    let server = timeout(proxy, "timeout server", account);
    let tunnel =
        proxy.set("timeout tunnel").and_then(|_| timeout(proxy, "timeout tunnel", account));
    let mut entries = Vec::new();
    let mut add = |key: &str, line: Option<(u64, Place)>| {
        if let Some((ms, place)) = line {
            entries.push((key.to_owned(), Value::duration_ms(ms).at(&place)));
        }
    };
    add("connect", connect);
    if proxy.is_http() {
        add("first_byte", server.clone());
        add("progress", server.clone());
    }
    // Without one of its own a tunnel ends when neither side says anything for this long.
    let silent = server.into_iter().chain(client).min_by_key(|(ms, _)| *ms);
    add("tunnel_idle", tunnel.or(silent));
    Value::Table(entries)
}

/// A timeout in milliseconds; reports one that is missing or endless and ought not to be.
pub(super) fn timeout(
    proxy: &Proxy<'_>,
    keyword: &'static str,
    account: &mut Account,
) -> Option<(u64, Place)> {
    let line = proxy.set(keyword);
    if let Some(line) = line {
        let result = match line.variable(2) {
            Some(name) => Err(format!("the environment variable `{name}` is not known here")),
            None => timeout_ms(line.text(2)).map_err(str::to_owned),
        };
        match result {
            Ok(Some(ms)) => {
                account.items.mapped(line.item);
                return Some((ms, line.place()));
            }
            Ok(None) => account.items.refused(line.item, "no timeout of the door is endless"),
            Err(reason) => {
                account.items.refused(line.item, reason);
                return None;
            }
        }
    }
    if matches!(keyword, "timeout connect" | "timeout server" | "timeout client") {
        let nearest = proxy.inherited.first().map_or(&proxy.section.head, |section| &section.head);
        let place = line.unwrap_or(nearest).place();
        if account.missing.insert((place.file, place.span.start, keyword)) {
            let message = format!("without `{keyword}` HAProxy waits for ever");
            account.breaks("missing-timeout", &place, message);
        }
    }
    None
}

/// Attempts of this door at most.
const ATTEMPTS_MAX: u64 = 5;

/// Without `retry-on` HAProxy repeats only the connection, at the same server unless it is told
/// otherwise. This door goes to another server at once, so three attempts reach further than
/// any number there; and its budget holds for connections that fail, which cost servers nothing.
fn retries(proxy: &Proxy<'_>, account: &mut Account) -> Option<(&'static str, Value, Place)> {
    if let Some(line) = proxy.last("option redispatch") {
        account.items.mapped(line.item);
    }
    let line = proxy.set("retries");
    let count = line.and_then(|line| {
        account.result(line.item, number(line.text(1)).ok_or("this is not a number"))
    });
    // What is repeated once a connection is open are requests.
    let on = proxy.set("retry-on").filter(|_| proxy.is_http());
    let place = line.or(on)?.place();
    let Some(on) = on.filter(|on| !on.texts(1).iter().all(|word| *word == "conn-failure")) else {
        if let Some(on) = on {
            account.items.mapped(on.item);
        }
        let attempts = count.unwrap_or(3).saturating_add(1).min(3);
        let entries = vec![("attempts".to_owned(), Value::Integer(attempts).here())];
        return Some(("retries", Value::Table(entries), place));
    };
    let on_status = retried(on, account);
    unsafe_retry(proxy, on, account);
    let attempts = if on.texts(1) == ["none"] { 1 } else { count.unwrap_or(3).saturating_add(1) };
    if let Some(line) = line.filter(|_| attempts > ATTEMPTS_MAX) {
        account.items.refused(line.item, "the door makes at most 5 attempts");
    }
    let entries = vec![
        ("attempts".to_owned(), Value::Integer(attempts.min(ATTEMPTS_MAX)).here()),
        // HAProxy repeats every request that fails, however many do.
        ("budget".to_owned(), Value::Number(1.0).here()),
        ("on_status".to_owned(), Value::Boolean(on_status).here()),
    ];
    Some(("retries", Value::Table(entries), place))
}

/// Settles `retry-on`; whether answers with an error are among it.
fn retried(line: &Line, account: &mut Account) -> bool {
    const STATUSES: [&str; 4] = ["502", "503", "504", "all-retryable-errors"];
    const FAILURES: [&str; 6] = [
        "none",
        "conn-failure",
        "empty-response",
        "junk-response",
        "response-timeout",
        "0rtt-rejected",
    ];
    let words = line.texts(1);
    let other = words.iter().find(|word| !FAILURES.contains(word) && !STATUSES.contains(word));
    let result = other.map_or(Ok(()), |word| {
        Err(format!("the door tries again after 502, 503 and 504 only, not after {word}"))
    });
    account.result(line.item, result);
    words.iter().any(|word| STATUSES.contains(word))
}

fn unsafe_retry(proxy: &Proxy<'_>, line: &Line, account: &mut Account) {
    let is_safe = |word: &&str| matches!(*word, "none" | "conn-failure" | "0rtt-rejected");
    let guard = proxy.all("http-request disable-l7-retry").next();
    if !line.texts(1).iter().all(is_safe) && guard.is_none() {
        let message =
            "a POST is sent again too, unless `http-request disable-l7-retry` says not to";
        account.breaks("unsafe-retry", &line.place(), message.to_owned());
    }
}

/// HAProxy sets a server aside for failed requests only with `observe`.
fn ejection(servers: &[Server], account: &mut Account) -> Value {
    let observe = shared(servers, "observe", account);
    let action = shared(servers, "on-error", account);
    let limit = shared(servers, "error-limit", account);
    let action_name = action.as_ref().map_or("", |choice| choice.value.as_str());
    match (&observe, action_name) {
        (Some(_), "mark-down") => {
            let limit = limit.and_then(|choice| number(&choice.value)).unwrap_or(10);
            let failures = Value::Integer(limit.clamp(1, 1_000)).here();
            Value::Table(vec![("failures".to_owned(), failures)])
        }
        (observe, _) => {
            for choice in [observe, &action, &limit].into_iter().flatten() {
                let reason =
                    "the door sets a server aside as with `on-error mark-down`, or not at all";
                account.items.refused(choice.item, reason);
            }
            Value::Boolean(false)
        }
    }
}

/// How long requests wait for a place; without `maxconn` nothing waits in HAProxy.
fn queue_wait(proxy: &Proxy<'_>, account: &mut Account) -> Option<(&'static str, Value, Place)> {
    const WAIT_MS_MAX: u64 = 60_000;
    let line = proxy.set("timeout queue")?;
    let wait = super::units::timeout_ms(line.text(2));
    let ms = account.result(line.item, wait)?.unwrap_or(WAIT_MS_MAX).min(WAIT_MS_MAX);
    let difference = "the door keeps fewer waiting, and for less time while it is overloaded";
    account.differs(line, difference);
    Some(("queue_wait", Value::duration_ms(ms), line.place()))
}

fn queue(proxy: &Proxy<'_>, maxconn: &Choice, servers: &[Server], account: &mut Account) {
    let is_bounded = servers.iter().all(|server| server.last("maxqueue").is_some());
    if number(&maxconn.value).is_some_and(|limit| limit > 0) && !is_bounded {
        let message = format!(
            "requests beyond this wait in `{}`, however many: write `maxqueue`",
            proxy.name()
        );
        let finding = Finding::warning("unbounded-queue", 0..0, message).label("here");
        account.ledger.finding(&maxconn.place, finding);
    }
}

/// What says that connections to servers are not to be used again.
fn idle<'s>(proxy: &Proxy<'s>, account: &mut Account) -> Option<(&'static str, Value, &'s Line)> {
    const MODES: [&str; 3] =
        ["option http-server-close", "option httpclose", "option http-keep-alive"];
    let is_mode =
        |line: &&Line| !line.is_negated && MODES.iter().any(|mode| is_keyword(line, mode));
    let sections = std::iter::once(proxy.section).chain(proxy.inherited.iter().copied());
    // The modes exclude one another: the last of the nearest section counts.
    let line = sections.into_iter().find_map(|section| section.lines.iter().rev().find(is_mode));
    let line = line.filter(|line| !is_keyword(line, "option http-keep-alive"));
    let reuse = proxy.set("http-reuse");
    if let Some(line) = reuse.filter(|line| line.text(1) != "never") {
        account.items.ignored(line.item, "the door uses a connection again as its server allows");
    }
    let line = line.or(reuse.filter(|line| line.text(1) == "never"))?;
    account.items.mapped(line.item);
    Some(("idle_max", Value::Integer(0), line))
}

/// What has no place of its own above.
fn settle_rest(proxy: &Proxy<'_>, servers: &[Server], account: &mut Account) {
    for choice in servers.iter().flat_map(|server| &server.choices) {
        match choice.name.as_str() {
            "maxqueue" => {
                let reason = "the door bounds what waits by itself: twice what its servers take";
                account.items.ignored(choice.item, reason);
            }
            _ if !account.items.is_settled(choice.item) => {
                account.items.ignored(choice.item, "a later one replaces it");
            }
            _ => {}
        }
    }
    if let Some(line) = proxy.set("timeout queue") {
        account.items.ignored(line.item, "without `maxconn` nothing waits in HAProxy either");
    }
    if let Some(line) = proxy.set("cookie") {
        let reason =
            "the door binds no client to a server: `balance = { maglev = ... }` comes close";
        account.items.refused(line.item, reason);
    }
}
