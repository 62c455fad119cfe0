//! Asks each server, again and again, whether it is well.
//!
//! Only the asking is here; what an answer means for a server's state is decided by
//! `balancing`. Checks run on the control runtime, so a busy worker delays none of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_wire::{Framing, HeadLimits, HeadScanner, Method, ResponseHead, write_proxy_header};
use model::Name;
use model::configuration::{Check, CheckKind, ProxyVersion, ServerProtocol};
use net::clock;
use net::socket::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::live::Live;
use crate::upstream::UpstreamTls;
use crate::worker::ServerChange;

mod http2;

/// How much of a response a check reads.
const RESPONSE_BYTES_MAX: u64 = 64 * 1024;

/// The running checks of one [`Live`]; they end when this is dropped.
#[derive(Debug)]
pub struct Checks {
    _tasks: JoinSet<()>,
}

/// One server to be checked.
struct Target {
    live: Arc<Live>,
    pool: usize,
    server: usize,
    changes: mpsc::Sender<ServerChange>,
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("no answer in time")]
    Timeout,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the server's name is not a valid TLS name")]
    Name,
    #[error("the answer is not HTTP")]
    NotHttp,
    #[error("status {0} is not expected")]
    Status(u16),
    #[error("the body does not contain the expected text")]
    Body,
    #[error("HTTP/2 failed")]
    Http2(#[from] h2::Error),
    #[error("the server did not choose HTTP/2 (ALPN `h2`)")]
    NotHttp2,
    #[error("the service is not serving")]
    NotServing,
    #[error("the server's health service does not know this service")]
    UnknownService,
    #[error("the server has no `grpc.health.v1.Health` service")]
    NoHealthService,
    #[error("the health service failed")]
    Grpc,
}

impl Checks {
    /// Checks every server of every pool that wants it, at once and then at its interval.
    /// Must be called on a tokio runtime.
    #[must_use]
    pub fn start(live: &Arc<Live>, changes: &mpsc::Sender<ServerChange>) -> Self {
        Self::watch(targets(live, changes))
    }

    /// Like [`Checks::start`], but only for servers that are not there `before`: those of a
    /// candidate, beside the checks of what is live.
    #[must_use]
    pub fn start_new(
        live: &Arc<Live>,
        before: &Live,
        changes: &mpsc::Sender<ServerChange>,
    ) -> Self {
        Self::watch(new_targets(live, Some(before), changes))
    }

    fn watch(targets: Vec<Target>) -> Self {
        let mut tasks = JoinSet::new();
        for target in targets {
            tasks.spawn(target.watch());
        }
        Self { _tasks: tasks }
    }
}

/// Checks every server once that was not there `before`, and waits for the answers, no longer
/// than the longest timeout: a new server is down until its first check passes.
pub async fn first_round(
    live: &Arc<Live>,
    before: Option<&Live>,
    changes: &mpsc::Sender<ServerChange>,
) {
    let mut tasks = JoinSet::new();
    for target in new_targets(live, before, changes) {
        tasks.spawn(async move {
            target.once().await;
        });
    }
    drop(tasks.join_all().await);
}

fn new_targets(
    live: &Arc<Live>,
    before: Option<&Live>,
    changes: &mpsc::Sender<ServerChange>,
) -> Vec<Target> {
    let (_, known) = before.map(Live::names).unwrap_or_default();
    targets(live, changes).into_iter().filter(|target| !known.contains(&target.key())).collect()
}

fn targets(live: &Arc<Live>, changes: &mpsc::Sender<ServerChange>) -> Vec<Target> {
    let pools = live.configuration().pools.iter().enumerate();
    pools
        .filter(|(_, settings)| settings.check.is_some())
        .flat_map(|(pool, _)| (0..live.members(pool).len()).map(move |server| (pool, server)))
        .map(|(pool, server)| Target {
            live: Arc::clone(live),
            pool,
            server,
            changes: changes.clone(),
        })
        .collect()
}

impl Target {
    /// The pool's name and the server's address.
    fn key(&self) -> (Name, SocketAddr) {
        let name = self.live.configuration().pools[self.pool].name.clone();
        (name, self.live.members(self.pool)[self.server].address)
    }

    async fn watch(self) {
        let Some(check) = &self.live.configuration().pools[self.pool].check else { return };
        let mut interval = jittered(check.interval);
        // After a reload or a DNS change known servers keep their rhythm.
        tokio::time::sleep(interval.mul_f64(fastrand::f64())).await;
        loop {
            self.once().await;
            interval = jittered(check.interval).max(Duration::from_millis(10));
            tokio::time::sleep(interval).await;
        }
    }

