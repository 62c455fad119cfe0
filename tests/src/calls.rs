//! gRPC by tonic: a server that echoes in all four shapes, and calls that go on while a test does
//! something to the door.

use std::error::Error;
use std::future::{Future, Ready, ready};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::MetadataValue;
use tonic::server::{
    ClientStreamingService, ServerStreamingService, StreamingService, UnaryService,
};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};

use crate::eventually;

/// Between two messages of one call, so that all of them together leave the machine some time.
const BREATH: Duration = Duration::from_millis(10);

/// Calls that go on without a pause until they are told to stop: some with both sides open, whose
/// messages come back one by one, and as many callers that make one unary call after the other.
#[derive(Debug)]
pub struct Calls {
    stop: Arc<AtomicBool>,
    echoed: Arc<AtomicU32>,
    answered: Arc<AtomicU32>,
    open: Vec<JoinHandle<()>>,
    unary: Vec<JoinHandle<()>>,
    runtime: Runtime,
}

impl Calls {
    /// Begins `count` of each kind, to a door with [`serve`] behind it, and waits until they are
    /// answered. A connection is for one of each kind.
    ///
    /// # Panics
    /// When they are not.
    #[must_use]
    #[track_caller]
    pub fn start(address: SocketAddr, count: u32) -> Self {
        let runtime = Runtime::new().expect("a runtime can be made");
        let (stop, echoed, answered) =
            <(Arc<AtomicBool>, Arc<AtomicU32>, Arc<AtomicU32>)>::default();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URI");
        let (mut open, mut unary) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let _in_runtime = runtime.enter();
            let channel = endpoint.connect_lazy();
            let both = talk(Grpc::new(channel.clone()), Arc::clone(&stop), Arc::clone(&echoed));
            open.push(runtime.spawn(both));
            let one = ask(Grpc::new(channel), Arc::clone(&stop), Arc::clone(&answered));
            unary.push(runtime.spawn(one));
        }
        let calls = Self { stop, echoed, answered, open, unary, runtime };
        eventually("the calls are answered", || {
            calls.echoed() >= count * 2 && calls.answered() >= count * 2
        });
        calls
    }

    /// Messages that came back so far, in all calls with both sides open.
    #[must_use]
    pub fn echoed(&self) -> u32 {
        self.echoed.load(Ordering::SeqCst)
    }

    /// Unary calls that were answered so far.
    #[must_use]
    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Ends them.
    ///
    /// # Panics
    /// When a unary call failed, or one with both sides open did not go on to its own end.
    pub fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.runtime.block_on(async {
            for call in self.open {
                call.await.expect("a call stayed open, echoed all and ended well");
            }
            for call in self.unary {
                call.await.expect("no unary call failed");
            }
        });
    }

    /// Waits until the calls with both sides open have ended; how many of them were cut.
    ///
    /// # Panics
    /// When a unary call failed.
    #[must_use]
    pub fn cut(self) -> usize {
        let cut = self.runtime.block_on(async {
            let mut cut = 0;
            for call in self.open {
                cut += usize::from(call.await.is_err());
            }
            cut
        });
        self.stop.store(true, Ordering::SeqCst);
        self.runtime.block_on(async {
            for call in self.unary {
                call.await.expect("no unary call failed");
            }
        });
        cut
    }
}

/// Sends a message, awaits that it comes back, and so on; then ends its side, and the other ends too.
async fn talk(mut grpc: Grpc<Channel>, stop: Arc<AtomicBool>, echoed: Arc<AtomicU32>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    grpc.ready().await.expect("the door is there");
    let request = Request::new(ReceiverStream::new(receiver));
    let path = PathAndQuery::from_static("/a.Echo/Both");
    let response = grpc.streaming(request, path, Plain).await.expect("the call is taken");
    let mut answers = response.into_inner();
    let mut count = 0_u32;
    while !stop.load(Ordering::SeqCst) {
        let message = count.to_be_bytes().to_vec();
        sender.send(message.clone()).await.expect("the call goes on");
        let answer = answers.next().await.expect("the call goes on").expect("the call is well");
        assert_eq!(answer, message);
        echoed.fetch_add(1, Ordering::SeqCst);
        count += 1;
        tokio::time::sleep(BREATH).await;
    }
    drop(sender);
    assert!(answers.next().await.is_none(), "both sides have ended");
}

