//! What is kept for how long (SPEC 7.1 to 7.4). Purging changes no row that a client sees, and no version.

use partysync_model::{Db, DbError, Value, Verdict, quote};
use partysync_protocol::limits::{self, DAY_MS};
use partysync_protocol::{Millis, Version};

use crate::outbox::OUTBOX;
use crate::step::ALARM;
use crate::store::{self, Head, version_value};
use crate::{Room, SyncServer};

/// The name of the purge's timer.
const PURGE: &str = "purge";

/// What [`Room::dropped`](crate::Room) is stored as.
const DROPPED: &str = "dropped";

/// How often it runs in a room that has something to purge.
const PURGE_EVERY_MS: Millis = DAY_MS;

/// Versions past [`limits::LOG_VERSIONS`] that make it run at once.
const LOG_SLACK: u64 = limits::LOG_VERSIONS / 10;

/// Rows marked deleted that one purge removes; the next one takes the rest.
const MARKED_ROWS: i64 = 1_000;

/// The room's timers as they are stored, read when they are needed and not known.
#[derive(Debug, Default)]
pub(crate) struct Timers(Option<Stored>);

#[derive(Debug, Clone, Copy)]
struct Stored {
    alarm: Option<Millis>,
    purge: Option<Millis>,
    outbox: Option<Millis>,
}

impl Timers {
    /// They were, or may have been, changed; also when the change was undone.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }

    fn read(&mut self, db: &mut dyn Db) -> Result<Stored, DbError> {
        if let Some(stored) = self.0 {
            return Ok(stored);
        }
        let timer = |db: &mut dyn Db, name| store::timer(db, name);
        let stored = Stored { alarm: timer(db, ALARM)?, purge: timer(db, PURGE)?, outbox: timer(db, OUTBOX)? };
        self.0 = Some(stored);
        Ok(stored)
    }

    /// When the outbox's first item is due.
    pub(crate) fn outbox(&mut self, db: &mut dyn Db) -> Result<Option<Millis>, DbError> {
        Ok(self.read(db)?.outbox)
    }
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// The earliest time at which this room wants to be woken.
    pub(crate) fn next_wake(&mut self) -> Result<Option<Millis>, DbError> {
        let Stored { alarm, purge, outbox } = self.timers.read(&mut self.db)?;
        let outbox = self.outbox_wake(outbox);
        let alarm = alarm.map(|at| self.alarm_retry_at.map_or(at, |retry_at| at.max(retry_at)));
        Ok([purge, alarm, outbox].into_iter().flatten().min())
    }
}

/// Purges if it is due, and makes sure that it will be.
pub(crate) fn schedule<S: SyncServer, D: Db>(room: &mut Room<S, D>) -> Result<(), DbError> {
    let overflow = room.head.cursor.version - room.floor > limits::LOG_VERSIONS + LOG_SLACK;
    let now = room.input.now;
    match room.timers.read(&mut room.db)?.purge {
        Some(at) if at > now && !overflow => return Ok(()),
        None if room.head.cursor.version == 0 && !has_guests(&mut room.db)? => return Ok(()),
        None if !overflow => {
            room.timers.forget();
            return store::set_timer(&mut room.db, PURGE, Some(now + PURGE_EVERY_MS));
        }
        _ => {}
    }
    room.timers.forget();
    let Room { db, channels, head, floor, .. } = room;
    let mut result = Ok(*floor);
    db.transaction(&mut |db| {
        let names = channels.iter().map(|c| c.name.as_str());
        result = purge(db, names, *head, *floor, now);
        if result.is_ok() { Verdict::Keep } else { Verdict::Undo }
    })?;
    room.floor = result?;
    room.dropped = store::meta_version(&mut room.db, DROPPED)?;
    room.connections.age_all();
    // The log may not lead on from it any more, nor from when a client was born that joins by it.
    room.snapshots.forget();
    // Handles of dropped clients must not be used again.
    room.clients.forget();
    room.away.forget_before(now - limits::AWAY_DAYS * DAY_MS);
    Ok(())
}

/// Whether a room that no step has changed yet keeps something all the same: who sent it an action that came to nothing, and who was
/// connected.
fn has_guests(db: &mut dyn Db) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM _client UNION ALL SELECT 1 FROM _away LIMIT 1";
    store::first(db, sql, &[], |_| ()).map(|found| found.is_some())
}

/// Purges everything; returns the new floor.
fn purge<'c>(
    db: &mut dyn Db,
    channels: impl Iterator<Item = &'c str>,
    head: Head,
    floor: Version,
    now: Millis,
) -> Result<Version, DbError> {
    for channel in channels {
        remove_marked(db, channel, head, now)?;
    }
    let yesterday = last_version_at(db, floor, head, now - limits::TOMBSTONE_PAYLOAD_DAYS * DAY_MS)?;
    blank_payloads(db, yesterday)?;
    let by_count = head.cursor.version.saturating_sub(limits::LOG_VERSIONS);
    let by_age = last_version_at(db, floor, head, now - limits::LOG_DAYS * DAY_MS)?;
    let floor = by_count.max(by_age).max(floor);
    trim_log(db, floor)?;
    trim_clients(db, now)?;
    store::forget_away(db, now - limits::AWAY_DAYS * DAY_MS)?;
    store::set_timer(db, PURGE, Some(now + PURGE_EVERY_MS))?;
    Ok(floor)
}

