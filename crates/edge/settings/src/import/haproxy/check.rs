//! Health checks: HAProxy describes them in the proxy and switches them on server by server;
//! here a pool's servers are all checked, or none.

use super::super::Place;
use super::super::writer::Value;
use super::account::Account;
use super::items::Line;
use super::proxy::{Proxy, is_keyword};
use super::server::{Server, shared};
use super::units::{TIMEOUT_MS_MAX, TIMEOUT_MS_MIN, number, time_ms};

/// HAProxy's own interval, when none is written.
const INTER_MS_DEFAULT: u64 = 2_000;

/// What decides how servers are checked; of several the last one counts.
const KINDS: [&str; 10] = [
    "option external-check",
    "option httpchk",
    "option ldap-check",
    "option mysql-check",
    "option pgsql-check",
    "option redis-check",
    "option smtpchk",
    "option spop-check",
    "option ssl-hello-chk",
    "option tcp-check",
];

/// The pool's `check`, and where it comes from.
pub(super) fn check(
    proxy: &Proxy<'_>,
    servers: &[Server],
    account: &mut Account,
) -> Option<(Value, Place)> {
    let kind = kind(proxy);
    let Some(first) = servers.iter().find(|server| server.is_on("check")) else {
        unused(proxy, kind, servers, account);
        return None;
    };
    let place = first.last("check").map_or(first.place.clone(), |choice| choice.place.clone());
    for server in servers {
        for choice in &server.choices {
            match choice.name.as_str() {
                "check" => account.items.mapped(choice.item),
                "no-check" => {
                    account
                        .items
                        .refused(choice.item, "all servers of a pool are checked, or none");
                }
                _ => {}
            }
        }
    }
    let http = kind.filter(|line| is_keyword(line, "option httpchk"));
    let probe = http.and_then(|line| probe(proxy, line, account));
    if let Some(line) = kind.filter(|line| is_keyword(line, "option tcp-check")) {
        account.items.mapped(line.item);
    }
    for line in proxy.all("tcp-check connect") {
        let result = if line.words.len() == 2 { Ok(()) } else { Err("a check only connects here") };
        account.result(line.item, result);
    }
    let mut entries = probe.unwrap_or_else(|| vec![("tcp".to_owned(), Value::Boolean(true))]);
    entries.extend(pace(proxy, servers, account));
    let entries = entries.into_iter().map(|(key, value)| (key, value.here())).collect();
    Some((Value::Table(entries), place))
}

/// The line that says what a check is, in the nearest section that has one.
fn kind<'s>(proxy: &Proxy<'s>) -> Option<&'s Line> {
    let sections = std::iter::once(proxy.section).chain(proxy.inherited.iter().copied());
    let is_kind =
        |line: &&Line| !line.is_negated && KINDS.iter().any(|kind| is_keyword(line, kind));
    sections.into_iter().find_map(|section| section.lines.iter().rev().find(is_kind))
}

fn unused(proxy: &Proxy<'_>, kind: Option<&Line>, servers: &[Server], account: &mut Account) {
    const REASON: &str = "no server here has `check`";
    let is_rule = |line: &&Line| matches!(line.text(0), "http-check" | "tcp-check");
    for line in proxy.lines().filter(is_rule).chain(kind) {
        account.items.ignored(line.item, REASON);
    }
    for choice in servers.iter().flat_map(|server| &server.choices) {
        if matches!(choice.name.as_str(), "inter" | "fall" | "rise" | "no-check") {
            account.items.ignored(choice.item, REASON);
        }
    }
    let own = proxy.section.lines.iter().find(|line| {
        !line.is_negated
            && (line.text(0) == "http-check" || KINDS.iter().any(|k| is_keyword(line, k)))
    });
    if let Some(line) = own.filter(|_| !servers.is_empty()) {
        let message = format!("no server of `{}` is checked by this", proxy.name());
        account.breaks("unused-check", &line.place(), message);
    }
}

