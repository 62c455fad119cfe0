//! The threads that compare passwords with hashes, and whose turn it is.
//!
//! A hash is made to cost much: 50 to 300 ms of a processor. So hashes run on threads of their own,
//! half as many as there are workers and at least one, whatever is asked; a bounded number waits for
//! its turn, and what is beyond that is refused at once.
//!
//! Who guesses many passwords at once must not keep others out. So turns go by rounds (a fair queue
//! after Nagle, RFC 970): of each address one password has its turn in a round, and when nobody else
//! fits in, who would have his turn last gives up his place for one who would have it sooner. An
//! address from which a password was right has its turn of a round in advance, so that many that guess
//! do not keep out who is known, even when they have all places.
//! Invariant: a thread's turn passes on, or ends, however the request that had it ends ([`Turn`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use tokio::sync::oneshot;

use super::basic::Hash;

/// Hashes that may wait for each that runs.
const WAITING_PER_RUNNING: usize = 16;
/// Addresses that are remembered for a password that was right; each has one place, which another may
/// take over.
const KNOWN: usize = 1024;
/// A round, and where in it the turns are of those who go before the others, and of the others.
const ROUND: u64 = 2;
const AHEAD: u64 = 0;
const IN_TURN: u64 = 1;

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
    /// The latest round of those who were called, a multiple of [`ROUND`].
    round: u64,
    /// Where passwords were right, each address at the place that it has by its value.
    known: Vec<Option<Known>>,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

#[derive(Clone, Debug)]
struct Known {
    address: u64,
    /// It had its turn in advance in all rounds before this one.
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    address: u64,
    turn: u64,
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
        let right = task.await.map_err(|_the_process_ends| Busy)?;
        if right {
            self.0.line().know(address);
        }
        Ok(right)
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
        let first = self.round + if self.goes_ahead(address) { AHEAD } else { IN_TURN };
        let own = self.waiting.iter().filter(|waiting| waiting.address == address);
        let turn = own
            .map(|waiting| round_of(waiting.turn) + ROUND + IN_TURN)
            .max()
            .unwrap_or(0)
            .max(first);
        if self.waiting.len() >= waiting_max {
            // Of those of one round the one that came last: the maximum is the last of equals.
            let last = self.waiting.iter().enumerate().max_by_key(|(_, waiting)| waiting.turn);
            let last = last.filter(|(_, waiting)| waiting.turn > turn).map(|(at, _)| at);
            self.waiting.remove(last.ok_or(Busy)?);
        }
        let (call, called) = oneshot::channel();
        self.waiting.push(Waiting { address, turn, call });
        Ok(called)
    }

    /// A password was right that came from there.
    fn know(&mut self, address: u64) {
        self.known.resize(KNOWN, None);
        if let Some(place) = self.known.get_mut(place_of(address))
            && place.as_ref().is_none_or(|known| known.address != address)
        {
            *place = Some(Known { address, next: 0 });
        }
    }

    /// Whether an address goes before all that are not known, which it may once in each round.
    fn goes_ahead(&mut self, address: u64) -> bool {
        let known = self.known.get_mut(place_of(address)).and_then(Option::as_mut);
        let Some(known) = known.filter(|known| known.address == address) else { return false };
        let used = std::mem::replace(&mut known.next, self.round + 1);
        used <= self.round
    }

    /// Takes out who is next: the first of the lowest round.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let first = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.turn);
        let at = first.map(|(at, _)| at)?;
        let Waiting { turn, call, .. } = self.waiting.remove(at);
        self.round = self.round.max(round_of(turn));
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

/// The round of a turn.
const fn round_of(turn: u64) -> u64 {
    turn - turn % ROUND
}

/// Addresses come as keyed hashes, so that nobody can choose whose place to take.
fn place_of(address: u64) -> usize {
    usize::try_from(address % KNOWN as u64).unwrap_or(0)
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
        check_known("", asking, expected);
    }

    /// The same, where these addresses are known.
    fn check_known(known: &str, asking: &str, expected: &str) {
        let hashing = Hashing::bounded(1, 4);
        known.chars().for_each(|letter| hashing.0.line().know(u64::from(u32::from(letter))));
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
    fn who_is_known_comes_first_but_not_twice() {
        check_known("k", "abcdek", "akbcd|e");
        check_known("k", "abck", "akbc|");
        check_known("k", "abcdkk", "akbcd|k");
        check_known("k", "abkk", "akbk|");
        // Of those who are known nobody has more than the others.
        check_known("jkl", "abcdejkl", "ajklb|cde");
    }

    #[test]
    fn who_left_takes_no_turn_and_no_place() {
        check("aB", "a|");
        check("aBb", "ab|");
        check("abC", "ab|");
        check("aBCDEb", "ab|");
    }
}