/// True for a call that no server has begun, because its connection took no more: it waited in the
/// client when GOAWAY came, or was on its way and is above the last one that GOAWAY names (RFC 9113,
/// section 6.8). gRPC has clients make it again by themselves (a transparent retry); tonic leaves
/// that to us.
fn was_not_begun(status: &Status) -> bool {
    let waited = status.code() == Code::Cancelled && status.message() == "operation was canceled";
    let first: Option<&(dyn Error + 'static)> = status.source();
    let mut causes = std::iter::successors(first, |&cause| cause.source());
    let is_above = |error: &h2::Error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    };
    waited || causes.any(|cause| cause.downcast_ref::<h2::Error>().is_some_and(is_above))
}

async fn ask(mut grpc: Grpc<Channel>, stop: Arc<AtomicBool>, answered: Arc<AtomicU32>) {
    while !stop.load(Ordering::SeqCst) {
        grpc.ready().await.expect("the door is there");
        let path = PathAndQuery::from_static("/a.Echo/Unary");
        match grpc.unary(Request::new(b"hello".to_vec()), path, Plain).await {
            Err(status) if was_not_begun(&status) => continue,
            answer => assert_eq!(answer.expect("the call is well").into_inner(), b"hello"),
        }
        answered.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(BREATH).await;
    }
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining()).to_vec()))
    }
}

/// Answers with what it was asked; `fail` fails.
#[derive(Clone, Copy, Debug)]
struct Echo;

impl UnaryService<Vec<u8>> for Echo {
    type Response = Vec<u8>;
    type Future = Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        if request.get_ref() == b"fail" {
            return ready(Err(Status::already_exists("there: 100 %\n")));
        }
        let told = request.metadata().get("x-told").cloned();
        let mut response = Response::new(request.into_inner());
        response
            .metadata_mut()
            .insert("x-told", told.unwrap_or_else(|| MetadataValue::from_static("nothing")));
        ready(Ok(response))
    }
}

impl ServerStreamingService<Vec<u8>> for Echo {
    type Response = Vec<u8>;
    type ResponseStream = tokio_stream::Iter<std::vec::IntoIter<Result<Vec<u8>, Status>>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let each = request.into_inner().into_iter().map(|byte| Ok(vec![byte]));
        ready(Ok(Response::new(tokio_stream::iter(each.collect::<Vec<_>>()))))
    }
}

impl ClientStreamingService<Vec<u8>> for Echo {
    type Response = Vec<u8>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        Box::pin(async move {
            let mut all = Vec::new();
            let mut messages = request.into_inner();
            while let Some(message) = messages.next().await {
                all.extend(message?);
            }
            Ok(Response::new(all))
        })
    }
}

impl StreamingService<Vec<u8>> for Echo {
    type Response = Vec<u8>;
    type ResponseStream = Streaming<Vec<u8>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

/// A server that answers with what it was asked, in the shape that the path names: `/a.Echo/Unary`,
/// `/a.Echo/Server`, `/a.Echo/Client`, and any other for both sides; `fail` fails. It ends with its
/// runtime.
///
/// # Panics
/// When it cannot listen.
#[must_use]
pub fn serve(runtime: &Runtime) -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let address = socket.local_addr().expect("a listening socket has an address");
    socket.set_nonblocking(true).expect("a socket can be nonblocking");
    let service = tower::service_fn(|request: http::Request<Body>| async move {
        let mut grpc = tonic::server::Grpc::new(Plain);
        let response = match request.uri().path() {
            "/a.Echo/Unary" => grpc.unary(Echo, request).await,
            "/a.Echo/Server" => grpc.server_streaming(Echo, request).await,
            "/a.Echo/Client" => grpc.client_streaming(Echo, request).await,
            _ => grpc.streaming(Echo, request).await,
        };
        Ok::<_, std::convert::Infallible>(response)
    });
    let _in_runtime = runtime.enter();
    let socket = tokio::net::TcpListener::from_std(socket).expect("it can be registered");
    let server = Server::builder().serve_with_incoming(service, TcpIncoming::from(socket));
    drop(runtime.spawn(server));
    address
}
