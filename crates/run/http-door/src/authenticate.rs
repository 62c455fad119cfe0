//! Who may use a route: between its rates and its place at a server, a request is asked who sends it.
//!
//! So a flood of wrong passwords meets its rate before it costs a hash, and nobody holds a server's
//! place while he is being asked. What cannot be found out is a refusal: the door fails closed.
//! Invariant: a request that was let in here has its user, and the fields the server gets, in its
//! exchange; one that was not has left nothing there.

mod basic;
mod forward;
mod hashing;
mod jwt;
mod passwords;
mod question;
mod subrequest;

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use admission::{Checked, Refusal};
use http_wire::{HeaderKind, RequestHead};
use model::configuration::{Authentication, Route};
use model::{Name, Reason};
use net::clock;

use crate::connection::Client;
use crate::exchange::Exchange;
use crate::serve::head_bytes;
use crate::view::View;
use crate::worker::Worker;

pub(crate) use forward::Reply;
pub(crate) use hashing::Hashing;
pub(crate) use jwt::Admitted;
pub(crate) use passwords::Passwords;

/// Who may use which route; empty while all may use all.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    /// By route.
    guards: Vec<Option<Guard>>,
}

/// Who may use a route.
#[derive(Debug)]
enum Guard {
    Basic(basic::Users),
    Jwt(jwt::Issuer),
    Forward(model::configuration::ForwardAuthentication),
}

/// Why a request is not let in, and what its client is told.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The door refuses it.
    Refused(Refusal),
    /// The door refuses it, and says in these lines of a head how to be let in.
    Challenged(Reason, Vec<u8>),
    /// Another server answers it.
    Answered(Reply),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Guards {
    /// The guards of these routes.
    ///
    /// # Errors
    /// The route whose tokens' key cannot be used.
    pub(crate) fn build(routes: &[Route]) -> Result<Self, Name> {
        if routes.iter().all(|route| route.treatment.authentication.is_none()) {
            return Ok(Self::default());
        }
        let guard = |route: &Route| match &route.treatment.authentication {
            None => Ok(None),
            Some(Authentication::Basic(basic)) => Ok(Some(Guard::Basic(basic::Users::new(basic)))),
            Some(Authentication::Jwt(settings)) => {
                static ISSUERS: AtomicU64 = AtomicU64::new(0);
                let number = ISSUERS.fetch_add(1, Ordering::Relaxed);
                let issuer = jwt::Issuer::new(settings, number);
                issuer
                    .map(|issuer| Some(Guard::Jwt(issuer)))
                    .map_err(|_unusable| route.name.clone())
            }
            Some(Authentication::Forward(forward)) => Ok(Some(Guard::Forward(forward.clone()))),
        };
        let guards = routes.iter().map(guard).collect::<Result<_, _>>()?;
        Ok(Self { guards })
    }

    /// Whether anybody is asked on the route of this index.
    pub(crate) fn watch(&self, route: usize) -> bool {
        self.guards.get(route).is_some_and(Option::is_some)
    }
}

/// Finds out whether the request may use its route.
///
/// # Errors
/// Why not.
pub(crate) async fn authenticate(
    worker: &Worker,
    client: &mut Client,
    exchange: &mut Exchange,
    (view, route): (&View, usize),
    checked: &Checked,
) -> Result<(), Denied> {
    let Some(Some(guard)) = view.live.guards.guards.get(route) else { return Ok(()) };
    let result = match guard {
        Guard::Basic(users) => {
            basic::check(worker, client, exchange, (users, &view.live.secret)).await
        }
        Guard::Jwt(issuer) => issuer.check(worker, client, exchange),
        Guard::Forward(settings) => {
            forward::check(worker, client, exchange, (view, settings)).await
        }
    };
    exchange.phases.authenticating = clock::now().since(exchange.phases.started);
    result.map_err(|denied| match &denied {
        // So that those who are refused together do not come back together.
        Denied::Refused(refusal) if refusal.reason == Reason::AuthenticationUnavailable => {
            Denied::Refused(checked.refused(refusal.reason))
        }
        Denied::Refused(_) | Denied::Challenged(..) | Denied::Answered(_) => denied,
    })
}

/// Nobody could say whether the request is allowed.
fn unavailable() -> Denied {
    Denied::Refused(Refusal::because(Reason::AuthenticationUnavailable))
}

/// The one value of `Authorization`; none where there are several, of which a server might read
/// another than the door did.
fn authorization<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let mut fields = head.headers.iter().filter(|field| field.kind == HeaderKind::Authorization);
    let first = fields.next()?;
    fields.next().is_none().then(|| first.value.of(bytes))
}

/// What comes of `work`, unless the client leaves before.
async fn unless_left<T>(client: &mut Client, work: impl Future<Output = T>) -> Result<T, Denied> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => client
            .poll_left(context)
            .map(|()| Err(Denied::Refused(Refusal::because(Reason::ClientClosed)))),
    })
    .await
}

/// Makes the lines of a head that a token adds the exchange's own.
fn admit(exchange: &mut Exchange, admitted: &Rc<Admitted>) {
    exchange.user.extend_from_slice(&admitted.user);
    exchange.extra_headers.extend_from_slice(&admitted.lines);
}

/// The head's bytes of the request that `client` sends.
fn bytes_of(client: &Client) -> &[u8] {
    head_bytes(client)
}
