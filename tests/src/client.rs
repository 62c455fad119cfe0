//! A client that sends exactly what it is told, and reads as strictly as the standard.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Type};

use crate::message::{Ending, Fields, Response};
use crate::{Door, PATIENCE};

/// What a client speaks over: a socket, or TLS over one.
pub trait Wire: Read + Write + Send + std::fmt::Debug {}

impl<T: Read + Write + Send + std::fmt::Debug> Wire for T {}

/// What came instead of a whole response.
#[derive(Clone, Debug)]
pub enum Broken {
    /// The connection ended before or within the response; holds what of it was decoded.
    Ended(Box<Response>),
    /// What came is no HTTP; says why.
    Malformed(String),
}

/// A client's connection.
#[derive(Debug)]
pub struct Client {
    wire: Box<dyn Wire>,
    socket: TcpStream,
    /// Bytes received and not yet taken.
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to `address`.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).expect("the door listens");
        Self::over(socket)
    }

    /// Connects from another address of this machine, such as 127.0.0.2.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    #[track_caller]
    pub fn connect_from(own: IpAddr, address: SocketAddr) -> Self {
        Self::bind_and_connect(own, address, None)
    }

    /// The same, with room for about so many bytes that it has not read: what the system would
    /// otherwise take in for a client that never reads is megabytes.
    ///
    /// # Panics
    /// When it cannot connect.
    #[must_use]
    #[track_caller]
    pub fn connect_narrow(own: IpAddr, address: SocketAddr, bytes: usize) -> Self {
        Self::bind_and_connect(own, address, Some(bytes))
    }

    #[track_caller]
    fn bind_and_connect(own: IpAddr, address: SocketAddr, room: Option<usize>) -> Self {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)
            .expect("sockets can be made");
        if let Some(bytes) = room {
            socket.set_recv_buffer_size(bytes).expect("a socket takes options");
        }
        socket.bind(&SocketAddr::new(own, 0).into()).expect("loopback has more addresses");
        socket.connect_timeout(&address.into(), PATIENCE).expect("the door listens");
        Self::over(socket.into())
    }

    /// Connects to the first listener of `door`.
    #[must_use]
    #[track_caller]
    pub fn to(door: &Door) -> Self {
        Self::connect(door.first_address())
    }

    /// Speaks over a connected socket.
    #[must_use]
    #[track_caller]
    pub fn over(socket: TcpStream) -> Self {
        let wire = socket.try_clone().expect("a socket can be cloned");
        Self::over_wire(Box::new(wire), socket)
    }

    /// Speaks over `wire`, which runs over `socket`.
    ///
    /// # Panics
    /// When the socket takes no options.
    #[must_use]
    #[track_caller]
    pub fn over_wire(wire: Box<dyn Wire>, socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        socket.set_nodelay(true).expect("a socket takes no delay");
        Self { wire, socket, buffer: Vec::new() }
    }

    /// The client's own address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a connected socket has an address")
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends these bytes.
    ///
    /// # Panics
    /// When the door does not take them.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the door takes what is sent");
    }

    /// Sends these bytes, as far as the door takes them.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.wire.write_all(bytes.as_ref())?;
        self.wire.flush()
    }

    /// Sends byte by byte, each in a packet of its own.
    #[track_caller]
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Sends `GET target` and reads the response.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Sends these bytes and reads one response.
    #[track_caller]
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes);
        self.response()
    }

    /// Ends the sending side; the door can still answer.
    #[track_caller]
    pub fn finish_sending(&mut self) {
        self.socket.shutdown(Shutdown::Write).expect("an open socket can be shut down");
    }

    /// Reads one whole response; an interim one (1xx) is one too.
    ///
    /// # Panics
    /// When it is not whole, or not well-formed.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        match self.try_response(false) {
            Ok(response) => response,
            Err(broken) => panic!("no whole response: {broken:?}"),
        }
    }

    /// Reads the response to a HEAD request, which has no body whatever it says.
    ///
    /// # Panics
    /// As [`Client::response`].
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        match self.try_response(true) {
            Ok(response) => response,
            Err(broken) => panic!("no whole response: {broken:?}"),
        }
    }

    /// Reads one response, which may be broken.
    ///
    /// # Errors
    /// When it is not whole, or not well-formed.
    #[track_caller]
    pub fn try_response(&mut self, asked_with_head: bool) -> Result<Response, Broken> {
        let response = self.response_head()?;
        self.try_rest_of(response, asked_with_head)
    }

    /// Reads what follows the head of a response that [`Client::response_head`] gave.
    ///
    /// # Panics
    /// As [`Client::response`].
    #[track_caller]
    pub fn rest_of(&mut self, head: Response, asked_with_head: bool) -> Response {
        match self.try_rest_of(head, asked_with_head) {
            Ok(response) => response,
            Err(broken) => panic!("no whole response: {broken:?}"),
        }
    }

    fn try_rest_of(
        &mut self,
        mut response: Response,
        asked_with_head: bool,
    ) -> Result<Response, Broken> {
        match response.ending(asked_with_head).map_err(Broken::Malformed)? {
            Ending::Length(length) => {
                let whole = self.fill_until(|buffer| buffer.len() >= length);
                let length = length.min(self.buffer.len());
                response.body = self.buffer.drain(..length).collect();
                if !whole {
                    return Err(Broken::Ended(Box::new(response)));
                }
            }
            Ending::Chunked => return self.chunks(response),
            Ending::Close => response.body = self.read_to_end(),
        }
        Ok(response)
    }

    /// Reads the head of a response only; its body is still to be read.
    ///
    /// # Errors
    /// When it is not whole, or not well-formed.
    #[track_caller]
    pub fn response_head(&mut self) -> Result<Response, Broken> {
        let Some(head) = self.until(b"\r\n\r\n") else {
            let body = std::mem::take(&mut self.buffer);
            return Err(Broken::Ended(Box::new(Response { body, ..Response::default() })));
        };
        let text = String::from_utf8_lossy(&head).into_owned();
        Response::parse(&text).map_err(Broken::Malformed)
    }

    fn chunks(&mut self, mut response: Response) -> Result<Response, Broken> {
        loop {
            let Some(line) = self.until(b"\r\n") else {
                return Err(Broken::Ended(Box::new(response)));
            };
            let line = String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned();
            let Ok(size) = usize::from_str_radix(&line, 16) else {
                return Err(Broken::Malformed(format!("a chunk of size {line:?}")));
            };
            if size == 0 {
                return self.trailers(response);
            }
            if !self.fill_until(|buffer| buffer.len() >= size + 2) {
                response.body.append(&mut self.buffer);
                return Err(Broken::Ended(Box::new(response)));
            }
            response.body.extend(self.buffer.drain(..size));
            let end: Vec<u8> = self.buffer.drain(..2).collect();
            if end != b"\r\n" {
                return Err(Broken::Malformed(format!("a chunk ends in {end:?}")));
            }
        }
    }

    fn trailers(&mut self, mut response: Response) -> Result<Response, Broken> {
        let mut text = String::new();
        loop {
            let Some(line) = self.until(b"\r\n") else {
                return Err(Broken::Ended(Box::new(response)));
            };
            if line == b"\r\n" {
                break;
            }
            text.push_str(&String::from_utf8_lossy(&line));
        }
        response.trailers = Fields::parse(&text).map_err(Broken::Malformed)?;
        Ok(response)
    }

    /// Takes exactly `count` bytes.
    ///
    /// # Panics
    /// When the connection ends before.
    #[track_caller]
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        assert!(self.fill_until(|buffer| buffer.len() >= count), "only {:?}", self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    /// Everything up to the end of the connection, an orderly one or not.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        self.fill_until(|_| false);
        std::mem::take(&mut self.buffer)
    }

    /// The door closes without another byte.
    ///
    /// # Panics
    /// When bytes come.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "unexpected bytes: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Closes at once, with a reset (RST) instead of an orderly end.
    pub fn reset(self) {
        let linger =
            socket2::SockRef::from(&self.socket).set_linger(Some(std::time::Duration::ZERO));
        linger.expect("a socket takes lingering");
    }

    /// Takes the bytes up to and with `end`; `None` when the connection ends before.
    #[track_caller]
    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let find = |buffer: &[u8]| buffer.windows(end.len()).position(|window| window == end);
        if !self.fill_until(|buffer| find(buffer).is_some()) {
            return None;
        }
        let at = find(&self.buffer)? + end.len();
        Some(self.buffer.drain(..at).collect())
    }

    /// Receives until `enough`; false when the connection ended before.
    #[track_caller]
    fn fill_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> bool {
        let mut room = vec![0; 64 * 1_024];
        while !enough(&self.buffer) {
            match self.wire.read(&mut room) {
                Ok(0) => return false,
                Ok(count) => self.buffer.extend_from_slice(&room[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    let so_far = String::from_utf8_lossy(&self.buffer);
                    panic!("nothing more came within {PATIENCE:?}; so far: {so_far:?}");
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_reset) => return false,
            }
        }
        true
    }
}
