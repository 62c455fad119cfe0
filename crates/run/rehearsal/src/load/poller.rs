//! Waits for sockets and for the next due time at once, to the nanosecond.
//!
//! The due time is that of a timerfd and not the timeout of the wait: it stays set while sockets
//! wake the thread, where a timeout is set up and taken down with each wait, at a sixth of the cost
//! of a whole request.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use model::Timestamp;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::setpriority_process;
use rustix::thread::NanosleepRelativeResult;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::LoadError;

pub(super) use epoll::Event;

/// The priority of a generator's thread where it may be raised; a process begins with 0.
const NICE: i32 = -15;
/// A processor that slept longer than this wakes up late.
const DEEP_SLEEP: Duration = Duration::from_millis(2);
/// It is woken so much earlier, and kept awake until the due time: a tenth of its time at most.
const AWAKE: Duration = Duration::from_micros(200);
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 256;
/// The token of the alarm: the due time was reached.
pub(super) const ALARM: u64 = u64::MAX - 1;

/// An epoll; edges only, so that a request costs no call to it.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    alarm: OwnedFd,
    /// What the alarm is set to.
    set_to: Option<Timestamp>,
    /// The due time that the processor was woken early for.
    awake_for: Option<Timestamp>,
}

impl Poller {
    pub(super) fn new() -> Result<Self, LoadError> {
        let begin = || {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let alarm = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let edge = EventFlags::IN | EventFlags::ET;
            epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), edge)?;
            Ok(Self { epoll, alarm, set_to: None, awake_for: None })
        };
        begin().map_err(|error: Errno| LoadError::System {
            what: "wait for sockets and time",
            source: error.into(),
        })
    }

    /// Makes waits of the calling thread end on time: the system's default is 50 us late, and a
    /// target on the same machine should not keep its own clients from asking.
    pub(super) fn be_punctual() {
        // Where the system refuses, requests are somewhat late, and the generator says so.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000)).unwrap_or_default();
        setpriority_process(Some(rustix::thread::gettid()), NICE).unwrap_or_default();
    }

    /// Watches a socket: input, output and the peer's end, each from its next change on.
    pub(super) fn add(&self, socket: impl AsFd, token: u64) -> Result<(), Errno> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, socket, EventData::new_u64(token), flags)
    }

    /// Watches for input, for as long as there is any.
    pub(super) fn add_level(&self, file: impl AsFd, token: u64) -> Result<(), Errno> {
        epoll::add(&self.epoll, file, EventData::new_u64(token), EventFlags::IN)
    }

    /// Whether the processor was woken early for this due time, and is not to sleep before it.
    pub(super) fn is_awake_for(&self, until: Timestamp) -> bool {
        self.awake_for == Some(until)
    }

    /// Sleeps to the due time, whatever the sockets do.
    pub(super) fn sleep(now: Timestamp, until: Timestamp) {
        let left = until.since(now);
        let time = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        if left.is_zero() {
            return;
        }
        match rustix::thread::nanosleep(&time) {
            NanosleepRelativeResult::Ok => {}
            // Whoever looks at the clock next sleeps on.
            NanosleepRelativeResult::Interrupted(_) | NanosleepRelativeResult::Err(_) => {}
        }
    }

    /// The alarm rang: it is set to nothing.
    pub(super) const fn rang(&mut self) {
        self.set_to = None;
    }

    /// Waits until there are events or the time is `until`; takes some of the events.
    pub(super) fn wait(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Errno> {
        let left = until.since(now);
        let mut alarm_at = until;
        if left > DEEP_SLEEP {
            alarm_at = until - AWAKE;
            self.awake_for = Some(until);
        }
        let at_once = left.is_zero() || (self.awake_for == Some(until) && left <= AWAKE);
        if !at_once && self.set_to != Some(alarm_at) {
            let left = alarm_at.since(now);
            let alarm = Itimerspec {
                it_interval: Timespec::default(),
                it_value: Timespec {
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(left.subsec_nanos()),
                },
            };
            timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &alarm)?;
            self.set_to = Some(alarm_at);
        }
        let no_time = Timespec::default();
        let limit = at_once.then_some(&no_time);
        events.clear();
        events.reserve(EVENTS_MAX);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), limit) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
