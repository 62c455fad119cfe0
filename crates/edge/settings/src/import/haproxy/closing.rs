//! Rules that close: `deny` and its kin, rejected connections, pages of HAProxy's own.
//!
//! None of them is ever left out. Where the door cannot ask for their condition it refuses all that
//! they may be for, so that nothing is open that HAProxy closes.

use std::rc::Rc;

use super::account::Account;
use super::acl::Acls;
use super::condition::{Cell, Expression, Path};
use super::headers::Side;
use super::items::Line;
use super::keywords::RULES_OF_TCP;
use super::pattern::is_of_path;
use super::protocol;
use super::proxy::Proxy;
use super::routes::{Action, Rule, Then};
use super::rules::{condition_start, respond, rule, then_rule};

const AT_ONCE: &str = "HAProxy lets whoever asks wait first; the door answers at once";
const ANSWERED: &str = "HAProxy closes the connection without an answer; the door answers 403";
const CONSOLE: &str = "the door's own status is at its admin interface, and it answers 403 here";

/// `http-request deny`, `tarpit`, `reject` and `silent-drop`.
pub(super) fn closed(line: &Line, acls: &Acls, account: &mut Account) -> Rule {
    let then = match line.text(1) {
        "deny" => respond(line, 403),
        "tarpit" => {
            account.differs(line, AT_ONCE);
            respond(line, 500)
        }
        _ => {
            account.differs(line, ANSWERED);
            Ok(Action::answer(403))
        }
    };
    let start = condition_start(line, 2);
    if let Some(difference) = acls.condition(&line.texts(start)).difference {
        let reason = format!("{difference}; the door refuses all that it may be for");
        account.items.refused(line.item, reason);
    }
    then_rule(line, then.map(Then::Act), (start, true), acls, account)
}

/// `http-request use-service`: HAProxy's metrics are not the door's, and others it has none.
pub(super) fn service(line: &Line, acls: &Acls, account: &mut Account) -> Rule {
    let start = condition_start(line, 2);
    if line.text(2) == "prometheus-exporter" {
        let (rule, _) = rule(line, start, Then::Act(Action::answer(403)), acls, account);
        let reason = "the door's metrics are at its admin interface, and it answers 403 here";
        account.items.ignored(line.item, reason);
        return rule;
    }
    let then = Err("the door has no services to call".to_owned());
    then_rule(line, then, (start, false), acls, account)
}

/// The page of statistics, which no server is asked for.
pub(super) fn statistics(proxy: &Proxy<'_>, account: &mut Account) -> Option<Rule> {
    let enables = ["stats uri", "stats enable", "stats auth"];
    let line = enables.into_iter().find_map(|keyword| proxy.set(keyword))?;
    let page = proxy.set("stats uri").map_or("/haproxy?stats", |line| line.text(2));
    let (path, query) = page.split_once('?').map_or((page, None), |(path, q)| (path, Some(q)));
    let is_known = path.starts_with('/') && is_of_path(path) && line.variable(2).is_none();
    // Behind a question mark is the query, for which no route asks.
    let when = match query {
        _ if !is_known => Expression::Unknown,
        Some(_) => Expression::Is(Cell::of_path(Path::whole(path, false))),
        None => Expression::of_path(Path::beginning(path, false)),
    };
    account.items.ignored(line.item, CONSOLE);
    Some(Rule { when, then: Then::Act(Action::answer(403)), item: line.item })
}

/// Rules that HAProxy had once, and what it does to answers: they close whatever they may be for.
pub(super) fn old(proxy: &Proxy<'_>, acls: &Acls, account: &mut Account) -> Vec<Rule> {
    let mut rules = Vec::new();
    for line in proxy.lines().filter(|line| !line.is_negated) {
        let status = match (line.text(0), line.text(1)) {
            ("block", _) => 403,
            ("reqdeny" | "reqideny" | "reqtarpit" | "reqitarpit", _) => 403,
            ("http-response", "deny") => 502,
            ("reqrep" | "reqirep", _) => 501,
            _ => continue,
        };
        let then = Then::Act(Action::answer(status));
        let (known, _) = rule(line, condition_start(line, 1), then, acls, account);
        // What the message itself says nobody knows here, nor what the answer will.
        let when = match line.text(0) {
            "block" => known.when,
            _ => Expression::All(vec![known.when, Expression::Unknown]),
        };
        let reason = format!("the door answers {status} to all that it may be for");
        account.items.refused(line.item, reason);
        rules.push(Rule { when, ..known });
    }
    rules
}

/// `tcp-request` rules that close, in front of the `rules` of a proxy.
pub(super) fn connections(
    proxy: &Proxy<'_>,
    (acls, side): (&Acls, Side),
    mut rules: Vec<Rule>,
    account: &mut Account,
) -> Vec<Rule> {
    const LEVELS: [&str; 3] =
        ["tcp-request content", "tcp-request session", "tcp-request connection"];
    let levels = if side.is_back { &LEVELS[..1] } else { &LEVELS[..] };
    for level in levels {
        if !proxy.all(level).any(|line| closes(proxy, line)) {
            continue;
        }
        let behind = Rc::new(rules);
        rules = Vec::new();
        for line in proxy.all(level) {
            let start = condition_start(line, 3);
            if closes(proxy, line) {
                account.differs(line, ANSWERED);
                let then = Ok(Then::Act(Action::answer(403)));
                rules.push(then_rule(line, then, (start, true), acls, account));
            } else if line.text(2) == "accept" {
                let then = Then::Rules(Rc::clone(&behind));
                let (accepted, unknown) = rule(line, start, then, acls, account);
                match unknown {
                    None => account.items.mapped(line.item),
                    Some(_) => account.items.refused(line.item, RULES_OF_TCP),
                }
                rules.push(accepted);
            }
        }
        rules.extend(behind.iter().cloned());
    }
    rules
}

/// Whether a line closes connections, other than at the listeners.
pub(super) fn closes(proxy: &Proxy<'_>, line: &Line) -> bool {
    matches!(line.text(2), "reject" | "silent-drop") && !protocol::is_at_listeners(proxy, line)
}
