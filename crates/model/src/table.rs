use std::sync::OnceLock;

use crate::sql::TableSql;

/// The names of the three columns that the engine keeps, in their order (SPEC 3.1).
pub const TIME_COLUMNS: [&str; 3] = ["created_at", "updated_at", "deleted_at"];

/// A record's table: its name and columns, `id` first, the three times left out.
#[derive(Debug)]
pub struct Table {
    record: &'static str,
    name: &'static str,
    columns: &'static [Column],
    sql: OnceLock<TableSql>,
}

/// A column of a record's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name in the table.
    pub name: &'static str,
    /// What it holds.
    pub column_type: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether no two live rows may have the same value, NULLs aside.
    pub unique: bool,
    /// Whether scans by this column have an index.
    pub indexed: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// 0 or 1.
    Boolean,
    /// A 64-bit integer. Within ±(2^53 − 1) in a channel.
    Integer,
    /// A finite 64-bit real.
    Real,
    /// UTF-8 text.
    Text,
}

impl Table {
    /// Describes the table of a record, which is a struct of the name `record`. `columns[0]` is the id.
    pub const fn new(record: &'static str, name: &'static str, columns: &'static [Column]) -> Self {
        Table { record, name, columns, sql: OnceLock::new() }
    }

    /// The name of the record's struct.
    pub fn record(&self) -> &'static str {
        self.record
    }

    /// The table's name, which is its channel's.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The record's columns, `id` first.
    pub fn columns(&self) -> &'static [Column] {
        self.columns
    }

    /// The SQL that makes the table and its indexes where they are missing.
    pub fn create_sql(&self) -> &[String] {
        &self.sql().create
    }

    pub(crate) fn sql(&self) -> &TableSql {
        self.sql.get_or_init(|| TableSql::new(self))
    }
}

impl ColumnType {
    /// The type's name in SQL.
    pub fn sql(self) -> &'static str {
        match self {
            ColumnType::Boolean | ColumnType::Integer => "INTEGER",
            ColumnType::Real => "REAL",
            ColumnType::Text => "TEXT",
        }
    }
}
