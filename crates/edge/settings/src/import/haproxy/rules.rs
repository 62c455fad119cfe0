//! The rules of a front end and of the back ends behind it, in the order HAProxy asks them.
//!
//! First `monitor-uri`, then `http-request`, then `redirect`, then `use_backend`, then
//! `default_backend`; behind a back end come its own `http-request` and `redirect`, and then the
//! servers. A rule whose condition no route can ask for is refused, but not left out: what it may be
//! for is answered so that nothing is open that it closes, and nobody is led elsewhere.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::account::Account;
use super::acl::{Acls, Facts};
use super::closing;
use super::condition::{Cell, Expression, Path};
use super::headers::{self, Side};
use super::items::Line;
use super::proxy::Proxy;
use super::replace;
use super::routes::{Action, Rule, Then};
use super::treatment::{Phase, Treat};
use super::units::number;
use super::users::Userlists;

/// Rules of one kind in one proxy, at most; what is beyond is refused.
const RULES_MAX: usize = 2_000;

/// What a back end is to the rules of front ends.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A pool of this name.
    Pool(String),
    /// Not taken over: why.
    Refused(String),
}

/// What all front ends share.
#[derive(Debug)]
pub(super) struct World<'s> {
    /// Every proxy with servers, by name.
    pub(super) targets: BTreeMap<String, (Target, Proxy<'s>)>,
    /// The lists of users, by name.
    pub(super) users: Userlists,
}

/// The rules of a front end. The last one always holds.
pub(super) fn rules(
    proxy: &Proxy<'_>,
    facts: Facts,
    world: &World<'_>,
    account: &mut Account,
) -> Vec<Rule> {
    let acls = Acls::read(proxy.lines(), facts);
    let mut behind = Vec::new();
    for (index, line) in proxy.all("use_backend").take(RULES_MAX + 1).enumerate() {
        if index == RULES_MAX {
            behind.push(too_many(line, account));
            break;
        }
        let then = backend(line, line.text(1), facts, world, account);
        behind.push(then_rule(line, then, (condition_start(line, 2), false), &acls, account));
    }
    if let Some(line) = proxy.set("default_backend") {
        let then = backend(line, line.text(1), facts, world, account);
        behind.push(then_rule(line, then, (line.words.len(), false), &acls, account));
    } else if proxy.section.kind.has_servers()
        && let Some((Target::Pool(name), _)) = world.targets.get(proxy.name())
    {
        let then = Then::Act(Action::Pool(name.clone()));
        behind.push(Rule { when: always(), then, item: proxy.section.head.item });
    }
    // Without any back end HAProxy has no server for the request.
    let then = Then::Act(Action::answer(503));
    behind.push(Rule { when: always(), then, item: proxy.section.head.item });
    let side = Side { is_back: false };
    let mut rules: Vec<Rule> = monitor(proxy, account).into_iter().collect();
    rules.extend(requests(proxy, (&acls, side), behind, world, account));
    let rules = closing::connections(proxy, (&acls, side), rules, account);
    acls.settle(proxy.lines(), &mut account.items);
    rules
}

/// A condition that always holds.
pub(super) fn always() -> Expression {
    Expression::Constant(true)
}

/// `monitor-uri` answers before any rule is asked.
fn monitor(proxy: &Proxy<'_>, account: &mut Account) -> Option<Rule> {
    let line = proxy.set("monitor-uri")?;
    let text = line.text(1);
    let is_plain =
        text.starts_with('/') && !text.contains(['?', '#', '%', '"']) && !text.contains("//");
    let path =
        account.result(line.item, is_plain.then_some(text).ok_or("this is no plain path"))?;
    account.differs(line, "HAProxy compares the query too; the door answers whatever it is");
    let action = Action::Respond {
        status: 200,
        body: "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n".to_owned(),
        content_type: Some("text/html".to_owned()),
    };
    let when = Expression::Is(Cell::of_path(Path::Exact(path.to_owned())));
    Some(Rule { when, then: Then::Act(action), item: line.item })
}

