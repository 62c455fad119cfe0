//! Hellos whole, in pieces, and wrong.

#![expect(clippy::indexing_slicing, reason = "a test that is wrong about its own bytes may panic")]

use proptest::prelude::*;

use super::*;

/// A vector with its length in two bytes before it.
fn vector(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&length[..], content].concat()
}

fn name(text: &str) -> Vec<u8> {
    [&[0], &vector(text.as_bytes())[..]].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(content)].concat()
}

fn names(names: &[&str]) -> Vec<u8> {
    extension(0, &vector(&names.iter().flat_map(|text| name(text)).collect::<Vec<_>>()))
}

/// A handshake message with these extensions.
fn message(extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[2, 9, 9],
        &[0, 4, 0x13, 1, 0x13, 2],
        &[1, 0],
        &vector(extensions),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vector(part)].concat()).collect()
}

type Hello = Result<Option<(Option<String>, Vec<Vec<u8>>)>, ClientHelloError>;

/// What is read when the bytes come in pieces of `size`.
fn read(bytes: &[u8], size: usize) -> Hello {
    let mut reader = ClientHelloReader::default();
    for end in (0..bytes.len()).step_by(size).map(|start| (start + size).min(bytes.len())) {
        if let Some(hello) = reader.read(&bytes[..end])? {
            let name = hello.server_name.map(str::to_owned);
            return Ok(Some((name, hello.protocols().map(<[u8]>::to_vec).collect())));
        }
        assert!(reader.message.len() <= CLIENT_HELLO_BYTES_MAX);
    }
    Ok(None)
}

#[track_caller]
fn check(extensions: &[u8], expected: Result<(Option<&str>, &[&[u8]]), ClientHelloError>) {
    let message = message(extensions);
    let expected = expected.map(|(name, protocols)| {
        Some((name.map(str::to_owned), protocols.iter().map(|name| name.to_vec()).collect()))
    });
    for size in [1, 2, 5, 100, 16_000] {
        let bytes = records(&message, size);
        for piece in [1, 7, usize::MAX / 2] {
            assert_eq!(read(&bytes, piece), expected, "records of {size}, pieces of {piece}");
        }
    }
}

#[test]
fn names_and_protocols() {
    let alpn = extension(16, &vector(b"\x02h2\x08http/1.1"));
    let other = extension(43, &[2, 3, 4]);
    let both: [&[u8]; 2] = [b"h2", b"http/1.1"];
    check(&names(&["a.example.com"]), Ok((Some("a.example.com"), &[])));
    check(&[other.clone(), names(&["X.Y"]), alpn.clone()].concat(), Ok((Some("X.Y"), &both)));
    check(&[alpn.clone(), other].concat(), Ok((None, &both)));
    check(&[], Ok((None, &[])));
    check(&names(&["192.0.2.1"]), Ok((Some("192.0.2.1"), &[])));

    let refused = Err(ClientHelloError::BadServerName);
    for wrong in ["", ".", "a.", ".a", "a..b", "a b", "a\0", "ü.de", "*.example.com", "a/b"] {
        check(&names(&[wrong]), refused);
    }
    check(&names(&["a".repeat(64).as_str()]), refused);
    check(&names(&["a.".repeat(127).as_str()]), refused);
    check(&names(&["a", "b"]), refused);
    check(&names(&["a", "a"]), refused);
    check(&names(&[]), refused);
    check(&[names(&["a"]), names(&["a"])].concat(), refused);
    check(&extension(0, &vector(&[&[1], &vector(b"a")[..]].concat())), refused);
    check(&extension(0, &[&vector(&name("a"))[..], b"x"].concat()), refused);
    check(&extension(0, b""), refused);

    let malformed = Err(ClientHelloError::Malformed);
    check(&[alpn.clone(), alpn].concat(), malformed);
    check(&extension(16, b""), malformed);
    check(&extension(16, &vector(b"")), malformed);
    check(&extension(16, &vector(b"\0")), malformed);
    check(&extension(16, &vector(b"\x03h2")), malformed);
    check(&[0, 43, 0], malformed);
    check(&[0, 43, 0, 2, 0], malformed);
}

#[test]
fn what_is_no_client_hello_is_refused_at_once() {
    fn check(bytes: &[u8], expected: ClientHelloError) {
        for size in [1, usize::MAX / 2] {
            assert_eq!(read(bytes, size), Err(expected), "{bytes:?} by {size}");
        }
    }
    check(b"GET / HTTP/1.1\r\n", ClientHelloError::NotTls);
    check(&[21, 3, 1, 0, 2, 1, 0], ClientHelloError::NotTls);
    check(&[22, 2, 0, 0, 1, 1], ClientHelloError::NotTls);
    check(&[22, 3, 1, 0, 0], ClientHelloError::NotTls);
    check(&[22, 3, 1, 0x40, 1], ClientHelloError::NotTls);
    // Another message; an empty record, or another kind of record, between its parts.
    check(&[22, 3, 1, 0, 1, 2], ClientHelloError::Malformed);
    check(&[22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 0], ClientHelloError::Malformed);
    check(&[22, 3, 1, 0, 1, 1, 23, 3, 1, 0, 1, 0], ClientHelloError::Malformed);
    // Larger than is ever needed, by what the message says or by what the records take.
    check(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff], ClientHelloError::TooLarge);
    check(&records(&[&[1, 0, 0x3f, 0][..], &[0; 0x3f00]].concat(), 10), ClientHelloError::TooLarge);
    // More in the record than the message.
    let long = [message(&names(&["a"])), vec![0]].concat();
    check(&records(&long, 16_000), ClientHelloError::Malformed);
    let mut short = message(&names(&["a"]));
    short[3] -= 1;
    check(&records(&short, 16_000), ClientHelloError::Malformed);
}

#[test]
fn bytes_behind_it_are_not_looked_at() {
    let bytes = [records(&message(&names(&["a"])), 50), b"\0\xff anything".to_vec()].concat();
    assert_eq!(read(&bytes, usize::MAX / 2), Ok(Some((Some("a".to_owned()), Vec::new()))));
}

proptest! {
    #[test]
    fn the_cuts_do_not_matter(
        at in any::<prop::sample::Index>(),
        value: u8,
        size in 1_usize..300,
        piece in 1_usize..300,
    ) {
        let alpn = extension(16, &vector(b"\x02h2"));
        let mut message = message(&[names(&["www.example.com"]), alpn].concat());
        let at = at.index(message.len());
        message[at] = value;
        let whole = read(&records(&message, 16_000), usize::MAX / 2);
        let bytes = records(&message, size);
        let cut = read(&bytes, piece);
        prop_assert_eq!(read(&bytes, 1), cut.clone());
        // What a length that was spoilt leaves over is seen only by the record it is in.
        prop_assert!(cut == whole || whole.is_err() || cut == Ok(None), "{:?} {:?}", cut, whole);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        tls: bool,
    ) {
        if tls && bytes.len() > 8 {
            bytes[..6].copy_from_slice(&[22, 3, 1, 0, 200, 1]);
        }
        let whole = read(&bytes, usize::MAX / 2);
        prop_assert_eq!(read(&bytes, 1), whole);
    }
}
