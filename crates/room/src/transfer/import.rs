use partysync_model::{Db, DbError, Origin, Value, quote};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::value::{Read, hex};
use super::{ENGINE_TABLES, FORMAT, TransferError, Transferred};
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

impl Default for Incoming {
    fn default() -> Self {
        Incoming { hash: Sha256::new(), line: 0, stage: Stage::Head, rows: 0 }
    }
}

impl Incoming {
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
        self.rows += u64::from(text.starts_with('['));
        self.hash.update(text.as_bytes());
        self.hash.update(b"\n");
        Ok(())
    }

    /// The file is at its end: the database is the room `address` now.
    ///
    /// # Errors
    ///
    /// Its last line is missing: it was cut off.
    pub fn finish(self, db: &mut dyn Db, address: &str) -> Result<Transferred, TransferError> {
        if self.stage != Stage::End {
            let why = "the file ends here, and not with its last line: it was cut off".to_owned();
            return Err(TransferError::Line { line: self.line + 1, why });
        }
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
            (Stage::Head, Line { partysync: Some(kind), format: Some(format), room: Some(_), .. })
                if kind == "room" =>
            {
                if format > FORMAT {
                    return Err(format!("the format is {format}; this program knows {FORMAT} and older ones"));
                }
                // Rows come table by table, whichever refers to which.
                db.execute(Origin::Engine, "PRAGMA defer_foreign_keys = ON", &[]).map_err(said)?;
                store::create_tables(db).map_err(said)?;
                self.stage = Stage::Body(None);
            }
            (Stage::Head, _) => return Err("this is no room's file".to_owned()),
            (_, Line { table: Some(table), columns: Some(columns), sql, .. }) => {
                self.stage = Stage::Body(Some(begin_table(db, &table, &columns, sql.as_deref())?));
            }
            (_, Line { sequence: Some(name), value: Some(value), .. }) => {
                set_sequence(db, &name, value).map_err(said)?
            }
            (_, Line { object: Some(object), sql: Some(sql), .. }) => make(db, &object, &sql)?,
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
}

/// Makes a table, and says how its rows are inserted.
fn begin_table(db: &mut dyn Db, table: &str, columns: &[String], sql: Option<&str>) -> Result<(String, usize), String> {
    match sql {
        Some(sql) => make(db, "table", sql)?,
        None if ENGINE_TABLES.contains(&table) => {}
        None => return Err(format!("nothing says how the table {table} is made")),
    }
    let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let values = vec!["?"; columns.len()].join(", ");
    let insert = format!("INSERT INTO {} ({}) VALUES ({values})", quote(table), names.join(", "));
    Ok((insert, columns.len()))
}

/// Runs what makes a table, an index, a trigger or a view, with what the app may do at start-up: a file is not believed more than the app is.
fn make(db: &mut dyn Db, object: &str, sql: &str) -> Result<(), String> {
    let known = ["table", "index", "trigger", "view"].contains(&object);
    let makes = sql.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("CREATE "));
    if !known || !makes {
        return Err("it makes nothing that a room may have".to_owned());
    }
    db.execute(Origin::Setup, sql, &[]).map(drop).map_err(|error| error.message)
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
