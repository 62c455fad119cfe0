//! Streams over connections to a scripted server: how many, how they end, and what is told of it.

use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::{HeaderMap, HeaderValue, Request};
use net::socket::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const SECONDS: Duration = Duration::from_secs(20);

type Call = (Request<RecvStream>, SendResponse<Bytes>);

/// Runs a test on a runtime like a worker's.
fn on_a_worker(test: impl Future<Output = ()>) {
    let options = tokio::runtime::LocalOptions::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options);
    runtime.unwrap().block_on(async {
        tokio::time::timeout(SECONDS, test).await.expect("it ends in time");
    });
}

/// A server's side of one connection after the other.
struct Server {
    socket: TcpListener,
    settings: server::Builder,
}

impl Server {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { socket, settings: server::Builder::new() }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Takes in a connection, and hands out its requests.
    async fn accept(&self) -> tokio::sync::mpsc::Receiver<Call> {
        let (tcp, _) = self.socket.accept().await.unwrap();
        let mut connection = self.settings.handshake::<_, Bytes>(tcp).await.unwrap();
        let (sender, receiver) = tokio::sync::mpsc::channel(256);
        tokio::task::spawn_local(async move {
            while let Some(Ok(call)) = connection.accept().await {
                drop(sender.send(call).await);
            }
        });
        receiver
    }
}

/// What a pool's settings say of its connections.
struct Pool {
    connections: Rc<Connections>,
    connections_max: usize,
    wheel: Rc<Wheel>,
    address: SocketAddr,
}

impl Pool {
    fn of(address: SocketAddr, connections_max: usize) -> Self {
        let connections = Rc::default();
        Self { connections, connections_max, wheel: Wheel::new(clock::now()), address }
    }

    async fn stream(&self) -> Result<(ServerConnection, bool), Reason> {
        let target = Target {
            address: self.address,
            host: None,
            tls: None,
            head_bytes: 100,
            connections_max: self.connections_max,
            idle_time: SECONDS,
            wheel: &self.wheel,
        };
        self.connections.stream(&target, &self.wheel.deadline(), SECONDS).await
    }

    /// A stream on which this was written.
    async fn asked(&self, request: &str) -> ServerConnection {
        let (mut connection, _) = self.stream().await.unwrap();
        write(&mut connection, request.as_bytes()).await.unwrap();
        connection
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nhost: example.org\r\n\r\n";

async fn write(connection: &mut ServerConnection, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let part = [std::io::IoSlice::new(bytes)];
        let stream = &mut connection.stream;
        let count = std::future::poll_fn(|context| Socket::poll_write(stream, context, &part));
        bytes = &bytes[count.await?..];
    }
    std::future::poll_fn(|context| connection.stream.poll_flush(context)).await
}

/// All that comes, and how it ended.
async fn rest(connection: &mut ServerConnection) -> (String, std::io::Result<()>) {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    let ended = loop {
        let stream = &mut connection.stream;
        match std::future::poll_fn(|context| Socket::poll_read(stream, context, &mut part)).await {
            Ok(0) => break Ok(()),
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error) => break Err(error),
        }
    };
    (String::from_utf8(all).unwrap(), ended)
}

fn answer(mut call: Call, body: &'static str) {
    let mut stream = call.1.send_response(http::Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 1);
        let request = "POST /a.B/C HTTP/1.1\r\nhost: example.org\r\n\
            content-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n";
        let asked = async {
            let mut connection = pool.asked(request).await;
            rest(&mut connection).await
        };
        let served = async {
            let (request, mut respond) = server.accept().await.recv().await.unwrap();
            assert_eq!(request.uri(), "http://example.org/a.B/C");
            assert_eq!(request.headers()["te"], "trailers");
            let mut body = request.into_body();
            let mut all = Vec::new();
            while let Some(part) = body.data().await {
                all.extend_from_slice(&part.unwrap());
            }
            assert_eq!(all, b"abcde");
            assert_eq!(body.trailers().await.unwrap().unwrap()["x-sum"], "5");
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"fine"), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            stream.send_trailers(trailers).unwrap();
        };
        let ((response, ended), ()) = tokio::join!(asked, served);
        assert!(ended.is_ok());
        assert_eq!(
            response,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\ngrpc-status: 0\r\n\r\n"
        );
    });
}

