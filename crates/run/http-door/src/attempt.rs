//! One attempt: the request goes to one server, and its response to the client.
//!
//! Until a final response head has arrived, nothing has been said to the client and the
//! attempt can fail over to another server. From then on it can only be completed or cut.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use balancing::{FailureCause, Outcome, Pick};
use http_wire::{HeadLimits, HeaderKind, Method, write_proxy_header};
use model::configuration::{Pool as PoolSettings, Route, ServerProtocol};
use model::{Fault, Reason, Timestamp};
use net::clock;
use net::socket::Socket;
use net::timer::{Deadline, Elapsed};
use telemetry::AttemptSample;

use crate::connection::Client;
use crate::exchange::{Ended, Exchange};
use crate::grpc;
use crate::heads;
use crate::http2::outbound::Target;
use crate::pump::{Pump, PumpError, Side};
use crate::serve;
use crate::tunnel;
use crate::upstream::{self, Cut, Opening, ServerConnection};
use crate::view::{ServerView, View};
use crate::waiting::Place;
use crate::work::{self, Load, WATCH_AFTER};
use crate::worker::Worker;

/// A server's response head may have these sizes, whatever the client's limits are.
const RESPONSE_LIMITS: HeadLimits =
    HeadLimits { bytes_max: 32 * 1024, headers_max: 200, target_bytes_max: 0 };
/// Interim responses (1xx) that one server may send before its final one.
const INTERIM_MAX: u32 = 16;
/// A request that must not be sent twice goes only over a connection that was idle for less.
const FRESH_ENOUGH: Duration = Duration::from_secs(1);

/// What an attempt works with.
#[derive(Debug)]
pub(crate) struct Attempt<'a, 'p> {
    pub(crate) worker: &'a Rc<Worker>,
    pub(crate) view: &'a Rc<View>,
    pub(crate) pool_index: usize,
    pub(crate) settings: &'a PoolSettings,
    pub(crate) route: &'a Route,
    pub(crate) upload: &'a mut Pump,
    pub(crate) pick: Pick,
    /// Its place at the pool.
    pub(crate) place: &'a mut Place<'p>,
    /// What the limiter is told of it; absent once it was, and while the client owes its body.
    pub(crate) load: Option<Load>,
    /// The server waits for the request's body, and the place is given to others meanwhile.
    pub(crate) suspended: bool,
    /// Others wait for a place at this pool, so that a client who leaves is noticed at once.
    pub(crate) others_wait: bool,
    /// The server takes its time, so the client is watched for leaving.
    pub(crate) watches_client: bool,
    /// When the head of the response was there.
    pub(crate) answered_at: Option<Timestamp>,
    /// How long the server will have been silent when its deadline passes.
    pub(crate) silent_until: Duration,
    /// The client sends its body only once the server has agreed to it.
    pub(crate) awaits_continue: bool,
    /// The answer is that of a gRPC call, which may be silent for longer.
    pub(crate) is_call: bool,
}

/// Why an attempt failed before anything was said to the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// Another server may be asked if the request allows it.
    pub(crate) repeatable: bool,
    /// The server said that it has not begun: repeating it cannot do it twice.
    pub(crate) unbegun: bool,
    /// The server is to blame, not the client.
    pub(crate) cause: Option<FailureCause>,
    /// The budget has already paid for another attempt.
    pub(crate) paid: bool,
    pub(crate) at: Timestamp,
}

/// Sends the request to the picked server and relays its response.
///
/// # Errors
/// [`Failure`] while the client has not been told anything.
pub(crate) async fn run(
    mut attempt: Attempt<'_, '_>,
    client: &mut Client,
    exchange: &mut Exchange,
    began: Timestamp,
) -> Result<Ended, Failure> {
    let result = attempt.once(client, exchange, began).await;
    let (at, status, failure) = match &result {
        Ok(ended) => (ended.at, Some(exchange.response.status), ended.reason),
        Err(failure) => match failure.cause {
            Some(FailureCause::Status(status)) => (failure.at, Some(status), None),
            _ => (failure.at, None, Some(failure.reason)),
        },
    };
    let total = at.since(began);
    let sample = AttemptSample {
        status,
        failure,
        connect: exchange.phases.connect,
        first_byte: exchange.phases.first_byte,
        total,
        retried: exchange.tried.len() > 1,
    };
    let index = attempt.pick.index();
    let metrics = &attempt.view.pools[attempt.pool_index].servers[index].metrics;
    metrics.attempt(&sample);
    if let Some(arm) = &attempt.view.arm {
        arm.attempt(attempt.pool_index, index, &sample);
    }
    let latency = exchange.phases.first_byte.unwrap_or(total);
    let outcome = outcome_of(&result, exchange.status_of_work, latency);
    attempt.tell_limiter(work::ending_of(outcome), at);
    if let Some(change) = attempt.pick.finish(outcome, at) {
        attempt.worker.state_changed(&attempt.settings.name, metrics, change);
    }
    result
}

