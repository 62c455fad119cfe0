//! The first message of a TLS client: which server name it wants, and which protocols it speaks.
//!
//! For connections that are passed on by that name, still encrypted. The message may come in many
//! records, each in many segments (CVE-2026-32305): it is put together first and only then
//! believed, and what does not end where it says is refused, for a server could read another name.
//! RFC 8446, section 4.1.2 and 5.1; RFC 6066, section 3; RFC 7301, section 3.1.
//!
//! Invariant: a byte is looked at once however slowly it comes, and no more than
//! [`CLIENT_HELLO_BYTES_MAX`] are kept.

/// Bytes of records that the message may take.
pub const CLIENT_HELLO_BYTES_MAX: usize = 16 * 1024;

const RECORD_HEAD: usize = 5;
const RECORD_BYTES_MAX: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: usize = 0;
const ALPN: usize = 16;

/// Reads one ClientHello while it arrives.
#[derive(Debug, Default)]
pub struct ClientHelloReader {
    /// Bytes of the connection before this were looked at.
    looked: usize,
    /// Bytes of the current record that are still to come.
    record_left: usize,
    /// The handshake message, without the heads of its records.
    message: Vec<u8>,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The server name; letters are as they came. `None` when it names none.
    pub server_name: Option<&'a str>,
    /// The protocols it offers, the one it likes best first: each with its length before it.
    protocols: &'a [u8],
}

/// Why bytes are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientHelloError {
    /// They are no TLS.
    NotTls,
    /// It is larger than [`CLIENT_HELLO_BYTES_MAX`].
    TooLarge,
    /// Something in it does not end where it says, or is there twice.
    Malformed,
    /// The server name is empty, there is more than one, or it is no name.
    BadServerName,
}

impl std::fmt::Display for ClientHelloError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotTls => "the connection does not begin with TLS",
            Self::TooLarge => "the ClientHello is larger than 16 KiB",
            Self::Malformed => "the ClientHello is malformed",
            Self::BadServerName => "the server name in the ClientHello is malformed",
        })
    }
}

impl std::error::Error for ClientHelloError {}

impl<'a> ClientHello<'a> {
    /// The protocols it offers (ALPN), the one it likes best first; none when it says nothing.
    pub fn protocols(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut list = Cursor(self.protocols);
        std::iter::from_fn(move || list.vector(1))
    }
}

impl ClientHelloReader {
    /// Looks at the bytes that are new since the last call; `bytes` always begins where the
    /// connection does. `None`: more has to come. What follows the message is not looked at.
    ///
    /// # Errors
    /// When no bytes behind these could make them a ClientHello with one meaning.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<ClientHello<'_>>, ClientHelloError> {
        while !self.is_whole() {
            if self.record_left == 0 && !self.begin_record(bytes)? {
                return Ok(None);
            }
            let fresh = bytes.get(self.looked..).unwrap_or_default();
            let taken = fresh.get(..fresh.len().min(self.record_left)).unwrap_or_default();
            if taken.is_empty() {
                return Ok(None);
            }
            self.looked += taken.len();
            self.record_left -= taken.len();
            self.message.extend_from_slice(taken);
            self.check_start()?;
        }
        parse(&self.message).map(Some)
    }

    /// Reads the head of the next record; false while it has not come.
    fn begin_record(&mut self, bytes: &[u8]) -> Result<bool, ClientHelloError> {
        let refusal = if self.looked == 0 {
            ClientHelloError::NotTls
        } else {
            // Between the parts of a message no other record may stand.
            ClientHelloError::Malformed
        };
        let head = bytes.get(self.looked..).unwrap_or_default();
        if head.first().is_some_and(|&kind| kind != HANDSHAKE)
            || head.get(1).is_some_and(|&major| major != 3)
        {
            return Err(refusal);
        }
        let Some(&[_, _, _, high, low]) = head.first_chunk::<RECORD_HEAD>() else {
            return Ok(false);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(refusal);
        }
        if self.looked + RECORD_HEAD + length > CLIENT_HELLO_BYTES_MAX {
            return Err(ClientHelloError::TooLarge);
        }
        self.looked += RECORD_HEAD;
        self.record_left = length;
        Ok(true)
    }

    /// Refuses what can be refused before the message is whole.
    fn check_start(&self) -> Result<(), ClientHelloError> {
        if self.message.first() != Some(&CLIENT_HELLO) {
            return Err(ClientHelloError::Malformed);
        }
        let length = self.length().unwrap_or_default();
        if length > CLIENT_HELLO_BYTES_MAX {
            return Err(ClientHelloError::TooLarge);
        }
        // Nothing may follow it in its record: who took the record's end for the message's would
        // see something else.
        if length > 0 && self.message.len() + self.record_left > length {
            return Err(ClientHelloError::Malformed);
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.length() == Some(self.message.len())
    }

    /// Bytes of the message, its own head included, once they are known.
    fn length(&self) -> Option<usize> {
        let &[_, high, middle, low] = self.message.first_chunk::<4>()?;
        let length = u32::from_be_bytes([0, high, middle, low]);
        usize::try_from(length).ok().map(|length| length + 4)
    }
}

