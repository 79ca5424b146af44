use std::cmp::Ordering;

/// A value of a column, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A 64-bit integer. Booleans are 0 and 1.
    Integer(i64),
    /// A 64-bit real. SQLite stores NaN as NULL.
    Real(f64),
    /// UTF-8 text, which may hold NUL.
    Text(String),
    /// Bytes: for private tables alone, no channel carries them.
    Blob(Vec<u8>),
}

/// A value of a column, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A 64-bit real.
    Real(f64),
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl Value {
    /// The same value, borrowed.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Null => ValueRef::Null,
            Value::Integer(i) => ValueRef::Integer(*i),
            Value::Real(r) => ValueRef::Real(*r),
            Value::Text(t) => ValueRef::Text(t),
            Value::Blob(b) => ValueRef::Blob(b),
        }
    }
}

impl ValueRef<'_> {
    /// The same value, owned.
    pub fn to_owned(self) -> Value {
        match self {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(i) => Value::Integer(i),
            ValueRef::Real(r) => Value::Real(r),
            ValueRef::Text(t) => Value::Text(t.to_owned()),
            ValueRef::Blob(b) => Value::Blob(b.to_owned()),
        }
    }

    /// The order of SQLite's BINARY collation: NULL, numbers, text by its bytes, blobs (SPEC 3.6).
    pub fn sqlite_cmp(self, other: ValueRef<'_>) -> Ordering {
        use ValueRef::{Blob, Integer, Null, Real, Text};
        match (self, other) {
            (Integer(a), Integer(b)) => a.cmp(&b),
            (Real(a), Real(b)) => a.total_cmp(&b),
            (Integer(a), Real(b)) => cmp_integer_real(a, b),
            (Real(a), Integer(b)) => cmp_integer_real(b, a).reverse(),
            (Text(a), Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Blob(a), Blob(b)) => a.cmp(b),
            (Null, Null) => Ordering::Equal,
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(self) -> u8 {
        match self {
            ValueRef::Null => 0,
            ValueRef::Integer(_) | ValueRef::Real(_) => 1,
            ValueRef::Text(_) => 2,
            ValueRef::Blob(_) => 3,
        }
    }
}

/// Compares without the loss of converting either side to the other's type.
fn cmp_integer_real(a: i64, b: f64) -> Ordering {
    if b.is_nan() || b < i64::MIN as f64 {
        return Ordering::Greater;
    }
    // 2^63 is the first real past i64::MAX.
    if b >= -(i64::MIN as f64) {
        return Ordering::Less;
    }
    let whole = b.trunc();
    a.cmp(&(whole as i64)).then_with(|| 0.0_f64.total_cmp(&(b - whole + 0.0)))
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Value::Integer(integer)
    }
}

impl From<f64> for Value {
    fn from(real: f64) -> Self {
        Value::Real(real)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Value::Integer(boolean.into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(option: Option<T>) -> Self {
        option.map_or(Value::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_3_6_values_order_as_sqlites_do() {
        let order = [
            ValueRef::Null,
            ValueRef::Real(f64::NEG_INFINITY),
            ValueRef::Integer(i64::MIN),
            ValueRef::Real(-0.5),
            ValueRef::Integer(0),
            ValueRef::Real(0.5),
            ValueRef::Integer((1 << 53) + 1),
            ValueRef::Integer(i64::MAX),
            ValueRef::Real(9_223_372_036_854_775_808.0),
            ValueRef::Text(""),
            ValueRef::Text("Z"),
            ValueRef::Text("a"),
            ValueRef::Text("a\0"),
            ValueRef::Text("ä"),
            ValueRef::Blob(b""),
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(a.sqlite_cmp(*b), i.cmp(&j), "{a:?} against {b:?}");
            }
        }
        assert_eq!(ValueRef::Integer(2).sqlite_cmp(ValueRef::Real(2.0)), Ordering::Equal);
        assert_eq!(ValueRef::Integer(0).sqlite_cmp(ValueRef::Real(-0.0)), Ordering::Equal);
    }
}
