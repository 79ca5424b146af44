//! What a statement may do, by its origin (SPEC 4.6).
//!
//! SQLite asks while it prepares a statement, and again when it prepares it anew because the schema changed. Whoever is
//! asked must know whose statement it is: [`Guard::enter`] is called before each statement, and `statement.rs` keeps
//! prepared statements of different origins apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use partysync_model::Origin;
use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// How the names of the engine's triggers on the app's tables begin. They write to the engine's tables on behalf of
/// whatever statement fires them.
const CAPTURE_PREFIX: &str = "_capture";

/// Which statement SQLite is working on. Shared with its authoriser; see [`Budget`](crate::budget::Budget) for why atomics.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    origin: AtomicU8,
    /// Whether the statement's text names a capture trigger. SQLite gives the name of a common table expression where it
    /// gives a trigger's, so a statement that does is not believed to run inside one. (A name may stand in any of
    /// SQLite's four quotes, so a text that is written into the SQL counts too. Bound values do not.)
    names_capture: AtomicBool,
    /// Whether the statement's text has a name that begins with `_`, which is the engine's to use.
    names_engine: AtomicBool,
    /// Whether the statement runs: what is asked now, a virtual table prepares for itself.
    running: AtomicBool,
    /// Whether the statement was found to change the schema, or a pragma, when it was prepared.
    changes_schema: AtomicBool,
    /// Whether the statement drops a table, and with it the table's triggers.
    drops_table: AtomicBool,
    /// Whether the statement was refused something.
    refused: AtomicBool,
}

/// What stands in a statement's text, for [`Guard`]: the same as long as the statement lives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names {
    capture: bool,
    engine: bool,
}

impl Names {
    /// The names in a statement of `origin`'s. Nobody asks which names the engine uses.
    pub(crate) fn of(origin: Origin, sql: &str) -> Self {
        if origin == Origin::Engine {
            return Names::default();
        }
        let capture = words(sql).any(|w| starts_with(w, CAPTURE_PREFIX));
        Names { capture, engine: words(sql).any(is_engines) }
    }
}

/// A statement's facts, read from [`Guard`] at each question.
struct Asked {
    origin: Origin,
    in_capture: bool,
    in_trigger_or_view: bool,
    names_engine: bool,
    running: bool,
    drops_table: bool,
    in_temp: bool,
}

