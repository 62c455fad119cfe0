//! Coarse deadlines that cost one store to move.
//!
//! A connection moves its deadline several times per request and almost none ever fires. So
//! nothing is registered with the runtime: each connection has an entry in its worker's
//! hashed wheel (Varghese and Lauck, 1987, scheme 6), the entry is visited at the earliest
//! time it was ever due, and only then put where it is due now.
//!
//! Invariant: an entry with a deadline is in the slot of `placed`, and `placed` is never later
//! than its deadline. Deadlines fire at most two ticks (34 ms) late, never early.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use model::Timestamp;
use model::time::saturating_nanos;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One tick is 2^24 ns, about 16.8 ms.
const TICK_SHIFT: u32 = 24;
const SLOTS: u64 = 256;
const NEVER: u64 = u64::MAX;
/// Entries whose deadline was dropped that are kept for the next ones.
const SPARE_MAX: usize = 1024;

/// The time between two calls of [`Wheel::advance`] that the wheel expects.
pub const TICK: Duration = Duration::from_nanos(1 << TICK_SHIFT);

/// Ticks once per [`TICK`], by a timer of the kernel's that runs by itself.
///
/// A sleep of the runtime would give every wait for events a time limit a few milliseconds away,
/// and the kernel would set and cancel a hardware timer around each of them: measured at 10,000
/// paced requests a second, that cost a tenth of the CPU.
#[derive(Debug)]
pub struct Ticker {
    timer: AsyncFd<OwnedFd>,
}

impl Ticker {
    /// Starts ticking. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// As the system says.
    #[expect(unsafe_code, reason = "the caller of `AsyncFd` vouches that the descriptor stays")]
    pub fn start() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let tick = Timespec { tv_sec: 0, tv_nsec: 1 << TICK_SHIFT };
        let period = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &period)?;
        // SAFETY: `OwnedFd` owns one open descriptor, gives the same one on every call, and is
        // moved into the `AsyncFd`, which drops it only after it was deregistered.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Self { timer })
    }

    /// Waits for the next tick; ticks that were missed count as one.
    ///
    /// # Errors
    /// When the runtime is shutting down, or the timer cannot be read.
    pub async fn tick(&self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut count)?)) {
                Ok(result) => return result.map(|_bytes| ()),
                Err(_would_block) => {}
            }
        }
    }
}

/// A worker's deadlines.
#[derive(Debug)]
pub struct Wheel {
    slots: RefCell<Vec<Vec<Rc<Entry>>>>,
    /// Entries without a deadline. They stay in the slot that they are in, so that a stream of
    /// deadlines that live shortly does not fill the slots with entries nobody owns.
    spare: RefCell<Vec<Rc<Entry>>>,
    tick: Cell<u64>,
}

#[derive(Debug)]
struct Entry {
    /// The tick at which it fires; `NEVER` when disarmed.
    due: Cell<u64>,
    /// A later bound that `due` may not pass, for limits that span several phases.
    limit: Cell<u64>,
    /// The tick of the slot it is in; `NEVER` when in none.
    placed: Cell<u64>,
    fired: Cell<bool>,
    dropped: Cell<bool>,
    /// How many can end it before its time.
    enders: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elapsed {
    /// The time of this phase, given to [`Deadline::set`].
    Phase,
    /// The limit over all phases, given to [`Deadline::limit`].
    Limit,
}

impl Wheel {
    /// An empty wheel that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Rc<Self> {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        let (slots, spare) = (RefCell::new(slots), RefCell::default());
        Rc::new(Self { slots, spare, tick: Cell::new(tick_of(now)) })
    }

    /// A disarmed deadline on this wheel.
    #[must_use]
    pub fn deadline(self: &Rc<Self>) -> Deadline {
        let spare = self.spare.borrow_mut().pop();
        let entry = spare.unwrap_or_else(|| {
            Rc::new(Entry {
                due: Cell::new(NEVER),
                limit: Cell::new(NEVER),
                placed: Cell::new(NEVER),
                fired: Cell::new(false),
                dropped: Cell::new(false),
                enders: Cell::new(0),
                waker: RefCell::new(None),
            })
        });
        Deadline { wheel: Rc::clone(self), entry }
    }

