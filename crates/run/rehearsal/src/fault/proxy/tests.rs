//! One direction under a clock that is turned by hand; whole connections over real sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use fastrand::Rng;
use model::drill::NetworkConditions;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Proxy;
use super::pipe::{HELD_BYTES_MAX, Pipe};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn default() -> NetworkConditions {
    NetworkConditions::default()
}

/// A direction that runs by itself: what is written to one end comes out at the other.
fn piped(conditions: NetworkConditions) -> (DuplexStream, DuplexStream, JoinSet<io::Result<()>>) {
    let (sender, mut from) = duplex(HELD_BYTES_MAX);
    let (mut to, receiver) = duplex(HELD_BYTES_MAX);
    let mut pipe = Pipe::new(conditions, Rng::with_seed(7));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        std::future::poll_fn(|context| pipe.poll_carry(context, &mut from, &mut to)).await
    });
    (sender, receiver, tasks)
}

/// Writes a byte every 10 ms and gives how long each took to come out, in milliseconds.
async fn delays(conditions: NetworkConditions, count: u8) -> Vec<u128> {
    let (mut sender, mut receiver, _tasks) = piped(conditions);
    let began = Instant::now();
    let send = async {
        for number in 0..count {
            tokio::time::sleep_until(began + ms(10) * u32::from(number)).await;
            sender.write_u8(number).await.unwrap();
        }
    };
    let receive = async {
        let mut delays = Vec::new();
        for number in 0..count {
            assert_eq!(receiver.read_u8().await.unwrap(), number, "bytes keep their order");
            delays.push((began.elapsed() - ms(10) * u32::from(number)).as_millis());
        }
        delays
    };
    tokio::join!(send, receive).1
}

#[tokio::test(start_paused = true)]
async fn latency_is_exact_and_jitter_lies_on_top() {
    assert_eq!(delays(default(), 5).await, [0; 5]);
    // Timers have a resolution of 1 ms and are never early.
    let late = delays(NetworkConditions { latency: ms(50), ..default() }, 20).await;
    assert!(late.iter().all(|late| (50..=51).contains(late)), "{late:?}");
    let jitter = NetworkConditions { latency: ms(50), jitter: ms(40), ..default() };
    let late = delays(jitter, 200).await;
    assert!(late.iter().all(|late| (50..=91).contains(late)), "{late:?}");
    assert!(late.iter().any(|&late| late < 65) && late.iter().any(|&late| late > 80), "{late:?}");
    assert_eq!(delays(jitter, 200).await, late, "the same seed draws the same");
}

#[tokio::test(start_paused = true)]
async fn bandwidth_holds_within_five_percent() {
    for (rate, bytes) in [(10_000, 50_000), (1_000_000, 3_000_000), (200_000_000, 200_000_000)] {
        let limited = NetworkConditions { bytes_per_second: Some(rate), ..default() };
        let (mut sender, mut receiver, _tasks) = piped(limited);
        let began = Instant::now();
        let send = async move { sender.write_all(&vec![1; bytes]).await.unwrap() };
        let mut received = Vec::new();
        let (_, came) = tokio::join!(send, receiver.read_to_end(&mut received));
        assert_eq!(came.unwrap(), bytes);
        let found = bytes as f64 / began.elapsed().as_secs_f64() / rate as f64;
        assert!((0.95..1.05).contains(&found), "{found} of {rate} bytes a second");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_read_makes_the_sender_wait() {
    let (mut sender, mut receiver, _tasks) =
        piped(NetworkConditions { black_hole: true, ..default() });
    let mut taken = 0;
    while let Ok(written) = timeout(ms(100), sender.write(&[1; 1_000])).await {
        taken += written.unwrap();
    }
    // What the duplex holds comes on top of what the pipe holds.
    assert!((HELD_BYTES_MAX..=2 * HELD_BYTES_MAX).contains(&taken), "{taken}");
    assert!(timeout(ms(60_000), receiver.read_u8()).await.is_err(), "nothing leaves a black hole");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_data_is_as_late_as_the_data() {
    let (mut sender, mut receiver, mut tasks) =
        piped(NetworkConditions { latency: ms(50), ..default() });
    let began = Instant::now();
    sender.write_all(b"end").await.unwrap();
    drop(sender);
    let mut received = Vec::new();
    receiver.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"end");
    assert!((50..=51).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

/// A server that answers each connection with what it gets, and knows who connected.
struct Echo {
    address: SocketAddr,
    accepted: tokio::sync::mpsc::Receiver<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, accepted) = tokio::sync::mpsc::channel(100);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, peer) = listener.accept().await.unwrap();
                sender.send(peer).await.unwrap();
                connections.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    drop(tokio::io::copy(&mut read, &mut write).await);
                    drop(write.shutdown().await);
                });
            }
        });
        Self { address, accepted, _tasks: tasks }
    }
}

async fn proxied() -> (Proxy, Echo) {
    let echo = Echo::start().await;
    (Proxy::start(echo.address, 7).unwrap(), echo)
}

