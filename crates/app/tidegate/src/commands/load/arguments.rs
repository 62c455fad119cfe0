//! What may be said on the command line of `tidegate load`, and how its values are read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use model::load::{IN_FLIGHT_MAX, RATE_MAX, Stage};

use crate::cli::parse_duration;

#[derive(Debug, Args)]
#[command(
    after_help = "Latency counts from when a request was due, so that a stall shows in full.\n\
A run whose own lateness or drops exceed 1 % is generator-bound and never passes.\n\
Exit codes: 0 passed, 1 generator-bound or nothing answered, 2 usage, 3 a threshold was breached."
)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,

    #[command(flatten)]
    pub(super) arrivals: ArrivalArguments,

    #[command(flatten)]
    pub(super) asked: AskedArguments,

    /// Further tries of a client whose request failed, 0 to 10
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10), conflicts_with = "plan")]
    pub(super) retries: u32,

    /// Mean pause before the first retry, doubling with jitter; without it clients retry at once
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "retries")]
    pub(super) back_off: Option<Duration>,

    /// Try again no sooner than the Retry-After of a 429 or 503 says; sessions then repeat what was refused
    #[arg(long, requires = "retries")]
    pub(super) respect_retry_after: bool,

    /// Count good answers that came within this time from when they were due (goodput)
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Result")]
    pub(super) objective: Option<Duration>,

    /// Fail the run (exit code 3) when this is true of its result: 'p99 > 200ms', 'max > 2s', 'errors > 1%', 'success < 99%', 'share(a) > 60%', 'rate < 900/s', 'status(5xx) > 0'
    #[arg(long, value_name = "EXPR", help_heading = "Result")]
    pub(super) fail_if: Vec<String>,

    /// Print the result as JSON
    #[arg(long, help_heading = "Result")]
    pub(super) json: bool,

    /// Write the result as one self-contained HTML page
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) html: Option<PathBuf>,

    /// Write the thresholds as JUnit XML
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) junit: Option<PathBuf>,
}

/// When requests are due.
#[derive(Debug, Args)]
#[command(next_help_heading = "When requests are due")]
pub(super) struct ArrivalArguments {
    /// Requests per second, whatever comes back (500/s, 90/m)
    #[arg(long, value_name = "RATE", value_parser = parse_rate, default_value = "10/s", conflicts_with_all = ["stage", "users", "sessions", "replay", "plan"])]
    pub(super) rate: f64,

    /// A rate for a time, or a ramp between two; one after the other (100/s:10s, 100/s..1000/s:30s)
    #[arg(long, value_name = "STAGE", value_parser = parse_stage, conflicts_with_all = ["duration", "users", "sessions", "replay", "plan"])]
    pub(super) stage: Vec<Stage>,

    /// How long requests become due
    #[arg(long = "for", id = "duration", value_name = "TIME", value_parser = parse_duration, conflicts_with = "plan")]
    pub(super) duration: Option<Duration>,

    /// Space the requests as a Poisson process instead of evenly
    #[arg(long, conflicts_with_all = ["users", "sessions", "replay", "plan"])]
    pub(super) poisson: bool,

    /// Users at once, who each wait for the answer before they ask again
    #[arg(long, value_name = "N", value_parser = count, conflicts_with_all = ["sessions", "replay", "plan"])]
    pub(super) users: Option<usize>,

    /// Mean pause of a user between an answer and the next request
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0ms", requires = "users")]
    pub(super) think: Duration,

    /// Connections that are opened and held, as browsers do
    #[arg(long, value_name = "N", value_parser = count, conflicts_with_all = ["replay", "plan"])]
    pub(super) sessions: Option<usize>,

    /// How often each session asks; without it once, when it was opened
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "sessions")]
    pub(super) ask_every: Option<Duration>,

    /// The time over which sessions are opened
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1s", requires = "sessions")]
    pub(super) opening: Duration,

    /// What a session does when its connection was lost
    #[arg(long, value_name = "HOW", default_value = "back-off", requires = "sessions")]
    pub(super) reconnect: ReconnectName,

    /// Ask again what this access log says, with its timing: CLF, combined, or JSON lines (tidegate, ECS, nginx, Caddy)
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    pub(super) replay: Option<PathBuf>,

    /// How much faster the log is replayed, 0.01 to 1000
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_speed, requires = "replay")]
    pub(super) speed: f64,

    /// Also replay methods that may change something, such as POST, without their bodies
    #[arg(long, requires = "replay")]
    pub(super) replay_any_method: bool,

    /// Several kinds of clients at once: a file of [load.NAME] tables
    #[arg(long, value_name = "FILE", conflicts_with_all = ["AskedArguments", "think", "ask_every", "opening", "reconnect", "speed", "replay_any_method", "back_off", "respect_retry_after"])]
    pub(super) plan: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ReconnectName {
    /// Nothing more
    Never,
    /// Connects again at once
    AtOnce,
    /// Waits a random time that doubles
    BackOff,
}

