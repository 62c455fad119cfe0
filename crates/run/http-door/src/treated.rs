//! What is done to the heads of a route's requests and responses: its rules for header fields, and
//! what lets scripts of other sites in.
//!
//! Made once per configuration and worker, from settings that were checked. It works on heads as
//! the door has written them, last of all, so that a rule reaches every field whoever it is from;
//! a route without any of it never comes here.
//! Invariant: a head that goes in whole comes out whole, with the framing it had.

mod cors;
mod fields;
mod said;

use model::Configuration;
use model::configuration::{Listener, Route, Treatment};

pub(crate) use cors::preflight;

use self::cors::Cors;
use self::fields::Rules;
use self::said::Said;
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::serve::head_bytes;

/// What is done to the heads of one route.
#[derive(Debug)]
pub(crate) struct Treated {
    requests: Rules,
    responses: Rules,
    cors: Option<Cors>,
    /// The names of registered clients, by index; empty when no value asks for them.
    clients: Box<[model::Name]>,
}

/// Which response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any response, with this status.
    Response(u16),
    /// The answer to what a browser asks before it lets a script in.
    Preflight,
}

impl Treated {
    /// What is done on `route`; `None` when nothing is.
    pub(crate) fn of(route: &Route, configuration: &Configuration) -> Option<Self> {
        let Treatment { request_headers, response_headers, cors, authentication, .. } =
            &route.treatment;
        if request_headers.is_empty() && response_headers.is_empty() && cors.is_none() {
            return None;
        }
        let authentication = authentication.as_ref();
        let requests = Rules::new(request_headers, &route.name, authentication);
        let responses = Rules::new(response_headers, &route.name, authentication);
        let asks = requests.asks_for_client() || responses.asks_for_client();
        let clients = if asks { &*configuration.clients } else { &[] };
        Some(Self {
            requests,
            responses,
            cors: cors.as_ref().map(Cors::new),
            clients: clients.iter().map(|client| client.name.clone()).collect(),
        })
    }

    fn said<'a>(
        &'a self,
        client: &'a Client,
        exchange: &'a Exchange,
        listener: &'a Listener,
    ) -> Said<'a> {
        Said {
            head: &exchange.request,
            bytes: head_bytes(client),
            origin: &client.origin,
            listener,
            request_id: &exchange.request_id,
            client: exchange.client.and_then(|index| self.clients.get(index)),
            user: &exchange.user,
        }
    }

    fn treat_request(&self, head: &mut Vec<u8>, said: &Said<'_>) {
        fields::remove(head, |name| self.requests.replaces(name));
        fields::extend(head, |head| self.requests.write(head, said));
    }

    fn treat_response(&self, head: &mut Vec<u8>, said: &Said<'_>, kind: Kind) {
        let status = match kind {
            Kind::Response(status) => status,
            Kind::Preflight => 204,
        };
        let rules = Some(&self.responses).filter(|rules| rules.apply_to(status));
        let has_cors = self.cors.is_some();
        fields::remove(head, |name| {
            rules.is_some_and(|rules| rules.replaces(name)) || (has_cors && cors::is_of_cors(name))
        });
        fields::extend(head, |head| {
            if let Some(rules) = rules {
                rules.write(head, said);
            }
            match (&self.cors, kind) {
                (None, _) => {}
                (Some(cors), Kind::Response(_)) => cors.write(head, said.head, said.bytes),
                (Some(cors), Kind::Preflight) => cors.write_preflight(head, said.head, said.bytes),
            }
        });
    }
}

/// Applies the route's rules to the head for the server, as it was written.
pub(crate) fn treat_request(client: &Client, exchange: &mut Exchange) {
    if exchange.treated.is_none() {
        return;
    }
    let mut head = std::mem::take(&mut exchange.to_server);
    if let Some(treated) = &exchange.treated {
        let listener = client.listener.settings();
        treated.treat_request(&mut head, &treated.said(client, exchange, &listener));
    }
    exchange.to_server = head;
}

/// Applies the route's rules to the head for the client, as it was written, after what another
/// server who let the request in wants him to get.
pub(crate) fn treat_response(client: &Client, exchange: &mut Exchange, kind: Kind) {
    if !exchange.extra_response_headers.is_empty() {
        let lines = &exchange.extra_response_headers;
        fields::extend(&mut exchange.to_client, |head| head.extend_from_slice(lines));
    }
    if exchange.treated.is_none() {
        return;
    }
    let mut head = std::mem::take(&mut exchange.to_client);
    if let Some(treated) = &exchange.treated {
        let listener = client.listener.settings();
        treated.treat_response(&mut head, &treated.said(client, exchange, &listener), kind);
    }
    exchange.to_client = head;
}
