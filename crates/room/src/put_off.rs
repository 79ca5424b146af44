//! What version 1 connections hear when all that a batch's steps made is told (SPEC 12.7).
//!
//! Rows are read when the whole batch is done, and its steps tell of rows as they were in between. A page stores what comes last, and asks from
//! the newest time that it stores: what it is sent must not go back in time, nor leave out what lies before.

use std::collections::HashSet;

use partysync_model::Db;

use crate::event::{ConnectionId, Effect};
use crate::reply::{ActionReply, Reply};
use crate::step::{Outcome, Ran, Work};
use crate::{Room, SyncServer};

/// Answers with the newest rows, and what the same connections are sent of what they asked for after them.
#[derive(Default)]
pub(crate) struct PutOff {
    pub(crate) who: HashSet<ConnectionId>,
    what: Vec<Later>,
}

enum Later {
    Reply(Reply),
    Effect(Effect),
}

impl PutOff {
    pub(crate) fn push(&mut self, to: ConnectionId, reply: Reply) {
        self.who.insert(to);
        self.what.push(Later::Reply(reply));
    }

    /// Takes what was just added for those who wait.
    pub(crate) fn take_from(&mut self, effects: &mut Vec<Effect>, begin: usize) {
        if self.who.is_empty() {
            return;
        }
        for effect in effects.split_off(begin) {
            match &effect {
                Effect::Send { to, .. } | Effect::Answer { to, .. } if self.who.contains(to) => {
                    self.what.push(Later::Effect(effect))
                }
                _ => effects.push(effect),
            }
        }
    }
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Puts off the catch-ups of a batch. Who catches up lacks what is older than the batch: it is told nothing of the batch's steps, as its
    /// catch-up has it all.
    pub(crate) fn put_off_catch_ups(&mut self, replies: &mut Vec<Reply>, ran: &[Ran]) -> PutOff {
        let mut put_off = PutOff::default();
        let is_one =
            |reply: &mut Reply| matches!(reply, Reply::CatchUp { .. }) && self.reads_newest_v1(reply, ran).is_some();
        for reply in replies.extract_if(.., is_one) {
            if let Some(to) = self.reads_newest_v1(&reply, ran) {
                put_off.push(to, reply);
            }
        }
        self.connections.set_catching_up(put_off.who.clone());
        put_off
    }

    /// Tells what was put off.
    pub(crate) fn tell_put_off(&mut self, put_off: PutOff, works: &[Work], ran: &[Ran], effects: &mut Vec<Effect>) {
        self.connections.set_catching_up(HashSet::new());
        for later in put_off.what {
            match later {
                Later::Reply(reply) if reply.to(ran).is_some_and(|to| self.connections.is_closing(to)) => {}
                Later::Reply(reply) => self.reply(reply, works, ran, &put_off.who, effects),
                Later::Effect(effect) => effects.push(effect),
            }
        }
    }

    /// Who is told the newest rows in version 1's way, if somebody is. What the batch's steps tell of may be older.
    pub(crate) fn reads_newest_v1(&self, reply: &Reply, ran: &[Ran]) -> Option<ConnectionId> {
        let connection = match reply {
            Reply::V1Sync { connection, .. } | Reply::CatchUp { connection, .. } => connection,
            Reply::Volunteer(connection) if self.may_be_volunteered(*connection) => connection,
            // Its rows are read again.
            Reply::Action { connection, work, reply: ActionReply::V1 { .. } }
                if ran
                    .get(*work)
                    .is_some_and(|ran| ran.made.is_empty() && matches!(ran.outcome, Outcome::Repeated { .. })) =>
            {
                connection
            }
            _ => return None,
        };
        self.connections.get(*connection).is_some_and(|c| c.protocol.synced().is_some()).then_some(*connection)
    }
}
