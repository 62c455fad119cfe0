//! TLS to servers: whether they are verified, by whom, and what the door shows them.

use super::super::writer::Value;
use super::account::Account;
use super::global::Global;
use super::pool::split_argument;
use super::server::{Server, shared};

/// The `tls` of a pool, when all its servers have it.
pub(super) fn tls(servers: &[Server], global: &Global, account: &mut Account) -> Option<Value> {
    let on = servers.iter().filter(|server| server.is_on("ssl")).count();
    let is_mixed = on > 0 && on < servers.len();
    for choice in servers.iter().flat_map(|server| &server.choices) {
        match choice.name.as_str() {
            "ssl" | "no-ssl" if is_mixed => {
                let reason = "the servers of a pool all have TLS, or none";
                account.items.refused(choice.item, reason);
            }
            "ssl" | "no-ssl" => account.items.mapped(choice.item),
            "verify" | "ca-file" | "crt" | "sni" | "verifyhost" if on == 0 => {
                account.items.ignored(choice.item, "the server has no `ssl`");
            }
            _ => {}
        }
    }
    if on == 0 {
        return None;
    }
    let mut entries = Vec::new();
    let verify = shared(servers, "verify", account);
    let is_verified = verify.as_ref().map_or(global.verifies_servers, |c| c.value != "none");
    entries.push(("verify".to_owned(), Value::Boolean(is_verified)));
    if let Some(choice) = shared(servers, "ca-file", account)
        && !choice.value.starts_with('@')
    {
        entries.push(("roots".to_owned(), Value::text(global.authority(&choice.value))));
    }
    if let Some(choice) = shared(servers, "crt", account) {
        // One file holds both.
        let file = Value::text(global.certificate(&choice.value)).at(&choice.place);
        let pair = vec![("certificate".to_owned(), file.clone()), ("key".to_owned(), file)];
        entries.push(("certificate".to_owned(), Value::Table(pair)));
    }
    let verified = shared(servers, "verifyhost", account).map(|choice| choice.value);
    let name = server_name(servers, account).or(verified);
    entries.extend(name.map(|name| ("server_name".to_owned(), Value::text(name))));
    let entries = entries.into_iter().map(|(key, value)| (key, value.here())).collect();
    Some(Value::Table(entries))
}

/// `sni str(NAME)`: only a fixed name is the same for all requests.
fn server_name(servers: &[Server], account: &mut Account) -> Option<String> {
    let choice = shared(servers, "sni", account)?;
    match split_argument(&choice.value) {
        ("str", name) if !name.is_empty() => Some(name.to_owned()),
        _ => {
            account
                .items
                .refused(choice.item, "the name sent to a server is the same for all requests");
            None
        }
    }
}
