use std::fmt;

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

/// The fewest characters of a token. `openssl rand -hex 16` makes 32.
const SHORTEST: usize = 16;

/// What the admin interface is opened with: `Authorization: Bearer` and the token. Only a hash of it is kept.
#[derive(Clone)]
pub struct AdminToken {
    hash: [u8; 32],
}

/// A text cannot be an admin token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an admin token has at least 16 characters, of those that one sees in ASCII, and no spaces")]
pub struct InvalidAdminToken;

impl AdminToken {
    /// The token as it was chosen.
    ///
    /// # Errors
    ///
    /// It is too short, or cannot be in a header.
    pub fn new(token: &str) -> Result<Self, InvalidAdminToken> {
        if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidAdminToken);
        }
        Ok(AdminToken { hash: hash(token) })
    }

    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        super::bearer(headers).is_some_and(|token| self.is(token))
    }

    /// Takes equally long whatever the token is: what is compared are hashes, to their ends.
    fn is(&self, token: &str) -> bool {
        let differences = self.hash.iter().zip(hash(token)).fold(0, |found, (ours, theirs)| found | (ours ^ theirs));
        differences == 0
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_alone() {
        let token = AdminToken::new("0123456789abcdef").unwrap();
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", "0"] {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken");
    }

    #[test]
    fn a_token_that_could_be_guessed_or_cannot_be_sent_is_none() {
        for text in ["", "0123456789abcde", "0123456789abcde f", "0123456789abcdef\n", "0123456789abcdé€"] {
            assert_eq!(AdminToken::new(text).unwrap_err(), InvalidAdminToken, "{text:?}");
        }
    }
}
