//! Whatever is encoded, in whatever parts, is decoded to itself by readers of other make.

use std::io::Read;

use admission::Buffers;
use flate2::{Decompress, FlushDecompress};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use zstd_safe::DCtx;

use super::*;

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

/// What a client can read of a body that came so far.
pub(crate) fn decoded(coding: Coding, encoded: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => decoded_gzip(encoded),
        Coding::Brotli => {
            let (mut reader, mut out) = (brotli::Decompressor::new(encoded, 4096), Vec::new());
            // What is cut is an error once all before it was read.
            let _cut = reader.read_to_end(&mut out);
            out
        }
        Coding::Zstd => decoded_zstd(encoded),
    }
}

fn decoded_gzip(encoded: &[u8]) -> Vec<u8> {
    let mut reader = Decompress::new_gzip(15);
    let mut out = Vec::new();
    loop {
        out.reserve(4096);
        let (input, before) = (usize::try_from(reader.total_in()).unwrap(), out.len());
        let rest = &encoded[input..];
        if rest.is_empty() && out.len() < out.capacity() && input > 0 {
            let status = reader.decompress_vec(rest, &mut out, FlushDecompress::Sync);
            assert!(status.is_ok() || out.len() == before);
            return out;
        }
        match reader.decompress_vec(rest, &mut out, FlushDecompress::Sync).unwrap() {
            Status::StreamEnd => {
                assert_eq!(reader.total_in(), encoded.len() as u64, "something follows the end");
                return out;
            }
            Status::Ok | Status::BufError => {
                let idle = reader.total_in() == input as u64 && out.len() == before;
                if idle {
                    return out;
                }
            }
        }
    }
}

fn decoded_zstd(encoded: &[u8]) -> Vec<u8> {
    let mut reader = DCtx::create();
    let mut from = InBuffer::around(encoded);
    let mut out = Vec::new();
    loop {
        out.reserve(4096);
        let (before, taken) = (out.len(), from.pos());
        let mut to = OutBuffer::around_pos(&mut out, before);
        reader.decompress_stream(&mut to, &mut from).unwrap();
        if out.len() == before && from.pos() == taken {
            return out;
        }
    }
}

/// What a worker counts.
pub(crate) fn metrics() -> Arc<WorkerShard> {
    telemetry::Registry::new(1).worker(0)
}

fn stock() -> Rc<Coders> {
    Coders::new(Arc::new(Buffers::default()), metrics())
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![Just(Then::GoOn), Just(Then::Flush)]
}

/// Parts like text, parts like noise, and long ones.
fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(97..101_u8, 0..300),
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..70_000_usize).prop_map(|(byte, count)| vec![byte; count]),
        (0..9_000_usize).prop_map(|count| (0..count).flat_map(|i| (i * i).to_le_bytes()).collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        rng_seed: RngSeed::Fixed(24),
        ..ProptestConfig::default()
    })]
    #[test]
    fn all_bodies_are_decoded_to_themselves(
        parts in proptest::collection::vec((part(), then()), 0..6),
        level in 1..=9_u8,
        known in any::<bool>(),
    ) {
        let whole: Vec<u8> = parts.iter().flat_map(|(part, _)| part.clone()).collect();
        let length = known.then_some(whole.len() as u64);
        for coding in CODINGS {
            let stock = stock();
            // The second body has an encoder that was used before.
            for _ in 0..2 {
                let mut coder = stock.lend(coding, level, length).unwrap();
                let (mut encoded, mut given) = (Vec::new(), Vec::new());
                for (part, then) in &parts {
                    coder.encode(part, *then, &mut encoded).unwrap();
                    given.extend_from_slice(part);
                    if *then == Then::Flush {
                        prop_assert!(decoded(coding, &encoded) == given, "{coding:?} {level}");
                    }
                }
                coder.encode(b"", Then::End, &mut encoded).unwrap();
                prop_assert!(decoded(coding, &encoded) == whole, "{coding:?} {level}");
            }
        }
    }
}

/// More than three blocks at once: at two levels, Brotli kept the last bytes back.
#[test]
fn a_large_part_is_given_out_whole() {
    let part: Vec<u8> = (0..6_145_u64).flat_map(|i| (i * i).to_le_bytes()).collect();
    for (coding, level) in CODINGS.into_iter().flat_map(|coding| (1..=9).map(move |l| (coding, l)))
    {
        let mut coder = stock().lend(coding, level, None).unwrap();
        let mut encoded = Vec::new();
        coder.encode(&part, Then::Flush, &mut encoded).unwrap();
        assert!(decoded(coding, &encoded) == part, "{coding:?} {level}");
        let length = encoded.len();
        coder.encode(b"", Then::Flush, &mut encoded).unwrap();
        assert!(decoded(coding, &encoded) == part, "{coding:?} {level}");
        assert!(encoded.len() <= length + 9, "{coding:?} {level}: an empty flush is small");
    }
}

#[test]
fn an_encoder_of_a_body_that_was_cut_is_as_good_as_new() {
    for coding in CODINGS {
        let stock = stock();
        let mut cut = stock.lend(coding, 4, Some(1_000_000)).unwrap();
        cut.encode(&[7; 100_000], Then::GoOn, &mut Vec::new()).unwrap();
        drop(cut);
        let mut encoded = Vec::new();
        let mut coder = stock.lend(coding, 4, None).unwrap();
        coder.encode(b"hello", Then::End, &mut encoded).unwrap();
        assert_eq!(decoded(coding, &encoded), b"hello", "{coding:?}");
    }
}

#[test]
fn what_is_lent_is_accounted_for_and_the_stock_is_bounded() {
    let account = Arc::new(Buffers::default());
    let stock = Coders::new(Arc::clone(&account), metrics());
    let lent: Vec<Coder> = (0..20).map(|_| stock.lend(Coding::Gzip, 4, None).unwrap()).collect();
    assert_eq!(account.held(), 20 * bytes_of(Coding::Gzip));
    drop(lent);
    assert_eq!((account.held(), stock.free.borrow().len()), (0, STOCK_MAX));
}

#[test]
fn zstandard_holds_no_more_than_is_accounted_for() {
    let body: Vec<u8> = (0..400_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
    for level in 1..=9 {
        let mut coder = stock().lend(Coding::Zstd, level, None).unwrap();
        coder.encode(&body, Then::GoOn, &mut Vec::new()).unwrap();
        let Some(Encoder { state: State::Zstd(context), .. }) = &coder.encoder else {
            panic!("another encoder")
        };
        let held = context.sizeof() as u64;
        assert!(held <= bytes_of(Coding::Zstd), "level {level}: {held} bytes");
    }
}
