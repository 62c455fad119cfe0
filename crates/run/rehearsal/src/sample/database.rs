//! The connections of a sample application to its database, and what it asks.
//!
//! A query truly works: it reads up to 2,000 rows of the table `orders` for each millisecond it
//! is to take (which costs the database about a third of that time in CPU), sums them up, and
//! sleeps for what is left of its time. On a busy database it therefore takes longer.
//! Invariant: connections, waits and query times are bounded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::sample::SampleSettings;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};

use super::gate::Gate;

/// For a free connection.
const PLACE_TIMEOUT: Duration = Duration::from_secs(5);
/// For a new connection to be usable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The database gives up a query itself after this time, with SQLSTATE 57014.
const STATEMENT_TIMEOUT_MS: u64 = 30_000;
/// For an answer: a network that lost it does not say so.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(STATEMENT_TIMEOUT_MS + 5_000);
/// Rows read for each millisecond of a query.
const ROWS_PER_MS: f64 = 2_000.0;

/// SQLSTATE of class 08, which a client gives itself: no connection could be made.
const NOT_CONNECTED: &str = "08001";
/// As above: the connection was lost, or did not answer.
const LOST: &str = "08006";

/// Its clock is the database's, so the wait for a connection is not part of a query's time.
const QUERY: &str = "SELECT count(*), sum(amount_cents), max(amount_cents), \
     pg_sleep(greatest(0, $1 - extract(epoch FROM clock_timestamp() - statement_timestamp())::float8)) \
     FROM (SELECT amount_cents FROM orders LIMIT $2) AS seen";

/// Why a request's queries did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueryError {
    /// Routes with queries need the setting `database`.
    NotSet,
    /// No connection was free in time.
    NoPlace,
    /// The database refused or failed it, or is not there.
    Failed {
        /// Five characters.
        sqlstate: String,
        why: String,
    },
}

impl QueryError {
    fn of(error: &tokio_postgres::Error, otherwise: &str) -> Self {
        let sqlstate = error.code().map_or(otherwise, |code| code.code()).to_owned();
        let why = error
            .as_db_error()
            .map_or_else(|| error.to_string(), |error| error.message().to_owned());
        Self::Failed { sqlstate, why }
    }

    fn late(sqlstate: &str, why: &str) -> Self {
        Self::Failed { sqlstate: sqlstate.to_owned(), why: why.to_owned() }
    }
}

/// A connection; dropped, it is closed.
#[derive(Debug)]
struct Connection {
    client: Client,
    /// Moves its bytes.
    _driver: JoinSet<()>,
}

/// Connections that are free, all to the same database.
#[derive(Debug, Default)]
struct Idle {
    url: String,
    connections: Vec<Connection>,
}

/// What a sample application knows about its database.
#[derive(Debug)]
pub(super) struct Database {
    places: Gate,
    idle: Mutex<Idle>,
    attempts: AtomicU64,
    failures: AtomicU64,
}

impl Database {
    pub(super) fn new(connections_max: usize) -> Self {
        Self {
            places: Gate::new(connections_max),
            idle: Mutex::default(),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) fn set_limit(&self, connections_max: usize) {
        self.places.set_limit(connections_max);
    }

    /// Queries that were tried.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Those of them that failed.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// One request's queries, one after the other: over one connection of the pool, or each over its own.
    pub(super) async fn ask(
        &self,
        settings: &SampleSettings,
        queries: u32,
        query_ms: f64,
    ) -> Result<(), QueryError> {
        let url = settings.database.as_deref().ok_or(QueryError::NotSet)?;
        if settings.database_connect_each {
            for _ in 0..queries {
                self.counted(async {
                    let connection = connect(url, settings).await?;
                    query(&connection.client, query_ms).await
                })
                .await?;
            }
            return Ok(());
        }
        let Ok(Some(_place)) = timeout(PLACE_TIMEOUT, self.places.enter(usize::MAX)).await else {
            return Err(QueryError::NoPlace);
        };
        let mut taken = self.take(url);
        for _ in 0..queries {
            self.counted(async {
                let connection = match taken.take() {
                    Some(connection) => connection,
                    None => connect(url, settings).await?,
                };
                let answer = query(&connection.client, query_ms).await;
                // One that failed may be in any state; the next query gets another.
                if answer.is_ok() {
                    taken = Some(connection);
                }
                answer
            })
            .await?;
        }
        if let Some(connection) = taken {
            self.give_back(url, connection);
        }
        Ok(())
    }

    async fn counted(
        &self,
        attempt: impl Future<Output = Result<(), QueryError>>,
    ) -> Result<(), QueryError> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let outcome = attempt.await;
        if outcome.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn take(&self, url: &str) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.url != url {
            *idle = Idle { url: url.to_owned(), connections: Vec::new() };
        }
        idle.connections.retain(|connection| !connection.client.is_closed());
        idle.connections.pop()
    }

    /// Keeps a connection for the next request; there are never more than places.
    fn give_back(&self, url: &str, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.url == url {
            idle.connections.push(connection);
        }
    }
}

async fn connect(url: &str, settings: &SampleSettings) -> Result<Connection, QueryError> {
    let mut config: Config = url.parse().map_err(|error| QueryError::of(&error, NOT_CONNECTED))?;
    config.application_name(&settings.name);
    config.options(format!("-c statement_timeout={STATEMENT_TIMEOUT_MS}"));
    let connected = timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await;
    let (client, connection) = connected
        .map_err(|late| QueryError::late(NOT_CONNECTED, &late.to_string()))?
        .map_err(|error| QueryError::of(&error, NOT_CONNECTED))?;
    let mut driver = JoinSet::new();
    // Its errors reach the query that waits.
    driver.spawn(async move { drop(connection.await) });
    Ok(Connection { client, _driver: driver })
}

async fn query(client: &Client, query_ms: f64) -> Result<(), QueryError> {
    let (seconds, rows) = (query_ms / 1_000.0, rows(query_ms));
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&seconds, Type::FLOAT8), (&rows, Type::INT8)];
    match timeout(ANSWER_TIMEOUT, client.query_typed(QUERY, &parameters)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(QueryError::of(&error, LOST)),
        Err(late) => Err(QueryError::late(LOST, &late.to_string())),
    }
}

/// How many rows a query reads, at least one.
fn rows(query_ms: f64) -> i64 {
    // The product is at most 10,000 ms x 2,000.
    let micros = Duration::try_from_secs_f64(query_ms * ROWS_PER_MS / 1e6).unwrap_or_default();
    i64::try_from(micros.as_micros()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn longer_queries_read_more_rows() {
        for (query_ms, expected) in [(0.0, 1), (0.5, 1_000), (20.0, 40_000), (10_000.0, 20_000_000)]
        {
            assert_eq!(super::rows(query_ms), expected);
        }
    }
}
