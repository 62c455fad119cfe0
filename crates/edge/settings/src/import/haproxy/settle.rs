//! What becomes of lines by their keyword alone, before and after the rest has decided.

use super::account::Account;
use super::items::Line;
use super::keywords::{self, SectionKind, Treatment};
use super::proxy::{Proxy, is_keyword};
use super::section::Section;
use crate::finding::{Finding, did_you_mean, quote};

/// Settles what no other line decides: unknown keywords, those with a fate of their own, and
/// proxies that are not taken over as a whole.
pub(super) fn before(sections: &[Section], proxies: &[Proxy<'_>], account: &mut Account) {
    let mut proxies = proxies.iter().peekable();
    for section in sections {
        match proxies.next_if(|proxy| std::ptr::eq(proxy.section, section)) {
            Some(proxy) if proxy.is_disabled() => ignore(section, "the proxy is disabled", account),
            Some(proxy) if !proxy.is_http() && !proxy.is_tcp() => {
                refuse(section, "the door speaks HTTP, or passes on TCP", account);
            }
            Some(proxy) if is_stats(proxy) => {
                ignore(section, "the door's own status is at its admin interface", account);
            }
            None if section.kind.needs_name() => {
                refuse(section, "the configuration has too many lines for it", account);
            }
            Some(_) | None => by_keyword(section, account),
        }
    }
}

/// Whether a proxy only shows HAProxy's statistics.
pub(super) fn is_stats(proxy: &Proxy<'_>) -> bool {
    let has = |keyword: &str| proxy.section.lines.iter().any(|line| is_keyword(line, keyword));
    let serves =
        ["server", "server-template", "use_backend", "default_backend"].into_iter().any(has);
    let is_metrics = proxy.section.lines.iter().any(is_exporter);
    (has("stats") || is_metrics) && !serves && proxy.set("default_backend").is_none()
}

/// Whether a line serves HAProxy's metrics.
fn is_exporter(line: &Line) -> bool {
    is_keyword(line, "http-request use-service prometheus-exporter")
}

fn ignore(section: &Section, reason: &str, account: &mut Account) {
    for line in std::iter::once(&section.head).chain(&section.lines) {
        account.items.ignored(line.item, reason);
    }
}

/// Refuses all lines of a section.
pub(super) fn refuse(section: &Section, reason: &str, account: &mut Account) {
    for line in std::iter::once(&section.head).chain(&section.lines) {
        account.items.refused(line.item, reason);
    }
}

fn by_keyword(section: &Section, account: &mut Account) {
    match section.kind {
        SectionKind::Other(other) => settle(&section.head, other.fate, account),
        SectionKind::Global
        | SectionKind::Defaults
        | SectionKind::Frontend
        | SectionKind::Backend
        | SectionKind::Listen => account.items.mapped(section.head.item),
    }
    for line in &section.lines {
        match keywords::treatment(section.kind, &line.texts(0)) {
            Some(treatment) => settle(line, treatment, account),
            None => unknown(section.kind, line, account),
        }
    }
}

fn settle(line: &Line, treatment: Treatment, account: &mut Account) {
    match treatment {
        Treatment::Own => {}
        Treatment::Refused(_) | Treatment::Ignored(_) if line.is_negated => {
            account.items.ignored(line.item, "it turns off what is off here");
        }
        Treatment::Ignored(reason) => account.items.ignored(line.item, reason),
        Treatment::Refused(reason) => account.items.refused(line.item, reason),
    }
}

fn unknown(kind: SectionKind, line: &Line, account: &mut Account) {
    account.items.refused(line.item, "HAProxy 2.6 to 3.0 knows no such keyword");
    let words = line.texts(0);
    let known = keywords::known(kind);
    let two = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let is_half = known.iter().any(|name| name.split(' ').next() == words.first().copied());
    let given = if is_half { two.as_str() } else { line.text(0) };
    let message = format!("unknown keyword {}", quote(given));
    let finding = Finding::error("unknown-directive", 0..0, message).label("not known here");
    let place = line.place();
    account.ledger.finding(&place, finding.help_maybe(did_you_mean(given, known)));
}

/// Settles what nothing asked for, so that nothing is left without a word.
pub(super) fn after(sections: &[Section], account: &mut Account) {
    let defaults = std::mem::take(&mut account.defaults);
    for choice in defaults.values().flatten() {
        if !account.items.is_settled(choice.item) {
            account.items.ignored(choice.item, "no server that is taken over uses it");
        }
    }
    for section in sections.iter().filter(|section| section.kind.is_proxy()) {
        for line in &section.lines {
            if account.items.is_settled(line.item) {
                continue;
            }
            if is_exporter(line) {
                account.items.ignored(line.item, "the door's metrics are at its admin interface");
                continue;
            }
            let is_of_table =
                is_keyword(line, "stick-table") || line.text(1).starts_with("track-sc");
            if is_of_table && !line.is_negated {
                account.items.refused(line.item, keywords::NO_TABLES);
                continue;
            }
            if is_keyword(line, "tcp-request") && !line.is_negated {
                account.items.refused(line.item, keywords::RULES_OF_TCP);
                continue;
            }
            let reason = match line.text(0) {
                _ if line.is_negated => "it turns off what is off here",
                "mode" | "disabled" => {
                    account.items.mapped(line.item);
                    continue;
                }
                "use_backend" | "redirect" if section.kind.has_clients() => {
                    account
                        .items
                        .refused(line.item, "its proxy has no listener, or too many rules");
                    continue;
                }
                "stats" => "the door's own status is at its admin interface",
                "bind" | "server" | "server-template" => {
                    account.items.refused(line.item, "it has no place in this section");
                    continue;
                }
                _ if is_keyword(line, "http-request use-service") => {
                    account.items.refused(line.item, "the door has no services to call");
                    continue;
                }
                _ if is_keyword(line, "http-request disable-l7-retry") => {
                    "the door repeats no request that may not be repeated"
                }
                _ if section.kind == SectionKind::Defaults => "no proxy that is taken over uses it",
                _ => "nothing that is taken over uses it here, or a later line replaces it",
            };
            account.items.ignored(line.item, reason);
        }
    }
}
