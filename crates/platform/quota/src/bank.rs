//! The server that holds the shared rates: one connection, one script, bounded calls.

use std::time::Duration;

use model::configuration::{Rate, SharedQuotas};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script, cmd};
use tokio::time::{Instant, timeout};

use crate::doors::COUNTED;

/// Connecting takes several answers: greeting, password, database.
const CONNECT_ANSWERS: u32 = 4;
/// The start of 2023: from then on the script counts, in seconds of the server's clock.
const EPOCH: u64 = 1_672_531_200;

/// A question: charge some requests, and lease some more tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// What is counted together; the same in all doors.
    pub key: String,
    /// The rate of all doors together.
    pub rate: Rate,
    /// Requests at once, at least 1.
    pub burst: u32,
    /// Requests to charge whatever is left; below zero, tokens that come back.
    pub charge: i32,
    /// Tokens wanted.
    pub tokens: u32,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Tokens leased, 0 to what was wanted.
    pub tokens: u32,
    /// Where none are: how long until there is one.
    pub wait: Duration,
}

/// Why the server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// The configured address cannot be used.
    #[error("the address of the server cannot be used")]
    Address(#[source] RedisError),
    /// It did not answer in time.
    #[error("the server did not answer within {0:?}")]
    Late(Duration),
    /// It refused, or the connection broke.
    #[error("the server: {0}")]
    Server(RedisError),
    /// It answered something else than was asked.
    #[error("the server answered {0} numbers where {1} were asked for")]
    Answer(usize, usize),
}

/// An open connection.
pub(crate) struct Bank {
    connection: MultiplexedConnection,
    script: Script,
    /// Before each key; in braces, so that a cluster keeps all keys in one place.
    prefix: String,
    door: String,
    timeout: Duration,
    /// What the server's clock showed (us, since 2023), and when it was asked: it is this or a
    /// little later there.
    clock: (f64, Instant),
}

impl Bank {
    pub(crate) async fn open(settings: &SharedQuotas, door: &str) -> Result<Self, QuotaError> {
        let client = Client::open(&*settings.url).map_err(QuotaError::Address)?;
        // The time is kept here, over all of a call.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let patience = settings.timeout * CONNECT_ANSWERS;
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = answered(patience, opening).await?;
        let asked = Instant::now();
        let time = cmd("TIME");
        let time = time.query_async::<(u64, u64)>(&mut connection);
        let (seconds, rest) = answered(settings.timeout, time).await?;
        let clock = seconds.saturating_sub(EPOCH) as f64 * 1e6 + rest as f64;
        Ok(Self {
            connection,
            clock: (clock, asked),
            script: Script::new(include_str!("bank.lua")),
            prefix: format!("{{{}}}:", settings.name),
            door: door.to_owned(),
            timeout: settings.timeout,
        })
    }

    /// Says that this door is there and asks all of `wants` in one call: how many doors there
    /// are, and the grants in the order of `wants`. Of `believed` doors those that do not ask
    /// are left their part. A server that comes to it too late does nothing.
    pub(crate) async fn ask(
        &mut self,
        believed: u32,
        wants: &[Want],
    ) -> Result<(u32, Vec<Grant>), QuotaError> {
        let mut call = self.script.prepare_invoke();
        call.key(format!("{}doors", self.prefix));
        let (clock, asked) = (self.clock, Instant::now());
        let latest = clock.0 + micros(asked - clock.1) + micros(self.timeout);
        call.arg(&self.door).arg(micros(COUNTED)).arg(believed).arg(latest);
        for want in wants {
            call.key(format!("{}{}", self.prefix, want.key));
            call.arg(micros(want.rate.per) / f64::from(want.rate.count.max(1)));
            call.arg(want.burst).arg(want.charge).arg(want.tokens);
        }
        let answer = call.invoke_async::<Vec<u64>>(&mut self.connection);
        let answer = answered(self.timeout, answer).await?;
        let expected = 2 + 2 * wants.len();
        let [time, doors, grants @ ..] = &*answer else {
            // By its clock it is too late, and it did nothing.
            return Err(QuotaError::Late(self.timeout));
        };
        if answer.len() != expected {
            return Err(QuotaError::Answer(answer.len(), expected));
        }
        let grant = |(pair, want): (&[u64], &Want)| Grant {
            tokens: u32::try_from(pair[0]).unwrap_or(0).min(want.tokens),
            wait: Duration::from_micros(pair[1]),
        };
        self.clock = (*time as f64, asked);
        let doors = u32::try_from(*doors).unwrap_or(u32::MAX);
        Ok((doors, grants.chunks_exact(2).zip(wants).map(grant).collect()))
    }
}

/// What comes within this time.
async fn answered<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, QuotaError> {
    match timeout(patience, answer).await {
        Ok(answer) => answer.map_err(QuotaError::Server),
        Err(_elapsed) => Err(QuotaError::Late(patience)),
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
