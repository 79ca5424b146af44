//! Reading a room's tables from outside.

use std::collections::BTreeMap;

use partysync_model::{Columns, Db, DbError, Origin, Value, push_row};
use partysync_protocol::Version;

/// A row of the app's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) nonce: u64,
    pub(crate) made: Option<String>,
    pub(crate) at: i64,
}

/// A row of the log.
pub(crate) struct Logged {
    pub(crate) version: Version,
    pub(crate) stamp: i64,
    pub(crate) at: i64,
    pub(crate) action: Option<String>,
}

fn rows<T>(
    db: &mut dyn Db,
    sql: &str,
    params: &[Value],
    mut read: impl FnMut(&dyn Columns) -> T,
) -> Result<Vec<T>, DbError> {
    let mut all = Vec::new();
    db.query(Origin::Engine, sql, params, &mut |row| all.push(read(row)))?;
    Ok(all)
}

fn integer(row: &dyn Columns, index: usize) -> i64 {
    match row.value(index).to_owned() {
        Value::Integer(integer) => integer,
        _ => 0,
    }
}

fn text(row: &dyn Columns, index: usize) -> Option<String> {
    match row.value(index).to_owned() {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The journal's entries after so many.
pub(crate) fn journal(db: &mut dyn Db, from: usize) -> Result<Vec<Entry>, DbError> {
    let sql = "SELECT nonce, made, at FROM journal WHERE seq > ? ORDER BY seq";
    rows(db, sql, &[(from as i64).into()], |row| Entry {
        nonce: integer(row, 0) as u64,
        made: text(row, 1),
        at: integer(row, 2),
    })
}

/// The log from a version on.
pub(crate) fn log(db: &mut dyn Db, from: Version) -> Result<Vec<Logged>, DbError> {
    // The one before too: what follows is compared with it.
    let from = from.saturating_sub(1) as i64;
    let sql = "SELECT version, stamp, at, action FROM _log WHERE version >= ? ORDER BY version";
    rows(db, sql, &[from.into()], |row| Logged {
        version: integer(row, 0) as Version,
        stamp: integer(row, 1),
        at: integer(row, 2),
        action: text(row, 3),
    })
}

/// A (client, number) that the log has twice.
pub(crate) fn twice(db: &mut dyn Db) -> Result<Option<String>, DbError> {
    let sql = "SELECT 'client ' || client || ', number ' || number FROM _log WHERE client IS NOT NULL \
               GROUP BY client, number HAVING count(*) > 1";
    Ok(rows(db, sql, &[], |row| text(row, 0))?.pop().flatten())
}

/// A channel's live rows as JSON.
pub(crate) fn live(db: &mut dyn Db, channel: &str) -> Result<Vec<String>, DbError> {
    let sql = format!("SELECT * FROM {channel} WHERE deleted_at IS NULL ORDER BY id");
    rows(db, &sql, &[], |row| {
        let mut json = String::new();
        match push_row(&mut json, row) {
            Ok(()) => json,
            Err(error) => error.to_string(),
        }
    })
}

/// The notes that are marked deleted.
pub(crate) fn marked(db: &mut dyn Db) -> Result<Vec<String>, DbError> {
    let ids = rows(db, "SELECT id FROM notes WHERE deleted_at IS NOT NULL", &[], |row| text(row, 0))?;
    Ok(ids.into_iter().flatten().collect())
}

/// When the first item of the outbox is due.
pub(crate) fn outbox_at(db: &mut dyn Db) -> Result<Option<i64>, DbError> {
    Ok(rows(db, "SELECT at FROM _timer WHERE name = 'outbox'", &[], |row| integer(row, 0))?.pop())
}

/// What a room keeps for a while.
pub(crate) struct Kept {
    pub(crate) floor: Version,
    /// Whether a purge has run.
    pub(crate) was_purged: bool,
    pub(crate) purge_at: Option<i64>,
    pub(crate) rejections: Vec<Rejection>,
    /// All clients, and when each was last seen.
    pub(crate) clients: BTreeMap<String, i64>,
    /// The log's first two versions, and their times.
    pub(crate) log: Vec<(Version, i64)>,
    /// Puts that no cursor leads to.
    pub(crate) puts_below: i64,
}

/// An outcome that is kept, and what the room knows of its client.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) client: Option<String>,
    pub(crate) number: u64,
    pub(crate) at: i64,
    pub(crate) forgotten: u64,
    pub(crate) last: u64,
}

impl Kept {
    pub(crate) fn read(db: &mut dyn Db) -> Result<Self, DbError> {
        let one = |db: &mut dyn Db, sql: &str| Ok::<_, DbError>(rows(db, sql, &[], |row| integer(row, 0))?.pop());
        let floor = one(db, "SELECT value FROM _meta WHERE name = 'floor'")?.unwrap_or(0);
        let was_purged = one(db, "SELECT value FROM _meta WHERE name = 'purged'")?.is_some();
        let purge_at = one(db, "SELECT at FROM _timer WHERE name = 'purge'")?;
        let puts_below = "SELECT count(*) FROM _change WHERE op = 0 AND version <= \
                          (SELECT value FROM _meta WHERE name = 'floor')";
        let rejections = "SELECT c.client, r.number, r.at, c.forgotten, c.last \
                          FROM _reject AS r LEFT JOIN _client AS c ON c.handle = r.handle";
        let log = "SELECT version, at FROM _log ORDER BY version LIMIT 2";
        Ok(Kept {
            floor: floor.unsigned_abs(),
            was_purged,
            purge_at,
            puts_below: one(db, puts_below)?.unwrap_or(0),
            rejections: rows(db, rejections, &[], |row| Rejection {
                client: text(row, 0),
                number: integer(row, 1).unsigned_abs(),
                at: integer(row, 2),
                forgotten: integer(row, 3).unsigned_abs(),
                last: integer(row, 4).unsigned_abs(),
            })?,
            clients: rows(db, "SELECT client, seen_at FROM _client", &[], |row| {
                (text(row, 0).unwrap_or_default(), integer(row, 1))
            })?
            .into_iter()
            .collect(),
            log: rows(db, log, &[], |row| (integer(row, 0).unsigned_abs(), integer(row, 1)))?,
        })
    }
}
