use partysync_model::{Db, DbError, Origin, Value, ValueRef, Verdict, quote};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::value::{Read, hex};
use super::{FORMAT, OwnObjects, TransferError, Transferred, is_engines, is_reserved};
use crate::store;

/// A line that is no row. Which one it is says which fields are there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    partysync: Option<String>,
    format: Option<u64>,
    room: Option<String>,
    #[serde(rename = "version")]
    _version: Option<u64>,
    table: Option<String>,
    columns: Option<Vec<String>>,
    object: Option<String>,
    sql: Option<String>,
    sequence: Option<String>,
    value: Option<i64>,
    end: Option<bool>,
    rows: Option<u64>,
    sha256: Option<String>,
}

/// A file that is read into an empty database, line by line, in one transaction of the caller's.
pub struct Incoming {
    hash: Sha256,
    line: u64,
    stage: Stage,
    rows: u64,
    /// Which room it is.
    room: Option<String>,
    /// Which room it has to be.
    only: Option<String>,
    own: OwnObjects,
}

#[derive(PartialEq)]
enum Stage {
    /// Nothing was read.
    Head,
    /// Tables and their rows come. How a row of the last table is inserted, and of how many columns it is.
    Body(Option<(String, usize)>),
    /// The last line was read.
    End,
}

impl Incoming {
    /// A file of which nothing was read. Triggers and views come if they are among the app's `own`.
    pub fn new(own: OwnObjects) -> Self {
        Incoming { hash: Sha256::new(), line: 0, stage: Stage::Head, rows: 0, room: None, only: None, own }
    }

    /// It has to be the room `address`, and not another one that is to become it.
    #[must_use]
    pub fn only(self, address: &str) -> Self {
        Incoming { only: Some(address.to_owned()), ..self }
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    ///
    /// See [`TransferError`]. What was written so far is to be undone.
    pub fn take(&mut self, db: &mut dyn Db, text: &str) -> Result<(), TransferError> {
        self.line += 1;
        let taken = match &self.stage {
            Stage::End => Err("something follows the end".to_owned()),
            Stage::Body(Some((insert, columns))) if text.starts_with('[') => row(db, insert, *columns, text),
            _ if text.starts_with('[') => Err("a row without a table".to_owned()),
            _ => self.other(db, text),
        };
        taken.map_err(|why| TransferError::Line { line: self.line, why })?;
        if let Some(found) = self.only.as_ref().and(self.room.take_if(|room| Some(&*room) != self.only.as_ref())) {
            return Err(TransferError::OtherRoom { found });
        }
        self.rows += u64::from(text.starts_with('['));
        self.hash.update(text.as_bytes());
        self.hash.update(b"\n");
        Ok(())
    }

    /// The file is at its end: the database is the room `address` now.
    ///
    /// # Errors
    ///
    /// Its last line is missing: it was cut off. Or a row refers to one that is not there.
    pub fn finish(&mut self, db: &mut dyn Db, address: &str) -> Result<Transferred, TransferError> {
        if self.stage != Stage::End {
            let why = "the file ends here, and not with its last line: it was cut off".to_owned();
            return Err(TransferError::Line { line: self.line + 1, why });
        }
        check_references(db)?;
        store::set_meta(db, "room", address.into())?;
        Ok(Transferred { rows: self.rows })
    }

    fn other(&mut self, db: &mut dyn Db, text: &str) -> Result<(), String> {
        let line: Line = serde_json::from_str(text).map_err(|error| match self.stage {
            Stage::Head => "this is no room's file".to_owned(),
            _ => format!("it cannot be read: {error}"),
        })?;
        let said = |error: DbError| error.message;
        match (&self.stage, line) {
            (Stage::Head, Line { partysync: Some(kind), format: Some(format), room: Some(room), .. })
                if kind == "room" =>
            {
                if format > FORMAT {
                    return Err(format!("the format is {format}; this program knows {FORMAT} and older ones"));
                }
                // Rows come table by table, whichever refers to which.
                db.execute(Origin::Engine, "PRAGMA defer_foreign_keys = ON", &[]).map_err(said)?;
                store::create_tables(db).map_err(said)?;
                self.room = Some(room);
                self.stage = Stage::Body(None);
            }
            (Stage::Head, _) => return Err("this is no room's file".to_owned()),
            (_, Line { table: Some(table), columns: Some(columns), .. }) => {
                self.stage = Stage::Body(Some(begin_table(&table, &columns)?));
            }
            (_, Line { sequence: Some(name), value: Some(value), .. }) => {
                set_sequence(db, &name, value).map_err(said)?
            }
            (_, Line { object: Some(object), sql: Some(sql), .. }) => self.make(db, &object, &sql)?,
            (_, Line { end: Some(true), rows: Some(rows), sha256: Some(sha256), .. }) => {
                if (rows, sha256) != (self.rows, hex(&self.hash.clone().finalize())) {
                    return Err("what was read is not what was written: the file was changed".to_owned());
                }
                self.stage = Stage::End;
            }
            _ => return Err("it is nothing that is known here".to_owned()),
        }
        Ok(())
    }

    /// Makes a table or an index if the app could make it at start-up, a trigger or a view if it does: a file is not believed more than the app is.
    /// The text stays as it is: a home may run the app's SQL in other words, and what is made is what the next file says.
    fn make(&self, db: &mut dyn Db, object: &str, sql: &str) -> Result<(), String> {
        let is_own = match object {
            "table" | "index" => true,
            "trigger" | "view" => self.own.has(sql),
            _ => false,
        };
        if !is_own || !sql.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("CREATE ")) {
            return Err(format!("the app makes no such {object}"));
        }
        let said = |error: DbError| error.message;
        let mut tried = Ok(0);
        let undone = db.transaction(&mut |db| {
            tried = db.execute(Origin::Setup, sql, &[]);
            Verdict::Undo
        });
        let before = count(db, object).map_err(said)?;
        tried.and(undone).and_then(|()| db.execute(Origin::Engine, sql, &[])).map_err(said)?;
        // A trigger can be called an index; a temporary or a virtual table is another number of tables.
        if count(db, object).map_err(said)? != before + 1 {
            return Err(format!("it does not make one {object}"));
        }
        Ok(())
    }
}

