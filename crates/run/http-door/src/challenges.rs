//! Answers to the challenges by which an authority sees that a host is served by this door (ACME,
//! RFC 8555): in a plain request (http-01), or in a TLS handshake (tls-alpn-01).
//!
//! Off the path while no challenge is open, but for the look at one counter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;

/// Where requests ask for answers (RFC 8555, section 8.3).
const FOLDER: &str = "/.well-known/acme-challenge/";

/// The challenges that are open.
#[derive(Debug, Default)]
pub struct Challenges {
    open: AtomicUsize,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// The body by the token in the path.
    texts: BTreeMap<String, String>,
    /// What is shown, by server name.
    handshakes: BTreeMap<String, Arc<ServerConfig>>,
}

/// An answer; dropped, it is no longer given.
#[derive(Debug)]
#[must_use = "the answer is given as long as this lives"]
pub struct Offered {
    challenges: Arc<Challenges>,
    key: Key,
}

#[derive(Debug)]
enum Key {
    Token(String),
    Host(String),
}

impl Challenges {
    /// Answers requests for this token with this text.
    pub fn offer_text(self: &Arc<Self>, token: &str, text: &str) -> Offered {
        self.change(|answers| drop(answers.texts.insert(token.to_owned(), text.to_owned())));
        Offered { challenges: Arc::clone(self), key: Key::Token(token.to_owned()) }
    }

    /// Answers handshakes for this host with this.
    pub fn offer_handshake(self: &Arc<Self>, host: &str, config: Arc<ServerConfig>) -> Offered {
        self.change(|answers| drop(answers.handshakes.insert(host.to_owned(), config)));
        Offered { challenges: Arc::clone(self), key: Key::Host(host.to_owned()) }
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut answers);
        self.open.store(answers.texts.len() + answers.handshakes.len(), Ordering::Release);
    }

    /// Whether any challenge is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// The answer to a request for `path`.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        if !self.is_open() {
            return None;
        }
        let token = path.strip_prefix(FOLDER)?;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.texts.get(token).cloned()
    }

    /// The answer to a handshake for `host`.
    pub(crate) fn handshake(&self, host: &str) -> Option<Arc<ServerConfig>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.handshakes.get(host).cloned()
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.challenges.change(|answers| match &self.key {
            Key::Token(token) => drop(answers.texts.remove(token)),
            Key::Host(host) => drop(answers.handshakes.remove(host)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_as_long_as_it_is_offered() {
        let challenges = Arc::new(Challenges::default());
        let path = "/.well-known/acme-challenge/abc";
        assert_eq!(challenges.text(path), None);
        let offered = challenges.offer_text("abc", "abc.thumb");
        assert_eq!(challenges.text(path).as_deref(), Some("abc.thumb"));
        for other in ["/.well-known/acme-challenge/", "/abc", "/.well-known/acme-challenge/abcd"] {
            assert_eq!(challenges.text(other), None, "{other}");
        }
        drop(offered);
        assert!(!challenges.is_open());
        assert_eq!(challenges.text(path), None);
    }
}
