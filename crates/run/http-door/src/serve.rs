//! The walk of a request: accept, admit, route, pick, forward, record.
//!
//! [`one_request`] reads from top to bottom in request order. Every step is a call; what a step
//! decides is decided by the room it is named after.

use std::rc::Rc;
use std::time::Duration;

use balancing::{NoServer, Pick, PickRequest, Pool};
use http_wire::Framing;
use model::configuration::{Action, Listener, Pool as PoolSettings, Route};
use model::{Reason, Timestamp};
use net::clock;
use net::timer::TICK;
use telemetry::{ArmShard, RequestSample, RouteShard};

use crate::admit;
use crate::answer::{self, Answer};
use crate::attempt::{self, Attempt, Failure};
use crate::authenticate::Denied;
use crate::connection::{Client, head_limits};
use crate::exchange::{Ended, Exchange};
use crate::grpc;
use crate::heads::{self, RequestContext};
use crate::http2;
use crate::live::LivePool;
use crate::pump::{Encoding, Pump, PumpError};
use crate::record;
use crate::route::Match;
use crate::treated;
use crate::trial;
use crate::view::View;
use crate::waiting::Place;
use crate::work::Load;
use crate::worker::Worker;

/// Serves one client connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, mut client: Client) {
    let mut is_first = true;
    loop {
        let length = match client.read_head(&worker).await {
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(reason) => {
                refuse(&worker, &mut client, reason).await;
                return;
            }
        };
        if is_first && http2::inbound::is_preface(&client, length) {
            return Box::pin(http2::inbound::serve(worker, client)).await;
        }
        is_first = false;
        let mut exchange = worker.lend_exchange();
        let ended = one_request(&worker, &mut client, &mut exchange, length).await;
        worker.take_back_exchange(exchange);
        if !ended.keep_alive || client.over_http2 {
            client.close(&worker, ended.complete).await;
            return;
        }
        if client.buffer.as_ref().is_some_and(net::buffer::Buffer::is_empty) {
            client.buffer = None;
        }
    }
}

/// Serves one request whose head is the first `length` bytes of the client's buffer.
async fn one_request(
    worker: &Rc<Worker>,
    client: &mut Client,
    exchange: &mut Exchange,
    length: usize,
) -> Ended {
    exchange.phases.started = clock::now();
    let listener = client.listener.settings();
    if let Err(reason) = understand(worker, client, exchange, &listener, length) {
        let view = worker.view();
        let answer = Answer::refusal(reason, &listener, &view);
        return answer_unrouted(worker, client, exchange, (&view, &answer)).await;
    }
    if exchange.request.path() == "*" {
        // `OPTIONS *` asks the door itself (RFC 9110, section 9.3.7).
        let answer = Answer::fixed(204, "", "");
        return answer_unrouted(worker, client, exchange, (&worker.view(), &answer)).await;
    }
    if let Some(text) = worker.shared.challenges.text(exchange.request.path()) {
        let answer = Answer::fixed(200, "application/octet-stream", &text);
        return answer_unrouted(worker, client, exchange, (&worker.view(), &answer)).await;
    }
    let (view, found) = trial::route(worker, client, exchange, &listener);
    let asked = treated::preflight(&view, &exchange.request, head_bytes(client), &listener.name);
    let index = match asked.map_or(found, Match::Route) {
        Match::Route(index) => index,
        Match::WrongMethod => {
            let allowed =
                view.live.router.methods(&exchange.request, head_bytes(client), &listener.name);
            let answer = Answer::refusal(Reason::MethodNotAllowed, &listener, &view);
            let answer = answer.allowing(allowed);
            view.arm.iter().for_each(|arm| arm.unrouted());
            return answer_unrouted(worker, client, exchange, (&view, &answer)).await;
        }
        Match::None => {
            let answer = Answer::refusal(Reason::NoRoute, &listener, &view);
            view.arm.iter().for_each(|arm| arm.unrouted());
            return answer_unrouted(worker, client, exchange, (&view, &answer)).await;
        }
    };
    let counted = CountedIn::new(&view.routes[index].metrics, view.arm.as_deref());
    exchange.treated.clone_from(&view.routes[index].treated);
    let ended = match asked {
        Some(_) => answer::send(worker, client, exchange, &Answer::preflight()).await,
        None => admitted(worker, client, exchange, (&view, index, &listener)).await,
    };
    counted.out(&ended, exchange.phases.started);
    record::access(worker, client, exchange, (&view, Some(index)), &ended);
    ended
}

