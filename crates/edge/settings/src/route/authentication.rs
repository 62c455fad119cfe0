//! Reads who may use a route: `basic_auth`, `jwt_auth` or `forward_auth`.
//!
//! Invariant: no message holds a hash, a key or a password.

mod keys;
mod passwords;

use std::ops::RangeInclusive;
use std::time::Duration;

use model::Name;
use model::configuration::{
    Authentication, BasicAuthentication, ForwardAuthentication, JwtAuthentication, ServerProtocol,
};

use super::{Pools, headers, list, pool_index};
use crate::finding::quote;
use crate::identity::claim_text;
use crate::pool::{TOKEN_HELP, is_token};
use crate::reader::{Table, Value};

/// Claims, audiences or header fields of one route, at most.
const CLAIMS_MAX: usize = 64;

/// How long another server may take to say who may come in.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// Fields that the door writes itself, so no other server's answer can.
const OWN: [&str; 18] = [
    "client-cert",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Reads who may use a route; `None` lets in everybody, or is a mistake that was reported.
pub(super) fn authentication(table: &mut Table<'_>, pools: &Pools<'_>) -> Option<Authentication> {
    let basic = table.get("basic_auth");
    let jwt = table.get("jwt_auth");
    let forward = table.get("forward_auth");
    let ways: Vec<&Value<'_>> = [&basic, &jwt, &forward].into_iter().flatten().collect();
    if let [first, second, ..] = ways.as_slice() {
        let message = "a route asks in one way who sends a request".to_owned();
        let help = format!("keep {} or {}", quote(first.name), quote(second.name));
        second.invalid("conflicting-keys", message, help);
    }
    // All are read, so that all their mistakes show.
    let basic = basic.and_then(|value| by_password(&value)).map(Authentication::Basic);
    let jwt = jwt.and_then(|value| by_token(&value)).map(Authentication::Jwt);
    let forward = forward.and_then(|value| by_pool(&value, pools)).map(Authentication::Forward);
    basic.or(jwt).or(forward)
}

fn by_password(value: &Value<'_>) -> Option<BasicAuthentication> {
    let mut table = value.table("a table with `users_file` or `users`")?;
    let realm = table.get("realm");
    let (file, inline) = (table.get("users_file"), table.get("users"));
    table.finish();
    let realm = realm.map_or_else(|| Some(Name::from("restricted")), |value| realm_text(&value));
    let users = match (file, inline) {
        (Some(file), None) => passwords::of_file(&file),
        (None, Some(users)) => passwords::of_table(&users),
        _ => {
            let message = "the users of a route stand in one place".to_owned();
            value.invalid("conflicting-keys", message, "give `users_file`, or `users`");
            None
        }
    };
    Some(BasicAuthentication { realm: realm?, users: users? })
}

/// Text that needs no escape between quotes.
fn realm_text(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    let is_plain = (1..=128).contains(&text.len())
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !b"\"\\".contains(&byte));
    if !is_plain {
        let message = format!("{} is not a realm", quote(text));
        let help = "use 1 to 128 visible ASCII characters and blanks, without `\"` and `\\`";
        value.invalid("invalid-text", message, help);
    }
    is_plain.then(|| Name::from(text))
}

fn by_token(value: &Value<'_>) -> Option<JwtAuthentication> {
    let mut table = value.table("a table with a key")?;
    let public = table.get("public_key_file");
    let secret = table.get("secret_file");
    let set = table.get("jwks_file");
    let issuer = table.get("issuer").map(|value| claim_text(&value));
    let audiences = table.get("audience").map_or_else(Vec::new, |value| audiences(&value));
    let claims = table.get("claims").map_or_else(Vec::new, |value| claims(&value));
    let fields = table.get("headers").map_or_else(Vec::new, |value| fields(&value));
    table.finish();
    let keys = keys::keys(value, public, secret, set);
    Some(JwtAuthentication {
        keys: keys?,
        issuer: issuer.flatten(),
        audiences,
        claims,
        headers: fields,
    })
}

fn limit(value: &Value<'_>, count: usize) {
    if count > CLAIMS_MAX {
        let message = format!("more than {CLAIMS_MAX} entries in {}", quote(value.name));
        value.invalid("too-many", message, "keep those that are needed");
    }
}

fn audiences(value: &Value<'_>) -> Vec<Name> {
    let values = list(value, "an audience or an array of audiences");
    limit(value, values.len());
    values.iter().filter_map(claim_text).collect()
}

fn claims(value: &Value<'_>) -> Vec<(Name, Name)> {
    let Some(table) = value.table("a table of claims") else { return Vec::new() };
    let entries = table.entries();
    limit(value, entries.len());
    entries.iter().filter_map(|entry| Some((claim_name(entry)?, claim_text(entry)?))).collect()
}

