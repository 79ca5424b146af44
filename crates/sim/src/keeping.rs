//! How much a room keeps, and for how long (P8).

use partysync_protocol::Millis;
use partysync_protocol::limits::{self, DAY_MS};

use crate::checks::{Checked, Ledger, Promise, Violation, ensure};
use crate::frames::Heard;
use crate::look::Kept;

/// How often a room purges.
const PURGE_EVERY_MS: Millis = DAY_MS;

impl Ledger {
    /// A client that the room has dropped begins anew if its device has forgotten all that it did, so that it joins as if it were just born.
    pub(crate) fn forget_dropped(&mut self, kept: &Kept) {
        if !self.may_have_passed(limits::CLIENT_DAYS) {
            return;
        }
        let freed = &mut self.history.freed;
        let before = freed.len();
        freed.retain(|client, _| kept.clients.contains_key(client));
        self.counts.dropped += (before - freed.len()) as u64;
    }

    /// The disk failed in this batch. A room that cannot read what is settled takes a `have` for one that was not said (SPEC 6.6).
    pub(crate) fn may_have_missed_haves(&mut self) {
        self.connections.values_mut().for_each(Heard::forget_haves);
    }

    /// P8: no outcome is kept that nobody will ask for, and nothing that the last purge had to take.
    pub(crate) fn check_kept(&self, kept: &Kept) -> Checked {
        for rejection in &kept.rejections {
            let Some(client) = &rejection.client else {
                return Err(Violation {
                    promise: Promise::P8,
                    what: format!("an outcome of nobody is kept: {rejection:?}"),
                });
            };
            let is_settled = rejection.number <= rejection.last;
            ensure!(is_settled, P4, "an outcome is kept of a number that counts as open: {rejection:?}");
            let freed = self.history.freed.get(client).copied().unwrap_or(0);
            let is_needed = rejection.number > freed
                && rejection.number > rejection.forgotten
                && rejection.number + limits::OUTCOMES_KEPT > rejection.last;
            ensure!(
                is_needed,
                P8,
                "an outcome is kept that nobody asks for; the client has them up to {freed}: {rejection:?}"
            );
        }
        Ok(())
    }

    /// P8: after a batch that nothing went wrong in, the purge is not due; and if it was, it took all that it had to.
    pub(crate) fn check_purge(&self, kept: &Kept, now: Millis) -> Checked {
        ensure!(kept.purge_at.is_none_or(|at| at > now), P8, "the purge was due at {:?}", kept.purge_at);
        // Before the first purge nothing had to go.
        let is_fresh = kept.purge_at == Some(now + PURGE_EVERY_MS) && kept.was_purged;
        if !is_fresh {
            return Ok(());
        }
        let too_old = |days: i64| move |at: &Millis| *at < now - days * DAY_MS;
        let rejection = kept.rejections.iter().map(|rejection| rejection.at).find(too_old(limits::OUTCOME_DAYS));
        ensure!(rejection.is_none(), P8, "an outcome of {rejection:?} is kept after a purge at {now}");
        let client = kept.clients.values().copied().find(too_old(limits::CLIENT_DAYS));
        ensure!(client.is_none(), P8, "a client of {client:?} is kept after a purge at {now}");
        // The floor itself may be older: it is the last version that is.
        let below = kept.log.iter().skip(1).find(|(_, at)| too_old(limits::LOG_DAYS)(at));
        ensure!(below.is_none(), P8, "the log has {below:?} above its floor after a purge at {now}");
        let lowest = kept.log.first().map(|(version, _)| *version);
        ensure!(lowest == Some(kept.floor), P8, "the floor is {}, the log begins at {lowest:?}", kept.floor);
        ensure!(kept.puts_below == 0, P8, "{} puts below the floor are kept", kept.puts_below);
        Ok(())
    }
}
