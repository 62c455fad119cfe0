//! The server behind the doors: answers any GET with a fixed body, as cheaply as it can.
//!
//! It shares a core with the load, so that it must cost less than the door does: otherwise the
//! bench would saturate itself and not the door. `/large` gets 16 KiB, any other target 100
//! bytes; `Connection: close` is honoured.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use memchr::memmem;

use super::epoll::Epoll;

const SMALL_BYTES: usize = 100;
const LARGE_BYTES: usize = 16 * 1024;

/// Bytes of a request head; a client that sends more is cut off.
const HEAD_BYTES_MAX: usize = 64 * 1024;

const LISTENER: u64 = 0;

/// Where to listen.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
}

/// The answers, ready to be sent.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
    small_last: Vec<u8>,
    large_last: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let answer = |size: usize, last: &str| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n{last}\r\n"
            );
            [head.into_bytes(), vec![b'x'; size]].concat()
        };
        let last = "Connection: close\r\n";
        Self {
            small: answer(SMALL_BYTES, ""),
            large: answer(LARGE_BYTES, ""),
            small_last: answer(SMALL_BYTES, last),
            large_last: answer(LARGE_BYTES, last),
        }
    }

    fn of(&self, head: &[u8], last: bool) -> &[u8] {
        match (head.starts_with(b"GET /large"), last) {
            (false, false) => &self.small,
            (true, false) => &self.large,
            (false, true) => &self.small_last,
            (true, true) => &self.large_last,
        }
    }
}

/// One connection.
struct Client {
    stream: TcpStream,
    /// Bytes of a head that has not ended.
    input: Vec<u8>,
    /// Bytes the socket did not take yet.
    output: Vec<u8>,
    close: bool,
}

/// Answers until it is ended.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
    listener.set_nonblocking(true)?;
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER, false)?;
    let answers = Answers::new();
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut next = LISTENER + 1;
    let mut ready = Vec::new();
    let mut buffer = vec![0; HEAD_BYTES_MAX];
    loop {
        epoll.wait(None, &mut ready)?;
        for &token in &ready {
            if token == LISTENER {
                accept(&listener, &epoll, &mut clients, &mut next)?;
                continue;
            }
            let Some(client) = clients.get_mut(&token) else {
                continue;
            };
            let watched = !client.output.is_empty();
            if !client.advance(&answers, &mut buffer) {
                clients.remove(&token);
            } else if watched == client.output.is_empty() {
                epoll.change(&client.stream, token, !watched)?;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    clients: &mut HashMap<u64, Client>,
    next: &mut u64,
) -> anyhow::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll.add(&stream, *next, false)?;
        let client = Client { stream, input: Vec::new(), output: Vec::new(), close: false };
        clients.insert(*next, client);
        *next += 1;
    }
    Ok(())
}

impl Client {
    /// Takes what came, sends what is due; false when the connection is over.
    fn advance(&mut self, answers: &Answers, buffer: &mut [u8]) -> bool {
        if !self.output.is_empty() && !self.flush() {
            return false;
        }
        if !self.output.is_empty() {
            return true; // The peer reads slowly: take no more of it before it has read.
        }
        match self.stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => self.take(&buffer[..count], answers),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
        self.input.len() <= HEAD_BYTES_MAX && self.flush()
    }

    /// Queues an answer for each head that ended.
    fn take(&mut self, bytes: &[u8], answers: &Answers) {
        self.input.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = memmem::find(&self.input[start..], b"\r\n\r\n") {
            let head = &self.input[start..start + end];
            self.close |= memmem::find(head, b"onnection: close").is_some();
            self.output.extend_from_slice(answers.of(head, self.close));
            start += end + 4;
        }
        self.input.drain(..start);
    }

    /// Sends what it can; false when the connection is over.
    fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return false,
                Ok(count) if count == self.output.len() => self.output.clear(),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        !self.close
    }
}
