//! Requests for rooms (SPEC 12.12): from a URL to a room, or to the status that says why not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use partysync_protocol::{ErrorCode, Fault, limits};
use partysync_room::{Admission, ConnectionInfo, Refusal, RoomName};

use crate::door::{self, Doors};
use crate::origins::Origins;
use crate::rooms::Rooms;
use crate::socket;

/// What stands before the rooms.
pub(crate) struct Front {
    /// What the path of rooms begins with.
    pub(crate) prefix: String,
    pub(crate) origins: Origins,
    /// The parameter of a query that is a token.
    pub(crate) token_param: String,
    /// By the party's name.
    pub(crate) doors: BTreeMap<String, Doors>,
}

/// Answers a request below the prefix.
pub(crate) async fn answer(rooms: Arc<Rooms>, front: &Front, request: Request) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if !front.origins.admit(origin.as_ref()) {
        return (StatusCode::FORBIDDEN, "Pages of this origin may not use this server.").into_response();
    }
    if request.headers().contains_key(header::UPGRADE) {
        return connect(rooms, front, request).await.unwrap_or_else(|refusal| refusal.into_response());
    }
    if let Some(response) = front.origins.preflight(request.method(), request.headers()) {
        return response;
    }
    let mut response = respond(&rooms, front, request).await.unwrap_or_else(|refusal| refusal.into_response());
    front.origins.share(origin.as_ref(), &mut response);
    response
}

/// Answers a request for a socket.
async fn connect(rooms: Arc<Rooms>, front: &Front, request: Request) -> Result<Response, Refused> {
    let (mut parts, _) = request.into_parts();
    let Address { name, path } = address(&rooms, front, &parts)?;
    let key = connection_key(&parts.uri)?;
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Ok(rejection.into_response()),
    };
    let door = front.doors.get(name.party()).and_then(|doors| doors.connect.as_ref());
    let admission = match door {
        None => Admission::anonymous(),
        Some(door) => match door.admit(door::join(name.clone(), path, &parts, &front.token_param)).await {
            Ok(admission) => admission,
            // A browser hides the status and the text of a handshake from the page, but not the reason of a close (SPEC 13.4).
            Err(refusal) if refusal.is_clients_fault() && parts.headers.contains_key(header::ORIGIN) => {
                return Ok(socket::refuse(upgrade, 4_000 + refusal.status(), refusal.text()));
            }
            Err(refusal) => return Err(refused(&refusal)),
        },
    };
    let stopping = (StatusCode::SERVICE_UNAVAILABLE, "The server is about to restart.".into());
    let lease = rooms.lease(&name).ok_or(stopping)?;
    lease.open().await.map_err(cannot_open)?;
    let identity = admission.identity().map(str::to_owned);
    Ok(socket::accept(upgrade, lease, ConnectionInfo { key, identity, data: admission.data().cloned() }))
}

/// Answers any other request.
async fn respond(rooms: &Rooms, front: &Front, request: Request) -> Result<Response, Refused> {
    let (parts, _) = request.into_parts();
    let Address { name, path } = address(rooms, front, &parts)?;
    if let Some(door) = front.doors.get(name.party()).and_then(|doors| doors.request.as_ref()) {
        let join = door::join(name.clone(), path, &parts, &front.token_param);
        door.admit(join).await.map_err(|refusal| refused(&refusal))?;
    }
    Err((StatusCode::NOT_FOUND, "There is nothing here but a WebSocket.".into()))
}

type Refused = (StatusCode, Cow<'static, str>);

/// What a URL's path names.
struct Address {
    name: RoomName,
    /// What follows the room.
    path: String,
}

fn address(rooms: &Rooms, front: &Front, parts: &Parts) -> Result<Address, Refused> {
    let address = room_name(&parts.uri, &front.prefix)?;
    if !rooms.parties.contains_key(address.name.party()) {
        return Err((StatusCode::BAD_REQUEST, "There is no such party.".into()));
    }
    Ok(address)
}

fn refused(refusal: &Refusal) -> Refused {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, refusal.text().to_owned().into())
}

/// The room that a URL names, by the raw segments of its path.
fn room_name(uri: &Uri, prefix: &str) -> Result<Address, Refused> {
    let too_short = || (StatusCode::NOT_FOUND, "There is no room at this address.".into());
    let path = uri.path().strip_prefix(prefix).and_then(|path| path.strip_prefix('/')).ok_or_else(too_short)?;
    let (party, path) = path.split_once('/').ok_or_else(too_short)?;
    let (room, path) = path.split_at(path.find('/').unwrap_or(path.len()));
    if party.len() > limits::PARTY_NAME_BYTES || room.len() > limits::ROOM_NAME_BYTES {
        return Err((StatusCode::URI_TOO_LONG, "The name is too long.".into()));
    }
    if room.is_empty() {
        return Err(too_short());
    }
    Ok(Address { name: RoomName::new(party, room), path: path.to_owned() })
}

/// `_pk`, percent-decoded.
fn connection_key(uri: &Uri) -> Result<Option<String>, Refused> {
    let query = uri.query().unwrap_or_default();
    let key = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "_pk").map(|(_, key)| key.into_owned());
    match key {
        Some(key) if key.len() > limits::CONNECTION_ID_BYTES => {
            Err((StatusCode::BAD_REQUEST, "The connection's id is too long.".into()))
        }
        key => Ok(key),
    }
}

fn cannot_open(code: ErrorCode) -> Refused {
    let status = match code.fault() {
        Fault::Server => StatusCode::SERVICE_UNAVAILABLE,
        Fault::Client | Fault::App => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, code.text().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(uri: &str) -> Result<String, u16> {
        let uri = uri.parse().unwrap();
        let address = room_name(&uri, "/parties");
        address.map(|a| format!("{}{}", a.name, a.path)).map_err(|(status, _)| status.as_u16())
    }

    #[test]
    fn spec_12_12_a_room_is_named_by_raw_segments() {
        assert_eq!(name_of("/parties/todos/a%20b").unwrap(), "todos/a%20b");
        assert_eq!(name_of("http://localhost/parties/todos/x/more/segments?room=y").unwrap(), "todos/x/more/segments");
        assert_eq!(name_of("/parties/todos/..").unwrap(), "todos/..");
        for too_short in
            ["/parties", "/parties/", "/parties/todos", "/parties/todos/", "/parties/todos//x", "/other/todos/x"]
        {
            assert_eq!(name_of(too_short), Err(404), "{too_short}");
        }
    }

    #[test]
    fn p8_party_name_bytes_and_room_name_bytes_at_the_limit_and_one_past_it() {
        let (party, room) = ("p".repeat(limits::PARTY_NAME_BYTES), "r".repeat(limits::ROOM_NAME_BYTES));
        assert!(name_of(&format!("/parties/{party}/{room}")).is_ok());
        assert_eq!(name_of(&format!("/parties/{party}p/{room}")), Err(414));
        assert_eq!(name_of(&format!("/parties/{party}/{room}r")), Err(414));
    }

    #[test]
    fn p8_connection_id_bytes_at_the_limit_and_one_past_it() {
        let key_of = |key: &str| connection_key(&format!("/parties/todos/x?a=b&_pk={key}").parse().unwrap());
        let longest = "%41".repeat(limits::CONNECTION_ID_BYTES);
        assert_eq!(key_of(&longest).unwrap(), Some("A".repeat(limits::CONNECTION_ID_BYTES)));
        assert_eq!(key_of(&(longest + "A")).unwrap_err().0, StatusCode::BAD_REQUEST);
        assert_eq!(key_of("").unwrap(), Some(String::new()));
    }
}
