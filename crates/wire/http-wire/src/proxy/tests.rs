//! Headers as others write them, and every way to get one wrong.

#![expect(clippy::indexing_slicing, reason = "a test that is wrong about its own bytes may panic")]

use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let whole = read_proxy_header(bytes);
    // However it arrives, it is read the same; and it is asked for more only while it is short.
    for end in 0..bytes.len() {
        let part = read_proxy_header(&bytes[..end]);
        match (&part, &whole) {
            (Ok(None), _) => {}
            (Ok(Some(header)), _) => assert!(header.length <= end && part == whole),
            (Err(_), whole) => assert_eq!(&part, whole, "{end} of {bytes:?}"),
        }
    }
    whole
}

fn ends(source: &str, destination: &str) -> Option<Endpoints> {
    Some(Endpoints { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

#[test]
fn lines_of_version_1() {
    fn check(line: &str, expected: Result<Option<Endpoints>, ProxyError>) {
        let found = read(line.as_bytes());
        let found = found.map(|header| header.expect("the line is whole").endpoints);
        assert_eq!(found, expected, "{line:?}");
    }
    check(
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET /",
        Ok(ends("192.0.2.1:56324", "198.51.100.7:443")),
    );
    check(
        "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n",
        Ok(ends("[2001:db8::1]:0", "[2001:db8::2]:65535")),
    );
    check("PROXY UNKNOWN\r\n", Ok(None));
    check("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", Ok(None));
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rx",
        "PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n",
    ] {
        check(line, Err(ProxyError::BadLine));
    }
    for line in ["proxy TCP4", "POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n", "\u{16}\u{3}\u{1}"] {
        check(line, Err(ProxyError::NotProxy));
    }
    assert_eq!(read(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r"), Ok(None));
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES_MAX));
    assert_eq!(read(endless.as_bytes()), Err(ProxyError::BadLine));
}

/// A version 2 header: command and family, then addresses and TLVs.
fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
    header.extend(content);
    header
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];

fn with(tlvs: &[u8]) -> Vec<u8> {
    [&IPV4[..], tlvs].concat()
}

#[test]
fn headers_of_version_2() {
    fn check(header: &[u8], expected: Result<Option<Endpoints>, ProxyError>) {
        let found = read(header).map(|header| header.expect("it is whole").endpoints);
        assert_eq!(found, expected, "{header:?}");
    }
    let v4 = || ends("192.0.2.1:56324", "198.51.100.7:443");
    check(&v2(0x21, 0x11, &IPV4), Ok(v4()));
    check(&[v2(0x21, 0x11, &IPV4), b"GET / HTTP/1.1\r\n".to_vec()].concat(), Ok(v4()));
    // A TLV of ALPN, and one without a value.
    check(&v2(0x21, 0x11, &with(&[1, 0, 2, b'h', b'2', 4, 0, 0])), Ok(v4()));
    let mut v6 = [0; 36];
    (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
    check(&v2(0x21, 0x21, &v6), Ok(ends("[::1]:3", "[::2]:4")));
    // The proxy's own connection, whatever it says of it; a Unix socket; nothing specified.
    check(&v2(0x20, 0x00, b""), Ok(None));
    check(&v2(0x20, 0x11, &IPV4), Ok(None));
    check(&v2(0x20, 0x12, b"anything"), Ok(None));
    check(&v2(0x21, 0x31, &[b'/'; 216]), Ok(None));
    check(&v2(0x21, 0x00, &[4, 0, 1, 0]), Ok(None));

    check(&v2(0x11, 0x11, &IPV4), Err(ProxyError::BadCommand));
    check(&v2(0x22, 0x11, &IPV4), Err(ProxyError::BadCommand));
    check(&v2(0x21, 0x12, &IPV4), Err(ProxyError::BadFamily));
    check(&v2(0x21, 0x41, &IPV4), Err(ProxyError::BadFamily));
    check(&v2(0x20, 0x51, &IPV4), Err(ProxyError::BadFamily));
    check(&v2(0x21, 0x11, &IPV4[..11]), Err(ProxyError::BadLength));
    check(&v2(0x21, 0x21, &IPV4), Err(ProxyError::BadLength));
    check(&v2(0x21, 0x11, &[0; PROXY_BYTES_MAX]), Err(ProxyError::BadLength));
    check(&v2(0x21, 0x11, &with(&[1])), Err(ProxyError::BadTlv));
    check(&v2(0x21, 0x11, &with(&[1, 0])), Err(ProxyError::BadTlv));
    check(&v2(0x21, 0x11, &with(&[1, 0, 2, 0])), Err(ProxyError::BadTlv));
    check(&v2(0x21, 0x11, &with(&[3, 0, 1, 0])), Err(ProxyError::BadTlv));
    check(b"\r\n\r\n\0\r\nQUIT\r\n", Err(ProxyError::NotProxy));
}

#[test]
fn a_checksum_must_be_right() {
    // The check value of CRC-32C; nothing of it is taken as zero.
    assert_eq!(crc32c(b"123456789", usize::MAX - 4), 0xe306_9283);
    let mut header = v2(0x21, 0x11, &with(&[3, 0, 4, 0, 0, 0, 0]));
    assert_eq!(read(&header), Err(ProxyError::BadChecksum));
    let sum = crc32c(&header, header.len() - 4).to_be_bytes();
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum);
    assert!(read(&header).is_ok_and(|read| read.is_some()));
    header[17] ^= 1;
    assert_eq!(read(&header), Err(ProxyError::BadChecksum));
    let twice = with(&[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0]);
    assert_eq!(read(&v2(0x21, 0x11, &twice)), Err(ProxyError::BadTlv));
}

fn written(version: ProxyVersion, endpoints: Option<&Endpoints>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_proxy_header(&mut bytes, version, endpoints);
    bytes
}

#[test]
fn headers_are_written_as_the_protocol_says() {
    let v4 = ends("192.0.2.1:56324", "198.51.100.7:443");
    assert_eq!(
        written(ProxyVersion::V1, v4.as_ref()),
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"
    );
    assert_eq!(written(ProxyVersion::V2, v4.as_ref()), v2(0x21, 0x11, &IPV4));
    assert_eq!(written(ProxyVersion::V1, None), b"PROXY UNKNOWN\r\n");
    assert_eq!(written(ProxyVersion::V2, None), v2(0x20, 0, b""));
    let mixed = ends("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2");
    assert_eq!(
        written(ProxyVersion::V1, mixed.as_ref()),
        b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n"
    );
    let mapped = ends("[::ffff:192.0.2.1]:1", "127.0.0.1:2");
    assert_eq!(
        written(ProxyVersion::V1, mapped.as_ref()),
        b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(source: SocketAddr, destination: SocketAddr, rest: Vec<u8>) {
        // Scope and flow of an IPv6 address are not part of the protocol.
        let plain = |address: SocketAddr| SocketAddr::from((address.ip(), address.port()));
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let ends = Endpoints { source: plain(source), destination: plain(destination) };
            let mut bytes = written(version, Some(&ends));
            let length = bytes.len();
            bytes.extend(&rest);
            let header = read_proxy_header(&bytes).unwrap().unwrap();
            prop_assert_eq!((header.length, header.version), (length, version));
            let found = header.endpoints.unwrap();
            prop_assert_eq!(found.source.ip().to_canonical(), source.ip().to_canonical());
            prop_assert_eq!(found.source.port(), source.port());
            prop_assert_eq!(found.destination.ip().to_canonical(), destination.ip().to_canonical());
            prop_assert_eq!(found.destination.port(), destination.port());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        start in prop_oneof![Just(&b"PROXY "[..]), Just(&V2_SIGNATURE[..]), Just(&b""[..])],
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, &rest].concat();
        if let Ok(Some(header)) = read(&bytes) {
            prop_assert!(header.length <= bytes.len().min(PROXY_BYTES_MAX));
        }
    }
}
