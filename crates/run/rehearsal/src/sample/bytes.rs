//! Bytes that are the same on every run, so that both ends of a long download can compare hashes.
//!
//! Blocks of 64 KiB: one pseudo-random pattern, each block's first eight bytes replaced by its
//! number, so that a lost, doubled or swapped block changes the hash.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};

const BLOCK_BYTES: usize = 64 * 1_024;

/// An endless deterministic stream, cut off after a number of bytes.
#[derive(Debug)]
pub(super) struct Deterministic {
    left: u64,
    block: u64,
    sized: bool,
}

impl Deterministic {
    /// The first `length` bytes; `sized` sends them with a content length instead of chunked.
    pub(super) fn new(length: u64, sized: bool) -> Self {
        Self { left: length, block: 0, sized }
    }
}

impl Iterator for Deterministic {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut block = pattern().to_vec();
        for (byte, number) in block.iter_mut().zip(self.block.to_le_bytes()) {
            *byte = number;
        }
        block.truncate(usize::try_from(self.left).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES));
        self.block += 1;
        self.left -= block.len() as u64;
        Some(block.into())
    }
}

fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(0x7469_6465);
        std::iter::repeat_with(|| random.u8(..)).take(BLOCK_BYTES).collect()
    })
}

/// The body of an answer: in memory, or made while it is sent.
#[derive(Debug)]
pub(super) enum AnswerBody {
    Whole(Full<Bytes>),
    Made(Deterministic),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(full) => Pin::new(full).poll_frame(context),
            Self::Made(made) => Poll::Ready(made.next().map(|block| Ok(Frame::data(block)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Made(made) => made.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::Made(made) if made.sized => SizeHint::with_exact(made.left),
            Self::Made(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_its_length_and_no_two_equal_blocks() {
        for length in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let blocks: Vec<Bytes> = Deterministic::new(length, true).collect();
            assert_eq!(blocks.iter().map(|block| block.len() as u64).sum::<u64>(), length);
            assert!(blocks.windows(2).all(|pair| pair[0] != pair[1]));
            assert_eq!(blocks, Deterministic::new(length, false).collect::<Vec<_>>());
        }
    }
}
