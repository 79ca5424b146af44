//! Running one statement.

use std::cell::Cell;
use std::ops::DerefMut;

use partysync_model::{Columns, DbError, DbErrorKind, Origin, Value, ValueRef};
use rusqlite::types::{ToSql, ToSqlOutput};
use rusqlite::{Connection, Row, Statement, types};

use crate::budget::Budget;
use crate::db::{SqliteDb, State};
use crate::error::db_error;

/// Goes before the text of an action's statement. The statement cache finds statements by their text, and one that the
/// engine may run must not be found by an action.
const ACTION_MARK: &str = "/*action*/";

impl SqliteDb {
    /// Runs a statement to its end, shows its rows, and returns how many rows it changed itself.
    pub(crate) fn run(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<u64, DbError> {
        self.ready()?;
        // Work of the engine between actions, and migrations, take as long as they take.
        let budgeted = self.depth > 1 && origin != Origin::Setup;
        if budgeted && self.budget.is_spent() {
            return Err(self.out_of_steps());
        }
        self.guard.enter(origin, sql);
        self.budget.begin(budgeted);
        let result = self.prepare_and_run(origin, sql, params, each);
        result.map_err(|error| self.failed(budgeted, error))
    }

    fn prepare_and_run(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<u64, DbError> {
        let sql = match origin {
            Origin::Engine => sql,
            Origin::Action => {
                self.action_sql.clear();
                self.action_sql.push_str(ACTION_MARK);
                self.action_sql.push_str(sql);
                &self.action_sql
            }
            Origin::Setup => {
                let mut statement = self.connection.prepare(sql).map_err(db_error)?;
                let changes_schema = self.guard.run();
                return Running::new(self, changes_schema).to_the_end(&mut statement, params, each);
            }
        };
        let mut statement = self.connection.prepare_cached(sql).map_err(db_error)?;
        let changes_schema = self.guard.run();
        let result = Running::new(self, changes_schema).to_the_end(statement.deref_mut(), params, each);
        if changes_schema {
            statement.discard();
        }
        result
    }

    /// What a statement's failure means for the transaction around it.
    fn failed(&mut self, budgeted: bool, error: DbError) -> DbError {
        if self.depth > 0 && self.connection.is_autocommit() {
            self.state = State::Lost(error.message.clone());
        }
        if error.kind == DbErrorKind::Interrupted && budgeted && self.budget.is_spent() {
            return self.out_of_steps();
        }
        error
    }

    fn out_of_steps(&self) -> DbError {
        let limit = self.budget.limit();
        DbError::new(DbErrorKind::Interrupted, format!("used more than {limit} steps of SQLite's virtual machine"))
    }
}

/// What a running statement needs of its database.
struct Running<'a> {
    connection: &'a Connection,
    budget: &'a Budget,
    changes_schema: bool,
}

impl<'a> Running<'a> {
    fn new(db: &'a SqliteDb, changes_schema: bool) -> Self {
        Running { connection: &db.connection, budget: &db.budget, changes_schema }
    }

    fn to_the_end(
        &self,
        statement: &mut Statement<'_>,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<u64, DbError> {
        let changes_before = self.connection.total_changes();
        let result = step_through(statement, params, each);
        self.budget.end(statement);
        result?;
        // SQLite keeps the count of the last INSERT, UPDATE or DELETE: it is this statement's if the total moved.
        let counts = !self.changes_schema && self.connection.total_changes() != changes_before;
        Ok(if counts { self.connection.changes() } else { 0 })
    }
}

fn step_through(
    statement: &mut Statement<'_>,
    params: &[Value],
    each: &mut dyn FnMut(&dyn Columns),
) -> Result<(), DbError> {
    let count = statement.column_count();
    let params = rusqlite::params_from_iter(params.iter().map(Param));
    let mut rows = statement.query(params).map_err(db_error)?;
    while let Some(row) = rows.next().map_err(db_error)? {
        let shown = Shown { row, count, not_utf8: Cell::new(false) };
        each(&shown);
        if shown.not_utf8.get() {
            return Err(DbError::new(DbErrorKind::Corrupt, "a text in the file is not UTF-8"));
        }
    }
    Ok(())
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

/// The row that SQLite is at.
struct Shown<'a> {
    row: &'a Row<'a>,
    count: usize,
    not_utf8: Cell<bool>,
}

impl Columns for Shown<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn value(&self, index: usize) -> ValueRef<'_> {
        match self.row.get_ref(index) {
            Ok(types::ValueRef::Integer(i)) => ValueRef::Integer(i),
            Ok(types::ValueRef::Real(r)) => ValueRef::Real(r),
            Ok(types::ValueRef::Text(t)) => match str::from_utf8(t) {
                Ok(text) => ValueRef::Text(text),
                Err(_) => {
                    self.not_utf8.set(true);
                    ValueRef::Null
                }
            },
            Ok(types::ValueRef::Blob(b)) => ValueRef::Blob(b),
            Ok(types::ValueRef::Null) | Err(_) => ValueRef::Null,
        }
    }
}
