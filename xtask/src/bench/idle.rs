//! Memory per idle keep-alive connection: opens many, has each serve one request, and looks.
//!
//! A door is started anew for each measure, since an allocator gives little back: memory that
//! an earlier scenario used would hide what the connections need.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::doors::Door;
use super::pacer::complete;
use crate::clock;

/// Connections that are open at the same time before the first look, so that what a door
/// makes once is not counted as memory per connection.
const WARM_UP: usize = 200;

/// How long a door has to put away what its last requests needed.
const SETTLE: Duration = Duration::from_millis(500);

/// Bytes of resident memory that each of `count` idle connections adds.
pub(super) fn bytes_per_connection(door: &Door, count: u32) -> anyhow::Result<f64> {
    let mut open = Vec::new();
    for _ in 0..WARM_UP {
        open.push(connect_and_ask(door)?);
    }
    clock::pause(SETTLE);
    let before = door.running.resident_bytes()?;
    for _ in 0..count {
        open.push(connect_and_ask(door)?);
    }
    clock::pause(SETTLE);
    let after = door.running.resident_bytes()?;
    // A connection that the door gave up would make the others look small.
    for stream in &open {
        stream.set_nonblocking(true)?;
        let mut byte = [0];
        let still = matches!(stream.peek(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        ensure!(still, "{} closed an idle connection", door.kind.name());
    }
    Ok((after - before) / f64::from(count))
}

/// Opens a connection and has one small request answered on it.
fn connect_and_ask(door: &Door) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", door.plain_port))
        .with_context(|| format!("{} takes no connection", door.kind.name()))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(status) = complete(&input) {
            ensure!(status == 200, "{} answers {status}", door.kind.name());
            return Ok(stream);
        }
        let count = stream.read(&mut buffer).context("no answer")?;
        ensure!(count > 0, "{} closed the connection", door.kind.name());
        input.extend_from_slice(&buffer[..count]);
    }
}
