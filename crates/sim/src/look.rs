//! Reading a room's tables from outside.

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
