use crate::{ColumnType, Columns, Table, Value, ValueRef};

/// A struct that is a row of a table. Derive it:
///
/// `#[derive(Record)]` takes a struct whose first field is `id`. The table's name is the struct's in snake case with an
/// `s`, or `#[record(table = "...")]`. Fields take `#[record(unique)]` and `#[record(index)]`.
pub trait Record: Sized + 'static {
    /// The type of the field `id`.
    type Id: Key;

    /// The table.
    fn table() -> &'static Table;

    /// The id, as a value.
    fn id_value(&self) -> Value;

    /// All columns, in the table's order, the times left out.
    fn to_values(&self) -> Vec<Value>;

    /// Reads a row.
    ///
    /// # Errors
    ///
    /// A column holds what its field cannot: the table was made or changed by somebody else.
    fn from_columns(columns: &dyn Columns) -> Result<Self, DecodeError>;
}

/// A type of a record's field.
pub trait Field: Sized {
    /// What the column holds.
    const COLUMN_TYPE: ColumnType;
    /// Whether the column may be NULL.
    const NULLABLE: bool = false;

    /// The value to store.
    fn to_value(&self) -> Value;

    /// Reads the value. `None` if the type cannot hold it.
    fn from_value(value: ValueRef<'_>) -> Option<Self>;
}

/// A type of an id.
pub trait Key: Field {}

impl Key for String {}
impl Key for i64 {}

/// What may stand for an id in a call: `&str` or `String` for text, `i64` for integers.
pub trait KeyArg<K: Key> {
    /// The id as a value.
    fn into_value(self) -> Value;
}

impl KeyArg<String> for &str {
    fn into_value(self) -> Value {
        Value::from(self)
    }
}

impl KeyArg<String> for &String {
    fn into_value(self) -> Value {
        Value::from(self.as_str())
    }
}

impl KeyArg<String> for String {
    fn into_value(self) -> Value {
        Value::Text(self)
    }
}

impl KeyArg<i64> for i64 {
    fn into_value(self) -> Value {
        Value::Integer(self)
    }
}

/// A column of a record, as the derive macro names it (`Todo::COMPLETED`), with its field's type.
#[derive(Debug)]
pub struct RecordColumn<R, F> {
    index: usize,
    types: std::marker::PhantomData<fn(R, F)>,
}

impl<R, F> RecordColumn<R, F> {
    /// For the derive macro: the column at an index of the table.
    #[doc(hidden)]
    pub const fn new(index: usize) -> Self {
        RecordColumn { index, types: std::marker::PhantomData }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

/// A stored row does not fit the record's struct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}, column {column}: the stored value does not fit the record")]
pub struct DecodeError {
    /// The table's name.
    pub table: &'static str,
    /// The column's name.
    pub column: &'static str,
}

impl Field for String {
    const COLUMN_TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        Value::from(self.as_str())
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl Field for bool {
    const COLUMN_TYPE: ColumnType = ColumnType::Boolean;

    fn to_value(&self) -> Value {
        Value::from(*self)
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Integer(0) => Some(false),
            ValueRef::Integer(1) => Some(true),
            _ => None,
        }
    }
}

impl Field for f64 {
    const COLUMN_TYPE: ColumnType = ColumnType::Real;

    fn to_value(&self) -> Value {
        // SQLite stores -0.0 as 0.0; adding 0.0 does the same.
        Value::Real(*self + 0.0)
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Real(real) => Some(real),
            // JSON writes 1.0 as 1 in some languages.
            ValueRef::Integer(integer) => Some(integer as f64),
            _ => None,
        }
    }
}

macro_rules! integer_fields {
    ($($type:ty)*) => {$(
        impl Field for $type {
            const COLUMN_TYPE: ColumnType = ColumnType::Integer;

            fn to_value(&self) -> Value {
                Value::Integer(i64::from(*self))
            }

            fn from_value(value: ValueRef<'_>) -> Option<Self> {
                match value {
                    ValueRef::Integer(integer) => integer.try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

integer_fields! { i8 i16 i32 i64 u8 u16 u32 }

impl<F: Field> Field for Option<F> {
    const COLUMN_TYPE: ColumnType = F::COLUMN_TYPE;
    const NULLABLE: bool = true;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Field::to_value)
    }

    fn from_value(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Null => Some(None),
            value => F::from_value(value).map(Some),
        }
    }
}
