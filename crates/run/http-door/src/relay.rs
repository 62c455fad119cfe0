//! The second half of an attempt: the response goes to the client, whole or cut.
//!
//! From here on the client has been told something, so nothing can be tried again. Both
//! directions move at once: a response may begin before its request has ended.

use std::task::{Context, Poll};

use http_wire::{Framing, HeaderKind};
use model::configuration::Compression;
use model::{Reason, Timestamp};
use net::clock;
use net::socket::Socket;
use net::timer::Elapsed;

use crate::attempt::Attempt;
use crate::coder::Coder;
use crate::compression::{self, Choice};
use crate::connection::Client;
use crate::exchange::{Ended, Exchange};
use crate::heads;
use crate::pump::{Pump, PumpError, Side};
use crate::serve;
use crate::treated::{self, Kind};
use crate::upstream::{ServerConnection, idle_time};
use crate::work::{STREAM_AFTER, WATCH_AFTER};

impl Attempt<'_, '_> {
    /// Passes the response on to the client.
    pub(crate) async fn relay(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        mut server: ServerConnection,
        length: usize,
    ) -> Ended {
        let status = exchange.response.status;
        let wants_more = exchange.request.keep_alive && client.stays(self.worker);
        // A refused upgrade ends the connection: the client may already speak its new protocol.
        let wants_more =
            wants_more && self.upload.is_finished() && exchange.request.upgrade.is_none();
        let framing = exchange.response.framing;
        let Some(buffer) = server.buffer.as_mut() else { unreachable!("a head was just read") };
        let (start, _) = buffer.bounds();
        let bytes = buffer.bytes().get(start..start + length).unwrap_or_default();
        let (choice, coder) = match &self.route.treatment.compression {
            Some(settings) => self.compression(settings, client, exchange, bytes),
            None => Default::default(),
        };
        let plan = heads::plan_response(framing, exchange.request.version, wants_more, choice);
        let is_event_stream = exchange
            .response
            .header(bytes, HeaderKind::ContentType)
            .is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let quota = self.place.quota(exchange.client, self.view);
        let told = (exchange.request.version, &*exchange.request_id, quota);
        heads::write_response(&mut exchange.to_client, &exchange.response, bytes, plan, told);
        treated::treat_response(client, exchange, Kind::Response(status));
        buffer.consume(length);
        let mut download = Pump::new(framing, plan.encoding, buffer, u64::MAX);
        if let Some(coder) = coder {
            download.encode_with(coder);
        }
        // Head and first body bytes leave in one write; a body that is malformed from its start
        // shows itself again when it is polled.
        drop(download.prepare(buffer, &mut exchange.to_client));
        download.coalesce(buffer, &mut exchange.to_client);
        client.deadline.set(self.client_time(client));
        if is_event_stream {
            self.release();
        }
        self.await_server(&exchange.deadline);
        let result = std::future::poll_fn(|context| {
            self.poll_relay(context, client, exchange, (&mut server, &mut download))
        })
        .await;
        let reason = result.err();
        let ended = Ended {
            status,
            reason,
            keep_alive: plan.keep_alive && reason.is_none(),
            complete: self.upload.is_finished() && reason.is_none(),
            bytes_in: self.upload.bytes(),
            bytes_out: download.bytes(),
            at: clock::now(),
        };
        if reason.is_none() {
            self.keep(server, exchange, ended.at);
        }
        ended
    }

    /// Whether the response with the head `bytes` is compressed, and by what.
    fn compression(
        &self,
        settings: &Compression,
        client: &Client,
        exchange: &Exchange,
        bytes: &[u8],
    ) -> (Choice, Option<Coder>) {
        let request = (&exchange.request, serve::head_bytes(client));
        let choice = compression::of_response(settings, request, (&exchange.response, bytes));
        let Some(coding) = choice.coding else { return (choice, None) };
        let length = exchange.response.content_length;
        match self.worker.coders.lend(coding, settings.level, length) {
            Ok(coder) => (choice, Some(coder)),
            // The body as it came is right as well.
            Err(_no_memory) => (Choice { coding: None, ..choice }, None),
        }
    }