    /// Fires what is due at `now`. To be called about once per [`TICK`].
    pub fn advance(&self, now: Timestamp) {
        let target = tick_of(now);
        // After a long pause each slot needs only one visit.
        let first = (self.tick.get() + 1).max(target.saturating_sub(SLOTS - 1));
        for tick in first..=target {
            self.tick.set(tick);
            let mut visited = match self.slots.borrow_mut().get_mut(slot_of(tick)) {
                Some(slot) => std::mem::take(slot),
                None => continue,
            };
            for entry in visited.drain(..) {
                self.visit(entry, tick);
            }
            // The slot's memory is kept, unless visiting put something there.
            if let Some(slot) = self.slots.borrow_mut().get_mut(slot_of(tick))
                && slot.is_empty()
            {
                *slot = visited;
            }
        }
    }

    fn visit(&self, entry: Rc<Entry>, tick: u64) {
        if entry.dropped.get() || entry.placed.get() > tick {
            return;
        }
        entry.placed.set(NEVER);
        let due = entry.due.get();
        if due <= tick {
            entry.due.set(NEVER);
            entry.fired.set(true);
            wake(&entry);
        } else if due != NEVER {
            self.place(entry, due);
        }
    }

    fn place(&self, entry: Rc<Entry>, due: u64) {
        let at = due.min(self.tick.get() + SLOTS - 1).max(self.tick.get() + 1);
        entry.placed.set(at);
        if let Some(slot) = self.slots.borrow_mut().get_mut(slot_of(at)) {
            slot.push(entry);
        }
    }

    /// The ticks that have passed, each a [`TICK`] long: a clock that costs nothing to read.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.tick.get()
    }

    /// Wakes every task that has an armed deadline, so that it looks at the world again:
    /// the door is draining, or a listener is gone.
    pub fn wake_all(&self) {
        for slot in self.slots.borrow().iter() {
            for entry in slot.iter().filter(|entry| !entry.dropped.get()) {
                wake(entry);
            }
        }
    }
}

fn wake(entry: &Entry) {
    if let Some(waker) = entry.waker.borrow().as_ref() {
        waker.wake_by_ref();
    }
}

fn tick_of(now: Timestamp) -> u64 {
    now.as_nanos() >> TICK_SHIFT
}

fn slot_of(tick: u64) -> usize {
    usize::try_from(tick % SLOTS).unwrap_or(0)
}

/// One task's deadline; moved by a store, cancelled when dropped.
#[derive(Debug)]
pub struct Deadline {
    wheel: Rc<Wheel>,
    entry: Rc<Entry>,
}

impl Deadline {
    /// Due `after` from now; replaces what was set before, but not the limit.
    pub fn set(&self, after: Duration) {
        let ticks = (saturating_nanos(after) >> TICK_SHIFT) + 2;
        self.arm(self.wheel.tick.get().saturating_add(ticks).min(self.entry.limit.get()));
    }

    fn arm(&self, due: u64) {
        self.entry.due.set(due);
        self.entry.fired.set(false);
        if self.entry.placed.get() > due {
            self.wheel.place(Rc::clone(&self.entry), due);
        }
    }

    /// No later [`Deadline::set`] may go beyond `after` from now; `None` takes the limit away.
    pub fn limit(&self, after: Option<Duration>) {
        self.entry.limit.set(after.map_or(NEVER, |after| {
            self.wheel.tick.get().saturating_add((saturating_nanos(after) >> TICK_SHIFT) + 2)
        }));
    }

    /// Nothing but the limit is due.
    pub fn clear(&self) {
        self.arm(self.entry.limit.get());
    }

    /// What ends it before its time.
    #[must_use]
    pub fn ender(&self) -> Ender {
        self.entry.enders.set(self.entry.enders.get() + 1);
        Ender(Rc::clone(&self.entry))
    }

    /// Ready once the deadline has passed; else the task is woken when it does.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Elapsed> {
        if self.entry.fired.get() {
            let limited = self.entry.limit.get() <= self.wheel.tick.get();
            return Poll::Ready(if limited { Elapsed::Limit } else { Elapsed::Phase });
        }
        let mut waker = self.entry.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for `future` until the deadline.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline passed first.
    pub async fn within<F: Future>(&self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll(context).map(Err),
        })
        .await
    }
}

/// Ends one deadline before its time, from elsewhere on the same thread.
#[derive(Debug)]
pub struct Ender(Rc<Entry>);

impl Ender {
    /// The deadline fires now, unless it is set anew before its task looks.
    pub fn end(&self) {
        self.0.fired.set(true);
        wake(&self.0);
    }
}

