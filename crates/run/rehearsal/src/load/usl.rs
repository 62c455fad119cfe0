//! The Universal Scalability Law (Gunther 1993), fitted to measured steps.
//!
//! N / X(N) = (1 + sigma (N - 1) + kappa N (N - 1)) / lambda is linear in its three unknowns, so
//! one least-squares solution finds them. N is the mean number of requests in flight, by Little's
//! law throughput times latency. Pure.
//! Invariant: a fit that explains too little, or that has no meaning, is no fit.

use model::capacity::Usl;

/// Steps a fit needs: one more than it has unknowns.
const STEPS_MIN: usize = 4;
/// The share of the variance of the throughput that a fit has to explain.
const EXPLAINED_MIN: f64 = 0.95;
/// A coefficient below this changes nothing that could have been measured.
const NEGLIGIBLE: f64 = 1e-9;
/// A peak is told up to this many times the most requests in flight that were measured.
const BEYOND_MAX: f64 = 3.0;

/// One step: requests in flight on average, and answers per second.
pub type Point = (f64, f64);

/// The law that explains these steps, if one does.
#[must_use]
pub fn fit(points: &[Point]) -> Option<Usl> {
    let points: Vec<Point> = points
        .iter()
        .copied()
        .filter(|(n, x)| n.is_finite() && x.is_finite() && *n > 0.0 && *x > 0.0)
        .collect();
    if points.len() < STEPS_MIN {
        return None;
    }
    // A coefficient that comes out below zero has no meaning: it is left out and the rest fitted
    // again. Both, contention alone, coherency alone, neither.
    let columns: [&[usize]; 4] = [&[0, 1, 2], &[0, 1], &[0, 2], &[0]];
    let fits = columns.iter().filter_map(|columns| solve(&points, columns)).filter(is_sensible);
    let best = fits
        .map(|usl| (explained(&usl, &points), usl))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(explained, _)| *explained >= EXPLAINED_MIN).map(|(_, usl)| usl)
}

/// Throughput at `n` requests in flight.
#[must_use]
pub fn throughput(usl: &Usl, n: f64) -> f64 {
    usl.lambda * n / (1.0 + usl.sigma * (n - 1.0) + usl.kappa * n * (n - 1.0))
}

/// Requests in flight and throughput at the peak, where there is one and it is near what was
/// measured: `measured_max` is the most requests in flight of any step.
#[must_use]
pub fn peak(usl: &Usl, measured_max: f64) -> Option<Point> {
    if usl.kappa <= NEGLIGIBLE {
        return None;
    }
    let n = ((1.0 - usl.sigma) / usl.kappa).sqrt();
    (n.is_finite() && n >= 1.0 && n <= measured_max * BEYOND_MAX).then(|| (n, throughput(usl, n)))
}

fn is_sensible(usl: &Usl) -> bool {
    usl.lambda.is_finite()
        && usl.lambda > 0.0
        && (0.0..=1.0).contains(&usl.sigma)
        && usl.kappa.is_finite()
        && usl.kappa >= 0.0
}

/// The share of the variance of the throughput that the law explains (R squared).
fn explained(usl: &Usl, points: &[Point]) -> f64 {
    let number: f64 = points.iter().map(|_| 1.0).sum();
    let mean = points.iter().map(|(_, x)| x).sum::<f64>() / number;
    let total: f64 = points.iter().map(|(_, x)| (x - mean).powi(2)).sum();
    let left: f64 = points.iter().map(|(n, x)| (x - throughput(usl, *n)).powi(2)).sum();
    if total > 0.0 { 1.0 - left / total } else { 0.0 }
}

