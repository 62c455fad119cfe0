//! Mixing of keys: cheap, keyed by a seed, so that nobody outside can aim at one place of a table.
//!
//! One widening multiplication folded onto itself, as wyhash and rapidhash do. Not for secrets.

const ODD: u64 = 0xa076_1d64_78bd_642f;
const SPREAD: u64 = 0xe703_7ed1_a0b4_28db;

/// Mixes two numbers into one; every bit of both reaches every bit of the result.
pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    let first = fold(a ^ ODD, b ^ SPREAD);
    fold(first ^ SPREAD, b ^ ODD)
}

/// Mixes the bytes of a text.
pub(crate) fn text(text: &str, seed: u64) -> u64 {
    text.bytes().fold(seed, |hash, byte| mix(hash, u64::from(byte)))
}

#[expect(clippy::cast_possible_truncation, reason = "folds the two halves of a product")]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A number from 0 up to, not including, `bound`, evenly by the high bits of `hash`; 0 when
/// `bound` is 0.
pub(crate) const fn below(hash: u64, bound: u64) -> u64 {
    (((hash as u128) * (bound as u128)) >> 64) as u64
}
