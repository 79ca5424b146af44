use partysync_model::{Columns, Db, DbError, Origin, ValueRef, quote};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::value::{hex, push_row};
use super::{FORMAT, TransferError, Transferred, is_engines, is_reserved};
use crate::store;

#[derive(Serialize)]
struct Head<'a> {
    partysync: &'static str,
    format: u64,
    room: &'a str,
    version: u64,
}

#[derive(Serialize)]
struct TableLine<'a> {
    table: &'a str,
    columns: &'a [String],
}

#[derive(Serialize)]
struct Sequence<'a> {
    sequence: &'a str,
    value: i64,
}

#[derive(Serialize)]
struct ObjectLine<'a> {
    object: &'a str,
    sql: &'a str,
}

#[derive(Serialize)]
struct End {
    end: bool,
    rows: u64,
    sha256: String,
}

/// Writes a room, as it is now, as a file that [`Incoming`](super::Incoming) reads: versions, stamps, clients and their outcomes, timers and what waits in the
/// outbox included. `write` gets whole lines, each with its end.
///
/// The room must not change meanwhile: hand in a copy, or run it in one go.
///
/// # Errors
///
/// The room has a virtual table, or is none; the database failed, or `write` did.
pub fn export(
    db: &mut dyn Db,
    write: &mut dyn FnMut(&str) -> Result<(), String>,
) -> Result<Transferred, TransferError> {
    let mut file = File { write, hash: Sha256::new(), line: String::new(), rows: 0 };
    let head = store::head(db)?;
    let room = match store::meta(db, "room")? {
        Some(partysync_model::Value::Text(room)) => room,
        _ => return Err(TransferError::Unsupported("this is no room".to_owned())),
    };
    file.json(&Head { partysync: "room", format: FORMAT, room: &room, version: head.cursor.version })?;
    let tables = objects(db, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")?;
    // All before the first row: a row may refer to one of any table.
    for (name, sql) in tables.iter().filter(|(name, _)| !is_reserved(name)) {
        if sql.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("CREATE VIRTUAL")) {
            return Err(TransferError::Unsupported(format!(
                "the table {name} is a virtual one, which does not travel"
            )));
        }
        file.json(&ObjectLine { object: "table", sql })?;
    }
    for (name, _) in tables.iter().filter(|(name, _)| is_engines(name) || !is_reserved(name)) {
        file.table(db, name)?;
    }
    file.sequences(db, &tables)?;
    let others = "SELECT type, sql FROM sqlite_schema WHERE type != 'table' AND sql IS NOT NULL \
                  AND substr(name, 1, 1) != '_' AND substr(tbl_name, 1, 1) != '_' ORDER BY rowid";
    for (object, sql) in objects(db, others)? {
        file.json(&ObjectLine { object: &object, sql: &sql })?;
    }
    file.end()
}

/// Two texts of each row.
fn objects(db: &mut dyn Db, sql: &str) -> Result<Vec<(String, String)>, DbError> {
    let mut objects = Vec::new();
    db.query(Origin::Engine, sql, &[], &mut |row| objects.push((text(row, 0), text(row, 1))))?;
    Ok(objects)
}

fn text(row: &dyn Columns, index: usize) -> String {
    match row.value(index) {
        ValueRef::Text(text) => text.to_owned(),
        _ => String::new(),
    }
}

/// The file as it is written.
struct File<'w> {
    write: &'w mut dyn FnMut(&str) -> Result<(), String>,
    hash: Sha256,
    line: String,
    rows: u64,
}

impl File<'_> {
    fn json(&mut self, value: &impl Serialize) -> Result<(), TransferError> {
        self.line = serde_json::to_string(value).map_err(|error| TransferError::Write(error.to_string()))?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), TransferError> {
        self.line.push('\n');
        self.hash.update(self.line.as_bytes());
        (self.write)(&self.line).map_err(TransferError::Write)?;
        self.line.clear();
        Ok(())
    }

    fn table(&mut self, db: &mut dyn Db, name: &str) -> Result<(), TransferError> {
        let mut columns = Vec::new();
        // 2 and 3: computed from others.
        let of_table = "SELECT name, name FROM pragma_table_xinfo(?) WHERE hidden NOT IN (2, 3)";
        db.query(Origin::Engine, of_table, &[name.into()], &mut |row| columns.push(text(row, 0)))?;
        self.json(&TableLine { table: name, columns: &columns })?;
        let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        let all = format!("SELECT {} FROM {}", names.join(", "), quote(name));
        let mut written = Ok(());
        db.query(Origin::Engine, &all, &[], &mut |row| {
            if written.is_ok() {
                push_row(&mut self.line, row);
                self.rows += 1;
                written = self.flush();
            }
        })?;
        written
    }

    /// Where tables with AUTOINCREMENT go on.
    fn sequences(&mut self, db: &mut dyn Db, tables: &[(String, String)]) -> Result<(), TransferError> {
        if !tables.iter().any(|(name, _)| name == "sqlite_sequence") {
            return Ok(());
        }
        let mut sequences = Vec::new();
        db.query(Origin::Engine, "SELECT name, seq FROM sqlite_sequence", &[], &mut |row| {
            if let ValueRef::Integer(value) = row.value(1) {
                sequences.push((text(row, 0), value));
            }
        })?;
        sequences.iter().try_for_each(|(sequence, value)| self.json(&Sequence { sequence, value: *value }))
    }

    fn end(mut self) -> Result<Transferred, TransferError> {
        let sha256 = hex(&std::mem::take(&mut self.hash).finalize());
        let rows = self.rows;
        self.json(&End { end: true, rows, sha256 })?;
        Ok(Transferred { rows })
    }
}
