//! Counts what a client sends on an HTTP/2 connection besides requests and their bodies, and the
//! streams that it is told were reset.
//!
//! The library bounds what such frames may hold in memory, but not how many there are: each PING
//! and SETTINGS is answered, each reset stream has made work. And it says of none of the requests
//! that it refuses by itself. So the bytes are looked at on their way, from frame head to frame
//! head, without looking into any frame but RST_STREAM.
//!
//! Pure: `now` comes in. A client may send such frames in step with what is sent both ways, and a
//! few more with time; one that sends more is told to be calm, and closed.
//! Invariant: a frame head is looked at once, however the bytes are cut.

use std::time::Duration;

use model::Timestamp;

/// Frames without use that a client has in stock, and at most ever has: more than any needs that
/// asks for the round trip now and then.
const IDLE_FRAMES_MAX: u32 = 1_000;
/// How many of them it gets back in a second.
const IDLE_FRAMES_PER_SECOND: u32 = 100;
/// Bytes sent or received that give it one more: who measures while data flows (gRPC does) sends
/// a PING with each round trip.
const BYTES_PER_IDLE_FRAME: u32 = 1_024;
/// Frames without use that a request gives: a priority, an update of it.
const IDLE_FRAMES_PER_REQUEST: u32 = 2;
/// The same for WINDOW_UPDATE: with a request, and with each DATA frame that is sent to the client. It
/// may give back what it read at once, to the stream and to the connection.
const UPDATES_PER_FRAME: u32 = 2;
/// What of them a client may have saved up: a window of the tiniest frames.
const UPDATES_MAX: u32 = 2 * 65_535;
/// The least number of streams that a client may reset within a second: a browser that leaves a
/// page resets all that it waits for.
const RESETS_MIN: u32 = 100;

/// The preface of a connection, which is before the first frame (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// Of an error code, behind the head of RST_STREAM.
const CODE_BYTES: usize = 4;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What a client did too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// It reset streams.
    Resets,
    /// It sent PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty or unknown frames.
    IdleFrames,
    /// No flood, but a frame before the SETTINGS that begin a connection (RFC 9113, section 3.4),
    /// which the library lets pass.
    NoSettings,
}

/// Counts the frames of one connection.
#[derive(Debug)]
pub(crate) struct Meter {
    received: Scanner,
    sent: Scanner,
    /// A header block has begun and not ended.
    in_head: bool,
    /// Its SETTINGS have come.
    has_begun: bool,
    idle_frames: Bucket,
    updates: Bucket,
    resets: Bucket,
    /// Bytes that have not given a frame yet.
    bytes: u32,
    flood: Option<Flood>,
    /// Which streams were reset towards the client since this was last asked, and why: no more than
    /// were written at once.
    resets_sent: Vec<Reset>,
}

/// A stream that was reset towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reset {
    pub(crate) stream: u32,
    pub(crate) code: u32,
}

/// Finds frames in bytes that pass.
#[derive(Debug, Default)]
struct Scanner {
    /// Bytes before the next frame head.
    skip: usize,
    head: [u8; HEAD_BYTES + CODE_BYTES],
    filled: usize,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
struct Frame {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
    /// The error code, of RST_STREAM only.
    code: u32,
}

impl Scanner {
    /// The first frame of which `bytes` hold the last of its head; takes what was looked at out.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            *bytes = bytes.get(skipped..).unwrap_or_default();
            let count = bytes.len().min(self.wanted() - self.filled);
            let into = self.head.get_mut(self.filled..self.filled + count)?;
            into.copy_from_slice(bytes.get(..count)?);
            self.filled += count;
            *bytes = bytes.get(count..).unwrap_or_default();
            if self.filled == self.wanted() {
                return Some(self.take());
            }
        }
        None
    }

    /// Bytes of this frame that are looked at.
    fn wanted(&self) -> usize {
        let has_code = self.filled >= HEAD_BYTES
            && self.head[3] == RST_STREAM
            && self.length() as usize >= CODE_BYTES;
        if has_code { HEAD_BYTES + CODE_BYTES } else { HEAD_BYTES }
    }

    fn length(&self) -> u32 {
        let [high, middle, low, ..] = self.head;
        u32::from_be_bytes([0, high, middle, low])
    }

    fn take(&mut self) -> Frame {
        let length = self.length();
        let [_, _, _, kind, flags, s0, s1, s2, s3, code @ ..] = self.head;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let looked_at = std::mem::take(&mut self.filled) - HEAD_BYTES;
        self.skip = usize::try_from(length).unwrap_or(usize::MAX) - looked_at;
        Frame { length, kind, flags, stream, code: u32::from_be_bytes(code) }
    }
}

