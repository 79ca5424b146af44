use std::fmt::Write;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use partysync_protocol::{ClientId, ErrorCode, MAX_INTEGER, Millis, limits};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    ActionError, ColumnType, Columns, Db, Field, KeyArg, MemoryDb, Origin, Range, Record, RecordColumn, Scan, Value,
};

/// What an action works on: the room's tables, within the step's savepoint.
///
/// It has no effect but on these tables, so a step may be undone and run again (SPEC 5.4).
pub struct Tx<'a> {
    db: &'a mut dyn Db,
    origin: Origin,
    at: Millis,
    seed: Seed,
    /// The seed's hash, once an id was asked for.
    hash: Option<SeedHash>,
    ids: u32,
    alarm: Option<Option<Millis>>,
    /// Bodies of items, as JSON.
    outbox: Vec<String>,
}

/// What a step's ids are derived from (SPEC 5.6). Hashed when the first id is asked for: most steps ask for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    source: [u8; SEED_BYTES],
    len: usize,
}

/// The longest text that a seed is the hash of. What is longer is hashed once before.
const SEED_BYTES: usize = 32;

impl Seed {
    /// The seed of a client's action.
    pub fn of_action(client: &ClientId, number: u64) -> Self {
        Self::of(&[client.as_bytes(), &number.to_be_bytes()])
    }

    /// The seed of any other step: a kind of step, and what tells it from others of its kind.
    pub fn of_step(kind: &str, what: &[u8]) -> Self {
        Self::of(&[kind.as_bytes(), &[0], what])
    }

    /// The id with this index, from 0.
    pub fn id(&self, index: u32) -> String {
        self.hash().id(index)
    }

    fn of(parts: &[&[u8]]) -> Self {
        let (mut source, mut len) = ([0; SEED_BYTES], 0);
        for part in parts {
            let Some(place) = source.get_mut(len..len + part.len()) else {
                let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
                return Seed { source: hash.finalize().into(), len: SEED_BYTES };
            };
            place.copy_from_slice(part);
            len += part.len();
        }
        Seed { source, len }
    }

    fn hash(&self) -> SeedHash {
        SeedHash(Sha256::digest(&self.source[..self.len]).into())
    }
}

/// A seed as the SPEC means it.
#[derive(Clone, Copy)]
struct SeedHash([u8; 32]);

impl SeedHash {
    fn id(&self, index: u32) -> String {
        let hash = Sha256::new().chain_update(self.0).chain_update(index.to_be_bytes()).finalize();
        hash.iter().take(16).fold(String::with_capacity(32), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }
}

impl<'a> Tx<'a> {
    /// For homes and tests: a step at `at` on a database.
    pub fn new(db: &'a mut dyn Db, origin: Origin, at: Millis, seed: Seed) -> Self {
        Tx { db, origin, at, seed, hash: None, ids: 0, alarm: None, outbox: Vec::new() }
    }

    /// For predictions: a step on tables in memory.
    pub fn predicted(db: &'a mut MemoryDb, at: Millis, seed: Seed) -> Self {
        Tx::new(db, Origin::Action, at, seed)
    }

    /// A record's table.
    pub fn table<R: Record>(&mut self) -> TypedTable<'_, 'a, R> {
        TypedTable { tx: self, record: PhantomData }
    }

    /// The time of this step, which its rows get as `updated_at`. In a prediction it is the client's guess.
    pub fn now(&self) -> Millis {
        self.at
    }

    /// A new id, the same in the prediction and on the server (SPEC 5.6).
    pub fn new_id(&mut self) -> String {
        let id = self.hash.get_or_insert_with(|| self.seed.hash()).id(self.ids);
        self.ids += 1;
        id
    }

    /// Asks for `on_alarm` at a time, in place of what was asked before. Ignored in predictions.
    pub fn set_alarm(&mut self, at: Millis) {
        self.alarm = Some(Some(at));
    }

    /// Takes the alarm back.
    pub fn clear_alarm(&mut self) {
        self.alarm = Some(None);
    }

