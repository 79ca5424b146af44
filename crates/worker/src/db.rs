use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use js_sys::JsString;
use partysync_model::{Columns, Db, DbError, DbErrorKind, Origin, Value, ValueRef, Verdict};
use wasm_bindgen::JsCast;

use crate::js::{self, Ran, Sql, Storage};
use crate::rewrite::{Carried, columns_only, integers, rewrite};
use crate::statement::{Rows, Statement};

/// Statements kept. The engine has a few dozen, and a handful for each table of the app.
const STATEMENTS_KEPT: usize = 256;

/// A room's database in a Durable Object.
///
/// Nothing may be awaited while it is at work: a Durable Object commits what was written when its event yields.
pub struct DurableDb {
    storage: Storage,
    sql: Sql,
    engine_statements: Statements,
    app_statements: Statements,
    changes: JsString,
    /// How many transactions are open, one inside the other.
    depth: usize,
    /// Whether a transaction that is open made, changed or dropped a table.
    schema_changed: bool,
    /// A statement ended the transaction. Holds why.
    lost: Option<String>,
}

/// By their texts as they were given.
type Statements = HashMap<String, Rc<Prepared>>;

/// A statement, and its text for JavaScript for the integer parameters that it was run with first.
struct Prepared {
    statement: Statement,
    carried: Carried,
    integers: u128,
    text: JsString,
}

impl DurableDb {
    /// The database of the object that `storage` is of. To be called before anything is written in an event.
    ///
    /// # Errors
    ///
    /// The database does not take the settings that the engine relies on.
    pub fn new(storage: &worker::Storage) -> Result<Self, DbError> {
        let storage: Storage = storage.as_raw().unchecked_ref::<Storage>().clone();
        let db = DurableDb {
            sql: storage.sql(),
            storage,
            engine_statements: HashMap::new(),
            app_statements: HashMap::new(),
            changes: "SELECT changes()".into(),
            depth: 0,
            schema_changed: false,
            lost: None,
        };
        for (pragma, name) in [("recursive_triggers", "recursive triggers"), ("foreign_keys", "foreign keys")] {
            db.run(&format!("PRAGMA {pragma} = ON"))?;
            if !db.is_on(pragma)? {
                return Err(DbError::new(DbErrorKind::Io, format!("the database has no {name}")));
            }
        }
        Ok(db)
    }

    fn run(&self, sql: &str) -> Result<Ran, DbError> {
        self.sql.run(&sql.into(), &[])
    }

    fn is_on(&self, pragma: &str) -> Result<bool, DbError> {
        let rows = self.run(&format!("PRAGMA {pragma}"))?.rows;
        Ok(rows.iter().next().is_some_and(|row| js::row(row).value(0) == ValueRef::Integer(1)))
    }

    fn ready(&self) -> Result<(), DbError> {
        match &self.lost {
            None => Ok(()),
            Some(cause) => Err(DbError::new(DbErrorKind::Lost, format!("the transaction is gone: {cause}"))),
        }
    }

