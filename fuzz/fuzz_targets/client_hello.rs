//! Any bytes as a TLS ClientHello. It is read the same however it is cut, into segments or into
//! records, and never asks for more than its bound.
#![no_main]

use http_wire::{CLIENT_HELLO_BYTES_MAX, ClientHelloError, ClientHelloReader};
use libfuzzer_sys::fuzz_target;

type Hello = Result<Option<(Option<String>, Vec<Vec<u8>>)>, ClientHelloError>;

/// Reads pieces of `length` bytes.
fn read(bytes: &[u8], length: usize) -> Hello {
    let mut reader = ClientHelloReader::default();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + length).min(bytes.len());
        if let Some(hello) = reader.read(&bytes[..end])? {
            let name = hello.server_name.map(str::to_owned);
            return Ok(Some((name, hello.protocols().map(<[u8]>::to_vec).collect())));
        }
    }
    Ok(None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&length, bytes)) = input.split_first() else { return };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, usize::from(length) + 1), whole, "the cuts matter");
    assert!(whole != Ok(None) || bytes.len() < CLIENT_HELLO_BYTES_MAX, "it waits for ever");
    if let Ok(Some((Some(name), _))) = &whole {
        assert!((1..=253).contains(&name.len()) && name.is_ascii());
    }

    // The same bytes as one message, in records of a length of their own.
    let size = usize::from(length % 61) + 1;
    let message = &bytes[..bytes.len().min(2_000)];
    let records = |size: usize| -> Vec<u8> {
        let head = |part: &[u8]| {
            let length = u16::try_from(part.len()).expect("parts are short").to_be_bytes();
            [&[22, 3, 1][..], &length].concat()
        };
        message.chunks(size).flat_map(|part| [&head(part), part].concat()).collect()
    };
    let (one, many) = (read(&records(2_000), 100), read(&records(size), 100));
    // Only what stands behind the message tells records apart.
    assert!(many == one || one.is_err(), "the records matter: {one:?} {many:?}");
});
