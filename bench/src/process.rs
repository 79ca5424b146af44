//! What a process costs, as Linux tells it.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

#[cfg(target_os = "linux")]
use nix::{time::ClockId, unistd::Pid};

use crate::error::Error;

/// A process that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pid: u32,
    folder: PathBuf,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Result<Self, Error> {
        let process = Process { pid, folder: PathBuf::from(format!("/proc/{pid}")) };
        process.cpu().map(|_| process)
    }

    pub(crate) fn myself() -> Result<Self, Error> {
        Self::new(std::process::id())
    }

    /// Time that it has had of processors, the user's and the system's.
    pub(crate) fn cpu(&self) -> Result<Duration, Error> {
        cpu(self.pid).map_err(|error| Error::File(self.folder.clone(), error))
    }

    /// Memory that it has now, in bytes.
    pub(crate) fn memory(&self) -> Result<u64, Error> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024)
    }

    /// Files and sockets that it has open.
    pub(crate) fn descriptors(&self) -> Result<usize, Error> {
        let path = self.folder.join("fd");
        fs::read_dir(&path).map(Iterator::count).map_err(|error| Error::File(path, error))
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(|error| Error::File(path, error))
    }
}

/// By the process's own clock, which counts nanoseconds: the times in `/proc` count hundredths of a second.
#[cfg(target_os = "linux")]
fn cpu(pid: u32) -> io::Result<Duration> {
    let pid = Pid::from_raw(pid.try_into().map_err(io::Error::other)?);
    Ok(ClockId::pid_cpu_clock_id(pid)?.now()?.into())
}

#[cfg(not(target_os = "linux"))]
fn cpu(_: u32) -> io::Result<Duration> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Files below a folder, and the bytes that they take up.
pub(crate) fn disk(folder: &Path) -> Result<(usize, u64), Error> {
    let failed = |error| Error::File(folder.to_owned(), error);
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_dir() {
            let (more_files, more_bytes) = disk(&entry.path())?;
            (files, bytes) = (files + more_files, bytes + more_bytes);
        } else {
            files += 1;
            // One that was removed meanwhile takes up nothing.
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok((files, bytes))
}

/// The processors, for a caption.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    format!("{cores} cores of {}", model.trim_start_matches([' ', '\t', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_descriptors_and_takes_time() {
        let me = Process::myself().unwrap();
        assert!(me.memory().unwrap() > 100_000);
        assert!(me.descriptors().unwrap() >= 3);
        let before = me.cpu().unwrap();
        while me.cpu().unwrap() < before + Duration::from_millis(20) {
            std::hint::spin_loop();
        }
    }
}
