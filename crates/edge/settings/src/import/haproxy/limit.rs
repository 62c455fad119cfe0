//! Denials by rate: a stick table of addresses, a counter that tracks them, and `deny` above it.
//!
//! `stick-table type ip ... store http_req_rate(10s)`, `http-request track-sc0 src` and
//! `http-request deny if { sc_http_req_rate(0) gt 20 }` together are a limit by address. Any other
//! use of a table has no counterpart here and is refused where it stands.

use super::super::Place;
use super::super::writer::Value;
use super::account::Account;
use super::items::{Item, Line};
use super::pool::Table;
use super::proxy::{Proxy, is_keyword};
use super::units::{number, time_ms};

/// Limits of one front end, at most.
const LIMITS_MAX: usize = 16;

/// The largest burst of the door, and the longest that one may take to come back: 7 days.
const BURST_MAX: u64 = 1_000_000;
const PERIOD_MS_MAX: u64 = 7 * 86_400_000;

/// Units of rates, in milliseconds.
const UNITS: [(u64, &str); 4] = [(1_000, "s"), (60_000, "m"), (3_600_000, "h"), (86_400_000, "d")];

const DIFFERENCE: &str = "HAProxy keeps refusing whoever goes on; the door lets the rate through \
                          evenly, and answers 429";

/// A limit by address.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    rate: String,
    burst: u64,
    place: Place,
}

impl PartialEq for Limit {
    /// Whether both hold requests to the same, wherever that is said.
    fn eq(&self, other: &Self) -> bool {
        (&self.rate, self.burst) == (&other.rate, other.burst)
    }
}

impl Limit {
    /// Its table; `routes` are the names of those it holds for, `None` is all.
    pub(super) fn table(&self, name: String, routes: Option<&[String]>) -> Table {
        let place = &self.place;
        let mut keys = vec![
            ("by", Value::text("address"), place.clone()),
            ("rate", Value::text(self.rate.clone()), place.clone()),
            ("burst", Value::Integer(self.burst), place.clone()),
        ];
        if let Some(routes) = routes {
            let routes = routes.iter().map(|route| Value::text(route.clone()).here());
            keys.push(("routes", Value::Array(routes.collect()), place.clone()));
        }
        Table { path: vec!["limits".to_owned(), name], place: place.clone(), keys }
    }
}

/// The limits of a front end; settles the lines that they are made of.
pub(super) fn limits(proxy: &Proxy<'_>, live: &[&Proxy<'_>], account: &mut Account) -> Vec<Limit> {
    let mut limits = Vec::new();
    // Not those of `defaults`: they may be parts of a limit in one front end and not in another.
    let is_deny = |line: &&Line| is_keyword(line, "http-request deny") && !line.is_negated;
    for line in proxy.section.lines.iter().filter(is_deny) {
        let Some(found) = limit(proxy, live, line).filter(|_| limits.len() < LIMITS_MAX) else {
            continue;
        };
        let (limit, items) = found;
        account.differs(line, DIFFERENCE);
        items.into_iter().for_each(|item| account.items.limits(item));
        limits.push(limit);
    }
    limits
}

fn limit(proxy: &Proxy<'_>, live: &[&Proxy<'_>], line: &Line) -> Option<(Limit, Vec<Item>)> {
    let mut items = vec![line.item];
    let start = line.texts(0).iter().position(|word| *word == "if")?;
    let words = line.texts(start + 1);
    let acl = named(proxy, &words);
    items.extend(acl.iter().map(|line| line.item));
    let acl_words = acl.map(|line| line.texts(2));
    let criterion = match (&acl_words, words.as_slice()) {
        (Some(words), _) => words.as_slice(),
        (None, ["{", inner @ .., "}"]) => inner,
        (None, _) => return None,
    };
    let [counter, comparison, text] = criterion else { return None };
    let most = match *comparison {
        "gt" => number(text)?,
        "ge" => number(text)?.checked_sub(1)?,
        _ => return None,
    };
    let counted = counter_of(counter)?;
    // Whoever is let through before is not counted against the limit.
    let before = proxy.all("http-request").take_while(|other| other.item != line.item);
    let (mut tracked, mut table) = (None, counted.table);
    for other in before {
        if other.text(1) == "allow" {
            return None;
        }
        if counted.slot.is_some_and(|slot| is_track(other, slot)) {
            tracked = Some(other);
        }
    }
    if counted.slot.is_some() {
        let track = tracked?;
        items.push(track.item);
        table = table.or(table_of_track(track)?);
    }
    let owner = match table {
        Some(name) => live.iter().find(|other| other.name() == name)?,
        None => proxy,
    };
    let stick = owner.section.lines.iter().find(|line| is_keyword(line, "stick-table"))?;
    items.push(stick.item);
    let limit = held(most, period_ms(stick)?, line.place())?;
    Some((limit, items))
}

