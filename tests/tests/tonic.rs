//! gRPC between clients and servers of tonic, in all four shapes, through the door.

use std::future::{Future, Ready, ready};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;

use black_box::{Door, Setup};
use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;
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

/// Messages as they are.
#[derive(Clone, Copy, Default)]
struct Plain;

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
#[derive(Clone, Copy)]
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

/// Serves the four shapes of [`Echo`], by path.
fn serve(runtime: &Runtime) -> SocketAddr {
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

async fn client(door: &Door) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", door.first_address()));
    let channel = endpoint.expect("it is a URI").connect().await.expect("the door listens");
    Grpc::new(channel)
}

fn path(method: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(method)
}

#[test]
fn calls_of_all_four_shapes_pass() {
    let runtime = Runtime::new().expect("a runtime can be made");
    let door = Setup::at(&[serve(&runtime)]).pool("protocol = \"http2\"").start();
    runtime.block_on(async {
        let mut grpc = client(&door).await;
        grpc.ready().await.expect("the door is there");
        let mut request = Request::new(b"hello".to_vec());
        request.metadata_mut().insert("x-told", MetadataValue::from_static("something"));
        let response = grpc.unary(request, path("/a.Echo/Unary"), Plain).await.expect("it passes");
        assert_eq!(response.metadata().get("x-told").expect("it is told"), "something");
        assert_eq!(response.into_inner(), b"hello");

        let large = vec![7; 3_000_000];
        grpc.ready().await.expect("the door is there");
        let request = Request::new(large.clone());
        let response = grpc.unary(request, path("/a.Echo/Unary"), Plain).await.expect("it passes");
        assert!(response.into_inner() == large, "another message came");

        grpc.ready().await.expect("the door is there");
        let request = Request::new(b"fail".to_vec());
        let failed = grpc.unary(request, path("/a.Echo/Unary"), Plain).await.expect_err("it fails");
        assert_eq!((failed.code(), failed.message()), (Code::AlreadyExists, "there: 100 %\n"));

        grpc.ready().await.expect("the door is there");
        let request = Request::new(b"abc".to_vec());
        let response = grpc.server_streaming(request, path("/a.Echo/Server"), Plain).await;
        let messages = response.expect("it passes").into_inner();
        let messages: Vec<_> = messages.map(|message| message.expect("it passes")).collect().await;
        assert_eq!(messages, [b"a", b"b", b"c"]);

        grpc.ready().await.expect("the door is there");
        let request = Request::new(tokio_stream::iter((0..1_000).map(|_| b"xy".to_vec())));
        let response = grpc.client_streaming(request, path("/a.Echo/Client"), Plain).await;
        assert_eq!(response.expect("it passes").into_inner().len(), 2_000);
    });
}

#[test]
fn both_sides_of_a_call_may_speak_by_turns() {
    let runtime = Runtime::new().expect("a runtime can be made");
    let door = Setup::at(&[serve(&runtime)]).pool("protocol = \"http2\"").start();
    runtime.block_on(async {
        let mut grpc = client(&door).await;
        grpc.ready().await.expect("the door is there");
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let response = grpc.streaming(request, path("/a.Echo/Both"), Plain).await;
        let mut answers = response.expect("it passes").into_inner();
        for number in 0..100_u8 {
            sender.send(vec![number]).await.expect("the call goes on");
            let answer = answers.next().await.expect("the call goes on").expect("it passes");
            assert_eq!(answer, [number]);
        }
        drop(sender);
        assert!(answers.next().await.is_none(), "both sides have ended");
        let trailers = answers.trailers().await.expect("they pass");
        assert!(trailers.is_some());
    });
}

#[test]
fn a_deadline_of_a_client_ends_the_call() {
    let runtime = Runtime::new().expect("a runtime can be made");
    let door = Setup::at(&[serve(&runtime)]).pool("protocol = \"http2\"").start();
    runtime.block_on(async {
        let mut grpc = client(&door).await;
        grpc.ready().await.expect("the door is there");
        let (_sender, receiver) = tokio::sync::mpsc::channel(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut request = Request::new(stream);
        request.set_timeout(std::time::Duration::from_millis(300));
        let response = grpc.client_streaming(request, path("/a.Echo/Client"), Plain).await;
        let code = response.map(Response::into_inner).expect_err("nothing is ever sent").code();
        assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    });
}
