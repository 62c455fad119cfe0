//! Rules that only HAProxy's own text can break.

use super::account::Account;
use super::items::Line;
use super::proxy::{Proxy, is_keyword};
use super::regex;
use super::section::Section;
use super::settle::is_stats;

/// Judges the sections and proxies as they are written.
pub(super) fn judge(sections: &[Section], proxies: &[Proxy<'_>], account: &mut Account) {
    for line in sections.iter().flat_map(|section| &section.lines) {
        expressions(line, account);
    }
    for proxy in proxies.iter().filter(|proxy| !proxy.is_disabled()) {
        if !proxy.is_http() {
            hash_on_tcp(proxy, account);
        } else {
            allow_without_deny(proxy, account);
            status_page(proxy, account);
        }
    }
}

fn expressions(line: &Line, account: &mut Account) {
    let is_expression = |index: usize, word: &str| {
        let before = |back: usize| index.checked_sub(back).map_or("", |at| line.text(at));
        let name = word.split('(').next().unwrap_or(word);
        name.ends_with("_reg")
            || (word == "reg" && before(1) == "-m")
            || matches!(
                word,
                "rstring" | "rstatus" | "replace-path" | "replace-pathq" | "replace-uri"
            )
            || matches!(before(1), "replace-header" | "replace-value")
    };
    let start =
        line.words.iter().enumerate().find(|(index, word)| is_expression(*index, &word.text));
    let Some((start, _)) = start else { return };
    for (index, word) in line.words.iter().enumerate().skip(start + 1) {
        if regex::is_catastrophic(&word.text) {
            let message = "this expression takes exponential time on some texts".to_owned();
            account.breaks("catastrophic-regex", &line.place_of(index, index + 1), message);
            return;
        }
    }
}

fn hash_on_tcp(proxy: &Proxy<'_>, account: &mut Account) {
    let Some(line) = proxy.set("balance").filter(|_| proxy.section.kind.has_servers()) else {
        return;
    };
    let algorithm = line.text(1);
    let is_of_http = ["uri", "url_param", "hdr("].iter().any(|name| algorithm.starts_with(name));
    if is_of_http {
        let message =
            format!("`{}` speaks plain TCP, which has no `{algorithm}` to hash", proxy.name());
        account.breaks("http-hash-on-tcp", &line.place(), message);
    }
}

fn allow_without_deny(proxy: &Proxy<'_>, account: &mut Account) {
    let rules: Vec<&Line> = proxy.all("http-request").collect();
    let last_allow = rules.iter().rposition(|line| line.text(1) == "allow");
    let Some((index, line)) = last_allow.and_then(|index| Some((index, *rules.get(index)?))) else {
        return;
    };
    let stops = ["deny", "reject", "silent-drop", "tarpit", "auth", "redirect", "return"];
    if !rules.iter().skip(index).any(|line| stops.contains(&line.text(1))) {
        let message = "requests are allowed, and no rule behind denies the others".to_owned();
        account.breaks("allow-without-deny", &line.place(), message);
    }
}

fn status_page(proxy: &Proxy<'_>, account: &mut Account) {
    let shown = ["stats uri", "stats enable"].iter().find_map(|keyword| {
        proxy.section.lines.iter().find(|line| is_keyword(line, keyword) && !line.is_negated)
    });
    let Some(line) = shown else { return };
    let is_guarded = ["stats auth", "stats http-request"].iter().any(|k| proxy.set(k).is_some())
        || proxy.all("http-request").any(|line| matches!(line.text(1), "auth" | "deny" | "reject"))
        || proxy.all("tcp-request").any(|line| line.texts(0).contains(&"reject"));
    let binds: Vec<&Line> = proxy.all("bind").collect();
    let is_local = |line: &&Line| {
        let address = line.text(1);
        ["127.", "localhost:", "[::1]", "::1:", "/", "unix@"].iter().any(|p| address.starts_with(p))
    };
    let is_reached = binds.is_empty() && !is_stats(proxy) || !binds.iter().all(is_local);
    if !is_guarded && is_reached {
        let message = "the statistics are shown to everybody who asks".to_owned();
        account.breaks("admin-exposed", &line.place(), message);
    }
}