/// Finds out who sends the request, and does what the route says if it is let in.
async fn admitted(
    worker: &Rc<Worker>,
    client: &mut Client,
    exchange: &mut Exchange,
    (view, index, listener): (&Rc<View>, usize, &Listener),
) -> Ended {
    admit::identify(worker, client, exchange, (view, listener));
    match admit::admit(worker, client, exchange, (view, index, listener)).await {
        Ok(place) => answered(worker, client, exchange, (view, index, place)).await,
        Err(denied) => {
            let answer = match &denied {
                Denied::Refused(refusal) => Answer::refusal(refusal.reason, listener, view)
                    .of_admission(refusal, exchange.client, view),
                Denied::Challenged(reason, fields) => {
                    Answer::refusal(*reason, listener, view).with_fields(fields)
                }
                Denied::Answered(reply) => Answer::of_another(reply),
            };
            answer::send(worker, client, exchange, &answer).await
        }
    }
}

/// Does what the route says with a request that was let in.
async fn answered(
    worker: &Rc<Worker>,
    client: &mut Client,
    exchange: &mut Exchange,
    (view, index, place): (&Rc<View>, usize, Place<'_>),
) -> Ended {
    let quota = place.quota(exchange.client, view);
    match &view.live.router.routes()[index].action {
        Action::Forward { pool, .. } => {
            let ended = forward(worker, client, exchange, (view, index, *pool), place).await;
            record::traffic(worker, client, exchange, (view, index, *pool), &ended);
            ended
        }
        Action::Redirect { status, location } => {
            let answer = answer::redirect(exchange, head_bytes(client), *status, location);
            let answer = answer.with_quota(quota);
            answer::send(worker, client, exchange, &answer).await
        }
        Action::Respond { status, body, content_type } => {
            let answer = Answer::fixed(*status, content_type, body).with_quota(quota);
            let settings = view.live.router.routes()[index].treatment.compression.as_ref();
            let answer = answer.compressed_by(settings);
            answer::send(worker, client, exchange, &answer).await
        }
    }
}

/// A request in flight on its route. One that is dropped before it ended, by a panic or by the
/// end of the drain time, is counted out as a defect of the door.
struct CountedIn<'a> {
    metrics: &'a RouteShard,
    arm: Option<&'a ArmShard>,
    sample: RequestSample,
}

impl<'a> CountedIn<'a> {
    fn new(metrics: &'a RouteShard, arm: Option<&'a ArmShard>) -> Self {
        metrics.begin();
        let reason = Reason::Internal;
        let sample = RequestSample {
            status: reason.status(),
            duration: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            reason: Some(reason),
        };
        Self { metrics, arm, sample }
    }

    fn out(mut self, ended: &Ended, started: Timestamp) {
        self.sample = RequestSample {
            status: ended.status,
            duration: ended.at.since(started),
            bytes_in: ended.bytes_in,
            bytes_out: ended.bytes_out,
            reason: ended.reason,
        };
    }
}

impl Drop for CountedIn<'_> {
    fn drop(&mut self) {
        self.metrics.end(&self.sample);
        if let Some(arm) = self.arm {
            arm.request(&self.sample);
        }
    }
}