fn outcome_of(result: &Result<Ended, Failure>, status: u16, latency: Duration) -> Outcome {
    match result {
        Err(Failure { cause: Some(cause), .. }) => Outcome::Failure { latency, cause: *cause },
        Err(Failure { cause: None, .. }) => Outcome::Neutral,
        Ok(ended) => match ended.reason {
            Some(reason) if reason.fault() == Fault::Server => {
                Outcome::Failure { latency, cause: cause_of(reason) }
            }
            _ if status >= 500 || status == 429 => {
                Outcome::Failure { latency, cause: FailureCause::Status(status) }
            }
            _ => Outcome::Success { latency },
        },
    }
}

/// What a server's failure is to `balancing`.
pub(crate) fn cause_of(reason: Reason) -> FailureCause {
    if reason == Reason::ConnectFailed {
        FailureCause::Connect
    } else if reason == Reason::ServerTls {
        FailureCause::Tls
    } else if reason == Reason::BadResponse {
        FailureCause::BadResponse
    } else if reason.status() == 504 {
        FailureCause::Timeout
    } else {
        FailureCause::Reset
    }
}

impl Failure {
    fn server(reason: Reason) -> Self {
        let cause = Some(cause_of(reason));
        let at = clock::now();
        Self { reason, repeatable: true, unbegun: false, cause, paid: false, at }
    }

    fn client(reason: Reason) -> Self {
        let at = clock::now();
        Self { reason, repeatable: false, unbegun: false, cause: None, paid: false, at }
    }

    /// The server ended the connection, or its stream, before it answered.
    fn cut(cut: Cut) -> Self {
        match cut {
            Cut::Closed => Self::server(Reason::ServerClosed),
            Cut::Malformed => Self::server(Reason::BadResponse),
            // Not the server's fault: it has not seen it.
            Cut::Unsendable => Self::client(Reason::HeadTooLarge),
            Cut::GoneAway | Cut::Refused => {
                Self { unbegun: true, ..Self::server(Reason::ServerClosed) }
            }
        }
    }
}

impl Attempt<'_, '_> {
    pub(crate) fn server(&self) -> &ServerView {
        &self.view.pools[self.pool_index].servers[self.pick.index()]
    }

    async fn once(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        began: Timestamp,
    ) -> Result<Ended, Failure> {
        exchange.phases.connect = None;
        exchange.phases.first_byte = None;
        let mut server = self.connection(exchange, began).await?;
        let sent_at = if server.reused { began } else { clock::now() };
        let mut length = self.until_response(client, exchange, &mut server).await;
        if let Err(failure) = &length
            && self.may_repeat_stale(failure, exchange, &server)
        {
            // The server closed the idle connection while the request was on its way. That
            // says nothing about the server, so it costs no retry: once more, freshly.
            serve::write_request_head(client, exchange, self.route);
            self.upload.restart(&mut exchange.to_server);
            server = self.fresh(exchange).await?;
            length = self.until_response(client, exchange, &mut server).await;
        }
        let length = length?;
        let first_byte_at = clock::now();
        exchange.phases.first_byte = Some(first_byte_at.since(sent_at));
        self.answered_at = Some(first_byte_at);
        self.note_call(exchange, &server, length);
        if exchange.response.status == 101 {
            return Ok(tunnel::run(self, client, exchange, server, length).await);
        }
        if self.prefers_another(exchange) {
            let cause = Some(FailureCause::Status(exchange.response.status));
            return Err(Failure { cause, paid: true, ..Failure::server(Reason::ServerError) });
        }
        Ok(self.relay(client, exchange, server, length).await)
    }

    /// Sees whether the answer is that of a gRPC call, and how it went for the server.
    fn note_call(&mut self, exchange: &mut Exchange, server: &ServerConnection, length: usize) {
        self.is_call = false;
        exchange.status_of_work = exchange.response.status;
        if exchange.request.method != Method::Post {
            return; // As all calls are.
        }
        let head = server.buffer.as_ref().and_then(|buffer| buffer.filled().get(..length));
        let (bytes, response) = (head.unwrap_or_default(), &exchange.response);
        let kind = response.header(bytes, HeaderKind::ContentType);
        self.is_call = kind.is_some_and(grpc::is_grpc);
        let told = if self.is_call { response.header_named(bytes, "grpc-status") } else { None };
        exchange.status_of_work = told.and_then(grpc::failure).unwrap_or(response.status);
    }

