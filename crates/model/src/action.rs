use std::borrow::Cow;

use partysync_protocol::{ErrorCode, WireError};
use serde::de::DeserializeOwned;

use crate::{DbError, DbErrorKind, DecodeError, Tx};

/// Why an action did not happen. Whatever it did is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionError {
    code: ErrorCode,
    reason: Reason,
}

/// What lies behind an [`ActionError`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The app said no, in words for the user.
    App {
        /// The app's code.
        code: Cow<'static, str>,
        /// The app's text.
        text: Cow<'static, str>,
    },
    /// The database said no or failed.
    Db(DbError),
    /// For the operator's log.
    Detail(String),
    /// The code says it all.
    None,
}

impl ActionError {
    /// A rejection by the app: a code for programs and a text for people.
    pub fn reject(code: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        ActionError { code: ErrorCode::Rejected, reason: Reason::App { code: code.into(), text: text.into() } }
    }

    /// An error of the catalogue, with a detail for the operator's log.
    pub fn with_detail(code: ErrorCode, detail: impl Into<String>) -> Self {
        ActionError { code, reason: Reason::Detail(detail.into()) }
    }

    /// The catalogue's code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What lies behind it.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The text for the user.
    pub fn text(&self) -> &str {
        match &self.reason {
            Reason::App { text, .. } => text,
            _ => self.code.text(),
        }
    }

    /// The database's error behind it, if there is one.
    pub fn db_error(&self) -> Option<&DbError> {
        match &self.reason {
            Reason::Db(error) => Some(error),
            _ => None,
        }
    }

    /// The error as it travels.
    pub fn to_wire(&self) -> WireError {
        let reason = match &self.reason {
            Reason::App { code, .. } => Some(code.clone().into_owned()),
            _ => None,
        };
        WireError { reason, text: self.text().to_owned(), ..self.code.into() }
    }
}

impl std::fmt::Display for ActionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            Reason::App { code, text } => write!(f, "{} ({code}): {text}", self.code),
            Reason::Db(error) => write!(f, "{}: {error}", self.code),
            Reason::Detail(detail) => write!(f, "{}: {detail}", self.code),
            Reason::None => write!(f, "{}", self.code),
        }
    }
}

impl std::error::Error for ActionError {}

impl From<ErrorCode> for ActionError {
    fn from(code: ErrorCode) -> Self {
        ActionError { code, reason: Reason::None }
    }
}

impl From<DbError> for ActionError {
    fn from(error: DbError) -> Self {
        let code = match error.kind {
            DbErrorKind::Duplicate => ErrorCode::Duplicate,
            DbErrorKind::Constraint => ErrorCode::Constraint,
            DbErrorKind::Full => ErrorCode::StorageFull,
            DbErrorKind::Io | DbErrorKind::Corrupt => ErrorCode::StorageFailed,
            DbErrorKind::Interrupted => ErrorCode::ActionTooLong,
            DbErrorKind::Denied | DbErrorKind::Lost | DbErrorKind::Unsupported | DbErrorKind::Sql => {
                ErrorCode::AppError
            }
        };
        ActionError { code, reason: Reason::Db(error) }
    }
}

impl From<DecodeError> for ActionError {
    fn from(error: DecodeError) -> Self {
        ActionError::with_detail(ErrorCode::AppError, error.to_string())
    }
}

/// Decodes an action's JSON and applies it: what a typed `on_action` is made of.
///
/// # Errors
///
/// [`ErrorCode::BadAction`] if the JSON is not an `A`, else what `apply` returns.
pub fn apply_json<A: DeserializeOwned>(
    tx: &mut Tx<'_>,
    json: &str,
    apply: impl FnOnce(&mut Tx<'_>, A) -> Result<(), ActionError>,
) -> Result<(), ActionError> {
    let action = serde_json::from_str(json)
        .map_err(|error| ActionError::with_detail(ErrorCode::BadAction, error.to_string()))?;
    apply(tx, action)
}
