//! Any bytes as a PROXY header. What is read stays the same however much follows it, is asked for
//! only within its bounds, and comes back when it is written again.
#![no_main]

use http_wire::{PROXY_BYTES_MAX, read_proxy_header, write_proxy_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let whole = read_proxy_header(input);
    for end in 0..input.len().min(256) {
        match read_proxy_header(&input[..end]) {
            Ok(None) => {}
            part => assert_eq!(part, whole, "the cuts matter"),
        }
    }
    let Ok(Some(header)) = whole else {
        assert!(whole.is_err() || input.len() < PROXY_BYTES_MAX, "it waits for ever");
        return;
    };
    assert!(header.length <= input.len() && header.length <= PROXY_BYTES_MAX);
    let mut again = Vec::new();
    write_proxy_header(&mut again, header.version, header.endpoints.as_ref());
    let read = read_proxy_header(&again).expect("what is written is well formed");
    let read = read.expect("what is written is whole");
    assert_eq!((read.length, read.version), (again.len(), header.version));
    let plain = |ends: Option<http_wire::Endpoints>| {
        ends.map(|ends| {
            let of = |at: std::net::SocketAddr| (at.ip().to_canonical(), at.port());
            (of(ends.source), of(ends.destination))
        })
    };
    assert_eq!(plain(read.endpoints), plain(header.endpoints));
});
