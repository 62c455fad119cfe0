//! How a sample application behaves, and the one way to change that while it runs.
//!
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
        }
    }
}

impl SampleSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// One sentence that names the setting and its range.
    pub fn checked(self) -> Result<Self, String> {
        let name_fits = (1..=64).contains(&self.name.len())
            && self.name.bytes().all(|byte| byte.is_ascii_graphic());
        let rules = [
            (name_fits, "name must be 1 to 64 visible ASCII characters"),
            (
                (0.0..=60_000.0).contains(&self.service_time_ms),
                "service_time_ms must be 0 to 60000",
            ),
            ((1..=10_000).contains(&self.concurrency), "concurrency must be 1 to 10000"),
            (self.queue_max <= 10_000, "queue_max must be 0 to 10000"),
            ((0.0..=1.0).contains(&self.error_rate), "error_rate must be 0 to 1"),
            ((400..=599).contains(&self.error_status), "error_status must be 400 to 599"),
            (self.health_path.starts_with('/'), "health_path must begin with /"),
            (self.body_bytes <= 16 * 1_024 * 1_024, "body_bytes must be 0 to 16777216"),
        ];
        match rules.iter().find(|(fits, _)| !fits) {
            Some((_, rule)) => Err((*rule).to_owned()),
            None => Ok(self),
        }
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

    /// The time one request takes; `draw` gives numbers from 0 (included) to 1.
    #[must_use]
    pub fn service_time(&self, mut draw: impl FnMut() -> f64) -> Duration {
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
        let time = Duration::try_from_secs_f64(self.service_time_ms / 1_000.0 * factor);
        time.unwrap_or(SERVICE_TIME_MAX).min(SERVICE_TIME_MAX)
    }
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
        check(r#"{"healthy": "no"}"#, "invalid type: string \"no\", expected a boolean");
    }

    #[test]
    fn each_distribution_keeps_its_mean() {
        for distribution in
            [Distribution::Fixed, Distribution::Exponential, Distribution::Lognormal]
        {
            let settings = SampleSettings { distribution, ..SampleSettings::default() };
            let mut random = fastrand::Rng::with_seed(7);
            let total: Duration =
                (0..100_000).map(|_| settings.service_time(|| random.f64())).sum();
            let mean_ms = total.as_secs_f64() * 1_000.0 / 100_000.0;
            assert!((19.0..21.0).contains(&mean_ms), "{distribution:?}: {mean_ms}");
        }
    }

    #[test]
    fn a_service_time_is_bounded() {
        let settings = SampleSettings {
            service_time_ms: 60_000.0,
            distribution: Distribution::Exponential,
            ..SampleSettings::default()
        };
        assert_eq!(settings.service_time(|| 0.999_999), SERVICE_TIME_MAX);
        assert_eq!(settings.service_time(|| 1.0), SERVICE_TIME_MAX);
    }
}
