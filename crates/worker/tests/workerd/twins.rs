//! The same script on both homes.

use std::fs;
use std::path::PathBuf;

use partysync_sqlite::{Options, SqliteDb};

use crate::http::post;
use crate::process::Workerd;
use crate::script::{Home, Line};

/// The variable that names the worker which runs scripts.
const BUNDLE: &str = "PARTYSYNC_WORKER_BUNDLE";

/// A room natively, and its twin in workerd.
pub(crate) struct Twins {
    name: &'static str,
    folder: PathBuf,
    native: Home<SqliteDb>,
    workerd: Workerd,
}

impl Twins {
    /// Two rooms with nothing in them.
    pub(crate) fn new(name: &'static str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let workerd = Workerd::start(BUNDLE, &folder.join("disk"));
        let native = native(&folder);
        Twins { name, folder, native, workerd }
    }

    /// Runs an event on both, and returns what both said.
    pub(crate) fn run(&mut self, lines: impl Fn() -> Vec<Line>) -> Vec<String> {
        let found = self.run_worker(lines());
        let expected = self.run_native(lines());
        for (line, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "workerd (left) and the native home differ in line {line}");
        }
        assert_eq!(found.len(), expected.len(), "workerd: {found:#?}, natively: {expected:#?}");
        found
    }

    /// Runs an event natively alone.
    pub(crate) fn run_native(&mut self, lines: Vec<Line>) -> Vec<String> {
        self.native.run(lines)
    }

    /// Runs an event in workerd alone.
    pub(crate) fn run_worker(&self, lines: Vec<Line>) -> Vec<String> {
        let (status, body) = self.post("", &lines);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Runs an event in workerd whose answer does not arrive. Returns what it said on its console.
    pub(crate) fn run_aloud(&mut self, lines: Vec<Line>) -> Vec<String> {
        let (status, body) = self.post("?aloud", &lines);
        assert_eq!(status, 500, "{body}");
        let mut said = Vec::new();
        loop {
            let line = self.workerd.wait_for(|line| line.split_once("SAID ").map(|(_, said)| said.to_owned()));
            if line == "ALL" {
                return said;
            }
            said.push(line);
        }
    }

    fn post(&self, query: &str, lines: &[Line]) -> (u16, String) {
        let body = serde_json::to_string(lines).unwrap();
        post(self.workerd.port, &format!("/{}{query}", self.name), &body).unwrap()
    }

    /// Kills workerd and starts it again on what is on disk; the native room leaves memory.
    pub(crate) fn restart(&mut self) {
        // Its file is locked until it is dropped.
        drop(std::mem::replace(&mut self.native, Home::new(|| unreachable!())));
        self.workerd.stop();
        self.workerd = Workerd::start(BUNDLE, &self.folder.join("disk"));
        self.native = native(&self.folder);
    }
}

fn native(folder: &std::path::Path) -> Home<SqliteDb> {
    let path = folder.join("native.db");
    Home::new(move || SqliteDb::open(&path, &Options::default()))
}
