//! What the admission of a request that is let in costs: admitted, a sample for the limiters, and
//! the place given back, again and again in one thread.
//!
//! Who sends changes with each request, so that no key stays in the cache for nothing. Time is
//! made up; what is measured is the CPU time of the thread. The hash of the client's address is
//! the door's to take, once per connection, and is taken as given here.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use admission::{Admission, Ending, LimiterSample, Line, Request, Talker, Verdict};
use anyhow::{Context, ensure};
use model::Timestamp;
use model::configuration::LimitKey;
use rustix::time::{ClockId, clock_gettime};

/// Requests that are not measured: tables fill.
const WARM_UP: u32 = 200_000;
/// Requests that are.
const REQUESTS: u32 = 2_000_000;
/// Those who send, in turn.
const CLIENTS: u32 = 1_000;
/// From one request to the next.
const GAP: Duration = Duration::from_micros(40);
/// What each takes at its server.
const SERVICE: Duration = Duration::from_millis(2);

/// Which configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The file.
    #[arg(long)]
    configuration: std::path::PathBuf,
}

/// One request of one client.
struct Asking {
    client: u32,
    key: u64,
}

impl Asking {
    fn new(number: u32) -> Self {
        let client = number % CLIENTS;
        // An odd factor spreads the numbers over all bits, as the door's hash does.
        Self { client, key: u64::from(client).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }
}

impl Request for Asking {
    fn client(&self) -> Option<usize> {
        None
    }

    fn worker(&self) -> usize {
        0
    }

    fn flow(&self) -> u64 {
        self.key
    }

    fn talker(&self) -> Talker {
        Talker::address(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | self.client)))
    }

    fn key(&self, _by: &LimitKey) -> Option<u64> {
        Some(self.key)
    }

    fn route(&self) -> usize {
        0
    }

    fn is_retry(&self) -> bool {
        false
    }

    fn bytes(&self) -> u64 {
        1_000
    }

    fn deadline(&self) -> Option<Timestamp> {
        None
    }

    fn server_free(&self) -> bool {
        true
    }
}

/// CPU microseconds per request that is let in.
pub(crate) fn measure(options: &Options) -> anyhow::Result<f64> {
    let source = settings::read(&options.configuration)?;
    let checked = settings::check(&source, &settings::Environment::detect());
    let configuration = checked
        .overridable
        .or(checked.configuration)
        .with_context(|| format!("no configuration: {:?}", checked.findings))?;
    let servers = [SocketAddr::from(([127, 0, 0, 1], 9))];
    let mut now = Timestamp::from_nanos(1_000_000_000);
    let admission = Admission::build(&configuration, 1, &[&servers], None, (now, 1));
    let mut line = Line::<()>::new(std::sync::Arc::clone(admission.gate(0)), 0);
    let mut serve = |requests: u32| {
        let mut served = 0_u32;
        for number in 0..requests {
            now = now + GAP;
            let request = Asking::new(number);
            let Verdict::Serve(pass) = admission.admit(&request, Some(&mut line), || (), now)
            else {
                continue;
            };
            let sample = LimiterSample {
                began: now,
                ended: now + SERVICE,
                in_flight: pass.in_flight(),
                ending: Ending::Answered,
            };
            black_box(admission.gate(0).record(0, &sample, 1));
            drop(pass);
            served += 1;
        }
        served
    };
    serve(WARM_UP);
    let before = cpu();
    let served = serve(REQUESTS);
    let used = cpu().saturating_sub(before);
    ensure!(served == REQUESTS, "only {served} of {REQUESTS} requests were let in");
    Ok(used.as_secs_f64() * 1e6 / f64::from(REQUESTS))
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}
