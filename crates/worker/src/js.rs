//! A Durable Object's storage as JavaScript has it. The `worker` crate leaves out what is needed here: `transactionSync`,
//! and a way through a cursor on which errors can be caught.

use std::panic::AssertUnwindSafe;

use js_sys::{Array, ArrayBuffer, JsString, Reflect, Uint8Array};
use partysync_model::{DbError, Value};
use wasm_bindgen::prelude::*;

use crate::error::db_error;
use crate::rewrite::{is_exact, number, uncarry};

#[wasm_bindgen]
extern "C" {
    #[derive(Clone)]
    pub(crate) type Storage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(this: &Storage, body: &mut dyn FnMut() -> Result<JsValue, JsValue>)
    -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, getter)]
    pub(crate) fn sql(this: &Storage) -> Sql;

    #[derive(Clone)]
    pub(crate) type Sql;

    #[wasm_bindgen(method, catch, variadic)]
    fn exec(this: &Sql, text: &JsString, params: &Array) -> Result<Cursor, JsValue>;

    type Cursor;

    #[wasm_bindgen(method, catch)]
    fn raw(this: &Cursor) -> Result<RawRows, JsValue>;

    #[wasm_bindgen(method, catch, getter, js_name = columnNames)]
    fn column_names(this: &Cursor) -> Result<Array, JsValue>;

    type RawRows;

    #[wasm_bindgen(method, catch, js_name = toArray)]
    fn to_array(this: &RawRows) -> Result<Array, JsValue>;
}

impl Storage {
    /// Runs `body` in a transaction, or a savepoint in one. Whether it stays is what `body` returns.
    ///
    /// `body` must not panic.
    pub(crate) fn transact(&self, mut body: impl FnMut() -> bool) -> Result<(), DbError> {
        // wasm-bindgen wants to be told that what the closure borrows may be looked at after a panic. There is none.
        let mut body = AssertUnwindSafe(&mut body);
        let mut undone = false;
        let mut flag = AssertUnwindSafe(&mut undone);
        let result = self.transaction_sync(&mut move || {
            let (body, flag) = (&mut body, &mut flag);
            if (body.0)() {
                return Ok(JsValue::UNDEFINED);
            }
            *flag.0 = true;
            Err(JsValue::from_str(UNDO))
        });
        match result {
            Ok(_) => Ok(()),
            // What was thrown comes back as it was; any other error means that the savepoint was not there to go back to.
            Err(error) if undone && error.as_string().as_deref() == Some(UNDO) => Ok(()),
            Err(error) => Err(thrown(&error)),
        }
    }
}

/// What is thrown to undo a transaction.
const UNDO: &str = "undo";

/// What a statement gave.
pub(crate) struct Ran {
    pub(crate) columns: usize,
    pub(crate) rows: Array,
}

impl Sql {
    /// Runs a statement to its end. A cursor that is not read to its end would keep the transaction from ending.
    pub(crate) fn run(&self, text: &JsString, params: &[Value]) -> Result<Ran, DbError> {
        let run = || {
            let cursor = self.exec(text, &params.iter().map(to_js).collect())?;
            let rows = cursor.raw()?.to_array()?;
            Ok(Ran { columns: cursor.column_names()?.length() as usize, rows })
        };
        run().map_err(|error: JsValue| thrown(&error))
    }
}

fn thrown(error: &JsValue) -> DbError {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    db_error(&message.or_else(|| error.as_string()).unwrap_or_default())
}

fn to_js(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Integer(i) if is_exact(*i) => JsValue::from_f64(*i as f64),
        Value::Integer(i) => JsValue::from_str(&i.to_string()),
        Value::Real(r) => JsValue::from_f64(*r),
        Value::Text(text) => JsValue::from_str(text),
        Value::Blob(bytes) => Uint8Array::from(bytes.as_slice()).into(),
    }
}

/// A row that was carried.
pub(crate) fn row(row: JsValue) -> Vec<Value> {
    Array::from(&row).iter().map(|value| from_js(&value)).collect()
}

fn from_js(value: &JsValue) -> Value {
    if let Some(n) = value.as_f64() {
        return number(n);
    }
    if let Some(text) = value.as_string() {
        return Value::Text(text);
    }
    match value.dyn_ref::<ArrayBuffer>() {
        Some(buffer) => {
            let bytes = Uint8Array::new(buffer).to_vec();
            // One that was not carried came from a statement that cannot be.
            uncarry(&bytes).unwrap_or(Value::Blob(bytes))
        }
        None => Value::Null,
    }
}
