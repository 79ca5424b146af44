//! SQL that says the same through JavaScript's numbers.
//!
//! A number that JavaScript binds is a REAL, and one that it reads has lost its type, and past 2^53 its last digits too. So
//! - a placeholder that an integer goes to becomes `(+CAST(? AS INTEGER))`. The plus takes the affinity away that CAST
//!   gives: a bare parameter has none, and comparisons with text depend on it;
//! - the statement's rows go through [`carrier`], which sends what a number cannot say as a blob. For that a query
//!   becomes a common table, kept as such: were it merged into the outer query, each use of a column would compute its
//!   expression anew.

use std::ops::Range;

use partysync_model::Value;

use crate::statement::{Item, Placeholder, Statement};

/// The largest integer up to which a number holds every one.
const EXACT: i64 = 1 << 53;

/// What a statement's text has to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Its rows cannot be carried: it has none, or is a pragma of the engine's.
    Nothing,
    /// A query of this many columns.
    Query(usize),
    /// The entries of a RETURNING; `*` stands for the table's columns.
    Returning { items: Vec<Item>, star: Vec<String> },
}

/// The integer parameters of a statement, one bit each. A Durable Object takes 100 parameters.
pub(crate) fn integers(params: &[Value]) -> u128 {
    let bit = |(i, value): (usize, &Value)| match value {
        Value::Integer(_) => 1_u128.checked_shl(i as u32).unwrap_or(0),
        _ => 0,
    };
    params.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
}

/// Whether a number holds this integer.
pub(crate) fn is_exact(integer: i64) -> bool {
    (-EXACT..=EXACT).contains(&integer)
}

/// The statement's text with its integer parameters and its rows carried.
pub(crate) fn rewrite(statement: &Statement, integers: u128, carried: &Carried) -> String {
    let whole = 0..statement.sql.len();
    match carried {
        Carried::Nothing => cast(statement, integers, whole),
        Carried::Returning { items, star } => {
            let star =
                star.iter().map(|name| carried_value(&partysync_model::quote(name))).collect::<Vec<_>>().join(", ");
            let head = cast(statement, integers, 0..items.first().map_or(whole.end, |item| item.place.start));
            let items = items.iter().map(|item| match item.is_star {
                true => star.clone(),
                false => carried_value(&cast(statement, integers, item.place.clone())),
            });
            let items = items.collect::<Vec<_>>().join(", ");
            format!("{head}{items}")
        }
        Carried::Query(columns) => {
            let names: Vec<String> = (0..*columns).map(|i| format!("c{i}")).collect();
            let carriers = names.iter().map(|name| carrier(name)).collect::<Vec<_>>().join(", ");
            let (names, query) = (names.join(", "), cast(statement, integers, whole));
            format!("WITH _rows({names}) AS MATERIALIZED ({query}) SELECT {carriers} FROM _rows")
        }
    }
}

/// A part of the statement, its integer parameters cast.
fn cast(statement: &Statement, integers: u128, part: Range<usize>) -> String {
    let mut out = String::with_capacity(part.len() + 64);
    let mut at = part.start;
    let inside = statement.placeholders.iter().filter(|p| part.contains(&p.place.start));
    for Placeholder { place, .. } in inside.filter(|p| integers >> p.parameter & 1 == 1) {
        out.push_str(&statement.sql[at..place.start]);
        out.push_str("(+CAST(");
        out.push_str(&statement.sql[place.clone()]);
        out.push_str(" AS INTEGER))");
        at = place.end;
    }
    out.push_str(&statement.sql[at..part.end]);
    out
}

/// A query that has the columns of another one, and no rows.
pub(crate) fn columns_only(statement: &Statement) -> String {
    format!("SELECT * FROM ({}) LIMIT 0", statement.sql)
}

/// An expression for a column's value that JavaScript can hold: `i` and digits for a large integer, `r` and digits for a
/// whole real, `b` and its bytes for a blob, all as blobs; anything else as it is.
fn carrier(column: &str) -> String {
    // The pluses keep a column's affinity out of comparisons.
    "CASE typeof(@) WHEN 'integer' THEN iif(+@ BETWEEN -9007199254740992 AND 9007199254740992, @, CAST('i'||@ AS BLOB)) \
     WHEN 'real' THEN iif(+@ = CAST(@ AS INTEGER), CAST('r'||CAST(@ AS INTEGER) AS BLOB), @) \
     WHEN 'blob' THEN CAST('b'||@ AS BLOB) ELSE @ END"
        .replace('@', column)
}

