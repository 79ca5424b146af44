//! What is counted, for whoever watches the server.
//!
//! By hand and not with a crate: all labels come from closed lists, so a counter is an atomic in an array, found without a lock
//! or a lookup, and Prometheus' text format is a page of code. What happens per frame is gathered in a [`Tally`] of its batch and
//! added once a batch. Nothing has a label with a room's name: there is no bound on how many there are.

mod histogram;
mod process;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use partysync_protocol::ErrorCode;
use partysync_room::Ending;

pub(crate) use histogram::Histogram;
use text::Page;

use crate::mailbox::Received;

/// Seconds that things take, from a commit on a fast disk to what users complain about. In microseconds.
const MICROS: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Frames in a batch.
const FRAMES: &[u64] = &[0, 1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Codes of [`ErrorCode`].
const CODES: usize = ErrorCode::ALL.len();

/// Something that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something of which there is more or less.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter for each error code.
#[derive(Debug, Default)]
pub(crate) struct ByCode([Counter; CODES]);

impl ByCode {
    pub(crate) fn add(&self, code: ErrorCode, count: u64) {
        if let Some(counter) = self.0.get(code as usize) {
            counter.add(count);
        }
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ErrorCode::ALL.iter().zip(&self.0).map(|(code, counter)| (code.as_str(), counter.get()))
    }
}

/// All that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) connections_opened: Counter,
    pub(crate) rooms_in_memory: Gauge,
    pub(crate) rooms_opened: Counter,
    pub(crate) rooms_evicted: Counter,
    pub(crate) rooms_hibernated: Counter,
    pub(crate) rooms_dropped: Counter,
    pub(crate) room_panics: Counter,
    /// Rooms that could not be opened, by what clients were told.
    pub(crate) open_failures: ByCode,
    pub(crate) frames_received: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) frames_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) slow_readers_fell_behind: Counter,
    pub(crate) slow_readers_caught_up: Counter,
    pub(crate) actions_applied: Counter,
    pub(crate) actions_repeated: Counter,
    pub(crate) actions_rejected: ByCode,
    pub(crate) actions_later: ByCode,
    pub(crate) alarms: Counter,
    /// What went wrong that no client is to blame for.
    pub(crate) reports: Counter,
    pub(crate) batch_frames: Histogram<{ FRAMES.len() }>,
    pub(crate) commit_micros: Histogram<{ MICROS.len() }>,
    pub(crate) frame_micros: Histogram<{ MICROS.len() }>,
}

/// What is counted while a batch is worked through.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) frames_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) frames_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) alarms: u64,
    pub(crate) reports: u64,
    /// Readers that became too slow.
    pub(crate) fell_behind: u64,
    /// Readers that were told what they missed.
    pub(crate) caught_up: u64,
}

impl Tally {
    pub(crate) fn received(&mut self, frame: &Received) {
        self.frames_received += 1;
        if let Received::Text(text) | Received::Vetted(text, _) = frame {
            self.bytes_received += text.len() as u64;
        }
    }
}

/// What became of a batch's actions.
#[derive(Debug, Default)]
pub(crate) struct ActionTally {
    applied: u64,
    repeated: u64,
    /// The others, which are few.
    refused: Vec<Ending>,
}

impl ActionTally {
    pub(crate) fn add(&mut self, ending: Ending) {
        match ending {
            Ending::Applied => self.applied += 1,
            Ending::Repeated => self.repeated += 1,
            refused => self.refused.push(refused),
        }
    }
}

/// What is known only when it is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Now {
    /// Rooms that somebody uses, or that are in memory.
    pub(crate) rooms_in_use: usize,
    /// Frames that wait for their rooms.
    pub(crate) frames_waiting: usize,
    pub(crate) is_stopping: bool,
}

impl Metrics {
    /// Adds what was counted while a batch was worked through.
    pub(crate) fn add(&self, tally: &Tally) {
        self.frames_received.add(tally.frames_received);
        self.bytes_received.add(tally.bytes_received);
        self.frames_sent.add(tally.frames_sent);
        self.bytes_sent.add(tally.bytes_sent);
        self.alarms.add(tally.alarms);
        self.reports.add(tally.reports);
        self.slow_readers_fell_behind.add(tally.fell_behind);
        self.slow_readers_caught_up.add(tally.caught_up);
        self.batch_frames.observe(FRAMES, tally.frames_received, 1);
    }

    /// Adds the actions of a batch.
    pub(crate) fn add_actions(&self, tally: &ActionTally) {
        self.actions_applied.add(tally.applied);
        self.actions_repeated.add(tally.repeated);
        for ending in &tally.refused {
            match ending {
                Ending::Rejected(code) => self.actions_rejected.add(*code, 1),
                Ending::Later(code) => self.actions_later.add(*code, 1),
                Ending::Applied | Ending::Repeated => {}
            }
        }
    }