    async fn once(&self) {
        let settings = &self.live.configuration().pools[self.pool];
        let Some(check) = &settings.check else { return };
        let member = &self.live.members(self.pool)[self.server];
        let tls = self.live.pools[self.pool].tls.as_ref().map(|tls| (tls, member.name.as_ref()));
        let over = (settings.protocol, tls);
        let asked = async {
            let tcp = connect(member.address, settings.proxy_protocol).await?;
            ask((tcp, member.address), check, over).await
        };
        let asked = tokio::time::timeout(check.timeout, asked);
        let result = asked.await.unwrap_or(Err(CheckError::Timeout));
        if let Err(error) = &result {
            tracing::debug!(pool = %settings.name, server = %member.address, %error, "check failed");
        }
        let pool = self.live.pool(self.pool);
        if let Some(change) = pool.report_check(self.server, result.is_ok(), clock::now()) {
            // A full channel means that thousands of changes wait to be told already.
            drop(self.changes.try_send(ServerChange { pool: settings.name.clone(), change }));
        }
    }
}

fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// A connection to the server. One that expects to be told whose it is hears that it is the door's
/// own.
async fn connect(address: SocketAddr, proxy: Option<ProxyVersion>) -> io::Result<TcpStream> {
    let mut tcp = Stream::connect(address).await?;
    if let Some(version) = proxy {
        let mut header = Vec::new();
        write_proxy_header(&mut header, version, None);
        tcp.write_all(&header).await?;
    }
    Ok(tcp)
}

async fn ask(
    (tcp, address): (TcpStream, SocketAddr),
    check: &Check,
    (protocol, tls): (ServerProtocol, Option<(&UpstreamTls, Option<&Name>)>),
) -> Result<(), CheckError> {
    if check.kind == CheckKind::Tcp {
        return Ok(());
    }
    let Some((tls, name)) = tls else {
        return ask_on(tcp, check, ("http", address, protocol)).await;
    };
    let name = tls.name_of(address, name).map_err(|_invalid| CheckError::Name)?;
    let stream = Box::pin(tls.connector.connect(name, tcp)).await?;
    if protocol == ServerProtocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(CheckError::NotHttp2);
    }
    ask_on(stream, check, ("https", address, protocol)).await
}

/// Asks on a connection that stands.
async fn ask_on(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    check: &Check,
    (scheme, address, protocol): (&str, SocketAddr, ServerProtocol),
) -> Result<(), CheckError> {
    let (path, host, status, body) = match &check.kind {
        CheckKind::Tcp => return Ok(()),
        CheckKind::Grpc { service } => {
            let (host, service) = (address.to_string(), service.as_deref().unwrap_or_default());
            return Box::pin(http2::grpc_health(stream, (scheme, &host), service)).await;
        }
        CheckKind::Http { path, host, status, body } => (path, host, status, body),
    };
    let host = host.as_deref().map_or_else(|| address.to_string(), str::to_owned);
    let (found, text) = match protocol {
        ServerProtocol::Http2 => Box::pin(http2::get(stream, (scheme, &host, path))).await?,
        ServerProtocol::Http1 | ServerProtocol::Tcp => {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: tidegate-check\r\n\
                 accept: */*\r\nconnection: close\r\n\r\n"
            );
            exchange(stream, &request, body.is_some()).await?
        }
    };
    if !status.iter().any(|(first, last)| (*first..=*last).contains(&found)) {
        return Err(CheckError::Status(found));
    }
    match body {
        Some(wanted) if memchr::memmem::find(&text, wanted.as_bytes()).is_none() => {
            Err(CheckError::Body)
        }
        _ => Ok(()),
    }
}

/// Sends the request; the status and, when wanted, what was read of the body.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
    wants_body: bool,
) -> Result<(u16, Vec<u8>), CheckError> {
    stream.write_all(request.as_bytes()).await?;
    let limits = HeadLimits { bytes_max: 32 * 1024, headers_max: 200, target_bytes_max: 0 };
    let mut scanner = HeadScanner::default();
    let mut bytes = Vec::with_capacity(4096);
    let mut limited = stream.take(RESPONSE_BYTES_MAX);
    let length = loop {
        match scanner.scan(&bytes, &limits).map_err(|_reason| CheckError::NotHttp)? {
            Some(length) => break length,
            None if limited.read_buf(&mut bytes).await? == 0 => return Err(CheckError::NotHttp),
            None => {}
        }
    };
    let mut head = ResponseHead::default();
    let parsed = head.parse(bytes.get(..length).unwrap_or_default(), &limits, Method::Get);
    parsed.map_err(|_reason| CheckError::NotHttp)?;
    if wants_body {
        // `connection: close` was asked for, so the body ends with the connection at the latest;
        // a length that was announced ends it sooner.
        let wanted = match head.framing {
            Framing::Length(body) => length + usize::try_from(body).unwrap_or(usize::MAX / 2),
            Framing::None => length,
            Framing::Chunked | Framing::Close => usize::MAX,
        };
        while bytes.len() < wanted && limited.read_buf(&mut bytes).await? > 0 {}
    }
    Ok((head.status, bytes.split_off(length)))
}
