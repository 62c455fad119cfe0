//! One request over the admin socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::PATIENCE;

/// What the admin interface answered.
#[derive(Clone, Debug)]
pub struct AdminAnswer {
    /// The status.
    pub status: u16,
    /// The head, as text.
    pub head: String,
    /// The body; it is not chunked.
    pub body: String,
}

/// Sends one request whose connection closes after it; `head` is its first line, and further
/// ones if need be.
///
/// # Errors
/// When nobody answers.
pub fn ask(socket: &Path, head: &str, body: &str) -> std::io::Result<AdminAnswer> {
    ask_within(PATIENCE, socket, head, body)
}

/// The same, where the answer may take longer: a text of megabytes is judged in seconds when the
/// build is not optimized and the machine is busy.
///
/// # Errors
/// When nobody answers within `patience`.
pub fn ask_within(
    patience: Duration,
    socket: &Path,
    head: &str,
    body: &str,
) -> std::io::Result<AdminAnswer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    write!(
        stream,
        "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(AdminAnswer { status, head: head.to_owned(), body: body.to_owned() })
}
