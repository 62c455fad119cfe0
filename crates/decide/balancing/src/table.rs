//! Prefix sums of weights: maps a number below the total to the server that owns it.
//!
//! Built once per pool, so that a draw by weight costs a binary search and no memory.
//! Invariant: each server owns exactly as many numbers as its reduced weight.

/// The servers of a pool, or of a zone, by weight.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    indexes: Vec<usize>,
    /// `sums[k]`: the weights of the first k + 1 servers, divided by their common divisor.
    sums: Vec<u64>,
    /// Coprime to the total and near its golden section; see `spread`.
    stride: u64,
}

impl Table {
    /// `weighted`: server indexes and their weights, none of them 0.
    pub(crate) fn new(weighted: impl Iterator<Item = (usize, u32)> + Clone) -> Self {
        let divisor = weighted
            .clone()
            .fold(0, |divisor, (_, weight)| common(divisor, u64::from(weight)))
            .max(1);
        let mut table = Self::default();
        let mut sum = 0;
        for (index, weight) in weighted {
            sum += u64::from(weight) / divisor;
            table.indexes.push(index);
            table.sums.push(sum);
        }
        // 1 / golden ratio squared: successive numbers then fall far apart from each other.
        let section = (sum * 382 + 500) / 1000;
        table.stride = (section.max(1)..=sum).find(|&stride| common(stride, sum) == 1).unwrap_or(1);
        table
    }

    pub(crate) fn len(&self) -> usize {
        self.indexes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    pub(crate) fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// The server that owns `number`, which is below the total.
    pub(crate) fn owner(&self, number: u64) -> usize {
        self.indexes[self.sums.partition_point(|&sum| sum <= number)]
    }

    /// The server at a position of an endless rotation: within any `total` positions that begin
    /// at a multiple of it, each server has exactly its weight, spread evenly.
    pub(crate) fn at(&self, position: u64) -> usize {
        let total = self.total();
        // Both factors are below 65,536 x 1,000, so the product fits.
        self.owner((position % total) * self.stride % total)
    }

    /// The server indexes.
    pub(crate) fn indexes(&self) -> &[usize] {
        &self.indexes
    }
}

const fn common(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(weights: &[u32]) -> Vec<usize> {
        let table = Table::new(weights.iter().copied().enumerate());
        (0..table.total()).map(|position| table.at(position)).collect()
    }

    #[test]
    fn the_rotation_is_smooth() {
        assert_eq!(order(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(order(&[4, 4]), [0, 1]);
        assert_eq!(order(&[5, 1, 1]), [0, 0, 2, 0, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn a_turn_holds_each_server_by_weight(weights in prop::collection::vec(1_u32..200, 1..20)) {
            let order = order(&weights);
            for (index, weight) in weights.iter().enumerate() {
                let times = order.iter().filter(|&&server| server == index).count();
                // Equal up to the common divisor: times x total weight == weight x turns.
                let total: u32 = weights.iter().sum();
                prop_assert_eq!(times as u64 * u64::from(total), u64::from(*weight) * order.len() as u64);
            }
        }
    }
}
