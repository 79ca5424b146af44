//! What an outermost transaction, or a statement outside of one, runs in.

use partysync_model::{Columns, Db, DbError, DbErrorKind, Origin, Value, Verdict};
use rusqlite::CachedStatement;

use crate::authorizer::Names;
use crate::error::db_error;
use crate::statement::Handles;

/// Goes before the text of an action's statement. The statement cache finds statements by their text, and one that was
/// prepared for the engine must not be found by an action.
const ACTION_MARK: &str = "/*action*/";

/// Statements that a transaction holds on to. rusqlite's cache copies and hashes the text each time that it hands a
/// statement out and takes it back; a group of actions runs the same few dozen again and again.
const STATEMENTS_HELD: usize = 48;

/// Whether statements may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    /// SQLite ended the transaction before its time. Holds why. Until the outermost one returns nothing may run: it would
    /// be a transaction of its own.
    Lost(String),
    /// A transaction could neither be kept nor undone. Holds why. Nothing may run any more.
    Broken(String),
}

/// A connection in use.
pub(crate) struct Session<'c> {
    pub(crate) handles: Handles<'c>,
    pub(crate) state: &'c mut State,
    /// How many transactions are open, one inside the other.
    pub(crate) depth: usize,
    /// Room for the text of an action's statement.
    text: &'c mut String,
    held: Vec<Held<'c>>,
}

/// A statement that a transaction holds on to.
struct Held<'c> {
    /// The text that the statement cache knows it by.
    text: String,
    names: Names,
    statement: CachedStatement<'c>,
}

impl<'c> Session<'c> {
    pub(crate) fn new(handles: Handles<'c>, state: &'c mut State, text: &'c mut String) -> Self {
        Session { handles, state, depth: 0, text, held: Vec::new() }
    }

    /// Whether a statement may run now.
    pub(crate) fn ready(&mut self) -> Result<(), DbError> {
        if self.depth > 0 && *self.state == State::Ready && self.handles.connection.is_autocommit() {
            *self.state = State::Lost("a statement ended it".to_owned());
        }
        match &*self.state {
            State::Ready => Ok(()),
            State::Lost(cause) => Err(DbError::new(DbErrorKind::Lost, format!("the transaction is gone: {cause}"))),
            State::Broken(cause) => Err(DbError::new(DbErrorKind::Io, format!("the connection is unusable: {cause}"))),
        }
    }

    /// Runs a statement to its end, shows its rows, and returns how many rows it changed itself.
    fn run(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<u64, DbError> {
        self.ready()?;
        // Work of the engine between actions, and migrations, take as long as they take. An action without a savepoint of its own
        // shares the budget of those before it in its transaction.
        let budgeted = match origin {
            Origin::Setup => false,
            Origin::Action => self.depth > 0,
            Origin::Engine => self.depth > 1,
        };
        if budgeted && self.handles.budget.is_spent() {
            return Err(self.out_of_steps());
        }
        self.handles.budget.begin(budgeted);
        self.run_as(origin, sql, params, each).map_err(|error| self.failed(budgeted, error))
    }

    fn run_as(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<u64, DbError> {
        match origin {
            Origin::Engine => self.run_cached(origin, sql, params, each),
            Origin::Action => {
                let mut text = std::mem::take(self.text);
                text.clear();
                text.push_str(ACTION_MARK);
                text.push_str(sql);
                let result = self.run_cached(origin, &text, params, each);
                *self.text = text;
                result
            }
            // Rare, and not to be found by an action: not cached.
            Origin::Setup => {
                self.handles.guard.enter(origin, Names::of(origin, sql));
                let mut statement = self.handles.connection.prepare(sql).map_err(db_error)?;
                self.handles.run(&mut statement, params, each)
            }
        }
    }

    /// Runs a statement that may have run before.
    pub(crate) fn run_cached(
        &mut self,
        origin: Origin,
        text: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<u64, DbError> {
        if let Some(held) = self.held.iter_mut().find(|held| held.text == text) {
            self.handles.guard.enter(origin, held.names);
            return self.handles.run(&mut held.statement, params, each);
        }
        let names = Names::of(origin, text);
        self.handles.guard.enter(origin, names);
        let mut statement = self.handles.connection.prepare_cached(text).map_err(db_error)?;
        let result = self.handles.run(&mut statement, params, each);
        if self.handles.guard.changes_schema() {
            statement.discard();
        } else if self.depth > 0 && self.held.len() < STATEMENTS_HELD {
            self.held.push(Held { text: text.to_owned(), names, statement });
        }
        result
    }

    /// What a statement's failure is, and what it means for the transaction around it.
    fn failed(&mut self, budgeted: bool, error: DbError) -> DbError {
        let error = match error.kind {
            DbErrorKind::Interrupted if budgeted && self.handles.budget.is_spent() => self.out_of_steps(),
            DbErrorKind::Sql if self.handles.guard.refused() => DbError { kind: DbErrorKind::Denied, ..error },
            _ => error,
        };
        if self.depth > 0 && self.handles.connection.is_autocommit() {
            *self.state = State::Lost(error.message.clone());
        }
        error
    }

    fn out_of_steps(&self) -> DbError {
        let limit = self.handles.budget.limit();
        DbError::new(DbErrorKind::Interrupted, format!("used more than {limit} steps of SQLite's virtual machine"))
    }
}

impl Db for Session<'_> {
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.run(origin, sql, params, &mut |_| {})
    }

    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        self.run(origin, sql, params, each).map(|_| ())
    }

    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        self.run_transaction(body)
    }
}
