//! Requests for rooms (SPEC 12.12): from a URL to a room, or to the status that says why not.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use partysync_protocol::{ErrorCode, Fault, WireError, limits, v2};
use partysync_room::{Address, Admission, ConnectionInfo, Join, Origins, Refusal, RoomName};
use tokio::time::timeout;

use crate::backlog::Close;
use crate::door::{self, Door};
use crate::gate::Gate;
use crate::mailbox::Speaks;
use crate::origins;
use crate::party::Party;
use crate::rooms::Rooms;
use crate::socket::{self, Arrival};
use crate::ws;

/// Headers that are the server's to say: they are about the connection, or about how the body is sent.
const OF_THE_CONNECTION: [HeaderName; 4] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE];

/// What stands before the rooms.
pub(crate) struct Front {
    /// What the path of rooms begins with.
    pub(crate) prefix: String,
    pub(crate) origins: Origins,
    /// The parameter of a query that is a token.
    pub(crate) token_param: String,
}

/// Answers a request below the prefix.
pub(crate) async fn answer(rooms: Arc<Rooms>, front: &Front, request: Request) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if !origins::admit(&front.origins, request.headers()) {
        return (StatusCode::FORBIDDEN, Origins::REFUSAL).into_response();
    }
    if request.headers().contains_key(header::UPGRADE) {
        return connect(rooms, front, request).await.unwrap_or_else(|refusal| refusal.into_response());
    }
    if let Some(response) = origins::preflight(&front.origins, request.method(), request.headers()) {
        return response;
    }
    let mut response = respond(&rooms, front, request).await.unwrap_or_else(|refusal| refusal.into_response());
    origins::share(&front.origins, origin.as_ref(), &mut response);
    response
}

/// Answers a request for a socket.
async fn connect(rooms: Arc<Rooms>, front: &Front, request: Request) -> Result<Response, Refused> {
    let (mut parts, _) = request.into_parts();
    let Address { room: name, path } = address(&parts.uri, &front.prefix)?;
    let party = party(&rooms, &name)?;
    let key = connection_key(&parts.uri)?;
    let accept = match ws::check(&parts.method, &parts.headers) {
        Ok(key) => ws::accept_key(key),
        Err((StatusCode::UPGRADE_REQUIRED, text)) => return Ok(upgrade_required(text)),
        Err((status, text)) => return Err((status, text.into())),
    };
    let speaks = if ws::offers(&parts.headers, v2::SUBPROTOCOL) { Speaks::V2 } else { Speaks::Unknown };
    let not_upgradable = || (StatusCode::UPGRADE_REQUIRED, "This connection cannot become a WebSocket.".into());
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or_else(not_upgradable)?;
    let asks = || door::join(name.clone(), path, &parts, &front.token_param);
    let (admission, handshake) = match &party.doors.connect {
        None => (Admission::anonymous(), rooms.has_doors().then(|| Arc::new(asks()))),
        Some(door) => match enter(door, asks()).await {
            Ok((admission, handshake)) => (admission, Some(handshake)),
            // A browser hides the status and the text of a handshake from the page, but not the reason of a close (SPEC 13.4).
            Err(refusal) if refusal.is_clients_fault() && parts.headers.contains_key(header::ORIGIN) => {
                let close = Close { code: 4_000 + refusal.status(), reason: refusal.text().to_owned().into() };
                tokio::spawn(socket::refuse(upgrade, close));
                return Ok(switching_protocols(&accept, speaks));
            }
            Err(refusal) => return Err(refused(&refusal)),
        },
    };
    let lease = rooms.lease(&name).ok_or_else(stopping)?;
    lease.open().await.map_err(cannot_open)?;
    let identity = admission.identity().map(str::to_owned);
    let info = ConnectionInfo { key, identity, data: admission.data().cloned() };
    let at_door = handshake.clone().filter(|_| party.doors.connect.is_some());
    let gate = Gate::new(party, admission, at_door);
    tokio::spawn(socket::serve(upgrade, lease, info, speaks, Arrival { gate, handshake }));
    Ok(switching_protocols(&accept, speaks))
}

/// Asks the door, and keeps what it was asked: doors of further rooms are asked the same.
async fn enter(door: &Door, join: Join) -> Result<(Admission, Arc<Join>), Refusal> {
    let kept = Arc::new(join.clone());
    Ok((door.admit(join).await?, kept))
}

