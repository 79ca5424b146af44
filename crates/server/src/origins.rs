//! Which pages may use the rooms (SPEC 13.6, 13.7), in HTTP's types.

use axum::http::header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use partysync_room::{OriginHeaders, Origins};

/// Whether a page that sends these headers may come in.
pub(crate) fn admit(origins: &Origins, headers: &HeaderMap) -> bool {
    // What is no text is no origin, and no absent one either.
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    origins.admit(origin)
}

/// The answer to a browser that asks whether a page of another origin may send a request; `None` if it does not ask.
pub(crate) fn preflight(origins: &Origins, method: &Method, headers: &HeaderMap) -> Option<Response> {
    if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let mut response = StatusCode::NO_CONTENT.into_response();
    add(&mut response, origins.preflight(text(ORIGIN), text(ACCESS_CONTROL_REQUEST_HEADERS)));
    Some(response)
}

/// Lets a page of this origin, which [may come in](admit), read the response.
pub(crate) fn share(origins: &Origins, origin: Option<&HeaderValue>, response: &mut Response) {
    add(response, origins.share(origin.and_then(|origin| origin.to_str().ok())));
}

fn add(response: &mut Response, headers: OriginHeaders) {
    for (name, value) in headers {
        // All of it came in headers.
        let Ok(value) = HeaderValue::from_str(&value) else { continue };
        if name == "vary" {
            response.headers_mut().append(name, value);
        } else {
            response.headers_mut().insert(name, value);
        }
    }
}
