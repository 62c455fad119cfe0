//! `global`: what of the process is configured here too.

use super::super::writer::Value;
use super::account::Account;
use super::items::Line;
use super::keywords::SectionKind;
use super::pool::Table;
use super::section::Section;
use super::units::{TIMEOUT_MS_MAX, number, time_ms};

/// What other parts need to know of `global`.
#[derive(Clone, Debug)]
pub(super) struct Global {
    /// Whether servers' certificates are verified unless a server says otherwise.
    pub(super) verifies_servers: bool,
    /// The oldest TLS version of listeners, if it is said.
    pub(super) version_min: Option<&'static str>,
    ca_base: String,
    crt_base: String,
}

impl Global {
    /// The path of a certificate authority's file.
    pub(super) fn authority(&self, path: &str) -> String {
        based(&self.ca_base, path)
    }

    /// The path of a certificate.
    pub(super) fn certificate(&self, path: &str) -> String {
        based(&self.crt_base, path)
    }
}

fn based(base: &str, path: &str) -> String {
    if base.is_empty() || path.starts_with('/') {
        return path.to_owned();
    }
    format!("{}/{path}", base.trim_end_matches('/'))
}

/// Reads every `global` section, and gives `[door]` if anything is to be written into it.
pub(super) fn global(sections: &[Section], account: &mut Account) -> (Global, Option<Table>) {
    let mut global = Global {
        verifies_servers: true,
        version_min: None,
        ca_base: String::new(),
        crt_base: String::new(),
    };
    let mut door: Option<Table> = None;
    for section in sections.iter().filter(|section| section.kind == SectionKind::Global) {
        let place = section.head.place();
        for line in &section.lines {
            let Some((key, value)) = read(line, &mut global, account) else { continue };
            let table = door.get_or_insert_with(|| Table {
                path: vec!["door".to_owned()],
                place: place.clone(),
                keys: Vec::new(),
            });
            table.keys.retain(|(known, _, _)| *known != key);
            table.keys.push((key, value, line.place()));
        }
    }
    (global, door)
}

/// Settles one line; gives a key of `[door]`.
fn read(line: &Line, global: &mut Global, account: &mut Account) -> Option<(&'static str, Value)> {
    let text = line.text(1);
    if account.items.is_settled(line.item) {
        return None;
    }
    if line.is_negated {
        account.items.ignored(line.item, "it turns off what is off here");
        return None;
    }
    if let Some(name) = line.variable(1) {
        let reason = format!("the environment variable `{name}` is not known here");
        account.items.refused(line.item, reason);
        return None;
    }
    let counted = |text: &str, most: u64| {
        number(text).filter(|n| (1..=most).contains(n)).ok_or("this is no number the door takes")
    };
    match line.text(0) {
        "ca-base" => text.clone_into(&mut global.ca_base),
        "crt-base" => text.clone_into(&mut global.crt_base),
        "key-base" => {}
        "ssl-server-verify" => global.verifies_servers = text != "none",
        "ssl-default-bind-options" => global.version_min = version_min(&line.texts(1)),
        "ssl-default-server-options" => {
            account.items.ignored(line.item, "the door speaks TLS 1.2 and 1.3 to servers");
            return None;
        }
        "stats" => {
            exposed(line, account);
            account.items.ignored(line.item, "the door has an admin socket of its own");
            return None;
        }
        "maxconn" => {
            let count = account.result(line.item, counted(text, u64::from(u32::MAX)))?;
            return Some(("connections", Value::Integer(count)));
        }
        "nbthread" => {
            let count = account.result(line.item, counted(text, 256))?;
            return Some(("workers", Value::Integer(count)));
        }
        "hard-stop-after" => {
            let time = time_ms(text).filter(|ms| (10..=TIMEOUT_MS_MAX).contains(ms));
            let ms = account.result(line.item, time.ok_or("the door takes 10ms to 24h"))?;
            return Some(("drain", Value::duration_ms(ms)));
        }
        _ => return None,
    }
    account.items.mapped(line.item);
    None
}

/// A control socket that other machines reach.
fn exposed(line: &Line, account: &mut Account) {
    let text = line.text(2);
    let address = ["ipv4@", "ipv6@", "tcp4@", "tcp6@", "tcp@"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    let is_local = address.starts_with('/')
        || ["127.", "localhost", "[::1]", "::1", "unix@", "abns@", "fd@"]
            .iter()
            .any(|p| address.starts_with(p));
    if !is_local && address.contains(':') {
        let message = "the control socket answers every machine that reaches it".to_owned();
        account.breaks("admin-exposed", &line.place(), message);
    }
}

/// The oldest version among the words of `ssl-default-bind-options` or of a `bind` line.
pub(super) fn version_min(words: &[&str]) -> Option<&'static str> {
    let mut version = None;
    for (index, word) in words.iter().enumerate() {
        let next = words.get(index + 1).copied().unwrap_or_default();
        match (*word, next) {
            ("ssl-min-ver", "TLSv1.3") | ("no-tlsv12" | "force-tlsv13", _) => version = Some("1.3"),
            ("ssl-min-ver", _) => version = version.or(Some("1.2")),
            _ => {}
        }
    }
    version
}
