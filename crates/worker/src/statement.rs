//! What has to be known of an SQL statement before it can run in a Durable Object.

use std::ops::Range;

use partysync_model::{DbError, DbErrorKind, Origin};

use crate::refuse;
use crate::token::{Kind, Token, tokens, without_double_quotes};

/// An SQL text, read once.
#[derive(Debug)]
pub(crate) struct Statement {
    /// The text up to where the statement ends: what follows is a semicolon or a comment.
    pub(crate) sql: String,
    pub(crate) rows: Rows,
    pub(crate) placeholders: Vec<Placeholder>,
    /// Whether it inserts, updates or deletes.
    pub(crate) writes: bool,
    /// Whether it makes, changes or drops a table or the like.
    pub(crate) changes_schema: bool,
    refused_action: Option<String>,
    refused_setup: Option<String>,
}

/// A place that a parameter's value goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// The parameter, from 0.
    pub(crate) parameter: usize,
    /// Where it stands in the text.
    pub(crate) place: Range<usize>,
}

/// Where a statement's rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rows {
    /// A query: it can stand in another query.
    Query,
    /// The RETURNING of a statement that writes.
    Returning { table: String, items: Vec<Item> },
    /// It has none, or nobody can say.
    Other,
}

/// One entry of a RETURNING.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) place: Range<usize>,
    /// Whether it is `*`.
    pub(crate) is_star: bool,
}

impl Statement {
    /// Reads the one statement in a text of the engine's, which is allowed everything.
    pub(crate) fn of_engine(sql: &str) -> Result<Self, DbError> {
        Self::read(sql, |_, _| None)
    }

    /// Reads the one statement in a text of the app's.
    pub(crate) fn of_app(sql: &str) -> Result<Self, DbError> {
        Self::read(&without_double_quotes(sql), refuse::refusal)
    }

    fn read(sql: &str, refusal: impl Fn(Origin, &[Token<'_>]) -> Option<String>) -> Result<Self, DbError> {
        let tokens = tokens(sql);
        let tokens = one_statement(&tokens)?;
        let end = tokens.last().map_or(0, Token::end);
        let (writes, rows) = rows(tokens);
        Ok(Statement {
            sql: sql[..end].to_owned(),
            rows,
            writes,
            placeholders: placeholders(tokens),
            changes_schema: tokens[0].is_any(&["CREATE", "ALTER", "DROP"]),
            refused_action: refusal(Origin::Action, tokens),
            refused_setup: refusal(Origin::Setup, tokens),
        })
    }

    /// Whether `origin` may run it.
    pub(crate) fn allow(&self, origin: Origin) -> Result<(), DbError> {
        let refused = if origin == Origin::Action { &self.refused_action } else { &self.refused_setup };
        match refused {
            None => Ok(()),
            Some(what) => Err(DbError::new(DbErrorKind::Denied, format!("not authorized: {what}"))),
        }
    }
}

/// Cuts off what follows a statement; there must not be another one. Several in one call would not be atomic here.
fn one_statement<'t, 'a>(tokens: &'t [Token<'a>]) -> Result<&'t [Token<'a>], DbError> {
    let is_end = |t: &Token<'_>| t.kind == Kind::Mark(b';');
    let from = tokens.iter().position(|t| !is_end(t)).unwrap_or(tokens.len());
    let tokens = &tokens[from..];
    let length = if is_trigger(tokens) {
        // Its body has semicolons of its own. The one before END is the last.
        tokens.windows(2).position(|pair| is_end(&pair[0]) && pair[1].is("END")).map(|i| i + 2)
    } else {
        tokens.iter().position(is_end)
    };
    let (statement, rest) = tokens.split_at(length.unwrap_or(tokens.len()));
    if statement.is_empty() {
        return Err(DbError::new(DbErrorKind::Sql, "the SQL holds no statement"));
    }
    if !rest.iter().all(is_end) {
        return Err(DbError::new(DbErrorKind::Sql, "the SQL holds more than one statement"));
    }
    Ok(statement)
}

