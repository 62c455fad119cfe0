//! gRPC between clients and servers of tonic, in all four shapes, through the door.

use black_box::calls::{Plain, serve};
use black_box::{Door, Setup};
use http::uri::PathAndQuery;
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response};

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
