//! Rows as they travel: JSON arrays of a table's columns (SPEC 3.2).

use std::fmt::{self, Write};

use partysync_protocol::{MAX_INTEGER, Millis};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::{Columns, Value, ValueRef};

/// A row holds what JSON, or JavaScript, cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("column {column} holds a value that cannot travel")]
pub struct RowError {
    /// The column's index.
    pub column: usize,
}

/// Appends a row as a JSON array.
///
/// # Errors
///
/// [`RowError`] for a BLOB, an integer past 2^53 − 1 or a real that is not finite. What was appended is then of no use.
pub fn push_row(out: &mut String, row: &dyn Columns) -> Result<(), RowError> {
    out.push('[');
    for column in 0..row.count() {
        if column > 0 {
            out.push(',');
        }
        push_value(out, row.value(column)).ok_or(RowError { column })?;
    }
    out.push(']');
    Ok(())
}

/// Appends a deleted row as version 1 clients get it: the id, NULLs, and the time of its deletion (SPEC 12.4).
///
/// `columns` counts the id and the three times. `None` if the id cannot travel.
pub fn push_tombstone(out: &mut String, id: ValueRef<'_>, columns: usize, at: Millis) -> Option<()> {
    out.push('[');
    push_value(out, id)?;
    for _ in 1..columns.saturating_sub(2) {
        out.push_str(",null");
    }
    write!(out, ",{at},{at}]").ok()
}

/// Appends a value. `None` if it cannot travel.
pub fn push_value(out: &mut String, value: ValueRef<'_>) -> Option<()> {
    match value {
        ValueRef::Null => out.push_str("null"),
        ValueRef::Integer(i) if (-MAX_INTEGER..=MAX_INTEGER).contains(&i) => write!(out, "{i}").ok()?,
        ValueRef::Real(r) if r.is_finite() => out.push_str(&serde_json::Number::from_f64(r)?.to_string()),
        ValueRef::Text(text) => push_text(out, text),
        ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => return None,
    }
    Some(())
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    // Most text needs no escape: it is copied in one piece.
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Reads a row.
///
/// # Errors
///
/// The text is not a JSON array of nulls, numbers, texts and booleans.
pub fn read_row(json: &str) -> Result<Vec<Value>, serde_json::Error> {
    let values: Vec<JsonValue> = serde_json::from_str(json)?;
    Ok(values.into_iter().map(|v| v.0).collect())
}

/// Reads one value, an id for example.
///
/// # Errors
///
/// As [`read_row`].
pub fn read_value(json: &str) -> Result<Value, serde_json::Error> {
    Ok(serde_json::from_str::<JsonValue>(json)?.0)
}

struct JsonValue(Value);

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(JsonValue)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a number, a text or a boolean")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Integer(v))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Value, E> {
        i64::try_from(v).map(Value::Integer).map_err(|_| E::custom("the integer is past 64 bits"))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Real(v))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Value, E> {
        Ok(Value::from(v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: Vec<Value>) -> Result<String, RowError> {
        let mut out = String::new();
        push_row(&mut out, &values).map(|()| out)
    }

    #[test]
    fn spec_3_2_a_row_is_read_as_it_was_written() {
        let text = "a\"b\\c\n\t\0\u{7f}ä😀";
        let values =
            vec![text.into(), Value::Null, (-MAX_INTEGER).into(), 1.0.into(), 1e300.into(), 0.1.into(), "".into()];
        let json = row(values.clone()).unwrap();
        assert_eq!(read_row(&json).unwrap(), values);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()[0], text);
    }

    #[test]
    fn spec_3_2_what_cannot_travel_is_refused_with_its_column() {
        for bad in [Value::Blob(vec![1]), Value::from(MAX_INTEGER + 1), f64::INFINITY.into(), f64::NAN.into()] {
            assert_eq!(row(vec![Value::Null, bad]), Err(RowError { column: 1 }));
        }
    }

    #[test]
    fn spec_12_4_a_tombstone_has_as_many_columns_as_a_row() {
        let mut out = String::new();
        push_tombstone(&mut out, ValueRef::Text("a"), 6, 9).unwrap();
        assert_eq!(out, r#"["a",null,null,null,9,9]"#);
    }
}