#[test]
fn streams_fill_the_connections_that_the_pool_allows_and_then_wait() {
    on_a_worker(async {
        let mut server = Server::start().await;
        server.settings.max_concurrent_streams(2);
        let pool = Pool::of(server.address(), 2);
        let accepted = async { [server.accept().await, server.accept().await] };
        let opened = async {
            let mut opened = Vec::new();
            for _ in 0..4 {
                opened.push(pool.asked(GET).await);
            }
            opened
        };
        let ([mut one, mut other], mut opened) = tokio::join!(accepted, opened);
        let on_one = [one.recv().await.unwrap(), one.recv().await.unwrap()];
        let on_other = [other.recv().await.unwrap(), other.recv().await.unwrap()];
        let mut fifth = Box::pin(pool.asked(GET));
        let waits = std::future::poll_fn(|context| Poll::Ready(fifth.as_mut().poll(context)));
        assert!(waits.await.is_pending(), "there is no room, and none may be made");
        let [first, _second] = on_one;
        answer(first, "one");
        let (response, ended) = rest(&mut opened[0]).await;
        assert!(response.ends_with("3\r\none\r\n0\r\n\r\n") && ended.is_ok(), "{response}");
        let mut fifth = fifth.await;
        answer(one.recv().await.unwrap(), "five");
        assert!(rest(&mut fifth).await.0.ends_with("4\r\nfive\r\n0\r\n\r\n"));
        drop(on_other);
    });
}

#[test]
fn how_a_stream_was_cut_says_whether_it_had_begun() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 1);
        let (mut calls, mut connection) = tokio::join!(server.accept(), pool.asked(GET));
        let (_, mut respond) = calls.recv().await.unwrap();
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        let (response, ended) = rest(&mut connection).await;
        assert!(response.is_empty() && ended.is_err());
        assert_eq!(connection.cut(), Cut::Refused);

        let mut connection = pool.asked(GET).await;
        let (_, mut respond) = calls.recv().await.unwrap();
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        let mut head = [0; 256];
        let read = std::future::poll_fn(|context| {
            Socket::poll_read(&mut connection.stream, context, &mut head)
        });
        assert!(read.await.unwrap() > 0);
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
        assert!(rest(&mut connection).await.1.is_err(), "a cut response does not end properly");
        assert_eq!(connection.cut(), Cut::Closed);
    });
}

#[test]
fn a_connection_that_goes_away_is_replaced() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 1);
        let going = async {
            let (tcp, _) = server.socket.accept().await.unwrap();
            let mut connection = server.settings.handshake::<_, Bytes>(tcp).await.unwrap();
            let first = connection.accept().await.unwrap().unwrap();
            // Takes no more streams; what came before is served.
            connection.graceful_shutdown();
            tokio::task::spawn_local(async move {
                while let Some(Ok(call)) = connection.accept().await {
                    drop(call);
                }
            });
            first
        };
        let (first, mut before) = tokio::join!(going, pool.asked(GET));
        let (mut calls, mut after) = tokio::join!(server.accept(), async {
            // The connection is looked at again with every stream.
            while pool.connections.open.borrow().iter().any(|open| open.is_usable()) {
                tokio::task::yield_now().await;
            }
            pool.asked(GET).await
        });
        answer(first, "old");
        answer(calls.recv().await.unwrap(), "new");
        assert!(rest(&mut before).await.0.ends_with("3\r\nold\r\n0\r\n\r\n"));
        assert!(rest(&mut after).await.0.ends_with("3\r\nnew\r\n0\r\n\r\n"));
    });
}

#[test]
fn a_walk_that_leaves_resets_its_stream() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 1);
        let (mut calls, connection) = tokio::join!(server.accept(), pool.asked(GET));
        let (_, mut respond) = calls.recv().await.unwrap();
        drop(connection);
        let reset = std::future::poll_fn(|context| respond.poll_reset(context)).await;
        assert_eq!(reset.unwrap(), h2::Reason::CANCEL);
    });
}

#[test]
fn a_server_of_another_protocol_is_not_connected_to() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 1);
        let answered = async {
            let (mut tcp, _) = server.socket.accept().await.unwrap();
            let mut preface = [0; 24];
            tcp.read_exact(&mut preface).await.unwrap();
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
            tcp
        };
        let (_tcp, stream) = tokio::join!(answered, pool.stream());
        assert_eq!(stream.err(), Some(Reason::ConnectFailed));
    });
}

#[test]
fn a_server_that_reads_no_upload_stops_only_that_one() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 2);
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n";
        let (mut calls, mut stuck) = tokio::join!(server.accept(), pool.asked(head));
        let _unread = calls.recv().await.unwrap();
        // It takes what the window and the pipe hold, and no more.
        let mut taken = 0;
        let part = [0; 16 * 1024];
        let state = Rc::clone(&pool.connections.open.borrow()[0].state);
        loop {
            let parts = [std::io::IoSlice::new(&part)];
            let written = std::future::poll_fn(|context| {
                Poll::Ready(Socket::poll_write(&mut stuck.stream, context, &parts))
            });
            match written.await {
                Poll::Ready(count) => taken += count.unwrap(),
                Poll::Pending if state.is_clogged(clock::now()) => break,
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        assert!(taken < 300_000, "{taken} bytes were taken for a server that reads none");
        // Another upload goes its own way.
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
        let (mut calls, mut other) = tokio::join!(server.accept(), pool.asked(request));
        let (request, respond) = calls.recv().await.unwrap();
        let (_, mut body) = request.into_parts();
        assert_eq!(body.data().await.unwrap().unwrap(), "hello");
        answer((Request::new(body), respond), "ok");
        assert!(rest(&mut other).await.0.ends_with("2\r\nok\r\n0\r\n\r\n"));
    });
}