/// As [`carrier`], for an expression. It is computed once, and may have a name of its own.
fn carried_value(expression: &str) -> String {
    format!("(WITH _value(c) AS (SELECT {expression}) SELECT {} FROM _value)", carrier("c"))
}

/// Reads a blob that [`carrier`] made. `None` if it did not make it.
pub(crate) fn uncarry(bytes: &[u8]) -> Option<Value> {
    let (tag, rest) = bytes.split_first()?;
    let integer = || str::from_utf8(rest).ok()?.parse::<i64>().ok();
    match tag {
        b'i' => integer().map(Value::Integer),
        b'r' => integer().map(|i| Value::Real(i as f64)),
        b'b' => Some(Value::Blob(rest.to_owned())),
        _ => None,
    }
}

/// What a number is that came through [`carrier`]: whole reals come as blobs, but for those past an integer's range.
pub(crate) fn number(number: f64) -> Value {
    let is_integer = number.trunc() == number && number.abs() <= EXACT as f64;
    if is_integer { Value::Integer(number as i64) } else { Value::Real(number) }
}

#[cfg(test)]
mod tests {
    use partysync_model::{Db, DbError, Origin};
    use partysync_sqlite::{Options, SqliteDb};

    use super::*;
    use crate::statement::Rows;

    /// What a Durable Object would make of values on their way in: integers become reals or, large ones, texts.
    fn bound(params: &[Value]) -> Vec<Value> {
        let bind = |value: &Value| match value {
            Value::Integer(i) if is_exact(*i) => Value::Real(*i as f64),
            Value::Integer(i) => Value::Text(i.to_string()),
            value => value.clone(),
        };
        params.iter().map(bind).collect()
    }

    /// And of values on their way out.
    fn read(value: Value) -> Value {
        match value {
            Value::Integer(i) => number(i as f64),
            Value::Real(r) => number(r),
            Value::Blob(bytes) => uncarry(&bytes).unwrap(),
            value => value,
        }
    }

    fn run(db: &mut SqliteDb, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, DbError> {
        let mut rows = Vec::new();
        db.query(Origin::Engine, sql, params, &mut |row| rows.push(row.to_values()))?;
        Ok(rows)
    }

    /// Runs a statement as a Durable Object would.
    fn run_carried(db: &mut SqliteDb, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, DbError> {
        let statement = Statement::of_app(sql)?;
        let carried = match &statement.rows {
            Rows::Other => Carried::Nothing,
            Rows::Query => {
                let empty = columns_only(&statement);
                run(db, &empty, &bound(params))?;
                // Here a row is the only way to the number of columns.
                let first = run(db, sql, params)?;
                let Some(first) = first.first() else { return Ok(Vec::new()) };
                Carried::Query(first.len())
            }
            Rows::Returning { table, items } => {
                let names = run(db, "SELECT name FROM pragma_table_xinfo(?)", &[table.as_str().into()])?;
                let name = |row: Vec<Value>| match &row[0] {
                    Value::Text(name) => name.clone(),
                    _ => String::new(),
                };
                Carried::Returning { items: items.clone(), star: names.into_iter().map(name).collect() }
            }
        };
        let sql = rewrite(&statement, integers(params), &carried);
        let rows = run(db, &sql, &bound(params))?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(read).collect()).collect())
    }

    fn database() -> SqliteDb {
        let mut db = SqliteDb::open_in_memory(&Options::default()).unwrap();
        let table = "CREATE TABLE t (id ANY PRIMARY KEY, i INTEGER, r REAL, x TEXT, b BLOB) STRICT, WITHOUT ROWID";
        run(&mut db, table, &[]).unwrap();
        run(&mut db, "CREATE TABLE untyped (a, b TEXT, c REAL)", &[]).unwrap();
        db
    }

    fn values() -> Vec<Value> {
        let integers = [0, 1, -1, EXACT - 1, EXACT, EXACT + 1, -EXACT, -EXACT - 1, i64::MAX, i64::MIN];
        let reals = [0.0, 1.0, -2.5, 0.1, 1e15, 9_007_199_254_740_992.0, 1e17, -9.2e18, 9.3e18, 1e300, f64::INFINITY];
        let texts = ["", "a", "5", "5.0", "05", "i5", "a\0b", "ä"];
        let blobs = [&b""[..], b"i5", b"r1", b"b", b"a\0b", b"\xff\xfe"];
        let mut values = vec![Value::Null];
        values.extend(integers.map(Value::Integer));
        values.extend(reals.map(Value::Real));
        values.extend(texts.map(Value::from));
        values.extend(blobs.map(|b| Value::Blob(b.to_vec())));
        values
    }