/// `http-request` and `redirect` of a proxy, and what comes `behind` them.
fn requests(
    proxy: &Proxy<'_>,
    (acls, side): (&Acls, Side),
    behind: Vec<Rule>,
    world: &World<'_>,
    account: &mut Account,
) -> Vec<Rule> {
    let mut redirects: Vec<Rule> = closing::statistics(proxy, account).into_iter().collect();
    for (index, line) in proxy.all("redirect").take(RULES_MAX + 1).enumerate() {
        if index == RULES_MAX {
            redirects.push(too_many(line, account));
            break;
        }
        let then = redirect(line, 1).map(Then::Act);
        redirects.push(then_rule(line, then, (condition_start(line, 1), false), acls, account));
    }
    redirects.extend(behind);
    let behind = Rc::new(redirects);
    let mut rules = headers::answers(proxy, side, acls, account);
    rules.extend(closing::old(proxy, acls, account));
    let is_left = |line: &&Line| is_own(line) && !account.items.is_limit(line.item);
    let lines: Vec<&Line> = proxy.all("http-request").filter(is_left).take(RULES_MAX + 1).collect();
    for (index, line) in lines.into_iter().enumerate() {
        if index == RULES_MAX {
            rules.push(too_many(line, account));
            break;
        }
        let start = condition_start(line, 2);
        let then = match line.text(1) {
            "deny" | "tarpit" | "reject" | "silent-drop" => {
                rules.push(closing::closed(line, acls, account));
                continue;
            }
            "return" => respond(line, 200).map(Then::Act),
            "redirect" => redirect(line, 2).map(Then::Act),
            "allow" => Ok(Then::Rules(Rc::clone(&behind))),
            "use-service" => {
                rules.push(closing::service(line, acls, account));
                continue;
            }
            "auth" => {
                rules.extend(headers::ask(proxy, line, (acls, &world.users), account));
                continue;
            }
            _ if replace::is_rewriting(line) => {
                rules.extend(rewritings(line, acls, account));
                continue;
            }
            _ => {
                let rule = headers::header(line, Phase::Request, side, acls, account);
                rules.extend(account.result(line.item, rule).flatten());
                continue;
            }
        };
        rules.push(then_rule(line, then, (start, false), acls, account));
    }
    rules.extend(behind.iter().cloned());
    rules
}

fn is_own(line: &Line) -> bool {
    matches!(
        line.text(1),
        "deny"
            | "tarpit"
            | "reject"
            | "silent-drop"
            | "return"
            | "redirect"
            | "allow"
            | "auth"
            | "use-service"
    ) || headers::is_header(line)
        || replace::is_rewriting(line)
}

/// What stands for all rules of a kind that are too many: nobody gets past them.
fn too_many(line: &Line, account: &mut Account) -> Rule {
    let reason = format!("there are more than {RULES_MAX} rules of its kind; the door answers 501");
    account.items.refused(line.item, reason);
    Rule { when: always(), then: Then::Act(Action::answer(501)), item: line.item }
}

/// The index of `if` or `unless` from word `from` on, or the end.
pub(super) fn condition_start(line: &Line, from: usize) -> usize {
    let found =
        line.words.iter().skip(from).position(|word| matches!(word.text.as_str(), "if" | "unless"));
    found.map_or(line.words.len(), |index| from + index)
}

/// What a line does when its condition from word `start` on holds, and why routes cannot ask for
/// all of that, if so.
pub(super) fn rule(
    line: &Line,
    start: usize,
    then: Then,
    acls: &Acls,
    account: &mut Account,
) -> (Rule, Option<String>) {
    if let Some(name) = line.variable(1) {
        let reason = format!("the environment variable `{name}` is not known here");
        return (Rule { when: Expression::Unknown, then, item: line.item }, Some(reason));
    }
    let asked = acls.condition(&line.texts(start));
    if let Some(difference) = asked.difference {
        account.differs(line, difference);
    }
    (Rule { when: asked.expression, then, item: line.item }, asked.unknown)
}