/// `answered`, `ended` (by an end of the data), or the kind of the error.
async fn ask(stream: &mut TcpStream) -> String {
    let asked = async {
        stream.write_all(b"ask").await?;
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).await.map(|_| assert_eq!(&answer, b"ask"))
    };
    match timeout(PATIENCE, asked).await.expect("an answer or an end in time") {
        Ok(()) => "answered".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "ended".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

async fn connected(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream).await, "answered");
    stream
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(ms(2)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

#[tokio::test]
async fn without_a_fault_everything_passes_and_ends_as_it_ended() {
    let (proxy, _echo) = proxied().await;
    let data: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut read, mut write) = TcpStream::connect(proxy.address()).await.unwrap().into_split();
    let sent = data.clone();
    let send = async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
        write
    };
    let mut received = Vec::new();
    // The answer comes to its end though the question ended first.
    let (write, read) = tokio::join!(send, read.read_to_end(&mut received));
    read.unwrap();
    assert!(received == data, "{} of {} bytes", received.len(), data.len());
    drop(write);
    eventually("the connection is forgotten", || proxy.open() == 0).await;
}

#[tokio::test]
async fn conditions_reach_connections_that_are_open() {
    let (proxy, _echo) = proxied().await;
    let mut stream = connected(&proxy).await;
    proxy.set(NetworkConditions { latency: ms(100), ..default() });
    let began = Instant::now();
    assert_eq!(ask(&mut stream).await, "answered");
    assert!(began.elapsed() >= ms(200), "there and back: {:?}", began.elapsed());
    // What is still under way when the fault ends arrives at once.
    proxy.set(NetworkConditions { latency: Duration::from_secs(3_600), ..default() });
    let mut asked = pin!(ask(&mut stream));
    assert!(timeout(ms(50), &mut asked).await.is_err());
    proxy.set(default());
    assert_eq!(asked.await, "answered");
}

#[tokio::test]
async fn a_cut_resets_every_open_connection_and_no_later_one() {
    let (proxy, _echo) = proxied().await;
    let mut streams = [connected(&proxy).await, connected(&proxy).await];
    assert_eq!(proxy.open(), 2);
    proxy.cut();
    for stream in &mut streams {
        let lost = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::ConnectionReset);
    }
    connected(&proxy).await;
}

#[tokio::test]
async fn a_share_of_new_connections_is_reset_after_their_first_bytes() {
    let (proxy, mut echo) = proxied().await;
    let mut before = connected(&proxy).await;
    proxy.set(NetworkConditions { reset_share: 1.0, ..default() });
    let mut doomed = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut doomed).await, "ConnectionReset");
    assert_eq!(ask(&mut before).await, "answered");
    proxy.set(NetworkConditions { reset_share: 0.3, ..default() });
    let mut reset = 0;
    for _ in 0..200 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        reset += usize::from(ask(&mut stream).await == "ConnectionReset");
        while echo.accepted.try_recv().is_ok() {}
    }
    assert!((40..80).contains(&reset), "{reset} of 200");
}

#[tokio::test]
async fn a_black_hole_takes_connections_and_gives_nothing() {
    let (proxy, mut echo) = proxied().await;
    let mut before = connected(&proxy).await;
    echo.accepted.recv().await.unwrap();
    proxy.set(NetworkConditions { black_hole: true, ..default() });
    let mut inside = TcpStream::connect(proxy.address()).await.unwrap();
    let leaving = TcpStream::connect(proxy.address()).await.unwrap();
    {
        let mut asked = pin!(async { tokio::join!(ask(&mut before), ask(&mut inside)) });
        assert!(timeout(ms(100), &mut asked).await.is_err());
        assert!(echo.accepted.try_recv().is_err(), "the target hears of no new connection");
        drop(leaving);
        eventually("who left is forgotten", || proxy.open() == 2).await;
        proxy.set(default());
        assert_eq!(asked.await, ("answered".to_owned(), "answered".to_owned()));
    }
}

#[tokio::test]
async fn connections_beyond_the_cap_are_refused() {
    let (proxy, _echo) = proxied().await;
    proxy.set(NetworkConditions { connections_max: Some(2), ..default() });
    let (_first, second) = (connected(&proxy).await, connected(&proxy).await);
    let mut third = TcpStream::connect(proxy.address()).await.unwrap();
    let lost = timeout(PATIENCE, third.read_u8()).await.unwrap();
    assert!(lost.is_err());
    drop(second);
    eventually("a place is free", || proxy.open() == 1).await;
    connected(&proxy).await;
}

#[tokio::test]
async fn a_target_that_is_gone_resets_the_client() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(gone, 7).unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let lost = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(lost.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_target_sees_the_address_of_the_client() {
    let (proxy, mut echo) = proxied().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.77:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream).await, "answered");
    assert_eq!(echo.accepted.recv().await.unwrap().ip().to_string(), "127.0.0.77");
}

#[tokio::test]
async fn a_dropped_proxy_leaves_nothing() {
    let (proxy, _echo) = proxied().await;
    let mut stream = connected(&proxy).await;
    let address = proxy.address();
    drop(proxy);
    let ended = timeout(PATIENCE, stream.read_u8()).await.unwrap();
    assert!(ended.is_err());
    assert!(TcpStream::connect(address).await.is_err());
}
