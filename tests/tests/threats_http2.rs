//! The HTTP/2 cases that must not get through, one test for each line of the threat list, in raw
//! frames over real sockets: refused with the true code, nothing of it at the server, and nobody
//! else disturbed.

use black_box::Backend;
use black_box::fort::Fort;
use black_box::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, string,
};
use black_box::load::now;
use black_box::streams::{Streams, block, code, get, post};
use black_box::{Setup, eventually, frames};

/// Streams as a client numbers them.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

const CANCEL: [u8; 4] = code::CANCEL.to_be_bytes();

#[test]
fn threat_32_rapid_reset() {
    let mut fort = Fort::new();
    // All at once: they are gone before anybody looks at them.
    let mut client = Streams::to(&fort.door);
    let pair = |stream| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get("/")));
        [open, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    };
    client.raw(streams().take(1_000).flat_map(pair).collect::<Vec<u8>>());
    assert_eq!(client.goaway(), code::ENHANCE_YOUR_CALM);
    fort.bystander();
    // One by one, each when its request has begun.
    let mut client = Streams::to(&fort.door);
    let mut sent = 0;
    let calmed = streams().take(5_000).any(|stream| {
        sent += 1;
        client.open(stream, &post("/"), false);
        !client.ping() || !client.send(RST_STREAM, 0, stream, &CANCEL)
    });
    assert!(calmed && sent >= 100, "{sent} resets");
    fort.bystander();
    eventually("no request is left at the server", || fort.backend.open() == 0);
    assert!(fort.backend.requests().len() < 100, "most never became requests");
}

/// Frames of an attack on a stream of this number.
type Frames = fn(u32) -> Vec<u8>;

#[test]
fn threat_33_made_you_reset() {
    let mut fort = Fort::new();
    let attacks: [(&str, Frames); 3] = [
        ("a window too large", |stream| {
            frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes())
        }),
        ("a stream that depends on itself", |stream| {
            frame(PRIORITY, 0, stream, &[stream.to_be_bytes().as_slice(), &[1]].concat())
        }),
        ("a header list that is no trailers", |stream| {
            frame(HEADERS, END_HEADERS, stream, &block(&[("a", "b")]))
        }),
    ];
    for (name, attack) in attacks {
        let mut client = Streams::to(&fort.door);
        for stream in streams().take(1_000) {
            let open = frame(HEADERS, END_HEADERS, stream, &block(&post("/")));
            if !client.raw([open, attack(stream)].concat()) {
                break;
            }
        }
        let code = client.goaway();
        assert!(matches!(code, code::ENHANCE_YOUR_CALM | code::PROTOCOL_ERROR), "{name}: {code}");
        fort.bystander();
    }
    eventually("no request is left at the server", || fort.backend.open() == 0);
    assert!(fort.backend.requests().is_empty(), "none was whole");
}

#[test]
fn threat_34_continuation_flood() {
    let mut fort = Fort::new();
    for payload in [vec![], block(&[("a", "b")]), block(&[("a", &"b".repeat(16_000))])] {
        let mut client = Streams::to(&fort.door);
        client.send(HEADERS, END_STREAM, 1, &block(&get("/")));
        let whole = frame(CONTINUATION, 0, 1, &payload);
        while client.raw(&whole) {}
        client.closed();
        fort.bystander();
    }
    // One that is small, and never ends.
    let mut client = Streams::to(&fort.door);
    client.send(HEADERS, END_STREAM, 1, &block(&get("/")));
    client.closed();
    fort.bystander();
    assert!(fort.backend.received().is_empty());
}

#[test]
fn threat_35_floods_of_empty_frames() {
    let mut fort = Fort::new();
    let attacks = [
        frame(DATA, 0, 1, b""),
        frame(SETTINGS, 0, 0, b""),
        frame(PING, 0, 0, &[0; 8]),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1]),
        frame(0xfa, 0, 0, b""),
        // A window of one byte more each time, for a response that is not there.
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
    ];
    let floods = attacks.len();
    for attack in attacks {
        let mut client = Streams::to(&fort.door);
        client.open(1, &post("/"), false);
        client.raw(attack.repeat(5_000));
        client.closed();
        fort.bystander();
    }
    let calmed = ["scope=\"connection\"", "code=\"enhance_your_calm\""];
    eventually("all are counted", || {
        fort.door.metric("tidegate_http2_errors_total", &calmed) == floods as f64
    });
    // What a client sends that only measures and lives is far from that.
    let mut client = Streams::to(&fort.door);
    assert!((0..500).all(|_| client.ping()));
    client.open(1, &get("/"), true);
    assert_eq!(client.response(1), (200, b"reached".to_vec()));
    eventually("no upload is left at the server", || fort.backend.requests().len() == 1);
}

#[test]
fn threat_36_header_bomb() {
    let mut fort = Fort::new();
    // A cookie that is kept in the table, and then stands there again for each byte sent.
    let bomb = |times: usize| {
        let mut payload = block(&get("/"));
        payload.push(0x60);
        payload.extend(string("a=".repeat(1_900).as_bytes()));
        payload.extend(vec![0xbe; times]);
        payload
    };
    let mut client = Streams::with_window(&fort.door, 0);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(10_000));
    assert_eq!(client.goaway(), code::ENHANCE_YOUR_CALM);
    fort.bystander();
    for times in [4, 8, 12] {
        let mut client = Streams::with_window(&fort.door, 0);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(times));
        assert_eq!(client.status(1), 431, "{times} times");
        fort.bystander();
    }
    assert!(fort.backend.received().is_empty());
    // Responses that nobody takes: they wait in the door no longer than a body may stand still.
    let large = Backend::answering(black_box::ok(&"x".repeat(10_000)));
    let door = Setup::of(&[&large]).listen("timeouts = { body = \"300ms\" }").start();
    let mut client = Streams::with_window(&door, 0);
    client.open(1, &get("/"), true);
    assert_eq!(client.status(1), 200);
    assert_eq!(client.reset(1), code::CANCEL);
}