/// Interval, timeout and thresholds, all written: HAProxy's defaults are not this door's.
fn pace(proxy: &Proxy<'_>, servers: &[Server], account: &mut Account) -> Vec<(String, Value)> {
    let inter = shared(servers, "inter", account);
    let inter_ms = inter.and_then(|choice| time_ms(&choice.value)).unwrap_or(INTER_MS_DEFAULT);
    let inter_ms = inter_ms.clamp(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX);
    let timeout = proxy.set("timeout check").and_then(|line| {
        account.result(
            line.item,
            time_ms(line.text(2)).filter(|ms| *ms > 0).ok_or("this is not a time"),
        )
    });
    let timeout_ms = timeout.unwrap_or(inter_ms).clamp(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX);
    let count = |name: &str, default: u64, account: &mut Account| {
        let choice = shared(servers, name, account);
        choice.and_then(|choice| number(&choice.value)).unwrap_or(default).clamp(1, 100)
    };
    vec![
        ("interval".to_owned(), Value::duration_ms(inter_ms)),
        ("timeout".to_owned(), Value::duration_ms(timeout_ms)),
        ("fall".to_owned(), Value::Integer(count("fall", 3, account))),
        ("rise".to_owned(), Value::Integer(count("rise", 2, account))),
    ]
}

/// What is asked of a server.
struct Probe {
    method: String,
    target: String,
    host: Option<String>,
}

fn probe(proxy: &Proxy<'_>, line: &Line, account: &mut Account) -> Option<Vec<(String, Value)>> {
    let mut probe = described(line);
    for send in proxy.all("http-check send") {
        let result = add_sent(&mut probe, send);
        account.result(send.item, result);
    }
    for connect in proxy.all("http-check connect") {
        let is_plain = connect.words.len() == 2;
        let result = if is_plain { Ok(()) } else { Err("a check uses the server's address here") };
        account.result(connect.item, result);
    }
    let expects: Vec<&Line> = proxy.all("http-check expect").collect();
    let path = match probe_path(&probe).and_then(|path| match line.variable(2) {
        Some(name) => Err(format!("the environment variable `{name}` is not known here")),
        None => Ok(path),
    }) {
        Ok(path) => path,
        Err(reason) => {
            account.items.refused(line.item, reason);
            for expect in expects {
                account.items.refused(expect.item, "its `option httpchk` is refused");
            }
            return None;
        }
    };
    if probe.method == "HEAD" {
        account.differs(line, "the door checks with GET, not HEAD");
    }
    account.items.mapped(line.item);
    let mut entries = vec![("path".to_owned(), Value::text(path))];
    entries.extend(probe.host.map(|host| ("host".to_owned(), Value::text(host))));
    for (index, expect) in expects.iter().enumerate() {
        let result = match index {
            0 => expected(expect),
            _ => Err("a check expects one thing here".to_owned()),
        };
        entries.extend(account.result(expect.item, result));
    }
    Some(entries)
}

/// `option httpchk`, `... URI`, `... METHOD URI`, `... METHOD URI VERSION`, the last with header
/// lines behind it in old files.
fn described(line: &Line) -> Probe {
    let words = line.texts(2);
    let (method, target) = match words.as_slice() {
        [] => ("OPTIONS", "/"),
        [target] => ("OPTIONS", *target),
        [method, target, ..] => (*method, *target),
    };
    let host = words.get(2).and_then(|version| {
        version.split(['\r', '\n']).find_map(|header| {
            let (name, value) = header.split_once(':')?;
            name.trim().eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
        })
    });
    Probe { method: method.to_owned(), target: target.to_owned(), host }
}

