//! How a server is told to stop, and what it says when it cannot.

use std::fmt;
use std::io;
use std::time::Duration;

use partysync_room::RoomName;

/// Rooms that a [`StopError`] names. The rest is counted.
const ROOMS_NAMED: usize = 10;

/// Exit code of a program that a second Ctrl-C ended at once, as shells have it.
const INTERRUPTED: i32 = 130;

/// Is ready at the first Ctrl-C or SIGTERM. At the second the program ends at once, with exit code 130.
///
/// The signals are caught from the moment this is called, and for as long as the program lives.
///
/// # Errors
///
/// The operating system cannot say when they come.
///
/// # Panics
///
/// Outside of a tokio runtime that does IO.
#[cfg(unix)]
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        either(&mut interrupt, &mut terminate).await;
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            std::process::exit(INTERRUPTED);
        });
    })
}

#[cfg(unix)]
async fn either(one: &mut tokio::signal::unix::Signal, other: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// Is ready at the first Ctrl-C. At the second the program ends at once, with exit code 130.
///
/// # Errors
///
/// None so far; on Unix the operating system may not be able to say when signals come.
#[cfg(not(unix))]
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        // It fails if nothing can be waited for: then there is nothing to stop at.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(INTERRUPTED);
            }
        });
    })
}

/// What a server has in use: what it waits for when it stops. `Display` says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InUse {
    /// Rooms that somebody uses, or that are still in memory.
    pub rooms: usize,
    /// Open sockets.
    pub connections: usize,
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InUse { rooms, connections } = self;
        let s = |count: &usize| if *count == 1 { "" } else { "s" };
        write!(f, "finishing {rooms} room{}, closing {connections} connection{}", s(rooms), s(connections))
    }
}

/// A server could not stop in time. What was acked is durable all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stopping took longer than {} s: {}", .within.as_secs_f32(), in_words(.rooms))]
#[non_exhaustive]
pub struct StopError {
    /// How long it was waited.
    pub within: Duration,
    /// The rooms that are not out of memory, and how many connections each has. One without any is still at work.
    pub rooms: Vec<(RoomName, usize)>,
}

fn in_words(rooms: &[(RoomName, usize)]) -> String {
    let mut words: Vec<String> = rooms
        .iter()
        .take(ROOMS_NAMED)
        .map(|(name, uses)| match uses {
            0 => format!("{name} is still at work"),
            uses => format!("{name} is still in use by {uses}"),
        })
        .collect();
    if rooms.len() > ROOMS_NAMED {
        words.push(format!("and {} rooms more", rooms.len() - ROOMS_NAMED));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_named_and_the_rest_is_counted() {
        let rooms = |n: usize| (0..n).map(|i| (RoomName::new("todos", &i.to_string()), i)).collect();
        let error = |n| StopError { within: Duration::from_secs(30), rooms: rooms(n) }.to_string();
        let two = "stopping took longer than 30 s: todos/0 is still at work, todos/1 is still in use by 1";
        assert_eq!(error(2), two);
        assert!(error(12).ends_with("todos/9 is still in use by 9, and 2 rooms more"), "{}", error(12));
    }
}