/// So many at once, so many per second.
#[derive(Debug)]
struct Bucket {
    left: u32,
    most: u32,
    per_second: u32,
    filled: Timestamp,
}

impl Bucket {
    fn give(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.most);
    }

    fn take(&mut self, now: Timestamp) -> bool {
        let nanos = u64::try_from(now.since(self.filled).as_nanos()).unwrap_or(u64::MAX);
        let second = u64::try_from(Duration::from_secs(1).as_nanos()).unwrap_or(u64::MAX);
        let due = nanos.saturating_mul(u64::from(self.per_second)) / second;
        if due > 0 {
            self.give(u32::try_from(due).unwrap_or(u32::MAX));
            self.filled = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

impl Meter {
    /// A connection whose preface is still to come, with up to `streams_max` streams.
    pub(crate) fn new(streams_max: u32, now: Timestamp) -> Self {
        let resets = streams_max.max(RESETS_MIN);
        let bucket = |most, per_second| Bucket { left: most, most, per_second, filled: now };
        Self {
            received: Scanner { skip: PREFACE.len(), ..Scanner::default() },
            sent: Scanner::default(),
            in_head: false,
            has_begun: false,
            idle_frames: bucket(IDLE_FRAMES_MAX, IDLE_FRAMES_PER_SECOND),
            updates: Bucket {
                most: UPDATES_MAX,
                ..bucket(IDLE_FRAMES_MAX, IDLE_FRAMES_PER_SECOND)
            },
            resets: bucket(resets, resets),
            bytes: 0,
            flood: None,
            resets_sent: Vec::new(),
        }
    }

    /// True while a header block has begun and not ended.
    pub(crate) fn in_head(&self) -> bool {
        self.in_head
    }

    /// What the client did too often, if it did.
    pub(crate) fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// The streams that were reset towards the client since this was last asked.
    pub(crate) fn take_resets(&mut self) -> Vec<Reset> {
        std::mem::take(&mut self.resets_sent)
    }

    /// Takes note of `bytes` that were received.
    pub(crate) fn received(&mut self, mut bytes: &[u8], now: Timestamp) {
        self.moved(bytes.len());
        while let Some(frame) = self.received.next(&mut bytes) {
            self.take_in(frame, now);
        }
    }

    /// Takes note of `bytes` that were sent.
    pub(crate) fn sent(&mut self, mut bytes: &[u8]) {
        self.moved(bytes.len());
        while let Some(frame) = self.sent.next(&mut bytes) {
            match frame.kind {
                DATA => self.updates.give(UPDATES_PER_FRAME),
                RST_STREAM => {
                    self.resets_sent.push(Reset { stream: frame.stream, code: frame.code });
                }
                _ => {}
            }
        }
    }

    fn moved(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        let given = self.bytes / BYTES_PER_IDLE_FRAME;
        self.idle_frames.give(given);
        self.updates.give(given);
        self.bytes %= BYTES_PER_IDLE_FRAME;
    }

    fn take_in(&mut self, frame: Frame, now: Timestamp) {
        let Frame { length, kind, flags, .. } = frame;
        if !std::mem::replace(&mut self.has_begun, true) && (kind, flags & ACK) != (SETTINGS, 0) {
            self.flood = Some(Flood::NoSettings);
        }
        let calm = match kind {
            HEADERS => {
                self.in_head = flags & END_HEADERS == 0;
                self.idle_frames.give(IDLE_FRAMES_PER_REQUEST);
                self.updates.give(UPDATES_PER_FRAME);
                return;
            }
            WINDOW_UPDATE => self.updates.take(now),
            DATA if length > 0 || flags & END_STREAM != 0 => return,
            RST_STREAM if !self.resets.take(now) => {
                self.flood.get_or_insert(Flood::Resets);
                return;
            }
            RST_STREAM => return,
            CONTINUATION => {
                self.in_head = flags & END_HEADERS == 0;
                self.idle_frames.take(now)
            }
            _ => self.idle_frames.take(now),
        };
        if !calm {
            self.flood.get_or_insert(Flood::IdleFrames);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32, kind: u8, flags: u8) -> Vec<u8> {
        let [_, high, middle, low] = length.to_be_bytes();
        let mut bytes = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD_BYTES + usize::try_from(length).unwrap(), 0xff);
        bytes
    }

    fn after(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    /// Feeds `count` times `frame`, cut into pieces of `cut` bytes.
    fn check((count, bytes): (usize, &[u8]), cut: usize, expected: Option<Flood>) {
        let mut meter = Meter::new(100, after(0));
        let all = [&PREFACE[..], &frame(0, SETTINGS, 0), &bytes.repeat(count)].concat();
        for piece in all.chunks(cut) {
            meter.received(piece, after(0));
        }
        assert_eq!(meter.flood(), expected, "{count} times {bytes:?} by {cut}");
    }

    #[test]
    fn floods_are_told_however_they_are_cut() {
        for cut in [1, 7, 16_384] {
            let ping = frame(8, 6, 0);
            check((900, &ping), cut, None);
            check((1_100, &ping), cut, Some(Flood::IdleFrames));
            check((1_100, &frame(0, DATA, 0)), cut, Some(Flood::IdleFrames));
            check((1_100, &frame(0, 4, 0)), cut, Some(Flood::IdleFrames));
            check((1_100, &frame(5, 2, 0)), cut, Some(Flood::IdleFrames));
            check((1_100, &frame(0, 0xfa, 0)), cut, Some(Flood::IdleFrames));
            check((5_000, &frame(0, DATA, END_STREAM)), cut, None);
            check((900, &frame(4, WINDOW_UPDATE, 0)), cut, None);
            check((1_100, &frame(4, WINDOW_UPDATE, 0)), cut, Some(Flood::IdleFrames));
            check((100, &frame(4, RST_STREAM, 0)), cut, None);
            check((101, &frame(4, RST_STREAM, 0)), cut, Some(Flood::Resets));
        }
    }

    #[test]
    fn settings_come_first() {
        for bytes in [frame(8, 6, 0), frame(0, SETTINGS, ACK), frame(3, HEADERS, END_HEADERS)] {
            let mut meter = Meter::new(100, after(0));
            meter.received(&[&PREFACE[..], &bytes].concat(), after(0));
            assert_eq!(meter.flood(), Some(Flood::NoSettings), "{bytes:?}");
        }
    }

    #[test]
    fn time_requests_and_data_give_more() {
        let mut meter = Meter::new(100, after(0));
        meter.received(&[&PREFACE[..], &frame(0, SETTINGS, 0)].concat(), after(0));
        for second in 0..100 {
            (0..100).for_each(|_| meter.received(&frame(4, RST_STREAM, 0), after(second)));
            (0..100).for_each(|_| meter.received(&frame(8, 6, 0), after(second)));
        }
        assert_eq!(meter.flood(), None, "a hundred of each a second");
        for _ in 0..10_000 {
            meter.received(&frame(8, 6, 0), after(100));
            meter.moved(1_024);
        }
        assert_eq!(meter.flood(), None, "a PING for each KiB");
        for _ in 0..10_000 {
            meter.received(&frame(20, HEADERS, END_HEADERS), after(100));
            meter.received(&frame(5, 2, 0), after(100));
        }
        assert_eq!(meter.flood(), None, "a priority for each request");
    }

    #[test]
    fn what_was_read_may_be_given_back_at_once() {
        let mut meter = Meter::new(100, after(0));
        meter.received(&[&PREFACE[..], &frame(0, SETTINGS, 0)].concat(), after(0));
        meter.sent(&frame(1, DATA, 0).repeat(5_000));
        meter.received(&frame(4, WINDOW_UPDATE, 0).repeat(10_000), after(0));
        assert_eq!(meter.flood(), None, "two for each frame, however small");
        meter.received(&frame(4, WINDOW_UPDATE, 0).repeat(1_500), after(0));
        assert_eq!(meter.flood(), Some(Flood::IdleFrames));
    }

    #[test]
    fn streams_that_are_reset_are_told_however_they_are_cut() {
        let reset = |code: u32| {
            let mut bytes = frame(4, RST_STREAM, 0);
            bytes.splice(HEAD_BYTES.., code.to_be_bytes());
            bytes
        };
        let all =
            [frame(0, SETTINGS, 0), reset(1), frame(20, DATA, 0), reset(11), reset(0)].concat();
        for cut in [1, 7, 16_384] {
            let mut meter = Meter::new(100, after(0));
            all.chunks(cut).for_each(|piece| meter.sent(piece));
            let expected = [1, 11, 0].map(|code| Reset { stream: 1, code });
            assert_eq!(meter.take_resets(), expected, "by {cut}");
            assert!(meter.take_resets().is_empty());
        }
    }

    #[test]
    fn a_header_block_is_seen_to_begin_and_end() {
        let mut meter = Meter::new(100, after(0));
        meter.received(&[&PREFACE[..], &frame(0, SETTINGS, 0)].concat(), after(0));
        for (bytes, expected) in [
            (frame(3, HEADERS, 0), true),
            (frame(3, CONTINUATION, 0), true),
            (frame(3, CONTINUATION, END_HEADERS), false),
            (frame(3, HEADERS, END_HEADERS), false),
        ] {
            meter.received(&bytes, after(0));
            assert_eq!(meter.in_head(), expected, "{bytes:?}");
        }
    }
}
