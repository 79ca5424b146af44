//! What a Durable Object says when SQL fails, as kinds.
//!
//! There is only a text, but it ends in SQLite's codes: `UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended:
//! SQLITE_CONSTRAINT_UNIQUE)`.

use partysync_model::{DbError, DbErrorKind};

/// What the text begins with when the platform, not SQLite, failed. It says no more.
const INTERNAL: &str = "internal error";

/// An error by its text.
pub(crate) fn db_error(text: &str) -> DbError {
    let (message, code) = split(text);
    DbError::new(kind(message, code), without_offset(message))
}

/// The text apart from the codes, and the one that says most.
fn split(text: &str) -> (&str, &str) {
    let (text, extended) = match text.strip_suffix(')').and_then(|t| t.rsplit_once(" (extended: ")) {
        Some((text, extended)) => (text, Some(extended)),
        None => (text, None),
    };
    // What stands before may be the app's own words, so the last is looked for.
    match text.rsplit_once(": SQLITE_") {
        Some((message, code)) if code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') => {
            (message, extended.and_then(|e| e.strip_prefix("SQLITE_")).unwrap_or(code))
        }
        _ => (text, ""),
    }
}

fn kind(message: &str, code: &str) -> DbErrorKind {
    match code {
        "CONSTRAINT_UNIQUE" | "CONSTRAINT_PRIMARYKEY" | "CONSTRAINT_ROWID" => DbErrorKind::Duplicate,
        "TOOBIG" | "MISMATCH" => DbErrorKind::Constraint,
        "FULL" => DbErrorKind::Full,
        "BUSY" | "CANTOPEN" | "NOMEM" | "PROTOCOL" | "READONLY" => DbErrorKind::Io,
        "CORRUPT" | "NOTADB" => DbErrorKind::Corrupt,
        "INTERRUPT" => DbErrorKind::Interrupted,
        "AUTH" => DbErrorKind::Denied,
        code if code.starts_with("CONSTRAINT") => DbErrorKind::Constraint,
        code if code.starts_with("IOERR") => DbErrorKind::Io,
        "" if message.starts_with(INTERNAL) => DbErrorKind::Io,
        _ => DbErrorKind::Sql,
    }
}

/// Where in the SQL a mistake is. The SQL is not the app's any more.
fn without_offset(message: &str) -> &str {
    match message.rsplit_once(" at offset ") {
        Some((message, offset)) if offset.bytes().all(|b| b.is_ascii_digit()) => message,
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_known_by_their_last_code() {
        let constraint = |kind: &str| format!("no: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_{kind})");
        for (text, kind, message) in [
            (constraint("UNIQUE").as_str(), DbErrorKind::Duplicate, "no"),
            (&constraint("PRIMARYKEY"), DbErrorKind::Duplicate, "no"),
            (&constraint("NOTNULL"), DbErrorKind::Constraint, "no"),
            (&constraint("TRIGGER"), DbErrorKind::Constraint, "no"),
            ("datatype mismatch: SQLITE_MISMATCH", DbErrorKind::Constraint, "datatype mismatch"),
            (
                "near \"SELEC\": syntax error at offset 0: SQLITE_ERROR",
                DbErrorKind::Sql,
                "near \"SELEC\": syntax error",
            ),
            ("not authorized: SQLITE_AUTH", DbErrorKind::Denied, "not authorized"),
            ("disk: SQLITE_IOERR (extended: SQLITE_IOERR_WRITE)", DbErrorKind::Io, "disk"),
            ("full: SQLITE_FULL", DbErrorKind::Full, "full"),
            ("internal error; reference = abc", DbErrorKind::Io, "internal error; reference = abc"),
            ("Wrong number of parameter bindings for SQL query.", DbErrorKind::Sql, {
                "Wrong number of parameter bindings for SQL query."
            }),
            ("", DbErrorKind::Sql, ""),
        ] {
            assert_eq!(db_error(text), DbError::new(kind, message), "{text}");
        }
    }

    #[test]
    fn words_of_the_app_are_no_codes() {
        let raised = "x: SQLITE_FULL: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_TRIGGER)";
        assert_eq!(db_error(raised), DbError::new(DbErrorKind::Constraint, "x: SQLITE_FULL"));
        let raised = "internal error (extended: SQLITE_FULL): SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_TRIGGER)";
        assert_eq!(db_error(raised).kind, DbErrorKind::Constraint);
    }
}
