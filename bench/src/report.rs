//! Cost against listeners, rows and rooms: runs each point several times, and keeps the medians.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::chart::{Chart, Line, label};
use crate::error::Error;
use crate::options::{Fanout, Join, Load, Report, Target};
use crate::process;
use crate::result::{Outcome, median, rounded};
use crate::scenario;

const LISTENERS: [usize; 4] = [1, 10, 100, 1_000];
/// Actions a second, while listeners listen.
const LISTENERS_RATE: f64 = 20.0;
const ROWS: [usize; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
/// Clients that join one after the other: the first makes the server read the rows, the others find them read.
const JOINERS: usize = 5;
const ROOMS: [usize; 4] = [1, 10, 100, 1_000];
/// Actions in flight of the one client in each room.
const ROOMS_IN_FLIGHT: usize = 4;
/// Seconds of load before anything counts.
const WARMUP: f64 = 1.0;

/// One of the three questions, answered.
struct Answer {
    file: &'static str,
    title: &'static str,
    /// What is varied.
    x: &'static str,
    y: &'static str,
    /// The figures that are drawn: names for people, and in outcomes.
    lines: &'static [(&'static str, &'static str)],
    /// The figures that are in the table too.
    columns: &'static [(&'static str, &'static str)],
    how: String,
    /// x, and the medians of lines and columns.
    points: Vec<(usize, Vec<f64>)>,
}

/// Returns whether all that must be 0 was.
pub(crate) fn run(report: &Report) -> Result<bool, Error> {
    let failed = |error| Error::File(report.out.clone(), error);
    fs::create_dir_all(&report.out).map_err(failed)?;
    let mut runs = Runs { report, target: target(report), lines: String::new(), sound: true };
    let answers = [listeners(&mut runs)?, rows(&mut runs)?, rooms(&mut runs)?];
    let (lines, sound) = (runs.lines, runs.sound);
    let mut tables = conditions(report).join(" ") + "\n";
    for answer in &answers {
        write(&report.out, answer.file, &answer.chart(report).svg())?;
        tables.push_str(&answer.table());
    }
    write(&report.out, "results.jsonl", &lines)?;
    write(&report.out, "tables.md", &tables)?;
    println!("{tables}");
    eprintln!("charts, tables and results are in {}", report.out.display());
    Ok(sound)
}

/// What all points have in common.
struct Runs<'r> {
    report: &'r Report,
    target: Target,
    /// All results, a line of JSON each.
    lines: String,
    sound: bool,
}

impl Runs<'_> {
    /// Runs a point as often as it is to be; returns the median of each figure.
    fn medians(
        &mut self,
        names: impl Iterator<Item = &'static str>,
        run: impl Fn(&Target) -> Result<Outcome, Error>,
    ) -> Result<Vec<f64>, Error> {
        let mut outcomes = Vec::new();
        for _ in 0..self.report.runs.max(1) {
            let outcome = run(&self.target)?;
            eprintln!("{}", outcome.line());
            let _ = writeln!(self.lines, "{}", outcome.json());
            self.sound &= outcome.is_sound();
            outcomes.push(outcome);
        }
        Ok(names.map(|name| median(outcomes.iter().map(|outcome| outcome.figure(name)))).collect())
    }

    fn load(&self, rows: usize, in_flight: usize) -> Load {
        Load { clients: 1, in_flight, seconds: self.report.seconds, warmup: WARMUP, rows, unsynced: true }
    }

    /// The points to run.
    fn up_to_most(&self, all: &[usize]) -> Vec<usize> {
        all.iter().copied().filter(|x| *x <= self.report.most).collect()
    }
}

fn listeners(runs: &mut Runs<'_>) -> Result<Answer, Error> {
    let mut answer = Answer {
        file: "listeners.svg",
        title: "What listeners cost",
        x: "listeners of one room",
        y: "time (ms)",
        lines: &[
            ("delivery, median (ms)", "delivery_p50_ms"),
            ("delivery, 99th percentile (ms)", "delivery_p99_ms"),
            ("ack to the writer, median (ms)", "ack_p50_ms"),
        ],
        columns: &[
            ("server's CPU an action (us)", "server_cpu_us_per_unit"),
            ("and a delivery (us)", "server_cpu_us_per_delivery"),
        ],
        how: format!("One writer, {LISTENERS_RATE} actions a second; from its send to a listener's receipt."),
        points: Vec::new(),
    };
    for count in runs.up_to_most(&LISTENERS) {
        let fanout = Fanout { listeners: count, rate: LISTENERS_RATE, seconds: runs.report.seconds, warmup: WARMUP };
        let medians = runs.medians(answer.names(), |target| scenario::fanout::run(target, &fanout))?;
        answer.points.push((count, medians));
    }
    Ok(answer)
}

