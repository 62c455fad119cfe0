//! What RFC 9113 (sections 3 to 8) and RFC 7541 say that an endpoint must do, sent to the door frame
//! by frame; `--nocapture` prints each rule with what came back.
//!
//! A stream error may be answered by a connection error (section 5.4.2), a malformed request by a
//! 4xx before its stream ends (8.1.1), and a connection error by closing alone (5.4.1). Where the
//! library ends the connection as it must, and gives `PROTOCOL_ERROR` for the reason instead of a
//! narrower one, or lets something pass, the rule says so ([`Rule::differs`]), and fails when that
//! changes.

use black_box::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PADDED, PING,
    PREFACE, PRIORITIZED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, Seen, WINDOW_UPDATE, field,
    frame, request, string,
};
use black_box::load::show;
use black_box::{Backend, Door, Setup, ok};

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

/// A whole block, and nothing after it.
const WHOLE: u8 = END_HEADERS | END_STREAM;

/// What must come back.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// A connection error of one of these codes.
    EndConnection(&'static [u32]),
    /// An error of stream 1 of one of these codes.
    EndStream(&'static [u32]),
    /// Stream 1 is malformed: its error, or a 4xx; and no server hears of it.
    RefuseRequest,
    /// The response to this stream, with 200.
    Answer(u32),
    /// This stream, and none before it, is refused.
    RefuseStream(u32),
    /// Nothing but the answer to a PING that follows.
    GoOn,
}

struct Rule {
    section: &'static str,
    what: &'static str,
    bytes: Vec<u8>,
    must: Must,
    /// What comes, where it is not what must.
    differs: Option<Seen>,
}

impl Rule {
    /// The connection ends as it must, with this code.
    fn told(self, code: u32) -> Self {
        self.differs(Seen::GoAway(code))
    }

    fn differs(self, seen: Seen) -> Self {
        Self { differs: Some(seen), ..self }
    }
}

fn rule(section: &'static str, what: &'static str, bytes: &[&[u8]], must: Must) -> Rule {
    Rule { section, what, bytes: bytes.concat(), must, differs: None }
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"12345678")
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &request("GET", "/"))
}

/// A request whose body is still to come.
fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", "/"))
}

fn with(fields: &[&[u8]]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[&request("GET", "/")[..], &fields.concat()].concat())
}

fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(HEADERS, WHOLE, 1, &block)
}