/// Reads a whole message.
fn parse(message: &[u8]) -> Result<ClientHello<'_>, ClientHelloError> {
    let mut body = Cursor(message.get(4..).unwrap_or_default());
    let mut hello = ClientHello { server_name: None, protocols: &[] };
    let Some(mut extensions) = fixed_part(&mut body) else {
        return Err(ClientHelloError::Malformed);
    };
    let (mut named, mut offered) = (false, false);
    while !extensions.0.is_empty() {
        let extension = extensions.number(2).zip(extensions.vector(2));
        let (kind, content) = extension.ok_or(ClientHelloError::Malformed)?;
        if kind == SERVER_NAME {
            if std::mem::replace(&mut named, true) {
                return Err(ClientHelloError::BadServerName);
            }
            let name = server_name(content).ok_or(ClientHelloError::BadServerName)?;
            hello.server_name = Some(name);
        } else if kind == ALPN {
            let fresh = !std::mem::replace(&mut offered, true);
            let list = protocols(content).filter(|_| fresh);
            hello.protocols = list.ok_or(ClientHelloError::Malformed)?;
        }
    }
    Ok(hello)
}

/// Walks over what stands before the extensions, and hands these out; a message may have none.
fn fixed_part<'a>(body: &mut Cursor<'a>) -> Option<Cursor<'a>> {
    let version = body.number(2)?;
    let _random = body.take(32)?;
    let session = body.vector(1)?;
    let suites = body.vector(2)?;
    let compressions = body.vector(1)?;
    let well_formed = version >> 8 == 3
        && session.len() <= 32
        && suites.len() >= 2
        && suites.len().is_multiple_of(2)
        && !compressions.is_empty();
    if !well_formed {
        return None;
    }
    if body.0.is_empty() {
        return Some(Cursor(&[]));
    }
    let extensions = body.vector(2)?;
    body.0.is_empty().then_some(Cursor(extensions))
}

/// The one host name of the extension.
fn server_name(content: &[u8]) -> Option<&str> {
    let mut content = Cursor(content);
    let mut list = Cursor(content.vector(2)?);
    let (kind, name) = (list.number(1)?, list.vector(2)?);
    let alone = content.0.is_empty() && list.0.is_empty() && kind == 0;
    let text = std::str::from_utf8(name).ok().filter(|_| alone)?;
    is_host_name(text).then_some(text)
}

/// Labels of letters, digits, `-` and `_`, of 1 to 63 bytes, with dots between them only.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The list of the extension, once it is known to be well formed.
fn protocols(content: &[u8]) -> Option<&[u8]> {
    let mut content = Cursor(content);
    let list = content.vector(2)?;
    let mut rest = Cursor(list);
    while !rest.0.is_empty() {
        rest.vector(1).filter(|name| !name.is_empty())?;
    }
    (content.0.is_empty() && !list.is_empty()).then_some(list)
}

/// The bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of so many bytes, at most 2.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        let taken = self.take(bytes)?;
        Some(taken.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// A vector whose length stands before it in so many bytes.
    fn vector(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests;