    fn poll_relay(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        (server, download): (&mut ServerConnection, &mut Pump),
    ) -> Poll<Result<(), Reason>> {
        if let Poll::Ready(failure) = self.poll_upload(context, client, exchange, server) {
            return Poll::Ready(Err(failure.reason));
        }
        let Some(buffer) = server.buffer.as_mut() else {
            return Poll::Ready(Err(Reason::Internal));
        };
        let ends = (&mut server.stream, &mut client.stream);
        match download.poll(context, ends, buffer, &mut exchange.to_client) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(PumpError::Source)) => {
                return Poll::Ready(Err(Reason::ServerClosed));
            }
            Poll::Ready(Err(PumpError::Sink)) => return Poll::Ready(Err(Reason::ClientClosed)),
            Poll::Ready(Err(PumpError::Malformed(_) | PumpError::TooLarge)) => {
                return Poll::Ready(Err(Reason::BadResponse));
            }
            Poll::Ready(Err(PumpError::Encoder)) => return Poll::Ready(Err(Reason::Internal)),
            Poll::Pending => {}
        }
        if download.blocked() == Side::Sink {
            // The server is not read, but what it was sent may wait for a turn to go on.
            drop(server.stream.poll_flush(context));
        }
        let has_read_all = download.has_read_all();
        if has_read_all && self.load.is_some() {
            self.answered_at = Some(clock::now());
        }
        if has_read_all || self.is_stream() {
            self.release();
        }
        if download.take_progress() {
            client.deadline.set(self.client_time(client));
            if download.blocked() == Side::Sink && self.others_wait_now() {
                // The server waits for the client, and others wait for the server.
                self.release();
            }
            match download.blocked() {
                Side::Source => self.await_server(&exchange.deadline),
                Side::Sink if self.load.is_some() => exchange.deadline.set(WATCH_AFTER),
                Side::Sink => exchange.deadline.clear(),
            }
        }
        let owed_by_client = match download.blocked() {
            Side::Sink => Some(Reason::ClientTooSlow),
            Side::Source => self.client_owes_body().then_some(Reason::BodyTimeout),
        };
        if let Some(reason) = owed_by_client
            && client.deadline.poll(context).is_ready()
        {
            return Poll::Ready(Err(reason));
        }
        if self.watches_client
            && download.blocked() == Side::Source
            && self.poll_client_left(context, client).is_ready()
        {
            return Poll::Ready(Err(Reason::ClientClosed));
        }
        if download.blocked() == Side::Sink
            && self.load.is_some()
            && exchange.deadline.poll(context) == Poll::Ready(Elapsed::Phase)
        {
            // The client reads slowly, and that is no work for the server.
            self.release();
            exchange.deadline.clear();
        }
        match self.poll_server_time(context, &exchange.deadline) {
            Poll::Ready(Elapsed::Limit) => Poll::Ready(Err(Reason::TotalTimeout)),
            Poll::Ready(Elapsed::Phase) => Poll::Ready(Err(Reason::ResponseTimeout)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the response has been on its way for so long that its place goes to others: sooner
    /// when they wait for it.
    fn is_stream(&self) -> bool {
        let Some(since) = self.answered_at.filter(|_| self.load.is_some()) else { return false };
        let most = if self.others_wait_now() { WATCH_AFTER } else { STREAM_AFTER };
        clock::now().since(since) >= most
    }

    /// Keeps the server's connection for the next request, if it can serve one.
    fn keep(&self, server: ServerConnection, exchange: &Exchange, now: Timestamp) {
        let clean = server.buffer.as_ref().is_none_or(net::buffer::Buffer::is_empty);
        let reusable = exchange.response.keep_alive
            && exchange.response.framing != Framing::Close
            && self.upload.is_finished()
            && server.fate.is_none()
            && clean;
        if !reusable {
            return;
        }
        let time = idle_time(&exchange.response, self.settings.timeouts.idle);
        let (owner, idle_max) = (exchange.proxied, self.settings.idle_max);
        self.server().idle.put(server.stream, owner, (now, now + time), idle_max);
    }
}
