//! The budget of virtual-machine steps (SPEC 5.7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rusqlite::{Connection, Statement, StatementStatus};

/// Steps between two looks at the budget.
const STEPS_BETWEEN_LOOKS: u16 = 1_000;

/// Counts steps since the innermost transaction began. Shared with SQLite's progress handler, which runs on the thread
/// that runs the statement: the atomics are there because the handler must be `Send`, not because anybody races.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    /// Used by statements that ended.
    used: AtomicU64,
    /// Used by the statement that runs, as far as it was looked at.
    running: AtomicU64,
    /// Whether the statement that runs is stopped at the limit.
    enforced: AtomicBool,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Budget { limit, used: AtomicU64::new(0), running: AtomicU64::new(0), enforced: AtomicBool::new(false) }
    }

    pub(crate) fn install(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<()> {
        let budget = Arc::clone(self);
        let handler = move || {
            budget.running.fetch_add(STEPS_BETWEEN_LOOKS.into(), Relaxed);
            budget.enforced.load(Relaxed) && budget.is_spent()
        };
        connection.progress_handler(STEPS_BETWEEN_LOOKS.into(), Some(handler))
    }

    /// A transaction begins: the count starts anew.
    pub(crate) fn restart(&self) {
        self.used.store(0, Relaxed);
    }

    /// A statement begins.
    pub(crate) fn begin(&self, enforced: bool) {
        self.running.store(0, Relaxed);
        self.enforced.store(enforced, Relaxed);
    }

    /// A statement ended. The progress handler sees only whole thousands, so what the statement used comes from itself.
    pub(crate) fn end(&self, statement: &Statement<'_>) {
        let exact = u64::try_from(statement.reset_status(StatementStatus::VmStep)).unwrap_or(0);
        let used = exact.max(self.running.swap(0, Relaxed));
        self.used.fetch_add(used, Relaxed);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.used.load(Relaxed) + self.running.load(Relaxed) > self.limit
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }
}
