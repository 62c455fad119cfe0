//! What clients get of responses that a route compresses, and when.

use std::io::{Read, Write};
use std::process::Command;

use black_box::{Backend, Client, Door, Gate, Response, Setup, response};

/// Text of several kilobytes that gets shorter, and whose every part is different.
fn text(words: usize) -> String {
    let word = |index: usize| format!("<li id=\"{}\">item {index}</li>\n", index * index % 977);
    (0..words).map(word).collect()
}

fn ask(door: &Door, method: &str, target: &str, fields: &str) -> Response {
    let mut client = Client::to(door);
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    if method == "HEAD" { client.response_to_head() } else { client.response() }
}

/// All of the body that can be read by now; what is still to come is no mistake.
fn decoded(coding: &str, encoded: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut reader = flate2::write::GzDecoder::new(Vec::new());
            reader.write_all(encoded).expect("it is gzip");
            reader.flush().expect("it is gzip");
            reader.get_ref().clone()
        }
        "br" => {
            let (mut reader, mut out) = (brotli::Decompressor::new(encoded, 4096), Vec::new());
            // What is cut is an error once all before it was read.
            let _cut = reader.read_to_end(&mut out);
            out
        }
        "zstd" => {
            let (mut reader, mut out) = (zstd_safe::DCtx::create(), vec![0; 1 << 20]);
            let mut to = zstd_safe::OutBuffer::around(&mut out[..]);
            let mut from = zstd_safe::InBuffer::around(encoded);
            reader.decompress_stream(&mut to, &mut from).expect("it is Zstandard");
            to.as_slice().to_vec()
        }
        _ => panic!("{coding} was not asked for"),
    }
}

/// A server of HTML.
fn site(fields: &'static str) -> Backend {
    Backend::answering(response(200, &format!("Content-Type: text/html\r\n{fields}"), &text(500)))
}

fn compressing(backend: &Backend) -> Door {
    Setup::of(&[backend]).route("compress = true").start()
}

#[test]
fn each_client_gets_the_coding_that_it_likes() {
    let backend = site("ETag: \"7\"\r\nAccept-Ranges: bytes\r\nContent-Language: de\r\n");
    let door = compressing(&backend);
    let mut answers = std::collections::BTreeMap::new();
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("zstd;q=0.1, gzip;q=0.9", "gzip"),
        ("*;q=0.5, zstd;q=0", "br"),
    ] {
        let answer = ask(&door, "GET", "/", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(answer.header("content-encoding"), Some(coding), "{accept}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert_eq!(answer.header("etag"), Some("W/\"7\""), "other bytes, the same meaning");
        assert_eq!(answer.header("content-language"), Some("de"));
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert!(!answer.headers.has("accept-ranges") && !answer.headers.has("content-length"));
        assert!(answer.body.len() < text(500).len() / 3, "{coding}: {} bytes", answer.body.len());
        assert!(decoded(coding, &answer.body) == text(500).as_bytes(), "{coding}");
        let bytes = |stage: &str| {
            let labels = [format!("coding=\"{coding}\""), format!("stage=\"{stage}\"")];
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            door.metric("tidegate_compression_bytes_total", &labels)
        };
        *answers.entry(coding).or_insert(0) += answer.body.len();
        let before = bytes("before") / text(500).len() as f64;
        assert!(before == 1.0 || before == 2.0, "{coding}: {before} bodies");
        assert_eq!(bytes("after"), answers[coding] as f64, "{coding}");
    }
    let log = backend.last();
    assert_eq!(log.headers.get("accept-encoding"), Some("*;q=0.5, zstd;q=0"), "it passes as it is");
}

#[test]
fn the_uncompressed_response_says_that_it_varies() {
    let backend = site("ETag: \"7\"\r\nVary: Origin\r\n");
    let door = compressing(&backend);
    let length = text(500).len().to_string();
    for (method, fields) in [
        ("GET", ""),
        ("GET", "Accept-Encoding: identity\r\n"),
        ("GET", "Accept-Encoding: gzip;q=0\r\n"),
        ("GET", "Accept-Encoding: br\r\nCache-Control: no-transform\r\n"),
        ("HEAD", "Accept-Encoding: br\r\n"),
    ] {
        let answer = ask(&door, method, "/", fields);
        assert!(!answer.headers.has("content-encoding"), "{method} {fields}");
        assert_eq!(answer.headers.all("vary"), ["Origin", "accept-encoding"], "{method} {fields}");
        assert_eq!(answer.header("etag"), Some("\"7\""));
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
    }
    let mut old = Client::to(&door);
    old.send("GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let answer = old.response();
    assert!(answer.body == text(500).as_bytes(), "HTTP/1.0 knows no chunks");
    assert!(answer.headers.all("vary").contains(&"accept-encoding"));
}

#[test]
fn responses_that_gain_nothing_or_mean_their_bytes_pass_as_they_are() {
    let long = text(500);
    for (status, fields, body) in [
        (200, "Content-Type: image/png\r\n", &*long),
        (200, "Content-Type: text/html\r\n", "short"),
        (200, "Content-Type: text/html\r\nContent-Encoding: gzip\r\n", &long),
        (200, "Content-Type: text/html\r\nCache-Control: no-transform\r\n", &long),
        (200, "Content-Type: application/grpc\r\n", &long),
        (206, "Content-Type: text/html\r\nContent-Range: bytes 0-1/9\r\n", &long),
        (200, "", &long),
    ] {
        let backend = Backend::answering(response(status, fields, body));
        let answer = ask(&compressing(&backend), "GET", "/", "Accept-Encoding: gzip, br\r\n");
        assert!(answer.body == body.as_bytes(), "{status} {fields}");
        assert!(!answer.headers.has("vary"), "{status} {fields}");
        let length = body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()), "{status} {fields}");
    }
}

