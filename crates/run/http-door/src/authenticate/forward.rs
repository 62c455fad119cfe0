//! Another server decides who may come in.
//!
//! What it lets in (2xx) goes on, with the fields that were asked for; any other answer below 500 is
//! for the client: it asks him to log in, or says no. No answer, a 5xx, or one that is too large is
//! a refusal by the door: it never lets in whom nobody has let in.

use model::Reason;
use model::configuration::ForwardAuthentication;

use super::subrequest::{Question, Said, ask};
use super::{Denied, bytes_of, question, unavailable, unless_left};
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::grpc;
use crate::heads::write_field;
use crate::view::View;
use crate::worker::Worker;

/// Fields of an answer that the client gets.
const FOR_CLIENT: [&str; 6] =
    ["cache-control", "content-type", "location", "retry-after", "set-cookie", "www-authenticate"];

/// What another server answers a client.
#[derive(Debug)]
pub(crate) struct Reply {
    /// 300 to 499.
    pub(crate) status: u16,
    /// Complete lines of a head.
    pub(crate) fields: Vec<u8>,
    /// At most 64 KiB.
    pub(crate) body: Vec<u8>,
}

/// Lets in whom the other server lets in.
pub(super) async fn check(
    worker: &Worker,
    client: &mut Client,
    exchange: &mut Exchange,
    (view, settings): (&View, &ForwardAuthentication),
) -> Result<(), Denied> {
    let head = question::write(client, exchange, settings);
    let endpoints = client.origin.endpoints();
    let question = Question { head: &head, pool: settings.pool, endpoints, time: settings.timeout };
    let said = unless_left(client, ask(worker, view, question)).await?;
    let said = said.ok_or_else(unavailable)?;
    match said.response.status {
        200..=299 => {
            let fields = said.response.headers.iter().filter(|field| !field.hop_by_hop);
            for field in fields {
                let (name, value) = (field.name.of(&said.head), field.value.of(&said.head));
                let is = |own: &model::Name| name.eq_ignore_ascii_case(own.as_bytes());
                if settings.copy_response.iter().any(is) {
                    write_field(&mut exchange.extra_response_headers, name, value);
                }
                let Some(at) = settings.copy.iter().position(is) else { continue };
                write_field(&mut exchange.extra_headers, name, value);
                if at == 0 && exchange.user.is_empty() {
                    exchange.user.extend_from_slice(value);
                }
            }
            Ok(())
        }
        300..=499 if !said.is_cut => Err(answered(client, exchange, said)),
        _ => Err(unavailable()),
    }
}

/// What the client is told. A call understands statuses of its own only.
fn answered(client: &Client, exchange: &Exchange, said: Said) -> Denied {
    let status = said.response.status;
    if grpc::answer_type(&exchange.request, bytes_of(client)).is_some() {
        let is_unknown = status == 401 || status < 400;
        let reason = if is_unknown { Reason::Unauthenticated } else { Reason::Forbidden };
        return Denied::Challenged(reason, Vec::new());
    }
    let mut fields = Vec::new();
    let mut says_how_long = false;
    for field in said.response.headers.iter().filter(|field| !field.hop_by_hop) {
        let name = field.name.of(&said.head);
        let is = |wanted: &&str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if FOR_CLIENT.iter().any(is) {
            says_how_long |= is(&"cache-control");
            write_field(&mut fields, name, field.value.of(&said.head));
        }
    }
    if !says_how_long {
        // It is about this client.
        write_field(&mut fields, b"cache-control", b"no-store");
    }
    Denied::Answered(Reply { status, fields, body: said.body })
}