#[test]
fn a_client_that_reads_no_response_stops_only_that_one() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 1);
        let (mut calls, unread) = tokio::join!(server.accept(), pool.asked(GET));
        let (_, mut respond) = calls.recv().await.unwrap();
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        // As much as the window takes is sent, and no more.
        stream.reserve_capacity(10_000_000);
        let mut sent = 0;
        let other = loop {
            let capacity =
                std::future::poll_fn(|context| Poll::Ready(stream.poll_capacity(context)));
            match capacity.await {
                Poll::Ready(Some(Ok(count))) => {
                    sent += count;
                    stream.send_data(Bytes::from(vec![0; count]), false).unwrap();
                }
                Poll::Ready(_) => panic!("the stream is open"),
                Poll::Pending if sent >= 128 * 1024 => break pool.asked(GET),
                Poll::Pending => tokio::task::yield_now().await,
            }
        };
        let mut other = other.await;
        answer(calls.recv().await.unwrap(), "ok");
        assert!(rest(&mut other).await.0.ends_with("2\r\nok\r\n0\r\n\r\n"));
        assert!(sent <= 128 * 1024 + net::pipe::BYTES_MAX, "{sent} bytes were taken for nobody");
        drop(unread);
    });
}

#[test]
fn a_head_that_is_too_large_is_not_the_servers_fault() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 1);
        let many = "a: b\r\n".repeat(300);
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
        let (_calls, mut connection) = tokio::join!(server.accept(), pool.asked(&request));
        assert!(rest(&mut connection).await.1.is_err());
        assert_eq!(connection.cut(), Cut::Unsendable);
    });
}

#[test]
fn idle_connections_are_closed_and_those_in_use_are_not() {
    on_a_worker(async {
        let server = Server::start().await;
        let pool = Pool::of(server.address(), 1);
        let (mut calls, mut connection) = tokio::join!(server.accept(), pool.asked(GET));
        let late = clock::now() + SECONDS + Duration::from_secs(1);
        pool.connections.sweep(late);
        assert!(!pool.connections.is_empty(), "a stream is open");
        answer(calls.recv().await.unwrap(), "x");
        assert!(rest(&mut connection).await.1.is_ok());
        pool.connections.sweep(late);
        assert!(pool.connections.is_empty());
        assert!(calls.recv().await.is_none(), "the connection was closed");
    });
}

#[test]
fn a_server_that_no_longer_answers_is_given_up() {
    on_a_worker(async {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let wheel = Wheel::new(clock::now());
        let (theirs, ours) = tokio::join!(socket.accept(), TcpStream::connect(address));
        let state = State::new(Rc::default());
        let tenth = Duration::from_millis(100);
        let watch = driver::Watch { ask_after: tenth, answer_within: tenth, again_after: SECONDS };
        let io = ours.unwrap();
        let shake = driver::handshake(io, &state, wheel.deadline(), watch);
        let (theirs, _) = theirs.unwrap();
        let (server, sender) = tokio::join!(server::handshake(theirs), shake);
        let mut server: server::Connection<TcpStream, Bytes> = server.unwrap();
        let (pool_state, idle_time) = (Rc::clone(&state), SECONDS);
        let sender = sender.unwrap();
        let connection =
            Connection { sender, state: pool_state, secure: false, address, idle_time };
        let mut stream = connection.open_stream(true, false);
        write(&mut stream, GET.as_bytes()).await.unwrap();
        let tick = |wheel: &Rc<Wheel>| wheel.advance(clock::now());
        // While the server answers the question, the stream stays, however long it waits.
        let mut asked = 0;
        let until = clock::now() + 5 * tenth;
        while clock::now() < until {
            tick(&wheel);
            let polled = std::future::poll_fn(|context| {
                let call = server.poll_accept(context);
                Poll::Ready(call)
            });
            if let Poll::Ready(Some(Ok(call))) = polled.await {
                asked += 1;
                // Never answered.
                std::mem::forget(call);
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(asked, 1);
        assert!(!state.ended.get(), "it answered");
        // Now it is silent, although asked.
        state.heard.set(true);
        let mut second = connection.open_stream(true, false);
        write(&mut second, GET.as_bytes()).await.unwrap();
        while !state.ended.get() {
            tick(&wheel);
            tokio::task::yield_now().await;
        }
        assert!(rest(&mut second).await.1.is_err());
        assert_eq!(second.cut(), Cut::Closed);
        assert!(rest(&mut stream).await.1.is_err());
    });
}
