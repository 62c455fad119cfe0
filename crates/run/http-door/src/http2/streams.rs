//! The walks of a connection's streams, polled within the connection's own task.
//!
//! A task for each stream would cost more than many a request: memory, a place in the runtime's
//! lists, and a wake of the connection's task for each frame. Here each stream has a place with a
//! waker of its own, so that only those are polled that were woken, and the next stream takes over
//! the place of one that has ended.
//!
//! Invariants: nothing is polled that was not woken since it was last polled; the task is woken
//! whenever something is and no turn is under way; a stream's panic ends that stream alone.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Places that a connection without streams keeps.
const KEPT_MAX: usize = 8;
/// The place of the frames beneath all streams.
const FRAMES: usize = usize::MAX;

/// The streams of one connection, and whether its frames are to be looked at.
pub(crate) struct Streams<F> {
    places: Vec<Place<F>>,
    /// Those of the places that are free.
    free: Vec<usize>,
    /// Those that were woken, in order, while they are polled.
    woken: Vec<usize>,
    frames: Arc<Key>,
    frames_woken: bool,
    bell: Arc<Bell>,
}

struct Place<F> {
    stream: Pin<Box<Option<F>>>,
    key: Arc<Key>,
    waker: Waker,
}

/// Who was woken. All of it is used by one thread, but a waker may be sent to another.
#[derive(Default)]
struct Bell(Mutex<Rung>);

#[derive(Default)]
struct Rung {
    places: Vec<usize>,
    /// The task, until it is woken; absent while it takes its turn.
    task: Option<Waker>,
}

struct Key {
    place: usize,
    /// It is in the bell's list.
    rung: AtomicBool,
    bell: Arc<Bell>,
}

