//! A request that is no socket's, and the app's response (SPEC 14.8).

use std::sync::Arc;

use partysync_protocol::{ErrorCode, Fault, WireError};
use serde::Serialize;

use crate::{Admission, Join};

/// A request for a room that asks for no socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// What it says of itself: the method, the path behind the room's, the parameters, the headers.
    pub join: Join,
    /// As whom the app's door let it in.
    pub admission: Admission,
    /// Its body, at most [`limits::REQUEST_BYTES`](partysync_protocol::limits::REQUEST_BYTES) long.
    pub body: Vec<u8>,
}

/// The app's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, from 200 to 599. Any other makes it a 500.
    pub status: u16,
    /// Headers. One whose name or value HTTP does not allow makes it a 500, and so does `connection`, `content-length`,
    /// `transfer-encoding` or `upgrade`, which are the home's to say.
    pub headers: Vec<(String, String)>,
    /// The body, at most [`limits::RESPONSE_BYTES`](partysync_protocol::limits::RESPONSE_BYTES) long.
    pub body: Vec<u8>,
}

impl Request {
    /// A request, for homes and tests.
    pub fn new(join: Join, admission: Admission, body: Vec<u8>) -> Self {
        Request { join, admission, body }
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        &self.join.method
    }

    /// What follows the room in the URL's path: empty, or it begins with a slash.
    pub fn path(&self) -> &str {
        &self.join.path
    }

    /// Who sent it, if the app's door found out.
    pub fn identity(&self) -> Option<&str> {
        self.admission.identity()
    }

    /// What else the app's door found out, as JSON.
    pub fn data(&self) -> Option<&Arc<str>> {
        self.admission.data()
    }
}

impl Response {
    /// A text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::of("text/plain; charset=utf-8", status, text.into())
    }

    /// JSON. What cannot be JSON is a status 500.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(json) => Self::of("application/json", status, json),
            Err(_) => Self::of_error(&ErrorCode::AppError.into()),
        }
    }

    /// The app has no answer to it, or takes no requests.
    pub(crate) fn nothing_here() -> Self {
        Self::text(404, "There is nothing here but a WebSocket.")
    }

    /// What becomes of an error: whose fault it is says the status.
    pub(crate) fn of_error(error: &WireError) -> Self {
        let status = match error.fault {
            Fault::Client if error.code == ErrorCode::NotFound.as_str() => 404,
            Fault::Client => 400,
            Fault::App => 500,
            Fault::Server => 503,
        };
        Self::of("application/json", status, partysync_protocol::v2::encode(error))
    }

    fn of(content_type: &str, status: u16, body: String) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Response { status, headers, body: body.into_bytes() }
    }
}