    /// For homes: what the step wants of the alarm, if it wants anything.
    pub fn alarm(&self) -> Option<Option<Millis>> {
        self.alarm
    }

    /// Puts something into the room's outbox: what must happen elsewhere if this step happens, such as a call of another service.
    /// It is kept with the step's rows; the app's deliverer gets it at least once, after the commit (SPEC 7.9). Ignored in predictions.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::AppError`] past [`limits::OUTBOX_ITEM_BYTES`] or [`limits::OUTBOX_STEP_ITEMS`], or if it cannot be JSON. If the room's
    /// outbox is full, the step fails as [`ErrorCode::Busy`] in the end.
    pub fn outbox(&mut self, body: &impl Serialize) -> Result<(), ActionError> {
        let error = |detail: String| ActionError::with_detail(ErrorCode::AppError, detail);
        let body = serde_json::to_string(body).map_err(|e| error(format!("an item of the outbox: {e}")))?;
        if body.len() > limits::OUTBOX_ITEM_BYTES || self.outbox.len() >= limits::OUTBOX_STEP_ITEMS {
            return Err(error("what goes into the outbox is over the limit".to_owned()));
        }
        self.outbox.push(body);
        Ok(())
    }

    /// For homes: what the step put into the outbox, as JSON.
    pub fn take_outbox(&mut self) -> Vec<String> {
        std::mem::take(&mut self.outbox)
    }

    /// Runs a statement of SQL that returns no rows; returns how many it changed. It ends a prediction, which then shows
    /// nothing (SPEC 9.3).
    ///
    /// # Errors
    ///
    /// The database's, and [`ErrorCode::AppError`] past [`limits::SQL_BYTES`].
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, ActionError> {
        check_sql(sql)?;
        Ok(self.db.execute(self.origin, sql, params)?)
    }

    /// Runs a statement of SQL and returns its rows. It ends a prediction, as [`execute`](Tx::execute) does.
    ///
    /// # Errors
    ///
    /// As [`execute`](Tx::execute).
    pub fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, ActionError> {
        check_sql(sql)?;
        let mut rows = Vec::new();
        self.db.query(self.origin, sql, params, &mut |row| rows.push(row.to_values()))?;
        Ok(rows)
    }
}

fn check_sql(sql: &str) -> Result<(), ActionError> {
    if sql.len() > limits::SQL_BYTES {
        return Err(ActionError::with_detail(ErrorCode::AppError, "the SQL is over the limit"));
    }
    Ok(())
}

/// A record's table within a step.
pub struct TypedTable<'t, 'a, R> {
    tx: &'t mut Tx<'a>,
    record: PhantomData<R>,
}

impl<R: Record> TypedTable<'_, '_, R> {
    /// Adds a record.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Duplicate`] if the id or a unique value is there already, [`ErrorCode::ValueUnsupported`] if a value
    /// cannot travel.
    pub fn insert(&mut self, record: &R) -> Result<(), ActionError> {
        let row = checked(record)?;
        Ok(self.tx.db.insert(R::table(), &row, self.tx.at)?)
    }

    /// Replaces the record with the same id.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::NotFound`] if there is none, and those of [`insert`](Self::insert).
    pub fn update(&mut self, record: &R) -> Result<(), ActionError> {
        let row = checked(record)?;
        if !self.tx.db.update(R::table(), &row, self.tx.at)? {
            return Err(ErrorCode::NotFound.into());
        }
        Ok(())
    }

    /// Removes a record. Returns whether it was there: two people may delete the same one.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn delete(&mut self, id: impl KeyArg<R::Id>) -> Result<bool, ActionError> {
        Ok(self.tx.db.delete(R::table(), &id.into_value())?)
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn get(&mut self, id: impl KeyArg<R::Id>) -> Result<Option<R>, ActionError> {
        let id = id.into_value();
        let ids = Range { start: std::ops::Bound::Included(id.clone()), end: std::ops::Bound::Included(id) };
        Ok(self.rows(&Scan { ids, ..Scan::default() })?.pop())
    }

