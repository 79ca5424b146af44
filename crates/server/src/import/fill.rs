//! Copies what a file holds into a room's tables, row by row (SPEC 7.13 and 7.14).

use std::collections::HashSet;

use partysync_model::{Columns, Db, DbError, DbErrorKind, Millis, Origin, TIME_COLUMNS, Value, ValueRef};
use partysync_model::{push_row, push_value, quote};
use partysync_protocol::limits;
use partysync_sqlite::SqliteDb;

use super::report::{Findings, ImportError, Imported, ImportedTable};
use super::source::{self, Object, TableInfo};
use super::{Watch, times};

/// Rows between two looks whether anybody still waits.
const ROWS_BETWEEN_LOOKS: u64 = 1_000;

/// Characters of a value that are shown.
const SHOWN: usize = 60;

/// An import under way.
pub(super) struct Fill<'f> {
    pub(super) from: &'f mut SqliteDb,
    /// The file's tables.
    pub(super) tables: Vec<TableInfo>,
    /// The app's channels.
    pub(super) channels: Vec<String>,
    pub(super) now: Millis,
    pub(super) watch: &'f mut Watch,
    pub(super) imported: &'f mut Imported,
}

impl Fill<'_> {
    /// Copies everything, or says why not.
    pub(super) fn run(mut self, to: &mut dyn Db) -> Result<(), ImportError> {
        let mut findings = Findings::default();
        // Tables refer to each other, in no order that a file tells.
        to.execute(Origin::Engine, "PRAGMA defer_foreign_keys = ON", &[]).map_err(storage)?;
        let apps = source::tables(to).map_err(storage)?;
        let objects = source::objects(self.from).map_err(storage)?;
        let apps_objects: HashSet<String> =
            source::objects(to).map_err(storage)?.into_iter().map(|object| object.name).collect();
        for table in std::mem::take(&mut self.tables) {
            let app = apps.iter().find(|app| is_same(&app.name, &table.name));
            if !self.is_left_behind(&table)? {
                self.copy(to, &table, app, &mut findings)?;
            }
        }
        for object in objects.iter().filter(|object| !apps_objects.contains(&object.name)) {
            self.make(to, object, &apps, &mut findings);
        }
        for channel in self.channels.iter().filter(|c| !self.imported.tables.iter().any(|t| is_same(&t.name, c))) {
            self.imported
                .notes
                .push(format!("the file has no table {channel}: the channel has what the app puts there"));
        }
        broken_references(to, &mut findings).map_err(storage)?;
        findings.none()
    }

    /// Whether a table cannot come, or nobody can read it.
    fn is_left_behind(&mut self, table: &TableInfo) -> Result<bool, ImportError> {
        let name = &table.name;
        let why = match table.kind.as_str() {
            _ if name.starts_with("sqlite_") || table.kind == "shadow" => return Ok(true),
            "virtual" => "it is a virtual table: make it in `on_start`".to_owned(),
            _ if !name.starts_with('_') => return Ok(false),
            _ => match source::count(self.from, name).map_err(storage)? {
                0 => return Ok(true),
                // Cloudflare's own, of which rooms have another kind.
                _ if name == "_cf_METADATA" => return Ok(true),
                rows if name == "_cf_KV" => {
                    format!("its {rows} entries of `ctx.storage` are in a form of the runtime's own")
                }
                rows => format!("names that begin with _ are the engine's; it has {rows} rows"),
            },
        };
        self.imported.notes.push(format!("table {name} stays behind: {why}"));
        Ok(true)
    }

    fn copy(
        &mut self,
        to: &mut dyn Db,
        table: &TableInfo,
        app: Option<&TableInfo>,
        findings: &mut Findings,
    ) -> Result<(), ImportError> {
        let name = quote(&table.name);
        let made = match app {
            // What the app put there as it started, it puts there again.
            Some(_) => to.execute(Origin::Engine, &format!("DELETE FROM {name}"), &[]),
            None => to.execute(Origin::Setup, &table.sql, &[]),
        };
        if let Err(error) = made {
            findings.add(format!("table {}: it cannot be made: {error}", table.name));
            return Ok(());
        }
        let is_channel = self.channels.iter().any(|channel| is_same(channel, &table.name));
        if let Some(app) = app
            && !self.compare(table, app, is_channel, findings)
        {
            return Ok(());
        }
        let imported = self.copy_rows(to, table, is_channel, findings)?;
        let expected = imported.rows + imported.tombstones;
        let found = source::count(to, &table.name).map_err(storage)?;
        // Of rows that do not come there is a finding already.
        if found > expected {
            findings.add(format!("table {}: the app's triggers put more rows there than the file has", table.name));
        }
        self.copy_sequence(to, &table.name).map_err(storage)?;
        self.imported.tables.push(imported);
        Ok(())
    }

    /// Compares a table's columns with those of the app's. Whether it can be copied.
    fn compare(&mut self, table: &TableInfo, app: &TableInfo, is_channel: bool, findings: &mut Findings) -> bool {
        let is_time = |column: &&String| is_channel && TIME_COLUMNS.iter().any(|time| is_same(time, column));
        let known = |columns: &[String], name: &str| columns.iter().any(|column| is_same(column, name));
        let unknown: Vec<_> = table.columns.iter().filter(|column| !known(&app.columns, column)).collect();
        for column in &unknown {
            findings.add(format!("table {}: the app's table has no column {column}", table.name));
        }
        let has_id = !is_channel || known(&table.columns, "id");
        if !has_id {
            findings.add(format!("table {}: it has no column id, and is a channel", table.name));
        }
        let news = app.columns.iter().filter(|column| !is_time(column) && !known(&table.columns, column));
        for column in news {
            let note = format!("table {}: the file has no column {column}: each row gets its default", table.name);
            self.imported.notes.push(note);
        }
        let mut in_theirs = table.columns.iter().filter(|column| known(&app.columns, column));
        let mut in_ours = app.columns.iter().filter(|column| known(&table.columns, column));
        if is_channel && !in_theirs.by_ref().zip(in_ours.by_ref()).all(|(theirs, ours)| is_same(theirs, ours)) {
            let order = app.columns.join(", ");
            self.imported.notes.push(format!(
                "table {}: the app has its columns in another order than the file: pages get {order}",
                table.name
            ));
        }
        unknown.is_empty() && has_id
    }

    fn copy_rows(
        &mut self,
        to: &mut dyn Db,
        table: &TableInfo,
        is_channel: bool,
        findings: &mut Findings,
    ) -> Result<ImportedTable, ImportError> {
        let statements = Statements::new(table, is_channel);
        let mut rows = Rows {
            imported: ImportedTable { name: table.name.clone(), is_channel, ..ImportedTable::default() },
            id: statements.columns.iter().position(|column| is_same(column, "id")).filter(|_| is_channel).unwrap_or(0),
            columns: &statements.columns,
            now: self.now,
        };
        let (watch, mut ended) = (&mut *self.watch, Ok(()));
        let mut seen = 0_u64;
        let read = self.from.query(Origin::Engine, &statements.select, &[], &mut |row| {
            seen += 1;
            if ended.is_ok() && seen.is_multiple_of(ROWS_BETWEEN_LOOKS) {
                ended = watch.look(&table.name, seen);
            }
            if ended.is_ok() {
                ended = rows.take(to, &statements.insert, row, findings);
            }
        });
        ended?;
        if let Err(error) = read {
            findings.add(format!("table {}, row {}: {error}", table.name, seen + 1));
        }
        Ok(rows.imported)
    }

    /// An AUTOINCREMENT goes on where it was, also if its last rows are gone.
    fn copy_sequence(&mut self, to: &mut dyn Db, table: &str) -> Result<(), DbError> {
        let has_sequences = |db: &mut dyn Db| {
            let mut found = false;
            let sql = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'";
            db.query(Origin::Engine, sql, &[], &mut |_| found = true).map(|()| found)
        };
        if !has_sequences(self.from)? || !has_sequences(to)? {
            return Ok(());
        }
        let mut last = None;
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?";
        self.from.query(Origin::Engine, sql, &[table.into()], &mut |row| last = Some(row.value(0).to_owned()))?;
        let Some(last) = last else { return Ok(()) };
        to.execute(Origin::Engine, "DELETE FROM sqlite_sequence WHERE name = ?", &[table.into()])?;
        to.execute(Origin::Engine, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", &[table.into(), last])?;
        Ok(())
    }

    /// Makes an index, a trigger or a view that the app does not make itself.
    fn make(&mut self, to: &mut dyn Db, object: &Object, apps: &[TableInfo], findings: &mut Findings) {
        let Object { kind, name, table, sql } = object;
        if name.starts_with('_') || table.starts_with('_') {
            return;
        }
        if kind != "view" && apps.iter().any(|app| is_same(&app.name, table)) {
            let why = format!("the app makes the table {table} itself: if it needs this, make it in `on_start`");
            self.imported.notes.push(format!("{kind} {name} stays behind: {why}"));
        } else if let Err(error) = to.execute(Origin::Setup, sql, &[]) {
            findings.add(format!("{kind} {name}: it cannot be made: {error}"));
        }
    }
}

