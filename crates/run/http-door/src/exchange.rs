//! All that one request needs while it is in flight, reused from request to request.
//!
//! A worker keeps a stock of these, so a warmed worker serves a request without allocating.

use std::rc::Rc;
use std::time::Duration;

use http_wire::{Endpoints, HeadScanner, HeaderKind, RequestHead, ResponseHead};
use model::{Reason, Timestamp};
use net::timer::Deadline;

use crate::treated::Treated;

/// The longest request id that is taken over from a trusted peer.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The digits of each byte.
const HEX: [[u8; 2]; 256] = {
    let (digits, mut all) = (b"0123456789abcdef", [[0; 2]; 256]);
    let mut byte = 0;
    while byte < 256 {
        all[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    all
};

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) scanner: HeadScanner,
    /// The path that the server is asked for where its route rewrites it; else empty.
    pub(crate) rewritten: String,
    /// What is being written to the server before the body.
    pub(crate) to_server: Vec<u8>,
    /// What is being written to the client before the body.
    pub(crate) to_client: Vec<u8>,
    /// The servers tried, by index in the pool.
    pub(crate) tried: Vec<usize>,
    /// Why earlier attempts failed.
    pub(crate) history: Vec<Reason>,
    pub(crate) request_id: Vec<u8>,
    /// Some of the request's body may have been taken from the client's buffer.
    pub(crate) body_begun: bool,
    /// The registered client that sends it, by index in the configuration.
    pub(crate) client: Option<usize>,
    /// Who was authenticated, printable; empty where nobody was.
    pub(crate) user: Vec<u8>,
    /// Complete lines, `name: value\r\n`, that authentication adds to the request's head.
    pub(crate) extra_headers: Vec<u8>,
    /// The same for the response's head.
    pub(crate) extra_response_headers: Vec<u8>,
    /// What is done to the heads of its route, if anything.
    pub(crate) treated: Option<Rc<Treated>>,
    /// Whom the server is told that its connection is from, in pools that want to know.
    pub(crate) proxied: Option<Endpoints>,
    /// The status of the last response as it tells of the server's work: a failed gRPC call has
    /// 200 too.
    pub(crate) status_of_work: u16,
    /// What the server side is waited for.
    pub(crate) deadline: Deadline,
    pub(crate) phases: Phases,
}

/// When what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    /// The head was complete.
    pub(crate) started: Timestamp,
    /// To find out who sends it, on routes that want to know; else zero.
    pub(crate) authenticating: Duration,
    /// In the queue of its pool, until it was served or given up; absent when it did not wait.
    pub(crate) waited: Option<Duration>,
    /// Connecting to the server; absent when a connection was reused.
    pub(crate) connect: Option<Duration>,
    /// From the request being sent to the response's head, last attempt.
    pub(crate) first_byte: Option<Duration>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// The status that the client saw, or would have seen.
    pub(crate) status: u16,
    /// Set when the door answered or cut the request itself.
    pub(crate) reason: Option<Reason>,
    /// The client's connection can serve another request.
    pub(crate) keep_alive: bool,
    /// All of the request was read, and all of the response written.
    pub(crate) complete: bool,
    /// Body bytes from and to the client.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// When the last byte was written, or the request given up.
    pub(crate) at: Timestamp,
}

impl Exchange {
    pub(crate) fn new(deadline: Deadline) -> Self {
        Self {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            scanner: HeadScanner::default(),
            rewritten: String::new(),
            to_server: Vec::with_capacity(1024),
            to_client: Vec::with_capacity(1024),
            tried: Vec::new(),
            history: Vec::new(),
            request_id: Vec::with_capacity(REQUEST_ID_BYTES_MAX),
            body_begun: false,
            client: None,
            user: Vec::new(),
            extra_headers: Vec::new(),
            extra_response_headers: Vec::new(),
            status_of_work: 0,
            treated: None,
            proxied: None,
            deadline,
            phases: Phases::default(),
        }
    }

    /// Ready for the next request.
    pub(crate) fn reset(&mut self) {
        self.rewritten.clear();
        self.to_server.clear();
        self.to_client.clear();
        self.tried.clear();
        self.history.clear();
        self.request_id.clear();
        self.body_begun = false;
        self.client = None;
        self.user.clear();
        self.extra_headers.clear();
        self.extra_response_headers.clear();
        self.treated = None;
        self.proxied = None;
        self.deadline.limit(None);
        self.deadline.clear();
        self.phases = Phases::default();
    }

    /// Takes over a trusted peer's request id, or makes one of `random`.
    pub(crate) fn identify(&mut self, bytes: &[u8], trusted: bool, random: u128) {
        self.request_id.clear();
        let told = if trusted { self.request.header(bytes, HeaderKind::XRequestId) } else { None };
        let usable = |id: &&[u8]| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
        };
        if let Some(id) = told.filter(usable) {
            self.request_id.extend_from_slice(id);
            return;
        }
        let digits = random.to_ne_bytes().map(|byte| HEX[usize::from(byte)]);
        self.request_id.extend_from_slice(digits.as_flattened());
    }
}
