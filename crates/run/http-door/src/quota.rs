//! What is left of a rate, told to the client (draft-ietf-httpapi-ratelimit-headers-10):
//! `RateLimit-Policy` says how many requests in how many seconds, `RateLimit` how many of them are
//! left, and in how many seconds all of them will be again.

use std::time::Duration;

use admission::{Quota, Refusal};
use model::Reason;
use model::configuration::{Configuration, Rate};

use crate::heads::write_decimal;

/// The state of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown<'a> {
    name: &'a str,
    most: u32,
    /// In which time so many, in seconds.
    window: u64,
    left: u32,
    /// In how many seconds all are there again.
    reset: u64,
}

impl<'a> Shown<'a> {
    /// What is left after a request was let in.
    pub(crate) fn of_quota(
        configuration: &'a Configuration,
        client: Option<usize>,
        quota: &Quota,
    ) -> Option<Self> {
        let (name, rate, most) = rate_of(configuration, client, quota.limit)?;
        let (left, reset) = (quota.room.remaining(), seconds(quota.room.full_in()));
        Some(Self { name, most, window: window(rate, most), left, reset })
    }

    /// That nothing is left, if it is what the request was refused for.
    pub(crate) fn of_refusal(
        configuration: &'a Configuration,
        client: Option<usize>,
        refusal: &Refusal,
    ) -> Option<Self> {
        if refusal.reason != Reason::RateLimited {
            return None;
        }
        let (name, rate, most) = rate_of(configuration, client, refusal.limit)?;
        let reset = seconds(refusal.retry_after.unwrap_or_default());
        Some(Self { name, most, window: window(rate, most), left: 0, reset })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut item = |name: &[u8], first: (&[u8], u64), second: (&[u8], u64)| {
            out.extend_from_slice(name);
            out.extend_from_slice(b": \"");
            out.extend_from_slice(self.name.as_bytes());
            out.push(b'"');
            for (key, value) in [first, second] {
                out.extend_from_slice(key);
                write_decimal(out, value);
            }
            out.extend_from_slice(b"\r\n");
        };
        item(b"ratelimit-policy", (b";q=", u64::from(self.most)), (b";w=", self.window));
        item(b"ratelimit", (b";r=", u64::from(self.left)), (b";t=", self.reset));
    }
}

/// The name, rate and burst of a limit, or of the client's own rate, if they are shown.
fn rate_of(
    configuration: &Configuration,
    client: Option<usize>,
    limit: Option<usize>,
) -> Option<(&str, Rate, u32)> {
    match limit {
        Some(limit) => {
            let limit = configuration.limits.get(limit).filter(|limit| limit.headers)?;
            Some((&limit.name, limit.rate, limit.burst))
        }
        None => {
            let client = configuration.clients.get(client?).filter(|client| client.headers)?;
            Some((&client.name, client.rate?, client.burst))
        }
    }
}

/// How long the whole burst takes to come back.
fn window(rate: Rate, burst: u32) -> u64 {
    seconds(rate.per.mul_f64(f64::from(burst) / f64::from(rate.count.max(1))))
}

/// Whole seconds, rounded up, at least one.
fn seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_fields_name_the_limit() {
        let shown = Shown { name: "per-address", most: 200, window: 2, left: 7, reset: 1 };
        let mut out = Vec::new();
        shown.write(&mut out);
        let expected = "ratelimit-policy: \"per-address\";q=200;w=2\r\n\
                        ratelimit: \"per-address\";r=7;t=1\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_window_is_the_time_of_the_whole_burst() {
        fn check((count, millis): (u32, u64), burst: u32, expected: u64) {
            let rate = Rate { count, per: Duration::from_millis(millis) };
            assert_eq!(window(rate, burst), expected, "{rate:?} {burst}");
        }
        check((100, 1_000), 200, 2);
        check((100, 1_000), 50, 1);
        check((5, 60_000), 1, 12);
        check((10, 3_600_000), 10, 3_600);
    }
}
