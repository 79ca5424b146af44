//! Many steps in one transaction, and what to do when one of them destroys it (SPEC 5.2, 5.3).

use partysync_model::{ActionError, Db, DbError, DbErrorKind, Verdict};
use partysync_protocol::{ErrorCode, Retry};

use crate::event::Report;
use crate::lifecycle::HookWork;
use crate::step::{Outcome, Ran, Stepper, Work};
use crate::{Room, SyncServer};

/// Groups that are run with savepoints at once after one had to be: where one step fails, more may.
const GROUPS_WITH_SAVEPOINTS: u8 = 16;

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Runs steps in one transaction. When this returns, what it returns is durable.
    ///
    /// Nearly all steps succeed, and a savepoint costs as much as a statement or two and a copy of each page that the step changes. So the
    /// steps are tried without, and are run again with one each if any of them fails.
    pub(crate) fn run_group(&mut self, works: &[Work]) -> Vec<Ran> {
        if self.groups_with_savepoints > 0 {
            self.groups_with_savepoints -= 1;
        } else {
            match self.attempt(works, false) {
                Ok(ran) => return ran,
                Err(_) => self.groups_with_savepoints = GROUPS_WITH_SAVEPOINTS,
            }
        }
        match self.attempt(works, true) {
            Ok(ran) => ran,
            Err(_) if works.len() > 1 && !self.must_reopen => works.iter().map(|work| self.run_alone(work)).collect(),
            Err(cause) => works.iter().map(|work| self.run_failed(work, &cause)).collect(),
        }
    }

    fn run_alone(&mut self, work: &Work) -> Ran {
        match self.attempt(std::slice::from_ref(work), true) {
            Ok(mut ran) if ran.len() == 1 => ran.remove(0),
            Ok(_) => unsettled(ErrorCode::StorageFailed.into()),
            Err(cause) => self.run_failed(work, &cause),
        }
    }

    /// Runs steps in one transaction; nothing of them stays, here or in the database, if it is lost.
    fn attempt(&mut self, works: &[Work], has_savepoints: bool) -> Result<Vec<Ran>, ActionError> {
        if self.must_reopen {
            return Err(ErrorCode::StorageFailed.into());
        }
        let before = self.head;
        let mut all = Vec::with_capacity(works.len());
        let mut cause = None;
        let watched = self.watch.len();
        let Room { db, channels, instance, clients, head, timers, members, dropped, input, watch, .. } = self;
        let (dropped, input) = (*dropped, *input);
        let transaction = db.transaction(&mut |db| {
            let mut stepper =
                Stepper { channels, instance, clients, head, timers, members, dropped, input, has_savepoints };
            for work in works {
                watch.begins(work, channels);
                let ran = stepper.run(db, work);
                watch.ended();
                match ran {
                    Ok(ran) => all.push(ran),
                    Err(lost) => {
                        cause = Some(lost.cause);
                        return Verdict::Undo;
                    }
                }
            }
            match clients.save(db) {
                Ok(()) => Verdict::Keep,
                Err(error) => {
                    cause = Some(error.into());
                    Verdict::Undo
                }
            }
        });
        let error = match (transaction, cause) {
            (Ok(()), None) => {
                self.members.commit();
                return Ok(all);
            }
            (_, Some(cause)) => cause,
            (Err(error), None) => error.into(),
        };
        self.head = before;
        self.watch.forget_after(watched);
        self.members.undo(0);
        self.clients.forget();
        self.instance.spoil();
        self.distrust(error.db_error());
        Err(error)
    }

    /// What an error of the database means for all that comes after it.
    pub(crate) fn distrust(&mut self, error: Option<&DbError>) {
        self.must_reopen |= error.is_some_and(|error| error.kind == DbErrorKind::Io);
    }

    /// A step that destroys its transaction even when it is alone in it.
    fn run_failed(&mut self, work: &Work, cause: &ActionError) -> Ran {
        self.watch.failed();
        // What comes after a failure of the storage is not run, and says nothing new.
        let report = (!self.must_reopen || cause.db_error().is_some())
            .then(|| Report { during: "the step's transaction", error: cause.to_string() });
        if let Work::Hook(HookWork { hook, .. }) = work {
            hook.give_up(&self.members);
            self.members.commit();
        }
        let Work::Action(action) = work else {
            return Ran { report, ..unsettled(cause.clone()) };
        };
        if cause.code().retry() == Retry::Later {
            return Ran { report, ..unsettled(cause.clone()) };
        }
        let mut outcome = None;
        let Room { db, channels, instance, clients, head, timers, members, dropped, input, .. } = self;
        let (dropped, input) = (*dropped, *input);
        let transaction = db.transaction(&mut |db| {
            let has_savepoints = true;
            let mut stepper =
                Stepper { channels, instance, clients, head, timers, members, dropped, input, has_savepoints };
            outcome = Some(stepper.reject_alone(db, action, cause.to_wire()));
            Verdict::Keep
        });
        match (transaction, outcome) {
            (Ok(()), Some(outcome)) => Ran { report, ..Ran::of(outcome) },
            (error, _) => {
                self.clients.forget();
                self.distrust(error.as_ref().err());
                let error = error.err().map_or(ErrorCode::StorageFailed.into(), ActionError::from);
                Ran { report, ..unsettled(error) }
            }
        }
    }
}

fn unsettled(error: ActionError) -> Ran {
    Ran::of(Outcome::Unsettled(error.to_wire()))
}