/// How many tables there are, or the like.
fn count(db: &mut dyn Db, object: &str) -> Result<i64, DbError> {
    let mut count = 0;
    // UNIQUE and AUTOINCREMENT make some of SQLite's own.
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = ? AND substr(name, 1, 7) != 'sqlite_'";
    db.query(Origin::Engine, sql, &[object.into()], &mut |row| {
        if let ValueRef::Integer(found) = row.value(0) {
            count = found;
        }
    })?;
    Ok(count)
}

/// Says how a table's rows are inserted.
fn begin_table(table: &str, columns: &[String]) -> Result<(String, usize), String> {
    if is_reserved(table) && !is_engines(table) {
        return Err(format!("{table} is no table of a room's"));
    }
    let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let values = vec!["?"; columns.len()].join(", ");
    let insert = format!("INSERT INTO {} ({}) VALUES ({values})", quote(table), names.join(", "));
    Ok((insert, columns.len()))
}

/// Rows were not checked against each other as they came; where the file's room is made, nobody does so later.
fn check_references(db: &mut dyn Db) -> Result<(), TransferError> {
    let mut dangling = None;
    db.query(Origin::Engine, "PRAGMA foreign_key_check", &[], &mut |row| {
        let text = |index| match row.value(index) {
            ValueRef::Text(text) => text.to_owned(),
            _ => String::new(),
        };
        dangling.get_or_insert_with(|| (text(0), text(2)));
    })?;
    if let Some((table, of)) = dangling {
        return Err(TransferError::Dangling { table, of });
    }
    db.execute(Origin::Engine, "PRAGMA defer_foreign_keys = OFF", &[])?;
    Ok(())
}

fn row(db: &mut dyn Db, insert: &str, columns: usize, text: &str) -> Result<(), String> {
    let values: Vec<Read> = serde_json::from_str(text).map_err(|error| format!("it is no row: {error}"))?;
    if values.len() != columns {
        return Err(format!("it has {} values, and the table {columns} columns", values.len()));
    }
    let values: Vec<Value> = values.into_iter().map(|Read(value)| value).collect();
    db.execute(Origin::Engine, insert, &values).map(drop).map_err(|error| error.message)
}

fn set_sequence(db: &mut dyn Db, name: &str, value: i64) -> Result<(), DbError> {
    db.execute(Origin::Engine, "DELETE FROM sqlite_sequence WHERE name = ?", &[name.into()])?;
    db.execute(Origin::Engine, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", &[name.into(), value.into()])?;
    Ok(())
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("line", &self.line).field("rows", &self.rows).finish_non_exhaustive()
    }
}
