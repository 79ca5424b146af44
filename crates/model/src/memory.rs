use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::{Columns, Db, DbError, DbErrorKind, Millis, Origin, Scan, Table, Value, ValueRef, Verdict};

/// Tables in memory: what a client predicts on. The typed operations give the same rows, errors and order as SQLite's.
///
/// SQL and tables that were not given to [`new`](MemoryDb::new) are [`Unsupported`](DbErrorKind::Unsupported), which
/// ends a prediction.
#[derive(Debug, Default)]
pub struct MemoryDb {
    tables: BTreeMap<&'static str, MemoryTable>,
    /// What to put back, newest last, while a transaction is open.
    undo: Vec<Undo>,
    open_transactions: usize,
}

#[derive(Debug)]
struct MemoryTable {
    rows: BTreeMap<Key, Vec<Value>>,
    /// For each unique column but the id: its index, and which row has a value.
    unique: Vec<(usize, BTreeMap<Key, Key>)>,
}

#[derive(Debug)]
struct Undo {
    table: &'static str,
    id: Key,
    before: Option<Vec<Value>>,
}

/// A value in SQLite's order.
#[derive(Debug, Clone)]
struct Key(Value);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_ref().sqlite_cmp(other.0.as_ref())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl MemoryDb {
    /// Empty tables.
    pub fn new(tables: impl IntoIterator<Item = &'static Table>) -> Self {
        let tables = tables.into_iter().map(|t| (t.name(), MemoryTable::new(t))).collect();
        MemoryDb { tables, ..Self::default() }
    }

    /// Puts a row as a server sent it, times included, in place of the one with its id. Nothing is checked: the server is
    /// right. Returns false if there is no such table.
    pub fn put(&mut self, table: &str, row: Vec<Value>) -> bool {
        let Some((&name, _)) = self.tables.get_key_value(table) else { return false };
        let Some(id) = row.first().cloned() else { return false };
        self.set(name, Key(id), Some(row));
        true
    }

    /// Removes a row that a server says is gone. Returns false if there is no such table.
    pub fn remove(&mut self, table: &str, id: &Value) -> bool {
        let Some((&name, _)) = self.tables.get_key_value(table) else { return false };
        self.set(name, Key(id.clone()), None);
        true
    }

    /// Removes all rows of all tables.
    pub fn clear(&mut self) {
        for table in self.tables.values_mut() {
            table.rows.clear();
            table.unique.iter_mut().for_each(|(_, rows)| rows.clear());
        }
    }

    /// From here on, changes are predictions, until [`discard_predictions`](Self::discard_predictions).
    pub fn begin_predictions(&mut self) {
        if self.open_transactions == 0 {
            self.undo.clear();
            self.open_transactions = 1;
        }
    }

    /// Takes all predictions back.
    pub fn discard_predictions(&mut self) {
        self.undo_to(0);
        self.open_transactions = 0;
    }

    /// A table's rows in the order of their ids, times included.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = &[Value]> {
        self.tables.get(table).into_iter().flat_map(|t| t.rows.values().map(Vec::as_slice))
    }

    fn table(&self, table: &Table) -> Result<&MemoryTable, DbError> {
        self.tables.get(table.name()).ok_or_else(|| unsupported(&format!("the table {}", table.name())))
    }

    /// Sets or removes a row, and remembers what was there.
    fn set(&mut self, table: &'static str, id: Key, row: Option<Vec<Value>>) {
        let Some(rows) = self.tables.get_mut(table) else { return };
        let before = rows.set(&id, row);
        if self.open_transactions > 0 {
            self.undo.push(Undo { table, id, before });
        }
    }

    fn undo_to(&mut self, mark: usize) {
        for Undo { table, id, before } in self.undo.drain(mark..).rev() {
            if let Some(rows) = self.tables.get_mut(table) {
                rows.set(&id, before);
            }
        }
    }
}

impl MemoryTable {
    fn new(table: &Table) -> Self {
        let unique = table.columns().iter().enumerate().skip(1).filter(|(_, c)| c.unique);
        MemoryTable { rows: BTreeMap::new(), unique: unique.map(|(i, _)| (i, BTreeMap::new())).collect() }
    }

    fn set(&mut self, id: &Key, row: Option<Vec<Value>>) -> Option<Vec<Value>> {
        let before = self.rows.remove(id);
        for (column, owners) in &mut self.unique {
            if let Some(old) = before.as_ref().and_then(|row| row.get(*column)) {
                let old = Key(old.clone());
                if owners.get(&old) == Some(id) {
                    owners.remove(&old);
                }
            }
            if let Some(new) = row.as_ref().and_then(|row| row.get(*column)).filter(|v| **v != Value::Null) {
                owners.insert(Key(new.clone()), id.clone());
            }
        }
        if let Some(row) = row {
            self.rows.insert(id.clone(), row);
        }
        before
    }

