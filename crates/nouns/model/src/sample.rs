//! How a sample application behaves, and the one way to change that while it runs.
//!
//! Drills name these settings, the sample application obeys them.
//! Invariant: settings that were checked once are in range; a change that is not in range, or
//! names an unknown key, changes nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The behaviour of one sample application; the JSON of `/_control` has these keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleSettings {
    /// In each answer, as text and as the header `x-server`: 1 to 64 visible ASCII characters.
    pub name: String,
    /// Mean milliseconds of work per request, 0 to 60,000.
    pub service_time_ms: f64,
    /// How the time of one request varies around that mean.
    pub distribution: Distribution,
    /// Requests served at once, 1 to 10,000.
    pub concurrency: usize,
    /// Requests that may wait, 0 to 10,000; further ones are answered 503 at once.
    pub queue_max: usize,
    /// The share of requests that fail, 0 to 1.
    pub error_rate: f64,
    /// The status of a failing request, 400 to 599.
    pub error_status: u16,
    /// True: a failing request is answered at once instead of after its service time.
    pub fast_errors: bool,
    /// The path of the health check; begins with `/`.
    pub health_path: String,
    /// What the health check says.
    pub healthy: bool,
    /// Bytes of an ordinary answer's body, at least the name; 0 to 16 MiB.
    pub body_bytes: usize,
    /// In each answer as the header `x-version`: 1 to 64 visible ASCII characters.
    pub version: String,
    /// Milliseconds of CPU each request burns besides its service time, 0 to 10,000. The process has
    /// one core for all of them: what one request burns, others wait for, health checks included.
    pub cpu_ms: f64,
    /// What each further request at work adds to the time of all, as a share of it, 0 to 10: a lock
    /// that everybody needs. Above zero, throughput stops growing and latency does not; of what one
    /// request does at a time (CPU, [`RouteCost::lock_ms`]), throughput falls past a knee.
    pub contention: f64,
    /// Routes with a cost of their own, at most 64; the first whose path is a prefix counts.
    pub routes: Vec<RouteCost>,
    /// True: connections are accepted and requests read, and nothing is ever answered, health checks included.
    pub half_open: bool,
    /// Bytes of memory lost a second, 0 to 256 MiB. Zero gives back what was lost.
    pub leak_bytes_per_second: u64,
    /// No more than this is ever lost, 0 to 1 GiB. At the bound the process ends as if out of memory.
    pub leak_bytes_max: u64,
    /// The whole process stands still this often, as in garbage collection; 0 for never, up to 600,000.
    pub pause_every_ms: u64,
    /// How long it stands still each time, 0 to 60,000, less than `pause_every_ms`.
    pub pause_ms: u64,
    /// The database that routes with queries ask: `postgres://USER@HOST:PORT/NAME`.
    pub database: Option<String>,
    /// Connections to the database at once, 1 to 1,000; a request that finds none free waits for 5 s,
    /// then fails with 503.
    pub database_connections_max: usize,
    /// True: a connection of its own for each query, as applications without a pool do; nothing but
    /// `concurrency` bounds them.
    pub database_connect_each: bool,
    /// Of the random numbers; 0: a different one each time.
    pub seed: u64,
}

/// What one route of a sample application costs, instead of the general service time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteCost {
    /// The begin of the path; begins with `/`.
    pub path: String,
    /// Mean milliseconds of waiting, 0 to 60,000.
    pub service_time_ms: f64,
    /// Milliseconds of CPU, 0 to 10,000.
    pub cpu_ms: f64,
    /// Milliseconds under a lock of this process that one request holds at a time, 0 to 10,000.
    pub lock_ms: f64,
    /// Queries to the database, 0 to 100.
    pub queries: u32,
    /// Milliseconds the database works on each query, 0 to 10,000.
    pub query_ms: f64,
    /// The share of requests that a cache answers without any of this, 0 to 1.
    pub cache_hit_share: f64,
}

impl Default for RouteCost {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            service_time_ms: 0.0,
            cpu_ms: 0.0,
            lock_ms: 0.0,
            queries: 0,
            query_ms: 0.0,
            cache_hit_share: 0.0,
        }
    }
}