fn setting(number: u16, value: u32) -> Vec<u8> {
    let payload = [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

fn increment(stream: u32, value: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &value.to_be_bytes())
}

fn door() -> (Door, Backend) {
    let backend = Backend::answering(ok("hello"));
    let door = Setup::of(&[&backend]).start();
    (door, backend)
}

/// Sends what each rule says, each on a connection of its own, and compares what comes back.
#[track_caller]
fn check(rules: Vec<Rule>) {
    let (door, backend) = door();
    let mut broken = Vec::new();
    for Rule { section, what, bytes, must, differs } in rules {
        let before = backend.received().len();
        let mut frames = Frames::connect(door.first_address());
        frames.send(&bytes);
        if matches!(must, Must::GoOn) {
            frames.send(&ping());
        }
        let seen = frames.seen();
        let heard = backend.received().len() > before;
        let holds = match (must, seen) {
            _ if differs.is_some() => Some(seen) == differs,
            (Must::EndConnection(codes), Seen::GoAway(code)) => codes.contains(&code),
            (Must::EndConnection(_) | Must::EndStream(_), Seen::Closed) => true,
            (Must::EndStream(codes), Seen::Reset(1, code) | Seen::GoAway(code)) => {
                codes.contains(&code)
            }
            (Must::RefuseRequest, Seen::Reset(1, PROTOCOL) | Seen::GoAway(PROTOCOL)) => !heard,
            (Must::RefuseRequest, Seen::Answered(1, 400..=499)) => !heard,
            (Must::Answer(stream), Seen::Answered(answered, 200)) => answered == stream,
            (Must::RefuseStream(stream), Seen::Reset(refused, REFUSED)) => refused == stream,
            (Must::GoOn, Seen::Pong) => true,
            _ => false,
        };
        show(&format!(
            "{section:<12} {what:<66} {seen:?}{}{}",
            if differs.is_some() { "  (not as it must be)" } else { "" },
            if holds { "" } else { "  BROKEN" }
        ));
        if !holds {
            broken.push(format!("{section} {what}: {must:?}, {seen:?}, heard: {heard}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    let mut frames = Frames::connect(door.first_address());
    frames.send(&get(1));
    assert_eq!(frames.seen(), Seen::Answered(1, 200), "others are served");
}

#[test]
fn section_3_starting() {
    let (door, _backend) = door();
    for (what, bytes) in [
        ("another preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        ("no settings after the preface", [PREFACE, &ping()].concat()),
        ("a request before the settings", [PREFACE, &get(1)].concat()),
    ] {
        let mut frames = Frames::bare(door.first_address());
        frames.send(&bytes);
        let seen = frames.seen();
        show(&format!("9113 3.4     {what:<66} {seen:?}"));
        // What is no preface is no HTTP/2: it may be answered as HTTP/1, and closed.
        assert!(matches!(seen, Seen::GoAway(PROTOCOL) | Seen::Closed), "{what}: {seen:?}");
    }
}

#[test]
fn section_4_frames() {
    let long = vec![b'a'; 16_385];
    let big_field = field("x-long", &"a".repeat(16_000));
    let interleaved =
        |between: Vec<u8>| [frame(HEADERS, END_STREAM, 1, &request("GET", "/")), between].concat();
    check(vec![
        rule(
            "9113 4.1",
            "a frame of a type that nobody knows",
            &[&frame(0x16, 0xff, 0, b"what")],
            Must::GoOn,
        ),
        rule(
            "9113 4.1",
            "flags that mean nothing here",
            &[&frame(PING, 0xfe, 0, b"12345678")],
            Must::GoOn,
        ),
        rule(
            "9113 4.1",
            "the reserved bit of a stream",
            &[&frame(HEADERS, WHOLE, 0x8000_0001, &request("GET", "/"))],
            Must::Answer(1),
        ),
        rule(
            "9113 4.2",
            "DATA longer than allowed",
            &[&post(1), &frame(DATA, END_STREAM, 1, &long)],
            Must::EndStream(&[FRAME_SIZE]),
        ),
        rule(
            "9113 4.2",
            "HEADERS longer than allowed",
            &[&frame(
                HEADERS,
                WHOLE,
                1,
                &[&request("GET", "/")[..], &big_field, &big_field[..400]].concat(),
            )],
            Must::EndConnection(&[FRAME_SIZE, COMPRESSION]),
        ),
        rule(
            "9113 4.3",
            "a block that ends within a field",
            &[&frame(HEADERS, WHOLE, 1, &[0x00, 0x05, b'a'])],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "9113 4.3",
            "PRIORITY within a block",
            &[&interleaved(frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]))],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 4.3",
            "another stream's HEADERS within a block",
            &[&interleaved(get(3))],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 5.5",
            "a frame of an unknown type within a block",
            &[&interleaved(frame(0x16, 0, 0, b""))],
            Must::EndConnection(&[PROTOCOL]),
        ),
    ]);
}

#[test]
fn section_5_1_idle_streams() {
    let reset = frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let continuation = frame(CONTINUATION, END_HEADERS, 1, &field("a", "b"));
    check(vec![
        rule(
            "9113 5.1",
            "DATA on an idle stream",
            &[&frame(DATA, END_STREAM, 1, b"a")],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 5.1",
            "RST_STREAM on an idle stream",
            &[&reset],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 5.1",
            "WINDOW_UPDATE on an idle stream",
            &[&increment(1, 100)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 5.1",
            "CONTINUATION on an idle stream",
            &[&continuation],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 5.1",
            "PRIORITY on an idle stream",
            &[&frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])],
            Must::GoOn,
        ),
    ]);
}

#[test]
fn section_5_1_ended_streams() {
    let reset = frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let many: Vec<u8> = (0..1_200).flat_map(|number| post(number * 2 + 1)).collect();
    let continuation = frame(CONTINUATION, END_HEADERS, 1, &field("a", "b"));
    check(vec![
        rule(
            "9113 5.1",
            "DATA after the request's end",
            &[&get(1), &frame(DATA, END_STREAM, 1, b"a")],
            Must::EndStream(&[STREAM_CLOSED]),
        )
        .told(PROTOCOL),
        rule(
            "9113 5.1",
            "HEADERS after the request's end",
            &[&get(1), &get(1)],
            Must::EndStream(&[STREAM_CLOSED, PROTOCOL]),
        ),
        rule(
            "9113 5.1",
            "CONTINUATION after the request's end",
            &[&get(1), &continuation],
            Must::EndConnection(&[STREAM_CLOSED, PROTOCOL]),
        ),
        rule(
            "9113 5.1",
            "DATA after a reset",
            &[&post(1), &reset, &frame(DATA, END_STREAM, 1, b"a")],
            Must::EndStream(&[STREAM_CLOSED]),
        ),
        rule(
            "9113 5.1",
            "HEADERS after a reset",
            &[&post(1), &reset, &get(1)],
            Must::EndStream(&[STREAM_CLOSED, PROTOCOL]),
        ),
        rule("9113 5.1.1", "an even stream", &[&get(2)], Must::EndConnection(&[PROTOCOL])),
        rule(
            "9113 5.1.1",
            "a stream below the last one",
            &[&get(5), &get(3)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule("9113 5.1.2", "more streams at once than allowed", &[&many], Must::RefuseStream(201)),
        rule(
            "9113 5.3.2",
            "PRIORITY of a wrong length",
            &[&post(1), &frame(PRIORITY, 0, 1, &[0; 4])],
            Must::EndStream(&[FRAME_SIZE]),
        )
        .told(PROTOCOL),
    ]);
}

#[test]
fn section_6_1_data_and_6_2_headers() {
    let block = request("GET", "/");
    let padded = [&[3][..], &block, &[0; 3]].concat();
    let overlong = [&[200][..], &block].concat();
    let prioritized = [&[0, 0, 0, 0, 16][..], &block].concat();
    check(vec![
        rule(
            "9113 6.1",
            "DATA on stream 0",
            &[&frame(DATA, 0, 0, b"a")],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.1",
            "DATA with more padding than payload",
            &[&post(1), &frame(DATA, PADDED | END_STREAM, 1, &[9, b'a'])],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.1",
            "DATA with padding",
            &[&post(1), &frame(DATA, PADDED | END_STREAM, 1, &[2, b'a', 0, 0])],
            Must::Answer(1),
        ),
        rule(
            "9113 6.2",
            "HEADERS on stream 0",
            &[&frame(HEADERS, WHOLE, 0, &block)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.2",
            "HEADERS with padding",
            &[&frame(HEADERS, WHOLE | PADDED, 1, &padded)],
            Must::Answer(1),
        ),
        rule(
            "9113 6.2",
            "HEADERS with more padding than payload",
            &[&frame(HEADERS, WHOLE | PADDED, 1, &overlong)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.2",
            "HEADERS with a priority",
            &[&frame(HEADERS, WHOLE | PRIORITIZED, 1, &prioritized)],
            Must::Answer(1),
        ),
    ]);
}

#[test]
fn section_6_3_priority_and_6_4_reset() {
    check(vec![
        rule(
            "9113 6.3",
            "PRIORITY on stream 0",
            &[&frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 1])],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.4",
            "RST_STREAM on stream 0",
            &[&frame(RST_STREAM, 0, 0, &[0, 0, 0, 8])],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.4",
            "RST_STREAM of a wrong length",
            &[&post(1), &frame(RST_STREAM, 0, 1, &[0; 3])],
            Must::EndConnection(&[FRAME_SIZE]),
        )
        .told(PROTOCOL),
        rule(
            "9113 7",
            "a reset with a code that nobody knows",
            &[&post(1), &frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff])],
            Must::GoOn,
        ),
    ]);
}

#[test]
fn section_6_5_settings() {
    check(vec![
        rule(
            "9113 6.5",
            "an acknowledgement with a payload",
            &[&frame(SETTINGS, ACK, 0, &[0; 6])],
            Must::EndConnection(&[FRAME_SIZE]),
        )
        .told(PROTOCOL),
        rule(
            "9113 6.5",
            "SETTINGS on a stream",
            &[&frame(SETTINGS, 0, 1, &[])],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.5",
            "SETTINGS of a wrong length",
            &[&frame(SETTINGS, 0, 0, &[0; 5])],
            Must::EndConnection(&[FRAME_SIZE]),
        )
        .told(PROTOCOL),
        rule("9113 6.5.2", "ENABLE_PUSH of 2", &[&setting(2, 2)], Must::EndConnection(&[PROTOCOL])),
        rule(
            "9113 6.5.2",
            "INITIAL_WINDOW_SIZE above 2^31-1",
            &[&setting(4, 1 << 31)],
            Must::EndConnection(&[FLOW_CONTROL]),
        )
        .told(PROTOCOL),
        rule(
            "9113 6.5.2",
            "MAX_FRAME_SIZE below 2^14",
            &[&setting(5, 16_383)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.5.2",
            "MAX_FRAME_SIZE above 2^24-1",
            &[&setting(5, 1 << 24)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule("9113 6.5.2", "a setting that nobody knows", &[&setting(0xff, 1)], Must::GoOn),
        rule("8441 3", "ENABLE_CONNECT_PROTOCOL from a client", &[&setting(8, 1)], Must::GoOn),
    ]);
}

#[test]
fn section_6_6_push_to_6_8_goaway() {
    check(vec![
        rule(
            "9113 6.6",
            "PUSH_PROMISE from a client",
            &[
                &post(1),
                &frame(
                    PUSH_PROMISE,
                    END_HEADERS,
                    1,
                    &[&[0, 0, 0, 2][..], &request("GET", "/")].concat(),
                ),
            ],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule("9113 6.7", "PING", &[], Must::GoOn),
        rule(
            "9113 6.7",
            "an acknowledgement that nobody asked for",
            &[&frame(PING, ACK, 0, b"87654321")],
            Must::GoOn,
        ),
        rule(
            "9113 6.7",
            "PING on a stream",
            &[&frame(PING, 0, 1, b"12345678")],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.7",
            "PING of a wrong length",
            &[&frame(PING, 0, 0, b"1234567")],
            Must::EndConnection(&[FRAME_SIZE]),
        )
        .told(PROTOCOL),
        rule(
            "9113 6.8",
            "GOAWAY on a stream",
            &[&frame(GOAWAY, 0, 1, &[0; 8])],
            Must::EndConnection(&[PROTOCOL]),
        ),
    ]);
}

#[test]
fn section_6_9_windows() {
    let most = 0x7fff_ffff;
    check(vec![
        rule(
            "9113 6.9",
            "an increment of 0 for the connection",
            &[&increment(0, 0)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.9",
            "an increment of 0 for a stream",
            &[&post(1), &increment(1, 0)],
            Must::EndStream(&[PROTOCOL]),
        ),
        rule(
            "9113 6.9",
            "WINDOW_UPDATE of a wrong length",
            &[&frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            Must::EndConnection(&[FRAME_SIZE]),
        )
        .told(PROTOCOL),
        rule(
            "9113 6.9.1",
            "a connection's window above 2^31-1",
            &[&increment(0, most), &increment(0, most)],
            Must::EndConnection(&[FLOW_CONTROL]),
        ),
        rule(
            "9113 6.9.1",
            "a stream's window above 2^31-1",
            &[&post(1), &increment(1, most), &increment(1, most)],
            Must::EndStream(&[FLOW_CONTROL]),
        ),
        rule(
            "9113 6.9.2",
            "settings that lift a stream's window above 2^31-1",
            &[&post(1), &increment(1, most - 65_535), &setting(4, 65_536)],
            Must::EndConnection(&[FLOW_CONTROL]),
        ),
    ]);
}

#[test]
fn section_6_10_continuation() {
    let block = request("GET", "/");
    let (start, end) = block.split_at(10);
    let (middle, end) = end.split_at(10);
    let pieces = [
        frame(HEADERS, END_STREAM, 1, start),
        frame(CONTINUATION, 0, 1, middle),
        frame(CONTINUATION, END_HEADERS, 1, end),
    ];
    check(vec![
        rule("9113 6.10", "a block in three pieces", &[&pieces.concat()], Must::Answer(1)),
        rule(
            "9113 6.10",
            "CONTINUATION after the block's end",
            &[&post(1), &frame(CONTINUATION, END_HEADERS, 1, &field("a", "b"))],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.10",
            "CONTINUATION of another stream",
            &[&frame(HEADERS, END_STREAM, 1, start), &frame(CONTINUATION, END_HEADERS, 3, end)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.10",
            "CONTINUATION on stream 0",
            &[&frame(HEADERS, END_STREAM, 1, start), &frame(CONTINUATION, END_HEADERS, 0, end)],
            Must::EndConnection(&[PROTOCOL]),
        ),
        rule(
            "9113 6.10",
            "CONTINUATION after DATA",
            &[
                &post(1),
                &frame(DATA, 0, 1, b"a"),
                &frame(CONTINUATION, END_HEADERS, 1, &field("a", "b")),
            ],
            Must::EndConnection(&[PROTOCOL]),
        ),
    ]);
}

#[test]
fn section_6_9_responses_keep_to_the_window() {
    let (door, _backend) = door();
    let mut frames = Frames::connect(door.first_address());
    frames.send(&[setting(4, 1), get(1), ping()].concat());
    let mut data = 0;
    loop {
        let got = frames.receive().expect("the connection stays");
        if got.kind == DATA {
            data += got.payload.len();
            assert!(data <= 1 && got.flags & END_STREAM == 0, "{got:?}");
            // One byte was allowed; now three more are, then a window below zero, then the rest.
            frames.send(&[increment(1, 3), setting(4, 0)].concat());
            break;
        }
    }
    frames.send(&increment(1, 10));
    while data < 5 {
        let got = frames.receive().expect("the connection stays");
        data += if got.kind == DATA { got.payload.len() } else { 0 };
    }
    assert_eq!(data, 5);
}

#[test]
fn section_8_fields() {
    let one = |name: &str, value: &str| with(&[&field(name, value)]);
    let mut rules = vec![
        rule("9113 8.2.1", "a name with capitals", &[&one("X-Test", "a")], Must::RefuseRequest),
        rule("9113 8.2.1", "a name with a space", &[&one("x test", "a")], Must::RefuseRequest),
        rule("9113 8.2.1", "a name with a colon", &[&one("x:test", "a")], Must::RefuseRequest),
        rule(
            "9113 8.2.1",
            "a name with a line end",
            &[&one("x\r\ntest", "a")],
            Must::RefuseRequest,
        ),
        rule("9113 8.2.1", "an empty name", &[&one("", "a")], Must::RefuseRequest),
        rule("9113 8.2.1", "a value with CR", &[&one("x-test", "a\rb")], Must::RefuseRequest),
        rule("9113 8.2.1", "a value with LF", &[&one("x-test", "a\nb: c")], Must::RefuseRequest),
        rule("9113 8.2.1", "a value with NUL", &[&one("x-test", "a\0b")], Must::RefuseRequest),
        rule(
            "9113 8.2.1",
            "a value that begins with a space",
            &[&one("x-test", " a")],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.2.1",
            "a value that ends with a tab",
            &[&one("x-test", "a\t")],
            Must::RefuseRequest,
        ),
        rule("9113 8.2.2", "te: trailers", &[&one("te", "trailers")], Must::Answer(1)),
        rule("9113 8.2.2", "te: gzip", &[&one("te", "gzip")], Must::RefuseRequest),
        rule(
            "9113 8.2.3",
            "cookies in crumbs",
            &[&with(&[&field("cookie", "a=b"), &field("cookie", "c=d")])],
            Must::Answer(1),
        ),
    ];
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        rules.push(rule(
            "9113 8.2.2",
            "a field of a connection",
            &[&one(name, "close")],
            Must::RefuseRequest,
        ));
    }
    check(rules);
}

#[test]
fn section_8_1_messages() {
    let trailer = |stream, flags, fields: &[u8]| frame(HEADERS, flags, stream, fields);
    let length = |value: &str| {
        frame(
            HEADERS,
            END_HEADERS,
            1,
            &[request("POST", "/"), field("content-length", value)].concat(),
        )
    };
    check(vec![
        rule(
            "9113 8.1",
            "a request with trailers",
            &[&post(1), &frame(DATA, 0, 1, b"a"), &trailer(1, WHOLE, &field("x-sum", "1"))],
            Must::Answer(1),
        ),
        rule(
            "9113 8.1",
            "trailers that do not end the stream",
            &[&post(1), &trailer(1, END_HEADERS, &field("x-sum", "1"))],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.1",
            "a pseudo-header in trailers",
            &[&post(1), &trailer(1, WHOLE, &field(":path", "/x"))],
            Must::EndStream(&[PROTOCOL]),
        )
        // The library drops it, so that nothing of it reaches a server.
        .differs(Seen::Answered(1, 200)),
        rule(
            "9113 8.1.1",
            "less data than content-length says",
            &[&length("5"), &frame(DATA, END_STREAM, 1, b"abc")],
            Must::EndStream(&[PROTOCOL]),
        ),
        rule(
            "9113 8.1.1",
            "more data than content-length says",
            &[&length("1"), &frame(DATA, END_STREAM, 1, b"abc")],
            Must::EndStream(&[PROTOCOL]),
        ),
        rule(
            "9113 8.1.1",
            "no data where content-length says some",
            &[&with(&[&field("content-length", "5")])],
            Must::RefuseRequest,
        ),
    ]);
}

#[test]
fn section_8_3_pseudo_headers() {
    let (method, scheme, path) = ((":method", "GET"), (":scheme", "http"), (":path", "/"));
    let authority = (":authority", "localhost");
    let all = [method, scheme, path, authority];
    let plus = |more: (&'static str, &'static str)| only(&[&all[..], &[more]].concat());
    let without = |name: &str| {
        only(&all.iter().copied().filter(|(known, _)| *known != name).collect::<Vec<_>>())
    };
    check(vec![
        rule(
            "9113 8.3",
            "a pseudo-header that nobody knows",
            &[&plus((":test", "a"))],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3",
            "the pseudo-header of a response",
            &[&plus((":status", "200"))],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3",
            "a pseudo-header after a field",
            &[&only(&[method, scheme, authority, ("x-test", "a"), path])],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3.1",
            "an empty path",
            &[&only(&[method, scheme, (":path", ""), authority])],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3.1",
            "a path without a slash",
            &[&only(&[method, scheme, (":path", "x"), authority])],
            Must::RefuseRequest,
        ),
        rule("9113 8.3.1", "no method", &[&without(":method")], Must::RefuseRequest),
        rule("9113 8.3.1", "no scheme", &[&without(":scheme")], Must::RefuseRequest),
        rule("9113 8.3.1", "no path", &[&without(":path")], Must::RefuseRequest),
    ]);
}

#[test]
fn section_8_3_targets() {
    let (method, scheme, path) = ((":method", "GET"), (":scheme", "http"), (":path", "/"));
    let authority = (":authority", "localhost");
    let all = [method, scheme, path, authority];
    let plus = |more: (&'static str, &'static str)| only(&[&all[..], &[more]].concat());
    check(vec![
        rule(
            "9113 8.3.1",
            "two methods",
            &[&only(&[&[method][..], &all[..]].concat())],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3.1",
            "two schemes",
            &[&only(&[&[scheme][..], &all[..]].concat())],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3.1",
            "two paths",
            &[&only(&[&[path][..], &all[..]].concat())],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3.1",
            "two authorities",
            &[&only(&[&[authority][..], &all[..]].concat())],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3.1",
            "an authority and another host",
            &[&plus(("host", "example.org"))],
            Must::RefuseRequest,
        ),
        rule(
            "9113 8.3.1",
            "an authority and the same host",
            &[&plus(("host", "localhost"))],
            Must::Answer(1),
        ),
        rule(
            "9113 8.3.1",
            "a host instead of an authority",
            &[&only(&[method, scheme, path, ("host", "localhost")])],
            Must::Answer(1),
        ),
        rule(
            "9113 8.5",
            "CONNECT with a path",
            &[&only(&[(":method", "CONNECT"), scheme, path, authority])],
            Must::RefuseRequest,
        ),
        rule(
            "8441 4",
            "CONNECT with a protocol and no path",
            &[&only(&[(":method", "CONNECT"), (":protocol", "websocket"), scheme, authority])],
            Must::RefuseRequest,
        ),
    ]);
}

#[test]
fn rfc_7541_tables() {
    let whole = |block: &[u8]| frame(HEADERS, WHOLE, 1, block);
    let after = |rest: &[u8]| whole(&[&request("GET", "/")[..], rest].concat());
    let remembered = [&[0x40][..], &string(b"x-test"), &string(b"a")].concat();
    let many = "a".repeat(3_000);
    let large = [&[0x40][..], &string(b"x-large"), &string(many.as_bytes())].concat();
    check(vec![
        rule("7541 2.3.3", "index 0", &[&after(&[0x80])], Must::EndConnection(&[COMPRESSION]))
            .told(PROTOCOL),
        rule(
            "7541 2.3.3",
            "an index behind both tables",
            &[&after(&[0xff, 0x00])],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 2.3.2",
            "a field that was remembered",
            &[&after(&[&remembered[..], &[0xbe]].concat())],
            Must::Answer(1),
        ),
        rule(
            "7541 4.2",
            "a table larger than allowed",
            &[&whole(&[&[0x3f, 0xe2, 0x1f][..], &request("GET", "/")].concat())],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 4.2",
            "a table size after a field",
            &[&after(&[0x20])],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 4.3",
            "a smaller table forgets",
            &[
                &whole(&[&remembered[..], &request("GET", "/")].concat()),
                &frame(HEADERS, WHOLE, 3, &[&[0x20, 0xbe][..], &request("GET", "/")].concat()),
            ],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 4.4",
            "a large field pushes out what was remembered",
            &[&after(&[&remembered[..], &large, &large, &[0xbf]].concat())],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
    ]);
}

#[test]
fn rfc_7541_codes() {
    let whole = |block: &[u8]| frame(HEADERS, WHOLE, 1, block);
    let after = |rest: &[u8]| whole(&[&request("GET", "/")[..], rest].concat());
    let huffman = |bytes: &[u8]| {
        let length = 0x80 | u8::try_from(bytes.len()).unwrap();
        after(&[&[0x00][..], &string(b"x-test"), &[length], bytes].concat())
    };
    check(vec![
        rule(
            "7541 5.1",
            "an integer without an end",
            &[&after(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 5.2",
            "a string longer than its block",
            &[&after(&[0x00, 0x7f])],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 5.2",
            "Huffman: padding of zeros",
            &[&huffman(&[0b0001_1000])],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 5.2",
            "Huffman: padding of more than 7 bits",
            &[&huffman(&[0b0001_1111, 0xff])],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 5.2",
            "Huffman: the end-of-string symbol",
            &[&huffman(&[0xff, 0xff, 0xff, 0xff])],
            Must::EndConnection(&[COMPRESSION]),
        )
        .told(PROTOCOL),
        rule(
            "7541 6.2.1",
            "a field to remember, by index",
            &[&after(&[0x7a, 0x01, b'a'])],
            Must::Answer(1),
        ),
        rule(
            "7541 6.2.3",
            "a field never to remember",
            &[&after(&[&[0x10][..], &string(b"x-test"), &string(b"a")].concat())],
            Must::Answer(1),
        ),
    ]);
}
