//! Prometheus' text format, version 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;

use super::Histogram;

/// A page of metrics. Names, helps and labels are all of this crate: none needs escaping.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name} {value}"));
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.line(format_args!("{name} {value}"));
    }

    /// Counters of one name that differ in a label.
    pub(super) fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, u64)>,
    ) {
        self.head(name, help, "counter");
        for (which, value) in values {
            self.line(format_args!("{name}{{{label}=\"{which}\"}} {value}"));
        }
    }

    /// A histogram of values of which so many are one of the unit in its name.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[u64],
        values: &Histogram<N>,
        per_unit: f64,
    ) {
        self.head(name, help, "histogram");
        let (below, all) = values.cumulated();
        for (bound, count) in bounds.iter().zip(below) {
            self.line(format_args!("{name}_bucket{{le=\"{}\"}} {count}", *bound as f64 / per_unit));
        }
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {all}"));
        self.line(format_args!("{name}_sum {}", values.sum() as f64 / per_unit));
        self.line(format_args!("{name}_count {all}"));
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String never fails.
        let _ = writeln!(self.0, "{line}");
    }
}