/// What a line does that ends a request, and what became of the line. What the door cannot do is
/// answered 501, or 403 when the line `closes`; so is what the door cannot ask, as far as it may be
/// for a request and anything else would be done with it otherwise (`decide`).
pub(super) fn then_rule(
    line: &Line,
    then: Result<Then, String>,
    (start, closes): (usize, bool),
    acls: &Acls,
    account: &mut Account,
) -> Rule {
    let status = if closes { 403 } else { 501 };
    let then = then.unwrap_or_else(|reason| {
        account.items.refused(line.item, format!("{reason}; the door answers {status} here"));
        Then::Act(Action::answer(status))
    });
    let (rule, unknown) = rule(line, start, then, acls, account);
    match unknown {
        None => account.items.mapped(line.item),
        Some(reason) if closes => {
            let reason = format!("{reason}; the door refuses all that it may be for");
            account.items.refused(line.item, reason);
        }
        Some(reason) => {
            let reason = format!("{reason}; where that decides the door answers 501, or refuses");
            account.items.refused(line.item, reason);
        }
    }
    rule
}

/// What a line does to paths.
fn rewritings(line: &Line, acls: &Acls, account: &mut Account) -> Vec<Rule> {
    let start = condition_start(line, 2);
    let words = line.texts(2);
    let words = words.get(..start.saturating_sub(2)).unwrap_or_default();
    let unanswered = |reason: String, account: &mut Account| {
        let then = Err(reason);
        vec![then_rule(line, then, (start, false), acls, account)]
    };
    let found = match line.variable(2) {
        Some(name) => Err(format!("the environment variable `{name}` is not known here")),
        None => replace::rewritings(line.text(1), words),
    };
    let found = match found {
        Ok(found) => found,
        Err(reason) => return unanswered(reason, account),
    };
    let nothing = Then::Act(Action::answer(501));
    let (asked, unknown) = rule(line, start, nothing, acls, account);
    if let Some(reason) = unknown {
        return unanswered(reason, account);
    }
    if line.text(1) == "replace-uri" {
        account.differs(line, "of HTTP/2 HAProxy compares the whole address; the door the path");
    }
    account.items.mapped(line.item);
    let rule = |(set, rewrite): replace::Rewriting| Rule {
        when: Expression::All(vec![asked.when.clone(), set]),
        then: Then::Treat(Treat::Path(rewrite)),
        item: line.item,
    };
    found.into_iter().map(rule).collect()
}

/// What a back end does with a request.
fn backend(
    line: &Line,
    name: &str,
    facts: Facts,
    world: &World<'_>,
    account: &mut Account,
) -> Result<Then, String> {
    if name.contains("%[") {
        if ["hdr", "path", "url", "query", "cook", "base"].iter().any(|part| name.contains(part))
            && !name.contains("map")
        {
            let message = "the back end is chosen by what the client sends".to_owned();
            account.breaks("client-chosen-upstream", &line.place(), message);
        }
        return Err("a route names its pool: what is computed names none".to_owned());
    }
    let (target, proxy) = world
        .targets
        .get(name)
        .ok_or_else(|| format!("there is no back end `{name}` that speaks HTTP"))?;
    let served = match target {
        Target::Pool(pool) => Action::Pool(pool.clone()),
        Target::Refused(reason) if proxy.all("server").next().is_some() => {
            return Err(reason.clone());
        }
        // Without any server HAProxy answers so too, unless its rules do before.
        Target::Refused(_) => Action::answer(503),
    };
    let servers = Rule { when: always(), then: Then::Act(served), item: line.item };
    if !account.spend(proxy.lines_count()) {
        return Err("the configuration has too many rules to follow them all".to_owned());
    }
    let acls = Acls::read(proxy.lines(), facts);
    let side = Side { is_back: true };
    let rules = requests(proxy, (&acls, side), vec![servers.clone()], world, account);
    let rules = closing::connections(proxy, (&acls, side), rules, account);
    acls.settle(proxy.lines(), &mut account.items);
    Ok(if rules.len() == 1 { servers.then } else { Then::Rules(Rc::new(rules)) })
}

