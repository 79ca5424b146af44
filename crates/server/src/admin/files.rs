//! Rooms as files: out of the server, and back into it.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use partysync_model::{Columns, Db, DbError, Origin, ValueRef, Verdict};
use partysync_room::{Incoming, OwnObjects, RoomName, TransferError};
use partysync_sqlite::{Options, SqliteDb};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use super::rooms::{lease, lease_of, room_name};
use super::{Refusal, flag, refused};
use crate::job::{Order, OrderError};
use crate::open;
use crate::rooms::Rooms;
use crate::staging::{self, Staged};

/// What is read of a file at once.
const CHUNK_BYTES: usize = 64 << 10;
/// A line of JSON each.
const EXPORT: &str = "application/jsonl";

/// What a room's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// SQLite's.
    Database,
    /// One that any home reads (SPEC 7.15).
    Export,
}

/// Sends a copy of a room, as it is at one moment. The room waits while it is copied, not while it is sent.
pub(super) async fn back_up(rooms: &Arc<Rooms>, party: &str, room: &str) -> Result<Response, Refusal> {
    send(copy(rooms, party, room).await?, "application/vnd.sqlite3").await
}

/// Sends a room, as it is at one moment, as a file that any home reads. The room waits while it is copied, and not longer.
pub(super) async fn export(rooms: &Arc<Rooms>, party: &str, room: &str) -> Result<Response, Refusal> {
    let copy = copy(rooms, party, room).await?;
    let to = Staged::new(&rooms.data).map_err(failed)?;
    let exported = spawn_blocking(move || write_export(&copy, to)).await;
    let file = exported.map_err(|_| refused(OrderError::Lost))?;
    send(
        file.map_err(|why| (StatusCode::UNPROCESSABLE_ENTITY, format!("The room cannot be exported: {why}.")))?,
        EXPORT,
    )
    .await
}

async fn copy(rooms: &Arc<Rooms>, party: &str, room: &str) -> Result<Staged, Refusal> {
    let (_, lease) = lease(rooms, party, room)?;
    let to = Staged::new(&rooms.data).map_err(failed)?;
    lease.order(|answer| Order::BackUp(to, answer)).await.map_err(refused)
}

async fn send(staged: Staged, content_type: &'static str) -> Result<Response, Refusal> {
    let file = File::open(staged.path()).await.map_err(failed)?;
    let bytes = file.metadata().await.map_err(failed)?.len();
    let headers = [(header::CONTENT_TYPE, content_type.to_owned()), (header::CONTENT_LENGTH, bytes.to_string())];
    Ok((headers, Body::from_stream(chunks(file, staged))).into_response())
}

fn write_export(copy: &Staged, to: Staged) -> Result<Staged, TransferError> {
    let mut db = SqliteDb::open(copy.path(), &Options::default())?;
    let written = |error: io::Error| error.to_string();
    let file = std::fs::File::create_new(to.path()).map_err(|error| TransferError::Write(written(error)))?;
    let mut file = io::BufWriter::new(file);
    partysync_room::export(&mut db, &mut |line| file.write_all(line.as_bytes()).map_err(written))?;
    file.flush().map_err(|error| TransferError::Write(written(error)))?;
    Ok(to)
}

/// Makes a room's database of a file that any home writes.
fn read_export(rooms: &Rooms, file: &Staged, name: &RoomName, into: Staged, rename: bool) -> Result<Staged, String> {
    let said = |error: DbError| format!("The room cannot be stored: {}.", error.message);
    let mut lines = io::BufReader::new(std::fs::File::open(file.path()).map_err(|error| error.to_string())?).lines();
    let mut db = SqliteDb::open(into.path(), &Options::default()).map_err(said)?;
    let incoming = Incoming::new(own_objects(rooms, name)?);
    let mut incoming = if rename { incoming } else { incoming.only(name.address()) };
    let mut read = Ok(());
    db.transaction(&mut |db| {
        read = lines.try_for_each(|line| {
            let line = line.map_err(|_| "The file is no text.".to_owned())?;
            incoming.take(db, &line).map_err(|error| not_in_order(error, name))
        });
        read = std::mem::replace(&mut read, Ok(()))
            .and_then(|()| incoming.finish(db, name.address()).map(drop).map_err(|error| not_in_order(error, name)));
        if read.is_ok() { Verdict::Keep } else { Verdict::Undo }
    })
    .map_err(said)?;
    read.map(|()| into)
}

/// What runs by itself in a room that the app makes.
fn own_objects(rooms: &Rooms, name: &RoomName) -> Result<OwnObjects, String> {
    let said = |error: DbError| format!("The room cannot be stored: {}.", error.message);
    let new = Staged::new(&rooms.data).map_err(|error| error.to_string())?;
    let db = SqliteDb::open(new.path(), &Options::default()).map_err(said)?;
    open::try_room(rooms, name, db).map_err(|why| format!("The app cannot make such a room: {why}."))?;
    SqliteDb::open(new.path(), &Options::default()).and_then(|mut db| OwnObjects::of(&mut db)).map_err(said)
}

