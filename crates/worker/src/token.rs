//! SQL as SQLite's tokenizer sees it, as far as it matters here: what is a name, a text, a comment, a parameter.

use std::borrow::Cow;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A keyword or a bare name.
    Word,
    /// A name in `"`, `` ` `` or `[]`.
    Quoted,
    /// A text in `'`. SQLite takes it for a name where only a name can be.
    Text,
    /// A number or a blob.
    Literal,
    /// `?`, `?1`, `:a`, `@a`, `$a`.
    Parameter,
    /// Anything else, a character each.
    Mark(u8),
}

/// A token: its kind and its text in the SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// Where it begins.
    pub(crate) start: usize,
}

impl<'a> Token<'a> {
    /// Where it ends.
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is one of these keywords.
    pub(crate) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|k| self.is(k))
    }

    /// What it names, if it may be a name.
    pub(crate) fn name(&self) -> Option<Cow<'a, str>> {
        let quote = match self.kind {
            Kind::Word => return Some(self.text.into()),
            Kind::Quoted | Kind::Text => self.text.chars().next()?,
            _ => return None,
        };
        let close = if quote == '[' { ']' } else { quote };
        let inner = &self.text[1..];
        let inner = inner.strip_suffix(close).unwrap_or(inner);
        let doubled = [close, close].iter().collect::<String>();
        Some(if quote != '[' && inner.contains(&doubled) {
            inner.replace(&doubled, &close.to_string()).into()
        } else {
            inner.into()
        })
    }
}

/// The tokens of an SQL text, without blanks and comments.
pub(crate) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < sql.len() {
        let (kind, length) = next(&sql[start..]);
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: &sql[start..start + length], start });
        }
        start += length;
    }
    tokens
}

/// The same SQL with `` ` `` around names in place of `"`. In a Durable Object a name in `"` that nothing has is a text;
/// natively it is a mistake, as it should be.
pub(crate) fn without_double_quotes(sql: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut at = 0;
    for token in tokens(sql).iter().filter(|t| t.kind == Kind::Quoted && t.text.starts_with('"')) {
        let is_closed = token.text.len() > 1 && token.text.ends_with('"');
        if let (true, Some(name)) = (is_closed, token.name()) {
            out.push_str(&sql[at..token.start]);
            out.push('`');
            out.push_str(&name.replace('`', "``"));
            out.push('`');
            at = token.end();
        }
    }
    if at == 0 {
        return sql.into();
    }
    out.push_str(&sql[at..]);
    out.into()
}

/// The kind and the length of what `rest` begins with; no kind: a blank or a comment.
fn next(rest: &str) -> (Option<Kind>, usize) {
    let bytes = rest.as_bytes();
    match bytes {
        [b' ' | b'\t' | b'\n' | b'\x0c' | b'\r', ..] => (None, 1),
        [b'-', b'-', ..] => (None, rest.find('\n').map_or(rest.len(), |i| i + 1)),
        [b'/', b'*', ..] => (None, rest[2..].find("*/").map_or(rest.len(), |i| i + 4)),
        [b'\'', ..] => (Some(Kind::Text), quoted(bytes, b'\'')),
        [q @ (b'"' | b'`'), ..] => (Some(Kind::Quoted), quoted(bytes, *q)),
        [b'[', ..] => (Some(Kind::Quoted), rest.find(']').map_or(rest.len(), |i| i + 1)),
        [b'x' | b'X', b'\'', ..] => (Some(Kind::Literal), 1 + quoted(&bytes[1..], b'\'')),
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => (Some(Kind::Literal), number(bytes)),
        [b'?', ..] => (Some(Kind::Parameter), 1 + run(&bytes[1..], |b| b.is_ascii_digit())),
        [b':' | b'@' | b'$', after, ..] if is_name(*after) => (Some(Kind::Parameter), 1 + parameter_name(&bytes[1..])),
        [b, ..] if is_name(*b) => (Some(Kind::Word), run(bytes, is_name)),
        [b, ..] => (Some(Kind::Mark(*b)), 1),
        [] => (None, 0),
    }
}

/// Bytes that a bare name is made of. All of a character past ASCII are.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| !belongs(*b)).unwrap_or(bytes.len())
}

/// The length of a text whose first byte is its quote, to the quote that closes it. A doubled one does not.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    bytes.len()
}

/// The length of a number, with the sign of its exponent.
fn number(bytes: &[u8]) -> usize {
    let hexadecimal = matches!(bytes, [b'0', b'x' | b'X', ..]);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let exponent_sign = matches!(byte, b'+' | b'-') && !hexadecimal && matches!(bytes[at - 1], b'e' | b'E');
        if !is_name(*byte) && *byte != b'.' && !exponent_sign {
            break;
        }
        at += 1;
    }
    at
}

/// The length of a parameter's name. SQLite lets it hold `::`, for Tcl.
fn parameter_name(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += run(&bytes[at..], is_name);
        if !bytes[at..].starts_with(b"::") {
            return at;
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        tokens(sql).iter().map(|t| t.text).collect()
    }

    #[test]
    fn texts_names_and_comments_are_one_piece_each() {
        let sql = "SELECT 'it''s ?', \"a\"\"?\", [b ?], `c``?` -- ?\n, x'00' /* ? */ FROM t1";
        let expected =
            ["SELECT", "'it''s ?'", ",", "\"a\"\"?\"", ",", "[b ?]", ",", "`c``?`", ",", "x'00'", "FROM", "t1"];
        assert_eq!(texts(sql), expected);
        let names: Vec<_> = tokens("a \"b\"\"c\" [d]e `f` 'g''h' 1").iter().map(Token::name).collect();
        let expected = [Some("a"), Some("b\"c"), Some("d"), Some("e"), Some("f"), Some("g'h"), None];
        assert_eq!(names, expected.map(|n| n.map(Cow::from)));
    }

    #[test]
    fn what_is_not_closed_reaches_to_the_end() {
        for sql in ["'a -- b", "\"a ? b", "[a ? b", "`a"] {
            assert_eq!(texts(sql), [sql]);
        }
        assert!(texts("/* a ? b").is_empty());
        assert!(texts("-- a ? b").is_empty());
    }

    #[test]
    fn names_lose_their_double_quotes_and_nothing_else_does() {
        let sql = "SELECT \"a\"\"`b\", '\"c\"', [\"d\"] -- \"e\"";
        assert_eq!(without_double_quotes(sql), "SELECT `a\"``b`, '\"c\"', [\"d\"] -- \"e\"");
        for same in ["SELECT 1", "SELECT \"a", "SELECT \""] {
            assert_eq!(without_double_quotes(same), same);
        }
    }

    #[test]
    fn numbers_and_parameters_end_where_sqlites_do() {
        assert_eq!(texts("1.5e-3-2+.5"), ["1.5e-3", "-", "2", "+", ".5"]);
        assert_eq!(texts("0x1e-3"), ["0x1e", "-", "3"]);
        assert_eq!(texts("?12,?+:ab-@c,$d::e a->>'$.x'"), {
            ["?12", ",", "?", "+", ":ab", "-", "@c", ",", "$d::e", "a", "-", ">", ">", "'$.x'"]
        });
    }
}