impl RouteCost {
    /// What is wrong with it, in one sentence.
    fn broken_rule(&self) -> Option<String> {
        let path_fits = self.path.starts_with('/') && self.path.len() <= 256;
        let rules = [
            (path_fits, "path must begin with / and have at most 256 characters"),
            (
                (0.0..=60_000.0).contains(&self.service_time_ms),
                "service_time_ms must be 0 to 60000",
            ),
            ((0.0..=10_000.0).contains(&self.cpu_ms), "cpu_ms must be 0 to 10000"),
            ((0.0..=10_000.0).contains(&self.lock_ms), "lock_ms must be 0 to 10000"),
            (self.queries <= 100, "queries must be 0 to 100"),
            ((0.0..=10_000.0).contains(&self.query_ms), "query_ms must be 0 to 10000"),
            ((0.0..=1.0).contains(&self.cache_hit_share), "cache_hit_share must be 0 to 1"),
        ];
        let (_, rule) = rules.iter().find(|(fits, _)| !fits)?;
        Some(format!("route {:?}: {rule}", self.path))
    }
}

/// How the service time of one request varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Always the mean.
    Fixed,
    /// Exponential: many short, few long.
    Exponential,
    /// Log-normal with sigma 1: a longer tail.
    Lognormal,
}

/// Routes with a cost of their own, at most.
const ROUTES_MAX: usize = 64;
/// The longest time one request is served, whatever the distribution draws.
const SERVICE_TIME_MAX: Duration = Duration::from_secs(60);

impl Default for SampleSettings {
    fn default() -> Self {
        Self {
            name: "sample".to_owned(),
            service_time_ms: 20.0,
            distribution: Distribution::Fixed,
            concurrency: 5,
            queue_max: 10_000,
            error_rate: 0.0,
            error_status: 500,
            fast_errors: false,
            health_path: "/health".to_owned(),
            healthy: true,
            body_bytes: 100,
            version: "v1".to_owned(),
            cpu_ms: 0.0,
            contention: 0.0,
            routes: Vec::new(),
            half_open: false,
            leak_bytes_per_second: 0,
            leak_bytes_max: 512 * 1_024 * 1_024,
            pause_every_ms: 0,
            pause_ms: 0,
            database: None,
            database_connections_max: 10,
            database_connect_each: false,
            seed: 0,
        }
    }
}

