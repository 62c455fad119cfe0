//! Encodes bodies: gzip (RFC 1952), Brotli (RFC 7932) and Zstandard (RFC 8878).
//!
//! Encoders of gzip and Zstandard are kept and used again, as most of what a small body costs
//! would else be the making of its tables; the library of Brotli has no way back to the start.
//!
//! Invariant: memory does not grow with the body. Windows are at most 256 KiB, and tables are cut
//! to what [`bytes_of`] says, whatever the level.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use admission::{BufferHold, Buffers};
use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct,
};
use flate2::{Compress, Compression as GzipLevel, FlushCompress, Status};
use model::configuration::Coding;
use telemetry::WorkerShard;
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

/// Encoders that a worker keeps for the next responses.
const STOCK_MAX: usize = 8;
/// Room for output is made in steps of this.
const ROOM: usize = 8 * 1024;
/// The window of Deflate, 32 KiB: the largest there is.
const GZIP_WINDOW_LOG: u8 = 15;
/// 256 KiB: text gains little by more, and every reader has to hold it too.
const WINDOW_LOG: u32 = 18;
/// The smallest window of Brotli.
const WINDOW_LOG_MIN: u32 = 10;
const WINDOW_LOG_DEEP_MIN: u32 = 17;
/// Above this, Brotli has tables of 16 to 32 MiB for each response.
const BROTLI_LEVEL_MAX: u8 = 6;
const BROTLI_HINT_MAX: u32 = 1 << 20;
/// The tables of Zstandard have so many entries of four bytes, as logarithms.
const ZSTD_HASH_LOG: u32 = 17;
const ZSTD_CHAIN_LOG: u32 = 16;

/// What to do once all input was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Keep what encodes better together with what follows.
    GoOn,
    /// Give out all, so that what was taken can be decoded.
    Flush,
    /// End the body.
    End,
}

/// The encoder failed: it had no memory, or is used wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// A worker's stock of encoders.
#[derive(Debug)]
pub(crate) struct Coders {
    free: RefCell<Vec<Encoder>>,
    account: Arc<Buffers>,
    metrics: Arc<WorkerShard>,
}

/// The encoder of one body; it returns to its stock when it is dropped.
#[derive(Debug)]
pub(crate) struct Coder {
    /// Absent only while it is dropped.
    encoder: Option<Encoder>,
    stock: Rc<Coders>,
    _hold: BufferHold,
}

#[derive(Debug)]
struct Encoder {
    coding: Coding,
    level: u8,
    state: State,
}

enum State {
    Gzip(Compress),
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    Zstd(CCtx<'static>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Coders {
    /// An empty stock, whose encoders count in `account` while they are lent, and what they do in
    /// `metrics`.
    pub(crate) fn new(account: Arc<Buffers>, metrics: Arc<WorkerShard>) -> Rc<Self> {
        Rc::new(Self { free: RefCell::default(), account, metrics })
    }

    /// An encoder of this level, 1 to 9, for a body of this length, if that is known.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn lend(
        self: &Rc<Self>,
        coding: Coding,
        level: u8,
        length: Option<u64>,
    ) -> Result<Coder, Failed> {
        let kept = {
            let mut free = self.free.borrow_mut();
            let fits = |kept: &Encoder| (kept.coding, kept.level) == (coding, level);
            free.iter().rposition(fits).map(|index| free.remove(index))
        };
        let mut encoder = match kept {
            Some(encoder) => encoder,
            None => Encoder { coding, level, state: State::new(coding, level, length)? },
        };
        if let (State::Zstd(context), Some(_)) = (&mut encoder.state, length) {
            // Smaller bodies get smaller tables.
            context.set_pledged_src_size(length).map_err(|_code| Failed)?;
        }
        let hold = self.account.hold(bytes_of(coding));
        Ok(Coder { encoder: Some(encoder), stock: Rc::clone(self), _hold: hold })
    }

    fn take_back(&self, mut encoder: Encoder) {
        let usable = match &mut encoder.state {
            State::Gzip(state) => {
                state.reset();
                true
            }
            State::Brotli(_) => false,
            State::Zstd(context) => context.reset(ResetDirective::SessionOnly).is_ok(),
        };
        let mut free = self.free.borrow_mut();
        if usable && free.len() >= STOCK_MAX {
            // Those of a level that is no longer configured must go some day: the oldest does.
            free.remove(0);
        }
        if usable {
            free.push(encoder);
        }
    }
}

/// About what an encoder of this coding holds, at any level.
const fn bytes_of(coding: Coding) -> u64 {
    match coding {
        Coding::Gzip => 320 * 1024,
        Coding::Brotli => 3 * 1024 * 1024,
        Coding::Zstd => 2 * 1024 * 1024,
    }
}

