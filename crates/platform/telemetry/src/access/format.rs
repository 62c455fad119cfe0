//! Writes one record as one line: a flat JSON object, the combined Common Log Format, or the
//! Elastic Common Schema.
//!
//! JSON and ECS leave out what is absent. Durations are whole microseconds, except ECS's own
//! `event.duration`, which is nanoseconds. Invariant: a line ends in the only line feed it has.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use model::configuration::{AccessLogFormat, Class};
use model::time::saturating_nanos;

use super::escape::{push_clf, push_json};
use super::record::AccessRecord;

/// The version of the Elastic Common Schema whose fields are written.
const ECS_VERSION: &str = "8.17.0";

/// Appends the record as one line with its line feed.
pub fn format_line(format: AccessLogFormat, record: &AccessRecord, line: &mut String) {
    match format {
        AccessLogFormat::Json => json(record, line),
        AccessLogFormat::Clf => clf(record, line),
        AccessLogFormat::Ecs => ecs(record, line),
    }
    line.push('\n');
}

/// The time in UTC as RFC 3339 with milliseconds, such as `2026-01-02T03:04:05.678Z`. A time
/// outside the years -9999 to 9999 reads as 1970.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    format!("{:.3}", timestamp(at))
}

fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// An object under construction; keys are our own constants and need no escape.
struct Object<'a> {
    line: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn open(line: &'a mut String) -> Self {
        line.push('{');
        Self { line, is_empty: true }
    }

    fn key(&mut self, key: &str) {
        self.line.push_str(if self.is_empty { "\"" } else { ",\"" });
        self.line.push_str(key);
        self.line.push_str("\":");
        self.is_empty = false;
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_json(self.line, value);
    }

    fn text_if(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        push(self.line, value);
    }

    fn micros(&mut self, key: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.number(key, u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// A constant that is JSON already.
    fn constant(&mut self, key: &str, json: &str) {
        self.key(key);
        self.line.push_str(json);
    }

    fn close(self) {
        self.line.push('}');
    }
}

fn push(line: &mut String, value: impl Display) {
    write!(line, "{value}").expect("writing to a string does not fail");
}

fn json(record: &AccessRecord, line: &mut String) {
    let mut object = Object::open(line);
    object.text("time", &rfc3339(record.at));
    object.text("client", &record.client.to_canonical().to_string());
    object.text_if("client_name", record.client_name.as_deref());
    object.text_if("class", record.class.map(Class::name));
    object.text_if("user", record.user.as_deref());
    object.text("peer", &record.peer.to_string());
    object.text("method", &record.method);
    object.text_if("host", record.host.as_deref());
    object.text("target", &record.target);
    object.text("protocol", record.protocol);
    object.number("status", u64::from(record.status));
    object.text_if("reason", record.reason.map(model::Reason::code));
    object.text_if("route", record.route.as_deref());
    object.text_if("pool", record.pool.as_deref());
    object.text_if("server", record.server.map(|server| server.to_string()).as_deref());
    object.number("attempts", u64::from(record.attempts));
    object.text("request_id", &record.request_id);
    object.text_if("trace_id", record.trace_id.as_deref());
    object.text_if("user_agent", record.user_agent.as_deref());
    object.text_if("referer", record.referer.as_deref());
    object.number("bytes_in", record.bytes_in);
    object.number("bytes_out", record.bytes_out);
    object.micros("head_us", record.phases.head);
    object.micros("waited_us", record.phases.waited);
    object.micros("pick_us", record.phases.pick);
    object.micros("connect_us", record.phases.connect);
    object.micros("first_byte_us", record.phases.first_byte);
    object.micros("total_us", Some(record.phases.total));
    object.text_if("tls_version", record.tls.as_ref().map(|tls| tls.version));
    object
        .text_if("tls_server_name", record.tls.as_ref().and_then(|tls| tls.server_name.as_deref()));
    object.text_if("tls_client", record.tls.as_ref().and_then(|tls| tls.client.as_deref()));
    object.text("configuration", &record.configuration);
    object.close();
}

/// The combined format: `client - user [time] "request" status bytes "referer" "user agent"`.
fn clf(record: &AccessRecord, line: &mut String) {
    push(line, record.client.to_canonical());
    line.push_str(" - ");
    push_user(line, record.user.as_deref());
    line.push_str(" [");
    push(line, timestamp(record.at).strftime("%d/%b/%Y:%H:%M:%S +0000"));
    line.push_str("] \"");
    push_clf(line, &record.method);
    line.push(' ');
    push_clf(line, &record.target);
    line.push(' ');
    push_clf(line, record.protocol);
    line.push_str("\" ");
    push(line, format_args!("{:03} ", record.status));
    if record.bytes_out == 0 {
        line.push('-');
    } else {
        push(line, record.bytes_out);
    }
    for field in [&record.referer, &record.user_agent] {
        line.push_str(" \"");
        push_clf(line, field.as_deref().unwrap_or("-"));
        line.push('"');
    }
}

/// The only field of this format without quotes: nothing in it may look like the next.
fn push_user(line: &mut String, user: Option<&str>) {
    let start = line.len();
    push_clf(line, user.unwrap_or_default());
    let written = line.split_off(start);
    match written.as_str() {
        "" => line.push('-'),
        "-" => line.push_str("\\x2D"),
        _ => {
            for character in written.chars() {
                match character {
                    ' ' => line.push_str("\\x20"),
                    '[' => line.push_str("\\x5B"),
                    _ => line.push(character),
                }
            }
        }
    }
}

fn ecs(record: &AccessRecord, line: &mut String) {
    let mut object = Object::open(line);
    object.text("@timestamp", &rfc3339(record.at));
    object.text("ecs.version", ECS_VERSION);
    object.constant("event.kind", "\"event\"");
    object.constant("event.category", "[\"web\"]");
    object.constant("event.type", "[\"access\"]");
    object.constant("event.dataset", "\"tidegate.access\"");
    object.text(
        "event.outcome",
        if (100..400).contains(&record.status) { "success" } else { "failure" },
    );
    object.text_if("event.reason", record.reason.map(model::Reason::code));
    object.number("event.duration", saturating_nanos(record.phases.total));
    ecs_request(record, &mut object);
    object.text_if("trace.id", record.trace_id.as_deref());
    if let Some(tls) = &record.tls {
        object.constant("tls.version_protocol", "\"tls\"");
        object.text("tls.version", tls.version);
        object.text_if("tls.client.server_name", tls.server_name.as_deref());
        object.text_if("tls.client.subject", tls.client.as_deref());
    }
    if let Some(server) = record.server {
        object.text("destination.ip", &server.ip().to_canonical().to_string());
        object.number("destination.port", u64::from(server.port()));
    }
    // What the schema has no field for stands under our own name, as it asks.
    object.text_if("tidegate.client", record.client_name.as_deref());
    object.text_if("tidegate.class", record.class.map(Class::name));
    object.text_if("tidegate.route", record.route.as_deref());
    object.text_if("tidegate.pool", record.pool.as_deref());
    object.number("tidegate.attempts", u64::from(record.attempts));
    object.micros("tidegate.head_us", record.phases.head);
    object.micros("tidegate.waited_us", record.phases.waited);
    object.micros("tidegate.pick_us", record.phases.pick);
    object.micros("tidegate.connect_us", record.phases.connect);
    object.micros("tidegate.first_byte_us", record.phases.first_byte);
    object.text("tidegate.configuration", &record.configuration);
    object.close();
}

/// The fields of the request and the response themselves.
fn ecs_request(record: &AccessRecord, object: &mut Object<'_>) {
    object.text("client.ip", &record.client.to_canonical().to_string());
    object.text("source.ip", &record.peer.ip().to_canonical().to_string());
    object.number("source.port", u64::from(record.peer.port()));
    object.text("http.version", record.protocol.strip_prefix("HTTP/").unwrap_or(record.protocol));
    object.text("http.request.id", &record.request_id);
    object.text("http.request.method", &record.method);
    object.text_if("http.request.referrer", record.referer.as_deref());
    object.number("http.request.body.bytes", record.bytes_in);
    object.number("http.response.body.bytes", record.bytes_out);
    if record.status != 0 {
        object.number("http.response.status_code", u64::from(record.status));
    }
    if let Some(host) = &record.host {
        let (domain, port) = split_port(host);
        object.text("url.domain", domain);
        if let Some(port) = port {
            object.number("url.port", u64::from(port));
        }
    }
    object.text("url.original", &record.target);
    if record.target.starts_with('/') {
        let (path, query) = record
            .target
            .split_once('?')
            .map_or((record.target.as_str(), None), |(p, q)| (p, Some(q)));
        object.text("url.path", path);
        object.text_if("url.query", query);
    }
    object.text_if("user.name", record.user.as_deref());
    object.text_if("user_agent.original", record.user_agent.as_deref());
}

/// Parts a port from a host; the colons inside `[::1]` part nothing.
fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((domain, port)) if !port.contains(']') => match port.parse() {
            Ok(port) => (domain, Some(port)),
            // Not a port: the text is kept whole, as the client sent it.
            Err(_) => (host, None),
        },
        Some(_) | None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::is_unsafe_to_show;
    use crate::access::record::{Phases, TlsFacts};
    use model::Reason;
    use proptest::prelude::*;

    fn full() -> AccessRecord {
        AccessRecord {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
            client: "203.0.113.7".parse().unwrap(),
            client_name: Some("partner".into()),
            class: Some(Class::Important),
            user: Some("al \"x\"[".to_owned()),
            peer: "[::ffff:192.0.2.1]:50000".parse().unwrap(),
            method: "GET".to_owned(),
            host: Some("example.org:8080".to_owned()),
            target: "/a b?q=\u{1b}[31m\"".to_owned(),
            protocol: "HTTP/1.1",
            status: 502,
            reason: Some(Reason::ConnectFailed),
            route: Some("api".into()),
            pool: Some("web".into()),
            server: Some("127.0.0.1:3001".parse().unwrap()),
            attempts: 2,
            request_id: "r1".to_owned(),
            user_agent: Some("curl/8\r\n".to_owned()),
            referer: Some("http://x/\\".to_owned()),
            bytes_in: 10,
            bytes_out: 2_326,
            phases: Phases {
                head: Some(Duration::from_micros(5)),
                waited: Some(Duration::from_micros(700)),
                pick: Some(Duration::ZERO),
                connect: Some(Duration::from_micros(300)),
                first_byte: Some(Duration::from_millis(2)),
                total: Duration::from_nanos(3_000_001),
            },
            tls: Some(TlsFacts {
                version: "1.3",
                server_name: Some("example.org".to_owned()),
                client: None,
            }),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
            configuration: "7".into(),
        }
    }

    fn bare() -> AccessRecord {
        AccessRecord {
            at: SystemTime::UNIX_EPOCH,
            client: "2001:db8::1".parse().unwrap(),
            client_name: None,
            class: None,
            user: None,
            peer: "[2001:db8::1]:1".parse().unwrap(),
            method: "-".to_owned(),
            host: None,
            target: "-".to_owned(),
            status: 0,
            reason: Some(Reason::HeadTimeout),
            route: None,
            pool: None,
            server: None,
            attempts: 0,
            user_agent: None,
            referer: None,
            bytes_in: 0,
            bytes_out: 0,
            phases: Phases::default(),
            tls: None,
            trace_id: None,
            ..full()
        }
    }

    fn check(format: AccessLogFormat, record: &AccessRecord, expected: &str) {
        let mut line = String::new();
        format_line(format, record, &mut line);
        assert_eq!(line, format!("{expected}\n"));
    }

    #[test]
    fn json_lines() {
        check(
            AccessLogFormat::Json,
            &full(),
            concat!(
                r#"{"time":"2026-01-02T03:04:05.678Z","client":"203.0.113.7","client_name":"partner","class":"important","user":"al \"x\"[","peer":"[::ffff:192.0.2.1]:50000","method":"GET","#,
                r#""host":"example.org:8080","target":"/a b?q=\u001b[31m\"","protocol":"HTTP/1.1","status":502,"reason":"connect_failed","#,
                r#""route":"api","pool":"web","server":"127.0.0.1:3001","attempts":2,"request_id":"r1","#,
                r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","user_agent":"curl/8\r\n","referer":"http://x/\\","bytes_in":10,"bytes_out":2326,"#,
                r#""head_us":5,"waited_us":700,"pick_us":0,"connect_us":300,"first_byte_us":2000,"total_us":3000,"tls_version":"1.3","tls_server_name":"example.org","configuration":"7"}"#,
            ),
        );
        check(
            AccessLogFormat::Json,
            &bare(),
            concat!(
                r#"{"time":"1970-01-01T00:00:00.000Z","client":"2001:db8::1","peer":"[2001:db8::1]:1","method":"-","target":"-","#,
                r#""protocol":"HTTP/1.1","status":0,"reason":"head_timeout","attempts":0,"request_id":"r1","bytes_in":0,"bytes_out":0,"total_us":0,"configuration":"7"}"#,
            ),
        );
    }

    #[test]
    fn clf_lines() {
        check(
            AccessLogFormat::Clf,
            &full(),
            r#"203.0.113.7 - al\x20\"x\"\x5B [02/Jan/2026:03:04:05 +0000] "GET /a b?q=\x1B[31m\" HTTP/1.1" 502 2326 "http://x/\\" "curl/8\x0D\x0A""#,
        );
        check(
            AccessLogFormat::Clf,
            &bare(),
            r#"2001:db8::1 - - [01/Jan/1970:00:00:00 +0000] "- - HTTP/1.1" 000 - "-" "-""#,
        );
    }

    #[test]
    fn ecs_lines() {
        check(
            AccessLogFormat::Ecs,
            &full(),
            concat!(
                r#"{"@timestamp":"2026-01-02T03:04:05.678Z","ecs.version":"8.17.0","event.kind":"event","event.category":["web"],"#,
                r#""event.type":["access"],"event.dataset":"tidegate.access","event.outcome":"failure","event.reason":"connect_failed","#,
                r#""event.duration":3000001,"client.ip":"203.0.113.7","source.ip":"192.0.2.1","source.port":50000,"http.version":"1.1","#,
                r#""http.request.id":"r1","http.request.method":"GET","http.request.referrer":"http://x/\\","http.request.body.bytes":10,"#,
                r#""http.response.body.bytes":2326,"http.response.status_code":502,"url.domain":"example.org","url.port":8080,"#,
                r#""url.original":"/a b?q=\u001b[31m\"","url.path":"/a b","url.query":"q=\u001b[31m\"","user.name":"al \"x\"[","user_agent.original":"curl/8\r\n","#,
                r#""trace.id":"4bf92f3577b34da6a3ce929d0e0e4736","tls.version_protocol":"tls","tls.version":"1.3","tls.client.server_name":"example.org","#,
                r#""destination.ip":"127.0.0.1","destination.port":3001,"tidegate.client":"partner","tidegate.class":"important","tidegate.route":"api","tidegate.pool":"web","tidegate.attempts":2,"#,
                r#""tidegate.head_us":5,"tidegate.waited_us":700,"tidegate.pick_us":0,"tidegate.connect_us":300,"tidegate.first_byte_us":2000,"tidegate.configuration":"7"}"#,
            ),
        );
        check(
            AccessLogFormat::Ecs,
            &bare(),
            concat!(
                r#"{"@timestamp":"1970-01-01T00:00:00.000Z","ecs.version":"8.17.0","event.kind":"event","event.category":["web"],"#,
                r#""event.type":["access"],"event.dataset":"tidegate.access","event.outcome":"failure","event.reason":"head_timeout","#,
                r#""event.duration":0,"client.ip":"2001:db8::1","source.ip":"2001:db8::1","source.port":1,"http.version":"1.1","#,
                r#""http.request.id":"r1","http.request.method":"-","http.request.body.bytes":0,"http.response.body.bytes":0,"#,
                r#""url.original":"-","tidegate.attempts":0,"tidegate.configuration":"7"}"#,
            ),
        );
    }

    #[test]
    fn ports_part_from_hosts() {
        for (host, domain, port) in [
            ("a.example", "a.example", None),
            ("a.example:80", "a.example", Some(80)),
            ("[::1]", "[::1]", None),
            ("[::1]:8080", "[::1]", Some(8_080)),
            ("a:b", "a:b", None),
            (":", ":", None),
            ("a:99999", "a:99999", None),
        ] {
            assert_eq!(split_port(host), (domain, port), "{host}");
        }
    }

    #[test]
    fn a_time_out_of_range_does_not_panic() {
        let late = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1 << 60)).unwrap();
        assert_eq!(rfc3339(late), "1970-01-01T00:00:00.000Z");
    }

    /// Any text, often hostile: with control characters, quotes, and longer than the limit.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            prop::collection::vec(
                prop::sample::select(vec![
                    '\u{1b}', '"', '\\', '\n', '\r', '\0', '\u{9b}', '\u{202e}', 'é', 'a', '%'
                ]),
                0..3_000
            )
            .prop_map(String::from_iter),
        ]
    }

    proptest! {
        #[test]
        fn lines_read_back_and_show_no_control_character(method in text(), target in text(), host in text(), agent in text()) {
            let mut record = full();
            (record.method, record.target) = (method, target);
            (record.host, record.user_agent) = (Some(host), Some(agent));
            for format in [AccessLogFormat::Json, AccessLogFormat::Clf, AccessLogFormat::Ecs] {
                let mut line = String::new();
                format_line(format, &record, &mut line);
                let body = line.strip_suffix('\n').unwrap();
                prop_assert!(!body.contains(is_unsafe_to_show), "{body:?}");
                prop_assert!(line.len() < 200_000);
                let (method, agent) = match format {
                    AccessLogFormat::Clf => {
                        prop_assert!(body.is_ascii());
                        continue;
                    }
                    AccessLogFormat::Json => ("method", "user_agent"),
                    AccessLogFormat::Ecs => ("http.request.method", "user_agent.original"),
                };
                let object: serde_json::Value = serde_json::from_str(body).unwrap();
                let check = |key: &str, sent: &str| {
                    let read = object[key].as_str().unwrap();
                    if sent.len() <= super::super::TEXT_BYTES_MAX {
                        assert_eq!(read, sent);
                    } else {
                        let kept = read.strip_suffix(super::super::TRUNCATION_MARK).unwrap();
                        assert!(sent.starts_with(kept) && kept.len() > super::super::TEXT_BYTES_MAX - 4);
                    }
                };
                check(method, &record.method);
                check(agent, record.user_agent.as_deref().unwrap());
            }
        }
    }
}