impl SampleSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// One sentence that names the setting and its range.
    pub fn checked(self) -> Result<Self, String> {
        let rules = [
            (is_label(&self.name), "name must be 1 to 64 visible ASCII characters"),
            (is_label(&self.version), "version must be 1 to 64 visible ASCII characters"),
            (
                (0.0..=60_000.0).contains(&self.service_time_ms),
                "service_time_ms must be 0 to 60000",
            ),
            ((0.0..=10_000.0).contains(&self.cpu_ms), "cpu_ms must be 0 to 10000"),
            ((0.0..=10.0).contains(&self.contention), "contention must be 0 to 10"),
            ((1..=10_000).contains(&self.concurrency), "concurrency must be 1 to 10000"),
            (self.queue_max <= 10_000, "queue_max must be 0 to 10000"),
            ((0.0..=1.0).contains(&self.error_rate), "error_rate must be 0 to 1"),
            ((400..=599).contains(&self.error_status), "error_status must be 400 to 599"),
            (self.health_path.starts_with('/'), "health_path must begin with /"),
            (self.body_bytes <= 16 * 1_024 * 1_024, "body_bytes must be 0 to 16777216"),
            (self.routes.len() <= ROUTES_MAX, "routes must be at most 64"),
            (
                self.leak_bytes_per_second <= 256 * 1_024 * 1_024,
                "leak_bytes_per_second must be 0 to 268435456",
            ),
            (
                self.leak_bytes_max <= 1_024 * 1_024 * 1_024,
                "leak_bytes_max must be 0 to 1073741824",
            ),
            (self.pause_every_ms <= 600_000, "pause_every_ms must be 0 to 600000"),
            (self.pause_ms <= 60_000, "pause_ms must be 0 to 60000"),
            (
                self.pause_every_ms == 0 || self.pause_ms < self.pause_every_ms,
                "pause_ms must be less than pause_every_ms",
            ),
            (
                self.database.as_deref().is_none_or(is_database_url),
                "database must be postgres://USER@HOST:PORT/NAME",
            ),
            (
                (1..=1_000).contains(&self.database_connections_max),
                "database_connections_max must be 1 to 1000",
            ),
        ];
        if let Some((_, rule)) = rules.iter().find(|(fits, _)| !fits) {
            return Err((*rule).to_owned());
        }
        match self.routes.iter().find_map(RouteCost::broken_rule) {
            Some(why) => Err(why),
            None => Ok(self),
        }
    }

    /// What a request for `path` costs: the first route that begins it, or the general times.
    #[must_use]
    pub fn cost(&self, path: &str) -> RouteCost {
        let route = self.routes.iter().find(|route| path.starts_with(&route.path));
        route.cloned().unwrap_or_else(|| RouteCost {
            path: String::new(),
            service_time_ms: self.service_time_ms,
            cpu_ms: self.cpu_ms,
            ..RouteCost::default()
        })
    }

    /// These settings with the keys of a JSON object replaced.
    ///
    /// # Errors
    /// One sentence: no object, an unknown key, a wrong type, or a value out of range.
    pub fn changed(&self, change: &[u8]) -> Result<Self, String> {
        let change: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(change)
            .map_err(|error| format!("expected a JSON object of settings: {error}"))?;
        let mut merged = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for (key, value) in change {
            let known =
                merged.get_mut(&key).ok_or_else(|| format!("there is no setting {key:?}"))?;
            *known = value;
        }
        serde_json::from_value::<Self>(merged).map_err(|error| error.to_string())?.checked()
    }

    /// The time one request takes around a mean; `draw` gives numbers from 0 (included) to 1.
    #[must_use]
    pub fn service_time(&self, mean_ms: f64, mut draw: impl FnMut() -> f64) -> Duration {
        let factor = match self.distribution {
            Distribution::Fixed => 1.0,
            Distribution::Exponential => -(1.0 - draw()).ln(),
            Distribution::Lognormal => {
                // Box-Muller; exp(-1/2) makes the mean of exp(normal) one.
                let normal =
                    (-2.0 * (1.0 - draw()).ln()).sqrt() * (std::f64::consts::TAU * draw()).cos();
                (normal - 0.5).exp()
            }
        };
        bounded_time(mean_ms * factor)
    }

    /// A time of `milliseconds` when `at_work` requests are: what [contention](Self::contention) adds.
    #[must_use]
    pub fn contended(&self, milliseconds: f64, at_work: usize) -> Duration {
        let others = u32::try_from(at_work.saturating_sub(1)).unwrap_or(u32::MAX);
        bounded_time(milliseconds * (1.0 + self.contention * f64::from(others)))
    }
}

fn bounded_time(milliseconds: f64) -> Duration {
    let time = Duration::try_from_secs_f64(milliseconds / 1_000.0);
    time.unwrap_or(SERVICE_TIME_MAX).min(SERVICE_TIME_MAX)
}

