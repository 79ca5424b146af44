//! Running one prepared statement.

use partysync_model::{Columns, DbError, DbErrorKind, Value, ValueRef};
use rusqlite::types::{ToSql, ToSqlOutput};
use rusqlite::{Connection, Row, Statement, types};

use crate::authorizer::Guard;
use crate::budget::Budget;
use crate::error::db_error;

/// A connection, and what watches over its statements.
#[derive(Clone, Copy)]
pub(crate) struct Handles<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) guard: &'c Guard,
    pub(crate) budget: &'c Budget,
}

impl Handles<'_> {
    /// Runs a statement to its end, shows its rows, and returns how many rows it changed itself.
    pub(crate) fn run(
        self,
        statement: &mut Statement<'_>,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<u64, DbError> {
        self.guard.run();
        let total_before = self.connection.total_changes();
        let result = step_through(statement, params, each);
        self.budget.end(statement);
        result?;
        // SQLite keeps the count of the last INSERT, UPDATE or DELETE: it is this statement's if the total moved. DDL may
        // move it too, for a virtual table's own tables.
        let counts = !self.guard.changes_schema() && self.connection.total_changes() != total_before;
        Ok(if counts { self.connection.changes() } else { 0 })
    }
}

fn step_through(
    statement: &mut Statement<'_>,
    params: &[Value],
    each: &mut dyn FnMut(&dyn Columns),
) -> Result<(), DbError> {
    let params = rusqlite::params_from_iter(params.iter().map(Param));
    let mut rows = statement.query(params).map_err(db_error)?;
    let mut spare = Vec::new();
    while let Some(row) = rows.next().map_err(db_error)? {
        let mut values = reused(spare);
        // Asked anew for each row: the first step prepares the statement again if the schema changed.
        for index in 0..row.as_ref().column_count() {
            values.push(column(row, index)?);
        }
        each(&Shown(&values));
        spare = reused(values);
    }
    Ok(())
}

/// An empty list in the same memory: `collect` keeps the allocation.
fn reused<'b>(mut values: Vec<ValueRef<'_>>) -> Vec<ValueRef<'b>> {
    values.clear();
    values.into_iter().map(|_| ValueRef::Null).collect()
}

fn column<'a>(row: &'a Row<'_>, index: usize) -> Result<ValueRef<'a>, DbError> {
    Ok(match row.get_ref(index).map_err(db_error)? {
        types::ValueRef::Null => ValueRef::Null,
        types::ValueRef::Integer(i) => ValueRef::Integer(i),
        types::ValueRef::Real(r) => ValueRef::Real(r),
        types::ValueRef::Text(t) => ValueRef::Text(str::from_utf8(t).map_err(|_| not_utf8(index))?),
        types::ValueRef::Blob(b) => ValueRef::Blob(b),
    })
}

fn not_utf8(index: usize) -> DbError {
    DbError::new(DbErrorKind::Corrupt, format!("the text in column {index} of the result is not UTF-8"))
}

/// A value to bind, borrowed.
struct Param<'a>(&'a Value);

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => types::ValueRef::Null,
            Value::Integer(i) => types::ValueRef::Integer(*i),
            Value::Real(r) => types::ValueRef::Real(*r),
            Value::Text(t) => types::ValueRef::Text(t.as_bytes()),
            Value::Blob(b) => types::ValueRef::Blob(b),
        }))
    }
}

/// The row that SQLite is at, in SQLite's memory.
struct Shown<'a>(&'a [ValueRef<'a>]);

impl Columns for Shown<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn value(&self, index: usize) -> ValueRef<'_> {
        self.0.get(index).copied().unwrap_or(ValueRef::Null)
    }
}
