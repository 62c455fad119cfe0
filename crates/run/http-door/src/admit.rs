//! Who is let in: shows `admission` the request, and does what it says.
//!
//! The order of the steps stands in `admission::Admission`: `check`, then `enter`; between the two
//! it is found out who may use the route. Here is only what they may ask of a request, taken from
//! the head when they ask and not before, and the wait for a place.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;

use admission::{Refusal, Talker, Verdict};
use aws_lc_rs::digest::{Context, SHA256};
use http_wire::HeaderKind;
use model::configuration::{Action, Class, FlowKey, LimitKey, Listener};
use model::{Reason, Timestamp};
use net::clock;

use crate::authenticate::{Denied, authenticate};
use crate::connection::{Client, Origin};
use crate::exchange::Exchange;
use crate::grpc;
use crate::identify::{Identities, Known, Sender};
use crate::serve::head_bytes;
use crate::token;
use crate::view::View;
use crate::waiting::{Place, Seat, Waiting};
use crate::worker::Worker;

/// gRPC clients say here how often they asked before.
const GRPC_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// The request as `admission` sees it.
struct Asking<'a> {
    worker: usize,
    client: &'a Client,
    exchange: &'a Exchange,
    view: &'a View,
    listener: &'a Listener,
    route: usize,
    /// Where it goes, by index; a redirect and a fixed response go nowhere.
    pool: Option<usize>,
}

/// Notes which registered client sends the request, if any are registered.
pub(crate) fn identify(
    worker: &Worker,
    client: &mut Client,
    exchange: &mut Exchange,
    (view, listener): (&View, &Listener),
) {
    let Some(identities) = &view.live.identities else { return };
    let bytes = client.buffer.as_ref().map_or(&[][..], |buffer| buffer.bytes());
    let origin = &client.origin;
    let sender = Sender::of(&exchange.request, bytes, origin, exchange.phases.started);
    let memory = (&mut *client.known.borrow_mut(), &mut *worker.tokens.borrow_mut());
    exchange.client = client_of(identities, sender, memory, (origin, listener));
}

/// Which registered client these identities take the sender for.
pub(crate) fn client_of(
    identities: &Identities,
    sender: Sender<'_>,
    (known, tokens): (&mut Known, &mut token::Cache<usize>),
    (origin, listener): (&Origin, &Listener),
) -> Option<usize> {
    let address = || origin.client(sender.head, sender.bytes, listener);
    identities.find(sender, known, tokens, (!origin.trusted, address))
}

/// Lets the request in, now or after a wait.
///
/// # Errors
/// Why it is refused, or what it is answered.
pub(crate) async fn admit<'a>(
    worker: &'a Worker,
    client: &mut Client,
    exchange: &mut Exchange,
    (view, route, listener): (&'a View, usize, &Listener),
) -> Result<Place<'a>, Denied> {
    let pool = match view.live.router.routes()[route].action {
        Action::Forward { pool, .. } => Some(pool),
        Action::Redirect { .. } | Action::Respond { .. } => None,
    };
    let queue = pool.map(|pool| (&*view.pools[pool].queue, &worker.shared.bells));
    let index = worker.index;
    let checked = {
        let asking = Asking { worker: index, client, exchange, view, listener, route, pool };
        view.live.admission.check(&asking, exchange.phases.started)?
    };
    if view.live.guards.watch(route) {
        Box::pin(authenticate(worker, client, exchange, (view, route), &checked)).await?;
    }
    let now = exchange.phases.started + exchange.phases.authenticating;
    let mut seat = None;
    let verdict = {
        let asking = Asking { worker: index, client, exchange, view, listener, route, pool };
        let mut line = queue.map(|(queue, _)| queue.line.borrow_mut());
        let token = || Rc::clone(seat.insert(Rc::<Seat>::default()));
        view.live.admission.enter((&asking, checked), line.as_deref_mut(), token, now)
    };
    let place = match (verdict, queue, seat) {
        (Verdict::Serve(pass), _, _) => Place::new(pass, queue),
        (Verdict::Refuse(refusal), _, _) => return Err(refusal.into()),
        (Verdict::Wait(ticket), Some(queue), Some(seat)) => {
            let (called, waited) = Waiting::new(queue, seat, ticket).called(client, now).await;
            exchange.phases.waited = Some(waited.unwrap_or_else(|| clock::now().since(now)));
            called?
        }
        (Verdict::Wait(_), _, _) => return Err(Refusal::because(Reason::Internal).into()),
    };
    client.origin.is_known.set(true);
    Ok(place)
}

