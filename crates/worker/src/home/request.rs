//! What a request says, and what is answered.

use std::future::poll_fn;
use std::pin::pin;

use futures_util::Stream;
use partysync_protocol::{ErrorCode, Fault, WireError, limits, v2};
use partysync_room::{Address, Join, Refusal, RoomName, Token};
use worker::{Headers, Request, Response, ResponseBuilder, Result};

use super::door::within;

/// Headers that are the home's to say.
const OF_THE_CONNECTION: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];

/// A URL in its parts, as it came.
pub(crate) struct Target {
    path: String,
    query: String,
}

impl Target {
    pub(crate) fn of(request: &Request) -> Self {
        let url = request.inner().url();
        let url = url.split('#').next().unwrap_or_default();
        let (url, query) = url.split_once('?').unwrap_or((url, ""));
        let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        Target { path: path.unwrap_or("/").to_owned(), query: query.to_owned() }
    }

    pub(crate) fn address(&self, prefix: &str) -> std::result::Result<Address, Refusal> {
        Address::of_path(&self.path, prefix)
    }

    /// `_pk`, percent-decoded.
    pub(crate) fn connection_key(&self) -> std::result::Result<Option<String>, Refusal> {
        match self.param("_pk") {
            Some(key) if key.len() > limits::CONNECTION_ID_BYTES => {
                Err(Refusal::new(400, "The connection's id is too long."))
            }
            key => Ok(key),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// As it came.
    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    /// The first parameter of this name.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        self.params().into_iter().find(|(of, _)| of == name).map(|(_, value)| value)
    }

    fn params(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(self.query.as_bytes()).into_owned().collect()
    }
}

/// What a request says of who sent it.
pub(crate) fn join(room: RoomName, path: String, request: &Request, token_param: &str) -> Join {
    let mut join = Join::new(room);
    join.method = request.inner().method();
    join.path = path;
    join.params = Target::of(request).params();
    join.headers = request.headers().entries().filter(|(name, _)| name != super::front::ADMISSION).collect();
    join.token = bearer(&join).or_else(|| join.param(token_param)).map(Token::new);
    join
}

fn bearer(join: &Join) -> Option<&str> {
    let (scheme, token) = join.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A request's body, within its limits.
pub(crate) async fn read_body(request: &mut Request) -> Result<std::result::Result<Vec<u8>, Refusal>> {
    if request.inner().body().is_none() {
        return Ok(Ok(Vec::new()));
    }
    let mut stream = pin!(request.stream()?);
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            body.extend(chunk?);
            if body.len() > limits::REQUEST_BYTES {
                return Ok(Err(Refusal::new(413, "The body is too large.")));
            }
        }
        Ok(Ok(body))
    };
    within(limits::REQUEST_MS, read).await.unwrap_or_else(|| Ok(Err(Refusal::new(408, "The body took too long."))))
}

/// The app's response; or why it cannot be sent.
pub(crate) fn response(response: partysync_room::Response) -> std::result::Result<Response, String> {
    if !(200..600).contains(&response.status) {
        return Err(format!("its status is {}", response.status));
    }
    let headers = Headers::new();
    for (name, value) in &response.headers {
        let is_ours = OF_THE_CONNECTION.contains(&name.to_ascii_lowercase().as_str());
        if is_ours || headers.append(name, value).is_err() {
            return Err(format!("its header {name:?} cannot be sent"));
        }
    }
    let builder = ResponseBuilder::new().with_status(response.status).with_headers(headers);
    // Some statuses may have no body, not even an empty one.
    if response.body.is_empty() { Ok(builder.empty()) } else { Ok(builder.fixed(response.body)) }
}

/// The app failed: the error as JSON, as the room answers it.
pub(crate) fn app_error() -> Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    let error = v2::encode(&WireError::from(ErrorCode::AppError));
    Ok(Response::error(error, 500)?.with_headers(headers))
}

/// A status, and a text for a user.
pub(crate) fn refused(refusal: &Refusal) -> Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", "text/plain; charset=utf-8")?;
    Ok(Response::error(refusal.text(), refusal.status())?.with_headers(headers))
}

/// The room cannot come into memory.
pub(crate) fn cannot_open(code: ErrorCode) -> Refusal {
    let status = if code.fault() == Fault::Server { 503 } else { 500 };
    Refusal::new(status, code.text())
}
