//! The worker: it takes requests to the objects of their rooms, if the app's door lets them.

use partysync_protocol::v2;
use partysync_room::{Admission, Refusal};
use serde::{Deserialize, Serialize};
use worker::{Env, Headers, Request, Response, Result, WebSocketPair};

use super::app::App;
use super::request::{Target, join, refused};

/// The header in which an object is told what the door said. An object is reached through the worker alone, which sets it.
pub(crate) const ADMISSION: &str = "x-partysync-admission";

/// What the door said, on its way to the object.
#[derive(Serialize, Deserialize)]
struct Admitted {
    identity: Option<String>,
    data: Option<serde_json::Value>,
}

/// Why somebody does not get in.
enum No {
    /// There is nothing to get into.
    Nowhere(Refusal),
    /// The app's door says so.
    Door(Refusal),
}

/// The worker's entry: what [`durable_object!`](crate::durable_object) calls.
///
/// # Errors
///
/// Those of the platform.
pub async fn fetch(request: Request, env: Env, make: fn(&Env) -> App) -> Result<Response> {
    let app = App::of_isolate(&env, make);
    let is_page = request.headers().has("origin")?;
    match admit(&app, &request).await {
        Ok((room, admission)) => {
            let request = match admission {
                None => request,
                Some(admission) => {
                    let mut request = request.clone_mut()?;
                    request.headers_mut()?.set(ADMISSION, &encode(&admission))?;
                    request
                }
            };
            env.durable_object(&app.binding)?.get_by_name(&room)?.fetch_with_request(request).await
        }
        // A browser hides the status and the text of a handshake from the page, but not the reason of a close (SPEC 13.4).
        Err(No::Door(refusal)) if refusal.is_clients_fault() && is_page && is_socket(&request)? => {
            refuse_socket(&request, &refusal)
        }
        Err(No::Door(refusal) | No::Nowhere(refusal)) => refused(&refusal),
    }
}

/// The room's address, and what the party's door said if it has one.
async fn admit(app: &App, request: &Request) -> std::result::Result<(String, Option<Admission>), No> {
    let target = Target::of(request);
    let address = target.address(&app.prefix).map_err(No::Nowhere)?;
    let party = app.parties.get(address.room.party()).filter(|party| party.open.is_some());
    let party = party.ok_or_else(|| No::Nowhere(Refusal::new(400, "There is no such party.")))?;
    let is_socket = is_socket(request).unwrap_or_default();
    if is_socket {
        target.connection_key().map_err(No::Nowhere)?;
    }
    let room = address.room.address().to_owned();
    let Some(door) = (if is_socket { &party.connect } else { &party.request }) else { return Ok((room, None)) };
    let join = join(address.room, address.path, request, &app.token_param);
    Ok((room, Some(door.admit(join).await.map_err(No::Door)?)))
}

pub(crate) fn is_socket(request: &Request) -> Result<bool> {
    request.headers().has("upgrade")
}

/// Accepts a socket, to tell its page why it is closed.
fn refuse_socket(request: &Request, refusal: &Refusal) -> Result<Response> {
    let pair = WebSocketPair::new()?;
    pair.server.accept()?;
    let reason = partysync_room::close_reason(refusal.text().to_owned());
    pair.server.close(Some(4_000 + refusal.status()), Some(reason))?;
    switching_protocols(pair, offers_v2(request.headers())?)
}

/// The answer that opens a WebSocket. A browser gives up if one of the subprotocols that it offers is not selected, whatever comes then.
pub(crate) fn switching_protocols(pair: WebSocketPair, is_v2: bool) -> Result<Response> {
    let response = Response::from_websocket(pair.client)?;
    if !is_v2 {
        return Ok(response);
    }
    let headers = Headers::new();
    headers.set("sec-websocket-protocol", v2::SUBPROTOCOL)?;
    Ok(response.with_headers(headers))
}

pub(crate) fn offers_v2(headers: &Headers) -> Result<bool> {
    let offered = headers.get("sec-websocket-protocol")?.unwrap_or_default();
    Ok(offered.split(',').any(|offer| offer.trim() == v2::SUBPROTOCOL))
}

/// As ASCII, which is all that a header can hold.
fn encode(admission: &Admission) -> String {
    let data = admission.data().and_then(|data| serde_json::from_str(data).ok());
    let json = v2::encode(&Admitted { identity: admission.identity().map(str::to_owned), data });
    let mut ascii = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => ascii.push(byte.into()),
            _ => ascii.push_str(&format!("\\u{unit:04x}")),
        }
    }
    ascii
}

/// What the door said to whoever sent a request to an object. Without a door everybody is nobody known.
pub(crate) fn admission(request: &Request, has_door: bool) -> Result<Admission> {
    if !has_door {
        return Ok(Admission::anonymous());
    }
    let json = request.headers().get(ADMISSION)?.ok_or("the worker did not say whom it let in")?;
    let Admitted { identity, data } = serde_json::from_str(&json)?;
    let admission = identity.map_or_else(Admission::anonymous, Admission::of);
    Ok(data.iter().fold(admission, |admission, data| admission.with_data(data)))
}
