//! The bearer token that clients show.

use std::fmt;
use std::hint::black_box;

use sha2::{Digest, Sha256};

/// A bearer token, of which only the hash is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token `secret`. An empty one is none: it gives `None`, as does one that no header can carry.
    pub fn new(secret: &str) -> Option<Self> {
        let carried = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
        carried.then(|| Self(Sha256::digest(secret.as_bytes()).into()))
    }

    /// Whether an `Authorization` header shows this token. Both sides are hashed, so that neither the length nor the
    /// place of the first difference shows in the time that this takes.
    pub(super) fn is_shown_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, shown)) = authorization.split_at_checked(7) else { return false };
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return false;
        }
        let shown: [u8; 32] = Sha256::digest(shown.trim_ascii()).into();
        let difference = self
            .0
            .iter()
            .zip(shown)
            .fold(0, |difference, (mine, theirs)| difference | black_box(mine ^ theirs));
        difference == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_opens() {
        let token = Token::new("s3cret-token").unwrap();
        for shown in ["Bearer s3cret-token", "bearer s3cret-token", "BEARER   s3cret-token "] {
            assert!(token.is_shown_by(shown.as_bytes()), "{shown}");
        }
        for shown in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cret-toke",
            "Bearer s3cret-token2",
            "Basic s3cret-token",
            "s3cret-token",
        ] {
            assert!(!token.is_shown_by(shown.as_bytes()), "{shown}");
        }
    }

    #[test]
    fn what_no_header_can_carry_is_no_token() {
        for secret in ["", "two words", "line\n", "grüße"] {
            assert!(Token::new(secret).is_none(), "{secret:?}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        let token = Token::new("s3cret-token").unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
