//! How far it is, on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often it is told.
const EVERY: Duration = Duration::from_millis(200);

pub(crate) struct Progress {
    is_shown: bool,
    told: Instant,
    bytes: u64,
    total: Option<u64>,
}

impl Progress {
    pub(crate) fn new(total: Option<u64>) -> Self {
        Progress { is_shown: io::stderr().is_terminal(), told: Instant::now(), bytes: 0, total }
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.is_shown && self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            self.show(&line(self.bytes, self.total));
        }
    }

    fn show(&self, line: &str) {
        // To the left, and over all that stood there. A terminal that is gone does not matter.
        let _ = write!(io::stderr(), "\r\x1b[K{line}").and_then(|()| io::stderr().flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            self.show("");
        }
    }
}

fn line(bytes: u64, total: Option<u64>) -> String {
    match total.filter(|total| *total > 0) {
        Some(total) => format!("{} of {}, {} %", size(bytes), size(total), 100 * bytes / total),
        None => size(bytes),
    }
}

/// A size as people read it.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(line(999, None), "999 bytes");
        assert_eq!(line(1_500, Some(3_000_000)), "1.5 kB of 3.0 MB, 0 %");
        assert_eq!(line(3_000_000, Some(3_000_000)), "3.0 MB of 3.0 MB, 100 %");
    }
}