fn not_in_order(error: TransferError, name: &RoomName) -> String {
    match error {
        TransferError::OtherRoom { found } => other_room(&found, name),
        error => format!("The file is not in order: {error}."),
    }
}

/// What is in a file, which is gone when it is read or nobody reads on.
fn chunks(file: File, copy: Staged) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::unfold((file, copy), |(mut file, copy)| async {
        let mut chunk = vec![0; CHUNK_BYTES];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(read) => {
                chunk.truncate(read);
                Some((Ok(chunk.into()), (file, copy)))
            }
            Err(error) => Some((Err(error), (file, copy))),
        }
    })
}

/// Takes a file in and makes it a room. Nothing is touched before all of it is there and was found to be in order.
pub(super) async fn restore(
    rooms: &Arc<Rooms>,
    party: &str,
    room: &str,
    request: Request,
    kind: Kind,
) -> Result<Response, Refusal> {
    let (replace, rename) = (flag(request.uri(), "replace")?, flag(request.uri(), "rename")?);
    let name = room_name(rooms, party, room)?;
    if rooms.is_stopping() {
        return Err(refused(OrderError::Stopping));
    }
    if !replace && rooms.data.room_file(&name).exists() {
        return Err(refused(OrderError::Exists));
    }
    let staged = Staged::new(&rooms.data).map_err(failed)?;
    receive(request.into_body(), &staged).await?;
    let (checking, of, path) = (Arc::clone(rooms), name.clone(), staged.path().display().to_string());
    let checked = spawn_blocking(move || match kind {
        Kind::Database => check(&checking, &of, staged, rename),
        Kind::Export => {
            let into = Staged::new(&checking.data).map_err(|error| error.to_string())?;
            check(&checking, &of, read_export(&checking, &staged, &of, into, rename)?, rename)
        }
    })
    .await;
    // Where it was put meanwhile is of no use to who sent it.
    let of_no_use = |why: String| (StatusCode::UNPROCESSABLE_ENTITY, why.replace(&format!("{path}: "), ""));
    let from = checked.map_err(|_| refused(OrderError::Lost))?.map_err(of_no_use)?;
    // Not before: an upload that stalls must not keep the server from stopping.
    let lease = lease_of(rooms, &name)?;
    lease.order(|answer| Order::Restore { from, replace, answer }).await.map_err(refused)?;
    // So that its alarm is known. That it can be opened was tried.
    if let Some(lease) = rooms.lease(&name) {
        let _ = lease.open().await;
    }
    Ok((StatusCode::CREATED, format!("{name} is restored.\n")).into_response())
}

async fn receive(body: Body, into: &Staged) -> Result<(), Refusal> {
    let mut file = File::create_new(into.path()).await.map_err(failed)?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| (StatusCode::BAD_REQUEST, "The file did not come to its end.".to_owned()))?;
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)
}

/// Whether a file can be the room: by its own word, by SQLite's, and by opening it as the room will be opened. Returns it,
/// durable, or says why not.
fn check(rooms: &Rooms, name: &RoomName, staged: Staged, rename: bool) -> Result<Staged, String> {
    let said = |error: DbError| format!("The file is not in order: {}.", error.message);
    let mut db = SqliteDb::open(staged.path(), &Options::default()).map_err(said)?;
    let found = stored_name(&mut db).map_err(said)?.ok_or("The file is no room's.")?;
    if found != name.address() && !rename {
        return Err(other_room(&found, name));
    }
    db.check_integrity().map_err(said)?;
    let sql = "UPDATE _meta SET value = ? WHERE name = 'room'";
    db.execute(Origin::Engine, sql, &[name.address().into()]).map_err(said)?;
    let opened = open::try_room(rooms, name, db);
    opened.map_err(|why| format!("The file cannot be opened as a room: {why}."))?;
    if staging::has_log(staged.path()) {
        return Err("The file could not be closed.".to_owned());
    }
    let synced = std::fs::File::open(staged.path()).and_then(|file| file.sync_all());
    synced.map_err(|error| format!("The file cannot be stored: {error}."))?;
    Ok(staged)
}

fn other_room(found: &str, name: &RoomName) -> String {
    format!("The file is the room {found}. To make it the room {name}, add rename=true.")
}

/// The address of the room that a database says it is; `None` if it is no room.
fn stored_name(db: &mut SqliteDb) -> Result<Option<String>, DbError> {
    let mut is_room = false;
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_meta'";
    db.query(Origin::Engine, sql, &[], &mut |_| is_room = true)?;
    let mut name = None;
    if is_room {
        let sql = "SELECT value FROM _meta WHERE name = 'room'";
        db.query(Origin::Engine, sql, &[], &mut |row: &dyn Columns| {
            if let ValueRef::Text(text) = row.value(0) {
                name = Some(text.to_owned());
            }
        })?;
    }
    Ok(name)
}

fn failed(error: io::Error) -> Refusal {
    refused(OrderError::from(error))
}
