//! What is done to a room for the operator, in the room's object.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;

use futures_util::{Stream, stream};
use partysync_model::{Columns, Db, DbError, Origin, Value, Verdict};
use partysync_protocol::limits;
use partysync_room::{Incoming, OwnObjects, Refusal, RoomName, TransferError};
use worker::{Headers, Request, Response, ResponseBuilder, Result};

use super::{Answered, No, no, said};
use crate::DurableDb;
use crate::home::object::{Inner, stored_name};
use crate::parts::{Parts, TooLarge};

/// A line of JSON each.
const EXPORT: &str = "application/jsonl";

const DELETED: (u16, &str) = (4410, "the room was deleted");

/// The room as a file. Nothing else runs meanwhile, and the room, if it is in memory, hears nothing of it.
pub(super) fn export(inner: &Inner, room: &RoomName) -> Answered {
    let mut db = db_of_room(inner)?;
    if stored_name(&mut db).is_none() {
        return no(404, "There is no such room.");
    }
    let mut parts = Parts::default();
    let written = partysync_room::export(&mut OneByOne(db), &mut |line| {
        parts.push(line.as_bytes()).map_err(|TooLarge| too_large())
    });
    match written {
        Ok(_) => Ok(send(parts)?),
        Err(TransferError::Write(why)) => no(422, format!("{room} cannot be exported: {why}.")),
        Err(error) => no(422, format!("{room} cannot be exported: {error}.")),
    }
}

fn send(parts: Parts) -> Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", EXPORT)?;
    // Each part leaves memory as it is sent.
    let chunks = stream::iter(parts.into_iter().map(Ok::<_, worker::Error>));
    ResponseBuilder::new().with_headers(headers).from_stream(chunks)
}

/// Makes a file the room: all of it or nothing, and only where no room is.
pub(super) async fn import(inner: &Rc<Inner>, mut request: Request, room: &RoomName, rename: bool) -> Answered {
    let must_be_new = || match stored_name(&mut db_of_room(inner)?) {
        Some(_) => no(409, "There is such a room. Delete it first."),
        None => Ok(()),
    };
    must_be_new()?;
    let file = receive(&mut request).await?;
    // Somebody may have come meanwhile, and made a room.
    must_be_new()?;
    take_in(inner, &file, room, rename)?;
    // So that its alarm is known. That it can be opened was tried.
    let _ = inner.wake(room.clone());
    Ok(said(201, &format!("{room} is restored."), Headers::new())?)
}

async fn receive(request: &mut Request) -> std::result::Result<Parts, No> {
    let mut file = Parts::default();
    if request.inner().body().is_none() {
        return Ok(file);
    }
    let mut chunks = pin!(request.stream()?);
    while let Some(chunk) = poll_fn(|cx| chunks.as_mut().poll_next(cx)).await {
        let Ok(chunk) = chunk else { return no(400, "The file did not come to its end.") };
        if file.push(&chunk).is_err() {
            return no(413, format!("The file cannot be taken in: {}.", too_large()));
        }
    }
    Ok(file)
}

fn take_in(inner: &Rc<Inner>, file: &Parts, room: &RoomName, rename: bool) -> std::result::Result<(), Refusal> {
    let own = own_objects(inner, room)?;
    let mut incoming = if rename { Incoming::new(own) } else { Incoming::new(own).only(room.address()) };
    let mut db = inner.db().map_err(|error| failed(&error))?;
    let mut done = Ok(());
    let ended = db.transaction(&mut |db| {
        done = read(&mut incoming, db, file, room).and_then(|()| try_room(inner, room));
        if done.is_ok() { Verdict::Keep } else { Verdict::Undo }
    });
    done.and_then(|()| ended.map_err(|error| failed(&error)))
}

fn read(incoming: &mut Incoming, db: &mut dyn Db, file: &Parts, room: &RoomName) -> std::result::Result<(), Refusal> {
    let wrong = |error: TransferError| {
        let why = match error {
            TransferError::OtherRoom { found } => {
                format!("The file is the room {found}. To make it the room {room}, add rename=true.")
            }
            error => format!("The file is not in order: {error}."),
        };
        Refusal::new(422, why)
    };
    let no_text = || Refusal::new(422, "The file is no text.");
    file.lines(no_text, |line| incoming.take(db, line).map_err(wrong))?;
    incoming.finish(db, room.address()).map(drop).map_err(wrong)
}

/// What runs by itself in a room that the app makes.
fn own_objects(inner: &Rc<Inner>, room: &RoomName) -> std::result::Result<OwnObjects, Refusal> {
    let own = try_out(inner, room, || OwnObjects::of(&mut inner.db()?))?;
    own.map_err(|why| Refusal::new(422, format!("The app cannot make such a room: {why}.")))
}

/// Whether the app can open what is there now as the room.
fn try_room(inner: &Rc<Inner>, room: &RoomName) -> std::result::Result<(), Refusal> {
    let opened = try_out(inner, room, || Ok(()))?;
    opened.map_err(|why| Refusal::new(422, format!("The file cannot be opened as a room: {why}.")))
}

/// Opens the room and looks at what that makes; or says why it cannot be opened. All of it is undone: the app will do it again.
fn try_out<T>(
    inner: &Rc<Inner>,
    room: &RoomName,
    look: impl Fn() -> std::result::Result<T, DbError>,
) -> std::result::Result<std::result::Result<T, String>, Refusal> {
    let mut seen = Err("it was not tried".to_owned());
    let tried = inner.storage().transact(|| {
        let opened = catch_unwind(AssertUnwindSafe(|| inner.try_open(room)));
        let opened = opened.unwrap_or_else(|_| Err("the app panicked".to_owned()));
        seen = opened.and_then(|()| look().map_err(|error| error.message));
        false
    });
    tried.map(|()| seen).map_err(|error| failed(&error))
}

/// Deletes the room for good.
pub(super) async fn delete(inner: &Rc<Inner>, room: &RoomName) -> Answered {
    if stored_name(&mut db_of_room(inner)?).is_none() {
        return no(404, "There is no such room.");
    }
    inner.close_all(DELETED);
    inner.delete_all().await?;
    Ok(said(200, &format!("{room} is deleted."), Headers::new())?)
}

fn db_of_room(inner: &Inner) -> std::result::Result<DurableDb, Refusal> {
    inner.db().map_err(|error| failed(&error))
}

fn failed(error: &DbError) -> Refusal {
    Refusal::new(500, format!("It failed: {}.", error.message))
}

fn too_large() -> String {
    format!("it is larger than {} MiB", limits::TRANSFER_BYTES >> 20)
}

/// A database whose rows come one by one: all of a large table at once would not fit into memory.
struct OneByOne(DurableDb);

impl Db for OneByOne {
    fn execute(&mut self, origin: Origin, sql: &str, params: &[Value]) -> std::result::Result<u64, DbError> {
        self.0.execute(origin, sql, params)
    }

    fn query(
        &mut self,
        origin: Origin,
        sql: &str,
        params: &[Value],
        each: &mut dyn FnMut(&dyn Columns),
    ) -> std::result::Result<(), DbError> {
        self.0.query_one_by_one(origin, sql, params, each)
    }

    fn transaction(&mut self, body: &mut dyn FnMut(&mut dyn Db) -> Verdict) -> std::result::Result<(), DbError> {
        self.0.transaction(body)
    }
}
