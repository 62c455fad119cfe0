//! The one processor core that a sample application has, and the stop that everything can come to.
//!
//! Requests take turns of a few milliseconds on a thread of its own, as processes do under an
//! operating system: CPU time is truly burnt, one core of the machine is truly busy, and whoever
//! answers while others burn waits for them. `/_control` takes no turn, so that a drill can
//! always undo what it did.
//! Invariant: turns waiting are bounded; the turn of a client that left is not taken.

use std::collections::VecDeque;
use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot};

/// The longest one request burns before the next one does.
const SLICE: Duration = Duration::from_millis(2);
/// Requests that take turns at once; further ones wait in order of arrival.
const TURNS_MAX: usize = 10_000;
/// Steps of arithmetic between two looks at the clock, some ten microseconds.
const STEPS: u32 = 10_000;

/// What stops when the whole process stands still; shared by all who do something.
#[derive(Debug, Default)]
pub(super) struct World(Mutex<()>);

impl World {
    /// Blocks the calling thread, and with it all that runs on it, and everybody at work.
    pub(super) fn stand_still(&self, time: Duration) {
        let _stopped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = net::clock::now();
        loop {
            let over = net::clock::now().since(begin);
            let Some(left) = time.checked_sub(over).filter(|left| !left.is_zero()) else { return };
            // Others may wake this thread; then the rest is waited for.
            thread::park_timeout(left);
        }
    }

    fn work(&self, work: impl FnOnce()) {
        let _moving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work();
    }
}

/// One request's need.
struct Turn {
    left: Duration,
    done: oneshot::Sender<()>,
}

/// The core; its thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Processor {
    turns: mpsc::Sender<Turn>,
    users: AtomicUsize,
}

impl Processor {
    /// Starts its thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(world: Arc<World>) -> io::Result<Self> {
        let (turns, taken) = mpsc::channel(TURNS_MAX);
        thread::Builder::new()
            .name("sample-processor".to_owned())
            .spawn(move || take_turns(taken, &world))?;
        Ok(Self { turns, users: AtomicUsize::new(0) })
    }

    /// Burns `time` of CPU, in turns with all others; at once when nobody burns and there is nothing to burn.
    pub(super) async fn burn(&self, time: Duration) {
        if time.is_zero() && self.users.load(Ordering::Relaxed) == 0 {
            return;
        }
        let _user = User::begin(&self.users);
        let (done, finished) = oneshot::channel();
        if self.turns.send(Turn { left: time, done }).await.is_ok() {
            // An error is the end of the thread, which is the end of the application.
            drop(finished.await);
        }
    }
}

/// Counts one user, also when its client leaves.
struct User<'a>(&'a AtomicUsize);

impl<'a> User<'a> {
    fn begin(users: &'a AtomicUsize) -> Self {
        users.fetch_add(1, Ordering::Relaxed);
        Self(users)
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take_turns(mut arriving: mpsc::Receiver<Turn>, world: &World) {
    let mut queue: VecDeque<Turn> = VecDeque::new();
    loop {
        if queue.is_empty() {
            let Some(turn) = arriving.blocking_recv() else { return };
            queue.push_back(turn);
        }
        while queue.len() < TURNS_MAX
            && let Ok(turn) = arriving.try_recv()
        {
            queue.push_back(turn);
        }
        let Some(mut turn) = queue.pop_front().filter(|turn| !turn.done.is_closed()) else {
            continue;
        };
        let slice = turn.left.min(SLICE);
        world.work(|| burn(slice));
        turn.left -= slice;
        if !turn.left.is_zero() {
            queue.push_back(turn);
        } else if turn.done.send(()).is_err() {
            tracing::trace!("a client left while its CPU time was burnt");
        }
    }
}

/// Burns this much of the calling thread's CPU time: on a busy machine it takes longer by the clock.
fn burn(time: Duration) {
    let begin = thread_time();
    let mut value: u64 = 1;
    while thread_time().saturating_sub(begin) < time {
        for _ in 0..STEPS {
            value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    black_box(value);
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burning_takes_cpu_time() {
        let begin = thread_time();
        burn(Duration::from_millis(20));
        let burnt = thread_time() - begin;
        assert!((20..60).contains(&burnt.as_millis()), "{burnt:?}");
    }

    #[tokio::test]
    async fn who_needs_nothing_waits_only_for_those_who_burn() {
        let processor = Processor::start(Arc::default()).unwrap();
        processor.burn(Duration::ZERO).await;
        let first = processor.burn(Duration::from_millis(100));
        let second = async {
            processor.burn(Duration::ZERO).await;
            net::clock::now()
        };
        let begin = net::clock::now();
        let (_first, second) = tokio::join!(first, second);
        let waited = second.since(begin);
        assert!(waited >= SLICE, "a turn of the other comes first: {waited:?}");
        assert!(waited < Duration::from_millis(100), "but not all of it: {waited:?}");
        assert_eq!(processor.users.load(Ordering::Relaxed), 0);
    }
}
