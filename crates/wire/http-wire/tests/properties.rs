//! Properties of the codec on generated input: it never panics, reads the same however the input
//! is cut, and what it accepts means the same when it is written again.

use http_wire::{
    BODY_END, CHUNK_END, ChunkDecoder, ChunkLimits, Framing, HeadLimits, HeadScanner, LAST_CHUNK,
    Method, RequestHead, ResponseHead, write_chunk_head,
};
use model::Reason;
use proptest::prelude::*;

/// Pieces that heads are made of, good and bad, so that generated heads come close to both.
fn head_piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /a%2f../b?c=d HTTP/1.1\r\n", "Host: a.example\r\n", "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n", "Connection: close, x\r\n", "X: y\r\n", "\r\n", "\r\n\r\n", "\n", "\r",
            " ", ":", "HTTP/1.1 200 OK\r\n", "Expect: 100-continue\r\n", "Upgrade: websocket\r\n", "a_b: c\r\n",
            "Connection: upgrade\r\n", "GET http://a.example:80/x HTTP/1.1\r\n", "\t", "\u{0}", "HTTP/1.0",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let proper = (prop::collection::vec(head_piece(), 0..5)).prop_map(|pieces| {
        [b"GET /x HTTP/1.1\r\nHost: a.example\r\n".to_vec(), pieces.concat(), b"\r\n".to_vec()]
            .concat()
    });
    prop_oneof![
        prop::collection::vec(head_piece(), 0..8).prop_map(|pieces| pieces.concat()),
        proper
    ]
}

fn path_piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "/", ".", "..", "//", "%2e", "%2E", "%2f", "%5c", "%25", "%252e", ";", "a", "b=c", "%61", "%7E", "%c3%a9",
            "%C0%AE", "%00", "%", "~", "|", "\\", "%3b", "?", "x/../y", "%2", "%e2%82%ac",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,4}",
    ]
}

fn target() -> impl Strategy<Value = String> {
    prop::collection::vec(path_piece(), 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn parse_target(target: &str) -> Result<RequestHead, Reason> {
    let text = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), &HeadLimits::default()).map(|()| head)
}

/// Feeds `bytes` in pieces that end at `cuts`; gives the length of the head.
fn scan(bytes: &[u8], cuts: &[usize], limits: &HeadLimits) -> Result<Option<usize>, Reason> {
    let mut scanner = HeadScanner::default();
    for &cut in cuts {
        if let Some(length) = scanner.scan(bytes.get(..cut).unwrap_or(bytes), limits)? {
            return Ok(Some(length));
        }
    }
    scanner.scan(bytes, limits)
}

/// Data, trailers, and the bytes used when the body finished.
type Body = (Vec<u8>, Vec<u8>, Option<usize>);

/// Decodes `bytes` in pieces of these lengths, the last one repeated.
fn decode(bytes: &[u8], lengths: &[usize]) -> Result<Body, Reason> {
    let mut decoder = ChunkDecoder::new(ChunkLimits::default());
    let (mut data, mut used, mut rest) = (Vec::new(), 0, bytes);
    let mut lengths = lengths
        .iter()
        .copied()
        .chain(std::iter::repeat(lengths.last().copied().unwrap_or(usize::MAX)));
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (piece, after) = rest.split_at(length);
        let mut piece = piece.to_vec();
        let decoded = decoder.decode(&mut piece)?;
        data.extend_from_slice(piece.get(..decoded.data).expect("data is in the piece"));
        used += decoded.consumed;
        assert_eq!(decoded.finished, decoder.is_finished());
        if decoded.finished {
            return Ok((data, decoder.trailers().to_vec(), Some(used)));
        }
        assert_eq!(decoded.consumed, length, "an unfinished body takes everything");
        rest = after;
    }
    Ok((data, Vec::new(), None))
}

/// A second decoder, written line by line, without extensions and trailers.
fn reference_decode(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, rest) = bytes.split_at(end);
        let size = line.split(|&byte| byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        let rest = rest.get(2..)?;
        if size == 0 {
            return Some(data);
        }
        data.extend_from_slice(rest.get(..size)?);
        bytes = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

fn encode(chunks: &[Vec<u8>], extension: &str, trailers: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        write_chunk_head(&mut out, chunk.len());
        out.truncate(out.len() - 2);
        out.extend_from_slice(extension.as_bytes());
        out.extend_from_slice(CHUNK_END);
        out.extend_from_slice(chunk);
        out.extend_from_slice(CHUNK_END);
    }
    if trailers.is_empty() {
        out.extend_from_slice(BODY_END);
    } else {
        out.extend_from_slice(LAST_CHUNK);
        out.extend_from_slice(trailers.as_bytes());
        out.extend_from_slice(CHUNK_END);
    }
    out
}

