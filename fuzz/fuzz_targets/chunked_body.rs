//! Any bytes as a chunked body. It is read the same however it is cut, never takes bytes after its
//! end, and its data and trailers come back when they are encoded again.
#![no_main]

use http_wire::{CHUNK_END, ChunkDecoder, ChunkLimits, LAST_CHUNK, write_chunk_head};
use libfuzzer_sys::fuzz_target;
use model::Reason;

/// Data and trailers; the bytes used when the body finished.
type Body = (Vec<u8>, Vec<u8>, Option<usize>);

/// Decodes pieces of `length` bytes.
fn decode(bytes: &[u8], length: usize) -> Result<Body, Reason> {
    let mut decoder = ChunkDecoder::new(ChunkLimits::default());
    let (mut data, mut used) = (Vec::new(), 0);
    for piece in bytes.chunks(length) {
        let mut room = piece.to_vec();
        let decoded = match decoder.decode(&mut room) {
            Ok(decoded) => decoded,
            Err(reason) => {
                assert!(matches!(reason, Reason::BadChunk | Reason::BadTrailer));
                assert_eq!(decoder.decode(&mut room), Err(reason), "an error is final");
                return Err(reason);
            }
        };
        assert!(decoded.data <= decoded.consumed && decoded.consumed <= piece.len());
        assert_eq!(
            room[decoded.consumed..],
            piece[decoded.consumed..],
            "bytes after the body are not touched"
        );
        data.extend_from_slice(&room[..decoded.data]);
        used += decoded.consumed;
        if decoded.finished {
            assert_eq!(decoder.decode(&mut room).map(|decoded| decoded.consumed), Ok(0));
            return Ok((data, decoder.trailers().to_vec(), Some(used)));
        }
        assert_eq!(decoded.consumed, piece.len());
    }
    Ok((data, Vec::new(), None))
}

fuzz_target!(|input: &[u8]| {
    let Some((&length, bytes)) = input.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(decode(bytes, usize::from(length % 16) + 1), whole, "the cuts matter");
    let Ok((data, trailers, Some(used))) = whole else { return };
    assert!(used <= bytes.len() && bytes[..used].ends_with(b"\r\n"));
    assert!(trailers.is_empty() || trailers.ends_with(b"\r\n"));

    let mut again = Vec::new();
    write_chunk_head(&mut again, data.len());
    if !data.is_empty() {
        again.extend_from_slice(&data);
        again.extend_from_slice(CHUNK_END);
    }
    again.extend_from_slice(LAST_CHUNK);
    again.extend_from_slice(&trailers);
    again.extend_from_slice(CHUNK_END);
    let used = Some(again.len());
    assert_eq!(decode(&again, again.len()), Ok((data, trailers, used)));
});
