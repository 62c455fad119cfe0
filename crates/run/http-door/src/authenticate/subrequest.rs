//! A question to a server of a pool: picked as for a client's request, over the same connections.
//!
//! It takes a place at the pool whether one is free or not, for who asks waits in no line; that all
//! servers are full is waited out, no longer than the question may take. A server that fails is one
//! to `balancing` and to the limiters, as with any other request.
//! Invariant: a connection is kept only when its answer was read to the end.

use std::io::IoSlice;
use std::time::Duration;

use admission::LimiterSample;
use balancing::{FailureCause, NoServer, Outcome, Pick, PickRequest};
use http_wire::{
    ChunkDecoder, ChunkLimits, Endpoints, Framing, HeadLimits, HeadScanner, Method, ResponseHead,
    write_proxy_header,
};
use model::{Reason, Timestamp};
use net::clock;
use net::socket::{Socket as _, Stream};
use net::timer::{Deadline, TICK};
use telemetry::AttemptSample;

use crate::attempt::cause_of;
use crate::upstream::{self, Opening, ServerConnection, idle_time};
use crate::view::View;
use crate::waiting::Place;
use crate::work;
use crate::worker::Worker;

const RESPONSE_LIMITS: HeadLimits =
    HeadLimits { bytes_max: 32 * 1024, headers_max: 200, target_bytes_max: 0 };
/// Bytes of a body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Interim responses (1xx) before the final one.
const INTERIM_MAX: u32 = 16;

/// What is asked of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) head: &'a [u8],
    /// By index.
    pub(super) pool: usize,
    /// Whom a pool that wants to know is told that it is for.
    pub(super) endpoints: Endpoints,
    pub(super) time: Duration,
}

/// What a server said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) response: ResponseHead,
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// The body is larger than may be, and stops somewhere.
    pub(super) is_cut: bool,
}

/// Asks until a server says something, or there is no more time, or nobody else to ask.
pub(super) async fn ask(worker: &Worker, view: &View, question: Question<'_>) -> Option<Said> {
    let pool = &view.live.pools[question.pool];
    let settings = &view.live.configuration.pools[question.pool];
    let queue = (&*view.pools[question.pool].queue, &worker.shared.bells);
    let place = Place::new(pool.gate.join(), Some(queue));
    let deadline = worker.wheel.deadline();
    deadline.limit(Some(question.time));
    pool.balance.retries().deposit();
    let proxied = settings.proxy_protocol.map(|_version| question.endpoints);
    let mut tried = Vec::new();
    loop {
        let pick = pick(worker, view, question, (&tried, &deadline)).await?;
        let began = clock::now();
        let at_server = pool.balance.servers()[pick.index()].in_flight();
        tried.push(pick.index());
        let asked = Asked { view, question, server: pick.index(), proxied };
        let result = asked.once(&deadline, began).await;
        let at = clock::now();
        let outcome = outcome_of(&result, at.since(began));
        let in_flight = place.in_flight();
        let ending = work::ending_of(outcome);
        let sample = LimiterSample { began, ended: at, in_flight, ending };
        if let Some(limit) = pool.gate.record(pick.index(), &sample, at_server) {
            pool.balance.limit_server(pick.index(), limit);
        }
        asked.count(&result, (at.since(began), tried.len() > 1));
        let metrics = &view.pools[question.pool].servers[pick.index()].metrics;
        if let Some(change) = pick.finish(outcome, at) {
            worker.state_changed(&settings.name, metrics, change);
        }
        let reason = match result {
            Ok(said) => return Some(said),
            Err(reason) => reason,
        };
        tracing::debug!(pool = %settings.name, %reason, "who may come in could not be asked");
        let is_last = tried.len() >= settings.retries.attempts_max as usize;
        if is_last || !pool.balance.retries().withdraw(at) {
            return None;
        }
    }
}

/// Picks a server; while all are full, tries again.
async fn pick(
    worker: &Worker,
    view: &View,
    question: Question<'_>,
    (tried, deadline): (&[usize], &Deadline),
) -> Option<Pick> {
    let pool = &view.live.pools[question.pool];
    loop {
        let now = clock::now();
        let wanted = PickRequest { hash: None, tried };
        match pool.balance.pick(&wanted, now, &mut worker.dice.borrow_mut()) {
            Ok(pick) => return Some(pick),
            Err(NoServer::Full) => {}
            Err(NoServer::Empty | NoServer::Draining | NoServer::Unchecked) => {
                pool.gate.unserved(now);
                return None;
            }
        }
        deadline.set(TICK);
        let elapsed = std::future::poll_fn(|context| deadline.poll(context)).await;
        if elapsed == net::timer::Elapsed::Limit {
            return None;
        }
    }
}

fn outcome_of(result: &Result<Said, Reason>, latency: Duration) -> Outcome {
    match result {
        Err(reason) => Outcome::Failure { latency, cause: cause_of(*reason) },
        Ok(said) if said.response.status >= 500 || said.response.status == 429 => {
            let cause = FailureCause::Status(said.response.status);
            Outcome::Failure { latency, cause }
        }
        Ok(_) => Outcome::Success { latency },
    }
}

/// A question to one server.
struct Asked<'a> {
    view: &'a View,
    question: Question<'a>,
    server: usize,
    proxied: Option<Endpoints>,
}

