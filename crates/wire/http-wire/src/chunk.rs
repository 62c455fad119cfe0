//! Chunked bodies: a strict, streaming decoder, and the pieces to write them.
//!
//! Chunk extensions are checked and dropped; trailers are checked and kept, within limits.
//! Invariant: memory is bounded by the limits however the body is cut; an error is final; bytes
//! after the end of the body are never touched.

use model::Reason;

use crate::bytes::{hex_digit, hex_value, is_control, is_token_byte};
use crate::trailer;

/// The line end after the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The chunk that ends the data; trailers (see [`ChunkDecoder::trailers`]) and [`CHUNK_END`] follow.
pub const LAST_CHUNK: &[u8] = b"0\r\n";
/// The end of a body without trailers.
pub const BODY_END: &[u8] = b"0\r\n\r\n";

/// Writes the line before `length` bytes of data, which [`CHUNK_END`] must follow. Writes nothing
/// for 0, which would end the body.
#[inline]
pub fn write_chunk_head(out: &mut Vec<u8>, length: usize) {
    if length == 0 {
        return;
    }
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let [digit, ..] = (length >> (place * 4)).to_le_bytes();
        out.push(hex_digit(digit));
    }
    out.extend_from_slice(b"\r\n");
}

/// Limits on the parts of a chunked body that are not data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes of the extensions of one chunk.
    pub extension_bytes_max: usize,
    /// Bytes of all extensions of one body.
    pub extensions_total_bytes_max: usize,
    /// Bytes of all trailer fields.
    pub trailer_bytes_max: usize,
    /// Trailer fields.
    pub trailers_max: usize,
}

impl Default for ChunkLimits {
    /// 256 bytes a chunk, 16 KiB a body; trailers of 8 KiB and 32 fields.
    fn default() -> Self {
        Self {
            extension_bytes_max: 256,
            extensions_total_bytes_max: 16_384,
            trailer_bytes_max: 8_192,
            trailers_max: 32,
        }
    }
}

/// The outcome of one [`ChunkDecoder::decode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that belong to the body; all of them unless it finished.
    pub consumed: usize,
    /// `bytes[..data]` is now body data.
    pub data: usize,
    /// True when the body, trailers included, is complete.
    pub finished: bool,
}

/// A strict, streaming decoder of one chunked body.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    limits: ChunkLimits,
    state: State,
    /// The size being read, then the data bytes of the chunk that are still to come.
    size: u64,
    extension_bytes: usize,
    extensions_total_bytes: usize,
    trailers: Vec<u8>,
    trailer_count: usize,
    trailer_line_start: usize,
}

/// The most digits of a chunk size: 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// The largest chunk, so that any server can hold its size.
const SIZE_MAX: u64 = i64::MAX.unsigned_abs();

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the size, after this many digits.
    Size {
        digits: u8,
    },
    /// In an extension.
    Extension(Extension),
    /// After the CR of the size line.
    SizeLineFeed,
    /// In the data.
    Data,
    /// After the data.
    DataReturn,
    DataLineFeed,
    /// In a trailer line.
    Trailer,
    TrailerLineFeed,
    Finished,
    Failed(Reason),
    #[default]
    Start,
}

/// `;name`, `;name=token` or `;name="quoted"`, without white space around the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// After `;`.
    NameStart,
    Name,
    /// After `=`.
    ValueStart,
    Token,
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the closing quote.
    QuoteEnd,
}

impl ChunkDecoder {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new(limits: ChunkLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Starts over, for the next body; keeps its memory.
    pub fn reset(&mut self) {
        let mut trailers = std::mem::take(&mut self.trailers);
        trailers.clear();
        *self = Self { limits: self.limits, trailers, ..Self::default() };
    }

    /// Decodes what arrived, and moves the data to the front of `bytes`.
    ///
    /// # Errors
    /// [`Reason::BadChunk`] or [`Reason::BadTrailer`]. The error is final: every later call repeats
    /// it. Data before the error is lost, since a body that is broken must not be forwarded.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Reason> {
        let mut read = 0;
        let mut written = 0;
        while self.state != State::Finished {
            let Some(&byte) = bytes.get(read) else { break };
            if self.state != State::Data {
                let (count, stepped) = match self.trailer_text(bytes, read) {
                    [] => (1, self.step(byte)),
                    text => (text.len(), self.keep_trailer(text)),
                };
                read += count;
                self.state = match stepped {
                    Ok(state) => state,
                    Err(reason) => {
                        self.state = State::Failed(reason);
                        return Err(reason);
                    }
                };
                continue;
            }
            let available = bytes.len() - read;
            let length = usize::try_from(self.size).map_or(available, |size| size.min(available));
            if read != written {
                bytes.copy_within(read..read + length, written);
            }
            read += length;
            written += length;
            // `length` came from `size` and is not above it.
            self.size = self.size.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
            if self.size == 0 {
                self.state = State::DataReturn;
            }
        }
        if let State::Failed(reason) = self.state {
            return Err(reason);
        }
        Ok(Decoded { consumed: read, data: written, finished: self.state == State::Finished })
    }

