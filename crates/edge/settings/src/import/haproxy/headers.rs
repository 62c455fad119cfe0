//! `http-request`, `http-response` and `http-after-response` that change headers, `compression`,
//! and `http-request auth`: read line by line.

use std::collections::BTreeSet;

use super::super::passwords::is_realm;
use super::account::Account;
use super::acl::{Acls, Facts};
use super::condition::{Cell, Expression, Truth};
use super::items::Line;
use super::proxy::Proxy;
use super::routes::{Action, Rule, Then};
use super::rules::{always, condition_start, rule};
use super::treatment::{Change, Compress, Phase, Treat};
use super::units::number;
use super::users::{self, Userlists};
use super::value::value;

/// Types that are compressed where none is named: all.
const ALL_TYPES: [&str; 6] = ["application/*", "audio/*", "font/*", "image/*", "text/*", "video/*"];

/// Where a rule stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    /// Whether it is a back end's.
    pub(super) is_back: bool,
}

/// Whether a line changes a header.
pub(super) fn is_header(line: &Line) -> bool {
    matches!(line.text(1), "set-header" | "add-header" | "del-header")
}

/// Reads a line that changes a header. `None`: the door does it by itself.
pub(super) fn header(
    line: &Line,
    phase: Phase,
    side: Side,
    acls: &Acls,
    account: &mut Account,
) -> Result<Option<Rule>, String> {
    let facts = acls.facts();
    if phase == Phase::Request && is_written(line, facts) {
        return Ok(None);
    }
    let name = line.text(2).to_ascii_lowercase();
    let removes = line.text(1) == "del-header";
    let start = condition_start(line, if removes { 3 } else { 4 });
    let change = if removes {
        match line.texts(3).get(..start.saturating_sub(3)).unwrap_or_default() {
            [] | ["-m", "str"] => Change::Remove,
            _ => return Err("the door removes a header by its whole name".to_owned()),
        }
    } else {
        if start != 4 {
            return Err("a name and a value are needed".to_owned());
        }
        let (value, difference) = value(line.text(3), facts)?;
        if let Some(difference) = difference {
            account.differs(line, difference);
        }
        match line.text(1) {
            "set-header" => Change::Set(value),
            _ => Change::Add(value),
        }
    };
    // Refused here once, whatever the requests it is for.
    let mut alone = super::super::fields::Fields::of(if phase == Phase::Request {
        super::super::fields::Side::Request
    } else {
        super::super::fields::Side::Response
    });
    match &change {
        Change::Remove => alone.remove(&name, &line.place())?,
        Change::Set(value) => alone.set(&name, value, &line.place())?,
        Change::Add(value) => alone.add(&name, value, &line.place())?,
    }
    let is_back = side.is_back;
    let treat = Treat::Header { phase, is_back, change, name, place: line.place() };
    let (rule, unknown) = rule(line, start, Then::Treat(treat), acls, account);
    if let Some(reason) = unknown {
        return Err(reason);
    }
    if phase != Phase::Request && constant(&rule.when).is_none() {
        return Err("HAProxy does not know the request any more when it answers".to_owned());
    }
    Ok(Some(rule))
}

/// The value of a condition that asks nothing of requests.
fn constant(expression: &Expression) -> Option<bool> {
    let mut cells = BTreeSet::new();
    expression.cells(&mut cells, &mut 1_000)?;
    let truth = expression.truth(&Cell::ANY, false);
    (cells.is_empty() && truth != Truth::Maybe).then_some(truth == Truth::Yes)
}

/// Whether the door writes a forwarding header by itself as a line says.
fn is_written(line: &Line, facts: Facts) -> bool {
    if line.text(1) == "del-header" {
        return false;
    }
    let asks_tls = line.texts(4).iter().any(|word| word.contains("ssl_fc"));
    match (line.text(2).to_ascii_lowercase().as_str(), line.text(3)) {
        ("x-forwarded-for", "%[src]" | "%ci") | ("x-request-id", _) => true,
        (
            "x-forwarded-host",
            "%[req.hdr(host)]" | "%[req.hdr(Host)]" | "%[hdr(host)]" | "%[hdr(Host)]",
        ) => true,
        ("x-forwarded-proto", "https") => asks_tls || facts.is_tls == Some(true),
        ("x-forwarded-proto", "http") => asks_tls || facts.is_tls == Some(false),
        ("x-forwarded-proto", value) => value.contains("ssl_fc,iif(https,http)"),
        _ => false,
    }
}