/// How a table is read and written.
struct Statements {
    columns: Vec<String>,
    select: String,
    /// Returns what was stored: a column's type may make another value of one.
    insert: String,
}

impl Statements {
    /// Of a channel the times come last, missing ones as NULL.
    fn new(table: &TableInfo, is_channel: bool) -> Self {
        let is_time = |column: &str| is_channel && TIME_COLUMNS.iter().any(|time| is_same(time, column));
        let mut columns: Vec<String> = table.columns.iter().filter(|c| !is_time(c)).cloned().collect();
        let mut read: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        for time in TIME_COLUMNS.iter().filter(|_| is_channel) {
            let found = table.columns.iter().find(|column| is_same(column, time));
            read.push(found.map_or_else(|| "NULL".to_owned(), |column| quote(column)));
            columns.push((*time).to_owned());
        }
        let name = quote(&table.name);
        let list = columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
        let marks = vec!["?"; columns.len()].join(", ");
        Statements {
            select: format!("SELECT {} FROM {name}", read.join(", ")),
            insert: format!("INSERT INTO {name} ({list}) VALUES ({marks}) RETURNING {list}"),
            columns,
        }
    }
}

/// The rows of a table on their way.
struct Rows<'r> {
    imported: ImportedTable,
    columns: &'r [String],
    /// Which column tells a row from others.
    id: usize,
    now: Millis,
}