#[test]
fn threat_37_truncated_ping() {
    let mut fort = Fort::new();
    for (stream, payload) in [(0, &[0; 7][..]), (0, &[0; 9]), (0, &[]), (1, &[0; 8])] {
        let mut client = Streams::to(&fort.door);
        client.send(PING, 0, stream, payload);
        let code = client.goaway();
        assert!(matches!(code, code::PROTOCOL_ERROR | code::FRAME_SIZE_ERROR), "{payload:?}");
        fort.bystander();
    }
    assert!(fort.backend.received().is_empty());
}

#[test]
fn threat_38_window_overflow() {
    let mut fort = Fort::new();
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let mut client = Streams::to(&fort.door);
    client.send(WINDOW_UPDATE, 0, 0, &most);
    assert_eq!(client.goaway(), code::FLOW_CONTROL_ERROR, "of the connection");
    let mut client = Streams::to(&fort.door);
    client.open(1, &post("/"), false);
    client.send(WINDOW_UPDATE, 0, 1, &most);
    assert_eq!(client.reset(1), code::FLOW_CONTROL_ERROR, "of a stream");
    let mut client = Streams::to(&fort.door);
    client.send(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]);
    let code = client.goaway();
    assert!(matches!(code, code::PROTOCOL_ERROR | code::FLOW_CONTROL_ERROR), "of all: {code}");
    // More data than the door has room for.
    let mut client = Streams::to(&fort.door);
    client.open(1, &post("/"), false);
    while client.send(DATA, 0, 1, &[0; 16_384]) && client.send(DATA, 0, 3, &[0; 16_384]) {}
    client.closed();
    fort.bystander();
    eventually("no request is left at the server", || fort.backend.open() == 0);
    assert!(fort.backend.requests().is_empty());
}

#[test]
fn threat_39_line_ends_in_fields() {
    let mut fort = Fort::new();
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for end in ["\r\n", "\n", "\r", "\0", "\r\n\r\n"] {
        let evil = format!("b{end}{smuggled}");
        let attacks: [Vec<(&str, &str)>; 6] = [
            [get("/"), vec![("a", &evil)]].concat(),
            [get("/"), vec![("cookie", &evil)]].concat(),
            [get("/"), vec![(&evil, "a")]].concat(),
            get(&evil),
            vec![(":method", &evil), (":scheme", "http"), (":authority", "a"), (":path", "/")],
            vec![(":method", "GET"), (":scheme", "http"), (":authority", &evil), (":path", "/")],
        ];
        for attack in attacks {
            let mut client = Streams::to(&fort.door);
            client.open(1, &attack, true);
            client.refused();
            fort.bystander();
        }
        // In a trailer.
        let mut client = Streams::to(&fort.door);
        client.open(1, &post("/"), false);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("a", &evil)]));
        client.refused();
    }
    eventually("no request is left at the server", || fort.backend.open() == 0);
    let received = fort.backend.received_text();
    assert!(!received.contains("smuggled"), "{received}");
    assert!(fort.backend.requests().is_empty());
}

/// What the library refuses by itself is no request to the door; a few a second are written down.
#[test]
fn refusals_below_the_walk_are_counted() {
    let mut fort = Fort::new();
    let malformed = [get("/"), vec![("connection", "close")]].concat();
    let mut client = Streams::to(&fort.door);
    for stream in streams().take(3) {
        client.open(stream, &malformed, true);
        assert_eq!(client.reset(stream), code::PROTOCOL_ERROR);
    }
    client.send(DATA, 0, 0, b"of no stream");
    assert_eq!(client.goaway(), code::PROTOCOL_ERROR);
    let counted = |scope: &str| {
        let scope = format!("scope=\"{scope}\"");
        fort.door.metric("tidegate_http2_errors_total", &[&scope, "code=\"protocol_error\""])
    };
    let mut client = frames::Frames::bare(fort.door.first_address());
    client.send(&[PREFACE, &frame(PING, 0, 0, &[0; 8])].concat());
    eventually("all are counted", || (counted("stream"), counted("connection")) == (3.0, 2.0));
    assert_eq!(fort.door.log().matches("a stream of HTTP/2 was reset").count(), 1);
    let noted = |line: &String| line.contains("\"reason\":\"stream_refused\"");
    let lines = fort.door.access_lines(3);
    assert_eq!(lines.iter().filter(|line| noted(line)).count(), 3, "{lines:#?}");

    // A flood of them does not fill the log.
    let began = now();
    let mut client = Streams::to(&fort.door);
    for stream in streams().take(100) {
        client.open(stream, &malformed, true);
        assert_eq!(client.reset(stream), code::PROTOCOL_ERROR);
    }
    eventually("all are counted", || counted("stream") == 103.0);
    let seconds = usize::try_from(began.elapsed().as_secs()).expect("a few seconds");
    let noted = fort.door.access_lines(3).iter().filter(|line| noted(line)).count();
    assert!(noted < 103 && noted <= 3 + 10 * (seconds + 2), "{noted} in {seconds} s");
    fort.bystander();
    assert!(fort.backend.received().is_empty());
}
