//! Whether a password is the one that a hash was made of: found out beside the worker's loop, and
//! remembered.
//!
//! A hash is made to cost much: 50 to 300 ms of a processor. So hashes run on threads of their own,
//! half as many as there are workers and at least one, whatever is asked; a bounded number waits for
//! its turn, and what is beyond that is refused at once. A worker remembers what was right for a while, and never
//! what was wrong; requests that ask the same at the same time wait for one hash.
//! Invariant: what is remembered is a keyed hash of the password and of the hash that it belongs to,
//! so that it says nothing to who reads the memory, and counts for that hash only, whoever has it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use aws_lc_rs::hmac;
use model::Timestamp;
use net::clock;
use tokio::sync::{Semaphore, watch};

use super::basic::Hash;

/// How long a password is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Passwords that a worker remembers.
const REMEMBERED_MAX: usize = 1_024;
/// Hashes that may wait for each that runs.
const WAITING_PER_RUNNING: usize = 16;

/// The threads that hash, of all workers.
#[derive(Debug)]
pub(crate) struct Hashing {
    /// Those that run or wait.
    places: Semaphore,
    running: Arc<Semaphore>,
}

/// As many hashes run or wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Hashing {
    /// For so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let running = (workers / 2).max(1);
        let places = running * (1 + WAITING_PER_RUNNING);
        Self { places: Semaphore::new(places), running: Arc::new(Semaphore::new(running)) }
    }

    async fn is_right(&self, hash: Hash, password: Vec<u8>) -> Result<bool, Busy> {
        let _place = self.places.try_acquire().map_err(|_full| Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_closed| Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            let right = is_right(&hash.0, &password);
            drop(turn);
            right
        });
        task.await.map_err(|_the_process_ends| Busy)
    }
}

fn is_right(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$argon2id$") {
        return Argon2::default().verify_password(password, hash).is_ok();
    }
    // As all others of its kind, it looks at the first 72 bytes.
    bcrypt::verify(password, hash).is_ok_and(|right| right)
}

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

    /// Whether `hash` was made of `password`.
    pub(super) async fn verify(
        &self,
        hash: &Hash,
        password: &[u8],
        hashing: &Hashing,
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
        let right = hashing.is_right(hash.clone(), password.to_vec()).await?;
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
    fn both_kinds_of_hash_tell_right_from_wrong() {
        let argon2 = Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            argon2::Params::new(256, 2, 1, None).unwrap(),
        );
        let argon2 =
            argon2::PasswordHasher::hash_password_with_salt(&argon2, b"sesame", b"somesalt");
        for hash in [hash().0.to_string(), argon2.unwrap().to_string()] {
            assert!(is_right(&hash, b"sesame"), "{hash}");
            assert!(!is_right(&hash, b"Sesame") && !is_right(&hash, b""), "{hash}");
        }
        assert!(!is_right("no hash", b"sesame"));
    }

    #[test]
    fn what_was_right_costs_no_second_hash_and_what_was_wrong_does() {
        check(async |passwords| {
            let (hash, hashing, closed) = (hash(), Hashing::new(2), Hashing::new(2));
            closed.places.close();
            assert_eq!(passwords.verify(&hash, b"wrong", &hashing).await, Ok(false));
            assert_eq!(passwords.verify(&hash, b"wrong", &closed).await, Err(Busy));
            assert_eq!(passwords.verify(&hash, b"sesame", &hashing).await, Ok(true));
            assert_eq!(passwords.verify(&hash, b"sesame", &closed).await, Ok(true));
            // It is known of this hash only.
            assert_eq!(passwords.verify(&self::hash(), b"sesame", &closed).await, Err(Busy));
            assert_eq!(passwords.known.borrow().len(), 1);
        });
    }

    #[test]
    fn who_asks_the_same_waits_for_one_hash_and_asks_anew_when_the_first_leaves() {
        check(async |passwords| {
            let (hash, hashing) = (hash(), Hashing::new(2));
            let turn = hashing.running.acquire().await.unwrap();
            let mut context = Context::from_waker(Waker::noop());
            let mut second = pin!(passwords.verify(&hash, b"sesame", &hashing));
            {
                let mut first = pin!(passwords.verify(&hash, b"sesame", &hashing));
                assert!(first.as_mut().poll(&mut context).is_pending());
                assert!(second.as_mut().poll(&mut context).is_pending());
                assert_eq!(hashing.places.available_permits(), WAITING_PER_RUNNING);
            }
            assert!(second.as_mut().poll(&mut context).is_pending());
            drop(turn);
            assert_eq!(second.await, Ok(true));
            assert_eq!(hashing.places.available_permits(), WAITING_PER_RUNNING + 1);
        });
    }
}
