//! How fast frames may come (SPEC 11: `connection_rate`, `room_rate`).

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Frames a second that are taken, of one connection or of a whole room. In one moment so many may come as else come in a
/// second. `None`: as many as come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) connection: Option<u32>,
    pub(crate) room: Option<u32>,
}

/// A bucket that fills with a rate, of which each frame takes some. What does not get any now waits for it.
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

    /// Waits until at least one of so many frames may go; returns how many may. Whoever stops waiting has taken nothing.
    pub(crate) async fn admit(&mut self, frames: usize) -> usize {
        loop {
            match self.take(frames, Instant::now()) {
                Ok(taken) => return taken,
                Err(wait) => sleep(wait).await,
            }
        }
    }

    /// Takes for as many of the frames as there is, or says when there is for one.
    fn take(&mut self, frames: usize, now: Instant) -> Result<usize, Duration> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.at = now;
        self.left = (self.left + gained).min(self.per_second);
        if self.left < 1.0 {
            // A timer is right to the millisecond.
            return Err(Duration::from_secs_f64((1.0 - self.left) / self.per_second).max(Duration::from_millis(1)));
        }
        let taken = frames.min(self.left as usize);
        self.left -= taken as f64;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_connection_rate_at_the_limit_and_one_past_it() {
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(100, start);
        assert_eq!(bucket.take(101, start), Ok(100), "the one past it waits");
        assert_eq!(bucket.take(1, start), Err(Duration::from_millis(10)));
        // Ten a tenth of a second from then on, and never more than a second's worth at once.
        assert_eq!(bucket.take(11, later(105)), Ok(10));
        assert!(bucket.take(1, later(105)).is_err());
        assert_eq!(bucket.take(101, later(60_000)), Ok(100));
    }
}