    /// An idle connection, or a new one.
    async fn connection(
        &self,
        exchange: &mut Exchange,
        now: Timestamp,
    ) -> Result<ServerConnection, Failure> {
        if self.settings.protocol == ServerProtocol::Http2 {
            return self.fresh(exchange).await;
        }
        let repeatable = exchange.request.method.is_idempotent() && self.upload.can_restart();
        let idle_time_max = if repeatable { Duration::MAX } else { FRESH_ENOUGH };
        match self.server().idle.take(exchange.proxied.as_ref(), now, idle_time_max) {
            Some(connection) => Ok(connection),
            None => self.fresh(exchange).await,
        }
    }

    /// A new connection, or a new stream of one that speaks HTTP/2.
    async fn fresh(&self, exchange: &mut Exchange) -> Result<ServerConnection, Failure> {
        let began = clock::now();
        let server = self.server();
        let tls = self.view.live.pools[self.pool_index].tls.as_ref();
        if self.settings.protocol == ServerProtocol::Http2 {
            let target = Target {
                address: server.address,
                host: server.host.as_ref(),
                tls,
                head_bytes: exchange.to_server.len(),
                connections_max: self.settings.idle_max.max(1),
                idle_time: self.settings.timeouts.idle,
                wheel: &self.worker.wheel,
            };
            let time = self.settings.timeouts.connect;
            let stream = server.idle.http2.stream(&target, &exchange.deadline, time).await;
            let (connection, waited) = stream.map_err(Failure::server)?;
            exchange.phases.connect = waited.then(|| clock::now().since(began));
            return Ok(connection);
        }
        let tls = tls.map(|tls| (tls, server.host.as_ref()));
        let time = self.settings.timeouts.connect;
        let mut preface = Vec::new();
        if let Some(version) = self.settings.proxy_protocol {
            write_proxy_header(&mut preface, version, exchange.proxied.as_ref());
        }
        let opening = Opening { address: server.address, tls, preface: &preface };
        let connected = upstream::open(opening, &exchange.deadline, time).await;
        exchange.phases.connect = Some(clock::now().since(began));
        connected.map_err(Failure::server)
    }

    /// Sends the request and waits for a final response head; returns its length.
    async fn until_response(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        server: &mut ServerConnection,
    ) -> Result<usize, Failure> {
        self.await_server(&exchange.deadline);
        for _ in 0..INTERIM_MAX {
            exchange.scanner.reset();
            let length = std::future::poll_fn(|context| {
                self.poll_response(context, client, exchange, server)
            })
            .await?;
            let buffer = server.buffer.as_mut();
            let buffer = buffer.ok_or_else(|| Failure::client(Reason::Internal))?;
            let (start, _) = buffer.bounds();
            let bytes = buffer.bytes().get(start..start + length).unwrap_or_default();
            exchange
                .response
                .parse(bytes, &RESPONSE_LIMITS, exchange.request.method)
                .map_err(Failure::server)?;
            if exchange.response.status == 101
                && !serve::upgrade_was_asked(exchange, bytes, serve::head_bytes(client))
            {
                return Err(Failure::server(Reason::BadResponse));
            }
            if !exchange.response.is_interim() {
                return Ok(length);
            }
            self.pass_interim(client, exchange, server, length).await?;
        }
        Err(Failure::server(Reason::BadResponse))
    }

    /// A 1xx goes to a client that knows them; the response proper is still to come.
    async fn pass_interim(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        server: &mut ServerConnection,
        length: usize,
    ) -> Result<(), Failure> {
        let Some(buffer) = server.buffer.as_mut() else { return Ok(()) };
        if exchange.request.version == http_wire::Version::Http11 {
            let (start, _) = buffer.bounds();
            let bytes = buffer.bytes().get(start..start + length).unwrap_or_default();
            exchange.to_client.clear();
            heads::write_interim(&mut exchange.to_client, &exchange.response, bytes);
            client.write_all(&exchange.to_client).await.map_err(Failure::client)?;
        }
        buffer.consume(length);
        buffer.compact();
        self.awaits_continue &= exchange.response.status != 100;
        client.deadline.set(client.listener.settings().timeouts.body);
        self.await_server(&exchange.deadline);
        Ok(())
    }

    fn poll_response(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        server: &mut ServerConnection,
    ) -> Poll<Result<usize, Failure>> {
        if let Poll::Ready(failure) = self.poll_upload(context, client, exchange, server) {
            return Poll::Ready(Err(failure));
        }
        loop {
            if let Some(buffer) = &server.buffer
                && !buffer.is_empty()
            {
                match exchange.scanner.scan(buffer.filled(), &RESPONSE_LIMITS) {
                    Ok(Some(length)) => return Poll::Ready(Ok(length)),
                    Ok(None) => {}
                    Err(_) => {
                        let failure = Failure::server(Reason::BadResponse);
                        return Poll::Ready(Err(failure));
                    }
                }
            }
            let buffer = server.buffer.get_or_insert_with(|| self.worker.lend_for_response());
            match server.stream.poll_read(context, buffer.spare()) {
                Poll::Ready(Ok(count)) if count > 0 => buffer.advance(count),
                Poll::Ready(_) => return Poll::Ready(Err(Failure::cut(server.cut()))),
                Poll::Pending => {
                    if buffer.is_empty() {
                        server.buffer = None;
                    }
                    return self.poll_deadlines(context, client, &exchange.deadline);
                }
            }
        }
    }

