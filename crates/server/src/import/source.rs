//! The file that is imported: a copy of it, so that nobody changes it meanwhile and it is not changed itself.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use partysync_model::{Columns, Db, DbError, DbErrorKind, Origin, Value, ValueRef, quote};
use partysync_sqlite::{Options, SqliteDb, copy_database};

use super::report::ImportError;
use crate::data::DataDir;
use crate::staging::Staged;

/// How a SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A copy of the file, open.
pub(super) struct Source {
    pub(super) db: SqliteDb,
    /// Removed after the database is closed: fields go in their order.
    _staged: Staged,
}

/// A table of a database.
pub(super) struct TableInfo {
    pub(super) name: String,
    /// `table`, `virtual` or `shadow`.
    pub(super) kind: String,
    /// Without those that are computed from others.
    pub(super) columns: Vec<String>,
    pub(super) sql: String,
}

/// An index, a trigger or a view.
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
    /// The table it is of.
    pub(super) table: String,
    pub(super) sql: String,
}

impl Source {
    /// Copies a file, with what is in the log beside it, and looks whether it can be the one that was meant.
    pub(super) fn copy(data: &DataDir, file: &Path) -> Result<Self, ImportError> {
        let wrong = |why: &str| ImportError::File { path: file.to_owned(), why: why.to_owned() };
        check_head(file).map_err(|why| wrong(&why))?;
        let staged = Staged::new(data).map_err(|error| ImportError::Storage(error.to_string()))?;
        let unreadable = |error: DbError| match error.kind {
            DbErrorKind::Corrupt => wrong(&format!("it is damaged, or encrypted: {}", error.message)),
            DbErrorKind::Full => ImportError::Storage(error.message),
            _ => wrong(&format!("it cannot be read: {}", error.message)),
        };
        copy_database(file, staged.path()).map_err(unreadable)?;
        let mut db = SqliteDb::open(staged.path(), &Options::default()).map_err(unreadable)?;
        db.check_integrity().map_err(unreadable)?;
        Ok(Source { db, _staged: staged })
    }
}

/// Says what is wrong with a file that is no database.
fn check_head(file: &Path) -> Result<(), String> {
    let about = fs::metadata(file).map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is no file".to_owned());
    }
    if about.len() == 0 {
        return Err("it is empty".to_owned());
    }
    let mut head = Vec::new();
    let opened = File::open(file).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head));
    opened.map_err(|error| error.to_string())?;
    if head == MAGIC { Ok(()) } else { Err("it is no SQLite database, or an encrypted one".to_owned()) }
}

/// The tables of a database, in the order in which they were made.
pub(super) fn tables(db: &mut dyn Db) -> Result<Vec<TableInfo>, DbError> {
    let sql = "SELECT l.name, l.type, s.sql FROM pragma_table_list AS l JOIN sqlite_schema AS s \
               ON s.name = l.name AND s.type = 'table' WHERE l.schema = 'main' AND l.type != 'view' ORDER BY s.rowid";
    let mut tables = Vec::new();
    db.query(Origin::Engine, sql, &[], &mut |row| {
        let (name, kind, sql) = (text(row, 0), text(row, 1), text(row, 2));
        tables.push(TableInfo { name, kind, columns: Vec::new(), sql });
    })?;
    for table in &mut tables {
        // 2 and 3: computed from others.
        let sql = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden NOT IN (2, 3)";
        let columns = &mut table.columns;
        db.query(Origin::Engine, sql, &[table.name.as_str().into()], &mut |row| columns.push(text(row, 0)))?;
    }
    Ok(tables)
}

/// The indexes, triggers and views of a database that have a text, in the order in which they were made.
pub(super) fn objects(db: &mut dyn Db) -> Result<Vec<Object>, DbError> {
    let sql =
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type != 'table' AND sql IS NOT NULL ORDER BY rowid";
    let mut objects = Vec::new();
    db.query(Origin::Engine, sql, &[], &mut |row| {
        objects.push(Object { kind: text(row, 0), name: text(row, 1), table: text(row, 2), sql: text(row, 3) });
    })?;
    Ok(objects)
}

/// The address of the room that a database is; `None` if it is no room of ours.
pub(super) fn stored_room(db: &mut dyn Db, tables: &[TableInfo]) -> Result<Option<String>, DbError> {
    let has = |name: &str| tables.iter().any(|table| table.name == name);
    if !has("_meta") || !has("_log") {
        return Ok(None);
    }
    let mut found = String::new();
    let sql = "SELECT value FROM _meta WHERE name = 'room'";
    db.query(Origin::Engine, sql, &[], &mut |row| found = text(row, 0))?;
    Ok(Some(found))
}

pub(super) fn count(db: &mut dyn Db, table: &str) -> Result<u64, DbError> {
    let mut count = 0;
    db.query(Origin::Engine, &format!("SELECT count(*) FROM {}", quote(table)), &[], &mut |row| {
        if let Value::Integer(rows) = row.value(0).to_owned() {
            count = rows.unsigned_abs();
        }
    })?;
    Ok(count)
}

fn text(row: &dyn Columns, index: usize) -> String {
    match row.value(index) {
        ValueRef::Text(text) => text.to_owned(),
        _ => String::new(),
    }
}
