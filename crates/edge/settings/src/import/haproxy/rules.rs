//! The rules of a front end and of the back ends behind it, in the order HAProxy asks them.
//!
//! First `monitor-uri`, then `http-request`, then `redirect`, then `use_backend`, then
//! `default_backend`; behind a back end come its own `http-request` and `redirect`, and then the
//! servers. A rule whose condition no route can ask for is refused, and the others stay.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::account::Account;
use super::acl::{Acls, Facts};
use super::condition::{Cell, Expression, Path};
use super::headers::{self, Side};
use super::items::Line;
use super::proxy::Proxy;
use super::replace;
use super::routes::{Action, Rule, Then};
use super::treatment::Phase;
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
    for line in proxy.all("use_backend").take(RULES_MAX) {
        let condition = condition_start(line, 2);
        let then = backend(line, line.text(1), facts, world, account);
        let rule = then.and_then(|then| rule(line, condition, then, &acls, account));
        behind.extend(account.result(line.item, rule));
    }
    if let Some(line) = proxy.set("default_backend") {
        let then = backend(line, line.text(1), facts, world, account);
        let then = account.result(line.item, then);
        behind.extend(then.map(|then| Rule { when: always(), then, item: line.item }));
    } else if proxy.section.kind.has_servers()
        && let Some((Target::Pool(name), _)) = world.targets.get(proxy.name())
    {
        let then = Then::Act(Action::Pool(name.clone()));
        behind.push(Rule { when: always(), then, item: proxy.section.head.item });
    }
    // Without any back end HAProxy has no server for the request.
    let unavailable = Action::Respond { status: 503, body: String::new(), content_type: None };
    let item = proxy.section.head.item;
    behind.push(Rule { when: always(), then: Then::Act(unavailable), item });
    let mut rules: Vec<Rule> = monitor(proxy, account).into_iter().collect();
    let side = Side { is_back: false };
    rules.extend(requests(proxy, (&acls, side), behind, world, account));
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
    let mut redirects = Vec::new();
    for line in proxy.all("redirect").take(RULES_MAX) {
        let rule = redirect(line, 1).and_then(|(action, condition)| {
            rule(line, condition, Then::Act(action), acls, account)
        });
        redirects.extend(account.result(line.item, rule));
    }
    redirects.extend(behind);
    let behind = Rc::new(redirects);
    let mut rules = headers::answers(proxy, side, acls, account);
    let is_left = |line: &&Line| is_own(line) && !account.items.is_limit(line.item);
    let lines: Vec<&Line> = proxy.all("http-request").filter(is_left).take(RULES_MAX).collect();
    for line in lines {
        let acted = match line.text(1) {
            "deny" => respond(line, 403),
            "return" => respond(line, 200),
            "redirect" => redirect(line, 2),
            "allow" => {
                let rule = allow(line, acls, &behind, account);
                rules.extend(account.result(line.item, rule));
                continue;
            }
            "auth" => {
                rules.extend(headers::ask(proxy, line, (acls, &world.users), account));
                continue;
            }
            _ => {
                let rule = headers::header(line, Phase::Request, side, acls, account);
                rules.extend(account.result(line.item, rule).flatten());
                continue;
            }
        };
        let rule = acted.and_then(|(action, condition)| {
            rule(line, condition, Then::Act(action), acls, account)
        });
        rules.extend(account.result(line.item, rule));
    }
    rules.extend(behind.iter().cloned());
    rules
}

fn is_own(line: &Line) -> bool {
    matches!(line.text(1), "deny" | "return" | "redirect" | "allow" | "auth")
        || headers::is_header(line)
}

/// `allow` skips the other `http-request` rules.
fn allow(
    line: &Line,
    acls: &Acls,
    behind: &Rc<Vec<Rule>>,
    account: &mut Account,
) -> Result<Rule, String> {
    let condition = condition_start(line, 2);
    rule(line, condition, Then::Rules(Rc::clone(behind)), acls, account)
}

/// The index of `if` or `unless` from word `from` on, or the end.
pub(super) fn condition_start(line: &Line, from: usize) -> usize {
    let found =
        line.words.iter().skip(from).position(|word| matches!(word.text.as_str(), "if" | "unless"));
    found.map_or(line.words.len(), |index| from + index)
}

/// What a line does, when its condition from word `condition` on holds.
pub(super) fn rule(
    line: &Line,
    condition: usize,
    then: Then,
    acls: &Acls,
    account: &mut Account,
) -> Result<Rule, String> {
    if let Some(name) = line.variable(1) {
        return Err(format!("the environment variable `{name}` is not known here"));
    }
    let asked = acls.condition(&line.texts(condition))?;
    if let Some(difference) = asked.difference {
        account.differs(line, difference);
    }
    Ok(Rule { when: asked.expression, then, item: line.item })
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
    let pool = match target {
        Target::Pool(pool) => pool.clone(),
        Target::Refused(reason) => return Err(reason.clone()),
    };
    let replaced = replace::rule(proxy, &pool, account);
    let servers = Rule { when: always(), then: Then::Act(Action::Pool(pool)), item: line.item };
    if !account.spend(proxy.lines_count()) {
        return Err("the configuration has too many rules to follow them all".to_owned());
    }
    let acls = Acls::read(proxy.lines(), facts);
    let behind = replaced.into_iter().chain([servers.clone()]).collect();
    let side = Side { is_back: true };
    let rules = requests(proxy, (&acls, side), behind, world, account);
    acls.settle(proxy.lines(), &mut account.items);
    Ok(if rules.len() == 1 { servers.then } else { Then::Rules(Rc::new(rules)) })
}

/// `deny` and `return`, and where their condition begins.
fn respond(line: &Line, status_default: u16) -> Result<(Action, usize), String> {
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
    Ok((Action::Respond { status, body, content_type }, end))
}

/// `redirect location|prefix|scheme TEXT [code N] [drop-query]`, in any order, from word `from`.
fn redirect(line: &Line, from: usize) -> Result<(Action, usize), String> {
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
    Ok((Action::Redirect { status, location }, end))
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
