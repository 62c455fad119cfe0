//! Signed tokens that say who sends a request and what he may do (RFC 6750).
//!
//! A token here is a key to the route, so it has to end: one without `exp` does not count (RFC 8725,
//! section 3.10, asks for as much as can be checked). What its claims say becomes header fields for
//! the server, in which no claim can write a line of its own.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use model::configuration::JwtAuthentication;
use model::{Name, Reason};
use net::clock;
use serde_json::Value;

use super::{Denied, admit, authorization, bytes_of};
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::heads::write_field;
use crate::token::{Claims, Key, UnusableKey, bearer, time_left};
use crate::worker::Worker;

/// Whose tokens a route takes.
#[derive(Debug)]
pub(super) struct Issuer {
    /// Tells what is remembered of its tokens from that of all others.
    number: u64,
    settings: JwtAuthentication,
    keys: Vec<(Option<Name>, Key)>,
}

/// What a token is worth once it was verified.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The claim `sub`, as far as it can be shown.
    pub(super) user: Vec<u8>,
    /// Header fields for the server.
    pub(super) lines: Vec<u8>,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It counts for nothing, with a description for whoever sent it.
    Invalid(&'static str),
    /// It counts, but not for this route: the place of the claim that it lacks.
    Insufficient(usize),
}

impl Issuer {
    pub(super) fn new(settings: &JwtAuthentication, number: u64) -> Result<Self, UnusableKey> {
        let keys = settings.keys.iter().map(|(id, key)| Ok((id.clone(), Key::new(key)?)));
        Ok(Self { number, keys: keys.collect::<Result<_, _>>()?, settings: settings.clone() })
    }

    /// Lets in who sends a token that counts.
    pub(super) fn check(
        &self,
        worker: &Worker,
        client: &Client,
        exchange: &mut Exchange,
    ) -> Result<(), Denied> {
        let value = authorization(&exchange.request, bytes_of(client));
        let Some(token) = value.and_then(bearer) else {
            return Err(challenge(Reason::Unauthenticated, ""));
        };
        let cache = &mut worker.admitted.borrow_mut();
        let verify = || self.verify(token, clock::wall());
        match cache.find(self.number, token, exchange.phases.started, verify) {
            Ok((admitted, _)) => {
                admit(exchange, &admitted);
                Ok(())
            }
            Err(refused) => Err(self.challenge(refused)),
        }
    }

    fn challenge(&self, refused: Refused) -> Denied {
        let claim = match refused {
            Refused::Invalid(why) => {
                let told = format!(", error=\"invalid_token\", error_description=\"{why}\"");
                return challenge(Reason::Unauthenticated, &told);
            }
            Refused::Insufficient(claim) => self.settings.claims.get(claim),
        };
        let mut told = ", error=\"insufficient_scope\"".to_owned();
        let is_plain = |text: &str| {
            text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !b"\"\\".contains(&byte))
        };
        if let Some((_, value)) =
            claim.filter(|(name, value)| &**name == "scope" && is_plain(value))
        {
            told.push_str(&format!(", scope=\"{value}\""));
        }
        challenge(Reason::Forbidden, &told)
    }

    /// What the token is worth, and for how long.
    fn verify(&self, token: &[u8], wall: SystemTime) -> Result<(Rc<Admitted>, Duration), Refused> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_malformed| Refused::Invalid("this is no signed token"))?;
        let id = header.kid.as_deref();
        let mut keys = self.keys.iter().filter(|(own, _)| own.is_none() || own.as_deref() == id);
        let claims = keys.find_map(|(_, key)| key.verify(token));
        let claims = claims.ok_or(Refused::Invalid("nobody who may has signed it"))?;
        if !claims.contains_key("exp") {
            return Err(Refused::Invalid("it never expires"));
        }
        let left = time_left(&claims, wall).ok_or(Refused::Invalid("it is not valid now"))?;
        let settings = &self.settings;
        if settings.issuer.as_ref().is_some_and(|issuer| !is_text(claims.get("iss"), issuer)) {
            return Err(Refused::Invalid("it is of another issuer"));
        }
        let fits = |audience: &Name| is_listed(claims.get("aud"), audience);
        if !(settings.audiences.is_empty() || settings.audiences.iter().any(fits)) {
            return Err(Refused::Invalid("it is for another audience"));
        }
        let lacks = |(name, value): &(Name, Name)| !has(claim(&claims, name), value);
        if let Some(claim) = settings.claims.iter().position(lacks) {
            return Err(Refused::Insufficient(claim));
        }
        let admitted = self.admitted(&claims).ok_or(Refused::Invalid("a claim is no text"))?;
        Ok((Rc::new(admitted), left))
    }

    /// `None` when a claim cannot be written into a head.
    fn admitted(&self, claims: &Claims) -> Option<Admitted> {
        let mut lines = Vec::new();
        for (name, from) in &self.settings.headers {
            if let Some(value) = claim(claims, from).filter(|value| !value.is_null()) {
                let text = text_of(value);
                write_field(&mut lines, name.as_bytes(), field_value(&text)?.as_bytes());
            }
        }
        let user = claims.get("sub").map(text_of).unwrap_or_default();
        Some(Admitted { user: field_value(&user)?.into(), lines })
    }
}

/// The claim of this name; where there is none, and the name has dots, what they lead to through
/// objects within objects, as in `realm_access.roles`.
fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, part| value.as_object()?.get(part))
    })
}

/// Asks for a token (RFC 6750, section 3).
fn challenge(reason: Reason, told: &str) -> Denied {
    let mut line = Vec::new();
    let value = format!("Bearer realm=\"restricted\"{told}");
    write_field(&mut line, b"www-authenticate", value.as_bytes());
    Denied::Challenged(reason, line)
}

/// Text that is one value in one line.
fn field_value(text: &str) -> Option<&str> {
    let is_plain = !text.chars().any(char::is_control) && text.trim() == text;
    is_plain.then_some(text)
}

/// A claim as text: a list of texts and numbers is separated by commas, all else is as in JSON.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values)
            if values.iter().all(|value| !value.is_object() && !value.is_array()) =>
        {
            values.iter().map(text_of).collect::<Vec<_>>().join(",")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

fn is_text(value: Option<&Value>, wanted: &str) -> bool {
    value.and_then(Value::as_str) == Some(wanted)
}

/// Whether it is the value, or in a list with it (RFC 7519, section 4.1.3).
fn is_listed(value: Option<&Value>, wanted: &str) -> bool {
    let listed = value.and_then(Value::as_array);
    is_text(value, wanted)
        || listed.is_some_and(|list| list.iter().any(|value| is_text(Some(value), wanted)))
}

/// Whether it is the value, or has it in a list, or between blanks (RFC 8693, section 4.2).
fn has(value: Option<&Value>, wanted: &str) -> bool {
    let Some(value) = value else { return false };
    match value {
        Value::String(text) => text == wanted || text.split(' ').any(|word| word == wanted),
        Value::Bool(_) | Value::Number(_) => {
            let text = value.to_string();
            text == wanted
        }
        Value::Array(_) => is_listed(Some(value), wanted),
        Value::Null | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests;