    /// Runs a statement of anybody's.
    fn statement(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<(Rc<Prepared>, Ran), DbError> {
        self.ready()?;
        let prepared = self.prepare(origin, sql, params)?;
        let mask = integers(params);
        let ran = if mask == prepared.integers {
            self.sql.run(&prepared.text, params)
        } else {
            self.sql.run(&rewrite(&prepared.statement, mask, &prepared.carried).into(), params)
        };
        let ran = ran.map_err(|error| self.failed(error))?;
        if prepared.statement.changes_schema {
            // What `*` stands for may have changed.
            self.forget_statements();
            self.schema_changed = self.depth > 0;
        }
        Ok((prepared, ran))
    }

    /// As [`query`](Db::query), with one row in memory at a time.
    pub(crate) fn query_one_by_one(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        self.ready()?;
        let prepared = self.prepare(origin, sql, params)?;
        let text = rewrite(&prepared.statement, integers(params), &prepared.carried).into();
        self.sql.each(&text, params, each).map_err(|error| self.failed(error))
    }

    fn prepare(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<Rc<Prepared>, DbError> {
        let known = if origin == Origin::Engine { &self.engine_statements } else { &self.app_statements };
        if let Some(prepared) = known.get(sql) {
            prepared.statement.allow(origin)?;
            return Ok(Rc::clone(prepared));
        }
        let statement = match origin {
            Origin::Engine => Statement::of_engine(sql)?,
            Origin::Setup | Origin::Action => Statement::of_app(sql)?,
        };
        statement.allow(origin)?;
        let carried = self.carried(&statement, params).map_err(|error| self.failed(error))?;
        let integers = integers(params);
        let text = rewrite(&statement, integers, &carried).into();
        let prepared = Rc::new(Prepared { statement, carried, integers, text });
        let known = if origin == Origin::Engine { &mut self.engine_statements } else { &mut self.app_statements };
        if known.len() >= STATEMENTS_KEPT {
            known.clear();
        }
        known.insert(sql.to_owned(), Rc::clone(&prepared));
        Ok(prepared)
    }

    fn forget_statements(&mut self) {
        self.engine_statements.clear();
        self.app_statements.clear();
    }

    /// Finds out which columns a statement's rows have.
    fn carried(&self, statement: &Statement, params: &[Value]) -> Result<Carried, DbError> {
        Ok(match &statement.rows {
            Rows::Other => Carried::Nothing,
            Rows::Query => match self.sql.run(&columns_only(statement).into(), params) {
                Ok(empty) => Carried::Query(empty.columns),
                // The query itself says better what is wrong with it.
                Err(error) => return Err(self.sql.run(&statement.sql.as_str().into(), params).err().unwrap_or(error)),
            },
            Rows::Returning { table, items } => {
                let star = if items.iter().any(|item| item.is_star) { self.columns_of(table)? } else { Vec::new() };
                Carried::Returning { items: items.clone(), star }
            }
        })
    }

    /// The columns that `*` stands for. Hidden ones of virtual tables are not among them, generated ones are.
    fn columns_of(&self, table: &str) -> Result<Vec<String>, DbError> {
        let sql = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1";
        let names = self.sql.run(&sql.into(), &[table.into()])?.rows;
        let name = |row| match js::row(row).into_iter().next() {
            Some(Value::Text(name)) => name,
            _ => String::new(),
        };
        Ok(names.iter().map(name).collect())
    }

    /// What a statement's failure means for the transaction around it.
    fn failed(&mut self, error: DbError) -> DbError {
        if self.depth > 0 && !self.is_in_transaction() {
            self.lost = Some(error.message.clone());
        }
        error
    }

    /// Whether the transaction is still there. `PRAGMA foreign_keys` does nothing in a transaction: if it can be switched
    /// off, there is none.
    fn is_in_transaction(&self) -> bool {
        let is_on = self.run("PRAGMA foreign_keys = OFF").and_then(|_| self.is_on("foreign_keys"));
        if is_on == Ok(true) {
            return true;
        }
        // If this fails too, nothing is the worse for it: nothing will run any more.
        let _ = self.run("PRAGMA foreign_keys = ON");
        false
    }

    /// What a transaction's end means that is neither its commit nor its undoing.
    fn ended_badly(&mut self, error: DbError) -> DbError {
        if self.lost.is_none() && (self.depth == 0 || !self.is_in_transaction()) {
            self.lost = Some(error.message.clone());
        }
        self.ready().err().unwrap_or(error)
    }
}

impl Db for DurableDb {
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let (prepared, _) = self.statement(origin, sql, params)?;
        if !prepared.statement.writes {
            return Ok(0);
        }
        // What a cursor says it wrote counts indexes, triggers and cascades as well.
        let changes = self.sql.run(&self.changes, &[])?.rows;
        Ok(changes.iter().next().map_or(0, |row| match js::row(row).value(0) {
            ValueRef::Integer(changes) => changes.unsigned_abs(),
            _ => 0,
        }))
    }

    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        let (_, ran) = self.statement(origin, sql, params)?;
        ran.rows.iter().for_each(|row| each(&js::row(row)));
        Ok(())
    }

    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        self.ready()?;
        let storage = self.storage.clone();
        let mut verdict: Option<Result<Verdict, Box<dyn Any + Send>>> = None;
        self.depth += 1;
        let ended = storage.transact(|| {
            let ran = catch_unwind(AssertUnwindSafe(|| body(self)));
            let keep = matches!(ran, Ok(Verdict::Keep));
            verdict = Some(ran);
            keep
        });
        self.depth -= 1;
        let ended = ended.map_err(|error| self.ended_badly(error));
        if self.schema_changed && !(matches!(verdict, Some(Ok(Verdict::Keep))) && ended.is_ok()) {
            self.forget_statements();
        }
        self.schema_changed &= self.depth > 0;
        match verdict {
            Some(Err(panic)) => resume_unwind(panic),
            _ => ended,
        }
    }
}
