//! The value of `Date`, written once a second and not once an answer.

use std::cell::Cell;
use std::io::Write as _;
use std::time::Duration;

use model::Timestamp;
use net::clock;

/// As long as every date of HTTP is (RFC 9110, section 5.6.7).
const LENGTH: usize = 29;

/// A worker's idea of the date; at most a second old.
#[derive(Debug)]
pub(crate) struct Date {
    text: Cell<[u8; LENGTH]>,
    /// When to write it again.
    stale_at: Cell<Timestamp>,
}

impl Date {
    pub(crate) fn new() -> Self {
        Self { text: Cell::new([b' '; LENGTH]), stale_at: Cell::new(Timestamp::ZERO) }
    }

    /// The date at `now`.
    pub(crate) fn text(&self, now: Timestamp) -> [u8; LENGTH] {
        if now >= self.stale_at.get() {
            let mut text = [b' '; LENGTH];
            // It has exactly this length, so all of it is written.
            drop(write!(&mut text[..], "{}", httpdate::HttpDate::from(clock::wall())));
            self.text.set(text);
            self.stale_at.set(now + Duration::from_secs(1));
        }
        self.text.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_date_and_is_kept_for_a_second() {
        let date = Date::new();
        let first = date.text(Timestamp::ZERO);
        let written = httpdate::parse_http_date(std::str::from_utf8(&first).unwrap()).unwrap();
        let age = clock::wall().duration_since(written).unwrap();
        assert!(age < Duration::from_secs(60), "{age:?}");
        date.text.set([b'x'; LENGTH]);
        let almost = Timestamp::ZERO + Duration::from_millis(999);
        assert_eq!(date.text(almost), [b'x'; LENGTH]);
        assert_ne!(date.text(Timestamp::ZERO + Duration::from_secs(1)), [b'x'; LENGTH]);
    }
}
