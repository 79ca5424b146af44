//! Transactions that nest.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use partysync_model::{Db, DbError, DbErrorKind, Origin, Verdict};

use crate::session::{Session, State};

/// Tries to roll back before the connection is given up: an interrupt may hit the first.
const ROLLBACK_TRIES: usize = 3;

impl Session<'_> {
    pub(crate) fn run_transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        self.begin()?;
        let verdict = catch_unwind(AssertUnwindSafe(|| body(self)));
        let ended = self.end(matches!(verdict, Ok(Verdict::Keep)));
        match verdict {
            Ok(_) => ended,
            Err(panic) => resume_unwind(panic),
        }
    }

    fn begin(&mut self) -> Result<(), DbError> {
        self.ready()?;
        self.control(if self.depth == 0 { "BEGIN IMMEDIATE" } else { "SAVEPOINT nested" })?;
        self.depth += 1;
        self.handles.budget.restart();
        Ok(())
    }

    fn end(&mut self, keep: bool) -> Result<(), DbError> {
        let ended = self.ready().and_then(|()| match (self.depth, keep) {
            (1, true) => self.commit(),
            (1, false) => self.roll_back(),
            (_, true) => self.release(),
            (_, false) => self.undo_nested(),
        });
        self.depth -= 1;
        if self.depth == 0 && matches!(self.state, State::Lost(_)) {
            *self.state = State::Ready;
        }
        ended
    }

    fn commit(&mut self) -> Result<(), DbError> {
        self.control("COMMIT").inspect_err(|_| {
            // The reason that counts is the first; if this fails too, every later statement says so.
            let _ = self.roll_back();
        })
    }

    fn release(&mut self) -> Result<(), DbError> {
        self.control("RELEASE nested").or_else(|error| self.undo_nested().and(Err(error)))
    }

    fn undo_nested(&mut self) -> Result<(), DbError> {
        let undone = self.control("ROLLBACK TO nested").and_then(|()| self.control("RELEASE nested"));
        undone.or_else(|error| {
            // A savepoint that can be neither kept nor undone takes the transaction with it.
            self.roll_back()?;
            *self.state = State::Lost(error.message);
            self.ready()
        })
    }

    /// Undoes the outermost transaction.
    fn roll_back(&mut self) -> Result<(), DbError> {
        let mut cause = String::new();
        for _ in 0..ROLLBACK_TRIES {
            // Some failures roll back by themselves, after which there is nothing left to roll back.
            if self.handles.connection.is_autocommit() {
                return Ok(());
            }
            match self.control("ROLLBACK") {
                Ok(()) => return Ok(()),
                Err(error) => cause = error.message,
            }
        }
        *self.state = State::Broken(cause);
        Err(DbError::new(DbErrorKind::Io, "the transaction could neither be kept nor undone"))
    }

    fn control(&mut self, sql: &str) -> Result<(), DbError> {
        self.handles.budget.begin(false);
        self.run_cached(Origin::Engine, sql, &[], &mut |_| {}).map(|_| ())
    }
}
