//! What the door tells about one request.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use model::configuration::Class;
use model::{Name, Reason};

/// One request, when it ended. Text is as the client sent it; the format escapes it.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// When the request's first byte arrived.
    pub at: SystemTime,
    /// The client: the address that a trusted proxy named, else the peer's.
    pub client: IpAddr,
    /// The registered client that it was recognized as.
    pub client_name: Option<Name>,
    /// How important it was taken to be; absent where it did not get so far.
    pub class: Option<Class>,
    /// Who was authenticated, if the route asks for that.
    pub user: Option<String>,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The method.
    pub method: String,
    /// The host asked for, with its port if it was sent.
    pub host: Option<String>,
    /// The request target.
    pub target: String,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// The status that went to the client; 0 when none did.
    pub status: u16,
    /// Why the door answered or ended the request itself.
    pub reason: Option<Reason>,
    /// The route.
    pub route: Option<Name>,
    /// The pool.
    pub pool: Option<Name>,
    /// The server of the last attempt.
    pub server: Option<SocketAddr>,
    /// Attempts sent to servers.
    pub attempts: u32,
    /// The request's id.
    pub request_id: String,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `Referer`.
    pub referer: Option<String>,
    /// Bytes of the request's body, without head and framing.
    pub bytes_in: u64,
    /// Bytes of the response's body, without head and framing.
    pub bytes_out: u64,
    /// Where the time went.
    pub phases: Phases,
    /// The client's TLS; absent on a plain connection.
    pub tls: Option<TlsFacts>,
    /// The trace id of the request's trace context, 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The version of the configuration that served it.
    pub configuration: Name,
}

/// Where a request's time went; each absent where the request did not get so far. Connect and
/// first byte are those of the last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// From the first byte of the head to its end.
    pub head: Option<Duration>,
    /// In the queue of its pool, until it was served or given up.
    pub waited: Option<Duration>,
    /// To choose a server, with any wait for one.
    pub pick: Option<Duration>,
    /// To open a connection to the server; absent when an idle one was used.
    pub connect: Option<Duration>,
    /// From the attempt's start to the first byte of the response.
    pub first_byte: Option<Duration>,
    /// From the request's first byte to the last byte of the response.
    pub total: Duration,
}

/// The TLS of a client connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The server name the client asked for.
    pub server_name: Option<String>,
    /// The first name in the certificate that the client showed, or else its subject.
    pub client: Option<String>,
}
