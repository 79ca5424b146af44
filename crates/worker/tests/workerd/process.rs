//! A workerd of our own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long workerd may take to say its port, or to say what it is waited for.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs until it is dropped.
pub(crate) struct Workerd {
    child: Child,
    output: Receiver<String>,
    pub(crate) port: u16,
}

impl Workerd {
    /// Starts it with the bundle that a variable names, and its data in a folder.
    pub(crate) fn start(bundle: &str, disk: &Path) -> Self {
        let started = Instant::now();
        let binary = wanted("PARTYSYNC_WORKERD", "the workerd program");
        let config = wanted(bundle, "the folder of the bundle").join("config.capnp");
        fs::create_dir_all(disk).unwrap();
        let mut child = Command::new(&binary)
            .args(["serve", "--experimental", "--control-fd=1"])
            .arg(format!("--directory-path=disk={}", disk.display()))
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()));
        let (sender, output) = channel();
        let readers: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for reader in readers {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    // cargo shows it if the test fails.
                    println!("workerd: {line}");
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let mut workerd = Workerd { child, output, port: 0 };
        workerd.port = workerd.wait_for(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            if message["event"] == "listen" { message["port"].as_u64()?.try_into().ok() } else { None }
        });
        println!("workerd was ready after {:?}", started.elapsed());
        workerd
    }

    /// Waits for a line of its output that says what is wanted.
    pub(crate) fn wait_for<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("workerd did not say it within {LIMIT:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("workerd ended: {:?}", self.child.wait()),
            }
        }
    }
}

impl Workerd {
    /// Kills it at once. What it answered must be on disk.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Workerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wanted(variable: &str, what: &str) -> PathBuf {
    let Some(path) = env::var_os(variable) else {
        panic!("{variable} must name {what}: run scripts/test-worker");
    };
    let path = PathBuf::from(path);
    assert!(path.exists(), "{variable}: {} is not there", path.display());
    path
}