fn claim_name(entry: &Value<'_>) -> Option<Name> {
    let name = entry.name;
    let is_plain = (1..=256).contains(&name.len()) && !name.chars().any(char::is_control);
    if !is_plain {
        let message = "the name of a claim has 1 to 256 printable characters".to_owned();
        entry.at_key().invalid("invalid-text", message, "write it as the issuer of tokens does");
    }
    is_plain.then(|| Name::from(name))
}

/// Header fields and the claims they are set from.
fn fields(value: &Value<'_>) -> Vec<(Name, Name)> {
    let Some(table) = value.table("a table of header fields and claims") else { return Vec::new() };
    let entries = table.entries();
    limit(value, entries.len());
    let mut fields: Vec<(Name, Name)> = Vec::new();
    for entry in &entries {
        let claim = claim_text(entry);
        if !is_token(entry.name) {
            let message = format!("{} is not the name of a header", quote(entry.name));
            entry.at_key().invalid("invalid-token", message, TOKEN_HELP);
            continue;
        }
        let name = Name::from(entry.name.to_ascii_lowercase());
        if fields.iter().any(|(known, _)| *known == name) {
            let message = format!("header {} is given twice", quote(&name));
            entry.at_key().invalid("duplicate-header", message, "keep one of them");
        } else if is_free(&entry.at_key(), &name) {
            fields.extend(claim.map(|claim| (name, claim)));
        }
    }
    fields
}

/// Reports the name of a field that only the door writes.
fn is_free(value: &Value<'_>, name: &Name) -> bool {
    let is_own = OWN.contains(&&**name);
    if is_own {
        let message = format!("the door writes {} itself", quote(name));
        value.invalid("fixed-header", message, "choose another name, such as \"x-user\"");
    }
    !is_own
}

fn by_pool(value: &Value<'_>, pools: &Pools<'_>) -> Option<ForwardAuthentication> {
    let mut table = value.table("a table with `pool`")?;
    let pool = table.required("pool", "pool = \"sso\"");
    let path = table.get("path").map_or_else(|| Some(Name::from("/")), |value| path_text(&value));
    let headers = table.get("headers").map(|value| names(&value));
    let copy = table.get("copy").map_or_else(Vec::new, |value| copied(&value));
    let to_client = table.get("copy_response");
    let copy_response = to_client.map_or_else(Vec::new, |value| copied_to_client(&value));
    let timeout = table.duration("timeout", Duration::from_secs(5), TIMEOUT_RANGE);
    table.finish();
    let pool = pool.and_then(|value| http_pool(&value, pools));
    Some(ForwardAuthentication { pool: pool?, path: path?, headers, copy, copy_response, timeout })
}

fn names(value: &Value<'_>) -> Vec<Name> {
    headers::names(value).into_iter().map(|(_, name)| name).collect()
}

fn copied(value: &Value<'_>) -> Vec<Name> {
    let names = headers::names(value).into_iter();
    names.filter(|(element, name)| is_free(element, name)).map(|(_, name)| name).collect()
}

fn copied_to_client(value: &Value<'_>) -> Vec<Name> {
    let is_another = |element: &Value<'_>, name: &Name| {
        let is_of_body = name.starts_with("content-");
        if is_of_body {
            let message = format!("{} says something of the response itself", quote(name));
            element.invalid(
                "fixed-header",
                message,
                "copy what is about the client, such as cookies",
            );
        }
        !is_of_body
    };
    let names = headers::names(value).into_iter();
    let names = names.filter(|(element, name)| is_free(element, name) && is_another(element, name));
    names.map(|(_, name)| name).collect()
}

/// A path, and a query if there is one.
fn path_text(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    let is_path = text.starts_with('/')
        && text.len() <= 2_048
        && text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#');
    if !is_path {
        let message = format!("{} is not a path", quote(text));
        let help = "begin it with \"/\", and percent-encode blanks and everything outside ASCII";
        value.invalid("invalid-path", message, help);
    }
    is_path.then(|| Name::from(text))
}

/// The index of a pool that speaks HTTP/1.1.
fn http_pool(value: &Value<'_>, pools: &Pools<'_>) -> Option<usize> {
    let index = pool_index(value, pools)?;
    let pool = pools.placed.get(index).and_then(|placed| placed.pool.as_ref());
    if pool.is_some_and(|pool| pool.protocol == ServerProtocol::Http2) {
        let message = format!("pool {} speaks HTTP/2", quote(value.as_text().unwrap_or_default()));
        let help = "who may use a route is asked in HTTP/1.1: give the question a pool of its own, \
                    with `protocol = \"http1\"`; the servers may be the same";
        value.invalid("wrong-protocol", message, help);
        return None;
    }
    Some(index)
}