/// Removes rows that raw SQL marked deleted a day ago. One whose removal would change other rows stays: only an action
/// may change what clients see.
fn remove_marked(db: &mut dyn Db, channel: &str, head: Head, now: Millis) -> Result<(), DbError> {
    let table = quote(channel);
    let before = now - limits::TOMBSTONE_PAYLOAD_DAYS * DAY_MS;
    let sql = format!("SELECT id FROM {table} WHERE deleted_at IS NOT NULL AND deleted_at <= ? LIMIT ?");
    let ids = store::all(db, &sql, &[before.into(), MARKED_ROWS.into()], |row| row.value(0).to_owned())?;
    let delete = format!("DELETE FROM {table} WHERE id = ?");
    let next = head.cursor.version + 1;
    for id in ids {
        db.transaction(&mut |db| {
            let alone = store::run(db, &delete, std::slice::from_ref(&id))
                .and_then(|()| store::changes_of(db, next))
                .is_ok_and(|changes| changes.len() == 1);
            let uncaptured =
                alone && store::run(db, "DELETE FROM _change WHERE version = ?", &[version_value(next)]).is_ok();
            if uncaptured { Verdict::Keep } else { Verdict::Undo }
        })?;
    }
    Ok(())
}

/// Payloads of actions go with the rows they made (SPEC 7.3).
fn blank_payloads(db: &mut dyn Db, until: Version) -> Result<(), DbError> {
    let purged = match store::meta(db, "purged")? {
        Some(Value::Integer(purged)) => purged,
        _ => 0,
    };
    let sql = "UPDATE _log SET action = NULL WHERE action IS NOT NULL AND version IN ( \
               SELECT c.version FROM ( \
               SELECT channel, id, max(version) AS died FROM _change \
               WHERE op = 1 AND version > ?1 AND version <= ?2 GROUP BY channel, id) AS dead \
               JOIN _change AS c ON c.channel = dead.channel AND c.id = dead.id AND c.version <= dead.died)";
    store::run(db, sql, &[purged.into(), version_value(until)])?;
    store::set_meta(db, "purged", version_value(until))
}

/// Drops what lies below the floor (SPEC 7.3), but for the newest tombstones (SPEC 7.4).
fn trim_log(db: &mut dyn Db, floor: Version) -> Result<(), DbError> {
    store::forget_puts(db, floor)?;
    let floor = version_value(floor);
    store::run(db, "DELETE FROM _log WHERE version < ?", std::slice::from_ref(&floor))?;
    let sql = "DELETE FROM _change WHERE op = 1 AND version <= ?1 AND version < ( \
               SELECT version FROM _change WHERE op = 1 ORDER BY version DESC LIMIT 1 OFFSET ?2)";
    store::run(db, sql, &[floor.clone(), (limits::TOMBSTONES as i64 - 1).into()])?;
    store::set_meta(db, "floor", floor)
}

/// Drops outcomes and clients that are too old (SPEC 6.6, 6.7, 12.8).
fn trim_clients(db: &mut dyn Db, now: Millis) -> Result<(), DbError> {
    let days = |days: i64| Value::Integer(now - days * DAY_MS);
    let outcomes = [days(limits::OUTCOME_DAYS)];
    let clients = [days(limits::CLIENT_DAYS)];
    // A number whose rejection is dropped must not look applied.
    let sql = "UPDATE _client SET forgotten = max(forgotten, coalesce( \
               (SELECT max(number) FROM _reject WHERE _reject.handle = _client.handle AND at < ?), 0))";
    store::run(db, sql, &outcomes)?;
    // After the clock was set back an older number may have a later time.
    let sql = "DELETE FROM _reject WHERE at < ? OR number <= \
               (SELECT forgotten FROM _client WHERE _client.handle = _reject.handle)";
    store::run(db, sql, &outcomes)?;
    store::run(db, "DELETE FROM _call WHERE at < ?", &[days(limits::CALL_DAYS)])?;
    // Who was born later cannot have been dropped (SPEC 6.7).
    let newest =
        store::first(db, "SELECT max(born) FROM _client WHERE seen_at < ?", &clients, |row| row.value(0).to_owned())?;
    if let Some(Value::Integer(newest)) = newest {
        let before = store::meta_version(db, DROPPED)?.unwrap_or(0);
        store::set_meta(db, DROPPED, version_value(before.max(newest.unsigned_abs())))?;
    }
    for table in ["_reject", "_call"] {
        let sql = format!("DELETE FROM {table} WHERE handle IN (SELECT handle FROM _client WHERE seen_at < ?)");
        store::run(db, &sql, &clients)?;
    }
    // Their handles will be given to others. The floor's entry outlives them.
    let sql = "UPDATE _log SET client = NULL WHERE client IN (SELECT handle FROM _client WHERE seen_at < ?)";
    store::run(db, sql, &clients)?;
    store::run(db, "DELETE FROM _client WHERE seen_at < ?", &clients)
}

/// The last version made at a time or before it; the floor if none was.
fn last_version_at(db: &mut dyn Db, floor: Version, head: Head, time: Millis) -> Result<Version, DbError> {
    if head.at <= time {
        return Ok(head.cursor.version);
    }
    // at(high) > time.
    let (mut low, mut high) = (floor, head.cursor.version);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match store::head_at(db, middle)? {
            Some(entry) if entry.at > time => high = middle,
            _ => low = middle,
        }
    }
    Ok(low)
}
