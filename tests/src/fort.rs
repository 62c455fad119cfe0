//! A door with two servers: one that attacks aim at, and one that serves a bystander meanwhile.

use crate::{Backend, Client, Door, Setup, eventually, ok};

/// What follows every attack in the same packet: it must never be taken for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// The door under attack.
#[derive(Debug)]
pub struct Fort {
    /// The door.
    pub door: Door,
    /// Everything but `/bystander` is routed here.
    pub backend: Backend,
    _calm: Backend,
    bystander: Client,
    /// The reasons of the refusals so far.
    reasons: Vec<String>,
}

impl Default for Fort {
    fn default() -> Self {
        Self::new()
    }
}

impl Fort {
    /// Starts all of it.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        let backend = Backend::answering(ok("reached"));
        let calm = Backend::answering(ok("calm"));
        let door = Setup::of(&[&backend])
            .listen("timeouts = { head = \"500ms\" }")
            .more(&format!(
                "[pools.calm]\nservers = [\"{}\"]\n[routes.calm]\npath = \"/bystander\"\npool = \"calm\"\n\
                 [telemetry]\naccess_log = {{ file = \"{{dir}}/access\" }}",
                calm.address()
            ))
            .start();
        let bystander = Client::to(&door);
        Self { door, backend, _calm: calm, bystander, reasons: Vec::new() }
    }

    /// Another client is served as if nothing were.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn bystander(&mut self) {
        assert_eq!(self.bystander.get("/bystander").text(), "calm", "others notice nothing");
    }

    /// The attack is refused with this status and reason, and nothing of it reaches the server.
    ///
    /// # Panics
    /// When it is not so.
    #[track_caller]
    pub fn refuses(&mut self, attack: &str, status: u16, reason: &str) {
        let whole = [attack, SMUGGLED].concat();
        self.refuses_packets(&[whole.as_bytes()], status, reason);
        // A head that comes in pieces is refused like one that comes whole. (The start of a
        // body that comes before its fault is forwarded, and that is right.)
        let in_body = matches!(reason, "bad_chunk" | "bad_trailer");
        if !in_body && attack.len() < 2_000 {
            let (start, end) = whole.as_bytes().split_at(attack.len() / 2);
            self.refuses_packets(&[start, end], status, reason);
        }
    }

    #[track_caller]
    fn refuses_packets(&mut self, packets: &[&[u8]], status: u16, reason: &str) {
        let before = self.backend.received().len();
        let mut client = Client::to(&self.door);
        for packet in packets {
            drop(client.try_send(packet));
        }
        let response = client.response();
        let start: String = String::from_utf8_lossy(packets[0]).chars().take(300).collect();
        let found = (response.status, response.reason());
        assert_eq!(found, (status, Some(reason)), "{start:?}");
        assert_eq!(response.header("connection"), Some("close"), "{start:?}");
        self.bystander();
        client.expect_closed();
        let received = self.backend.received_text();
        assert_eq!(received.len(), before, "{start:?} reached the server: {received:?}");
        self.reasons.push(reason.to_owned());
    }

    /// The attack is refused with some 4xx, and nothing of it reaches the server.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn refuses_for_any_reason(&mut self, attack: &[u8]) {
        let mut client = Client::to(&self.door);
        drop(client.try_send(attack));
        let response = client.response();
        assert!((400..500).contains(&response.status), "{attack:?}: {response:?}");
        assert_eq!(response.header("connection"), Some("close"), "{attack:?}");
        client.expect_closed();
        self.bystander();
        let received = self.backend.received_text();
        assert!(received.is_empty(), "{attack:?} reached the server: {received:?}");
    }

    /// Every refusal is one line of the access log, with its reason, and is counted.
    ///
    /// # Panics
    /// When it is not so.
    #[track_caller]
    pub fn told(&self) {
        let mut logged = Vec::new();
        eventually("every refusal is logged", || {
            let text = std::fs::read_to_string(self.door.folder().join("access"));
            let lines = text.unwrap_or_default();
            logged = lines
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter_map(|line| Some(line["reason"].as_str()?.to_owned()))
                .collect();
            logged.len() >= self.reasons.len()
        });
        assert_eq!(logged, self.reasons, "one truthful line each, in order");
        let mut distinct = self.reasons.clone();
        distinct.sort_unstable();
        distinct.dedup();
        for reason in distinct {
            let expected =
                self.reasons.iter().filter(|known| **known == reason).map(|_| 1.0_f64).sum::<f64>();
            let label = format!("reason=\"{reason}\"");
            let counted = self.door.metric("tidegate_answers_total", &[&label]);
            assert!((counted - expected).abs() < 0.5, "{reason}: {counted} of {expected}");
        }
    }
}

/// A POST with these header lines and this body.
#[must_use]
pub fn post(lines: &str, body: &str) -> String {
    format!("POST /attack HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}")
}

/// A POST with this chunked body.
#[must_use]
pub fn chunks(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// A GET with these header lines.
#[must_use]
pub fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}
