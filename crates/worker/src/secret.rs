//! What the operator's door is opened with.

use sha2::{Digest, Sha256};

/// The fewest characters of a secret. `openssl rand -hex 16` makes 32.
const SHORTEST: usize = 16;

/// A secret that a worker was given. Only a hash of it is kept.
pub(crate) struct Secret([u8; 32]);

impl Secret {
    /// The secret as it was chosen. `None`: it could be guessed, or cannot be in a header.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_one = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_one.then(|| Secret(hash(text)))
    }

    /// Whether a header `Authorization` says it.
    pub(crate) fn is_in(&self, authorization: &str) -> bool {
        let Some((scheme, token)) = authorization.split_once(' ') else { return false };
        scheme.eq_ignore_ascii_case("bearer") && self.is(token.trim())
    }

    /// Takes equally long whatever the token is: what is compared are hashes, to their ends.
    fn is(&self, token: &str) -> bool {
        let differences = self.0.iter().zip(hash(token)).fold(0, |found, (ours, theirs)| found | (ours ^ theirs));
        differences == 0
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_alone() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        assert!(secret.is_in("Bearer 0123456789abcdef") && secret.is_in("bearer  0123456789abcdef "));
        for other in [
            "",
            "Bearer",
            "Bearer ",
            "0123456789abcdef",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
        ] {
            assert!(!secret.is_in(other), "{other}");
        }
    }

    #[test]
    fn what_could_be_guessed_or_cannot_be_sent_is_no_secret() {
        for text in ["", "0123456789abcde", "0123456789abcde f", "0123456789abcdef\n", "0123456789abcdé€"] {
            assert!(Secret::new(text).is_none(), "{text:?}");
        }
    }
}
