use crate::{Value, ValueRef};

/// A row that a database shows without copying it.
pub trait Columns {
    /// How many columns the row has.
    fn count(&self) -> usize;

    /// The value of a column, NULL past the last.
    fn value(&self, index: usize) -> ValueRef<'_>;

    /// All values, copied.
    fn to_values(&self) -> Vec<Value> {
        (0..self.count()).map(|i| self.value(i).to_owned()).collect()
    }
}

impl Columns for [Value] {
    fn count(&self) -> usize {
        self.len()
    }

    fn value(&self, index: usize) -> ValueRef<'_> {
        self.get(index).map_or(ValueRef::Null, Value::as_ref)
    }
}

impl Columns for Vec<Value> {
    fn count(&self) -> usize {
        self.len()
    }

    fn value(&self, index: usize) -> ValueRef<'_> {
        self.as_slice().value(index)
    }
}
