//! How fast frames may come (SPEC 11: `connection_rate`, `room_rate`).

use std::time::Duration;

use tokio::time::Instant;

/// Frames a second that are taken, of one connection or of a whole room. In one moment so many may come as else come in a
/// second. `None`: as many as come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) connection: Option<u32>,
    pub(crate) room: Option<u32>,
}

/// A bucket that fills with a rate, of which each frame takes some. It may be overdrawn: what has come is not turned away, but what
/// comes next has to wait until the debt is paid.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one. A rate of 0 is taken as 1.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second.max(1));
        Bucket { per_second, left: per_second, at: now }
    }

    /// Takes so many frames. Returns how long to wait before these are worked on, if at all.
    pub(crate) fn take(&mut self, frames: usize, now: Instant) -> Option<Duration> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.at = now;
        self.left = (self.left + gained).min(self.per_second) - frames as f64;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_connection_rate_at_the_limit_and_one_past_it() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, start);
        assert_eq!(bucket.take(100, start), None);
        let one = bucket.take(1, start).unwrap();
        assert_eq!(one.as_millis(), 10);
        // Ten a tenth of a second from then on, and never more than a second's worth at once.
        assert_eq!(bucket.take(9, start + Duration::from_millis(100)), None);
        assert!(bucket.take(1, start + Duration::from_millis(100)).is_some());
        assert_eq!(bucket.take(100, start + Duration::from_secs(60)), None);
        assert!(bucket.take(1, start + Duration::from_secs(60)).is_some());
    }
}
