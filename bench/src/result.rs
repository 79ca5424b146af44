//! What a run found.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::process::Process;
use crate::target::Served;

/// How often a terminal is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// The figures of a run, and what must be 0 for them to prove anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    figures: Map<String, Value>,
    faults: Map<String, Value>,
    line: String,
}

impl Outcome {
    pub(crate) fn new(scenario: &str, label: &str) -> Self {
        let mut outcome = Outcome::default();
        outcome.add("scenario", scenario);
        if !label.is_empty() {
            outcome.add("label", label);
        }
        outcome
    }

    pub(crate) fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// A figure that is worth three digits and no more.
    pub(crate) fn add_rounded(&mut self, name: &str, value: f64) {
        self.add(name, rounded(value));
    }

    pub(crate) fn must_be_0(&mut self, name: &str, count: u64) {
        self.faults.insert(name.to_owned(), count.into());
    }

    /// What a person reads.
    pub(crate) fn say(&mut self, line: String) {
        self.line = line;
    }

    pub(crate) fn figure(&self, name: &str) -> f64 {
        self.figures.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// The names of figures that are numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = &str> {
        self.figures.iter().filter(|(_, value)| value.is_number()).map(|(name, _)| name.as_str())
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.faults.values().all(|count| count == &json!(0))
    }

    /// The line of JSON.
    pub(crate) fn json(&self) -> String {
        let mut all = self.figures.clone();
        all.insert("faults".to_owned(), Value::Object(self.faults.clone()));
        Value::Object(all).to_string()
    }

    pub(crate) fn line(&self) -> String {
        if self.is_sound() {
            return self.line.clone();
        }
        format!("{}  FAULTS: {}", self.line, Value::Object(self.faults.clone()))
    }

    pub(crate) fn print(&self) {
        eprintln!("{}", self.line());
        println!("{}", self.json());
    }
}

/// Times of the same thing, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<u32>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the usual quantiles, in milliseconds; returns the median and the 99th percentile.
    pub(crate) fn describe(mut self, name: &str, outcome: &mut Outcome) -> (f64, f64) {
        self.0.sort_unstable();
        let ms = |part: f64| f64::from(self.quantile(part)) / 1_000.0;
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
        for (quantile, part) in quantiles {
            outcome.add_rounded(&format!("{name}_{quantile}_ms"), ms(part));
        }
        (ms(0.5), ms(0.99))
    }

    fn quantile(&self, part: f64) -> u32 {
        let last = self.0.len().saturating_sub(1);
        let index = (part * self.0.len() as f64).ceil() as usize;
        self.0.get(index.saturating_sub(1).min(last)).copied().unwrap_or(0)
    }
}

/// What server and load have had of processors since this was made.
pub(crate) struct Usage {
    server: Option<(Process, Duration)>,
    load: (Process, Duration),
}

impl Usage {
    pub(crate) fn start(served: &Served) -> Result<Self, Error> {
        let since = |process: Process| process.cpu().map(|cpu| (process, cpu));
        let server = served.process.clone().map(since).transpose()?;
        Ok(Usage { server, load: since(Process::myself()?)? })
    }

    /// Adds it, and what it is for each of so many units.
    pub(crate) fn describe(&self, units: usize, outcome: &mut Outcome) -> Result<(), Error> {
        let spent = |(process, before): &(Process, Duration)| process.cpu().map(|now| (now - *before).as_secs_f64());
        outcome.add_rounded("load_cpu_s", spent(&self.load)?);
        if let Some(server) = &self.server {
            let seconds = spent(server)?;
            outcome.add_rounded("server_cpu_s", seconds);
            outcome.add_rounded("server_cpu_us_per_unit", seconds * 1e6 / units.max(1) as f64);
            outcome.add("server_memory_bytes", server.0.memory()?);
        }
        Ok(())
    }
}

/// Tells a terminal how far it is; nothing else is told.
pub(crate) struct Progress {
    is_seen: bool,
    told: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress { is_seen: std::io::stderr().is_terminal(), told: Instant::now() }
    }

    pub(crate) fn tell(&mut self, how_far: impl FnOnce() -> String) {
        if self.is_seen && self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let mut stderr = std::io::stderr();
            // Progress that cannot be shown is no reason to stop.
            let _ = write!(stderr, "\r\x1b[K{}", how_far()).and_then(|()| stderr.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_seen {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
        }
    }
}

/// Three digits.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(2 - value.abs().log10().floor() as i32);
    let rounded = (value * scale).round() / scale;
    if rounded.abs() >= 1_000.0 { rounded.round() } else { rounded }
}

/// The one in the middle, the higher of two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_added() {
        let mut times = Times::default();
        (1..=1_000_u64).rev().for_each(|us| times.add(Duration::from_micros(us)));
        let mut outcome = Outcome::new("test", "");
        assert_eq!(times.describe("x", &mut outcome), (0.5, 0.99));
        assert_eq!((outcome.figure("x_p999_ms"), outcome.figure("x_max_ms")), (0.999, 1.0));
        assert_eq!(Times::default().describe("none", &mut outcome), (0.0, 0.0));
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn a_fault_spoils_it() {
        let mut outcome = Outcome::new("test", "");
        outcome.must_be_0("missed", 0);
        assert!(outcome.is_sound());
        outcome.must_be_0("doubled", 1);
        assert!(!outcome.is_sound());
        assert!(outcome.json().contains(r#""doubled":1"#));
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([0.0, 1.0, 12_345.6, 0.012_345, 999.9].map(rounded), [0.0, 1.0, 12_300.0, 0.0123, 1_000.0]);
    }
}
