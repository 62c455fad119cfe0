//! Changes that never happened: what the door would have seen of good and of bad ones, by seed.

pub(crate) mod canary;
pub(crate) mod watch;

use fastrand::Rng;

/// How many of something that happens `mean` times on average happen: Poisson, by counting for
/// few and by the normal law for many.
fn poisson(rng: &mut Rng, mean: f64) -> u64 {
    if mean > 50.0 {
        let count = mean + mean.sqrt() * normal(rng);
        return round(count);
    }
    let (limit, mut product, mut count) = ((-mean).exp(), rng.f64(), 0);
    while product > limit {
        product *= rng.f64();
        count += 1;
    }
    count
}

/// A draw from the normal law (Box and Muller 1958).
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, not negative, and far below 2^53"
)]
fn round(value: f64) -> u64 {
    value.round().max(0.0) as u64
}