impl Guard {
    pub(crate) fn install(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<()> {
        let guard = Arc::clone(self);
        connection.authorizer(Some(move |context: AuthContext<'_>| guard.decide(&context)))
    }

    /// The next statement is `origin`'s, with names as these in its text.
    pub(crate) fn enter(&self, origin: Origin, names: Names) {
        self.origin.store(origin as u8, Relaxed);
        self.running.store(false, Relaxed);
        self.changes_schema.store(false, Relaxed);
        self.drops_table.store(false, Relaxed);
        self.refused.store(false, Relaxed);
        self.names_capture.store(names.capture, Relaxed);
        self.names_engine.store(names.engine, Relaxed);
    }

    /// The statement is prepared and begins to run.
    pub(crate) fn run(&self) {
        self.running.store(true, Relaxed);
    }

    /// Whether the statement makes, changes or drops something.
    pub(crate) fn changes_schema(&self) -> bool {
        self.changes_schema.load(Relaxed)
    }

    /// Whether the statement was refused something: not all of SQLite's errors say that this is why they happened.
    pub(crate) fn refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    fn decide(&self, context: &AuthContext<'_>) -> Authorization {
        if !self.running.load(Relaxed) && changes_schema(&context.action) {
            self.changes_schema.store(true, Relaxed);
        }
        if matches!(context.action, AuthAction::DropTable { .. }) {
            self.drops_table.store(true, Relaxed);
        }
        let origin = match self.origin.load(Relaxed) {
            o if o == Origin::Engine as u8 => Origin::Engine,
            o if o == Origin::Setup as u8 => Origin::Setup,
            _ => Origin::Action,
        };
        let named_capture = context.accessor.is_some_and(|a| starts_with(a, CAPTURE_PREFIX));
        let asked = Asked {
            origin,
            in_capture: named_capture && (origin == Origin::Engine || !self.names_capture.load(Relaxed)),
            in_trigger_or_view: context.accessor.is_some(),
            names_engine: self.names_engine.load(Relaxed),
            running: self.running.load(Relaxed),
            drops_table: self.drops_table.load(Relaxed),
            in_temp: context.database_name == Some("temp"),
        };
        let decision = asked.decide(&context.action);
        if decision == Authorization::Deny {
            self.refused.store(true, Relaxed);
        }
        decision
    }
}

impl Asked {
    fn decide(&self, action: &AuthAction<'_>) -> Authorization {
        if let AuthAction::Analyze { table_name } = action
            && self.origin == Origin::Setup
        {
            // A bare ANALYZE goes through all tables: it skips the engine's.
            return if is_engines(table_name) { Authorization::Ignore } else { Authorization::Allow };
        }
        let allowed = match self.origin {
            Origin::Engine => self.engine_may(action),
            // Not every action on a temporary table is named as one. ALTER TABLE looks for temporary triggers.
            _ if self.in_temp => self.origin == Origin::Setup && is_of_alter_table(action),
            Origin::Setup => self.app_may(action) || self.setup_may(action),
            Origin::Action => self.app_may(action),
        };
        if allowed { Authorization::Allow } else { Authorization::Deny }
    }

    /// A statement of the engine's may do everything, but a trigger of the app's that it fires may not write to the
    /// engine's tables. Only triggers write under a name; common table expressions and views, which have names here
    /// too, only read.
    fn engine_may(&self, action: &AuthAction<'_>) -> bool {
        match written(action) {
            Some(table) => !is_engines(table) || self.in_capture || !self.in_trigger_or_view,
            None => true,
        }
    }

    /// What the app may always do. What is not named here is refused.
    fn app_may(&self, action: &AuthAction<'_>) -> bool {
        match action {
            AuthAction::Select | AuthAction::Recursive => true,
            AuthAction::Function { function_name } => !is_any(function_name, &REFUSED_FUNCTIONS),
            AuthAction::Read { table_name, .. } => self.in_capture || is_apps(table_name),
            // FTS5 asks for this while it runs, to see whether its index changed.
            AuthAction::Pragma { pragma_name, pragma_value: None } => {
                self.running && is_any(pragma_name, &["data_version"])
            }
            action => written(action).is_some_and(|table| self.in_capture || is_apps(table)),
        }
    }

    /// What the app may do at start-up and in migrations besides.
    fn setup_may(&self, action: &AuthAction<'_>) -> bool {
        use AuthAction::{
            AlterTable, CreateIndex, CreateTable, CreateTrigger, CreateView, CreateVtable, DropIndex, DropTable,
            DropTrigger, DropView, DropVtable, Pragma, Read, Reindex,
        };
        match action {
            Read { table_name, .. } => is_any(table_name, &SCHEMA_TABLES),
            CreateTable { table_name } | DropTable { table_name } | DropVtable { table_name, .. } => {
                !is_engines(table_name)
            }
            CreateIndex { index_name, table_name } | DropIndex { index_name, table_name } => {
                !is_engines(index_name) && !is_engines(table_name)
            }
            DropTrigger { trigger_name, .. } => !is_engines(trigger_name) || self.drops_table,
            DropView { view_name } => !is_engines(view_name),
            // Nobody asks about a trigger's or a view's body before it is used, a table's new name or a virtual table's
            // arguments at all: so their text may have no name of the engine's.
            CreateTrigger { trigger_name: name, table_name } => {
                !is_engines(name) && !is_engines(table_name) && !self.names_engine
            }
            CreateView { view_name: name } | AlterTable { table_name: name, .. } => {
                !is_engines(name) && !self.names_engine
            }
            CreateVtable { module_name, .. } => is_any(module_name, &MODULES) && !self.names_engine,
            Reindex { .. } => true,
            // ALTER TABLE checks the rows that are there with it.
            Pragma { pragma_name, .. } => self.running && is_any(pragma_name, &["quick_check"]),
            // SQLite's own writes for the above. What is no part of a statement above, it refuses by itself.
            action => written(action).is_some_and(|table| is_any(table, &SCHEMA_TABLES)),
        }
    }
}

/// Tables of SQLite's own that DDL reads and writes.
const SCHEMA_TABLES: [&str; 5] = ["sqlite_master", "sqlite_schema", "sqlite_sequence", "sqlite_stat1", "sqlite_stat4"];

/// Virtual tables that the app may make: those that a Durable Object has.
const MODULES: [&str; 2] = ["fts5", "fts5vocab"];

/// Virtual tables that are simply there and tell about the engine's tables.
const REFUSED_TABLES: [&str; 3] = ["dbstat", "bytecode", "tables_used"];

/// Functions that reach outside of the database.
const REFUSED_FUNCTIONS: [&str; 2] = ["load_extension", "fts3_tokenizer"];

/// The table that a statement writes to.
fn written<'c>(action: &AuthAction<'c>) -> Option<&'c str> {
    match action {
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => Some(table_name),
        _ => None,
    }
}

/// What ALTER TABLE does to the schema of temporary tables, where there are none.
fn is_of_alter_table(action: &AuthAction<'_>) -> bool {
    matches!(
        action,
        AuthAction::Read { table_name: "sqlite_temp_master", .. }
            | AuthAction::Update { table_name: "sqlite_temp_master", .. }
    )
}

fn changes_schema(action: &AuthAction<'_>) -> bool {
    !matches!(
        action,
        AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::Function { .. }
            | AuthAction::Read { .. }
            | AuthAction::Insert { .. }
            | AuthAction::Update { .. }
            | AuthAction::Delete { .. }
            | AuthAction::Transaction { .. }
            | AuthAction::Savepoint { .. }
    )
}

fn is_engines(name: &str) -> bool {
    name.starts_with('_')
}

fn is_apps(table: &str) -> bool {
    !is_engines(table) && !starts_with(table, "sqlite_") && !is_any(table, &REFUSED_TABLES)
}

fn is_any(name: &str, names: &[&str]) -> bool {
    names.iter().any(|n| n.eq_ignore_ascii_case(name))
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// The runs of characters in an SQL text that could be names, those in texts and comments among them.
fn words(sql: &str) -> impl Iterator<Item = &str> {
    // SQLite takes every character past ASCII for a part of a name, but for the byte order mark, which is a space to it.
    let splits = |c: char| c == '\u{feff}' || c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$';
    sql.split(splits).filter(|w| !w.is_empty())
}
