//! What is kept of a handshake for doors that are asked later (SPEC 13.3).

use partysync_protocol::{Token, limits};
use partysync_room::{Join, KeptReader, KeptWriter, RoomName};

/// What a handshake said, as far as it is kept with the socket: its headers are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handshake {
    path: String,
    params: Vec<(String, String)>,
}

impl Handshake {
    /// What is kept of a handshake; `None` if it is too long. The parameter that is a token is a secret, and not kept.
    pub(crate) fn of(join: &Join, token_param: &str) -> Option<Self> {
        let params = join.params.iter().filter(|(name, _)| name != token_param).cloned().collect();
        let handshake = Handshake { path: join.path.clone(), params };
        (handshake.bytes() <= limits::HANDSHAKE_BYTES).then_some(handshake)
    }

    fn bytes(&self) -> usize {
        let mut kept = KeptWriter::new();
        self.write(&mut kept);
        kept.finish().len()
    }

    /// Writes it into what is kept of a socket.
    pub(crate) fn write(&self, kept: &mut KeptWriter) {
        kept.text(&self.path);
        kept.list(&self.params, |kept, (name, value)| {
            kept.text(name);
            kept.text(value);
        });
    }

    /// Reads it back.
    pub(crate) fn read(kept: &mut KeptReader<'_>) -> Option<Self> {
        let path = kept.text()?.to_owned();
        let params = kept.list(|kept| Some((kept.text()?.to_owned(), kept.text()?.to_owned())))?;
        Some(Handshake { path, params })
    }

    /// What the door is asked about again, with another token.
    pub(crate) fn join(&self, room: &RoomName, token: Token) -> Join {
        let mut join = Join::new(room.clone());
        join.path.clone_from(&self.path);
        join.params.clone_from(&self.params);
        join.token = Some(token);
        join
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(params: &[(&str, &str)]) -> Join {
        let mut join = Join::new(RoomName::new("todos", "lobby"));
        join.path = "/x".to_owned();
        join.params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        join.headers.push(("cookie".to_owned(), "secret".to_owned()));
        join.token = Some(Token::new("old"));
        join
    }

    #[test]
    fn spec_13_3_a_door_is_asked_again_with_path_and_query_but_without_headers_and_the_old_token() {
        let kept = Handshake::of(&handshake(&[("a", "1"), ("key", "old")]), "key").unwrap();
        let mut text = KeptWriter::new();
        kept.write(&mut text);
        let text = text.finish();
        assert!(!text.contains("old") && !text.contains("secret"), "{text}");
        let kept = Handshake::read(&mut KeptReader::new(&text)).unwrap();
        let join = kept.join(&RoomName::new("todos", "lobby"), Token::new("new"));
        assert_eq!((join.path.as_str(), join.param("a"), join.param("key")), ("/x", Some("1"), None));
        assert_eq!((join.token, join.headers.len()), (Some(Token::new("new")), 0));
    }

    #[test]
    fn spec_11_handshake_bytes_at_the_limit_and_one_past_it() {
        let of = |bytes: usize| Handshake::of(&handshake(&[("a", &"x".repeat(bytes))]), "token");
        // What stands around so long a value: its length takes four digits.
        let around = of(1_000).unwrap().bytes() - 1_000;
        assert!(of(limits::HANDSHAKE_BYTES - around).is_some_and(|kept| kept.bytes() == limits::HANDSHAKE_BYTES));
        assert!(of(limits::HANDSHAKE_BYTES - around + 1).is_none());
    }
}
