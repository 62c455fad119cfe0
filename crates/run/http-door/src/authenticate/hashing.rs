//! The threads that compare passwords with hashes, and whose turn it is.
//!
//! A hash is made to cost much: 50 to 300 ms of a processor. So hashes run on threads of their own,
//! half as many as there are workers and at least one, whatever is asked; a bounded number waits for
//! its turn, and what is beyond that is refused at once.
//!
//! Who guesses many passwords at once must not keep others out. So turns go by rounds (a fair queue
//! after Nagle, RFC 970): of each address one password has its turn in a round, and when nobody else
//! fits in, who would have his turn last gives up his place for one who would have it sooner.
//! Invariant: a thread's turn passes on, or ends, however the request that had it ends ([`Turn`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use tokio::sync::oneshot;

use super::basic::Hash;

/// Hashes that may wait for each that runs.
const WAITING_PER_RUNNING: usize = 16;

/// The threads that hash, of all workers.
#[derive(Debug)]
pub(crate) struct Hashing(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    running_max: usize,
    waiting_max: usize,
    /// Held for a moment only, by who is about to spend a thousand times as long on a hash.
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    running: usize,
    /// The round of who was called last.
    round: u64,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    address: u64,
    round: u64,
    call: oneshot::Sender<Turn>,
}

/// A thread to hash on; passes on to who is next when dropped.
#[derive(Debug)]
struct Turn(Option<Arc<Threads>>);

/// As many hashes run or wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Hashing {
    /// For so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let running = (workers / 2).max(1);
        Self::bounded(running, running * WAITING_PER_RUNNING)
    }

    pub(super) fn bounded(running_max: usize, waiting_max: usize) -> Self {
        Self(Arc::new(Threads { running_max, waiting_max, line: Mutex::default() }))
    }

    /// Whether `hash` was made of `password`, for a client at `address`, whatever stands for that.
    pub(super) async fn is_right(
        &self,
        address: u64,
        hash: Hash,
        password: Vec<u8>,
    ) -> Result<bool, Busy> {
        let turn = self.turn(address).await?;
        let task = tokio::task::spawn_blocking(move || {
            let right = is_right(&hash.0, &password);
            drop(turn);
            right
        });
        task.await.map_err(|_the_process_ends| Busy)
    }

    async fn turn(&self, address: u64) -> Result<Turn, Busy> {
        let called = {
            let mut line = self.0.line();
            if line.running < self.0.running_max {
                line.running += 1;
                return Ok(Turn(Some(Arc::clone(&self.0))));
            }
            line.join(address, self.0.waiting_max)?
        };
        called.await.map_err(|_gave_up_its_place| Busy)
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.line().waiting.len()
    }

    /// Keeps a thread busy until what it gives is dropped.
    #[cfg(test)]
    pub(super) async fn occupied(&self) -> impl Sized {
        self.turn(0).await
    }
}

impl Threads {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Takes a place behind all of the same round.
    fn join(&mut self, address: u64, waiting_max: usize) -> Result<oneshot::Receiver<Turn>, Busy> {
        // Who has left waits no more.
        self.waiting.retain(|waiting| !waiting.call.is_closed());
        let own = self.waiting.iter().filter(|waiting| waiting.address == address);
        let round = own.map(|waiting| waiting.round + 1).max().unwrap_or(0).max(self.round);
        if self.waiting.len() >= waiting_max {
            // Of those of one round the one that came last: the maximum is the last of equals.
            let last = self.waiting.iter().enumerate().max_by_key(|(_, waiting)| waiting.round);
            let last = last.filter(|(_, waiting)| waiting.round > round).map(|(at, _)| at);
            self.waiting.remove(last.ok_or(Busy)?);
        }
        let (call, called) = oneshot::channel();
        self.waiting.push(Waiting { address, round, call });
        Ok(called)
    }

    /// Takes out who is next: the first of the lowest round.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let first = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.round);
        let at = first.map(|(at, _)| at)?;
        let Waiting { round, call, .. } = self.waiting.remove(at);
        self.round = round;
        Some(call)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(threads) = self.0.take() else { return };
        let mut line = threads.line();
        while let Some(call) = line.next() {
            match call.send(Self(Some(Arc::clone(&threads)))) {
                Ok(()) => return,
                // Who has left takes no turn, and what comes back is nobody's.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
        line.running -= 1;
    }
}

fn is_right(hash: &str, password: &[u8]) -> bool {
    if hash.starts_with("$argon2id$") {
        return Argon2::default().verify_password(password, hash).is_ok();
    }
    // As all others of its kind, it looks at the first 72 bytes.
    bcrypt::verify(password, hash).is_ok_and(|right| right)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Asked<'a> = Pin<Box<dyn Future<Output = Result<Turn, Busy>> + 'a>>;

    fn poll(asked: &mut Asked<'_>) -> Poll<Result<Turn, Busy>> {
        asked.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Addresses, a letter each, ask for a turn one after the other, with one thread and room for
    /// four that wait; an upper case letter leaves again at once. Gives those that had a turn, in
    /// order, and behind a bar those that were refused or gave up their places.
    fn check(asking: &str, expected: &str) {
        let hashing = Hashing::bounded(1, 4);
        let (mut served, mut refused) = (String::new(), String::new());
        let (mut running, mut open) = (None, Vec::<(char, Asked<'_>)>::new());
        for letter in asking.chars() {
            let address = u64::from(u32::from(letter.to_ascii_lowercase()));
            let mut asked: Asked<'_> = Box::pin(hashing.turn(address));
            match poll(&mut asked) {
                Poll::Ready(Ok(turn)) => running = Some((letter, turn)),
                Poll::Ready(Err(Busy)) => refused.push(letter),
                Poll::Pending if letter.is_ascii_uppercase() => {}
                Poll::Pending => open.push((letter, asked)),
            }
        }
        while let Some((letter, turn)) = running.take() {
            served.push(letter);
            drop(turn);
            open.retain_mut(|(letter, asked)| match poll(asked) {
                Poll::Ready(Ok(turn)) => {
                    running = Some((*letter, turn));
                    false
                }
                Poll::Ready(Err(Busy)) => {
                    refused.push(*letter);
                    false
                }
                Poll::Pending => true,
            });
        }
        assert_eq!(format!("{served}|{refused}"), expected, "{asking}");
        let line = hashing.0.line();
        assert_eq!((line.running, line.waiting.len()), (0, 0), "{asking}");
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
        for hash in [bcrypt::hash("sesame", 4).unwrap(), argon2.unwrap().to_string()] {
            assert!(is_right(&hash, b"sesame"), "{hash}");
            assert!(!is_right(&hash, b"Sesame") && !is_right(&hash, b""), "{hash}");
        }
        assert!(!is_right("no hash", b"sesame"));
    }

    #[test]
    fn turns_go_round_the_addresses() {
        check("a", "a|");
        check("aaaaa", "aaaaa|");
        check("aaaab", "aabaa|");
        check("aaabb", "aabab|");
        check("abcde", "abcde|");
        // Nobody has more than the others.
        check("abcdef", "abcde|f");
        check("aaaaaa", "aaaaa|a");
        // Who has the most gives up what he asked last.
        check("aaaaab", "aabaa|a");
        check("aaaaabcdef", "aabcd|efaaa");
    }

    #[test]
    fn who_left_takes_no_turn_and_no_place() {
        check("aB", "a|");
        check("aBb", "ab|");
        check("abC", "ab|");
        check("aBCDEb", "ab|");
    }
}