/// What can be the value of a header and of a label.
fn is_label(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `postgres://USER@HOST:PORT/NAME`, and nothing that would have to be decoded.
fn is_database_url(url: &str) -> bool {
    let plain = |part: &str| {
        (1..=253).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let parts = || {
        let (user, rest) = url.strip_prefix("postgres://")?.split_once('@')?;
        let (address, name) = rest.split_once('/')?;
        let (host, port) = address.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        Some(plain(user) && plain(host) && port > 0 && plain(name))
    };
    parts().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: &str, expected: &str) {
        let before = SampleSettings::default();
        let found = match before.changed(change.as_bytes()) {
            Ok(after) => {
                let before = serde_json::to_value(&before).unwrap();
                let after = serde_json::to_value(&after).unwrap();
                let differs = |(key, value): (&String, &serde_json::Value)| {
                    (before[key] != *value).then(|| format!("{key}={value}"))
                };
                after.as_object().unwrap().iter().filter_map(differs).collect::<Vec<_>>().join(" ")
            }
            Err(why) => why,
        };
        assert_eq!(found, expected, "{change}");
    }

    #[test]
    fn a_change_replaces_the_named_settings_only() {
        check("{}", "");
        check(r#"{"service_time_ms": 200}"#, "service_time_ms=200.0");
        check(
            r#"{"error_rate": 0.5, "healthy": false, "distribution": "lognormal"}"#,
            "distribution=\"lognormal\" error_rate=0.5 healthy=false",
        );
    }

    #[test]
    fn a_bad_change_says_why() {
        check(r#"{"service_time": 200}"#, "there is no setting \"service_time\"");
        check(r#"{"error_rate": 1.5}"#, "error_rate must be 0 to 1");
        check(r#"{"service_time_ms": -1}"#, "service_time_ms must be 0 to 60000");
        check(r#"{"concurrency": 0}"#, "concurrency must be 1 to 10000");
        check(r#"{"name": "a b"}"#, "name must be 1 to 64 visible ASCII characters");
        check(r#"{"version": ""}"#, "version must be 1 to 64 visible ASCII characters");
        check(r#"{"cpu_ms": 10001}"#, "cpu_ms must be 0 to 10000");
        check(r#"{"contention": -0.1}"#, "contention must be 0 to 10");
        check(r#"{"leak_bytes_max": 1073741825}"#, "leak_bytes_max must be 0 to 1073741824");
        check(
            r#"{"pause_every_ms": 100, "pause_ms": 100}"#,
            "pause_ms must be less than pause_every_ms",
        );
        check(r#"{"database_connections_max": 0}"#, "database_connections_max must be 1 to 1000");
        check(
            r#"{"routes": [{"path": "/a"}, {"path": "/b", "lock_ms": -1}]}"#,
            "route \"/b\": lock_ms must be 0 to 10000",
        );
        check(
            r#"{"routes": [{"path": "a"}]}"#,
            "route \"a\": path must begin with / and have at most 256 characters",
        );
        check(r#"{"healthy": "no"}"#, "invalid type: string \"no\", expected a boolean");
    }

    #[test]
    fn a_database_is_named_in_one_way() {
        for (url, fits) in [
            ("postgres://app@127.0.0.1:5432/shop", true),
            ("postgres://app@db.internal:5432/shop_1", true),
            ("postgresql://app@127.0.0.1:5432/shop", false),
            ("postgres://app:secret@127.0.0.1:5432/shop", false),
            ("postgres://127.0.0.1:5432/shop", false),
            ("postgres://app@127.0.0.1/shop", false),
            ("postgres://app@127.0.0.1:0/shop", false),
            ("postgres://app@127.0.0.1:5432/", false),
            ("postgres://app@127.0.0.1:5432/shop?sslmode=disable", false),
        ] {
            let settings =
                SampleSettings { database: Some(url.to_owned()), ..SampleSettings::default() };
            assert_eq!(settings.checked().is_ok(), fits, "{url}");
        }
    }

    #[test]
    fn each_distribution_keeps_its_mean() {
        for distribution in
            [Distribution::Fixed, Distribution::Exponential, Distribution::Lognormal]
        {
            let settings = SampleSettings { distribution, ..SampleSettings::default() };
            let mut random = fastrand::Rng::with_seed(7);
            let total: Duration =
                (0..100_000).map(|_| settings.service_time(20.0, || random.f64())).sum();
            let mean_ms = total.as_secs_f64() * 1_000.0 / 100_000.0;
            assert!((19.0..21.0).contains(&mean_ms), "{distribution:?}: {mean_ms}");
        }
    }

    #[test]
    fn a_service_time_is_bounded() {
        let settings = SampleSettings {
            distribution: Distribution::Exponential,
            contention: 10.0,
            ..SampleSettings::default()
        };
        assert_eq!(settings.service_time(60_000.0, || 0.999_999), SERVICE_TIME_MAX);
        assert_eq!(settings.service_time(60_000.0, || 1.0), SERVICE_TIME_MAX);
        assert_eq!(settings.contended(10_000.0, 10_000), SERVICE_TIME_MAX);
    }

    #[test]
    fn contention_adds_a_share_for_each_other_request() {
        let settings = SampleSettings { contention: 0.5, ..SampleSettings::default() };
        for (at_work, expected_ms) in [(0, 10), (1, 10), (2, 15), (11, 60)] {
            assert_eq!(settings.contended(10.0, at_work), Duration::from_millis(expected_ms));
        }
    }

    #[test]
    fn the_first_route_that_begins_the_path_counts() {
        let route =
            |path: &str, cpu_ms| RouteCost { path: path.into(), cpu_ms, ..Default::default() };
        let settings = SampleSettings {
            routes: vec![route("/a/b", 1.0), route("/a", 2.0), route("/a/c", 3.0)],
            ..SampleSettings::default()
        };
        for (path, cpu_ms, service_time_ms) in
            [("/a/b/x", 1.0, 0.0), ("/a/c", 2.0, 0.0), ("/", 0.0, 20.0)]
        {
            let cost = settings.cost(path);
            assert_eq!((cost.cpu_ms, cost.service_time_ms), (cpu_ms, service_time_ms), "{path}");
        }
    }
}