/// Understands the head or says why not, and gives the request its id.
fn understand(
    worker: &Worker,
    client: &mut Client,
    exchange: &mut Exchange,
    listener: &Listener,
    length: usize,
) -> Result<(), Reason> {
    let is_admitted = client.is_admitted();
    let Some(buffer) = client.buffer.as_mut() else { return Err(Reason::Internal) };
    buffer.consume(length);
    let bytes = buffer.bytes().get(..length).unwrap_or_default();
    let parsed = exchange.request.parse(bytes, &head_limits(listener));
    if parsed.is_err() {
        exchange.request = record::unparsed(bytes);
    }
    exchange.identify(bytes, client.origin.trusted && parsed.is_ok(), worker.random_id());
    parsed?;
    if !is_admitted {
        return Err(Reason::Misdirected);
    }
    let Some(session) = &client.origin.session else { return Ok(()) };
    // The host is ASCII: the codec saw to that.
    let host = exchange.request.host.and_then(|host| std::str::from_utf8(host.of(bytes)).ok());
    if host.is_some_and(|host| !session.serves(host)) { Err(Reason::Misdirected) } else { Ok(()) }
}

/// The bytes of the current request's head, and what follows it.
pub(crate) fn head_bytes(client: &Client) -> &[u8] {
    client.buffer.as_ref().map_or(&[], |buffer| buffer.bytes())
}

