//! A row's values as JSON that is read back as the same values: unlike on the wire (SPEC 3.2), with bytes, any integer, and reals told from integers.

use std::fmt::Write;

use partysync_model::{Columns, Value, ValueRef};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// Writes a row as a JSON array.
pub(super) fn push_row(out: &mut String, row: &dyn Columns) {
    out.push('[');
    for index in 0..row.count() {
        if index > 0 {
            out.push(',');
        }
        push_value(out, row.value(index));
    }
    out.push(']');
}

fn push_value(out: &mut String, value: ValueRef<'_>) {
    // Writing to a String never fails.
    let _ = match value {
        ValueRef::Null => write!(out, "null"),
        ValueRef::Integer(integer) => write!(out, "{integer}"),
        // Rust writes as many digits as it takes to read the same number again, and a point or an exponent.
        ValueRef::Real(real) if real.is_finite() => write!(out, "{real:?}"),
        ValueRef::Real(real) => write!(out, r#"{{"real":"{}"}}"#, if real > 0.0 { "inf" } else { "-inf" }),
        ValueRef::Text(text) => return out.push_str(&serde_json::Value::from(text).to_string()),
        ValueRef::Blob(bytes) => {
            out.push_str(r#"{"blob":""#);
            out.push_str(&hex(bytes));
            write!(out, r#""}}"#)
        }
    };
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A value that is read.
pub(super) struct Read(pub(super) Value);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Read;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("null, a number, a text, or {\"blob\": ...}")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Read, E> {
                Ok(Read(Value::Null))
            }

            fn visit_i64<E: de::Error>(self, integer: i64) -> Result<Read, E> {
                Ok(Read(Value::Integer(integer)))
            }

            fn visit_u64<E: de::Error>(self, integer: u64) -> Result<Read, E> {
                i64::try_from(integer).map(Value::Integer).map(Read).map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, real: f64) -> Result<Read, E> {
                Ok(Read(Value::Real(real)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Read, E> {
                Ok(Read(Value::Text(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
                let entry = map.next_entry::<String, String>()?;
                let value = match entry.as_ref().map(|(key, value)| (key.as_str(), value.as_str())) {
                    Some(("blob", hex)) => bytes(hex).map(Value::Blob),
                    Some(("real", "inf")) => Some(Value::Real(f64::INFINITY)),
                    Some(("real", "-inf")) => Some(Value::Real(f64::NEG_INFINITY)),
                    _ => None,
                };
                value.map(Read).ok_or_else(|| de::Error::custom("neither bytes nor a number"))
            }
        }
        deserializer.deserialize_any(Values)
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_7_15_values_are_read_as_they_were_written() {
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Integer(i64::MAX),
            Value::Real(1.0),
            Value::Real(-0.0),
            Value::Real(1e300),
            Value::Real(5e-324),
            Value::Real(0.1),
            Value::Real(f64::INFINITY),
            Value::Real(f64::NEG_INFINITY),
            Value::Text("\u{0}\"\\\n\u{2028}ü😀".to_owned()),
            Value::Text("{\"blob\":\"00\"}".to_owned()),
            Value::Blob(vec![]),
            Value::Blob((0..=255).collect()),
        ];
        let mut json = String::new();
        push_row(&mut json, &values.as_slice().to_vec());
        assert!(!json.contains('\n'));
        let read: Vec<Read> = serde_json::from_str(&json).unwrap();
        for (read, value) in read.iter().zip(&values) {
            // Zero has a sign.
            assert_eq!(format!("{:?}", read.0), format!("{value:?}"));
        }
        assert_eq!(read.len(), values.len());
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for json in
            [r#"[true]"#, r#"[[1]]"#, r#"[{"blob":"0"}]"#, r#"[{"blob":"0g"}]"#, r#"[{}]"#, "[18446744073709551615]"]
        {
            assert!(serde_json::from_str::<Vec<Read>>(json).is_err(), "{json}");
        }
    }
}
