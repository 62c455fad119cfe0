//! A client of HTTP/2 that asks and reads frame by frame, on top of [`crate::frames`].
//!
//! It forbids the door its dynamic table, so that a status can be read without a decoder.

use std::io::ErrorKind;
use std::net::TcpStream;

use crate::client::Wire;
use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE,
    RST_STREAM, SETTINGS, field, frame,
};
use crate::{Door, PATIENCE};

/// Error codes (RFC 9113, section 7).
pub mod code {
    #![expect(missing_docs, reason = "each constant is the error of its name")]
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// A client's connection.
#[derive(Debug)]
pub struct Streams {
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
}

/// A header block of these fields, as literals.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The fields of `GET path` at `a`.
#[must_use]
pub fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]
}

/// The fields of `POST path` at `a`.
#[must_use]
pub fn post(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)]
}

/// The number in a frame's payload at `at`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn number(frame: &Frame, at: usize) -> u32 {
    let bytes = frame.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_be_bytes(bytes.expect("the frame holds a number there"))
}

impl Streams {
    /// Connects to the first listener of `door`, and exchanges preface and settings.
    ///
    /// # Panics
    /// When the door does not speak HTTP/2.
    #[must_use]
    #[track_caller]
    pub fn to(door: &Door) -> Self {
        Self::with_window(door, 65_535)
    }

