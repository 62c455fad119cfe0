//! One connection through the proxy, from accept to the end of both sides.
//!
//! Invariant: an end of data reaches the other side as an end of data, and everything else that
//! ends a connection as a reset; a side is never left waiting for the other one.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::State;
use super::pipe::Pipe;

/// For the target to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Carries one connection between a client and the target.
pub(super) async fn converse(
    client: TcpStream,
    peer: SocketAddr,
    target: SocketAddr,
    mut state: watch::Receiver<State>,
    mut random: Rng,
) {
    let begun = *state.borrow_and_update();
    let is_doomed = random.f64() < begun.conditions.reset_share;
    let pipes = [random.fork(), random.fork()].map(|random| Pipe::new(begun.conditions, random));
    let mut conversation = Conversation { client, server: None, pipes, state, cuts: begun.cuts };
    if conversation.run(peer, target, is_doomed).await.is_err() {
        reset(&conversation.client);
        conversation.server.as_ref().map(reset);
    }
}

/// What is closed next ends with a reset.
pub(super) fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection is closed instead of reset");
    }
}

struct Conversation {
    client: TcpStream,
    server: Option<TcpStream>,
    /// To the server, and back.
    pipes: [Pipe; 2],
    state: watch::Receiver<State>,
    cuts: u64,
}

impl Conversation {
    /// `Err`: whoever is still connected is to see a reset.
    async fn run(
        &mut self,
        peer: SocketAddr,
        target: SocketAddr,
        is_doomed: bool,
    ) -> io::Result<()> {
        self.client.set_nodelay(true)?;
        if !self.sit_out_black_hole().await? {
            return Ok(());
        }
        let mut state = self.state.clone();
        let cut = until_cut(&mut state, self.cuts);
        if is_doomed {
            return tokio::select! {
                come = first_bytes(&self.client) => come,
                cut = cut => Err(cut),
            };
        }
        let connecting = timeout(CONNECT_TIMEOUT, connect(peer.ip(), target));
        let server = tokio::select! {
            connected = connecting => connected.map_err(|_late| io::ErrorKind::TimedOut)??,
            cut = cut => return Err(cut),
        };
        server.set_nodelay(true)?;
        self.server = Some(server);
        self.carry().await
    }

    /// A black hole takes connections and bytes, and its clients' patience; whether the client stayed.
    async fn sit_out_black_hole(&mut self) -> io::Result<bool> {
        while self.obey()? {
            let Self { client, pipes: [up, _], state, .. } = self;
            tokio::select! {
                changed = state.changed() => changed.map_err(io::Error::other)?,
                left = poll_fn(|context| up.poll_hold(context, client)) => return left.map(|()| false),
            }
        }
        Ok(true)
    }

    async fn carry(&mut self) -> io::Result<()> {
        loop {
            self.obey()?;
            let Self { client, server: Some(server), pipes: [up, down], state, .. } = self else {
                return Ok(());
            };
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let both = poll_fn(|context| {
                let up = up.poll_carry(context, &mut from_client, &mut to_server)?;
                let down = down.poll_carry(context, &mut from_server, &mut to_client)?;
                if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
            });
            tokio::select! {
                ended = both => return ended,
                changed = state.changed() => changed.map_err(io::Error::other)?,
            }
        }
    }

    /// Takes the newest conditions; whether they are a black hole. `Err`: the connection is cut.
    fn obey(&mut self) -> io::Result<bool> {
        let State { conditions, cuts } = *self.state.borrow_and_update();
        if cuts != self.cuts {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        for pipe in &mut self.pipes {
            pipe.set(conditions);
        }
        Ok(conditions.black_hole)
    }
}

/// With the first bytes the connection is to be reset; nothing of them went on.
async fn first_bytes(client: &TcpStream) -> io::Result<()> {
    let mut byte = [0];
    match client.peek(&mut byte).await? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

async fn until_cut(state: &mut watch::Receiver<State>, cuts: u64) -> io::Error {
    drop(state.wait_for(|state| state.cuts != cuts).await);
    io::ErrorKind::ConnectionReset.into()
}

/// The target sees the client's own address where that is one of many on this machine.
async fn connect(client: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if target.is_ipv4() && client.is_loopback() && client != IpAddr::V4(Ipv4Addr::LOCALHOST) {
        socket.bind(SocketAddr::new(client, 0))?;
    }
    socket.connect(target).await
}
