//! A pump with an encoder in it, between two scripted sockets.

use std::sync::Arc;
use std::task::Waker;

use admission::Buffers;
use http_wire::{ChunkDecoder, Framing};
use model::configuration::Coding;
use net::buffer::BufferPool;
use proptest::prelude::*;

use super::super::tests::Scripted;
use super::*;
use crate::coder::Coders;
use crate::coder::tests::decoded;

const TRAILERS: &str = "x-sum: 7\r\n";

/// A body on the wire it comes from.
fn on_wire(framing: Framing, body: &[u8]) -> Vec<u8> {
    if framing != Framing::Chunked {
        return body.to_vec();
    }
    let mut wire = Vec::new();
    for part in body.chunks(1000) {
        write_chunk_head(&mut wire, part.len());
        wire.extend_from_slice(part);
        wire.extend_from_slice(CHUNK_END);
    }
    wire.extend_from_slice(LAST_CHUNK);
    wire.extend_from_slice(TRAILERS.as_bytes());
    wire.extend_from_slice(CHUNK_END);
    wire
}

/// The data that is in the sink, whether the body ended, and its trailers.
fn unchunked(taken: &[u8]) -> (Vec<u8>, bool, Vec<u8>) {
    let mut wire = taken.strip_prefix(b"HEAD").unwrap().to_vec();
    let mut decoder = ChunkDecoder::default();
    let (mut data, mut at) = (Vec::new(), 0);
    while at < wire.len() {
        let part = decoder.decode(&mut wire[at..]).unwrap();
        data.extend_from_slice(&wire[at..at + part.data]);
        at += part.consumed;
        if part.finished {
            assert_eq!(at, wire.len(), "something follows the body");
            return (data, true, decoder.trailers().to_vec());
        }
        if part.consumed == 0 {
            break;
        }
    }
    (data, false, Vec::new())
}

struct Bench {
    from: Scripted,
    to: Scripted,
    buffer: Buffer,
    out: Vec<u8>,
    pump: Pump,
}

impl Bench {
    /// `pieces` as [`Scripted`] gives them, through a buffer of this size.
    fn new(
        framing: Framing,
        coding: Coding,
        pieces: Vec<Vec<u8>>,
        (size, room): (usize, usize),
    ) -> Self {
        let buffer = BufferPool::new(size, 1, Box::new(())).lend();
        let mut pump = Pump::new(framing, Encoding::Chunked, &buffer, u64::MAX);
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        let coders = Coders::new(Arc::new(Buffers::default()), crate::coder::tests::metrics());
        pump.encode_with(coders.lend(coding, 4, length).unwrap());
        let from = Scripted { pieces: pieces.into(), taken: Vec::new(), room };
        let to = Scripted { pieces: [].into(), taken: Vec::new(), room };
        Self { from, to, buffer, out: b"HEAD".to_vec(), pump }
    }

    fn poll(&mut self) -> Poll<Result<(), PumpError>> {
        let mut context = Context::from_waker(Waker::noop());
        let ends = (&mut self.from, &mut self.to);
        self.pump.poll(&mut context, ends, &mut self.buffer, &mut self.out)
    }
}

fn coding() -> impl Strategy<Value = Coding> {
    prop_oneof![Just(Coding::Gzip), Just(Coding::Brotli), Just(Coding::Zstd)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_client_reads_all_that_was_sent_before_each_pause(
        words in proptest::collection::vec(0..40_u8, 1..12_000),
        kind in 0..3_u8,
        coding in coding(),
        step in 1..9_000_usize,
        size in 64..5_000_usize,
        room in 1..9_000_usize,
    ) {
        let body: Vec<u8> = words.iter().map(|word| b' ' + word).collect();
        let framing = match kind {
            0 => Framing::Length(body.len() as u64),
            1 => Framing::Chunked,
            _ => Framing::Close,
        };
        let wire = on_wire(framing, &body);
        let steps = wire.chunks(step.max(wire.len() / 8));
        let pieces: Vec<Vec<u8>> = steps.flat_map(|part| [part.to_vec(), Vec::new()]).collect();
        let mut bench = Bench::new(framing, coding, pieces, (size, room));
        loop {
            let polled = bench.poll();
            let (data, ended, trailers) = unchunked(&bench.to.taken);
            let read = decoded(coding, &data);
            prop_assert_eq!(bench.pump.bytes(), data.len() as u64);
            if let Poll::Ready(result) = polled {
                prop_assert!(result.is_ok() && ended && read == body);
                let expected = if framing == Framing::Chunked { TRAILERS } else { "" };
                prop_assert_eq!(trailers, expected.as_bytes());
                break;
            }
            prop_assert!(!ended);
            // Framing may be all that is missing.
            let left: usize = bench.from.pieces.iter().map(Vec::len).sum();
            let passed = wire.len() - left;
            prop_assert!(framing == Framing::Chunked || read.len() == passed);
            prop_assert!(body.starts_with(&read) && (read.len() + 100) * 20 >= passed * 19);
        }
    }
}

#[test]
fn one_poll_encodes_a_bounded_part() {
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let body: Vec<u8> = noise.take(400_000).collect();
    let pieces = vec![body.clone()];
    let mut bench = Bench::new(Framing::Close, Coding::Gzip, pieces, (70_000, usize::MAX));
    let mut before = 0;
    while bench.poll().is_pending() {
        let written = bench.to.taken.len() - before;
        assert!(written < 2 * BYTES_PER_POLL, "{written} bytes in one poll");
        before = bench.to.taken.len();
    }
    assert!(decoded(Coding::Gzip, &unchunked(&bench.to.taken).0) == body);
}

#[test]
fn a_body_that_is_cut_is_an_error() {
    let pieces = vec![b"hello".to_vec()];
    let mut bench = Bench::new(Framing::Length(6), Coding::Zstd, pieces, (64, 100));
    assert!(matches!(bench.poll(), Poll::Ready(Err(PumpError::Source))));
    assert!(!unchunked(&bench.to.taken).1, "the client would take it for whole");
}
