//! Who wants in, and what the app's door says to it (SPEC 13.1, 13.2).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use partysync_protocol::{ErrorCode, Millis, Token, WireError, limits};

use crate::RoomName;

/// Who wants in: by a socket, by a request, or by a version 2 `join` on a socket that is open.
///
/// `Debug` shows no value of a header, a parameter or a token: there are secrets among them.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Join {
    /// The room, whose name is the client's choice.
    pub room: RoomName,
    /// The request's method; a handshake's is `GET`.
    pub method: String,
    /// What follows the room in the URL's path, as it came: empty, or it begins with a slash.
    pub path: String,
    /// The parameters of the URL's query, decoded, in their order.
    pub params: Vec<(String, String)>,
    /// The headers, their names in lower case. What is not UTF-8 in a value is replaced.
    pub headers: Vec<(String, String)>,
    /// What proves who it is, if the client sent something: SPEC 13.1 says where.
    pub token: Option<Token>,
}

/// The door's yes: who came in, as actions and hooks see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    identity: Option<String>,
    data: Option<Arc<str>>,
    until: Option<Millis>,
}

/// The door's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    text: Cow<'static, str>,
}

impl Join {
    /// Somebody who wants into a room and says nothing more.
    pub fn new(room: RoomName) -> Self {
        let method = "GET".to_owned();
        Join { room, method, path: String::new(), params: Vec::new(), headers: Vec::new(), token: None }
    }

    /// The first parameter of this name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Admission {
    /// Lets somebody in of whom nothing is known.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Lets somebody in who is known: the identity is the author of what it does, in the log and to the app.
    ///
    /// At most [`limits::IDENTITY_BYTES`] long.
    pub fn of(identity: impl Into<String>) -> Self {
        Admission { identity: Some(identity.into()), ..Self::default() }
    }

    /// With data of the app's, such as a role, for actions and hooks to see. It is not stored.
    ///
    /// At most [`limits::ADMISSION_BYTES`] long as JSON.
    #[must_use]
    pub fn with_data(self, data: &serde_json::Value) -> Self {
        Admission { data: Some(data.to_string().into()), ..self }
    }

    /// For so long: until this time, in milliseconds since 1970. Then the home ends the room for the socket with close 4401, unless a
    /// new token was let in before (SPEC 13.10). A time that is past lets nobody in, as if the door had refused with status 401. A request
    /// is answered at once and does not end.
    #[must_use]
    pub fn until(self, until: Millis) -> Self {
        Admission { until: Some(until), ..self }
    }

    /// When it ends, in milliseconds since 1970.
    pub fn ends_at(&self) -> Option<Millis> {
        self.until
    }

    /// Whether it counts at this time, in milliseconds since 1970. A home lets nobody in by one that does not (SPEC 13.10).
    pub fn holds_at(&self, now: Millis) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Who it is.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// The app's data, as JSON.
    pub fn data(&self) -> Option<&Arc<str>> {
        self.data.as_ref()
    }

    /// What a door said earlier, as a home kept it.
    #[must_use]
    pub fn restored(identity: Option<String>, data: Option<Arc<str>>, until: Option<Millis>) -> Self {
        Admission { identity, data, until }
    }

    /// Whether it keeps to its limits. If not, the app is at fault.
    pub fn fits(&self) -> bool {
        let len = |text: Option<&str>| text.map_or(0, str::len);
        len(self.identity()) <= limits::IDENTITY_BYTES && len(self.data.as_deref()) <= limits::ADMISSION_BYTES
    }
}

impl Refusal {
    /// What a user is told whose admission is over.
    pub const OVER: &'static str = "Sign in again.";

    /// A refusal with a status from 400 to 599, and a text fit for a user. Any other status is taken as 500.
    pub fn new(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Refusal { status: if (400..600).contains(&status) { status } else { 500 }, text: text.into() }
    }

    /// Status 401: it is not known who it is.
    pub fn unauthorized(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(401, text)
    }

    /// What a home says in place of an admission that is over.
    #[must_use]
    pub fn over() -> Self {
        Self::unauthorized(Self::OVER)
    }

    /// Status 403: it is known who it is, and that one may not come in.
    pub fn forbidden(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(403, text)
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the client is at fault, not the app or the server.
    pub fn is_clients_fault(&self) -> bool {
        self.status < 500
    }

    /// The text for the user.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What a version 2 `join` that is refused is answered (SPEC 13.3).
    pub fn to_wire(&self) -> WireError {
        let code = match self.status {
            ..500 => ErrorCode::NotAllowed,
            500 => ErrorCode::AppError,
            _ => ErrorCode::Busy,
        };
        let reason = (code == ErrorCode::NotAllowed).then(|| (4_000 + self.status).to_string());
        WireError { text: self.text.clone().into_owned(), reason, ..code.into() }
    }
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Join")
            .field("room", &self.room)
            .field("method", &self.method)
            .field("path", &self.path)
            .field("params", &names(&self.params))
            .field("headers", &names(&self.headers))
            .field("token", &self.token)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_13_1_debug_shows_no_secret() {
        let mut join = Join::new(RoomName::new("todos", "lobby"));
        join.params.push(("token".to_owned(), "secret1".to_owned()));
        join.headers.push(("cookie".to_owned(), "secret2".to_owned()));
        join.token = Some(Token::new("secret3"));
        let shown = format!("{join:?}");
        assert!(shown.contains("cookie") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn spec_13_2_a_refusal_has_a_status_that_refuses() {
        let statuses = [200, 302, 399, 400, 429, 599, 600].map(|status| Refusal::new(status, "no").status());
        assert_eq!(statuses, [500, 500, 500, 400, 429, 599, 500]);
    }

    #[test]
    fn p8_identity_bytes_and_admission_bytes_at_the_limit_and_one_past_it() {
        let identity = "i".repeat(limits::IDENTITY_BYTES);
        // As JSON it has two quotes.
        let data = "d".repeat(limits::ADMISSION_BYTES - 2);
        let longest = Admission::of(identity.clone()).with_data(&data.clone().into());
        assert!(longest.fits());
        assert!(!Admission::of(identity + "i").fits());
        assert!(!longest.with_data(&(data + "d").into()).fits());
    }
}