/// The answer that opens a WebSocket (RFC 6455, 4.2.2).
fn switching_protocols(accept: &str, speaks: Speaks) -> Response {
    let headers =
        [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_ACCEPT, accept)];
    let mut answer = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    if speaks == Speaks::V2 {
        // A browser gives up if one that it offers is not selected, whatever comes then: so for those that are refused, too.
        let selected = HeaderValue::from_static(v2::SUBPROTOCOL);
        answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, selected);
    }
    answer
}

/// The answer to a WebSocket of another version, which names the one that is spoken (RFC 6455, 4.4).
fn upgrade_required(text: &'static str) -> Response {
    let headers = [
        (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(ws::VERSION)),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
    ];
    (StatusCode::UPGRADE_REQUIRED, headers, text).into_response()
}

/// Answers any other request: the app's `on_request` does (SPEC 14.8).
async fn respond(rooms: &Arc<Rooms>, front: &Front, request: Request) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let Address { room: name, path } = address(&parts.uri, &front.prefix)?;
    let party = party(rooms, &name)?;
    let join = door::join(name.clone(), path, &parts, &front.token_param);
    let admission = match &party.doors.request {
        None => Admission::anonymous(),
        Some(door) => door.admit(join.clone()).await.map_err(|refusal| refused(&refusal))?,
    };
    let body = read_body(body).await?;
    let lease = rooms.lease(&name).ok_or_else(stopping)?;
    lease.open().await.map_err(cannot_open)?;
    let answered = lease.ask(partysync_room::Request::new(join, admission, body)).await;
    let Some(answered) = answered else { return Ok(app_error()) };
    Ok(response(answered).unwrap_or_else(|why| {
        tracing::error!(room = %name, why, "the response of on_request cannot be sent");
        rooms.metrics.reports.add(1);
        app_error()
    }))
}

async fn read_body(body: Body) -> Result<Vec<u8>, Refused> {
    match timeout(Duration::from_millis(limits::REQUEST_MS), to_bytes(body, limits::REQUEST_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        // It is too large, or broke off: then nobody hears the answer.
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.".into())),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "The body took too long.".into())),
    }
}

/// The app's response; or why it cannot be sent.
fn response(response: partysync_room::Response) -> Result<Response, String> {
    let status = StatusCode::from_u16(response.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
    let mut answer = Response::new(Body::from(response.body));
    *answer.status_mut() = status.ok_or_else(|| format!("its status is {}", response.status))?;
    for (name, value) in &response.headers {
        let illegal = || format!("its header {name:?} cannot be sent");
        let value = HeaderValue::from_str(value).map_err(|_| illegal())?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !OF_THE_CONNECTION.contains(name));
        answer.headers_mut().try_append(name.ok_or_else(illegal)?, value).map_err(|_| "it has too many headers")?;
    }
    Ok(answer)
}

/// The app failed: the error as JSON, as the room answers it.
fn app_error() -> Response {
    let error = WireError::from(ErrorCode::AppError);
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::INTERNAL_SERVER_ERROR, headers, v2::encode(&error)).into_response()
}

fn stopping() -> Refused {
    (StatusCode::SERVICE_UNAVAILABLE, "The server is about to restart.".into())
}

type Refused = (StatusCode, Cow<'static, str>);

fn party<'r>(rooms: &'r Rooms, name: &RoomName) -> Result<&'r Party, Refused> {
    rooms.parties.get(name.party()).ok_or((StatusCode::BAD_REQUEST, "There is no such party.".into()))
}

fn refused(refusal: &Refusal) -> Refused {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, refusal.text().to_owned().into())
}

/// The room that a URL names.
fn address(uri: &Uri, prefix: &str) -> Result<Address, Refused> {
    Address::of_path(uri.path(), prefix).map_err(|refusal| refused(&refusal))
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

    #[tokio::test(start_paused = true)]
    async fn p8_request_ms_at_the_limit_and_one_past_it() {
        let body = |ms: u64| {
            Body::from_stream(futures_util::stream::once(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok::<_, std::io::Error>("slow")
            }))
        };
        assert_eq!(read_body(body(limits::REQUEST_MS - 1)).await.unwrap(), b"slow");
        assert_eq!(read_body(body(limits::REQUEST_MS + 2)).await.unwrap_err().0, StatusCode::REQUEST_TIMEOUT);
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