/// Whom the load is for, and how it is carried.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(super) struct TargetArguments {
    /// Where to send it: http://HOST:PORT/PATH or https://
    #[arg(value_name = "URL", help_heading = "Arguments")]
    pub(super) url: String,

    /// Allow a target outside this machine and its private networks; HOST must be the URL's host
    #[arg(long, value_name = "HOST")]
    pub(super) yes_i_may_load_this_host: Option<String>,

    /// PEM file of the roots that are trusted instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,

    /// Accept any certificate
    #[arg(long, conflicts_with = "ca")]
    pub(super) insecure: bool,

    /// The header of an answer that names the server
    #[arg(long, value_name = "NAME", default_value = "x-server")]
    pub(super) server_header: String,

    /// Threads of the generator, 1 to 64; one carries some 25,000 requests a second
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) threads: u8,

    /// What every random choice follows from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
}

/// What is asked, and by whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is asked")]
pub(super) struct AskedArguments {
    /// Ask this instead of the URL's path: METHOD PATH [WEIGHT]; several are drawn by weight
    #[arg(long, value_name = "REQUEST")]
    pub(super) request: Vec<String>,

    /// A header field of every request: 'Name: value'
    #[arg(long, value_name = "FIELD")]
    pub(super) header: Vec<String>,

    /// The body of every request, as text or as @FILE; the method is then POST unless --request says otherwise
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(super) body: Option<String>,

    /// Speak HTTP/2: by ALPN over https://, by prior knowledge over http://
    #[arg(long)]
    pub(super) http2: bool,

    /// Speak gRPC over HTTP/2: the URL's path is /package.Service/Method, --message or --body the message
    #[arg(long, conflicts_with = "http2")]
    pub(super) grpc: bool,

    /// Requests at once on one connection of HTTP/2 or gRPC
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) streams: u16,

    /// The message of every gRPC request as hex:0a05... or base64:CgU...; without it an empty one
    #[arg(long, value_name = "BYTES", requires = "grpc", conflicts_with = "body", value_parser = message)]
    pub(super) message: Option<Bytes>,

    /// Different keys that {key} in a path or header stands for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) keys: u32,

    /// The share of the requests that name the same key, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(super) hot_share: f64,

    /// Different clients, who take turns
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) clients: u32,

    /// The header that says which client it is
    #[arg(long, value_name = "NAME")]
    pub(super) key_header: Option<String>,

    /// The value of that header; {client} stands for the client's number
    #[arg(long, value_name = "TEXT", default_value = "{client}", requires = "key_header")]
    pub(super) key: String,

    /// Addresses that clients connect from: a network inside 127.0.0.0/8
    #[arg(long, value_name = "NET")]
    pub(super) sources: Option<IpNet>,

    /// A new connection for each request
    #[arg(long)]
    pub(super) no_keep_alive: bool,

    /// For one try, from when it was due to the last byte of its answer
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    pub(super) timeout: Duration,

    /// Requests under way at once; those due beyond are dropped and counted
    #[arg(long, value_name = "N", value_parser = count, default_value = "10000")]
    pub(super) in_flight_max: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Doubles the rate until a step fails, then halves the distance, and repeats both edges.\n\
A step holds when its p99, its failures (5xx, 429, timeouts, lost connections) and its throughput do.\n\
Exit codes: 0 found, 1 generator-bound, nothing held, or not confirmed, 2 usage."
)]
pub(super) struct CapacityArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,

    #[command(flatten)]
    pub(super) search: SearchArguments,

    #[command(flatten)]
    pub(super) asked: AskedArguments,

    /// Print the result as JSON
    #[arg(long, help_heading = "Result")]
    pub(super) json: bool,

    /// Write the capacity as a JSON document that checks and admission read
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) write: Option<PathBuf>,

    /// The pool of the configuration that the target stands for
    #[arg(long, value_name = "NAME", requires = "write", help_heading = "Result")]
    pub(super) pool: Option<String>,
}

