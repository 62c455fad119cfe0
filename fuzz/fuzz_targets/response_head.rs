//! Any bytes as a response head. What is accepted has one framing, and means the same when it is
//! written again without its hop-by-hop fields, except for the connection itself.
#![no_main]

use http_wire::{Framing, HeadLimits, HeadScanner, HeaderKind, Method, ResponseHead, Version};
use libfuzzer_sys::fuzz_target;

fn check_head(head: &ResponseHead, method: Method) {
    let count = |kind: HeaderKind| {
        head.headers
            .iter()
            .filter(|h| h.kind == kind && (kind != HeaderKind::ContentLength || !h.hop_by_hop))
            .count()
    };
    let (lengths, codings) =
        (count(HeaderKind::ContentLength), count(HeaderKind::TransferEncoding));
    assert!(lengths + codings <= 1, "{lengths} lengths and {codings} codings");
    assert!((100..600).contains(&head.status));
    let never_has_body =
        head.status < 200 || matches!(head.status, 204 | 304) || method == Method::Head;
    match head.framing {
        Framing::None => assert!(never_has_body),
        Framing::Length(length) => assert!(!never_has_body && head.content_length == Some(length)),
        Framing::Chunked => {
            assert!(!never_has_body && codings == 1 && head.version == Version::Http11)
        }
        Framing::Close => assert!(!never_has_body && !head.keep_alive && lengths + codings == 0),
    }
    assert_eq!(head.upgrade.is_some(), head.status == 101);
    assert!(!(head.is_interim() && head.status == 101));
}

fuzz_target!(|input: &[u8]| {
    let Some((&method, bytes)) = input.split_first() else { return };
    let method = if method.is_ascii_uppercase() { Method::Head } else { Method::Get };
    let limits = HeadLimits { bytes_max: 2_048, headers_max: 32, target_bytes_max: 1_024 };
    let scanned = HeadScanner::default().scan(bytes, &limits).ok().flatten();
    let mut head = ResponseHead::default();
    if head.parse(bytes, &limits, method).is_ok() {
        assert_eq!(scanned, Some(bytes.len()), "nothing passes that the scanner refuses");
    }
    let Some(length) = scanned else { return };
    let bytes = &bytes[..length];
    if head.parse(bytes, &limits, method).is_err() {
        return;
    }
    check_head(&head, method);

    let mut again = format!("HTTP/1.1 {} ", head.status).into_bytes();
    again.extend_from_slice(head.reason_phrase.of(bytes));
    again.extend_from_slice(b"\r\n");
    let kept = |kind: HeaderKind| {
        matches!(kind, HeaderKind::TransferEncoding | HeaderKind::Upgrade | HeaderKind::Connection)
    };
    for header in head.headers.iter().filter(|header| !header.hop_by_hop || kept(header.kind)) {
        again.extend_from_slice(header.name.of(bytes));
        again.extend_from_slice(b": ");
        again.extend_from_slice(header.value.of(bytes));
        again.extend_from_slice(b"\r\n");
    }
    again.extend_from_slice(b"\r\n");
    let limits = HeadLimits { bytes_max: 4_096, ..limits };
    let mut second = ResponseHead::default();
    assert_eq!(
        second.parse(&again, &limits, method),
        Ok(()),
        "{:?}",
        again.escape_ascii().to_string()
    );
    check_head(&second, method);
    assert_eq!(
        (second.status, second.framing, second.content_length),
        (head.status, head.framing, head.content_length)
    );
    assert_eq!(second.reason_phrase.of(&again), head.reason_phrase.of(bytes));
});