/// What `deny` and `return` answer.
pub(super) fn respond(line: &Line, status_default: u16) -> Result<Action, String> {
    let end = condition_start(line, 2);
    let mut status = status_default;
    let (mut body, mut content_type) = (String::new(), None);
    let mut at = 2;
    while at < end {
        let value = if at + 1 < end { line.text(at + 1) } else { "" };
        match line.text(at) {
            "status" | "deny_status" => {
                let code = number(value).and_then(|code| u16::try_from(code).ok());
                status = code
                    .filter(|code| (200..=599).contains(code))
                    .ok_or("this is no status code the door answers with")?;
            }
            "content-type" => content_type = Some(value.to_owned()),
            "string" => body = value.to_owned(),
            "lf-string" if !value.contains('%') => body = value.to_owned(),
            "default-errorfiles" => {
                at += 1;
                continue;
            }
            other => return Err(format!("a fixed answer has no `{other}` here")),
        }
        at += 2;
    }
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        return Err(format!("an answer {status} has no body"));
    }
    if let Some(kind) = content_type.as_ref().filter(|kind| !kind.contains('/')) {
        return Err(format!("`{kind}` is no content type"));
    }
    Ok(Action::Respond { status, body, content_type })
}

/// `redirect location|prefix|scheme TEXT [code N] [drop-query]`, in any order, from word `from`.
fn redirect(line: &Line, from: usize) -> Result<Action, String> {
    let end = condition_start(line, from);
    let (mut kind, mut text) = ("", "");
    let mut status = 302;
    let mut query = "{query}";
    let mut at = from;
    while at < end {
        match line.text(at) {
            word @ ("location" | "prefix" | "scheme") => {
                (kind, text) = (word, line.text(at + 1));
                at += 1;
            }
            "code" => {
                status = number(line.text(at + 1))
                    .and_then(|code| u16::try_from(code).ok())
                    .filter(|code| matches!(code, 301 | 302 | 303 | 307 | 308))
                    .ok_or("a redirect is 301, 302, 303, 307 or 308")?;
                at += 1;
            }
            "drop-query" => query = "",
            other => return Err(format!("a redirect has no `{other}` here")),
        }
        at += 1;
    }
    let location = match kind {
        "location" => formatted(text)?,
        "prefix" if text == "/" => format!("{{path}}{query}"),
        "prefix" => format!("{}{{path}}{query}", formatted(text)?),
        "scheme" => format!("{}://{{host}}{{path}}{{query}}", formatted(text)?),
        _ => return Err("where it leads is missing".to_owned()),
    };
    let starts = ["/", "http://", "https://", "{path}"];
    let is_location = starts.iter().any(|start| location.starts_with(start))
        && location.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if !is_location {
        return Err("the location is no address the door redirects to".to_owned());
    }
    Ok(Action::Redirect { status, location })
}

/// A format with HAProxy's expressions as a text with this door's placeholders.
fn formatted(text: &str) -> Result<String, String> {
    const KNOWN: [(&str, &str); 12] = [
        ("%[hdr(host)]", "{host}"),
        ("%[hdr(Host)]", "{host}"),
        ("%[req.hdr(host)]", "{host}"),
        ("%[req.hdr(Host)]", "{host}"),
        ("%[path]", "{path}"),
        ("%[pathq]", "{path}{query}"),
        ("%[url]", "{path}{query}"),
        ("%[capture.req.uri]", "{path}{query}"),
        ("%[req.uri]", "{path}{query}"),
        ("%HU", "{path}{query}"),
        ("%HP", "{path}"),
        ("%HQ", "{query}"),
    ];
    if text.contains(['{', '}']) {
        return Err("braces are placeholders here".to_owned());
    }
    let mut result = text.to_owned();
    for (from, to) in KNOWN {
        result = result.replace(from, to);
    }
    // `%%` is a percent sign; anything else is an expression.
    if result.replace("%%", "").contains('%') {
        return Err(
            "a location knows the host, the path and the query of the request only".to_owned()
        );
    }
    Ok(result.replace("%%", "%"))
}