fn rows(runs: &mut Runs<'_>) -> Result<Answer, Error> {
    let mut answer = Answer {
        file: "rows.svg",
        title: "What rows cost",
        x: "rows in the room",
        y: "time (ms)",
        lines: &[
            ("joining, the slowest (ms)", "sync_max_ms"),
            ("joining, median (ms)", "sync_p50_ms"),
            ("one action in the full room, median (ms)", "ack_p50_ms"),
        ],
        columns: &[("a join's bytes", "bytes"), ("server's memory (bytes)", "server_memory_bytes")],
        how: format!(
            "{JOINERS} clients join one after the other; one client acts, one action in flight, {} s.",
            runs.report.seconds
        ),
        points: Vec::new(),
    };
    for count in runs.up_to_most(&ROWS) {
        let join = Join { rows: count, clients: JOINERS, one_by_one: true, changes: 0 };
        let names = |wanted: &[&str]| answer.names().filter(|name| wanted.contains(name)).collect::<Vec<_>>();
        let of_joins = names(&["sync_max_ms", "sync_p50_ms", "bytes", "server_memory_bytes"]);
        let joins = runs.medians(of_joins.into_iter(), |target| scenario::join::run(target, &join))?;
        let load = runs.load(count, 1);
        let acks = runs.medians(std::iter::once("ack_p50_ms"), |target| scenario::actions::run(target, &load, 1))?;
        let medians = [&joins[..2], &acks[..], &joins[2..]].concat();
        answer.points.push((count, medians));
    }
    Ok(answer)
}

fn rooms(runs: &mut Runs<'_>) -> Result<Answer, Error> {
    let mut answer = Answer {
        file: "rooms.svg",
        title: "What rooms cost",
        x: "rooms at work",
        y: "actions a second; time (ms)",
        lines: &[
            ("actions a second, all rooms", "actions_per_s"),
            ("ack, median (ms)", "ack_p50_ms"),
            ("ack, 99th percentile (ms)", "ack_p99_ms"),
        ],
        columns: &[
            ("server's CPU an action (us)", "server_cpu_us_per_unit"),
            ("server's memory (bytes)", "server_memory_bytes"),
        ],
        how: format!("One client a room, {ROOMS_IN_FLIGHT} actions in flight each, {} s.", runs.report.seconds),
        points: Vec::new(),
    };
    for count in runs.up_to_most(&ROOMS) {
        let load = runs.load(0, ROOMS_IN_FLIGHT);
        let medians = runs.medians(answer.names(), |target| scenario::actions::run(target, &load, count))?;
        answer.points.push((count, medians));
    }
    Ok(answer)
}

impl Answer {
    /// The figures' names in outcomes.
    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.lines.iter().chain(self.columns).map(|(_, name)| *name)
    }

    fn chart(&self, report: &Report) -> Chart<'static> {
        let line = |(index, (name, _)): (usize, &(&'static str, &'static str))| Line {
            name,
            points: self.points.iter().map(|(x, medians)| (*x as f64, medians[index])).collect(),
        };
        Chart {
            title: self.title,
            x: self.x,
            y: self.y,
            lines: self.lines.iter().enumerate().map(line).collect(),
            caption: std::iter::once(self.how.clone()).chain(conditions(report)).collect(),
        }
    }

    fn table(&self) -> String {
        let mut table = format!("\n## {}\n\n{}\n\n| {} |", self.title, self.how, self.x);
        for (name, _) in self.lines.iter().chain(self.columns) {
            let _ = write!(table, " {name} |");
        }
        let columns = self.lines.len() + self.columns.len();
        let _ = writeln!(table, "\n|{}", " --- |".repeat(columns + 1));
        for (x, medians) in &self.points {
            let _ = write!(table, "| {} |", label(*x as f64));
            for median in medians {
                let _ = write!(table, " {} |", label(rounded(*median)));
            }
            table.push('\n');
        }
        table
    }
}

/// The same for each point, for a caption: two lines.
fn conditions(report: &Report) -> [String; 2] {
    let build = if cfg!(debug_assertions) { "debug build: of no use" } else { "release build" };
    [
        format!(
            "Median of {} runs, {build}, version 1 of the protocol, each action durable on disk.",
            report.runs.max(1)
        ),
        format!("Server and load, a process each, share one machine: {}.", process::machine()),
    ]
}

fn target(report: &Report) -> Target {
    Target { data: report.data.clone(), party: "todos".to_owned(), text_bytes: 32, ..Target::default() }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Error> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| Error::File(path, error))
}
