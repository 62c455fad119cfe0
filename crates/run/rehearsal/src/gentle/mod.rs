//! A gentle, open-loop load over keep-alive connections against one address.
//!
//! Open loop: requests are due at a fixed rate whether or not earlier ones were answered, and a
//! latency is counted from when its request was due, so that a stall shows in full.
//! Invariant: at most `in_flight_max` requests are under way; those due beyond are counted as
//! skipped, never queued.

mod tally;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

pub use tally::{Ending, Seen, Tally};

/// What is asked, how often.
#[derive(Clone, Debug)]
pub struct Gentle {
    /// Where to connect.
    pub address: SocketAddr,
    /// The path of each request, as it goes on the wire.
    pub path: String,
    /// Requests per second, 1 to 1,000.
    pub rate_per_second: u32,
    /// Requests under way at once, at least 1.
    pub in_flight_max: usize,
    /// For one request.
    pub timeout: Duration,
}

/// Sends the load until `stop` ends, then lets the requests under way end (at most one timeout).
pub async fn run(gentle: Gentle, tally: Arc<Tally>, stop: impl Future<Output = ()>) {
    let period = Duration::from_secs(1) / gentle.rate_per_second.clamp(1, 1_000);
    let mut due = tokio::time::interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let client = Arc::new(Client {
        gentle,
        idle: Mutex::new(Vec::new()),
        drivers: Mutex::new(JoinSet::new()),
    });
    let mut requests = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            due_at = due.tick() => {
                if requests.len() >= client.gentle.in_flight_max {
                    tally.skip();
                } else {
                    tally.begin();
                    requests.spawn(one(Arc::clone(&client), Arc::clone(&tally), due_at));
                }
            }
            Some(ended) = requests.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a request of the load failed");
            },
        }
    }
    while requests.join_next().await.is_some() {}
}

type Sender = SendRequest<Empty<Bytes>>;

/// The connections of one load.
struct Client {
    gentle: Gentle,
    idle: Mutex<Vec<Sender>>,
    drivers: Mutex<JoinSet<()>>,
}

async fn one(client: Arc<Client>, tally: Arc<Tally>, due_at: Instant) {
    let ending = match tokio::time::timeout(client.gentle.timeout, client.ask()).await {
        Ok(Ok(ending)) => ending,
        Ok(Err(cause)) => Ending::Failure(cause),
        Err(_) => Ending::Failure("timeout".to_owned()),
    };
    tally.end(&ending, due_at.elapsed());
}

impl Client {
    /// One request. A connection that was closed while idle is no failure: the request was not
    /// sent, and goes out again on a fresh one.
    async fn ask(&self) -> Result<Ending, String> {
        while let Some(mut sender) = self.idle_sender() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(self.request()?).await {
                Ok(response) => return self.read(sender, response).await,
                Err(mut error) => match error.take_message() {
                    Some(_) => {}
                    None => return Err(because("connection lost")(error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response =
            sender.send_request(self.request()?).await.map_err(because("connection lost"))?;
        self.read(sender, response).await
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let request = Request::builder()
            .uri(&self.gentle.path)
            .header("host", self.gentle.address.to_string())
            .header("user-agent", "tidegate-rehearsal");
        request.body(Empty::new()).map_err(because("the path is not valid"))
    }

    async fn read(
        &self,
        sender: Sender,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<Ending, String> {
        let status = response.status().as_u16();
        let server = response
            .headers()
            .get("x-server")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.map_err(because("answer cut short"))?;
        }
        if !sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        Ok(Ending::Answer { server, status })
    }

    fn idle_sender(&self) -> Option<Sender> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn connect(&self) -> Result<Sender, String> {
        let stream =
            TcpStream::connect(self.gentle.address).await.map_err(because("connect failed"))?;
        stream.set_nodelay(true).map_err(because("connect failed"))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(because("connect failed"))?;
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        while drivers.try_join_next().is_some() {}
        // The connection's error reaches the request that meets it.
        drivers.spawn(async { drop(connection.await) });
        Ok(sender)
    }
}

/// A cause with its error, for the table of failures.
fn because<E: std::fmt::Display>(cause: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{cause}: {error}")
}