    /// Moves the request on; ready only when it cannot go on at all.
    pub(crate) fn poll_upload(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        server: &mut ServerConnection,
    ) -> Poll<Failure> {
        if self.upload.is_finished() {
            return Poll::Pending;
        }
        let Some(buffer) = client.buffer.as_mut() else {
            return Poll::Ready(Failure::client(Reason::Internal));
        };
        buffer.grow();
        let ends = (&mut client.stream, &mut server.stream);
        match self.upload.poll(context, ends, buffer, &mut exchange.to_server) {
            Poll::Ready(Ok(())) => {
                self.resume();
                self.await_server(&exchange.deadline);
                Poll::Pending
            }
            // The server may have answered before it closed: its answer is read first.
            Poll::Ready(Err(PumpError::Sink)) => Poll::Pending,
            Poll::Ready(Err(PumpError::Source)) => {
                Poll::Ready(Failure::client(Reason::ClientClosed))
            }
            Poll::Ready(Err(PumpError::Malformed(reason))) => Poll::Ready(Failure::client(reason)),
            Poll::Ready(Err(PumpError::Encoder)) => Poll::Ready(Failure::client(Reason::Internal)),
            Poll::Ready(Err(PumpError::TooLarge)) => {
                Poll::Ready(Failure::client(Reason::BodyTooLarge))
            }
            Poll::Pending => {
                if self.upload.take_progress() {
                    if self.load.is_some_and(|load| clock::now().since(load.began) >= WATCH_AFTER) {
                        self.suspend();
                    }
                    client.deadline.set(self.client_time(client));
                    self.await_server(&exchange.deadline);
                }
                Poll::Pending
            }
        }
    }

    fn poll_deadlines<T>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        server: &Deadline,
    ) -> Poll<Result<T, Failure>> {
        // A client that waits for `100 Continue` waits for the server, which has not answered.
        let uploading =
            self.client_owes_body() && !(self.awaits_continue && self.upload.bytes() == 0);
        if uploading && client.deadline.poll(context).is_ready() {
            return Poll::Ready(Err(Failure::client(Reason::BodyTimeout)));
        }
        if self.watches_client && self.poll_client_left(context, client).is_ready() {
            return Poll::Ready(Err(Failure::client(Reason::ClientClosed)));
        }
        match self.poll_server_time(context, server) {
            Poll::Ready(Elapsed::Limit) => Poll::Ready(Err(Failure::server(Reason::TotalTimeout))),
            // While the client is still sending, the server owes nothing.
            Poll::Ready(Elapsed::Phase) if uploading => Poll::Pending,
            Poll::Ready(Elapsed::Phase) => {
                Poll::Ready(Err(Failure::server(Reason::FirstByteTimeout)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// True while the request cannot go on because the client has not sent more of it.
    pub(crate) fn client_owes_body(&self) -> bool {
        !self.upload.is_finished() && self.upload.blocked() == Side::Source
    }

    fn may_repeat_stale(
        &self,
        failure: &Failure,
        exchange: &Exchange,
        server: &ServerConnection,
    ) -> bool {
        // A connection that goes away has not begun what it says so of. A stream that was refused
        // has not either, but this server has enough to do.
        let harmless = match server.cut() {
            Cut::GoneAway => true,
            Cut::Closed => server.reused && exchange.request.method.is_idempotent(),
            Cut::Refused | Cut::Malformed | Cut::Unsendable => false,
        };
        failure.reason == Reason::ServerClosed
            && server.buffer.as_ref().is_none_or(net::buffer::Buffer::is_empty)
            && self.upload.can_restart()
            && harmless
    }

    /// With `on_status`, an error of the server is a failed attempt as long as others are left.
    fn prefers_another(&self, exchange: &Exchange) -> bool {
        self.settings.retries.on_status
            && matches!(exchange.response.status, 502..=504)
            && exchange.request.method.is_idempotent()
            && self.upload.can_restart()
            && exchange.tried.len() < self.settings.retries.attempts_max as usize
            && exchange.tried.len() < self.view.pools[self.pool_index].servers.len()
            && self.view.live.pools[self.pool_index].balance.retries().withdraw(clock::now())
    }
}
