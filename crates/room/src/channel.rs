//! Channels as tables: their shape, their triggers, the statements that read them.

use partysync_model::{Columns, Db, DbError, Origin, TIME_COLUMNS, Value, ValueRef, quote};
use partysync_protocol::limits;

/// A channel, looked up by its index in the room.
#[derive(Debug)]
pub(crate) struct ChannelTable {
    pub(crate) name: String,
    /// Its number in `_channel`, and so in `_change`.
    pub(crate) number: i64,
    /// All columns in the order of a row on the wire.
    pub(crate) columns: Vec<String>,
    pub(crate) select_live: String,
    pub(crate) select_one: String,
    pub(crate) stamp_live: String,
    pub(crate) stamp_deleted: String,
}

/// A table cannot be a channel (SPEC 3.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}: {reason}")]
pub struct ShapeError {
    /// The table's name.
    pub table: String,
    /// What is wrong with it.
    pub reason: String,
}

struct ColumnInfo {
    name: String,
    column_type: String,
    not_null: bool,
    primary_key: bool,
}

impl ChannelTable {
    /// Reads a table's shape and checks it.
    pub(crate) fn read(db: &mut dyn Db, name: &str, number: i64) -> Result<Result<Self, ShapeError>, DbError> {
        let mut columns = Vec::new();
        let sql = "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?)";
        db.query(Origin::Engine, sql, &[Value::from(name)], &mut |row| columns.push(ColumnInfo::read(row)))?;
        Ok(match check_shape(&columns) {
            Err(reason) => Err(ShapeError { table: name.to_owned(), reason }),
            Ok(()) => Ok(Self::new(name, number, columns.into_iter().map(|c| c.name).collect())),
        })
    }

    fn new(name: &str, number: i64, columns: Vec<String>) -> Self {
        let table = quote(name);
        let list = columns.iter().map(|c| quote(c)).collect::<Vec<_>>().join(", ");
        ChannelTable {
            number,
            select_live: format!("SELECT {list} FROM {table} WHERE deleted_at IS NULL ORDER BY id"),
            select_one: format!("SELECT {list} FROM {table} WHERE id = ?"),
            stamp_live: format!(
                "UPDATE {table} SET updated_at = ?1, \
                 created_at = iif(typeof(created_at) = 'integer', created_at, ?1) WHERE id = ?2"
            ),
            stamp_deleted: format!("UPDATE {table} SET updated_at = ?1, deleted_at = ?1 WHERE id = ?2"),
            name: name.to_owned(),
            columns,
        }
    }

    /// Makes the triggers that record which rows a step changes (SPEC 4.1).
    ///
    /// The UPSERT is not an INSERT OR REPLACE on purpose: the conflict clause of the app's statement would override it.
    pub(crate) fn create_triggers(&self, db: &mut dyn Db) -> Result<(), DbError> {
        let (table, number) = (quote(&self.name), self.number);
        let record = |id: &str, op: &str, condition: &str| {
            format!(
                "INSERT INTO _change (version, channel, id, op) \
                 SELECT (SELECT max(version) FROM _log) + 1, {number}, {id}, {op} WHERE {condition} \
                 ON CONFLICT (version, channel, id) DO UPDATE SET op = excluded.op;"
            )
        };
        let put = record("new.id", "new.deleted_at IS NOT NULL", "TRUE");
        let bodies = [
            ("insert", put.clone()),
            ("update", format!("{} {put}", record("old.id", "1", "old.id IS NOT new.id"))),
            ("delete", record("old.id", "1", "TRUE")),
        ];
        for (event, body) in bodies {
            let trigger = quote(&format!("_capture_{number}_{event}"));
            let sql = format!("CREATE TRIGGER IF NOT EXISTS {trigger} AFTER {event} ON {table} BEGIN {body} END");
            db.execute(Origin::Engine, &sql, &[])?;
        }
        // So that the purge finds rows marked deleted without reading the others.
        let index = quote(&format!("_deleted_{number}"));
        let sql = format!("CREATE INDEX IF NOT EXISTS {index} ON {table} (deleted_at) WHERE deleted_at IS NOT NULL");
        db.execute(Origin::Engine, &sql, &[])?;
        Ok(())
    }

    /// The index of `updated_at` in a row.
    pub(crate) fn updated_at(&self) -> usize {
        self.columns.len() - 2
    }

    /// The index of `deleted_at` in a row.
    pub(crate) fn deleted_at(&self) -> usize {
        self.columns.len() - 1
    }

    /// The index of `created_at` in a row.
    pub(crate) fn created_at(&self) -> usize {
        self.columns.len() - 3
    }
}

impl ColumnInfo {
    fn read(row: &dyn Columns) -> Self {
        let text = |i| match row.value(i) {
            ValueRef::Text(text) => text.to_owned(),
            _ => String::new(),
        };
        let flag = |i| !matches!(row.value(i), ValueRef::Integer(0) | ValueRef::Null);
        ColumnInfo { name: text(0), column_type: text(1).to_ascii_uppercase(), not_null: flag(2), primary_key: flag(3) }
    }
}

fn check_shape(columns: &[ColumnInfo]) -> Result<(), String> {
    let [id, .., created_at, updated_at, deleted_at] = columns else {
        return Err(match columns {
            [] => "there is no such table: make it in `on_start`".to_owned(),
            _ => format!("its first column must be `id` and its last three {}", TIME_COLUMNS.join(", ")),
        });
    };
    if id.name != "id" || !id.primary_key || columns[1..].iter().any(|c| c.primary_key) {
        return Err("its first column must be `id`, and that alone its primary key".to_owned());
    }
    if !["TEXT", "INTEGER"].contains(&id.column_type.as_str()) {
        return Err(format!("the type of `id` must be TEXT or INTEGER, not {:?}", id.column_type));
    }
    for (column, name) in [created_at, updated_at, deleted_at].into_iter().zip(TIME_COLUMNS) {
        if column.name != name || column.column_type != "INTEGER" || column.not_null {
            return Err(format!("its last three columns must be {} INTEGER, all nullable", TIME_COLUMNS.join(", ")));
        }
    }
    if columns.len() > limits::COLUMNS {
        return Err(format!("it has {} columns; {} is the most", columns.len(), limits::COLUMNS));
    }
    Ok(())
}

/// The stored numbers of channels, of which there is a bit each.
pub(crate) fn numbers(channels: &[ChannelTable], bits: u64) -> Vec<i64> {
    channels.iter().enumerate().filter(|(index, _)| bits & 1 << index != 0).map(|(_, c)| c.number).collect()
}

/// The channels with these stored numbers, a bit each.
pub(crate) fn bits(channels: &[ChannelTable], numbers: &[i64]) -> u64 {
    let held = channels.iter().enumerate().filter(|(_, c)| numbers.contains(&c.number));
    held.fold(0, |bits, (index, _)| bits | 1 << index)
}
