//! What is kept of a handshake for doors that are asked later (SPEC 13.3).

use partysync_protocol::{Token, limits, v2};
use partysync_room::{Join, RoomName};
use serde::{Deserialize, Serialize};

/// What a handshake said, as far as it is kept with the socket: its headers are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handshake {
    path: String,
    params: Vec<(String, String)>,
}

impl Handshake {
    /// What is kept of a handshake; `None` if it is too long. The parameter that is a token is a secret, and not kept.
    pub(crate) fn of(join: &Join, token_param: &str) -> Option<Self> {
        let params = join.params.iter().filter(|(name, _)| name != token_param).cloned().collect();
        let handshake = Handshake { path: join.path.clone(), params };
        (v2::encode(&handshake).len() <= limits::HANDSHAKE_BYTES).then_some(handshake)
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
        let json = serde_json::to_string(&kept).unwrap();
        assert!(!json.contains("old") && !json.contains("secret"), "{json}");
        let kept: Handshake = serde_json::from_str(&json).unwrap();
        let join = kept.join(&RoomName::new("todos", "lobby"), Token::new("new"));
        assert_eq!((join.path.as_str(), join.param("a"), join.param("key")), ("/x", Some("1"), None));
        assert_eq!((join.token, join.headers.len()), (Some(Token::new("new")), 0));
    }

    #[test]
    fn spec_11_handshake_bytes_at_the_limit_and_one_past_it() {
        let empty = v2::encode(&Handshake::of(&handshake(&[("a", "")]), "token").unwrap()).len();
        let fits = |bytes: usize| Handshake::of(&handshake(&[("a", &"x".repeat(bytes))]), "token").is_some();
        assert!(fits(limits::HANDSHAKE_BYTES - empty));
        assert!(!fits(limits::HANDSHAKE_BYTES - empty + 1));
    }
}