    #[test]
    fn every_value_comes_back_as_it_went_in_wherever_it_stands() {
        for value in values() {
            for sql in [
                "SELECT ?, typeof(?1), 'n' || ?1, json_array(iif(typeof(?1) = 'blob', NULL, ?1))",
                "SELECT ?1 / 2, ?1 + 1, ?1 = '5', ?1 < 'a', ?1 IN (5, '5', 5.0), max(?1, 5)",
                "VALUES (?), (?1)",
                "WITH a(x) AS (SELECT ?) SELECT x, typeof(x), x = '5', x IS ?1 FROM a ORDER BY x -- ?",
                "INSERT INTO untyped VALUES (?1, ?1, ?1) RETURNING *, typeof(a) AS t, typeof(b), typeof(c), ?1 e",
                "SELECT a, b, c, a = ?1, b = ?1, c = ?1, b > ?1, a BETWEEN ?1 AND ?1 FROM untyped ORDER BY a, b",
                "UPDATE untyped SET a = ?1 WHERE b = ?1 OR a IS ?1 RETURNING a, rowid, (SELECT count(*) FROM untyped), b || c",
                "DELETE FROM untyped WHERE a IS ?1 RETURNING (a), *",
            ] {
                let (mut plain, mut carried) = (database(), database());
                for i in [1.into(), Value::from(5.0), "5".into(), value.clone()] {
                    for db in [&mut plain, &mut carried] {
                        run(db, "INSERT INTO untyped VALUES (?1, ?1, ?1)", std::slice::from_ref(&i)).unwrap();
                    }
                }
                let expected = run(&mut plain, sql, std::slice::from_ref(&value));
                let found = run_carried(&mut carried, sql, std::slice::from_ref(&value));
                assert_eq!(found, expected, "{value:?} in {sql}");
            }
        }
    }

    #[test]
    fn stored_values_come_back_in_their_order() {
        let (mut plain, mut carried) = (database(), database());
        for (n, value) in values().into_iter().enumerate().skip(1) {
            let of = |is: bool| if is { value.clone() } else { Value::Null };
            let params = [
                value.clone(),
                of(matches!(value, Value::Integer(_))),
                of(matches!(value, Value::Real(_))),
                of(matches!(value, Value::Text(_))),
                of(matches!(value, Value::Blob(_))),
            ];
            let sql = "INSERT INTO t VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
            assert_eq!(run(&mut plain, sql, &params), run_carried(&mut carried, sql, &params), "{n}");
        }
        for sql in [
            "SELECT * FROM t",
            "SELECT * FROM t ORDER BY id DESC LIMIT ?1 OFFSET ?1",
            "SELECT id, i FROM t WHERE i > ?1 UNION ALL SELECT id, r FROM t WHERE r > ?1 ORDER BY 1",
            "SELECT typeof(id), count(*) FROM t GROUP BY 1 HAVING count(*) > ?1",
            "SELECT id, row_number() OVER (ORDER BY id DESC) FROM t WHERE id > ?1 ORDER BY x, id",
        ] {
            for n in [0, 2, EXACT + 1] {
                let expected = run(&mut plain, sql, &[n.into()]);
                let found = run_carried(&mut carried, sql, &[n.into()]);
                assert_eq!(found, expected, "{n} in {sql}");
            }
        }
    }

    #[test]
    fn an_expression_is_computed_once() {
        let mut db = database();
        let rows = run_carried(&mut db, "SELECT a, a FROM (SELECT random() AS a LIMIT 1)", &[]).unwrap();
        assert_eq!(rows[0][0], rows[0][1]);
        // Were it computed twice, nearly all would lie past what a number holds, tagged or not.
        for _ in 0..100 {
            let rows = run_carried(&mut db, "SELECT random()", &[]).unwrap();
            assert!(matches!(rows[0][0], Value::Integer(_)), "{rows:?}");
            let rows = run_carried(&mut db, "INSERT INTO untyped(a) VALUES (1) RETURNING random()", &[]).unwrap();
            assert!(matches!(rows[0][0], Value::Integer(_)), "{rows:?}");
        }
    }

    #[test]
    fn a_query_of_a_hundred_columns_is_within_the_limits() {
        let columns: Vec<String> = (0..100).map(|i| format!("{i}.0")).collect();
        let statement = Statement::of_engine(&format!("SELECT {}", columns.join(", "))).unwrap();
        let sql = rewrite(&statement, 0, &Carried::Query(100));
        assert!(sql.len() < 30_000, "{}", sql.len());
        let rows = run(&mut database(), &sql, &[]).unwrap();
        assert_eq!(rows[0].len(), 100);
    }
}
