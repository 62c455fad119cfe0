//! One stream of a client's HTTP/2 connection: a request, its walk, and the response.
//!
//! The walk runs in the same place as what feeds it and what reads it, with a pipe between. It
//! serves one request as if it had come over a connection of its own, and ends with it.
//! Invariant: when either side is gone the other one learns it: a client that resets the stream
//! is gone for the walk, and a response that is cut is reset for the client.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use http_wire::{HeadScanner, Method};
use net::pipe::{self, End};
use net::socket::Stream;

use super::download::{Cut, Download};
use super::translate;
use super::upload::Upload;
use crate::connection::{Client, Origin};
use crate::identify::Known;
use crate::record;
use crate::serve;
use crate::worker::{ListenerCell, Worker};

/// What all streams of a connection share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Rc<ListenerCell>,
    pub(crate) origin: Rc<Origin>,
    pub(crate) known: Rc<RefCell<Known>>,
}

/// Counts a stream's panic as a defect of the door.
struct Watched<'a>(&'a Worker);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.metrics.panic();
        }
    }
}

/// Serves one stream to its end.
pub(crate) async fn serve(
    shared: Shared,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let worker = Rc::clone(&shared.worker);
    let _watched = Watched(&worker);
    // A stream that was reset before its turn came costs nothing more.
    if std::future::poll_fn(|context| Poll::Ready(respond.poll_reset(context).is_ready())).await {
        return;
    }
    let method = match *request.method() {
        http::Method::HEAD => Method::Head,
        _ => Method::Get,
    };
    let mut head = Vec::with_capacity(512);
    let ends = request.body().is_end_stream();
    let written = translate::write_request(&mut head, &request, ends, worker.random_id());
    let Ok(body) = written else {
        tracing::debug!(peer = %shared.origin.peer, "a request that HTTP/2 does not know");
        respond.send_reset(Reason::PROTOCOL_ERROR);
        record::stream_refused(&worker, &shared.origin);
        return;
    };
    let (near, far) = pipe::pipe();
    let mut ends = Ends {
        upload: Upload::new(head, body, request.into_body()),
        download: Download::new(&shared, method),
        respond,
        pipe: Some(near),
    };
    // On its own in memory: this is moved before it runs, and the walk is large. It is made where
    // it stays, so that the room for all that it will hold is not copied with it.
    let walk = Box::new_uninit();
    let walk = Box::write(walk, serve::serve(Rc::clone(&worker), client(&shared, far)));
    let mut walk = Box::into_pin(walk);
    let mut walks = true;
    std::future::poll_fn(|context| {
        // In this order nothing waits for another turn: what the client sent is there for the
        // walk, and what the walk wrote for the client.
        ends.pass_request(context);
        walks = walks && walk.as_mut().poll(context).is_pending();
        let ended = ends.poll_response(context).is_ready();
        if ended && !walks { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The stream, as a connection of its own.
fn client(shared: &Shared, pipe: End) -> Client {
    Client {
        stream: Stream::Pipe(pipe),
        buffer: None,
        deadline: shared.worker.wheel.deadline(),
        scanner: HeadScanner::default(),
        head_began: None,
        origin: Rc::clone(&shared.origin),
        known: Rc::clone(&shared.known),
        listener: Rc::clone(&shared.listener),
        over_http2: true,
    }
}

/// What is between the walk and the client.
struct Ends {
    upload: Upload,
    download: Download,
    respond: SendResponse<Bytes>,
    /// Towards the walk; absent once one side is done.
    pipe: Option<End>,
}

impl Ends {
    fn pass_request(&mut self, context: &mut Context<'_>) {
        if let Some(pipe) = &mut self.pipe
            && self.upload.poll(context, pipe).is_err()
        {
            // The walk finds its client gone.
            self.pipe = None;
        }
    }

    /// Ready once nothing more is said to the client.
    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(()) };
        let ended = match self.download.poll(context, pipe, &mut self.respond) {
            Poll::Ready(ended) => ended,
            Poll::Pending if self.download.poll_reset(context, &mut self.respond).is_ready() => {
                Err(Cut::Gone)
            }
            Poll::Pending => {
                if self.download.is_tunnel() {
                    self.upload.open_tunnel(pipe);
                }
                return Poll::Pending;
            }
        };
        match ended {
            // What the client still sends is not read: the library tells it to stop, with
            // NO_ERROR and behind the response (RFC 9113, section 8.1).
            Ok(()) | Err(Cut::Gone) => {}
            Err(Cut::TooSlow) => self.respond.send_reset(Reason::CANCEL),
            Err(Cut::Broken) => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
        self.pipe = None;
        Poll::Ready(())
    }
}