/// What a proxy does to all answers, and how it compresses them.
pub(super) fn answers(
    proxy: &Proxy<'_>,
    side: Side,
    acls: &Acls,
    account: &mut Account,
) -> Vec<Rule> {
    const DIFFERENCE: &str =
        "HAProxy changes the answers of servers alone; the door its own errors too";
    let mut rules = Vec::new();
    let phases = [("http-response", Phase::Response), ("http-after-response", Phase::After)];
    for (keyword, phase) in phases {
        for line in proxy.all(keyword).filter(|line| is_header(line)) {
            let read = header(line, phase, side, acls, account);
            if read.is_ok() && phase == Phase::Response && !account.tells_errors {
                account.tells_errors = true;
                account.differs(line, DIFFERENCE);
            }
            rules.extend(account.result(line.item, read).flatten());
        }
    }
    rules.extend(compression(proxy, side, account));
    rules
}

/// `compression algo gzip`, with its types.
fn compression(proxy: &Proxy<'_>, side: Side, account: &mut Account) -> Vec<Rule> {
    let (mut rules, mut is_on, mut at) = (Vec::new(), false, None);
    let mut types = BTreeSet::new();
    let mut bytes_min = 0;
    for line in proxy.all("compression") {
        let known = match line.text(1) {
            "algo" | "algo-res" => {
                let has_gzip = line.texts(2).contains(&"gzip");
                is_on |= has_gzip;
                at = at.or(has_gzip.then_some(line));
                if has_gzip || line.texts(2) == ["identity"] {
                    Ok(())
                } else {
                    Err("the door compresses as gzip, br or zstd")
                }
            }
            "type" | "type-res" => {
                types.extend(line.texts(2).into_iter().map(str::to_ascii_lowercase));
                Ok(())
            }
            "minsize-res" => {
                number(line.text(2)).map(|size| bytes_min = size).ok_or("a size is a number")
            }
            "direction" if line.texts(2) == ["response"] => Ok(()),
            "offload" => {
                let treat = Treat::Header {
                    phase: Phase::Request,
                    is_back: side.is_back,
                    change: Change::Remove,
                    name: "accept-encoding".to_owned(),
                    place: line.place(),
                };
                rules.push(Rule { when: always(), then: Then::Treat(treat), item: line.item });
                Ok(())
            }
            _ => Err("the door compresses answers, not requests"),
        };
        account.result(line.item, known);
    }
    let is_type = |text: &String| {
        let parts = text.split_once('/').filter(|_| !text.starts_with("application/grpc"));
        parts.is_some_and(|(a, b)| crate::pool::is_token(a) && crate::pool::is_token(b))
    };
    types.retain(is_type);
    if types.is_empty() {
        types = ALL_TYPES.map(str::to_owned).into();
    }
    let Some(line) = at.filter(|_| is_on) else { return Vec::new() };
    let compress = Treat::Compress(Compress { bytes_min, types, place: line.place() });
    rules.push(Rule { when: always(), then: Then::Treat(compress), item: line.item });
    rules
}

/// `http-request auth [realm TEXT] [if ...]`: who has not shown who he is is asked. Where the door
/// cannot ask, nobody gets in.
pub(super) fn ask(
    proxy: &Proxy<'_>,
    line: &Line,
    (acls, lists): (&Acls, &Userlists),
    account: &mut Account,
) -> Vec<Rule> {
    let lines: Vec<&Line> = proxy.lines().filter(|line| line.text(0) == "acl").collect();
    let start = condition_start(line, 2);
    let realm = if line.text(2) == "realm" && start > 3 { line.text(3) } else { "" };
    let realm = if is_realm(realm) { realm } else { "" };
    let anonymous = users::acls_of(&lines, acls, false);
    let known = users::acls_of(&lines, acls, true);
    let closed = || Then::Act(Action::answer(403));
    let (stranger, unknown) = rule(line, start, closed(), &anonymous, account);
    let (friend, _) = rule(line, start, closed(), &known, account);
    acls.adopt(&anonymous);
    let list = match users::list_of(&line.texts(start), &lines, lists) {
        Ok(list) => list,
        Err(reason) => {
            let reason = format!("{reason}; the door answers 403 here");
            account.items.refused(line.item, reason);
            return vec![stranger];
        }
    };
    users::settle(&list, account);
    let treat = Treat::Ask { users: list, realm: realm.to_owned(), place: line.place() };
    let asked = Rule { then: Then::Treat(treat), ..stranger };
    match unknown {
        None => account.items.mapped(line.item),
        Some(reason) => {
            let reason = format!("{reason}; the door asks all for whom it may hold");
            account.items.refused(line.item, reason);
        }
    }
    if constant(&friend.when) == Some(false) { vec![asked] } else { vec![friend, asked] }
}