/// Weighted least squares of N / X over the chosen of the columns 1, N - 1 and N (N - 1). Each
/// step weighs by its inverse square, so that the error counts relative to its latency.
fn solve(points: &[Point], columns: &[usize]) -> Option<Usl> {
    let size = columns.len();
    let mut matrix = [[0.0; 4]; 3];
    for (n, x) in points {
        let latency = n / x;
        let all = [1.0, n - 1.0, n * (n - 1.0)];
        let weight = latency.powi(-2);
        for (row, column) in columns.iter().enumerate() {
            for (place, other) in columns.iter().enumerate() {
                matrix[row][place] += weight * all[*column] * all[*other];
            }
            matrix[row][3] += weight * all[*column] * latency;
        }
    }
    let found = eliminate(&mut matrix, size)?;
    let mut coefficients = [0.0; 3];
    for (column, value) in columns.iter().zip(found) {
        coefficients[*column] = value;
    }
    let [base, contention, coherency] = coefficients;
    (base > 0.0).then(|| Usl {
        lambda: 1.0 / base,
        sigma: contention / base,
        kappa: coherency / base,
    })
}

/// Gaussian elimination with the largest pivot; the right side is column 3.
fn eliminate(matrix: &mut [[f64; 4]; 3], size: usize) -> Option<[f64; 3]> {
    for pivot in 0..size {
        let best = (pivot..size).max_by(|one, other| {
            matrix[*one][pivot].abs().total_cmp(&matrix[*other][pivot].abs())
        })?;
        matrix.swap(pivot, best);
        let chosen = matrix[pivot];
        if chosen[pivot].abs() < f64::MIN_POSITIVE {
            return None;
        }
        for (index, row) in matrix.iter_mut().enumerate().take(size) {
            if index != pivot {
                let factor = row[pivot] / chosen[pivot];
                row.iter_mut().zip(chosen).for_each(|(cell, other)| *cell -= factor * other);
            }
        }
    }
    let mut found = [0.0; 3];
    for (index, value) in found.iter_mut().enumerate().take(size) {
        *value = matrix[index][3] / matrix[index][index];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(usl: &Usl, noise: f64) -> Vec<Point> {
        [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
            .iter()
            .enumerate()
            .map(|(index, n)| {
                let off = if index % 2 == 0 { 1.0 + noise } else { 1.0 - noise };
                (*n, throughput(usl, *n) * off)
            })
            .collect()
    }

    /// What was put in comes out: within 1 % without noise, within 25 % with 2 % noise.
    #[test]
    fn a_known_law_is_found_again() {
        for (lambda, sigma, kappa) in
            [(100.0, 0.05, 0.001), (1_000.0, 0.0, 0.0005), (50.0, 0.2, 0.0), (2_000.0, 0.0, 0.0)]
        {
            let known = Usl { lambda, sigma, kappa };
            for (noise, within) in [(0.0, 0.01), (0.02, 0.25)] {
                let found = fit(&points(&known, noise)).unwrap();
                let near = |found: f64, known: f64| {
                    (found - known).abs() <= known * within + 0.02 * within
                };
                assert!(
                    near(found.lambda, lambda)
                        && near(found.sigma, sigma)
                        && near(found.kappa, kappa),
                    "{known:?} with {noise}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn the_peak_is_where_throughput_turns() {
        let usl = Usl { lambda: 100.0, sigma: 0.05, kappa: 0.001 };
        let (n, x) = peak(&usl, 64.0).unwrap();
        assert!(throughput(&usl, n * 0.9) < x && throughput(&usl, n * 1.1) < x);
        assert_eq!(peak(&usl, 2.0), None, "far beyond what was measured");
        assert_eq!(peak(&Usl { kappa: 0.0, ..usl }, 64.0), None);
    }

    #[test]
    fn nonsense_is_no_fit() {
        for points in [
            &[][..],
            &[(1.0, 10.0), (2.0, 20.0), (4.0, 30.0)],
            &[(1.0, 10.0), (2.0, 90.0), (3.0, 5.0), (4.0, 80.0), (5.0, 1.0)],
            &[(f64::NAN, 1.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)],
            &[(1.0, 5.0), (1.0, 5.0), (1.0, 5.0), (1.0, 5.0)],
        ] {
            assert_eq!(fit(points), None, "{points:?}");
        }
    }
}
