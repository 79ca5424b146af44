//! Requests for rooms (SPEC 12.12): from a URL to a room, or to the status that says why not.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, WebSocketUpgrade};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use partysync_protocol::{ErrorCode, Fault, limits};
use partysync_room::{ConnectionInfo, RoomName};

use crate::rooms::Rooms;
use crate::socket;

/// Answers a request below the prefix.
pub(crate) async fn answer(rooms: Arc<Rooms>, prefix: &str, request: Request) -> Response {
    match connect(rooms, prefix, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn connect(rooms: Arc<Rooms>, prefix: &str, request: Request) -> Result<Response, Refusal> {
    let name = room_name(request.uri(), prefix)?;
    if !rooms.parties.contains_key(name.party()) {
        return Err((StatusCode::BAD_REQUEST, "There is no such party."));
    }
    let key = connection_key(request.uri())?;
    if !request.headers().contains_key(header::UPGRADE) {
        return Err((StatusCode::NOT_FOUND, "There is nothing here but a WebSocket."));
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Ok(rejection.into_response()),
    };
    let stopping = (StatusCode::SERVICE_UNAVAILABLE, "The server is about to restart.");
    let lease = rooms.lease(&name).ok_or(stopping)?;
    lease.open().await.map_err(cannot_open)?;
    Ok(socket::accept(upgrade, lease, ConnectionInfo { key, ..ConnectionInfo::default() }))
}

type Refusal = (StatusCode, &'static str);

/// The room that a URL names, by the raw segments of its path.
fn room_name(uri: &Uri, prefix: &str) -> Result<RoomName, Refusal> {
    let too_short = (StatusCode::NOT_FOUND, "There is no room at this address.");
    let path = uri.path().strip_prefix(prefix).and_then(|path| path.strip_prefix('/')).ok_or(too_short)?;
    let mut segments = path.split('/');
    let (Some(party), Some(room)) = (segments.next(), segments.next()) else { return Err(too_short) };
    if party.len() > limits::PARTY_NAME_BYTES || room.len() > limits::ROOM_NAME_BYTES {
        return Err((StatusCode::URI_TOO_LONG, "The name is too long."));
    }
    if room.is_empty() {
        return Err(too_short);
    }
    Ok(RoomName::new(party, room))
}

/// `_pk`, percent-decoded.
fn connection_key(uri: &Uri) -> Result<Option<String>, Refusal> {
    let query = uri.query().unwrap_or_default();
    let key = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "_pk").map(|(_, key)| key.into_owned());
    match key {
        Some(key) if key.len() > limits::CONNECTION_ID_BYTES => {
            Err((StatusCode::BAD_REQUEST, "The connection's id is too long."))
        }
        key => Ok(key),
    }
}

fn cannot_open(code: ErrorCode) -> Refusal {
    let status = match code.fault() {
        Fault::Server => StatusCode::SERVICE_UNAVAILABLE,
        Fault::Client | Fault::App => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, code.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(uri: &str) -> Result<String, u16> {
        let name = room_name(&uri.parse().unwrap(), "/parties");
        name.map(|name| name.address().to_owned()).map_err(|(status, _)| status.as_u16())
    }

    #[test]
    fn spec_12_12_a_room_is_named_by_raw_segments() {
        assert_eq!(name_of("/parties/todos/a%20b").unwrap(), "todos/a%20b");
        assert_eq!(name_of("http://localhost/parties/todos/x/more/segments?room=y").unwrap(), "todos/x");
        assert_eq!(name_of("/parties/todos/..").unwrap(), "todos/..");
        for too_short in
            ["/parties", "/parties/", "/parties/todos", "/parties/todos/", "/parties/todos//x", "/other/todos/x"]
        {
            assert_eq!(name_of(too_short), Err(404), "{too_short}");
        }
    }

    #[test]
    fn p8_party_and_room_name_bytes_at_the_limit_and_one_past_it() {
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