/// How the capacity is looked for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Search")]
pub(super) struct SearchArguments {
    /// The first rate
    #[arg(long, value_name = "RATE", value_parser = parse_rate, default_value = "10/s")]
    pub(super) from: f64,

    /// The highest rate that is tried
    #[arg(long, value_name = "RATE", value_parser = parse_rate, default_value = "50000/s")]
    pub(super) to: f64,

    /// How long each step lasts, 1s to 10m, in whole seconds; longer than an answer takes
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "3s")]
    pub(super) step: Duration,

    /// The highest p99 that holds; by default 4 times that of the first step, and at least 50ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) p99: Option<Duration>,

    /// The highest share of failed requests that holds
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "0.1%")]
    pub(super) failed: f64,

    /// How close the edges of the result come
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "5%")]
    pub(super) band: f64,

    /// Space the requests as a Poisson process instead of evenly
    #[arg(long)]
    pub(super) poisson: bool,
}

/// Bytes that one argument stands for; an alias, since the parser takes a `Vec` for many arguments.
pub(super) type Bytes = Vec<u8>;

fn message(text: &str) -> Result<Bytes, String> {
    settings::message_bytes(text)
}

/// `500/s`, `90/m`, or a number of requests per second.
pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, per) = match text.split_once('/') {
        Some((number, "s")) => (number, 1.0),
        Some((number, "m")) => (number, 60.0),
        None => (text, 1.0),
        Some(_) => return Err("expected a rate such as 500/s or 90/m".to_owned()),
    };
    match number.trim().parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate / per <= RATE_MAX => Ok(rate / per),
        Ok(_) => Err("a rate is above 0 and at most 1000000/s".to_owned()),
        Err(_) => Err("expected a rate such as 500/s or 90/m".to_owned()),
    }
}

/// `100/s:10s` or `100/s..1000/s:30s`; a ramp may begin or end at 0.
fn parse_stage(text: &str) -> Result<Stage, String> {
    let wrong = "expected RATE:TIME or RATE..RATE:TIME, such as 100/s..1000/s:30s";
    let (rates, time) = text.split_once(':').ok_or(wrong)?;
    let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
    let rate = |text: &str| match text {
        "0" | "0/s" => Ok(0.0),
        text => parse_rate(text),
    };
    let duration = parse_duration(time)?;
    if duration.is_zero() {
        return Err("a stage lasts longer than nothing".to_owned());
    }
    Ok(Stage { from_per_second: rate(from)?, to_per_second: rate(to)?, duration })
}

/// `0.1%`, as a share of 0 to 1.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        Some(_) | None => Err("expected a percentage such as 0.1%".to_owned()),
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
    speed
        .filter(|speed| (0.01..=1_000.0).contains(speed))
        .ok_or_else(|| "expected a factor of 0.01 to 1000".to_owned())
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=IN_FLIGHT_MAX).contains(number));
    number.ok_or_else(|| format!("expected 1 to {IN_FLIGHT_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_stages() {
        assert_eq!(parse_rate("500/s"), Ok(500.0));
        assert_eq!(parse_rate("90/m"), Ok(1.5));
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for wrong in ["", "0/s", "-1/s", "1/h", "2000000/s", "nan", "x/s", "inf/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
        let stage = |from, to, seconds| {
            let duration = Duration::from_secs(seconds);
            Ok(Stage { from_per_second: from, to_per_second: to, duration })
        };
        assert_eq!(parse_stage("100/s:10s"), stage(100.0, 100.0, 10));
        assert_eq!(parse_stage("0..1000/s:30s"), stage(0.0, 1_000.0, 30));
        for wrong in ["", "100/s", "100/s:", "1..2..3:1s", "100/s:0s", ":1s"] {
            assert!(parse_stage(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_and_factors() {
        assert_eq!(parse_percent("0.1%"), Ok(0.001));
        assert_eq!(parse_speed("2.0"), Ok(2.0));
        assert_eq!(parse_speed("0.5x"), Ok(0.5));
        for wrong in ["", "1", "101%", "-1%", "%"] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "x", "1001", "nan"] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
        assert!(count("0").is_err() && count("18001").is_err() && count("18000") == Ok(18_000));
    }
}