impl Rows<'_> {
    /// Copies a row, or notes what is wrong with it.
    fn take(
        &mut self,
        to: &mut dyn Db,
        insert: &str,
        row: &dyn Columns,
        findings: &mut Findings,
    ) -> Result<(), ImportError> {
        let mut values = row.to_values();
        let is_live = match self.imported.is_channel {
            true => self.make_times(&mut values).and_then(|()| self.check_row(&values)),
            false => Ok(true),
        };
        let is_live = match is_live {
            Ok(is_live) => is_live,
            Err(why) => {
                findings.add(self.about(&values, &why));
                return Ok(());
            }
        };
        let mut other = None;
        let stored = to.query(Origin::Engine, insert, &values, &mut |stored| {
            other = (0..values.len()).find(|index| !is_same_value(values[*index].as_ref(), stored.value(*index)));
        });
        match stored {
            Ok(()) if is_live => self.imported.rows += 1,
            Ok(()) => self.imported.tombstones += 1,
            Err(error) if error.kind.is_passing() || error.kind == DbErrorKind::Lost => return Err(storage(error)),
            Err(error) => findings.add(self.about(&values, &self.with_values(&values, error.message))),
        }
        if let Some(index) = other {
            let value = shown(values[index].as_ref());
            let column = &self.columns[index];
            findings
                .add(self.about(&values, &format!("column {column}: the app's column makes another value of {value}")));
        }
        Ok(())
    }

    /// Checks that a channel's row can travel. Whether it is live.
    fn check_row(&self, row: &dyn Columns) -> Result<bool, String> {
        let id = row.value(self.id);
        let fits = match id {
            ValueRef::Text(text) => text.len() <= limits::ID_BYTES,
            ValueRef::Integer(_) => push_value(&mut String::new(), id).is_some(),
            _ => false,
        };
        if !fits {
            return Err("its id is none: it is a text of up to 1 KiB, or an integer below 2^53".to_owned());
        }
        if row.value(row.count() - 1) != ValueRef::Null {
            return Ok(false);
        }
        let mut json = String::new();
        push_row(&mut json, row).map_err(|error| {
            let value = shown(row.value(error.column));
            format!("column {}: {value} cannot travel as JSON", self.columns[error.column])
        })?;
        if json.len() > limits::ROW_BYTES { Err("it is larger than 1 MiB".to_owned()) } else { Ok(true) }
    }

    /// Makes integers of a row's times: what is missing is that of its creation or change, or now; what is later than now is now.
    fn make_times(&mut self, values: &mut [Value]) -> Result<(), String> {
        let first = values.len() - TIME_COLUMNS.len();
        let mut read = [None; TIME_COLUMNS.len()];
        for (time, (value, column)) in read.iter_mut().zip(values[first..].iter().zip(TIME_COLUMNS)) {
            let wrong = |()| format!("column {column}: {} is no time", shown(value.as_ref()));
            *time = times::read(value.as_ref()).map_err(wrong)?;
        }
        let now = self.now;
        let imported = &mut self.imported;
        imported.in_future += u64::from(read.iter().flatten().any(|time| *time > now));
        let [created, updated, deleted] = read.map(|time| time.map(|time| time.min(now)));
        imported.without_times += u64::from(created.is_none() || updated.is_none());
        let known = created.or(updated).or(deleted).unwrap_or(now);
        let made = [Some(created.unwrap_or(known)), Some(updated.unwrap_or(known)), deleted];
        for time in made.into_iter().flatten() {
            let (earliest, latest) = imported.times.unwrap_or((time, time));
            imported.times = Some((earliest.min(time), latest.max(time)));
        }
        for (value, time) in values[first..].iter_mut().zip(made) {
            *value = time.into();
        }
        Ok(())
    }

    /// What SQLite says, and what the row has in the columns that it names.
    fn with_values(&self, values: &[Value], why: String) -> String {
        let named = |column: &str| why.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == column);
        let columns = self.columns.iter().zip(values).filter(|(column, _)| named(column));
        let values: Vec<_> = columns.map(|(column, value)| format!("{column} is {}", shown(value.as_ref()))).collect();
        if values.is_empty() { why } else { format!("{why}; {}", values.join(", ")) }
    }

    fn about(&self, values: &[Value], why: &str) -> String {
        let id = values.get(self.id).map_or(ValueRef::Null, Value::as_ref);
        format!("table {}, row {}: {why}", self.imported.name, shown(id))
    }
}