impl Drop for Ender {
    fn drop(&mut self) {
        self.0.enders.set(self.0.enders.get() - 1);
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.entry.waker.borrow_mut().take();
        let mut spare = self.wheel.spare.borrow_mut();
        if self.entry.enders.get() > 0 || spare.len() >= SPARE_MAX {
            self.entry.dropped.set(true);
            return;
        }
        self.entry.due.set(NEVER);
        self.entry.limit.set(NEVER);
        self.entry.fired.set(false);
        spare.push(Rc::clone(&self.entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tick: u64) -> Timestamp {
        Timestamp::from_nanos(tick << TICK_SHIFT)
    }

    fn ticks(count: u64) -> Duration {
        Duration::from_nanos(count << TICK_SHIFT)
    }

    /// `sets`: (tick, length in ticks); the deadline must fire at `fires`, checked at each tick.
    fn check(sets: &[(u64, u64)], fires: Option<u64>) {
        let wheel = Wheel::new(Timestamp::ZERO);
        let deadline = wheel.deadline();
        let mut context = Context::from_waker(Waker::noop());
        let mut fired = None;
        for tick in 0..2_000 {
            wheel.advance(at(tick));
            if fired.is_none() && deadline.poll(&mut context).is_ready() {
                fired = Some(tick);
            }
            for (_, length) in sets.iter().filter(|(when, _)| *when == tick) {
                deadline.set(ticks(*length));
            }
        }
        assert_eq!(fired, fires, "{sets:?}");
        let left: usize = wheel.slots.borrow().iter().map(Vec::len).sum();
        assert!(left <= sets.len(), "{left} entries left for {sets:?}");
    }

    #[test]
    fn fires_when_last_set_says() {
        check(&[], None);
        check(&[(0, 5)], Some(7));
        check(&[(0, 5), (3, 5)], Some(10));
        check(&[(0, 500), (3, 5)], Some(10));
        check(&[(0, 5), (3, 900)], Some(905));
        check(&[(0, 1_000), (500, 1_000)], Some(1_502));
    }

    #[test]
    fn a_deadline_is_ended_before_its_time() {
        let wheel = Wheel::new(Timestamp::ZERO);
        let deadline = wheel.deadline();
        let mut context = Context::from_waker(Waker::noop());
        deadline.set(ticks(9));
        deadline.ender().end();
        assert_eq!(deadline.poll(&mut context), Poll::Ready(Elapsed::Phase));
        deadline.set(ticks(9));
        assert!(deadline.poll(&mut context).is_pending());
    }

    #[test]
    fn a_pause_longer_than_the_wheel_fires_all_once() {
        let wheel = Wheel::new(Timestamp::ZERO);
        let deadlines: Vec<_> = (1..600).map(|length| (wheel.deadline(), length)).collect();
        for (deadline, length) in &deadlines {
            deadline.set(ticks(*length));
        }
        wheel.advance(at(5_000));
        wheel.advance(at(5_300));
        let mut context = Context::from_waker(Waker::noop());
        assert!(deadlines.iter().all(|(deadline, _)| deadline.poll(&mut context).is_ready()));
    }

    #[test]
    fn the_ticker_ticks() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let before = crate::clock::now();
            let ticker = Ticker::start().unwrap();
            for _ in 0..3 {
                ticker.tick().await.unwrap();
            }
            assert!(crate::clock::now().since(before) >= 2 * TICK);
        });
    }

    #[test]
    fn a_limit_outlives_phases() {
        let wheel = Wheel::new(Timestamp::ZERO);
        let deadline = wheel.deadline();
        let mut context = Context::from_waker(Waker::noop());
        deadline.limit(Some(ticks(10)));
        for tick in 0..12 {
            wheel.advance(at(tick));
            assert!(deadline.poll(&mut context).is_pending(), "early at {tick}");
            deadline.set(ticks(5));
        }
        wheel.advance(at(12));
        wheel.advance(at(13));
        assert_eq!(deadline.poll(&mut context), Poll::Ready(Elapsed::Limit));
    }

    #[test]
    fn a_cleared_or_dropped_deadline_never_fires() {
        let wheel = Wheel::new(Timestamp::ZERO);
        let (cleared, dropped) = (wheel.deadline(), wheel.deadline());
        cleared.set(ticks(3));
        dropped.set(ticks(3));
        cleared.clear();
        drop(dropped);
        for tick in 0..20 {
            wheel.advance(at(tick));
        }
        assert!(cleared.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(wheel.slots.borrow().iter().all(Vec::is_empty));
    }
}