    /// True once the body, trailers included, is complete.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// The trailer fields as written, each with its CRLF; empty when there are none, and until the
    /// body finished.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        if self.is_finished() { &self.trailers } else { &[] }
    }

    /// The state after one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, Reason> {
        match (self.state, byte) {
            (State::Start, _) => self.step_size(0, byte),
            (State::Size { digits }, _) => self.step_size(digits, byte),
            (State::Extension(extension), _) => self.step_extension(extension, byte),
            (State::SizeLineFeed, b'\n') if self.size == 0 => Ok(State::Trailer),
            (State::SizeLineFeed, b'\n') => Ok(State::Data),
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Start),
            (State::Trailer | State::TrailerLineFeed, _) => self.step_trailer(byte),
            (State::Failed(reason), _) => Err(reason),
            (State::Data | State::Finished, _) => Ok(self.state),
            (State::SizeLineFeed | State::DataReturn | State::DataLineFeed, _) => {
                Err(Reason::BadChunk)
            }
        }
    }

    fn step_size(&mut self, digits: u8, byte: u8) -> Result<State, Reason> {
        if digits == 0 {
            self.size = 0;
            self.extension_bytes = 0;
        }
        match byte {
            b'\r' if digits > 0 => Ok(State::SizeLineFeed),
            b';' if digits > 0 => self.count_extension_byte(Extension::NameStart),
            _ => {
                let digit = hex_value(byte).ok_or(Reason::BadChunk)?;
                if digits == SIZE_DIGITS_MAX {
                    return Err(Reason::BadChunk);
                }
                // At most 16 digits: nothing is shifted out.
                self.size = self.size << 4 | u64::from(digit);
                if self.size > SIZE_MAX {
                    Err(Reason::BadChunk)
                } else {
                    Ok(State::Size { digits: digits + 1 })
                }
            }
        }
    }

    fn step_extension(&mut self, extension: Extension, byte: u8) -> Result<State, Reason> {
        let may_end = matches!(extension, Extension::Name | Extension::Token | Extension::QuoteEnd);
        let next = match (extension, byte) {
            (_, b'\r') if may_end => return Ok(State::SizeLineFeed),
            (_, b';') if may_end => Extension::NameStart,
            (Extension::Name, b'=') => Extension::ValueStart,
            (Extension::NameStart | Extension::Name, _) if is_token_byte(byte) => Extension::Name,
            (Extension::ValueStart, b'"') => Extension::Quoted,
            (Extension::ValueStart | Extension::Token, _) if is_token_byte(byte) => {
                Extension::Token
            }
            (Extension::Quoted, b'"') => Extension::QuoteEnd,
            (Extension::Quoted, b'\\') => Extension::Escaped,
            (Extension::Quoted | Extension::Escaped, _) if !is_control(byte) => Extension::Quoted,
            _ => return Err(Reason::BadChunk),
        };
        self.count_extension_byte(next)
    }

    /// Extensions are dropped, but cost work: they are limited in each chunk and in all.
    fn count_extension_byte(&mut self, next: Extension) -> Result<State, Reason> {
        self.extension_bytes += 1;
        self.extensions_total_bytes += 1;
        let too_long = self.extension_bytes > self.limits.extension_bytes_max
            || self.extensions_total_bytes > self.limits.extensions_total_bytes_max;
        if too_long { Err(Reason::BadChunk) } else { Ok(State::Extension(next)) }
    }

    fn step_trailer(&mut self, byte: u8) -> Result<State, Reason> {
        match (self.state, byte) {
            (State::TrailerLineFeed, b'\n') => self.end_trailer_line(),
            (State::TrailerLineFeed, _) | (_, b'\n') => Err(Reason::BadTrailer),
            (_, b'\r') => Ok(State::TrailerLineFeed),
            _ => self.keep_trailer(&[byte]),
        }
    }

    /// What of a trailer line begins here, up to its end: it is taken at once, and not byte by byte.
    fn trailer_text<'a>(&self, bytes: &'a [u8], start: usize) -> &'a [u8] {
        if self.state != State::Trailer {
            return &[];
        }
        let rest = bytes.get(start..).unwrap_or_default();
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn keep_trailer(&mut self, text: &[u8]) -> Result<State, Reason> {
        // Two more for the line end, which is kept too.
        if self.trailers.len() + text.len() + 2 > self.limits.trailer_bytes_max {
            return Err(Reason::BadTrailer);
        }
        self.trailers.extend_from_slice(text);
        Ok(State::Trailer)
    }

    fn end_trailer_line(&mut self) -> Result<State, Reason> {
        let line = self.trailers.get(self.trailer_line_start..).unwrap_or_default();
        if line.is_empty() {
            return Ok(State::Finished);
        }
        trailer::check_line(line)?;
        self.trailer_count += 1;
        if self.trailer_count > self.limits.trailers_max {
            return Err(Reason::BadTrailer);
        }
        self.trailers.extend_from_slice(b"\r\n");
        self.trailer_line_start = self.trailers.len();
        Ok(State::Trailer)
    }
}