impl Coder {
    /// Encodes all of `input` to the end of `out`, which grows by little more than that.
    ///
    /// # Errors
    /// When the encoder fails; the body cannot go on then.
    pub(crate) fn encode(
        &mut self,
        input: &[u8],
        then: Then,
        out: &mut Vec<u8>,
    ) -> Result<(), Failed> {
        let Some(encoder) = &mut self.encoder else { return Err(Failed) };
        let filled = out.len();
        match &mut encoder.state {
            State::Gzip(state) => gzip(state, input, then, out)?,
            State::Brotli(state) => brotli(state, input, then, out)?,
            State::Zstd(context) => zstd(context, input, then, out)?,
        }
        let (before, after) = (input.len() as u64, (out.len() - filled) as u64);
        self.stock.metrics.compressed(encoder.coding, before, after);
        Ok(())
    }
}

impl Drop for Coder {
    fn drop(&mut self) {
        if let Some(encoder) = self.encoder.take() {
            self.stock.take_back(encoder);
        }
    }
}

impl State {
    fn new(coding: Coding, level: u8, length: Option<u64>) -> Result<Self, Failed> {
        Ok(match coding {
            Coding::Gzip => {
                let level = GzipLevel::new(u32::from(level));
                Self::Gzip(Compress::new_gzip(level, GZIP_WINDOW_LOG))
            }
            Coding::Brotli => Self::Brotli(new_brotli(level, length)),
            Coding::Zstd => Self::Zstd(new_zstd(level)?),
        })
    }
}

fn new_brotli(level: u8, length: Option<u64>) -> Box<BrotliEncoderStateStruct<StandardAlloc>> {
    let mut state = Box::new(BrotliEncoderStateStruct::new(StandardAlloc::default()));
    let level = u32::from(level.min(BROTLI_LEVEL_MAX));
    let bytes = length.and_then(|length| u32::try_from(length).ok());
    // The window that holds the whole body is enough.
    let log = bytes.map_or(WINDOW_LOG, |bytes| (u32::BITS - bytes.leading_zeros()) + 1);
    // From level 5 on, the library has large tables of 12 ms to clear for windows below 2^17.
    let log_min = if level > 4 { WINDOW_LOG_DEEP_MIN } else { WINDOW_LOG_MIN };
    let log = log.clamp(log_min, WINDOW_LOG);
    state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, level);
    state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, log);
    // Told of more, it makes larger tables.
    if let Some(bytes) = bytes.filter(|bytes| *bytes < BROTLI_HINT_MAX) {
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, bytes);
    }
    state
}

fn new_zstd(level: u8) -> Result<CCtx<'static>, Failed> {
    let mut context = CCtx::try_create().ok_or(Failed)?;
    for parameter in [
        CParameter::CompressionLevel(i32::from(level)),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::HashLog(ZSTD_HASH_LOG),
        CParameter::ChainLog(ZSTD_CHAIN_LOG),
    ] {
        context.set_parameter(parameter).map_err(|_code| Failed)?;
    }
    Ok(context)
}

fn gzip(
    state: &mut Compress,
    mut input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> Result<(), Failed> {
    let flush = match then {
        Then::GoOn => FlushCompress::None,
        Then::Flush => FlushCompress::Sync,
        Then::End => FlushCompress::Finish,
    };
    loop {
        out.reserve(ROOM);
        let before = state.total_in();
        let status = state.compress_vec(input, out, flush).map_err(|_error| Failed)?;
        let taken = usize::try_from(state.total_in() - before).map_err(|_large| Failed)?;
        input = input.get(taken..).unwrap_or_default();
        // Room that is left says that nothing more is to come out.
        let done = match then {
            Then::GoOn | Then::Flush => out.len() < out.capacity(),
            Then::End => status == Status::StreamEnd,
        };
        if done && input.is_empty() {
            return Ok(());
        }
    }
}

fn brotli(
    state: &mut BrotliEncoderStateStruct<StandardAlloc>,
    input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> Result<(), Failed> {
    let operation = match then {
        Then::GoOn => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
        Then::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        Then::End => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
    };
    let (mut left, mut taken) = (input.len(), 0);
    loop {
        let went_on = state.compress_stream(
            operation,
            &mut left,
            input,
            &mut taken,
            &mut 0,
            &mut [],
            &mut 0,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !went_on {
            return Err(Failed);
        }
        // Zero asks for all that is there.
        let mut count = 0;
        let encoded = state.take_output(&mut count);
        out.extend_from_slice(encoded.get(..count).unwrap_or_default());
        let done = match then {
            Then::GoOn => true,
            // It does not get to what it has just taken in while output waits to be taken.
            Then::Flush => count == 0,
            Then::End => state.is_finished(),
        };
        if left == 0 && done && !state.has_more_output() {
            return Ok(());
        }
    }
}

fn zstd(context: &mut CCtx<'_>, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), Failed> {
    let directive = match then {
        Then::GoOn => ZSTD_EndDirective::ZSTD_e_continue,
        Then::Flush => ZSTD_EndDirective::ZSTD_e_flush,
        Then::End => ZSTD_EndDirective::ZSTD_e_end,
    };
    let mut from = InBuffer::around(input);
    loop {
        out.reserve(ROOM);
        let filled = out.len();
        let mut to = OutBuffer::around_pos(out, filled);
        let left =
            context.compress_stream2(&mut to, &mut from, directive).map_err(|_code| Failed)?;
        let flushed = then == Then::GoOn || left == 0;
        if from.pos() == input.len() && flushed {
            return Ok(());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
