//! The operator's door: rooms out as files, and in, and away (SPEC 7.15). What is here is linked only into workers that call [`App::admin`].
//!
//! Who asks is checked in the worker, so that nobody else wakes an object, and in the object, so that nobody comes there another way.

mod files;

use std::rc::Rc;

use js_sys::Reflect;
use partysync_room::{Address, Refusal, RoomName};
use worker::{Env, Headers, Request, Response, ResponseBuilder, Result, console_error};

use self::files::{delete, export, import};
use super::app::App;
use super::object::Inner;
use super::request::Target;
use crate::js::Later;
use crate::secret::Secret;

/// What the paths of all that is asked for here begin with.
const PREFIX: &str = "/admin/";

const ROOMS: &str = "/admin/rooms";

const NOTHING: &str = "There is nothing here.";

/// The door, by functions: a worker whose app has none has nothing of it.
pub(crate) struct Admin {
    /// The binding of the secret.
    secret: String,
    /// In the worker.
    pub(super) front: fn(Rc<App>, Request, Env) -> Later<Result<Response>>,
    /// In a room's object.
    pub(super) object: fn(Rc<Inner>, Request) -> Later<Result<Response>>,
}

impl Admin {
    pub(crate) fn new(secret: String) -> Self {
        Admin {
            secret,
            front: |app, request, env| Box::pin(front(app, request, env)),
            object: |inner, request| Box::pin(object(inner, request)),
        }
    }
}

/// Whether a request is for the operator's door, if there is one.
pub(crate) fn is_asked(request: &Request) -> bool {
    Target::of(request).path().starts_with(PREFIX)
}

/// What is asked for.
struct Asked {
    room: RoomName,
    what: What,
}

enum What {
    Export,
    /// `rename`: the file may be another room's.
    Import {
        rename: bool,
    },
    Delete,
}

/// Why it is not done.
enum No {
    /// A status, and a text for the operator.
    Refused(Refusal),
    /// The platform failed.
    Failed(worker::Error),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        No::Refused(refusal)
    }
}

impl From<worker::Error> for No {
    fn from(error: worker::Error) -> Self {
        No::Failed(error)
    }
}

type Answered = std::result::Result<Response, No>;

fn no<T>(status: u16, text: impl Into<std::borrow::Cow<'static, str>>) -> std::result::Result<T, No> {
    Err(Refusal::new(status, text).into())
}

async fn front(app: Rc<App>, request: Request, env: Env) -> Result<Response> {
    match asked(&app, &request, &env) {
        Ok(asked) => {
            let rooms = env.durable_object(&app.binding)?;
            rooms.get_by_name(asked.room.address())?.fetch_with_request(request).await
        }
        Err(no) => refused(no),
    }
}

async fn object(inner: Rc<Inner>, request: Request) -> Result<Response> {
    let answered = match asked(&inner.app(), &request, inner.env()) {
        Ok(Asked { room, what: What::Export }) => export(&inner, &room),
        Ok(Asked { room, what: What::Import { rename } }) => import(&inner, request, &room, rename).await,
        Ok(Asked { room, what: What::Delete }) => delete(&inner, &room).await,
        Err(no) => Err(no),
    };
    answered.or_else(refused)
}

fn asked(app: &App, request: &Request, env: &Env) -> std::result::Result<Asked, No> {
    let binding = app.admin.as_ref().map_or("", |admin| &*admin.secret);
    // Without a secret there is no door. A binding may be null: `Env::secret` throws then.
    let text = Reflect::get(env, &binding.into()).ok().and_then(|text| text.as_string());
    let Some(secret) = text.and_then(|text| secret(binding, &text)) else {
        return no(404, NOTHING);
    };
    if !secret.is_in(&request.headers().get("authorization")?.unwrap_or_default()) {
        return no(401, "The token is missing or wrong.");
    }
    let target = Target::of(request);
    let Address { room, path } = target.address(ROOMS)?;
    if app.find(room.party()).is_none_or(|party| party.open.is_none()) {
        return no(404, "There is no such party.");
    }
    let what = match (&*request.inner().method(), &*path) {
        ("GET", "/export") => What::Export,
        ("PUT", "/export") => What::Import { rename: may_rename(&target)? },
        ("DELETE", "") => What::Delete,
        (_, "" | "/export") => return no(405, "This cannot be done here."),
        _ => return no(404, NOTHING),
    };
    // A name may have a `&`, so it is all that follows.
    if matches!(what, What::Delete) && target.query().strip_prefix("confirm=") != Some(room.room()) {
        return no(400, format!("To delete this room for good, add ?confirm={}.", room.room()));
    }
    Ok(Asked { room, what })
}

fn secret(binding: &str, text: &str) -> Option<Secret> {
    let secret = Secret::new(text);
    if secret.is_none() {
        console_error!(
            "{binding} has fewer than 16 characters, or some that no header may have: there are no admin routes"
        );
    }
    secret
}

/// Whether a file may be another room's.
fn may_rename(target: &Target) -> std::result::Result<bool, No> {
    let flag = |name: &str| match target.param(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => no(400, format!("{name} is true or false.")),
    };
    if flag("replace")? {
        return no(400, "A room cannot be replaced here: delete it first.");
    }
    flag("rename")
}

fn refused(no: No) -> Result<Response> {
    match no {
        No::Refused(refusal) => {
            let headers = Headers::new();
            if refusal.status() == 401 {
                headers.set("www-authenticate", "Bearer realm=\"partysync\"")?;
            }
            said(refusal.status(), refusal.text(), headers)
        }
        No::Failed(error) => Err(error),
    }
}

/// A line of text, as terminals like it.
fn said(status: u16, text: &str, headers: Headers) -> Result<Response> {
    headers.set("content-type", "text/plain; charset=utf-8")?;
    let body = format!("{text}\n").into_bytes();
    Ok(ResponseBuilder::new().with_status(status).with_headers(headers).fixed(body))
}
