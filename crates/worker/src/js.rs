//! A Durable Object's storage as JavaScript has it. The `worker` crate leaves out what is needed here: `transactionSync`,
//! and a way through a cursor on which errors can be caught.

use std::panic::AssertUnwindSafe;

use std::future::Future;
use std::pin::Pin;

use js_sys::{Array, ArrayBuffer, BigUint64Array, IteratorNext, JsString, Promise, Reflect, Uint8Array};
use partysync_model::{Columns, DbError, Value};
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

    /// Takes milliseconds. It is in force when the call returns, like any other write.
    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    pub(crate) fn set_alarm(this: &Storage, at: f64) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = deleteAlarm)]
    pub(crate) fn delete_alarm(this: &Storage) -> Result<Promise, JsValue>;

    /// Deletes all but the alarm.
    #[wasm_bindgen(method, catch, js_name = deleteAll)]
    pub(crate) fn delete_all(this: &Storage) -> Result<Promise, JsValue>;

    /// A promise that is kept once all that was written is on disk.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn sync(this: &Storage) -> Result<Promise, JsValue>;

    /// An object's context.
    #[derive(Clone)]
    pub(crate) type Context;

    #[wasm_bindgen(method, catch, js_name = getWebSockets)]
    pub(crate) fn web_sockets(this: &Context) -> Result<Array, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getTags)]
    pub(crate) fn tags(this: &Context, socket: &Socket) -> Result<Array, JsValue>;

    #[wasm_bindgen(method, catch, js_name = acceptWebSocket)]
    pub(crate) fn accept(this: &Context, socket: &Socket, tags: &Array) -> Result<(), JsValue>;

    /// The server's end of a WebSocket that may hibernate.
    #[derive(Clone)]
    pub(crate) type Socket;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn send(this: &Socket, text: &JsString) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn close(this: &Socket, code: u16, reason: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = close)]
    pub(crate) fn close_without_code(this: &Socket) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = serializeAttachment)]
    pub(crate) fn keep(this: &Socket, what: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = deserializeAttachment)]
    pub(crate) fn kept(this: &Socket) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn fill_with_random(words: &BigUint64Array) -> Result<JsValue, JsValue>;

    type Cursor;

    #[wasm_bindgen(method, catch)]
    fn raw(this: &Cursor) -> Result<RawRows, JsValue>;

    #[wasm_bindgen(method, catch, getter, js_name = columnNames)]
    fn column_names(this: &Cursor) -> Result<Array, JsValue>;

    type RawRows;

    #[wasm_bindgen(method, catch, js_name = toArray)]
    fn to_array(this: &RawRows) -> Result<Array, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn next(this: &RawRows) -> Result<IteratorNext, JsValue>;
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

/// 64 random bits. Where there are none the platform is broken: then the time has to do.
pub(crate) fn random() -> u64 {
    let words = BigUint64Array::new_with_length(1);
    match fill_with_random(&words) {
        Ok(_) => words.get_index(0),
        Err(_) => js_sys::Date::now().to_bits(),
    }
}

/// What becomes a `T`. One type for all: each type of a future that JavaScript is to wait for weighs some kilobytes.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// A promise of what a future becomes.
pub(crate) fn promise(run: Later<JsValue>) -> JsValue {
    let run: Later<Result<JsValue, JsValue>> = Box::pin(async { Ok(run.await) });
    worker::wasm_bindgen_futures::future_to_promise(AssertUnwindSafe(run)).into()
}

/// A response as JavaScript has it.
pub(crate) fn response(response: worker::Result<worker::Response>) -> JsValue {
    let response = response.or_else(|error| {
        worker::console_error!("{error}");
        worker::Response::error("The server failed.", 500)
    });
    response.map_or(JsValue::UNDEFINED, |response| worker::web_sys::Response::from(response).into())
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

    /// As [`run`](Self::run), with one row in memory at a time.
    pub(crate) fn each(
        &self,
        text: &JsString,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> Result<(), DbError> {
        let mut run = || {
            let rows = self.exec(text, &params.iter().map(to_js).collect())?.raw()?;
            loop {
                let next = rows.next()?;
                if next.done() {
                    return Ok(());
                }
                each(&row(next.value()));
            }
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
