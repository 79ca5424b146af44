//! Listing, inspecting and deleting rooms.

use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use partysync_protocol::limits;
use partysync_room::{Inspection, RoomName};
use serde::Serialize;

use super::{Refusal, json, parameter, raw_name, refused};
use crate::job::{Order, OrderError};
use crate::rooms::{Lease, Rooms};
use crate::staging;

/// Rooms in one answer, unless fewer are asked for.
const PAGE: usize = 1_000;

#[derive(Serialize)]
struct Parties<'r> {
    parties: Vec<&'r str>,
}

#[derive(Serialize)]
struct List {
    rooms: Vec<String>,
    /// What to ask for with `after`, to get the rooms that follow.
    next: Option<String>,
}

#[derive(Serialize)]
struct Inspected<'r> {
    room: &'r str,
    file: String,
    /// With the log beside it.
    file_bytes: u64,
    #[serde(flatten)]
    inspection: Inspection,
}

pub(super) fn parties(rooms: &Rooms) -> Response {
    json(StatusCode::OK, &Parties { parties: rooms.parties.keys().map(String::as_str).collect() })
}

/// The rooms of a party, by their names' bytes.
pub(super) async fn list(rooms: &Rooms, party: &str, uri: &Uri) -> Result<Response, Refusal> {
    check_party(rooms, party)?;
    let after = raw_name(uri, "after");
    if after.is_some_and(|after| after.contains("&limit=")) {
        return Err((StatusCode::BAD_REQUEST, "after comes last: all that follows it is a name.".to_owned()));
    }
    let limit = match parameter(uri, "limit").map(|limit| limit.parse::<usize>()) {
        None => PAGE,
        Some(Ok(limit @ 1..=PAGE)) => limit,
        Some(_) => return Err((StatusCode::BAD_REQUEST, format!("limit is a number from 1 to {PAGE}."))),
    };
    let found = rooms.registry.list(party, after, limit + 1).await;
    let mut names = found.map_err(|error| refused(OrderError::from(error)))?;
    let there_are_more = names.len() > limit;
    names.truncate(limit);
    let next = names.last().filter(|_| there_are_more).map(|name| name.room().to_owned());
    Ok(json(StatusCode::OK, &List { rooms: names.iter().map(|name| name.room().to_owned()).collect(), next }))
}

/// Brings the room into memory, if it is there.
pub(super) async fn inspect(rooms: &Arc<Rooms>, party: &str, room: &str) -> Result<Response, Refusal> {
    let (name, lease) = lease(rooms, party, room)?;
    let inspection = lease.order(Order::Inspect).await.map_err(refused)?;
    let file = rooms.data.room_file(&name);
    let file_bytes = staging::bytes(&file);
    let file = file.strip_prefix(rooms.data.path()).unwrap_or(&file).display().to_string();
    Ok(json(StatusCode::OK, &Inspected { room: name.address(), file, file_bytes, inspection }))
}

/// Deletes a room, if its name is said twice.
pub(super) async fn delete(rooms: &Arc<Rooms>, party: &str, room: &str, uri: &Uri) -> Result<Response, Refusal> {
    if raw_name(uri, "confirm") != Some(room) {
        return Err((StatusCode::BAD_REQUEST, format!("To delete this room for good, add ?confirm={room}.")));
    }
    let (name, lease) = lease(rooms, party, room)?;
    lease.order(Order::Delete).await.map_err(refused)?;
    Ok((StatusCode::OK, format!("{name} is deleted.\n")).into_response())
}

/// The room of an address, and a lease of it.
pub(super) fn lease(rooms: &Arc<Rooms>, party: &str, room: &str) -> Result<(RoomName, Lease), Refusal> {
    let name = room_name(rooms, party, room)?;
    let lease = lease_of(rooms, &name)?;
    Ok((name, lease))
}

/// The room of an address.
pub(super) fn room_name(rooms: &Rooms, party: &str, room: &str) -> Result<RoomName, Refusal> {
    check_party(rooms, party)?;
    if room.is_empty() || room.len() > limits::ROOM_NAME_BYTES {
        return Err((StatusCode::NOT_FOUND, "No room has such a name.".to_owned()));
    }
    Ok(RoomName::new(party, room))
}

pub(super) fn lease_of(rooms: &Arc<Rooms>, name: &RoomName) -> Result<Lease, Refusal> {
    rooms.lease(name).ok_or_else(|| refused(OrderError::Stopping))
}

fn check_party(rooms: &Rooms, party: &str) -> Result<(), Refusal> {
    let known = rooms.parties.contains_key(party);
    known.then_some(()).ok_or_else(|| (StatusCode::NOT_FOUND, "There is no such party.".to_owned()))
}
