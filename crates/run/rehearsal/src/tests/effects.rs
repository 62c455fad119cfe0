//! What each setting of a sample application does to those who ask it.

use std::time::Duration;

use futures_util::future::join_all;
use model::drill::Database;
use model::sample::{RouteCost, SampleSettings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{Sample, get, quick};
use crate::sample::{Ended, control};
use crate::stage::postgres::Postgres;

/// More than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(20);

fn route(path: &str) -> RouteCost {
    RouteCost { path: path.to_owned(), ..RouteCost::default() }
}

impl Sample {
    async fn change(&self, change: Value) -> Value {
        control(self.address, Some(&change)).await.unwrap()
    }

    /// How long `count` requests at once took, with their statuses.
    async fn at_once(&self, path: &str, count: usize) -> (Duration, Vec<u16>) {
        let begin = Instant::now();
        let answers = join_all((0..count).map(|_| get(self.address, path))).await;
        (begin.elapsed(), answers.iter().map(|answer| answer.status).collect())
    }
}

#[tokio::test]
async fn every_answer_names_the_version() {
    let sample = Sample::start(SampleSettings { error_rate: 1.0, ..quick() }).await;
    sample.change(json!({ "version": "v2" })).await;
    for path in ["/", "/health", "/_control", "/status/404"] {
        assert_eq!(get(sample.address, path).await.header("x-version"), "v2", "{path}");
    }
    sample.end().await;
}

#[tokio::test]
async fn cpu_time_is_burnt_on_one_core() {
    let settings = SampleSettings { cpu_ms: 60.0, concurrency: 3, ..quick() };
    let sample = Sample::start(settings).await;
    let (took, statuses) = sample.at_once("/", 3).await;
    assert_eq!(statuses, [200; 3]);
    assert!(took >= Duration::from_millis(180), "one after the other: {took:?}");
    sample.end().await;
}

#[tokio::test]
async fn each_request_at_work_slows_all_down() {
    let settings =
        SampleSettings { service_time_ms: 100.0, contention: 1.0, concurrency: 4, ..quick() };
    let sample = Sample::start(settings).await;
    let (took, _) = sample.at_once("/", 4).await;
    assert!(took >= Duration::from_millis(400), "four times 100 ms for the last: {took:?}");
    sample.end().await;
}

#[tokio::test]
async fn a_contended_lock_gives_less_the_more_want_it() {
    let settings = SampleSettings {
        routes: vec![RouteCost { lock_ms: 20.0, ..route("/") }],
        contention: 0.5,
        concurrency: 8,
        ..quick()
    };
    let sample = Sample::start(settings).await;
    // Eight in a row hold it for 160 ms; eight at once for 20 ms x (1 + 1.5 + 2 + ... + 4.5) = 440 ms.
    let (took, _) = sample.at_once("/", 8).await;
    assert!(took >= Duration::from_millis(350), "{took:?}");
    sample.end().await;
}

#[tokio::test]
async fn routes_have_costs_of_their_own() {
    let settings = SampleSettings {
        service_time_ms: 60_000.0,
        routes: vec![
            RouteCost { service_time_ms: 60_000.0, cache_hit_share: 1.0, ..route("/cached") },
            RouteCost { service_time_ms: 80.0, ..route("/slow") },
            route("/fast"),
        ],
        ..quick()
    };
    let sample = Sample::start(settings).await;
    let cached = timeout(LONG, get(sample.address, "/cached/1")).await.unwrap();
    assert_eq!((cached.status, cached.header("x-cache")), (200, "hit"));
    let fast = timeout(LONG, get(sample.address, "/fast")).await.unwrap();
    assert_eq!((fast.status, fast.header("x-cache")), (200, ""));
    let (took, _) = sample.at_once("/slow", 1).await;
    assert!(took >= Duration::from_millis(80) && took < LONG, "{took:?}");
    sample.end().await;
}

#[tokio::test]
async fn a_seed_replays() {
    let settings = SampleSettings {
        routes: vec![RouteCost { cache_hit_share: 0.5, ..route("/") }],
        error_rate: 0.2,
        seed: 7,
        ..quick()
    };
    let mut runs = Vec::new();
    for _ in 0..2 {
        let sample = Sample::start(settings.clone()).await;
        let mut seen = Vec::new();
        for _ in 0..40 {
            let answer = get(sample.address, "/").await;
            seen.push((answer.status, answer.header("x-cache").to_owned()));
        }
        runs.push(seen);
        sample.end().await;
    }
    assert_eq!(runs[0], runs[1]);
    for kind in [(200, "hit"), (200, "miss"), (500, "")] {
        assert!(
            runs[0].iter().any(|(status, cache)| (*status, cache.as_str()) == kind),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn a_half_open_application_reads_and_never_answers() {
    let sample = Sample::start(quick()).await;
    sample.change(json!({ "half_open": true })).await;
    let mut streams = Vec::new();
    for head in ["GET / HTTP/1.1", "GET /health HTTP/1.1", "POST /upload HTTP/1.1"] {
        let mut stream = TcpStream::connect(sample.address).await.unwrap();
        let request = format!("{head}\r\nhost: a\r\ncontent-length: 50000\r\n\r\n{:50000}", "");
        timeout(LONG, stream.write_all(request.as_bytes())).await.unwrap().unwrap();
        streams.push(stream);
    }
    let silence = timeout(Duration::from_millis(100), streams[1].read_u8()).await;
    assert!(silence.is_err(), "the health check is not answered either");
    sample.change(json!({ "half_open": false })).await;
    for mut stream in streams {
        let mut answer = Vec::new();
        timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, b"", "not even later");
    }
    assert_eq!(get(sample.address, "/").await.status, 200);
    sample.end().await;
}

#[tokio::test]
async fn a_lying_check_does_not_stop_the_work() {
    let sample = Sample::start(SampleSettings { healthy: false, ..quick() }).await;
    assert_eq!(get(sample.address, "/health").await.status, 503);
    assert_eq!(get(sample.address, "/").await.status, 200);
    sample.end().await;
}

#[tokio::test]
async fn lost_memory_is_counted_and_given_back() {
    let settings = SampleSettings { leak_bytes_per_second: 10_000_000, ..quick() };
    let sample = Sample::start(settings).await;
    let lost = async || control(sample.address, None).await.unwrap()["leaked_bytes"].as_u64();
    timeout(LONG, async { while lost().await < Some(1_000_000) {} }).await.unwrap();
    sample.change(json!({ "leak_bytes_per_second": 0 })).await;
    timeout(LONG, async { while lost().await > Some(0) {} }).await.unwrap();
    sample.end().await;
}

#[tokio::test]
async fn out_of_memory_is_the_end() {
    let settings = SampleSettings {
        leak_bytes_per_second: 10_000_000,
        leak_bytes_max: 1_000_000,
        service_time_ms: 60_000.0,
        ..quick()
    };
    let mut sample = Sample::start(settings).await;
    let mut stream = TcpStream::connect(sample.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let ended = timeout(LONG, sample.task.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(ended.unwrap(), Ended::OutOfMemory);
    let mut answer = Vec::new();
    // Cut off: an end or a reset, but no answer.
    drop(timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap());
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn a_paused_process_stands_still() {
    let settings = SampleSettings { pause_every_ms: 200, pause_ms: 150, ..quick() };
    let sample = Sample::start(settings).await;
    let waited = async {
        loop {
            let (took, _) = sample.at_once("/", 1).await;
            if took >= Duration::from_millis(100) {
                return;
            }
        }
    };
    timeout(LONG, waited).await.unwrap();
    sample.end().await;
}

#[tokio::test]
async fn gauges_count_work_and_only_work() {
    let sample =
        Sample::start(SampleSettings { service_time_ms: 60_000.0, concurrency: 1, ..quick() })
            .await;
    let at_work = async { drop(timeout(LONG, get(sample.address, "/")).await) };
    let look = async {
        loop {
            let seen = control(sample.address, None).await.unwrap();
            if seen["busy"] == 1 {
                return seen;
            }
        }
    };
    let seen = tokio::select! { () = at_work => panic!("it takes a minute"), seen = look => seen };
    assert_eq!((&seen["waiting"], &seen["served"]), (&json!(0), &json!(0)));
    sample.change(json!({ "service_time_ms": 0.0 })).await;
    // The client above has left: its place is free again.
    assert_eq!(get(sample.address, "/").await.status, 200);
    assert_eq!(get(sample.address, "/health").await.status, 200);
    let seen = sample.change(json!({ "error_rate": 1.0 })).await;
    assert_eq!((&seen["served"], &seen["failed"]), (&json!(1), &json!(0)));
    assert_eq!(get(sample.address, "/").await.status, 500);
    let seen = control(sample.address, None).await.unwrap();
    assert_eq!(
        (&seen["busy"], &seen["served"], &seen["failed"]),
        (&json!(0), &json!(1), &json!(1))
    );
    sample.end().await;
}

#[tokio::test]
async fn queries_are_asked_of_a_real_database() {
    let scratch = tempfile::tempdir().unwrap();
    let postgres =
        Postgres::start(scratch.path(), &Database { connections_max: 10, rows: 1_000 }).unwrap();
    let settings = SampleSettings {
        routes: vec![
            RouteCost { queries: 2, query_ms: 30.0, ..route("/orders") },
            RouteCost { queries: 1, query_ms: 500.0, ..route("/report") },
        ],
        database: Some(postgres.url()),
        database_connections_max: 2,
        concurrency: 30,
        ..quick()
    };
    let sample = Sample::start(settings).await;
    let (took, statuses) = sample.at_once("/orders", 4).await;
    assert_eq!(statuses, [200; 4], "a pool lets wait");
    assert!(took >= Duration::from_millis(120), "two by two: {took:?}");

    // Seven places are left to applications; twenty connections at once are too many.
    let seen = sample.change(json!({ "database_connect_each": true })).await;
    assert_eq!((&seen["database_attempts"], &seen["database_failures"]), (&json!(8), &json!(0)));
    let answers = join_all((0..20).map(|_| get(sample.address, "/report"))).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(!refused.is_empty() && refused.len() < answers.len(), "{}", refused.len());
    for answer in &refused {
        assert_eq!((answer.status, answer.header("x-sqlstate")), (500, "53300"));
        assert!(answer.text().contains("53300"), "{}", answer.text());
    }
    let seen = control(sample.address, None).await.unwrap();
    assert_eq!(
        (&seen["database_attempts"], &seen["database_failures"]),
        (&json!(28), &json!(refused.len()))
    );

    postgres.end();
    let answer = get(sample.address, "/orders").await;
    assert_eq!((answer.status, answer.header("x-sqlstate")), (500, "08001"));
    sample.end().await;
}