/// How important the request is taken to be; for the log.
pub(crate) fn class(
    worker: &Worker,
    client: &Client,
    exchange: &Exchange,
    (view, route, listener): (&View, usize, &Listener),
) -> Class {
    let worker = worker.index;
    let asking = Asking { worker, client, exchange, view, listener, route, pool: None };
    view.live.admission.class_of(&asking)
}

impl Asking<'_> {
    fn bytes(&self) -> &[u8] {
        head_bytes(self.client)
    }

    fn hash(&self, of: &[u8]) -> u64 {
        self.view.live.secret.hash_one(of)
    }

    fn address_key(&self) -> u64 {
        address_key(self.client, self.exchange, self.listener, &self.view.live.secret)
    }

    fn address(&self) -> IpAddr {
        self.client.origin.client(&self.exchange.request, self.bytes(), self.listener)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.exchange.request.header_named(self.bytes(), name)
    }
}

impl admission::Request for Asking<'_> {
    fn client(&self) -> Option<usize> {
        self.exchange.client
    }

    fn flow(&self) -> u64 {
        match &self.view.live.configuration.admission.flow {
            FlowKey::Address => self.address_key(),
            FlowKey::Header(name) => {
                self.header(name).map_or_else(|| self.address_key(), |value| self.hash(value))
            }
        }
    }

    fn worker(&self) -> usize {
        self.worker
    }

    fn talker(&self) -> Talker {
        let client = self.exchange.client.and_then(|client| u32::try_from(client).ok());
        if let Some(client) = client {
            return Talker::Client(client);
        }
        if let FlowKey::Header(name) = &self.view.live.configuration.admission.flow
            && let Some(value) = self.header(name)
        {
            return Talker::Header(self.hash(value));
        }
        Talker::address(self.address())
    }

    fn key(&self, by: &LimitKey) -> Option<u64> {
        let configuration = &self.view.live.configuration;
        match by {
            LimitKey::All => Some(0),
            LimitKey::Client => Some(match self.exchange.client {
                Some(client) => self.hash(configuration.clients[client].name.as_bytes()),
                None => self.flow(),
            }),
            LimitKey::Address => Some(self.address_key()),
            LimitKey::Route => Some(self.hash(configuration.routes[self.route].name.as_bytes())),
            LimitKey::Header(name) => self.header(name).map(|value| self.hash(value)),
        }
    }

    fn shared_key(&self, by: &LimitKey) -> Option<u128> {
        let configuration = &self.view.live.configuration;
        let address = || shared_hash(b'a', &customer(self.address()).to_be_bytes());
        let header = |name: &str| self.header(name).map(|value| shared_hash(b'h', value));
        match (by, &configuration.admission.flow) {
            (LimitKey::All, _) => Some(0),
            (LimitKey::Address, _) => Some(address()),
            (LimitKey::Route, _) => {
                Some(shared_hash(b'r', configuration.routes[self.route].name.as_bytes()))
            }
            (LimitKey::Header(name), _) => header(name),
            (LimitKey::Client, flow) => Some(match (self.exchange.client, flow) {
                (Some(client), _) => {
                    shared_hash(b'c', configuration.clients[client].name.as_bytes())
                }
                (None, FlowKey::Address) => address(),
                (None, FlowKey::Header(name)) => header(name).unwrap_or_else(address),
            }),
        }
    }

    fn route(&self) -> usize {
        self.route
    }

    fn is_retry(&self) -> bool {
        let told = &*self.view.live.configuration.admission.retry_header;
        let bytes = self.bytes();
        self.exchange.request.headers.iter().filter(|h| h.kind == HeaderKind::Other).any(|header| {
            let name = header.name.of(bytes);
            let counts = |wanted: &str| {
                name.len() == wanted.len() && name.eq_ignore_ascii_case(wanted.as_bytes())
            };
            (counts(told) || counts(GRPC_ATTEMPTS)) && is_positive(header.value.of(bytes))
        })
    }

    fn bytes(&self) -> u64 {
        let held = self.client.buffer.as_ref().map_or(0, |buffer| buffer.bounds().1);
        (held + size_of::<Exchange>()) as u64
    }

    fn is_newcomer(&self) -> bool {
        !self.client.origin.is_known.get()
    }

    fn deadline(&self) -> Option<Timestamp> {
        let configuration = &self.view.live.configuration;
        let pool = &configuration.pools[self.pool?];
        let configured = configuration.routes[self.route].total_timeout.or(pool.timeouts.total);
        let total = grpc::total(configured, &self.exchange.request, self.bytes())?;
        Some(self.exchange.phases.started + total)
    }

    fn server_free(&self) -> bool {
        self.pool.is_none_or(|pool| self.view.live.pools[pool].balance.has_room())
    }
}

