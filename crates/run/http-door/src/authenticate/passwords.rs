//! Whether a password is the one that a hash was made of: found out beside the worker's loop
//! ([`super::hashing`]), and remembered.
//!
//! A worker remembers what was right for a while, and never what was wrong; requests that ask the
//! same at the same time wait for one hash.
//! Invariant: what is remembered is a keyed hash of the password and of the hash that it belongs to,
//! so that it says nothing to who reads the memory, and counts for that hash only, whoever has it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use model::Timestamp;
use net::clock;
use tokio::sync::watch;

use super::basic::Hash;
use super::hashing::{Busy, Hashing};

/// How long a password is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Passwords that a worker remembers.
const REMEMBERED_MAX: usize = 1_024;

/// A password and the hash it belongs to.
type Proof = [u8; 32];

/// What a worker knows of passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    /// Nobody outside the worker knows it.
    key: hmac::Key,
    known: RefCell<HashMap<Proof, Known>>,
}

#[derive(Debug)]
enum Known {
    /// It was right, and is until then.
    Right(Timestamp),
    /// It is being found out; who asks too is told.
    Asked(watch::Receiver<Option<bool>>),
}

/// A proof that is being found out; forgotten when dropped, unless it was right.
struct Asking<'a>(&'a Passwords, Proof);

impl Passwords {
    pub(crate) fn new() -> Self {
        let secret: [u8; 32] = aws_lc_rs::rand::generate(&aws_lc_rs::rand::SystemRandom::new())
            .expect("the system has random numbers, or TLS could not work either")
            .expose();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), known: RefCell::default() }
    }

    /// Whether `hash` was made of `password`, by these threads for who asks from this address.
    pub(super) async fn verify(
        &self,
        hash: &Hash,
        password: &[u8],
        (hashing, address): (&Hashing, u64),
    ) -> Result<bool, Busy> {
        let proof = self.proof(hash, password);
        loop {
            let asked = match self.known.borrow().get(&proof) {
                Some(Known::Right(until)) if clock::now() < *until => return Ok(true),
                Some(Known::Right(_)) | None => None,
                Some(Known::Asked(asked)) => Some(asked.clone()),
            };
            let Some(mut asked) = asked else { break };
            if let Ok(told) = asked.wait_for(Option::is_some).await {
                return Ok(*told == Some(true));
            }
            // Who asked has left, or was not let in: it is asked again.
        }
        let (tell, told) = watch::channel(None);
        self.remember(proof, Known::Asked(told));
        let asking = Asking(self, proof);
        let right = hashing.is_right(address, hash.clone(), password.to_vec()).await?;
        if right {
            self.remember(proof, Known::Right(clock::now() + REMEMBERED));
        }
        drop(asking);
        tell.send_replace(Some(right));
        Ok(right)
    }

    fn proof(&self, hash: &Hash, password: &[u8]) -> Proof {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(hash.0.as_bytes());
        // No hash has this byte in it.
        context.update(&[0]);
        context.update(password);
        let mut proof = [0; 32];
        proof.copy_from_slice(context.sign().as_ref());
        proof
    }

    fn remember(&self, proof: Proof, known: Known) {
        let mut all = self.known.borrow_mut();
        if all.len() >= REMEMBERED_MAX {
            // Those that are asked are as many as hashes may wait.
            all.retain(|_, known| matches!(known, Known::Asked(_)));
        }
        all.insert(proof, known);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut known = self.0.known.borrow_mut();
        if matches!(known.get(&self.1), Some(Known::Asked(_))) {
            known.remove(&self.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// bcrypt with the lowest cost, of "sesame".
    fn hash() -> Hash {
        Hash(bcrypt::hash("sesame", 4).unwrap().into())
    }

    fn check(test: impl AsyncFnOnce(&Passwords)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(test(&Passwords::new()));
    }

    #[test]
    fn what_was_right_costs_no_second_hash_and_what_was_wrong_does() {
        check(async |passwords| {
            let (hash, hashing, closed) = (hash(), Hashing::new(2), Hashing::bounded(0, 0));
            let (open, closed) = ((&hashing, 0), (&closed, 0));
            assert_eq!(passwords.verify(&hash, b"wrong", open).await, Ok(false));
            assert_eq!(passwords.verify(&hash, b"wrong", closed).await, Err(Busy));
            assert_eq!(passwords.verify(&hash, b"sesame", open).await, Ok(true));
            assert_eq!(passwords.verify(&hash, b"sesame", closed).await, Ok(true));
            // It is known of this hash only.
            assert_eq!(passwords.verify(&self::hash(), b"sesame", closed).await, Err(Busy));
            assert_eq!(passwords.known.borrow().len(), 1);
        });
    }

    #[test]
    fn who_asks_the_same_waits_for_one_hash_and_asks_anew_when_the_first_leaves() {
        check(async |passwords| {
            let (hash, hashing) = (hash(), Hashing::new(2));
            let turn = hashing.occupied().await;
            let mut context = Context::from_waker(Waker::noop());
            let mut second = pin!(passwords.verify(&hash, b"sesame", (&hashing, 2)));
            {
                let mut first = pin!(passwords.verify(&hash, b"sesame", (&hashing, 1)));
                assert!(first.as_mut().poll(&mut context).is_pending());
                assert!(second.as_mut().poll(&mut context).is_pending());
                assert_eq!(hashing.waiting(), 1);
            }
            assert!(second.as_mut().poll(&mut context).is_pending());
            drop(turn);
            assert_eq!(second.await, Ok(true));
            assert_eq!(hashing.waiting(), 0);
        });
    }
}
