//! HTTP/2 frame by frame, so that a test can send what no library would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// DATA.
pub const DATA: u8 = 0x0;
/// HEADERS.
pub const HEADERS: u8 = 0x1;
/// PRIORITY.
pub const PRIORITY: u8 = 0x2;
/// `RST_STREAM`.
pub const RST_STREAM: u8 = 0x3;
/// SETTINGS.
pub const SETTINGS: u8 = 0x4;
/// `PUSH_PROMISE`.
pub const PUSH_PROMISE: u8 = 0x5;
/// PING.
pub const PING: u8 = 0x6;
/// GOAWAY.
pub const GOAWAY: u8 = 0x7;
/// `WINDOW_UPDATE`.
pub const WINDOW_UPDATE: u8 = 0x8;
/// CONTINUATION.
pub const CONTINUATION: u8 = 0x9;

/// `END_STREAM`, and ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 0x1;
/// ACK.
pub const ACK: u8 = 0x1;
/// `END_HEADERS`.
pub const END_HEADERS: u8 = 0x4;
/// PADDED.
pub const PADDED: u8 = 0x8;
/// PRIORITY of a HEADERS frame.
pub const PRIORITIZED: u8 = 0x20;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// The bytes of a frame. The length is that of `payload`.
///
/// # Panics
/// When the payload is longer than a length can say.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload is short");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field as a literal that nobody is to remember, without Huffman coding.
///
/// # Panics
/// When it is too long for a test.
#[must_use]
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name.as_bytes()), string(value.as_bytes())].concat()
}

/// A string literal of HPACK without Huffman coding.
///
/// # Panics
/// When it is longer than 16 KiB.
#[must_use]
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    if bytes.len() < 127 {
        coded.push(u8::try_from(bytes.len()).expect("it was compared"));
    } else {
        let mut left = bytes.len() - 127;
        coded.push(127);
        while left >= 128 {
            coded.push(u8::try_from(left % 128 + 128).expect("it is a remainder"));
            left /= 128;
        }
        coded.push(u8::try_from(left).expect("it is small"));
    }
    coded.extend(bytes);
    coded
}

/// The fields of `METHOD path` at `localhost`, without TLS.
#[must_use]
pub fn request(method: &str, path: &str) -> Vec<u8> {
    [
        field(":method", method),
        field(":scheme", "http"),
        field(":authority", "localhost"),
        field(":path", path),
    ]
    .concat()
}

/// A connection.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The peer closed the connection.
    closed: bool,
    status: u16,
}

/// What was seen on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The response to this stream has ended; its status, 0 where it is not coded plainly.
    Answered(u32, u16),
    /// This stream was reset, with this code.
    Reset(u32, u32),
    /// GOAWAY with this code.
    GoAway(u32),
    /// A PING came back.
    Pong,
    /// The connection was closed, and no GOAWAY with an error before it.
    Closed,
    /// Nothing within the time.
    Nothing,
}

/// The status at the start of a header block, as an encoder writes it on a fresh connection.
fn status_of(block: &[u8]) -> u16 {
    let fields: Vec<u8> = block.iter().copied().skip_while(|byte| byte >> 5 == 1).collect();
    match fields.as_slice() {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
        }
        [0x08 | 0x18 | 0x48, 3, digits @ ..] => {
            let text = digits.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        }
        // Huffman codes of digits have 5 bits (0, 1, 2) or 6 (011001 is 3).
        [0x08 | 0x18 | 0x48, length, coded @ ..] if *length & 0x80 != 0 => {
            let bytes = coded.iter().take(usize::from(length & 0x7f));
            let mut bits = bytes.flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
            let mut digit = || {
                let mut take =
                    |count| (0..count).try_fold(0, |sum, _| Some(sum << 1 | bits.next()?));
                let five: u8 = take(5)?;
                Some(u16::from(if five < 3 { five } else { (five << 1 | take(1)?) - 25 + 3 }))
            };
            (0..3).try_fold(0, |status, _| Some(status * 10 + digit()?)).unwrap_or(0)
        }
        _ => 0,
    }
}

impl Frames {
    /// Connects and sends nothing yet.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    #[track_caller]
    pub fn bare(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the door listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        stream.set_nodelay(true).expect("a socket takes options");
        Self { stream, unread: Vec::new(), closed: false, status: 0 }
    }

    /// Connects, and exchanges preface and settings.
    ///
    /// # Panics
    /// When the other side does not speak HTTP/2.
    #[must_use]
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let mut frames = Self::bare(address);
        frames.send(PREFACE);
        frames.send(&frame(SETTINGS, 0, 0, &[]));
        let (mut greeted, mut acknowledged) = (false, false);
        while !(greeted && acknowledged) {
            let got = frames.receive().expect("settings come");
            if got.kind == SETTINGS && got.flags & ACK == 0 {
                frames.send(&frame(SETTINGS, ACK, 0, &[]));
                greeted = true;
            }
            acknowledged |= got.kind == SETTINGS && got.flags & ACK != 0;
        }
        frames
    }

    /// Sends bytes as they are; the other side may be gone.
    pub fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// False once the connection is over; what came meanwhile is thrown away.
    #[must_use]
    pub fn is_open(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket takes options");
        let mut room = [0; 16_384];
        let open = loop {
            match self.stream.read(&mut room) {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break true,
                Ok(_) | Err(_) => break false,
            }
        };
        self.stream.set_nonblocking(false).expect("a socket takes options");
        open
    }

    /// The next frame; `None` when the connection ended, or nothing came in time.
    pub fn receive(&mut self) -> Option<Frame> {
        while self.unread.len() < 9 {
            self.read()?;
        }
        let length = usize::from(self.unread[0]) << 16
            | usize::from(self.unread[1]) << 8
            | usize::from(self.unread[2]);
        while self.unread.len() < 9 + length {
            self.read()?;
        }
        let bytes: Vec<u8> = self.unread.drain(..9 + length).collect();
        let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
        Some(Frame { kind: bytes[3], flags: bytes[4], stream, payload: bytes[9..].to_vec() })
    }

    fn read(&mut self) -> Option<()> {
        let mut room = [0; 16_384];
        match self.stream.read(&mut room) {
            Ok(count) if count > 0 => {
                self.unread.extend(&room[..count]);
                Some(())
            }
            Ok(_) => {
                self.closed = true;
                None
            }
            Err(error) => {
                self.closed = error.kind() == std::io::ErrorKind::ConnectionReset;
                None
            }
        }
    }

    /// What comes next of what matters: window updates, settings and the parts of a response
    /// before its end are passed over.
    pub fn seen(&mut self) -> Seen {
        loop {
            let Some(frame) = self.receive() else {
                return if self.closed { Seen::Closed } else { Seen::Nothing };
            };
            if frame.kind == HEADERS && self.status == 0 {
                self.status = status_of(&frame.payload);
            }
            let code = |at: usize| {
                let bytes = frame.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(u32::MAX, u32::from_be_bytes)
            };
            match (frame.kind, frame.flags & 1) {
                (HEADERS | DATA, END_STREAM) => return Seen::Answered(frame.stream, self.status),
                (RST_STREAM, _) => return Seen::Reset(frame.stream, code(0)),
                (GOAWAY, _) if code(4) != 0 => return Seen::GoAway(code(4)),
                (PING, ACK) => return Seen::Pong,
                (SETTINGS, 0) => self.send(&self::frame(SETTINGS, ACK, 0, &[])),
                _ => {}
            }
        }
    }
}
