//! Messages as the tests see them, and a strict parser for their heads and bodies.

/// Header fields in order, names as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The value of the only field of this name, in any case.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is repeated in {self:?}");
        all.first().copied()
    }

    /// The values of all fields of this name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// True when there is a field of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Parses lines that end in CRLF, as strictly as RFC 9112 reads.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut fields = Vec::new();
        for line in text.split_terminator("\r\n") {
            let (name, value) = line.split_once(':').ok_or(format!("no colon in {line:?}"))?;
            if name.is_empty() || name.contains(|c: char| !c.is_ascii_graphic()) {
                return Err(format!("a bad field name in {line:?}"));
            }
            if line.contains(['\r', '\n', '\0']) {
                return Err(format!("a control character in {line:?}"));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self(fields))
    }
}

/// How the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Length(usize),
    Chunked,
    Close,
}

/// A request as a [`crate::Backend`] received it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target, as written.
    pub target: String,
    /// `HTTP/1.1`, as written.
    pub version: String,
    /// The fields.
    pub headers: Fields,
    /// The decoded body.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Fields,
}

impl Request {
    pub(crate) fn parse(head: &str, takes_1_0: bool) -> Result<Self, String> {
        let (line, rest) = head.split_once("\r\n").ok_or("no line end")?;
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("a bad request line: {line:?}"));
        };
        let headers = Fields::parse(rest.strip_suffix("\r\n").unwrap_or(rest))?;
        let lengths = headers.all("content-length");
        let codings = headers.all("transfer-encoding");
        let is_decimal = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let one_framing = match (lengths.as_slice(), codings.as_slice()) {
            ([], []) | ([], ["chunked"]) => true,
            ([length], []) => is_decimal(length),
            _ => false,
        };
        let is_known = version == "HTTP/1.1" || (takes_1_0 && version == "HTTP/1.0");
        if !one_framing || headers.all("host").len() != 1 || !is_known {
            return Err("not exactly one framing and one Host on HTTP/1.1".to_owned());
        }
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            headers,
            ..Self::default()
        })
    }

    pub(crate) fn ending(&self) -> Ending {
        if self.headers.has("transfer-encoding") {
            return Ending::Chunked;
        }
        let length = self.headers.get("content-length").map(|text| text.parse());
        Ending::Length(length.unwrap_or(Ok(0)).expect("the door writes lengths as numbers"))
    }
}

/// A response as a [`crate::Client`] received it.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `HTTP/1.1`, as written.
    pub version: String,
    /// The reason phrase.
    pub phrase: String,
    /// The fields.
    pub headers: Fields,
    /// The decoded body.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Fields,
}

impl Response {
    pub(crate) fn parse(head: &str) -> Result<Self, String> {
        let (line, rest) = head.split_once("\r\n").ok_or("no line end")?;
        let mut words = line.splitn(3, ' ');
        let (Some(version), Some(status), Some(phrase)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(format!("a bad status line: {line:?}"));
        };
        if version != "HTTP/1.1" || status.len() != 3 {
            return Err(format!("a bad status line: {line:?}"));
        }
        let status = status.parse().map_err(|error| format!("{line:?}: {error}"))?;
        let headers = Fields::parse(rest.strip_suffix("\r\n").unwrap_or(rest))?;
        Ok(Self {
            status,
            version: version.to_owned(),
            phrase: phrase.to_owned(),
            headers,
            ..Self::default()
        })
    }

    pub(crate) fn ending(&self, asked_with_head: bool) -> Result<Ending, String> {
        let chunked = self.headers.all("transfer-encoding");
        let length = self.headers.all("content-length");
        if asked_with_head || matches!(self.status, 100..200 | 204 | 304) {
            return Ok(Ending::Length(0));
        }
        match (chunked.as_slice(), length.as_slice()) {
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Ending::Chunked),
            ([], [length]) => match length.parse() {
                Ok(length) => Ok(Ending::Length(length)),
                Err(error) => Err(format!("Content-Length {length:?}: {error}")),
            },
            ([], []) => Ok(Ending::Close),
            _ => Err(format!("two framings in {:?}", self.headers)),
        }
    }

    /// The value of the only field of this name.
    #[must_use]
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The reason code the door gave, from `Proxy-Status`.
    #[must_use]
    #[track_caller]
    pub fn reason(&self) -> Option<&str> {
        let (_, rest) = self.header("proxy-status")?.split_once("details=\"")?;
        rest.split_once('"').map(|(code, _)| code)
    }
}

/// A response with this status, these header lines (each with its CRLF), and this body, whose
/// length it tells.
#[must_use]
pub fn response(status: u16, lines: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Status\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// A plain 200 with this body.
#[must_use]
pub fn ok(body: &str) -> Vec<u8> {
    response(200, "", body)
}

/// A chunked body of these pieces, without trailers.
#[must_use]
pub fn chunked(pieces: &[&str]) -> String {
    let mut text = String::new();
    for piece in pieces {
        text.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    text + "0\r\n\r\n"
}
