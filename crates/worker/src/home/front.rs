//! The worker: it takes requests to the objects of their rooms, if the app's door lets them.

use std::rc::Rc;
use std::sync::Arc;

use partysync_protocol::v2;
use partysync_room::{Admission, KeptReader, KeptWriter, OriginHeaders, Origins, Refusal};
use wasm_bindgen::JsValue;
use worker::{Env, Headers, Request, Response, Result, WebSocketPair, web_sys};

use super::admin;
use super::app::App;
use super::request::{Target, join, refused};
use crate::handshake::Handshake;
use crate::js;

/// The header in which an object is told what the door said. An object is reached through the worker alone, which sets it.
pub(crate) const ADMISSION: &str = "x-partysync-admission";

/// Why somebody does not get in.
enum No {
    /// There is nothing to get into.
    Nowhere(Refusal),
    /// The app's door says so.
    Door(Refusal),
}

/// The worker's entry: what [`durable_object!`](crate::durable_object) calls. Returns a promise of a response.
pub fn fetch(request: web_sys::Request, env: Env, make: fn(&Env) -> App) -> JsValue {
    js::promise(Box::pin(async move { js::response(answer(request.into(), env, make).await) }))
}

async fn answer(request: Request, env: Env, make: fn(&Env) -> App) -> Result<Response> {
    let app = App::of_isolate(&env, make);
    if let Some(admin) = app.admin.as_ref().filter(|_| admin::is_asked(&request)) {
        return (admin.front)(Rc::clone(&app), request, env).await;
    }
    let origin = request.headers().get("origin")?;
    let origin = origin.as_deref();
    if !app.origins.admit(origin) {
        return refused(&Refusal::new(403, Origins::REFUSAL));
    }
    if is_socket(&request)? {
        return enter(&app, request, &env, origin.is_some()).await;
    }
    if let Some(response) = preflight(&app, &request, origin)? {
        return Ok(response);
    }
    match admit(&app, &request).await {
        Ok((room, admission)) => pass_on(&app, &env, request, &room, admission.as_ref()).await,
        Err(No::Door(refusal) | No::Nowhere(refusal)) => {
            let response = refused(&refusal)?;
            share(&response, app.origins.share(origin))?;
            Ok(response)
        }
    }
}

/// Takes a handshake to its room.
async fn enter(app: &App, request: Request, env: &Env, is_page: bool) -> Result<Response> {
    match admit(app, &request).await {
        Ok((room, admission)) => pass_on(app, env, request, &room, admission.as_ref()).await,
        // A browser hides the status and the text of a handshake from the page, but not the reason of a close (SPEC 13.4).
        Err(No::Door(refusal)) if refusal.is_clients_fault() && is_page => refuse_socket(&request, &refusal),
        Err(No::Door(refusal) | No::Nowhere(refusal)) => refused(&refusal),
    }
}

/// Takes a request to the object of its room.
async fn pass_on(
    app: &App,
    env: &Env,
    mut request: Request,
    room: &str,
    admission: Option<&Admission>,
) -> Result<Response> {
    if let Some(admission) = admission {
        request = request.clone_mut()?;
        request.headers_mut()?.set(ADMISSION, &encode(admission))?;
    }
    env.durable_object(&app.binding)?.get_by_name(room)?.fetch_with_request(request).await
}

/// The answer to a browser that asks whether a page of another origin may send a request; `None` if it does not ask.
fn preflight(app: &App, request: &Request, origin: Option<&str>) -> Result<Option<Response>> {
    let headers = request.headers();
    if request.inner().method() != "OPTIONS" || !headers.has("access-control-request-method")? {
        return Ok(None);
    }
    let response = Response::empty()?.with_status(204);
    let wanted = headers.get("access-control-request-headers")?;
    share(&response, app.origins.preflight(origin, wanted.as_deref()))?;
    Ok(Some(response))
}

/// Adds what tells a browser which pages may read a response.
pub(crate) fn share(response: &Response, headers: OriginHeaders) -> Result<()> {
    for (name, value) in headers {
        if name == "vary" {
            response.headers().append(name, &value)?;
        } else {
            response.headers().set(name, &value)?;
        }
    }
    Ok(())
}

/// The room's address, and what the party's door said if it has one.
async fn admit(app: &App, request: &Request) -> std::result::Result<(String, Option<Admission>), No> {
    let target = Target::of(request);
    let address = target.address(&app.prefix).map_err(No::Nowhere)?;
    let party = app.find(address.room.party()).filter(|party| party.open.is_some());
    let party = party.ok_or_else(|| No::Nowhere(Refusal::new(400, "There is no such party.")))?;
    let is_socket = is_socket(request).unwrap_or_default();
    if is_socket {
        target.connection_key().map_err(No::Nowhere)?;
    }
    let room = address.room.address().to_owned();
    let Some(door) = (if is_socket { &party.connect } else { &party.request }) else { return Ok((room, None)) };
    let join = join(address.room, address.path, request, &app.token_param);
    if is_socket && Handshake::of(&join, &app.token_param).is_none() {
        return Err(No::Nowhere(Refusal::new(414, "The address is too long.")));
    }
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
    let mut kept = KeptWriter::new();
    kept.option(admission.identity(), KeptWriter::text);
    kept.option(admission.data().map(|data| &**data), KeptWriter::text);
    kept.option(admission.ends_at(), KeptWriter::plain);
    js_sys::encode_uri(&kept.finish()).into()
}

fn decode(text: &str) -> Option<Admission> {
    let mut kept = KeptReader::new(text);
    let identity = kept.option(|kept| kept.text().map(str::to_owned))?;
    let data = kept.option(|kept| kept.text().map(Arc::from))?;
    Some(Admission::restored(identity, data, kept.option(KeptReader::plain)?))
}

/// What the door said to whoever sent a request to an object. Without a door everybody is nobody known.
pub(crate) fn admission(request: &Request, has_door: bool) -> Result<Admission> {
    if !has_door {
        return Ok(Admission::anonymous());
    }
    let text = request.headers().get(ADMISSION)?.ok_or("the worker did not say whom it let in")?;
    let admission = js_sys::decode_uri(&text).ok().and_then(|text| decode(&String::from(text)));
    Ok(admission.ok_or("the worker said whom it let in in a way that cannot be read")?)
}