/// `http-check send meth GET uri /health ver HTTP/1.1 hdr Host www`.
fn add_sent(probe: &mut Probe, line: &Line) -> Result<(), String> {
    let words = line.texts(2);
    let mut rest = words.as_slice();
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        let mut next = || {
            let (value, after) = rest.split_first()?;
            rest = after;
            Some((*value).to_owned())
        };
        let value = next().ok_or_else(|| format!("the value of `{word}` is missing"))?;
        match *word {
            "meth" => probe.method = value,
            "uri" => probe.target = value,
            "ver" | "comment" => {}
            "hdr" if value.eq_ignore_ascii_case("host") => probe.host = next(),
            "hdr" if value.eq_ignore_ascii_case("connection") => drop(next()),
            "hdr" => return Err(format!("a check sends no header `{value}` here")),
            other => return Err(format!("a check sends no `{other}` here")),
        }
    }
    Ok(())
}

fn probe_path(probe: &Probe) -> Result<&str, String> {
    if !matches!(probe.method.as_str(), "GET" | "HEAD") {
        return Err(format!(
            "the door checks with GET, not {}, and connects only instead: a server may answer differently",
            probe.method
        ));
    }
    let is_path_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    if probe.target.starts_with('/')
        && probe.target.bytes().all(is_path_byte)
        && !probe.target.contains("//")
        && !probe.target.split('/').any(|segment| segment == "." || segment == "..")
    {
        return Ok(&probe.target);
    }
    Err("a check asks for a plain path without a query here".to_owned())
}

/// `http-check expect status 200-299`, `... string ok`.
fn expected(line: &Line) -> Result<(String, Value), String> {
    let words = line.texts(2);
    let mut rest = words.as_slice();
    while let Some((word, after)) = rest.split_first() {
        let (value, last) = (after.first().copied().unwrap_or_default(), after.get(1..));
        match *word {
            "min-recv" | "comment" | "ok-status" | "error-status" | "tout-status"
            | "on-success" | "on-error" | "status-code" => rest = last.unwrap_or_default(),
            "!" => return Err("a check cannot expect the opposite here".to_owned()),
            "status" => {
                return statuses(value).ok_or_else(|| "these are no status codes".to_owned());
            }
            "rstatus" => {
                return first_digits(value).ok_or_else(|| {
                    "a check compares status codes with ranges, not with expressions".to_owned()
                });
            }
            "string" if !value.is_empty() => return Ok(("body".to_owned(), Value::text(value))),
            other => return Err(format!("a check cannot expect `{other}` here")),
        }
    }
    Err("what is expected is missing".to_owned())
}

fn statuses(text: &str) -> Option<(String, Value)> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let code = |text: &str| number(text).filter(|code| (100..=599).contains(code));
        let (first, last) = (code(first)?, code(last)?);
        if first > last {
            return None;
        }
        ranges.push(Value::text(format!("{first}-{last}")).here());
    }
    Some(("status".to_owned(), Value::Array(ranges)))
}

/// `^2`, `2..`, `^[23]`, `(2|3)[0-9][0-9]`: the hundreds that are accepted.
fn first_digits(expression: &str) -> Option<(String, Value)> {
    let text = expression.strip_prefix('^').unwrap_or(expression);
    let text = text.strip_suffix('$').unwrap_or(text);
    let endings = ["[0-9][0-9]", "[0-9]{2}", "\\d\\d", "\\d{2}", "..", ".*"];
    let found = endings.iter().find_map(|ending| text.strip_suffix(ending));
    let head = match found {
        Some(head) => head,
        // Without its start held, `2` may stand anywhere in the code.
        None if expression.starts_with('^') && !expression.ends_with('$') => text,
        None => return None,
    };
    let class = head.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let group = head.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let digits: String = match (class, group) {
        (Some(class), _) => class.to_owned(),
        (None, Some(group)) => group.split('|').collect(),
        (None, None) => head.to_owned(),
    };
    let is_hundred = |c: char| ('1'..='5').contains(&c);
    if digits.is_empty()
        || !digits.chars().all(is_hundred)
        || (class.is_none() && group.is_none() && digits.len() > 1)
    {
        return None;
    }
    let ranges = digits.chars().map(|c| Value::text(format!("{c}00-{c}99")).here()).collect();
    Some(("status".to_owned(), Value::Array(ranges)))
}
