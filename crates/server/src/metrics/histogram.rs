use std::sync::atomic::{AtomicU64, Ordering};

/// How often values came, by ranges. The bounds, which are `N`, are its user's.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    /// By the first bound that is not less than the value.
    counts: [AtomicU64; N],
    /// Of values past the last bound.
    past: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Histogram {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            past: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Histogram<N> {
    /// A value came so many times.
    pub(crate) fn observe(&self, bounds: &[u64], value: u64, times: u64) {
        if times == 0 {
            return;
        }
        let index = bounds.partition_point(|bound| *bound < value);
        self.counts.get(index).unwrap_or(&self.past).fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
    }

    /// How many values were at most each bound, then how many there were in all.
    pub(super) fn cumulated(&self) -> (Vec<u64>, u64) {
        let mut all = 0;
        let mut add = |count: &AtomicU64| {
            all += count.load(Ordering::Relaxed);
            all
        };
        let below = self.counts.iter().map(&mut add).collect();
        let all = add(&self.past);
        (below, all)
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_for_its_bound_and_all_above() {
        let bounds = [10, 20, 30];
        let histogram = Histogram::<3>::default();
        for value in [0, 10, 11, 30, 31] {
            histogram.observe(&bounds, value, 1);
        }
        histogram.observe(&bounds, 20, 5);
        histogram.observe(&bounds, 20, 0);
        assert_eq!(histogram.cumulated(), (vec![2, 8, 9], 10));
        assert_eq!(histogram.sum(), 182);
    }
}