    /// A transaction's commit took so long, most of it for the disk's sync.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit_micros.observe(MICROS, micros(took), 1);
    }

    /// So many frames had their answers handed to sockets this long after the first of their batch came.
    pub(crate) fn answered(&self, took: Duration, frames: u64) {
        self.frame_micros.observe(MICROS, micros(took), frames);
    }

    /// All of it, in Prometheus' text format.
    pub(crate) fn page(&self, now: Now) -> String {
        let mut page = Page::default();
        self.rooms_and_connections(&mut page, now);
        self.traffic(&mut page, now);
        self.work(&mut page);
        process::write(&mut page);
        page.into_text()
    }

    fn rooms_and_connections(&self, page: &mut Page, now: Now) {
        page.gauge("partysync_stopping", "1 while the server stops.", now.is_stopping.into());
        let help = "Rooms that somebody uses, or that are in memory.";
        page.gauge("partysync_rooms_in_use", help, now.rooms_in_use as u64);
        page.gauge("partysync_rooms_open", "Rooms in memory, with their file open.", self.rooms_in_memory.get());
        page.counter("partysync_rooms_opened_total", "Times that a room came into memory.", self.rooms_opened.get());
        let help = "Times that a room left memory: with no sockets, with sockets that are kept, or since it was replaced or \
                    deleted or panicked.";
        let left = [
            ("evicted", self.rooms_evicted.get()),
            ("hibernated", self.rooms_hibernated.get()),
            ("dropped", self.rooms_dropped.get()),
        ];
        page.counters("partysync_rooms_left_total", help, "how", left);
        let help = "Times that a room could not be opened, by what clients were told.";
        page.counters("partysync_room_open_failures_total", help, "code", self.open_failures.each());
        let help = "Rooms that panicked and left memory: each is a mistake of this library.";
        page.counter("partysync_room_panics_total", help, self.room_panics.get());
        page.gauge("partysync_connections", "Open sockets.", self.connections.get());
        page.counter("partysync_connections_opened_total", "Sockets ever opened.", self.connections_opened.get());
    }

    fn traffic(&self, page: &mut Page, now: Now) {
        page.counter("partysync_frames_received_total", "Frames from clients.", self.frames_received.get());
        page.counter("partysync_received_bytes_total", "Bytes in frames from clients.", self.bytes_received.get());
        page.counter("partysync_frames_sent_total", "Frames to clients, one a socket.", self.frames_sent.get());
        page.counter("partysync_sent_bytes_total", "Bytes in frames to clients.", self.bytes_sent.get());
        let help = "Frames that wait for their rooms.";
        page.gauge("partysync_frames_waiting", help, now.frames_waiting as u64);
        let help = "Readers that became too slow for what others caused, and those that were told what they missed.";
        let slow =
            [("fell_behind", self.slow_readers_fell_behind.get()), ("caught_up", self.slow_readers_caught_up.get())];
        page.counters("partysync_slow_readers_total", help, "what", slow);
        let help = "Frames that a room handled at once.";
        page.histogram("partysync_batch_frames", help, FRAMES, &self.batch_frames, 1.0);
    }

    fn work(&self, page: &mut Page) {
        let help = "Actions settled or not, by outcome.";
        page.counters(
            "partysync_actions_total",
            help,
            "outcome",
            [
                ("applied", self.actions_applied.get()),
                ("repeated", self.actions_repeated.get()),
                ("rejected", self.actions_rejected.each().map(|(_, count)| count).sum()),
                ("later", self.actions_later.each().map(|(_, count)| count).sum()),
            ],
        );
        let help = "Actions rejected for good, by error code.";
        page.counters("partysync_actions_rejected_total", help, "code", self.actions_rejected.each());
        let help = "Actions not settled, to be sent again, by error code.";
        page.counters("partysync_actions_later_total", help, "code", self.actions_later.each());
        page.counter("partysync_alarms_total", "Alarms that rang.", self.alarms.get());
        let help = "What went wrong that no client is to blame for. The log says what.";
        page.counter("partysync_reports_total", help, self.reports.get());
        let help = "From a transaction's COMMIT until it is durable.";
        page.histogram("partysync_commit_seconds", help, MICROS, &self.commit_micros, 1e6);
        let help = "From when the first frame of a batch came until all of the batch's answers are with their sockets, \
                    once for each frame of the batch: what it took, or more.";
        page.histogram("partysync_frame_seconds", help, MICROS, &self.frame_micros, 1e6);
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_code_has_its_own_counter() {
        let metrics = Metrics::default();
        for (count, code) in ErrorCode::ALL.iter().enumerate() {
            metrics.open_failures.add(*code, count as u64 + 1);
        }
        let page = metrics.page(Now::default());
        for (count, code) in ErrorCode::ALL.iter().enumerate() {
            let line = format!("partysync_room_open_failures_total{{code=\"{code}\"}} {}\n", count + 1);
            assert!(page.contains(&line), "{line}");
        }
    }
}