/// The hash of the address: the client's for whom a trusted proxy speaks, else the peer's, which is
/// taken once per connection.
pub(crate) fn address_key(
    client: &Client,
    exchange: &Exchange,
    listener: &Listener,
    secret: &RandomState,
) -> u64 {
    let origin = &client.origin;
    if origin.trusted {
        let address = origin.client(&exchange.request, head_bytes(client), listener);
        return hash_address(address, secret);
    }
    origin.peer_key(|address| hash_address(address, secret))
}

/// IPv4 by the whole address, IPv6 by its /64: one customer usually has a whole /64.
fn hash_address(address: IpAddr, secret: &RandomState) -> u64 {
    secret.hash_one(match address.to_canonical() {
        IpAddr::V4(v4) => (4_u8, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => (6, u64::try_from(v6.to_bits() >> 64).unwrap_or(0)),
    })
}

/// The same number for the same customer in all doors.
fn customer(address: IpAddr) -> u128 {
    match address.to_canonical() {
        // No customer has a network that begins with 64 zeros.
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

/// A hash that all doors take alike. Others can compute it, so nobody may find two values that
/// have the same.
fn shared_hash(kind: u8, value: &[u8]) -> u128 {
    let mut context = Context::new(&SHA256);
    context.update(&[kind]);
    context.update(value);
    let hash = context.finish();
    hash.as_ref().iter().take(16).fold(0, |key, &byte| key << 8 | u128::from(byte))
}

/// Whether a value is a whole number above zero.
fn is_positive(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_digit) && value.iter().any(|digit| *digit != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_by_customer() {
        fn check(one: &str, other: &str, same: bool) {
            let secret = RandomState::new();
            let [one, other] =
                [one, other].map(|text| hash_address(text.parse().unwrap(), &secret));
            assert_eq!(one == other, same, "{one} {other}");
        }
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("::ffff:192.0.2.1", "192.0.2.1", true);
        check("2001:db8::1", "2001:db8::2", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("::c000:201", "192.0.2.1", false);
    }

    #[test]
    fn only_a_number_above_zero_is_a_retry() {
        for (value, expected) in
            [("1", true), ("02", true), ("0", false), ("", false), ("-1", false), ("one", false)]
        {
            assert_eq!(is_positive(value.as_bytes()), expected, "{value:?}");
        }
    }
}
