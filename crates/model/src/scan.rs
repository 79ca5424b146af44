use std::ops::{Bound, RangeBounds};

use crate::{Key, KeyArg, Value};

/// Which rows of a table to show, at the level of columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scan {
    /// Only rows whose column of this index has this value. NULL matches NULL.
    pub equals: Option<(usize, Value)>,
    /// Bounds on the id.
    pub ids: Range,
    /// From the last id to the first.
    pub reverse: bool,
    /// At most so many rows.
    pub limit: Option<u32>,
}

/// Bounds on ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// Where it begins.
    pub start: Bound<Value>,
    /// Where it ends.
    pub end: Bound<Value>,
}

impl Default for Range {
    fn default() -> Self {
        Range { start: Bound::Unbounded, end: Bound::Unbounded }
    }
}

impl Range {
    /// Takes any of Rust's ranges over ids.
    pub fn new<K: Key, A: KeyArg<K> + Clone>(range: &impl RangeBounds<A>) -> Self {
        let value = |bound: Bound<&A>| bound.map(|id| id.clone().into_value());
        Range { start: value(range.start_bound()), end: value(range.end_bound()) }
    }
}