/// Rows that refer to what is not there.
fn broken_references(to: &mut dyn Db, findings: &mut Findings) -> Result<(), DbError> {
    to.query(Origin::Engine, "PRAGMA foreign_key_check", &[], &mut |row| {
        let name = |index| match row.value(index) {
            ValueRef::Text(text) => text.to_owned(),
            _ => String::new(),
        };
        findings.add(format!("table {}: a row refers to one of table {} that is not there", name(0), name(2)));
    })
}

/// SQLite's names are the same in either case.
fn is_same(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

/// Whether two values are the same to clients: 1.0 is 1.
fn is_same_value(value: ValueRef<'_>, other: ValueRef<'_>) -> bool {
    match (value, other) {
        (ValueRef::Integer(integer), ValueRef::Real(real)) | (ValueRef::Real(real), ValueRef::Integer(integer)) => {
            integer as f64 == real
        }
        (value, other) => value == other,
    }
}

/// A value for people, not all of it if it is long.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Blob(bytes) => format!("a BLOB of {} bytes", bytes.len()),
        ValueRef::Real(real) => real.to_string(),
        ValueRef::Text(text) if text.chars().count() > SHOWN => {
            format!("{:?}...", text.chars().take(SHOWN).collect::<String>())
        }
        ValueRef::Text(text) => format!("{text:?}"),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Null => "NULL".to_owned(),
    }
}

pub(super) fn storage(error: DbError) -> ImportError {
    ImportError::Storage(error.message)
}
