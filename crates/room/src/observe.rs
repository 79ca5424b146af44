//! What a home that measures or logs is told of steps.

use partysync_protocol::{ErrorCode, Version};

use crate::channel::ChannelTable;
use crate::reply::Reply;
use crate::step::{Outcome, Ran, Work};
use crate::{ConnectionId, Room, SyncServer};

/// Is told of a room's steps. It has no say in them.
///
/// For each step [`begins`](Self::begins), the app's code, [`ended`](Self::ended). A step whose transaction was lost begins again.
/// Then, once for all steps of a batch, when they are durable, [`settled`](Self::settled).
pub trait Observer: Send {
    /// A step is about to run.
    fn begins(&mut self, step: Begun<'_>);

    /// It ran. What is returned comes back with what became of it.
    fn ended(&mut self) -> u64;

    /// What became of the steps, in their order.
    fn settled(&mut self, steps: &mut dyn Iterator<Item = Settled>);
}

/// A step that is about to run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Begun<'a> {
    /// An action. It may hold private data.
    Action {
        /// Its channel; `None` if it is one that the room does not have.
        channel: Option<&'a str>,
        /// Its JSON.
        action: &'a str,
    },
    /// Anything else, such as an alarm. It is not among what is settled.
    Other,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The socket that sent it, if it is an action.
    pub connection: Option<ConnectionId>,
    /// How it ended.
    pub ending: Ending,
    /// The version that it made, if it made one.
    pub version: Option<Version>,
    /// What [`Observer::ended`] returned; 0 if the step did not come to its end.
    pub mark: u64,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was applied.
    Applied,
    /// It had been run before.
    Repeated,
    /// Rejected for good.
    Rejected(ErrorCode),
    /// Not settled: its sender sends it again.
    Later(ErrorCode),
}

/// A room's observer, if it has one.
#[derive(Default)]
pub(crate) struct Watch {
    observer: Option<Box<dyn Observer>>,
    /// What it returned for each step of the batch that has run.
    marks: Vec<u64>,
}

impl Watch {
    pub(crate) fn begins(&mut self, work: &Work, channels: &[ChannelTable]) {
        let Some(observer) = &mut self.observer else { return };
        observer.begins(match work {
            Work::Action(work) => Begun::Action {
                channel: work.channel.ok().and_then(|index| channels.get(index)).map(|channel| channel.name.as_str()),
                action: &work.action,
            },
            _ => Begun::Other,
        });
    }

    pub(crate) fn ended(&mut self) {
        if let Some(observer) = &mut self.observer {
            self.marks.push(observer.ended());
        }
    }

    /// A step did not come to its end.
    pub(crate) fn failed(&mut self) {
        self.marks.push(0);
    }

    /// How many steps have run.
    pub(crate) fn len(&self) -> usize {
        self.marks.len()
    }

    /// The steps after so many will run again, or have failed.
    pub(crate) fn forget_after(&mut self, len: usize) {
        self.marks.truncate(len);
    }

    pub(crate) fn settled(&mut self, replies: &[Reply], ran: &[Ran]) {
        if let Some(observer) = &mut self.observer
            && !ran.is_empty()
        {
            let marks = &self.marks;
            let mut steps = replies.iter().filter_map(|reply| {
                let Reply::Action { connection, work, .. } = reply else { return None };
                let mark = marks.get(*work).copied().unwrap_or_default();
                Some(settled(Some(*connection), ran.get(*work)?, mark))
            });
            observer.settled(&mut steps);
        }
        self.marks.clear();
    }
}

fn settled(connection: Option<ConnectionId>, ran: &Ran, mark: u64) -> Settled {
    let code = |code: &str| ErrorCode::from_code(code).unwrap_or(ErrorCode::AppError);
    let ending = match &ran.outcome {
        Outcome::Applied { .. } => Ending::Applied,
        Outcome::Repeated { .. } => Ending::Repeated,
        Outcome::Rejected(error) => Ending::Rejected(code(&error.code)),
        Outcome::Unsettled(error) => Ending::Later(code(&error.code)),
    };
    let own = matches!(ran.outcome, Outcome::Applied { own: true, .. });
    let version = ran.made.last().filter(|_| own).map(|made| made.head.cursor.version);
    Settled { connection, ending, version, mark }
}

impl<S: SyncServer, D: partysync_model::Db> Room<S, D> {
    /// From now on an observer is told of actions. There is one at most.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.watch.observer = Some(observer);
    }
}