impl Bell {
    fn with<T>(&self, what: impl FnOnce(&mut Rung) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Key {
    fn new(place: usize, bell: &Arc<Bell>) -> Arc<Self> {
        Arc::new(Self { place, rung: AtomicBool::new(false), bell: Arc::clone(bell) })
    }
}

impl Wake for Key {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = self.bell.with(|rung| {
            rung.places.push(self.place);
            rung.task.take()
        });
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future<Output = ()>> Streams<F> {
    /// No streams, and frames that nobody has looked at.
    pub(crate) fn new() -> Self {
        let bell = Arc::<Bell>::default();
        let frames = Key::new(FRAMES, &bell);
        frames.wake_by_ref();
        let (places, free, woken) = (Vec::new(), Vec::new(), Vec::new());
        Self { places, free, woken, frames, frames_woken: false, bell }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Wakes the connection's frames.
    pub(crate) fn frames_waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.frames))
    }

    /// The frames are to be looked at in the next turn.
    pub(crate) fn wake_frames(&self) {
        self.frames.wake_by_ref();
    }

    /// Adds the stream that `begin` makes, which takes its first turn next.
    pub(crate) fn add(&mut self, begin: impl FnOnce() -> F) {
        let index = self.free.pop().unwrap_or_else(|| {
            let key = Key::new(self.places.len(), &self.bell);
            let waker = Waker::from(Arc::clone(&key));
            self.places.push(Place { stream: Box::pin(None), key, waker });
            self.places.len() - 1
        });
        if let Some(place) = self.places.get_mut(index) {
            place.stream.set(Some(begin()));
            place.key.wake_by_ref();
        }
    }

    /// Gives back all memory that no stream needs: there was none for a while.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            (self.places, self.free, self.woken) = (Vec::new(), Vec::new(), Vec::new());
            self.bell.with(|rung| rung.places.shrink_to_fit());
        }
    }

    /// Polls each stream that was woken, once. False when nothing was woken at all.
    pub(crate) fn turn(&mut self) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        self.bell.with(|rung| {
            rung.task = None;
            std::mem::swap(&mut rung.places, &mut woken);
        });
        let any = !woken.is_empty();
        for index in woken.drain(..) {
            self.poll(index);
        }
        self.woken = woken;
        any
    }

    fn poll(&mut self, index: usize) {
        if index == FRAMES {
            self.frames.rung.store(false, Ordering::Release);
            self.frames_woken = true;
            return;
        }
        let Some(place) = self.places.get_mut(index) else { return };
        place.key.rung.store(false, Ordering::Release);
        // Who is woken after its end, or in place of one that has ended, loses nothing by it.
        let Some(stream) = place.stream.as_mut().as_pin_mut() else { return };
        let mut context = Context::from_waker(&place.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| stream.poll(&mut context)));
        if !matches!(polled, Ok(Poll::Pending)) {
            place.stream.set(None);
            self.free.push(index);
            if self.is_empty() && self.places.len() > KEPT_MAX {
                self.places.truncate(KEPT_MAX);
                self.free = (0..KEPT_MAX).collect();
            }
        }
    }

    /// Whether the frames were woken since this was last asked.
    pub(crate) fn take_frames_woken(&mut self) -> bool {
        std::mem::take(&mut self.frames_woken)
    }

    /// Ends the task's turns for now: it is woken by who is woken from here on, or was since the
    /// last turn.
    pub(crate) fn rest(&self, context: &Context<'_>) {
        let task = context.waker();
        let again = self.bell.with(|rung| {
            rung.task = Some(task.clone()).filter(|_| rung.places.is_empty());
            rung.task.is_none()
        });
        if again || self.frames_woken {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A stream that is ready at its poll of this number.
    struct Stream {
        polls: Rc<Cell<usize>>,
        ready_at: usize,
        waker: Rc<Cell<Option<Waker>>>,
    }

    impl Stream {
        fn new(ready_at: usize) -> Self {
            Self { polls: Rc::default(), ready_at, waker: Rc::default() }
        }
    }

    impl Future for Stream {
        type Output = ();

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            self.polls.set(self.polls.get() + 1);
            self.waker.set(Some(context.waker().clone()));
            assert!(self.ready_at > 0, "a defect");
            if self.polls.get() == self.ready_at { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[test]
    fn only_who_was_woken_is_polled_and_the_task_is_woken_once() {
        let (mut streams, task) = (Streams::new(), Arc::<Counter>::default());
        let (waker, woken) = (Waker::from(Arc::clone(&task)), || task.0.load(Ordering::Relaxed));
        let (one, other) = (Stream::new(3), Stream::new(9));
        let (polls, wake) = (Rc::clone(&one.polls), Rc::clone(&one.waker));
        let others = Rc::clone(&other.polls);
        streams.add(|| one);
        streams.add(|| other);
        assert!(streams.turn() && streams.take_frames_woken());
        assert!(!streams.turn() && !streams.take_frames_woken());
        streams.rest(&Context::from_waker(&waker));
        assert_eq!((polls.get(), others.get(), woken()), (1, 1, 0));
        let known = wake.take().unwrap();
        (0..3).for_each(|_| known.wake_by_ref());
        streams.wake_frames();
        assert_eq!(woken(), 1);
        assert!(streams.turn() && streams.take_frames_woken());
        assert_eq!((polls.get(), others.get()), (2, 1));
        known.wake_by_ref();
        streams.rest(&Context::from_waker(&waker));
        assert_eq!(woken(), 2, "who was woken during the turn has another");
        assert!(streams.turn() && polls.get() == 3 && !streams.is_empty());
    }

    #[test]
    fn a_place_is_used_again_and_few_are_kept() {
        let mut streams = Streams::new();
        (0..3 * KEPT_MAX).for_each(|_| streams.add(|| Stream::new(1)));
        streams.turn();
        assert!(streams.is_empty() && streams.places.len() == KEPT_MAX);
        let last = Stream::new(2);
        let (polls, wake) = (Rc::clone(&last.polls), Rc::clone(&last.waker));
        streams.add(|| last);
        streams.turn();
        wake.take().unwrap().wake();
        streams.turn();
        assert_eq!((polls.get(), streams.places.len(), streams.is_empty()), (2, KEPT_MAX, true));
    }

    #[test]
    fn what_is_given_back_is_made_anew() {
        let mut streams = Streams::new();
        let first = Stream::new(2);
        let wake = Rc::clone(&first.waker);
        streams.add(|| first);
        streams.turn();
        streams.shrink();
        assert_eq!(streams.places.len(), 1, "it is in use");
        let late = wake.take().unwrap();
        late.wake_by_ref();
        streams.turn();
        streams.shrink();
        assert!(streams.is_empty() && streams.places.capacity() == 0);
        // Who is woken after its place is gone loses nothing, and disturbs nobody.
        late.wake();
        assert!(streams.turn());
        let second = Stream::new(1);
        let polls = Rc::clone(&second.polls);
        streams.add(|| second);
        assert!(streams.turn() && polls.get() == 1 && streams.is_empty());
    }

    #[test]
    fn a_panic_ends_one_stream() {
        let mut streams = Streams::new();
        streams.add(|| Stream::new(0));
        streams.add(|| Stream::new(2));
        streams.turn();
        assert_eq!((streams.places.len(), streams.free.len()), (2, 1));
    }
}
