//! The typed operations as SQL: what a database that speaks it does by default.

use std::fmt::Write;
use std::ops::Bound;

use crate::{Column, ColumnType, Columns, Db, DbError, DbErrorKind, Millis, Origin, Scan, Table, Value};

/// A table's statements, written once.
#[derive(Debug)]
pub(crate) struct TableSql {
    pub(crate) create: Vec<String>,
    insert: String,
    update: String,
    delete: String,
    select: String,
    get: String,
}

/// A name as an SQL identifier.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl TableSql {
    pub(crate) fn new(table: &Table) -> Self {
        let name = quote(table.name());
        let columns: Vec<String> = table.columns().iter().map(|c| quote(c.name)).collect();
        let list = columns.join(", ");
        let id = &columns[0];
        let marks = vec!["?"; columns.len()].join(", ");
        let excluded: String = columns[1..].iter().fold(String::new(), |mut out, c| {
            let _ = write!(out, "{c} = excluded.{c}, ");
            out
        });
        let set: String = columns[1..].iter().enumerate().fold(String::new(), |mut out, (i, c)| {
            let _ = write!(out, "{c} = ?{}, ", i + 2);
            out
        });
        let at = columns.len() + 1;
        let select = format!("SELECT {list}, created_at, updated_at, deleted_at FROM {name} WHERE deleted_at IS NULL");
        TableSql {
            create: create(table),
            insert: format!(
                "INSERT INTO {name} ({list}, created_at, updated_at) VALUES ({marks}, ?{at}, ?{at}) \
                 ON CONFLICT ({id}) DO UPDATE SET {excluded}created_at = excluded.created_at, \
                 updated_at = excluded.updated_at, deleted_at = NULL WHERE deleted_at IS NOT NULL"
            ),
            update: format!("UPDATE {name} SET {set}updated_at = ?{at} WHERE {id} = ?1 AND deleted_at IS NULL"),
            delete: format!("DELETE FROM {name} WHERE {id} = ? AND deleted_at IS NULL"),
            get: format!("{select} AND {id} = ?"),
            select,
        }
    }
}

fn create(table: &Table) -> Vec<String> {
    let name = quote(table.name());
    let column = |(i, c): (usize, &Column)| {
        let column = quote(c.name);
        let mut out = format!("{column} {}", c.column_type.sql());
        if i == 0 {
            out.push_str(" PRIMARY KEY");
        }
        if !c.nullable {
            out.push_str(" NOT NULL");
        }
        if c.unique && i > 0 {
            out.push_str(" UNIQUE");
        }
        if c.column_type == ColumnType::Boolean {
            let _ = write!(out, " CHECK ({column} IN (0, 1))");
        }
        out
    };
    let columns: Vec<String> = table.columns().iter().enumerate().map(column).collect();
    let mut statements = vec![format!(
        "CREATE TABLE IF NOT EXISTS {name} ({}, created_at INTEGER, updated_at INTEGER, deleted_at INTEGER) \
         STRICT, WITHOUT ROWID",
        columns.join(", ")
    )];
    for c in table.columns().iter().skip(1).filter(|c| c.indexed && !c.unique) {
        let index = quote(&format!("{}_{}", table.name(), c.name));
        statements.push(format!("CREATE INDEX IF NOT EXISTS {index} ON {name} ({})", quote(c.name)));
    }
    statements
}

pub(crate) fn insert(db: &mut (impl Db + ?Sized), table: &Table, row: &[Value], at: Millis) -> Result<(), DbError> {
    let changed = db.execute(Origin::Engine, &table.sql().insert, &with_time(row, at))?;
    if changed == 0 {
        return Err(DbError::new(DbErrorKind::Duplicate, format!("{}: the id is there already", table.name())));
    }
    Ok(())
}

pub(crate) fn update(db: &mut (impl Db + ?Sized), table: &Table, row: &[Value], at: Millis) -> Result<bool, DbError> {
    Ok(db.execute(Origin::Engine, &table.sql().update, &with_time(row, at))? > 0)
}

pub(crate) fn delete(db: &mut (impl Db + ?Sized), table: &Table, id: &Value) -> Result<bool, DbError> {
    Ok(db.execute(Origin::Engine, &table.sql().delete, std::slice::from_ref(id))? > 0)
}

pub(crate) fn scan(
    db: &mut (impl Db + ?Sized),
    table: &Table,
    scan: &Scan,
    each: &mut dyn FnMut(&dyn Columns),
) -> Result<(), DbError> {
    if let Some(id) = single_id(scan) {
        return db.query(Origin::Engine, &table.sql().get, std::slice::from_ref(id), each);
    }
    let id = quote(table.columns()[0].name);
    let mut sql = table.sql().select.clone();
    let mut params = Vec::new();
    if let Some((index, value)) = &scan.equals {
        // Of the few operators that match NULL, IS alone can use an index.
        let _ = write!(sql, " AND {} IS ?", quote(table.columns()[*index].name));
        params.push(value.clone());
    }
    for (bound, inclusive, exclusive) in [(&scan.ids.start, ">=", ">"), (&scan.ids.end, "<=", "<")] {
        let (operator, value) = match bound {
            Bound::Included(value) => (inclusive, value),
            Bound::Excluded(value) => (exclusive, value),
            Bound::Unbounded => continue,
        };
        let _ = write!(sql, " AND {id} {operator} ?");
        params.push(value.clone());
    }
    let _ = write!(sql, " ORDER BY {id}{}", if scan.reverse { " DESC" } else { "" });
    if let Some(limit) = scan.limit {
        sql.push_str(" LIMIT ?");
        params.push(Value::Integer(limit.into()));
    }
    db.query(Origin::Engine, &sql, &params, each)
}

/// The id, if a scan is nothing but the look-up of one.
fn single_id(scan: &Scan) -> Option<&Value> {
    match (&scan.ids.start, &scan.ids.end) {
        (Bound::Included(a), Bound::Included(b)) if a == b && scan.equals.is_none() && scan.limit.is_none() => Some(a),
        _ => None,
    }
}

fn with_time(row: &[Value], at: Millis) -> Vec<Value> {
    let mut params = Vec::with_capacity(row.len() + 1);
    params.extend_from_slice(row);
    params.push(Value::Integer(at));
    params
}
