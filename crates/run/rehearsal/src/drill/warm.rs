//! Waits until the front door sends requests to every server that is to have some.
//!
//! A drill that began while a server was still unknown to the door would show the door's start,
//! not the outage. Bounded: a door that leaves a server out for good is said to do so, and the
//! drill begins all the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use model::Name;
use model::drill::{DoorBalance, DoorSetup};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// For every server to be seen.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one request.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(50);

/// The servers with a weight that answered nothing through the door at `address`.
///
/// # Errors
/// In words: nobody answered at all.
pub(crate) async fn unseen(address: SocketAddr, door: &DoorSetup) -> Result<Vec<Name>, String> {
    let wanted: BTreeSet<&str> =
        door.weights.iter().filter(|(_, weight)| *weight > 0).map(|(name, _)| &**name).collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let all = |seen: &BTreeSet<String>| wanted.iter().all(|name| seen.contains(*name));
    let rounds = async {
        let mut number = 0;
        while !all(&seen) {
            // More at once than there are servers, so that one that is chosen for being idle is not always the same.
            let mut round = JoinSet::new();
            for _ in 0..2 * wanted.len() {
                number += 1;
                round.spawn(tokio::time::timeout(TIMEOUT, ask(address, request(door, number))));
            }
            while let Some(asked) = round.join_next().await {
                seen.extend(asked.ok().and_then(Result::ok).flatten());
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    drop(tokio::time::timeout(PATIENCE, rounds).await);
    if seen.is_empty() && !wanted.is_empty() {
        return Err(format!(
            "no server answered through the front door within {} s",
            PATIENCE.as_secs()
        ));
    }
    let unseen = wanted.iter().filter(|name| !seen.contains(**name));
    Ok(unseen.map(|name| Name::from(*name)).collect())
}

/// A request that no two of have the same key, whatever the door hashes or limits by.
fn request(door: &DoorSetup, number: u32) -> Option<Request<Empty<Bytes>>> {
    let key = format!("warm-up-{number}");
    let mut request = Request::builder().uri(format!("/{key}")).header("host", "localhost");
    if let DoorBalance::HashHeader(header) = &door.balance {
        request = request.header(&**header, &key);
    }
    if let Some(header) = &door.client_header {
        request = request.header(&**header, &key);
    }
    request.body(Empty::new()).ok()
}

/// Which server answered, if one did.
async fn ask(address: SocketAddr, request: Option<Request<Empty<Bytes>>>) -> Option<String> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    let answer = async {
        let response = sender.send_request(request?).await.ok()?;
        let server = response.headers().get("x-server")?.to_str().ok()?.to_owned();
        response.into_body().collect().await.ok()?;
        Some(server)
    };
    let drive = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = drive => None,
    }
}