    /// Whether another row has one of a row's unique values.
    fn repeats(&self, id: &Key, row: &[Value]) -> bool {
        self.unique.iter().any(|(column, owners)| {
            row.get(*column).is_some_and(|v| owners.get(&Key(v.clone())).is_some_and(|owner| owner != id))
        })
    }
}

impl Db for MemoryDb {
    fn execute(&mut self, _: Origin, _: &str, _: &[Value]) -> Result<u64, DbError> {
        Err(unsupported("SQL"))
    }

    fn query(&mut self, _: Origin, _: &str, _: &[Value], _: &mut dyn FnMut(&dyn Columns)) -> Result<(), DbError> {
        Err(unsupported("SQL"))
    }

    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> Result<(), DbError> {
        let mark = self.undo.len();
        self.open_transactions += 1;
        let verdict = catch_unwind(AssertUnwindSafe(|| body(self)));
        self.open_transactions -= 1;
        if !matches!(verdict, Ok(Verdict::Keep)) {
            self.undo_to(mark);
        }
        if self.open_transactions == 0 {
            self.undo.clear();
        }
        verdict.map(|_| ()).or_else(|panic| resume_unwind(panic))
    }

    fn insert(&mut self, table: &Table, row: &[Value], at: Millis) -> Result<(), DbError> {
        let rows = self.table(table)?;
        let id = id_of(row)?;
        if rows.rows.contains_key(&id) || rows.repeats(&id, row) {
            return Err(duplicate(table));
        }
        let times = [Value::Integer(at), Value::Integer(at), Value::Null];
        let row = row.iter().cloned().chain(times).collect();
        self.set(table.name(), id, Some(row));
        Ok(())
    }

    fn update(&mut self, table: &Table, row: &[Value], at: Millis) -> Result<bool, DbError> {
        let rows = self.table(table)?;
        let id = id_of(row)?;
        let Some(before) = rows.rows.get(&id) else { return Ok(false) };
        if rows.repeats(&id, row) {
            return Err(duplicate(table));
        }
        let created_at = before.get(row.len()).cloned().unwrap_or(Value::Null);
        let row = row.iter().cloned().chain([created_at, Value::Integer(at), Value::Null]).collect();
        self.set(table.name(), id, Some(row));
        Ok(true)
    }

    fn delete(&mut self, table: &Table, id: &Value) -> Result<bool, DbError> {
        let id = Key(id.clone());
        let was_there = self.table(table)?.rows.contains_key(&id);
        if was_there {
            self.set(table.name(), id, None);
        }
        Ok(was_there)
    }

    fn scan(&mut self, table: &Table, scan: &Scan, each: &mut dyn FnMut(&dyn Columns)) -> Result<(), DbError> {
        let rows = &self.table(table)?.rows;
        let bounds = (scan.ids.start.as_ref().map(|v| Key(v.clone())), scan.ids.end.as_ref().map(|v| Key(v.clone())));
        if is_empty(&bounds) {
            return Ok(());
        }
        let equals = scan.equals.as_ref().map(|(column, value)| match value.as_ref() {
            // As SQLite binds it.
            ValueRef::Real(r) if r.is_nan() => (*column, ValueRef::Null),
            value => (*column, value),
        });
        let matches = |row: &&Vec<Value>| {
            equals.is_none_or(|(column, value)| row.get(column).is_some_and(|v| v.as_ref().sqlite_cmp(value).is_eq()))
        };
        let limit = scan.limit.map_or(usize::MAX, |limit| limit as usize);
        let range = rows.range(bounds).map(|(_, row)| row);
        if scan.reverse {
            range.rev().filter(matches).take(limit).for_each(|row| each(row));
        } else {
            range.filter(matches).take(limit).for_each(|row| each(row));
        }
        Ok(())
    }
}

/// Bounds that hold nothing, for which `BTreeMap::range` panics.
fn is_empty(bounds: &(Bound<Key>, Bound<Key>)) -> bool {
    match bounds {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        _ => false,
    }
}

fn id_of(row: &[Value]) -> Result<Key, DbError> {
    row.first().cloned().map(Key).ok_or_else(|| unsupported("a row without an id"))
}

fn unsupported(what: &str) -> DbError {
    DbError::new(DbErrorKind::Unsupported, format!("tables in memory do not have: {what}"))
}

fn duplicate(table: &Table) -> DbError {
    DbError::new(DbErrorKind::Duplicate, format!("{}: the id or a unique value is there already", table.name()))
}
