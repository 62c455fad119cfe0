//! Ports for programs that cannot choose one themselves.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the system gives to whoever asks for any: none of these goes to a connection
/// or to another test in between, and nobody who waits for the program connects to himself.
const FIRST: u16 = 12_000;
/// How many there are.
const COUNT: u16 = 20_000;

/// A port of this machine that nobody listens at, for a program that is started next. No two
/// calls in a process give the same.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Test programs that run side by side begin at different ones.
    let own = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let own = u16::try_from(own).expect("a remainder is less than the count");
    let free = (0..COUNT).find_map(|_| {
        let next = TAKEN.fetch_add(1, Ordering::SeqCst) % COUNT;
        let port = FIRST + (own + next) % COUNT;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    });
    free.expect("loopback has free ports")
}
