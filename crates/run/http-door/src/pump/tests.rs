//! A pump between two scripted sockets, whatever the pieces in which bytes arrive and leave.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};

use http_wire::Framing;
use net::buffer::BufferPool;
use net::socket::Socket;
use proptest::prelude::*;

use super::{Encoding, Pump, PumpError};

/// Gives its pieces one by one (an empty one would block once), takes at most `room` bytes.
pub(super) struct Scripted {
    pub(super) pieces: VecDeque<Vec<u8>>,
    pub(super) taken: Vec<u8>,
    pub(super) room: usize,
}

impl Socket for Scripted {
    fn poll_read(&mut self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(mut piece) = self.pieces.pop_front() else { return Poll::Ready(Ok(0)) };
        if piece.is_empty() {
            return Poll::Pending;
        }
        let count = piece.len().min(into.len());
        into[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            self.pieces.push_front(piece.split_off(count));
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let before = self.taken.len();
        for part in parts {
            let left = self.room - (self.taken.len() - before);
            self.taken.extend_from_slice(&part[..part.len().min(left)]);
        }
        Poll::Ready(Ok(self.taken.len() - before))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Moves a body of `framing` that arrives as `wire` in pieces of `step`; what the sink got
/// behind the head, and how many of the source's bytes were left.
fn moved(
    framing: Framing,
    encoding: Encoding,
    wire: &[u8],
    (step, room): (usize, usize),
) -> Result<(Vec<u8>, usize), PumpError> {
    let pool = BufferPool::new(64, 4, Box::new(()));
    let mut buffer = pool.lend();
    let mut pieces: VecDeque<Vec<u8>> = VecDeque::new();
    for piece in wire.chunks(step) {
        pieces.push_back(piece.to_vec());
        pieces.push_back(Vec::new());
    }
    let mut from = Scripted { pieces, taken: Vec::new(), room };
    let mut to = Scripted { pieces: VecDeque::new(), taken: Vec::new(), room };
    let mut out = b"HEAD".to_vec();
    let mut pump = Pump::new(framing, encoding, &buffer, 1_000_000);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        let ends = (&mut from, &mut to);
        if let Poll::Ready(result) = pump.poll(&mut context, ends, &mut buffer, &mut out) {
            result?;
            assert!(pump.is_finished());
            let body = to.taken.strip_prefix(b"HEAD").unwrap().to_vec();
            return Ok((body, buffer.filled().len()));
        }
    }
    panic!("the pump never ends");
}

fn check(framing: Framing, encoding: Encoding, wire: &str, expected: &str) {
    for step in [1, 2, 3, 7, 1_000] {
        for room in [1, 5, 1_000] {
            let (body, _) = moved(framing, encoding, wire.as_bytes(), (step, room)).unwrap();
            let body = String::from_utf8(body).unwrap();
            // Pieces may come as several chunks; together they are the same body.
            let same = body == expected
                || (encoding == Encoding::Chunked && unchunk(&body) == unchunk(expected));
            assert!(same, "{framing:?} {wire:?} by {step}/{room}: {body:?}");
        }
    }
}

/// The data of a chunked body, then what follows the last chunk's size line.
fn unchunk(body: &str) -> (String, String) {
    let (mut data, mut rest) = (String::new(), body);
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (data, after.to_owned());
        }
        data.push_str(after.get(..size).unwrap());
        rest = after.get(size..).unwrap().strip_prefix("\r\n").unwrap();
    }
}

#[test]
fn every_framing_reaches_every_encoding() {
    use Encoding::{Chunked, Identity};
    check(Framing::None, Identity, "", "");
    check(Framing::Length(0), Identity, "", "");
    check(Framing::Length(5), Identity, "hello", "hello");
    check(Framing::Close, Identity, "hello", "hello");
    check(Framing::Close, Chunked, "hello", "5\r\nhello\r\n0\r\n\r\n");
    check(Framing::Close, Chunked, "", "0\r\n\r\n");
    check(Framing::Chunked, Chunked, "5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n");
    check(
        Framing::Chunked,
        Chunked,
        "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    );
    check(Framing::Chunked, Chunked, "0\r\n\r\n", "0\r\n\r\n");
    check(Framing::Chunked, Identity, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello");
    check(
        Framing::Chunked,
        Chunked,
        "1\r\na\r\n0\r\nx-sum: 7\r\n\r\n",
        "1\r\na\r\n0\r\nx-sum: 7\r\n\r\n",
    );
}

#[test]
fn a_body_that_ends_early_is_an_error() {
    for (framing, wire) in [(Framing::Length(6), "hello"), (Framing::Chunked, "6\r\nhello")] {
        let result = moved(framing, Encoding::Identity, wire.as_bytes(), (3, 100));
        assert!(matches!(result, Err(PumpError::Source)), "{framing:?}");
    }
}

#[test]
fn a_body_over_the_limit_is_an_error() {
    let wire = vec![b'x'; 1_000_001];
    let result = moved(Framing::Close, Encoding::Identity, &wire, (64, 1_000));
    assert!(matches!(result, Err(PumpError::TooLarge)));
}

/// Prepares a body from the buffer, sends it, and sends it once more.
fn resent(framing: Framing, encoding: Encoding, wire: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let pool = BufferPool::new(64, 4, Box::new(()));
    let mut buffer = pool.lend();
    buffer.spare()[..wire.len()].copy_from_slice(wire);
    buffer.advance(wire.len());
    let mut out = b"HEAD".to_vec();
    let mut pump = Pump::new(framing, encoding, &buffer, 1_000);
    pump.prepare(&mut buffer, &mut out).unwrap();
    let mut send = |pump: &mut Pump, out: &mut Vec<u8>| {
        let mut from = Scripted { pieces: VecDeque::new(), taken: Vec::new(), room: 3 };
        let mut to = Scripted { pieces: VecDeque::new(), taken: Vec::new(), room: 3 };
        let mut context = Context::from_waker(Waker::noop());
        let _done = pump.poll(&mut context, (&mut from, &mut to), &mut buffer, out);
        to.taken
    };
    let first = send(&mut pump, &mut out);
    assert!(pump.has_sent());
    pump.can_restart().then(|| {
        out.clear();
        out.extend_from_slice(b"HEAD");
        pump.restart(&mut out);
        (first, send(&mut pump, &mut out))
    })
}

#[test]
fn a_body_that_is_all_there_can_be_sent_again() {
    for (framing, encoding, wire) in [
        (Framing::None, Encoding::Identity, &b""[..]),
        (Framing::Length(5), Encoding::Identity, b"hello"),
        (Framing::Length(5), Encoding::Identity, b"helloGET / HTTP/1.1"),
        (Framing::Chunked, Encoding::Chunked, b"5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let (first, second) = resent(framing, encoding, wire).unwrap();
        assert_eq!(first, second, "{framing:?}");
        assert!(first.len() > 4 || wire.is_empty());
    }
    assert!(resent(Framing::Length(6), Encoding::Identity, b"hello").is_none());
    assert!(resent(Framing::Chunked, Encoding::Chunked, b"5\r\nhello\r\n").is_none());
}

proptest! {
    #[test]
    fn what_follows_the_body_is_left(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        extra in proptest::collection::vec(any::<u8>(), 0..20),
        step in 1..80usize,
        room in 1..80usize,
    ) {
        let wire = [&body[..], &extra[..]].concat();
        let framing = Framing::Length(body.len() as u64);
        let (moved, left) = moved(framing, Encoding::Identity, &wire, (step, room)).unwrap();
        prop_assert_eq!(moved, body);
        prop_assert!(left <= extra.len());
    }
}
