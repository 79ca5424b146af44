//! The operator's door: metrics, health, and orders to rooms, on a listener of its own.
//!
//! Everything but health asks for a token. Paths name rooms by the raw segments of their addresses, as rooms' own do.

mod files;
mod rooms;
mod token;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

pub use token::{AdminToken, InvalidAdminToken};

use self::files::Kind;
use crate::accept::Accepted;
use crate::job::OrderError;
use crate::rooms::Rooms;
use crate::{Server, health};

const TEXT_OF_PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Server {
    /// Serves the admin interface, for as long as this is polled: also while the server stops, so that one can see how far it is.
    /// Without this there is none. `docs/deployment.md` in the repository says what it can do.
    ///
    /// Whoever has the token can read, replace and delete every room. It has no TLS and no limits on how much is asked: the listener
    /// should be one that only operators reach.
    ///
    /// # Errors
    ///
    /// Those of the listener.
    pub async fn serve_admin(&self, listener: TcpListener, token: AdminToken) -> io::Result<()> {
        let mut accepted = Accepted::new(self.admin_router(token));
        accepted.serve(listener, async |tcp| Some(tcp), std::future::pending()).await
    }

    /// The admin interface, to serve it in another way, or to nest it at a path of an app that only operators reach.
    pub fn admin_router(&self, token: AdminToken) -> Router {
        let (rooms, token) = (Arc::clone(self.rooms()), Arc::new(token));
        Router::new().fallback(move |request: Request| async move { answer(&rooms, &token, request).await })
    }

    /// `/healthz`: 200 if the process lives. `/readyz`: 200 if rooms can work, 503 with the reason if the server stops, if its data
    /// directory cannot be written to, or if no writer becomes free for 5 s. For a load balancer, to merge into a router of the
    /// app's; the admin interface has both too.
    pub fn health_router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        health::router(self.rooms())
    }
}

/// Why a request is not granted: the status, and a text for the operator.
type Refusal = (StatusCode, String);

async fn answer(rooms: &Arc<Rooms>, token: &AdminToken, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments.as_slice() {
        ["healthz"] => return health::healthz().into_response(),
        ["readyz"] => return health::readyz(rooms).await.into_response(),
        _ => {}
    }
    if !token.is_in(request.headers()) {
        return unauthorized();
    }
    let answered = match (request.method().clone(), segments.as_slice()) {
        (Method::GET, ["metrics"]) => Ok(metrics(rooms)),
        (Method::GET, ["rooms"]) => Ok(rooms::parties(rooms)),
        (Method::GET, ["rooms", party]) => rooms::list(rooms, party, request.uri()).await,
        (Method::GET, ["rooms", party, room]) => rooms::inspect(rooms, party, room).await,
        (Method::DELETE, ["rooms", party, room]) => rooms::delete(rooms, party, room, request.uri()).await,
        (Method::GET, ["rooms", party, room, "backup"]) => files::back_up(rooms, party, room).await,
        (Method::PUT, ["rooms", party, room]) => files::restore(rooms, party, room, request, Kind::Database).await,
        (Method::GET, ["rooms", party, room, "export"]) => files::export(rooms, party, room).await,
        (Method::PUT, ["rooms", party, room, "export"]) => {
            files::restore(rooms, party, room, request, Kind::Export).await
        }
        (_, ["metrics"] | ["rooms"] | ["rooms", _] | ["rooms", _, _] | ["rooms", _, _, "backup" | "export"]) => {
            Err((StatusCode::METHOD_NOT_ALLOWED, "This cannot be done here.".to_owned()))
        }
        _ => Err((StatusCode::NOT_FOUND, "There is nothing here.".to_owned())),
    };
    answered.unwrap_or_else(|(status, text)| (status, text + "\n").into_response())
}

fn unauthorized() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"partysync\"")];
    (StatusCode::UNAUTHORIZED, challenge, "The token is missing or wrong.\n").into_response()
}

fn metrics(rooms: &Rooms) -> Response {
    ([(header::CONTENT_TYPE, TEXT_OF_PROMETHEUS)], rooms.metrics.page(rooms.now())).into_response()
}

/// What a parameter of the query says.
fn parameter(uri: &axum::http::Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A room's name in the query, as it is written in a path: what is decoded could be another room's. It may have a `&`, so it is
/// all that follows.
fn raw_name<'u>(uri: &'u axum::http::Uri, parameter: &str) -> Option<&'u str> {
    let (query, key) = (uri.query()?, format!("{parameter}="));
    query.strip_prefix(&key).or_else(|| Some(query.split_once(&format!("&{key}"))?.1))
}

/// Whether a parameter of the query is `true`.
///
/// # Errors
///
/// It is something else, but not `false`.
fn flag(uri: &axum::http::Uri, name: &str) -> Result<bool, Refusal> {
    match parameter(uri, name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err((StatusCode::BAD_REQUEST, format!("{name} is true or false."))),
    }
}

fn refused(error: OrderError) -> Refusal {
    let status = match error {
        OrderError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        OrderError::NotThere => StatusCode::NOT_FOUND,
        OrderError::Exists => StatusCode::CONFLICT,
        OrderError::CannotOpen(_) | OrderError::Failed(_) | OrderError::Lost => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

/// JSON, spread over lines: people read it in a terminal.
fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_string_pretty(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