    /// The same, with this window for each of the door's streams.
    ///
    /// # Panics
    /// As [`Streams::to`].
    #[must_use]
    #[track_caller]
    pub fn with_window(door: &Door, window: u32) -> Self {
        let socket = TcpStream::connect_timeout(&door.first_address(), PATIENCE);
        let socket = socket.expect("the door listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        socket.set_nodelay(true).expect("a socket takes no delay");
        Self::over(Box::new(socket), window)
    }

    /// The same over what is connected already, TLS for example.
    ///
    /// # Panics
    /// As [`Streams::to`].
    #[must_use]
    #[track_caller]
    pub fn over(wire: Box<dyn Wire>, window: u32) -> Self {
        let mut streams = Self { wire, buffer: Vec::new() };
        // No dynamic table, no push, the window.
        let mut settings = vec![0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend(window.to_be_bytes());
        streams.raw([PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat());
        streams.wait(|frame| (frame.kind == SETTINGS && frame.flags == 0).then_some(()));
        streams.send(SETTINGS, ACK, 0, b"");
        streams
    }

    /// Sends these bytes; false when the door has closed.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a frame; false when the door has closed.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.raw(frame(kind, flags, stream, payload))
    }

    /// Opens a stream; `ends`: with this the request is whole. A large block is continued.
    pub fn open(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) -> bool {
        let block = block(fields);
        let mut pieces = block.chunks(16_384).peekable();
        let mut flags = if ends { END_STREAM } else { 0 };
        let mut kind = HEADERS;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next() {
            flags |= if pieces.peek().is_none() { END_HEADERS } else { 0 };
            bytes.extend(frame(kind, flags, stream, piece));
            (kind, flags) = (CONTINUATION, 0);
        }
        self.raw(bytes)
    }

    /// The next frame; `None` once the door has closed.
    ///
    /// # Panics
    /// When nothing comes.
    #[track_caller]
    pub fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.buffer.split_first_chunk::<9>() {
                let [a, b, c, kind, flags, stream @ ..] = *head;
                let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("24 bits");
                if let Some(payload) = rest.get(..length) {
                    let stream = u32::from_be_bytes(stream);
                    let frame = Frame { kind, flags, stream, payload: payload.to_vec() };
                    self.buffer.drain(..9 + length);
                    return Some(frame);
                }
            }
            let mut room = [0; 16_384];
            match self.wire.read(&mut room) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&room[..count]),
                Err(error) if is_end(error.kind()) => return None,
                Err(error) => panic!("the door says nothing: {error}"),
            }
        }
    }

    /// Reads on until `look` finds something.
    ///
    /// # Panics
    /// When the door closes before.
    #[track_caller]
    pub fn wait<T>(&mut self, mut look: impl FnMut(&Frame) -> Option<T>) -> T {
        loop {
            let frame = self.read().expect("the door has closed");
            if let Some(found) = look(&frame) {
                return found;
            }
        }
    }

    /// The status of the response on this stream, or of the next interim one.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn status(&mut self, stream: u32) -> u16 {
        self.wait(|frame| {
            let wanted = frame.stream == stream;
            assert!(!(wanted && frame.kind == RST_STREAM), "the stream was reset: {frame:?}");
            (wanted && frame.kind == HEADERS).then(|| status(&frame.payload))
        })
    }

    /// Reads the response on this stream to its end: its status and its body.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn response(&mut self, stream: u32) -> (u16, Vec<u8>) {
        let (mut found, mut body) = (0, Vec::new());
        self.wait(|frame| {
            if frame.stream != stream {
                return None;
            }
            assert_ne!(frame.kind, RST_STREAM, "the stream was reset: {frame:?}");
            if frame.kind == HEADERS && found == 0 {
                found = status(&frame.payload);
            } else if frame.kind == DATA {
                body.extend_from_slice(&frame.payload);
            }
            let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
            ends.then_some(())
        });
        (found, body)
    }

    /// The error code with which this stream is reset.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn reset(&mut self, stream: u32) -> u32 {
        self.wait(|frame| {
            (frame.stream == stream && frame.kind == RST_STREAM).then(|| number(frame, 0))
        })
    }

    /// The error code of the door's GOAWAY, after which it closes.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn goaway(&mut self) -> u32 {
        let code = self.wait(|frame| (frame.kind == GOAWAY).then(|| number(frame, 4)));
        self.closed();
        code
    }

    /// The door closes, whatever it says before.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn closed(&mut self) {
        while self.read().is_some() {}
    }

    /// The door refuses what was sent, one way or another: by a 4xx, a reset, or by closing.
    ///
    /// # Panics
    /// When it serves it.
    #[track_caller]
    pub fn refused(&mut self) {
        while let Some(frame) = self.read() {
            if matches!(frame.kind, RST_STREAM | GOAWAY) {
                return;
            }
            if frame.kind == HEADERS {
                let status = status(&frame.payload);
                assert!((400..500).contains(&status), "answered with {status}");
                return;
            }
        }
    }

    /// Waits until the door has looked at all that was sent; false when it closes before.
    ///
    /// # Panics
    /// When it does neither.
    #[track_caller]
    pub fn ping(&mut self) -> bool {
        self.send(PING, 0, 0, &[7; 8]);
        loop {
            match self.read() {
                Some(frame) if frame.kind == PING && frame.flags == ACK => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }
}

/// TLS knows whether it was ended properly; who looks at frames does not mind.
fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
}

/// The status at the start of a header block.
fn status(block: &[u8]) -> u16 {
    // Changes of the table's size may come first (RFC 7541, section 6.3).
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).expect("a block holds fields");
    match block[start..] {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x08 | 0x48, length, ref value @ ..] => digits(&value[..usize::from(length & 0x7f)]),
        _ => panic!("a block without a status: {block:?}"),
    }
}

/// Three digits in the code of RFC 7541, appendix B: 0 to 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let bit = |at: usize| bytes.get(at / 8).map_or(1, |byte| u16::from(byte >> (7 - at % 8) & 1));
    let number = |at: usize, count: usize| (at..at + count).fold(0, |sum, at| sum * 2 + bit(at));
    let mut at = 0;
    (0..3).fold(0, |status, _| {
        let (digit, length) = match number(at, 5) {
            short @ 0..=2 => (short, 5),
            _ => (number(at, 6) - 0x19 + 3, 6),
        };
        at += length;
        status * 10 + digit
    })
}