/// The head as the door would write it again, hop-by-hop fields included.
fn written_again(head: &RequestHead, bytes: &[u8]) -> Vec<u8> {
    let version = if head.version == http_wire::Version::Http11 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut out = head.method_text.of(bytes).to_vec();
    out.extend_from_slice(format!(" {} {version}\r\n", head.forwarded_target()).as_bytes());
    for header in &head.headers {
        out.extend_from_slice(header.name.of(bytes));
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value.of(bytes));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn scanning_does_not_depend_on_the_cuts(bytes in head(), bytes_max in 16_usize..200) {
        let limits = HeadLimits { bytes_max, ..HeadLimits::default() };
        let whole = scan(&bytes, &[], &limits).ok();
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(scan(&bytes, &every, &limits).ok(), whole, "byte by byte");
        for cut in 0..bytes.len() {
            prop_assert_eq!(scan(&bytes, &[cut], &limits).ok(), whole, "cut at {}", cut);
        }
    }

    #[test]
    fn an_accepted_request_means_the_same_when_written_again(bytes in head()) {
        let limits = HeadLimits::default();
        let mut first = RequestHead::default();
        if first.parse(&bytes, &limits).is_ok() {
            prop_assert_eq!(HeadScanner::default().scan(&bytes, &limits), Ok(Some(bytes.len())));
            let again = written_again(&first, &bytes);
            let mut second = RequestHead::default();
            prop_assert_eq!(second.parse(&again, &limits), Ok(()));
            prop_assert_eq!(second.method, first.method);
            prop_assert_eq!(second.framing, first.framing);
            prop_assert_eq!(second.keep_alive, first.keep_alive);
            prop_assert_eq!(second.forwarded_target(), first.forwarded_target());
            prop_assert_eq!(second.headers.len(), first.headers.len());
            prop_assert!(!second.path_changed());
            prop_assert!(first.framing != Framing::Close);
        }
    }

    #[test]
    fn reused_heads_remember_nothing(one in head(), two in head()) {
        let limits = HeadLimits::default();
        let (mut reused, mut fresh) = (RequestHead::default(), RequestHead::default());
        let _outcome_of_one: Result<(), Reason> = reused.parse(&one, &limits);
        prop_assert_eq!(reused.parse(&two, &limits), fresh.parse(&two, &limits));
        if fresh.parse(&two, &limits).is_ok() {
            prop_assert_eq!(&reused.headers, &fresh.headers);
            prop_assert_eq!(reused.forwarded_target(), fresh.forwarded_target());
            prop_assert_eq!((reused.upgrade, reused.host, reused.framing), (fresh.upgrade, fresh.host, fresh.framing));
        }
    }

    #[test]
    fn canonical_paths_are_canonical(target in target()) {
        if let Ok(head) = parse_target(&target) {
            let path = head.path();
            prop_assert!(path.starts_with('/') && path.is_ascii());
            prop_assert_eq!(head.path_changed(), head.forwarded_target() != target);
            let again = parse_target(head.forwarded_target()).expect("what is forwarded is valid");
            prop_assert_eq!(again.forwarded_target(), head.forwarded_target());
            // Whatever prefix a route strips at a slash, the rest is canonical too.
            for (slash, _) in path.match_indices('/') {
                let rest = path.get(slash..).expect("a slash begins a character");
                let stripped = parse_target(rest).expect("the rest of a canonical path is valid");
                prop_assert_eq!(stripped.path(), rest);
            }
        }
    }

    #[test]
    fn chunks_come_back_however_they_are_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        extension in prop::sample::select(vec!["", ";a", ";a=b;c=\"d;\\\" e\""]),
        trailers in prop::sample::select(vec!["", "A: b\r\n", "A: b\r\nServer-Timing: c\r\n"]),
        lengths in prop::collection::vec(1_usize..30, 1..8),
        following in prop::sample::select(vec!["", "GET / HTTP/1.1\r\n"]),
    ) {
        let body = encode(&chunks, extension, trailers);
        let sent = [body.as_slice(), following.as_bytes()].concat();
        let (data, read_trailers, used) = decode(&sent, &lengths).expect("a valid body");
        prop_assert_eq!(&data, &chunks.concat());
        let reference = reference_decode(&body);
        prop_assert_eq!(Some(&data), reference.as_ref());
        prop_assert_eq!(read_trailers, trailers.as_bytes());
        prop_assert_eq!(used, Some(body.len()));
    }

    #[test]
    fn damaged_chunks_are_read_the_same_however_they_are_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..10), 1..4),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![prop::sample::select(b"\r\n;=\"\\ 0fx:".to_vec()), any::<u8>()],
        lengths in prop::collection::vec(1_usize..9, 1..8),
    ) {
        let mut body = encode(&chunks, ";a=\"b\"", "A: b\r\n");
        let at = at.index(body.len());
        *body.get_mut(at).expect("an index into the body") = byte;
        let whole = decode(&body, &[]);
        prop_assert_eq!(&decode(&body, &lengths), &whole);
        if let Ok((data, _, Some(used))) = whole {
            let read = body.get(..used).expect("used bytes are in the body");
            prop_assert_eq!(Some(data), reference_decode(read), "two readings of one body");
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in head()) {
        for input in [&bytes, &piece] {
            let limits = HeadLimits::default();
            let _scanned: Result<Option<usize>, Reason> = HeadScanner::default().scan(input, &limits);
            let request = RequestHead::default().parse(input, &limits);
            let response = ResponseHead::default().parse(input, &limits, Method::Get);
            prop_assert!(request.is_err() || response.is_err(), "no head is both");
            let mut body = input.clone();
            let decoded = ChunkDecoder::default().decode(&mut body);
            prop_assert!(decoded.is_err() || decoded.is_ok_and(|decoded| decoded.data <= decoded.consumed));
        }
    }

    #[test]
    fn chunk_heads_are_hexadecimal(length in 1_usize..) {
        let mut out = Vec::new();
        write_chunk_head(&mut out, length);
        prop_assert_eq!(out, format!("{length:X}\r\n").into_bytes());
    }
}
