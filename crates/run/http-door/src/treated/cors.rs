//! Lets scripts of other sites in (the Fetch standard, section 3.2): what browsers ask beforehand,
//! and the fields they look for in responses.
//!
//! Nobody is refused for where he comes from: a browser keeps a response from a script when the
//! fields are missing, and says so in its console. What servers say themselves is removed, so that
//! there is one answer.
//! Invariants: a site is named only when it is listed, `null` never is; a response that depends on
//! the site says so in `Vary`.

use http_wire::{Method, RequestHead};
use model::configuration::{Cors as Settings, Origins};

use crate::heads::{write_decimal, write_field};
use crate::route::Match;
use crate::view::View;

const OF_CORS: &[u8] = b"access-control-";

/// The answer to any preflight may depend on these.
const PREFLIGHT_VARY: &[u8] =
    b"origin, access-control-request-method, access-control-request-headers";

/// What is said to scripts of which sites.
#[derive(Debug)]
pub(super) struct Cors {
    /// `None` lets any in.
    sites: Option<Sites>,
    /// Lines for every response to them.
    responses: Box<[u8]>,
    /// Lines for what is asked beforehand.
    preflights: Box<[u8]>,
    /// Whatever header fields are asked for are allowed.
    any_headers: bool,
}

#[derive(Debug)]
struct Sites {
    exact: Vec<Box<[u8]>>,
    wildcards: Vec<Wildcard>,
}

/// What stands before and behind the label that may be any.
type Wildcard = (Box<[u8]>, Box<[u8]>);

impl Sites {
    fn new(origins: &[model::Name]) -> Self {
        let (mut exact, mut wildcards) = (Vec::new(), Vec::new());
        for origin in origins {
            match origin.split_once('*') {
                Some((before, behind)) => {
                    wildcards.push((before.as_bytes().into(), behind.as_bytes().into()));
                }
                None => exact.push(origin.as_bytes().into()),
            }
        }
        Self { exact, wildcards }
    }

    fn have(&self, origin: &[u8]) -> bool {
        self.exact.iter().any(|site| **site == *origin)
            || self.wildcards.iter().any(|(before, behind)| {
                let label = origin.strip_prefix(&**before).and_then(|o| o.strip_suffix(&**behind));
                label.is_some_and(|label| {
                    let of_label = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
                    !label.is_empty() && label.iter().all(of_label)
                })
            })
    }
}

impl Cors {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { origins, methods, headers, expose, credentials, max_age } = settings;
        let mut responses = Vec::new();
        if *credentials {
            write_field(&mut responses, b"access-control-allow-credentials", b"true");
        }
        let mut preflights = responses.clone();
        if !expose.is_empty() {
            let expose = expose.join(", ");
            write_field(&mut responses, b"access-control-expose-headers", expose.as_bytes());
        }
        let methods = methods.join(", ");
        write_field(&mut preflights, b"access-control-allow-methods", methods.as_bytes());
        if let Some(headers) = headers.as_ref().filter(|headers| !headers.is_empty()) {
            let headers = headers.join(", ");
            write_field(&mut preflights, b"access-control-allow-headers", headers.as_bytes());
        }
        preflights.extend_from_slice(b"access-control-max-age: ");
        write_decimal(&mut preflights, max_age.as_secs());
        preflights.extend_from_slice(b"\r\n");
        Self {
            sites: match origins {
                Origins::Any => None,
                Origins::Listed(listed) => Some(Sites::new(listed)),
            },
            responses: responses.into(),
            preflights: preflights.into(),
            any_headers: headers.is_none(),
        }
    }

    /// Writes the lines for a response.
    pub(super) fn write(&self, out: &mut Vec<u8>, head: &RequestHead, bytes: &[u8]) {
        if self.sites.is_some() {
            // Without a site too: a cache must not give this response to one.
            write_field(out, b"vary", b"origin");
        }
        if self.write_origin(out, head, bytes) {
            out.extend_from_slice(&self.responses);
        }
    }

    /// Writes the lines for the answer to what is asked beforehand.
    pub(super) fn write_preflight(&self, out: &mut Vec<u8>, head: &RequestHead, bytes: &[u8]) {
        write_field(out, b"vary", PREFLIGHT_VARY);
        if !self.write_origin(out, head, bytes) {
            return;
        }
        out.extend_from_slice(&self.preflights);
        let asked = head.header_named(bytes, "access-control-request-headers");
        if let Some(asked) = asked.filter(|asked| self.any_headers && !asked.is_empty()) {
            write_field(out, b"access-control-allow-headers", asked);
        }
    }

    /// Writes who is let in; `false` when the site of the request is not.
    fn write_origin(&self, out: &mut Vec<u8>, head: &RequestHead, bytes: &[u8]) -> bool {
        let allowed = match &self.sites {
            None => &b"*"[..],
            Some(sites) => {
                let origin = head.header_named(bytes, "origin");
                let Some(origin) = origin.filter(|origin| sites.have(origin)) else { return false };
                origin
            }
        };
        write_field(out, b"access-control-allow-origin", allowed);
        true
    }
}

/// Whether only the door may say this, where it lets sites in.
pub(super) fn is_of_cors(name: &[u8]) -> bool {
    name.get(..OF_CORS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OF_CORS))
}

/// The route that answers what a browser asks beforehand: the one that the script's request would
/// take, if it lets sites in. `None` when this is no such question.
pub(crate) fn preflight(
    view: &View,
    head: &RequestHead,
    bytes: &[u8],
    listener: &str,
) -> Option<usize> {
    if head.method != Method::Options || head.header_named(bytes, "origin").is_none() {
        return None;
    }
    let method = head.header_named(bytes, "access-control-request-method")?;
    let router = &view.live.router;
    match router.find_for(method, head, bytes, listener) {
        Match::Route(index) => router.routes()[index].treatment.cors.is_some().then_some(index),
        Match::WrongMethod | Match::None => None,
    }
}

#[cfg(test)]
mod tests;