/// Answers a request that reached no route of what `view` serves.
async fn answer_unrouted(
    worker: &Rc<Worker>,
    client: &mut Client,
    exchange: &mut Exchange,
    (view, answer): (&View, &Answer<'_>),
) -> Ended {
    if let Some(reason) = answer.reason {
        worker.metrics.reason(reason);
    }
    let ended = answer::send(worker, client, exchange, answer).await;
    record::access(worker, client, exchange, (view, None), &ended);
    ended
}

/// A head that could not even be read to its end.
async fn refuse(worker: &Rc<Worker>, client: &mut Client, reason: Reason) {
    let mut exchange = worker.lend_exchange();
    exchange.phases.started = clock::now();
    exchange.request = record::unparsed(client.buffer.as_ref().map_or(&[], |held| held.filled()));
    exchange.identify(&[], false, worker.random_id());
    let (listener, view) = (client.listener.settings(), worker.view());
    let answer = Answer::refusal(reason, &listener, &view);
    answer_unrouted(worker, client, &mut exchange, (&view, &answer)).await;
    worker.take_back_exchange(exchange);
    client.close(worker, false).await;
}

/// Forwards the request to a server of the pool, to another one if that fails and it may.
async fn forward(
    worker: &Rc<Worker>,
    client: &mut Client,
    exchange: &mut Exchange,
    (view, index, pool_index): (&Rc<View>, usize, usize),
    mut place: Place<'_>,
) -> Ended {
    let route = &view.live.router.routes()[index];
    let pool = &view.live.pools[pool_index];
    let settings = &view.live.configuration.pools[pool_index];
    let listener = client.listener.settings();
    let bytes_max = route.body_bytes_max.unwrap_or(listener.limits.body_bytes_max);
    if matches!(exchange.request.framing, Framing::Length(length) if length > bytes_max) {
        let answer = Answer::refusal(Reason::BodyTooLarge, &listener, view);
        return answer::send(worker, client, exchange, &answer).await;
    }
    let waited = exchange.phases.authenticating + exchange.phases.waited.unwrap_or_default();
    limit_time(client, exchange, (route, settings), waited);
    pool.balance.retries().deposit();
    let mut upload = match begin_upload(client, exchange, (view, index, settings), bytes_max) {
        Ok(upload) => upload,
        Err(reason) => {
            let answer = Answer::refusal(reason, &listener, view);
            return answer::send(worker, client, exchange, &answer).await;
        }
    };
    let hash = record::key(&settings.balance, client, exchange, &listener);
    let mut now = exchange.phases.started + waited;
    loop {
        let pick = match pick(worker, client, exchange, (pool, settings, hash, &mut now)).await {
            Ok(pick) => pick,
            Err(reason) => {
                let reason = last_reason(exchange, reason);
                let answer = Answer::refusal(reason, &listener, view);
                return answer::send(worker, client, exchange, &answer).await;
            }
        };
        exchange.tried.push(pick.index());
        // An attempt before may have left it.
        place.rejoin();
        let at_server = pool.balance.servers()[pick.index()].in_flight();
        let attempt = Attempt {
            pick,
            load: Some(Load { began: now, at_server }),
            suspended: false,
            worker,
            view,
            pool_index,
            settings,
            route,
            upload: &mut upload,
            others_wait: place.is_wanted(),
            place: &mut place,
            watches_client: false,
            answered_at: None,
            silent_until: Duration::ZERO,
            awaits_continue: exchange.request.expect_continue,
            is_call: false,
        };
        let failure = match attempt::run(attempt, client, exchange, now).await {
            Ok(ended) => return ended,
            Err(failure) => failure,
        };
        now = failure.at;
        exchange.history.push(failure.reason);
        let most = (settings.retries.attempts_max, &*pool.balance);
        let wanted = may_repeat(&failure, exchange, &upload, most);
        if !wanted || !pays(&failure, exchange, (view, pool_index), now) {
            let answer = Answer::refusal(failure.reason, &listener, view);
            return answer::send(worker, client, exchange, &answer).await;
        }
        if upload.has_sent() {
            write_request_head(client, exchange, route);
            upload.restart(&mut exchange.to_server);
        }
    }
}

/// No later than this the request ends; `waited` of its time has passed.
fn limit_time(
    client: &Client,
    exchange: &Exchange,
    (route, settings): (&Route, &PoolSettings),
    waited: Duration,
) {
    let configured = route.total_timeout.or(settings.timeouts.total);
    let total = grpc::total(configured, &exchange.request, head_bytes(client));
    exchange.deadline.limit(total.map(|total| total.saturating_sub(waited)));
}

/// Picks a server. That all are full is an accident here, for one of them had a place when the
/// request got its own: it stays before all others and tries again, no longer than it may wait.
async fn pick(
    worker: &Worker,
    client: &mut Client,
    exchange: &mut Exchange,
    (pool, settings, hash, now): (&LivePool, &PoolSettings, Option<u64>, &mut Timestamp),
) -> Result<Pick, Reason> {
    let began = *now;
    loop {
        let wanted = PickRequest { hash, tried: &exchange.tried };
        match pool.balance.pick(&wanted, *now, &mut worker.dice.borrow_mut()) {
            Ok(pick) => return Ok(pick),
            Err(NoServer::Full) => {}
            Err(NoServer::Empty | NoServer::Draining | NoServer::Unchecked) => {
                pool.gate.unserved(*now);
                return Err(Reason::NoServer);
            }
        }
        if !exchange.tried.is_empty() || now.since(began) >= settings.admission.wait_max {
            return Err(Reason::QueueTimeout);
        }
        exchange.deadline.set(TICK);
        let left = std::future::poll_fn(|context| client.poll_left(context));
        if exchange.deadline.within(left).await.is_ok() {
            return Err(Reason::ClientClosed);
        }
        *now = clock::now();
    }
}

/// Whether a 101 switches to the protocol that the client offered (RFC 9110, section 7.8).
pub(crate) fn upgrade_was_asked(exchange: &Exchange, response: &[u8], request: &[u8]) -> bool {
    match (exchange.request.upgrade, exchange.response.upgrade) {
        (Some(asked), Some(given)) => asked.of(request).eq_ignore_ascii_case(given.of(response)),
        _ => false,
    }
}

fn last_reason(exchange: &Exchange, otherwise: Reason) -> Reason {
    exchange.history.last().copied().unwrap_or(otherwise)
}

/// Writes the head for the server and decodes what of the body is there already.
fn begin_upload(
    client: &mut Client,
    exchange: &mut Exchange,
    (view, index, pool): (&View, usize, &PoolSettings),
    bytes_max: u64,
) -> Result<Pump, Reason> {
    let (router, path) = (&view.live.router, exchange.request.path());
    // The head is not written yet, so the room for it is free.
    router.rewrite((index, path), &mut exchange.to_server, &mut exchange.rewritten)?;
    let route = &router.routes()[index];
    write_request_head(client, exchange, route);
    exchange.proxied = pool.proxy_protocol.map(|_version| client.origin.endpoints());
    exchange.body_begun = true;
    let Some(buffer) = client.buffer.as_mut() else { return Err(Reason::Internal) };
    let framing = exchange.request.framing;
    let encoding = if framing == Framing::Chunked { Encoding::Chunked } else { Encoding::Identity };
    let mut upload = Pump::new(framing, encoding, buffer, bytes_max);
    if route.treatment.authentication.is_some() {
        // Some servers would take one for a field of the head, in which only the door names the user.
        upload = upload.without_trailers();
    }
    match upload.prepare(buffer, &mut exchange.to_server) {
        Ok(()) => Ok(upload),
        Err(PumpError::Malformed(reason)) => Err(reason),
        Err(PumpError::TooLarge) => Err(Reason::BodyTooLarge),
        Err(PumpError::Source | PumpError::Sink | PumpError::Encoder) => Err(Reason::Internal),
    }
}

pub(crate) fn write_request_head(client: &Client, exchange: &mut Exchange, route: &Route) {
    let path = match exchange.rewritten.as_str() {
        "" => exchange.request.path(),
        rewritten => rewritten,
    };
    let context = RequestContext {
        origin: &client.origin,
        forwarded: client.listener.settings().forwarded,
        request_id: &exchange.request_id,
        authenticated: (route.treatment.authentication.as_ref())
            .map(|how| (how, &*exchange.extra_headers)),
        path,
    };
    heads::write_request(&mut exchange.to_server, &exchange.request, head_bytes(client), &context);
    treated::treat_request(client, exchange);
}

/// Whether another server may be asked: the server failed, what was sent can be sent again, and
/// doing so twice does no harm.
fn may_repeat(
    failure: &Failure,
    exchange: &Exchange,
    upload: &Pump,
    (attempts_max, pool): (u32, &Pool),
) -> bool {
    // The same server is asked again only when it may have been an accident of the connection.
    let worthwhile = failure.reason == Reason::ServerClosed || exchange.tried.len() < pool.len();
    let once = failure.unbegun || exchange.request.method.is_idempotent();
    let harmless = !upload.has_sent() || (failure.repeatable && upload.can_restart() && once);
    failure.cause.is_some()
        && harmless
        && worthwhile
        && failure.reason != Reason::TotalTimeout
        && exchange.tried.len() < attempts_max as usize
}

/// Takes one retry from the pool's budget, unless the failure has paid already.
fn pays(
    failure: &Failure,
    exchange: &Exchange,
    (view, pool_index): (&View, usize),
    now: Timestamp,
) -> bool {
    let paid = failure.paid || view.live.pools[pool_index].balance.retries().withdraw(now);
    if !paid && let Some(last) = exchange.tried.last() {
        view.pools[pool_index].servers[*last].metrics.retry_refused();
    }
    paid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_counts_the_request_out() {
        let registry = std::sync::Arc::new(telemetry::Registry::new(1));
        let metrics = registry.route(0, &"web".into());
        let mut collector = telemetry::Collector::new(std::sync::Arc::clone(&registry));
        let panicked = std::panic::catch_unwind(|| {
            let _counted = CountedIn::new(&metrics, None);
            panic!("a defect");
        });
        assert!(panicked.is_err());
        let route = model::fact::RouteFacts { name: "web".to_owned(), ..Default::default() };
        let gauges = model::fact::Snapshot { routes: vec![route], ..Default::default() };
        let facts = collector.collect(gauges).routes.remove(0);
        assert_eq!((facts.in_flight, facts.requests, facts.by_class), (0, 1, [0, 0, 0, 0, 1]));
    }
}
