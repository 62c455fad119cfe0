//! The bearer token of the TCP address.
//!
//! Only its hash is kept, and hashes are compared in constant time: neither a memory dump of
//! this struct nor the time of an answer tells the token or its length.

use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

/// The fewest characters a token may have.
const CHARACTERS_MIN: usize = 16;
/// The most bytes that are read of a token file.
const BYTES_MAX: usize = 4_096;

/// A bearer token: 16 to 4,096 visible ASCII characters.
#[derive(Clone)]
pub struct Token {
    hash: Digest,
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the token file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token is too short to resist guessing.
    #[error("the token has {found} characters; it needs at least {CHARACTERS_MIN}")]
    TooShort {
        /// How many it has.
        found: usize,
    },
    /// The token is longer than a header value should be.
    #[error("the token is longer than {BYTES_MAX} characters")]
    TooLong,
    /// The token holds a character that no header value may carry.
    #[error("the token may hold visible ASCII characters only, and no spaces")]
    NotVisible,
}

impl Token {
    /// Checks and keeps a token; surrounding white space (a file's last line end) is not part of it.
    ///
    /// # Errors
    /// When it is too short, too long, or holds anything but visible ASCII.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NotVisible);
        }
        if text.len() < CHARACTERS_MIN {
            return Err(TokenError::TooShort { found: text.len() });
        }
        Ok(Self { hash: digest(&SHA256, text.as_bytes()) })
    }

    /// Reads a token from a file.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Token::new`].
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text = text(path)?;
        Self::new(&text)
    }

    /// True when `presented` is this token; takes the same time whatever differs.
    pub(crate) fn matches(&self, presented: &str) -> bool {
        let presented = digest(&SHA256, presented.as_bytes());
        verify_slices_are_equal(self.hash.as_ref(), presented.as_ref()).is_ok()
    }
}

/// The token in a file, checked: what a client presents.
///
/// # Errors
/// As [`Token::read`].
pub(crate) fn text(path: &Path) -> Result<String, TokenError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
    Token::new(&text)?;
    Ok(text.trim().to_owned())
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match Token::new(text) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn tokens_are_checked() {
        check("0123456789abcdef", "ok");
        check("0123456789abcdef\n", "ok");
        check("0123456789abcde", "the token has 15 characters; it needs at least 16");
        check("", "the token has 0 characters; it needs at least 16");
        check(
            "0123456789 abcdef",
            "the token may hold visible ASCII characters only, and no spaces",
        );
        check(
            "0123456789äbcdef",
            "the token may hold visible ASCII characters only, and no spaces",
        );
        check(&"a".repeat(4_097), "the token is longer than 4096 characters");
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.matches("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(!token.matches(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(hidden)");
    }
}
