//! What the tests of this room's parts share.

use std::time::Duration;

use model::Name;
use model::drill::{DoorBalance, DoorSetup, Drill, Stack};
use model::load::{LoadPlan, Stream};
use model::sample::SampleSettings;

/// A drill of a minute with one server, one stream, and nothing on its timeline.
pub(crate) fn drill() -> Drill {
    Drill {
        name: Name::from("test"),
        title: "A test".to_owned(),
        description: "Nothing happens.".to_owned(),
        duration: Duration::from_secs(60),
        stack: Stack {
            servers: vec![SampleSettings { name: "web1".to_owned(), ..SampleSettings::default() }],
            database: None,
        },
        door: DoorSetup {
            balance: DoorBalance::Default,
            weights: vec![(Name::from("web1"), 1)],
            check_path: "/health".to_owned(),
            check_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            attempts: 2,
            client_rate_per_second: None,
            client_header: None,
            server_in_flight_max: None,
            forced: false,
        },
        load: LoadPlan { streams: vec![Stream::default()] },
        events: Vec::new(),
        symptoms: Vec::new(),
        expectations: Vec::new(),
    }
}