    /// All records, in the order of their ids.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn all(&mut self) -> Result<Vec<R>, ActionError> {
        self.rows(&Scan::default())
    }

    /// The records whose ids are in a range, in the order of their ids.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn range<A: KeyArg<R::Id> + Clone>(&mut self, ids: impl RangeBounds<A>) -> Result<Vec<R>, ActionError> {
        self.rows(&Scan { ids: Range::new(&ids), ..Scan::default() })
    }

    /// The records whose column has a value, in the order of their ids. Without `#[record(index)]` it reads the whole table.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn by<F: Field>(&mut self, column: RecordColumn<R, F>, value: &F) -> Result<Vec<R>, ActionError> {
        self.rows(&Scan { equals: Some((column.index(), value.to_value())), ..Scan::default() })
    }

    /// The records of a scan described by hand: limits, from the last to the first.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub fn rows(&mut self, scan: &Scan) -> Result<Vec<R>, ActionError> {
        let mut records = Vec::new();
        let mut wrong = None;
        let mut each = |columns: &dyn Columns| match R::from_columns(columns) {
            Ok(record) => records.push(record),
            Err(error) => wrong = Some(error),
        };
        self.tx.db.scan(R::table(), scan, &mut each)?;
        wrong.map_or(Ok(records), |error| Err(error.into()))
    }
}

/// A record's values, if all of them can travel (SPEC 3.2) and are what their columns hold.
fn checked<R: Record>(record: &R) -> Result<Vec<Value>, ActionError> {
    let row = record.to_values();
    let columns = R::table().columns();
    for (index, (value, column)) in row.iter().zip(columns).enumerate() {
        let fits = match (value, column.column_type) {
            (Value::Null, _) => column.nullable,
            (Value::Integer(0 | 1), ColumnType::Boolean) => true,
            (Value::Integer(i), ColumnType::Integer) => (-MAX_INTEGER..=MAX_INTEGER).contains(i),
            (Value::Real(r), ColumnType::Real) => r.is_finite(),
            (Value::Text(t), ColumnType::Text) => index > 0 || t.len() <= limits::ID_BYTES,
            _ => false,
        };
        if !fits {
            return Err(ActionError::with_detail(ErrorCode::ValueUnsupported, format!("column {}", column.name)));
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_5_6_ids_are_the_hash_that_the_spec_says() {
        // sha256sum of 16 bytes 01 and the number 2; then of that and the index, worked out apart from this code.
        let seed = Seed::of_action(&ClientId::from_random([1; 16]), 2);
        let by_hand = |index: u8| {
            let mut bytes = vec![1_u8; 16];
            bytes.extend([0, 0, 0, 0, 0, 0, 0, 2]);
            let mut bytes = Sha256::digest(bytes).to_vec();
            bytes.extend([0, 0, 0, index]);
            Sha256::digest(bytes)[..16].iter().map(|b| format!("{b:02x}")).collect::<String>()
        };
        assert_eq!([seed.id(0), seed.id(1)], [by_hand(0), by_hand(1)]);
        let mut db = MemoryDb::new([]);
        let mut tx = Tx::predicted(&mut db, 0, seed);
        assert_eq!([tx.new_id(), tx.new_id()], [by_hand(0), by_hand(1)]);
    }

    #[test]
    fn spec_5_6_steps_have_seeds_of_their_own_however_long_what_tells_them_apart() {
        let long = [7; 2 * SEED_BYTES];
        let seeds: Vec<Seed> =
            [&long[..], &long[1..], &long[..SEED_BYTES - 2], &long[..SEED_BYTES - 3], &[7, 0], &[7], b""]
                .iter()
                .flat_map(|what| [Seed::of_step("a", what), Seed::of_step("b", what)])
                .collect();
        let ids: std::collections::HashSet<String> = seeds.iter().map(|seed| seed.id(0)).collect();
        assert_eq!(ids.len(), seeds.len());
    }
}