fn is_trigger(tokens: &[Token<'_>]) -> bool {
    let mut words = tokens.iter().filter(|t| !t.is_any(&["TEMP", "TEMPORARY"]));
    words.next().is_some_and(|t| t.is("CREATE")) && words.next().is_some_and(|t| t.is("TRIGGER"))
}

/// Numbers parameters as SQLite does.
fn placeholders(tokens: &[Token<'_>]) -> Vec<Placeholder> {
    let mut named: Vec<(&str, usize)> = Vec::new();
    let mut count = 0;
    let parameters = tokens.iter().filter(|t| t.kind == Kind::Parameter);
    let numbered = parameters.map(|t| {
        let number = match t.text.strip_prefix('?') {
            Some("") => count + 1,
            // One that is out of range is for SQLite to refuse.
            Some(digits) => digits.parse().unwrap_or(1).max(1),
            None => match named.iter().find(|(name, _)| *name == t.text) {
                Some((_, number)) => *number,
                None => {
                    named.push((t.text, count + 1));
                    count + 1
                }
            },
        };
        count = count.max(number);
        Placeholder { parameter: number - 1, place: t.start..t.end() }
    });
    numbered.collect()
}

/// Whether a statement writes, and where its rows come from.
fn rows(tokens: &[Token<'_>]) -> (bool, Rows) {
    // Brackets that don't match are no SQL, and what SQLite says about it must not change.
    let Some(depths) = depths(tokens) else { return (false, Rows::Other) };
    let Some(verb) = main_verb(tokens, &depths) else { return (false, Rows::Other) };
    if tokens[verb].is_any(&["SELECT", "VALUES"]) {
        return (false, Rows::Query);
    }
    let returning = tokens.iter().zip(&depths).rposition(|(t, depth)| *depth == 0 && t.is("RETURNING"));
    let rows = match (returning, table(&tokens[verb..])) {
        (Some(returning), Some(table)) => {
            Rows::Returning { table, items: items(&tokens[returning + 1..], &depths[returning + 1..]) }
        }
        _ => Rows::Other,
    };
    (true, rows)
}

/// How many brackets are open around each token; `None` if they don't match.
fn depths(tokens: &[Token<'_>]) -> Option<Vec<usize>> {
    let mut depth = 0_usize;
    let mut depths = Vec::with_capacity(tokens.len());
    for token in tokens {
        if token.kind == Kind::Mark(b')') {
            depth = depth.checked_sub(1)?;
        }
        depths.push(depth);
        if token.kind == Kind::Mark(b'(') {
            depth += 1;
        }
    }
    (depth == 0).then_some(depths)
}

/// The word that says what is done, after the common tables of a WITH.
fn main_verb(tokens: &[Token<'_>], depths: &[usize]) -> Option<usize> {
    const VERBS: [&str; 6] = ["SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"];
    if !tokens[0].is("WITH") {
        return tokens[0].is_any(&VERBS).then_some(0);
    }
    (1..tokens.len()).find(|&i| depths[i] == 0 && tokens[i - 1].kind == Kind::Mark(b')') && tokens[i].is_any(&VERBS))
}

/// The table that a statement writes to, which begins with its verb.
fn table(tokens: &[Token<'_>]) -> Option<String> {
    let before = match &tokens[0] {
        t if t.is("DELETE") => tokens.iter().position(|t| t.is("FROM"))?,
        t if t.is("UPDATE") => {
            if tokens.get(1)?.is("OR") {
                2
            } else {
                0
            }
        }
        _ => tokens.iter().position(|t| t.is("INTO"))?,
    };
    // A schema's name may come first.
    let qualified = tokens.get(before + 2).is_some_and(|t| t.kind == Kind::Mark(b'.'));
    tokens.get(if qualified { before + 3 } else { before + 1 })?.name().map(Into::into)
}

fn items(tokens: &[Token<'_>], depths: &[usize]) -> Vec<Item> {
    let commas = (0..tokens.len()).filter(|&i| depths[i] == 0 && tokens[i].kind == Kind::Mark(b','));
    let ends: Vec<usize> = commas.chain([tokens.len()]).collect();
    let starts = std::iter::once(0).chain(ends.iter().map(|end| end + 1));
    let ranges = starts.zip(&ends).filter(|(start, end)| start < *end);
    ranges
        .map(|(start, &end)| Item {
            place: tokens[start].start..tokens[end - 1].end(),
            is_star: end - start == 1 && tokens[start].kind == Kind::Mark(b'*'),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Statement {
        Statement::of_engine(sql).unwrap()
    }

    fn parameters(sql: &str) -> Vec<usize> {
        read(sql).placeholders.iter().map(|p| p.parameter).collect()
    }

    #[test]
    fn parameters_are_numbered_as_sqlite_does() {
        assert_eq!(parameters("SELECT ?, ?, '?', ?"), [0, 1, 2]);
        assert_eq!(parameters("SELECT ?2, ?, ?1, ?2"), [1, 2, 0, 1]);
        assert_eq!(parameters("SELECT :a, @a, :a, ?, $b"), [0, 1, 0, 2, 3]);
        assert!(parameters("SELECT 1 -- ?").is_empty());
    }

    #[test]
    fn one_statement_and_no_more() {
        assert_eq!(read(" ; SELECT 1 ; -- that is all\n;").sql, " ; SELECT 1");
        let kind = |sql: &str| Statement::of_engine(sql).map(|_| ()).map_err(|e| e.message);
        assert_eq!(kind("SELECT 1; SELECT 2"), Err("the SQL holds more than one statement".to_owned()));
        for empty in ["", "-- nothing", " ;; "] {
            assert_eq!(kind(empty), Err("the SQL holds no statement".to_owned()));
        }
        let trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; DELETE FROM a; END";
        assert_eq!(read(&format!("{trigger};")).sql, trigger);
        assert!(kind(&format!("{trigger}; SELECT 1")).is_err());
    }

    #[test]
    fn what_writes_and_what_changes_the_schema() {
        let is = |sql: &str| (read(sql).writes, read(sql).changes_schema);
        for sql in
            ["INSERT INTO a VALUES (1)", "WITH b AS (SELECT 1) DELETE FROM a RETURNING *", "replace into a values (1)"]
        {
            assert_eq!(is(sql), (true, false), "{sql}");
        }
        for sql in ["SELECT 1", "PRAGMA x", "ANALYZE"] {
            assert_eq!(is(sql), (false, false), "{sql}");
        }
        assert_eq!(is("create table a as select 1"), (false, true));
    }

    #[test]
    fn rows_come_from_queries_and_from_returning() {
        for query in ["SELECT 1", "VALUES (1)", "WITH a AS (SELECT 1), b(x) AS (VALUES (2)) SELECT * FROM a"] {
            assert_eq!(read(query).rows, Rows::Query, "{query}");
        }
        for other in ["DELETE FROM a", "EXPLAIN SELECT 1", "PRAGMA x", "SELECT 1)", "SELECT (1"] {
            assert_eq!(read(other).rows, Rows::Other, "{other}");
        }
        let returning = |sql: &str| match read(sql).rows {
            Rows::Returning { table, items } => {
                let items =
                    items.iter().map(|i| format!("{}{}", &sql[i.place.clone()], if i.is_star { "!" } else { "" }));
                format!("{table}: {}", items.collect::<Vec<_>>().join("|"))
            }
            rows => format!("{rows:?}"),
        };
        assert_eq!(returning("INSERT INTO a VALUES (1, 2) RETURNING *, max(a, b) AS m"), "a: *!|max(a, b) AS m");
        assert_eq!(returning("UPDATE OR IGNORE main.\"b c\" SET x = 1 RETURNING id"), "b c: id");
        assert_eq!(returning("WITH q AS (SELECT 1) DELETE FROM [d] WHERE TRUE RETURNING (1), 2"), "d: (1)|2");
    }
}