impl Asked<'_> {
    fn count(&self, result: &Result<Said, Reason>, (total, retried): (Duration, bool)) {
        let sample = AttemptSample {
            status: result.as_ref().ok().map(|said| said.response.status),
            failure: result.as_ref().err().copied(),
            connect: None,
            first_byte: result.is_ok().then_some(total),
            total,
            retried,
        };
        self.view.pools[self.question.pool].servers[self.server].metrics.attempt(&sample);
        if let Some(arm) = &self.view.arm {
            arm.attempt(self.question.pool, self.server, &sample);
        }
    }

    async fn once(&self, deadline: &Deadline, now: Timestamp) -> Result<Said, Reason> {
        let server = &self.view.pools[self.question.pool].servers[self.server];
        if let Some(idle) = server.idle.take(self.proxied.as_ref(), now, Duration::MAX) {
            match self.converse(idle, deadline).await {
                // The server closed it while the question was on its way.
                Err(Reason::ServerClosed) => {}
                said => return said,
            }
        }
        let settings = &self.view.live.configuration.pools[self.question.pool];
        let mut preface = Vec::new();
        if let Some(version) = settings.proxy_protocol {
            write_proxy_header(&mut preface, version, self.proxied.as_ref());
        }
        let tls = self.view.live.pools[self.question.pool].tls.as_ref();
        let tls = tls.map(|tls| (tls, server.host.as_ref()));
        let opening = Opening { address: server.address, tls, preface: &preface };
        let connection = upstream::open(opening, deadline, settings.timeouts.connect).await?;
        self.converse(connection, deadline).await
    }

    /// Asks on a connection that stands, and keeps it if it can serve again.
    async fn converse(
        &self,
        mut connection: ServerConnection,
        deadline: &Deadline,
    ) -> Result<Said, Reason> {
        deadline.clear();
        let talk = Box::pin(talk(&mut connection.stream, self.question.head));
        let (said, is_over) =
            deadline.within(talk).await.map_err(|_elapsed| Reason::FirstByteTimeout)??;
        if is_over && said.response.keep_alive {
            let server = &self.view.pools[self.question.pool].servers[self.server];
            let settings = &self.view.live.configuration.pools[self.question.pool];
            let now = clock::now();
            let until = now + idle_time(&said.response, settings.timeouts.idle);
            server.idle.put(connection.stream, self.proxied, (now, until), settings.idle_max);
        }
        Ok(said)
    }
}

/// Sends the question and reads what is said; whether nothing more can come.
async fn talk(stream: &mut Stream, question: &[u8]) -> Result<(Said, bool), Reason> {
    let mut left = question;
    while !left.is_empty() {
        let write =
            std::future::poll_fn(|context| stream.poll_write(context, &[IoSlice::new(left)]));
        let count = write.await.map_err(|_closed| Reason::ServerClosed)?;
        left = left.get(count..).filter(|_| count > 0).ok_or(Reason::ServerClosed)?;
    }
    std::future::poll_fn(|context| stream.poll_flush(context))
        .await
        .map_err(|_closed| Reason::ServerClosed)?;
    let mut bytes = Vec::new();
    let mut said = Said::default();
    let mut interim = 0;
    loop {
        let length = read_head(stream, &mut bytes).await?;
        let rest = bytes.split_off(length);
        said.head = std::mem::replace(&mut bytes, rest);
        said.response.parse(&said.head, &RESPONSE_LIMITS, Method::Get)?;
        if !said.response.is_interim() {
            break;
        }
        interim += 1;
        if interim > INTERIM_MAX {
            return Err(Reason::BadResponse);
        }
    }
    let is_over = read_body(stream, bytes, &mut said).await?;
    Ok((said, is_over))
}

/// Reads until a head is whole; its length.
async fn read_head(stream: &mut Stream, bytes: &mut Vec<u8>) -> Result<usize, Reason> {
    let mut scanner = HeadScanner::default();
    loop {
        if !bytes.is_empty()
            && let Some(length) =
                scanner.scan(bytes, &RESPONSE_LIMITS).map_err(|_long| Reason::BadResponse)?
        {
            return Ok(length);
        }
        if read(stream, bytes).await? == 0 {
            let begun = !bytes.is_empty();
            return Err(if begun { Reason::BadResponse } else { Reason::ServerClosed });
        }
    }
}

async fn read(stream: &mut Stream, bytes: &mut Vec<u8>) -> Result<usize, Reason> {
    let mut part = [0; 4_096];
    let count = std::future::poll_fn(|context| stream.poll_read(context, &mut part)).await;
    let count = count.map_err(|_closed| Reason::ServerClosed)?;
    bytes.extend_from_slice(part.get(..count).unwrap_or_default());
    Ok(count)
}

/// Reads the body, of which `raw` is there already; whether it ended, and nothing follows it.
async fn read_body(stream: &mut Stream, mut raw: Vec<u8>, said: &mut Said) -> Result<bool, Reason> {
    let framing = said.response.framing;
    let mut decoder = ChunkDecoder::new(ChunkLimits::default());
    loop {
        let is_whole = match framing {
            Framing::None => true,
            Framing::Length(length) => {
                let left = length.saturating_sub(said.body.len() as u64);
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(raw.len());
                said.body.extend(raw.drain(..taken));
                said.body.len() as u64 == length
            }
            Framing::Chunked => {
                let decoded = decoder.decode(&mut raw).map_err(|_bad| Reason::BadResponse)?;
                said.body.extend_from_slice(raw.get(..decoded.data).unwrap_or_default());
                raw.drain(..decoded.consumed);
                decoded.finished
            }
            Framing::Close => {
                said.body.append(&mut raw);
                false
            }
        };
        if said.body.len() > BODY_BYTES_MAX {
            said.is_cut = true;
            return Ok(false);
        }
        if is_whole {
            return Ok(raw.is_empty());
        }
        if read(stream, &mut raw).await? == 0 {
            let ends_so = framing == Framing::Close;
            return if ends_so { Ok(false) } else { Err(Reason::BadResponse) };
        }
    }
}