/// The ACL that a condition of one name stands for, if it is written once.
fn named<'l>(proxy: &Proxy<'l>, words: &[&str]) -> Option<&'l Line> {
    let [name] = words else { return None };
    let mut acls = proxy.all("acl").filter(|line| line.text(1) == *name);
    acls.next().filter(|_| acls.next().is_none())
}

/// A counter of requests: of a slot, or of the address itself; and the table that it names.
struct Counter<'w> {
    slot: Option<u8>,
    table: Option<&'w str>,
}

/// Reads `sc_http_req_rate(0)`, `sc0_http_req_rate`, `src_http_req_rate`, each with a table.
fn counter_of(word: &str) -> Option<Counter<'_>> {
    let (name, argument) = match word.strip_suffix(')') {
        Some(word) => word.split_once('(')?,
        None => (word, ""),
    };
    let named = Some(argument).filter(|name| !name.is_empty());
    let slot = |text: &str| text.parse::<u8>().ok();
    match name {
        "src_http_req_rate" => Some(Counter { slot: None, table: named }),
        "sc_http_req_rate" => {
            let (text, table) = argument.split_once(',').unwrap_or((argument, ""));
            let table = Some(table).filter(|name| !name.is_empty());
            Some(Counter { slot: Some(slot(text)?), table })
        }
        _ => {
            let text = name.strip_prefix("sc")?.strip_suffix("_http_req_rate")?;
            Some(Counter { slot: Some(slot(text)?), table: named })
        }
    }
}

/// Whether a line tracks the client's address in this slot.
fn is_track(line: &Line, slot: u8) -> bool {
    line.text(1) == format!("track-sc{slot}") && line.text(2) == "src"
}

/// The table that a tracking line names; `None` when it tracks on a condition.
fn table_of_track(line: &Line) -> Option<Option<&str>> {
    match line.texts(3).as_slice() {
        [] => Some(None),
        ["table", _] => Some(Some(line.text(4))),
        _ => None,
    }
}

/// Over which time a table of addresses counts requests.
fn period_ms(line: &Line) -> Option<u64> {
    let words = line.texts(1);
    let behind = |word: &str| {
        let at = words.iter().position(|other| *other == word)?;
        words.get(at + 1).copied()
    };
    behind("type").filter(|kind| matches!(*kind, "ip" | "ipv6"))?;
    let counter = behind("store")?.split(',').find_map(|what| what.strip_prefix("http_req_rate("));
    time_ms(counter?.strip_suffix(')')?).filter(|period| (1..=PERIOD_MS_MAX).contains(period))
}

/// So many in a time, as a rate of this door.
fn held(most: u64, period_ms: u64, place: Place) -> Option<Limit> {
    if !(1..=BURST_MAX).contains(&most) {
        return None;
    }
    let exact = UNITS.iter().find(|(unit, _)| most.saturating_mul(*unit).is_multiple_of(period_ms));
    let (unit, name) = exact.or(UNITS.last())?;
    let count = most.saturating_mul(*unit).div_ceil(period_ms);
    (count <= BURST_MAX).then(|| Limit { rate: format!("{count}/{name}"), burst: most, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(most: u64, period_ms: u64, expected: Option<&str>) {
        let limit = held(most, period_ms, Place { file: 0, span: 0..0 });
        assert_eq!(limit.map(|limit| limit.rate).as_deref(), expected);
    }

    #[test]
    fn a_count_in_a_time_is_a_rate() {
        check(20, 10_000, Some("2/s"));
        check(100, 60_000, Some("100/m"));
        check(25, 10_000, Some("150/m"));
        check(7, 13_000, Some("46524/d"));
        check(0, 10_000, None);
    }
}