#[test]
fn a_route_that_does_not_say_so_compresses_nothing() {
    let backend = site("");
    let door = Setup::of(&[&backend]).start();
    let answer = ask(&door, "GET", "/", "Accept-Encoding: gzip, br, zstd\r\n");
    assert!(answer.body == text(500).as_bytes());
    assert!(!answer.headers.has("vary") && !answer.headers.has("content-encoding"));
}

#[test]
fn the_configured_order_size_and_types_count() {
    let backend =
        Backend::answering(response(200, "Content-Type: image/x-mine\r\n", "small, small"));
    let settings =
        "compress = { codings = ['gzip', 'br'], level = 9, min = '10B', types = ['image/x-mine'] }";
    let door = Setup::of(&[&backend]).route(settings).start();
    let answer = ask(&door, "GET", "/", "Accept-Encoding: zstd, br, gzip\r\n");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(decoded("gzip", &answer.body), b"small, small");
}

/// Reads one chunk's data.
fn read_chunk(client: &mut Client) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.read_exactly(1));
    }
    let size = std::str::from_utf8(&line).expect("it is text").trim();
    let size = usize::from_str_radix(size, 16).expect("a chunk begins with its size");
    let data = client.read_exactly(size);
    client.read_exactly(2);
    data
}

#[test]
fn an_event_can_be_read_before_the_next_is_sent() {
    for coding in ["gzip", "br", "zstd"] {
        for kind in ["text/event-stream", "application/json"] {
            let was_read = Gate::closed();
            let seen = was_read.clone();
            let backend = Backend::start(move |_, peer| {
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
                ));
                peer.send("d\r\ndata: first\n\n\r\n");
                seen.wait();
                peer.send("e\r\ndata: second\n\n\r\n0\r\n\r\n");
            });
            let door = compressing(&backend);
            let mut client = Client::to(&door);
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"));
            let head = client.response_head().expect("the stream begins");
            assert_eq!(head.header("content-encoding"), Some(coding));
            let mut encoded = Vec::new();
            while decoded(coding, &encoded) != b"data: first\n\n" {
                encoded.extend(read_chunk(&mut client));
            }
            was_read.open();
            let rest = client.rest_of(head, false);
            encoded.extend_from_slice(&rest.body);
            assert_eq!(decoded(coding, &encoded), b"data: first\n\ndata: second\n\n", "{coding}");
        }
    }
}

#[test]
fn trailers_pass_behind_a_compressed_body() {
    let body = text(3000);
    let sent = body.clone();
    let backend = Backend::start(move |_, peer| {
        peer.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        for piece in sent.as_bytes().chunks(7000) {
            peer.send(format!("{:x}\r\n", piece.len()));
            peer.send(piece);
            peer.send("\r\n");
        }
        peer.send("0\r\nx-sum: 12\r\n\r\n");
    });
    let door = compressing(&backend);
    let mut client = Client::to(&door);
    for coding in ["gzip", "br", "zstd"] {
        let fields = format!("Host: a\r\nAccept-Encoding: {coding}\r\n");
        let answer = client.ask(format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        assert!(decoded(coding, &answer.body) == body.as_bytes(), "{coding}");
        assert_eq!(answer.trailers.get("x-sum"), Some("12"), "{coding}");
    }
    assert_eq!(backend.connections(), 1, "the server's connection is used again");
}

#[test]
fn a_response_that_is_cut_is_not_taken_for_whole() {
    let backend = Backend::start(|_, peer| {
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9000\r\n\r\n");
        peer.send(text(50));
        peer.close();
    });
    let door = compressing(&backend);
    let mut client = Client::to(&door);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert!(client.try_response(false).is_err(), "the last chunk must not come");
}

#[test]
fn a_configured_answer_is_compressed_with_its_length() {
    let body = "tide ".repeat(1000);
    let door = Setup::default()
        .without_route()
        .more(&format!("[routes.fixed]\ncompress = true\nrespond = {{ body = '{body}' }}"))
        .start();
    for coding in ["gzip", "br", "zstd"] {
        let answer = ask(&door, "GET", "/", &format!("Accept-Encoding: {coding}\r\n"));
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        let length = answer.body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
        assert!(answer.body.len() < 200 && decoded(coding, &answer.body) == body.as_bytes());
    }
    let plain = ask(&door, "GET", "/", "");
    assert!(plain.body == body.as_bytes() && plain.header("vary") == Some("accept-encoding"));
    assert!(!ask(&door, "HEAD", "/", "Accept-Encoding: br\r\n").headers.has("content-encoding"));
}

#[test]
fn curl_decodes_over_both_versions() {
    let backend = site("");
    let door = compressing(&backend);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for coding in ["gzip", "br", "zstd"] {
            let accept = format!("Accept-Encoding: {coding}");
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--max-time", "20", version, "--compressed", "-H", &accept, "-i"]);
            let output = curl.arg(format!("http://{}/", door.first_address())).output();
            let output = output.expect("curl can be run");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{version} {coding}: {errors}");
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let (head, body) = printed.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains(&format!("content-encoding: {coding}")), "{head}");
            assert!(body == text(500), "{version} {coding}");
        }
    }
}

#[test]
fn what_one_client_reads_slowly_holds_up_nobody() {
    let body = text(200_000);
    let backend = Backend::answering(response(200, "Content-Type: text/html\r\n", &body));
    let door = compressing(&backend);
    let slow: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = Client::to(&door);
            client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
            client
        })
        .collect();
    let answer = ask(&door, "GET", "/", "Accept-Encoding: gzip\r\n");
    let mut whole = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(&answer.body[..]);
    reader.read_to_end(&mut whole).expect("it is gzip");
    assert!(whole == body.as_bytes());
    drop(slow);
}
