//! The same server for HTTP/2: one thread, one runtime, and each target is a behaviour.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use model::configuration::{CertificateFiles, ListenerTls, TlsVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsAcceptor;

/// One request that came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The number of its connection, from 1.
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    pub(super) fields: HeaderMap,
}

type Seen = Arc<Mutex<Vec<Asked>>>;

/// How the server is different.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// Requests at once that it allows on a connection.
    pub(super) streams_max: Option<u32>,
    /// Over TLS, with this protocol.
    pub(super) tls: Option<&'static [u8]>,
    /// Its first connection answers one request and leaves the others undone, in good order.
    pub(super) leaves_first: bool,
}

/// Serves until the test ends.
pub(super) struct Http2Server {
    address: SocketAddr,
    seen: Seen,
    folder: tempfile::TempDir,
}

impl Http2Server {
    pub(super) fn start() -> Self {
        Self::with(Manner::default())
    }

    pub(super) fn with(manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let acceptor = manner.tls.map(|protocol| acceptor(&folder, protocol));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let serving = serve(listener, acceptor, shared, manner);
            LocalSet::new().block_on(&runtime.unwrap(), serving);
        });
        Self { address, seen, folder }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn roots(&self) -> Option<PathBuf> {
        Some(self.folder.path().join("cert.pem"))
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }
}

fn acceptor(folder: &tempfile::TempDir, protocol: &[u8]) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["load.test".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = ListenerTls {
        certificates: vec![CertificateFiles { certificate, key, ocsp: None }],
        version_min: TlsVersion::Tls12,
        strict_sni: false,
        clients: None,
        acme: None,
    };
    TlsAcceptor::from(net::tls::load(&tls, &[protocol]).unwrap())
}

async fn serve(
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    seen: Seen,
    manner: Manner,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    for number in 1.. {
        let (socket, _) = listener.accept().await.unwrap();
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        connections.spawn_local(async move {
            match acceptor {
                None if manner.leaves_first && number == 1 => leave(socket).await,
                None => connection(socket, number, seen, manner).await,
                Some(acceptor) => {
                    if let Ok(socket) = acceptor.accept(socket).await {
                        connection(socket, number, seen, manner).await;
                    }
                }
            }
        });
    }
}

/// Answers the first stream with a bare 200 once a second one came, and says that this is all:
/// SETTINGS, GOAWAY after stream 1 without an error, HEADERS with END_STREAM.
async fn leave(mut socket: TcpStream) {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let [_, a, b, kind, _, .., id] = head;
        let mut payload = vec![0; usize::from(a) << 8 | usize::from(b)];
        socket.read_exact(&mut payload).await.unwrap();
        if kind == 1 && id == 3 {
            break;
        }
    }
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let go_away = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let headers = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
    socket.write_all(&[&settings[..], &go_away, &headers].concat()).await.unwrap();
    socket.read_to_end(&mut Vec::new()).await.unwrap_or_default();
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    number: usize,
    seen: Seen,
    manner: Manner,
) {
    let mut builder = Builder::new();
    if let Some(max) = manner.streams_max {
        builder.max_concurrent_streams(max);
    }
    // A client that goes away, however rudely, is what some tests are about.
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    let mut answers = JoinSet::new();
    while let Some(Ok((request, answer))) = connection.accept().await {
        let target = request.uri().path().to_owned();
        match target.trim_start_matches('/').split_once('/') {
            Some(("goaway", code)) => {
                connection.abrupt_shutdown(Reason::from(code.parse::<u32>().unwrap()));
                continue;
            }
            Some(("vanish", _)) => return,
            Some(_) | None => {}
        }
        let seen = Arc::clone(&seen);
        answers.spawn_local(reply(request, answer, number, seen));
    }
}

async fn reply(
    request: Request<RecvStream>,
    mut answer: SendResponse<Bytes>,
    connection: usize,
    seen: Seen,
) {
    let (head, mut body) = request.into_parts();
    let mut whole = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        whole.extend_from_slice(&data);
    }
    let (line, fields) = (format!("{} {}", head.method, head.uri), head.headers);
    seen.lock().unwrap().push(Asked { connection, head: line, body: whole, fields });
    let path = head.uri.path().trim_start_matches('/').to_owned();
    let (behaviour, detail) = path.split_once('/').unwrap_or((&path, ""));
    let number = || detail.parse::<u32>().unwrap();
    let with = |status: u16| {
        Response::builder().status(status).header("x-server", "test").body(()).unwrap()
    };
    let done: Result<(), h2::Error> = match behaviour {
        "ok" | "echo" => send(&mut answer, with(200), &[b"hello"], None),
        "large" => send(&mut answer, with(200), &[&vec![b'x'; 3_000_000]], None),
        "status" => send(&mut answer, with(detail.parse().unwrap()), &[], None),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number().into())).await;
            send(&mut answer, with(200), &[b"late"], None)
        }
        "reset" => {
            answer.send_reset(Reason::from(number()));
            Ok(())
        }
        "cut" => {
            let mut response = with(200);
            response.headers_mut().insert("content-length", HeaderValue::from_static("9"));
            let begun = answer.send_response(response, false);
            let mut begun = begun.unwrap();
            begun.send_data(Bytes::from_static(b"abc"), false).unwrap();
            begun.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        "hang" => std::future::pending().await,
        "grpc.Unary" => send(&mut answer, with(200), &[&message(b"hi")], Some(detail)),
        "grpc.Streaming" => {
            let pieces = [message(b"one"), message(&[7; 70_000]), message(b"")].concat();
            let pieces: Vec<&[u8]> = pieces.chunks(1_000).collect();
            send(&mut answer, with(200), &pieces, Some(detail))
        }
        "grpc.Only" => {
            let mut response = with(200);
            let status = HeaderValue::from_str(detail).unwrap();
            response.headers_mut().insert("grpc-status", status);
            send(&mut answer, response, &[], None)
        }
        other => panic!("no such behaviour: {other}"),
    };
    // A client that gave up was answered in vain.
    done.unwrap_or_default();
}

fn send(
    answer: &mut SendResponse<Bytes>,
    head: Response<()>,
    pieces: &[&[u8]],
    status: Option<&str>,
) -> Result<(), h2::Error> {
    let mut body = answer.send_response(head, pieces.is_empty() && status.is_none())?;
    for (index, piece) in pieces.iter().enumerate() {
        let ends = index + 1 == pieces.len() && status.is_none();
        body.send_data(Bytes::copy_from_slice(piece), ends)?;
    }
    let Some(status) = status else { return Ok(()) };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_str(status).unwrap());
    body.send_trailers(trailers)
}

fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), content].concat()
}
