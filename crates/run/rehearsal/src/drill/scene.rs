//! What is to be done to the stage for each step of the timeline, given what other faults still last.
//!
//! Pure: it knows what should hold and says which calls bring that about; the runner makes them.
//! Invariant: after a fault's end, everything is as the faults that still last want it, and as the
//! drill began it once none does.

use std::collections::BTreeMap;

use model::Name;
use model::drill::{DoorSetup, Drill, Event, Fault, Link, NetworkConditions};
use model::sample::SampleSettings;

use super::layers::Layers;
use super::timeline::Step;

/// One call to the stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    /// End a server's process with SIGKILL.
    Kill(Name),
    /// Start a server again as it was last deployed, then behaving like this, if a fault says so.
    Start(Name, Option<SampleSettings>),
    /// Stop a server's process.
    Stop(Name),
    /// Let it go on.
    Continue(Name),
    /// Change the behaviour of a running server.
    Behave(SampleSettings),
    /// Let a server behave as it was deployed.
    Recover(Name),
    /// End a server gracefully and start it with these settings, then behaving like that.
    Deploy(Box<(SampleSettings, Option<SampleSettings>)>),
    /// End a server gracefully and start it as it was, then behaving like that.
    Restart(Name, Option<SampleSettings>),
    /// Change the network of a link.
    Network(Link, NetworkConditions),
    /// Give the front door this set-up.
    Configure(Box<DoorSetup>),
    /// Cut the connections of a stream.
    CutClients(Name),
}

/// What should hold, as layers of faults.
#[derive(Debug)]
pub(crate) struct Scene {
    events: Vec<Event>,
    servers: BTreeMap<Name, Server>,
    links: Vec<(Link, Layers<NetworkConditions>)>,
    door: Layers<DoorSetup>,
}

#[derive(Debug)]
struct Server {
    deployed: Layers<SampleSettings>,
    /// What a fault makes of it, whatever is deployed meanwhile.
    behaving: Layers<Option<SampleSettings>>,
    killed: Layers<bool>,
    stopped: Layers<bool>,
}

impl Scene {
    /// As the drill begins.
    pub(crate) fn new(drill: &Drill) -> Self {
        let server = |settings: &SampleSettings| {
            let server = Server {
                deployed: Layers::new(settings.clone()),
                behaving: Layers::new(None),
                killed: Layers::new(false),
                stopped: Layers::new(false),
            };
            (Name::from(settings.name.as_str()), server)
        };
        let mut links: Vec<(Link, Layers<NetworkConditions>)> = Vec::new();
        for link in drill.events.iter().filter_map(|event| event.fault.link()) {
            if !links.iter().any(|(known, _)| known == link) {
                links.push((link.clone(), Layers::new(NetworkConditions::default())));
            }
        }
        Self {
            events: drill.events.clone(),
            servers: drill.stack.servers.iter().map(server).collect(),
            links,
            door: Layers::new(drill.door.clone()),
        }
    }

    /// What a step asks for; nothing for the end of something that never took place.
    pub(crate) fn calls(&mut self, step: Step) -> Vec<Call> {
        let (Step::Begin(index) | Step::Undo(index) | Step::Restart(index, _)) = step;
        let Some(fault) = self.events.get(index).map(|event| event.fault.clone()) else {
            return Vec::new();
        };
        match step {
            Step::Begin(event) => self.begin(event, fault),
            Step::Undo(event) => self.undo(event, fault),
            Step::Restart(_, position) => self.restart(&fault, position),
        }
    }

    /// The front door refused, or could not be given, what this event wanted it to have.
    pub(crate) fn not_applied(&mut self, event: usize) {
        self.door.remove(event);
    }

    fn begin(&mut self, event: usize, fault: Fault) -> Vec<Call> {
        match fault {
            Fault::Kill { servers } => self.each(servers, |server, name| {
                server.killed.put(event, true);
                Some(Call::Kill(name))
            }),
            Fault::Stop { servers } => self.each(servers, |server, name| {
                server.stopped.put(event, true);
                Some(Call::Stop(name))
            }),
            Fault::Behave { servers, .. } => self.with(servers, |server, settings| {
                server.behaving.put(event, Some(settings));
                server.behave()
            }),
            Fault::Deploy { servers } => self.with(servers, |server, settings| {
                server.deployed.put(event, settings);
                server.deploy()
            }),
            Fault::Network { link, conditions } => {
                if let Some((_, layers)) = self.links.iter_mut().find(|(known, _)| *known == link) {
                    layers.put(event, conditions);
                }
                vec![Call::Network(link, conditions)]
            }
            Fault::Configure { door } => {
                self.door.put(event, (*door).clone());
                vec![Call::Configure(door)]
            }
            Fault::Stale => {
                let old = self.door.below_top().clone();
                self.door.put(event, old.clone());
                vec![Call::Configure(Box::new(old))]
            }
            Fault::RollingRestart { .. } => Vec::new(),
            Fault::CutClients { stream } => vec![Call::CutClients(stream)],
        }
    }

    fn undo(&mut self, event: usize, fault: Fault) -> Vec<Call> {
        match fault {
            Fault::Kill { servers } => self.each(servers, |server, name| {
                let was = server.killed.remove(event);
                (was && !server.killed.is_covered()).then(|| Call::Start(name, server.behaviour()))
            }),
            Fault::Stop { servers } => self.each(servers, |server, name| {
                let was = server.stopped.remove(event);
                (was && !server.stopped.is_covered()).then_some(Call::Continue(name))
            }),
            Fault::Behave { servers, .. } => self.with(servers, |server, _| {
                server.behaving.remove(event).then(|| server.behave()).flatten()
            }),
            Fault::Deploy { servers } => self.with(servers, |server, _| {
                server.deployed.remove(event).then(|| server.deploy()).flatten()
            }),
            Fault::Network { link, .. } => {
                let known = self.links.iter_mut().find(|(known, _)| *known == link);
                let layers = known.filter(|(_, layers)| layers.is_covered());
                let now = layers.map(|(_, layers)| {
                    layers.remove(event);
                    *layers.top()
                });
                now.map(|now| Call::Network(link, now)).into_iter().collect()
            }
            Fault::Configure { .. } | Fault::Stale => match self.door.remove(event) {
                true => vec![Call::Configure(Box::new(self.door.top().clone()))],
                false => Vec::new(),
            },
            Fault::RollingRestart { .. } | Fault::CutClients { .. } => Vec::new(),
        }
    }

    fn restart(&mut self, fault: &Fault, position: usize) -> Vec<Call> {
        let Fault::RollingRestart { servers, .. } = fault else { return Vec::new() };
        let name = servers.get(position).into_iter().cloned().collect();
        self.each(name, |server, name| Some(Call::Restart(name, server.behaviour())))
    }

    fn with(
        &mut self,
        servers: Vec<SampleSettings>,
        mut call: impl FnMut(&mut Server, SampleSettings) -> Option<Call>,
    ) -> Vec<Call> {
        let mut calls = Vec::new();
        for settings in servers {
            if let Some(server) = self.servers.get_mut(settings.name.as_str()) {
                calls.extend(call(server, settings));
            }
        }
        calls
    }

    fn each(
        &mut self,
        names: Vec<Name>,
        mut call: impl FnMut(&mut Server, Name) -> Option<Call>,
    ) -> Vec<Call> {
        let mut calls = Vec::new();
        for name in names {
            if let Some(server) = self.servers.get_mut(&name) {
                calls.extend(call(server, name));
            }
        }
        calls
    }
}

impl Server {
    /// What a fault makes of it at the moment; always the version that is deployed.
    fn behaviour(&self) -> Option<SampleSettings> {
        let version = self.deployed.top().version.clone();
        self.behaving.top().clone().map(|settings| SampleSettings { version, ..settings })
    }

    /// Gives it its behaviour. One that was killed gets it when it starts.
    fn behave(&self) -> Option<Call> {
        let call = || match self.behaviour() {
            Some(settings) => Call::Behave(settings),
            None => Call::Recover(Name::from(self.deployed.top().name.as_str())),
        };
        (!self.killed.is_covered()).then(call)
    }

    /// Gives it its version. One that was killed is started with it: a deploy starts processes.
    fn deploy(&self) -> Option<Call> {
        Some(Call::Deploy(Box::new((self.deployed.top().clone(), self.behaviour()))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::drill::tests::drill;

    fn web1() -> Vec<Name> {
        vec![Name::from("web1")]
    }

    fn taking(service_time_ms: f64) -> Vec<SampleSettings> {
        let name = "web1".to_owned();
        vec![SampleSettings { name, service_time_ms, ..SampleSettings::default() }]
    }

    fn door(attempts: u32) -> Fault {
        Fault::Configure { door: Box::new(DoorSetup { attempts, ..drill().door }) }
    }

    fn slow(service_time_ms: f64) -> Fault {
        Fault::Behave { kind: "slow", servers: taking(service_time_ms) }
    }

    fn also(behaving: Option<SampleSettings>) -> String {
        behaving.map(|settings| format!(" as {}", settings.service_time_ms)).unwrap_or_default()
    }

    fn said(call: Call) -> String {
        match call {
            Call::Kill(server) => format!("kill {server}"),
            Call::Start(server, behaving) => format!("start {server}{}", also(behaving)),
            Call::Stop(server) => format!("stop {server}"),
            Call::Continue(server) => format!("continue {server}"),
            Call::Behave(settings) => format!("behave {}", settings.service_time_ms),
            Call::Recover(server) => format!("recover {server}"),
            Call::Deploy(version) => {
                let (settings, behaving) = *version;
                format!("deploy {}{}", settings.service_time_ms, also(behaving))
            }
            Call::Restart(server, behaving) => format!("restart {server}{}", also(behaving)),
            Call::Network(_, network) => format!("network {}", network.latency.as_millis()),
            Call::Configure(door) => format!("door {}", door.attempts),
            Call::CutClients(stream) => format!("cut {stream}"),
        }
    }

    /// `0` begins event 0, `-0` ends it, `!0` says that the door did not take it. The drill begins
    /// with 20 ms and 2 attempts.
    fn check(faults: &[Fault], script: &str, expected: &str) {
        let event =
            |fault: &Fault| Event { at: Duration::ZERO, lasting: None, fault: fault.clone() };
        let events = faults.iter().map(event).collect();
        let mut scene = Scene::new(&Drill { events, ..drill() });
        let mut found = Vec::new();
        for word in script.split(' ') {
            let number = |word: &str| word.parse::<usize>().unwrap();
            let calls = match (word.strip_prefix('-'), word.strip_prefix('!')) {
                (Some(event), _) => scene.calls(Step::Undo(number(event))),
                (None, Some(event)) => {
                    scene.not_applied(number(event));
                    continue;
                }
                (None, None) => scene.calls(Step::Begin(number(word))),
            };
            found.push(calls.into_iter().map(said).collect::<Vec<_>>().join(" and "));
        }
        assert_eq!(found.join(", "), expected, "{script}");
    }

    #[test]
    fn an_end_restores_what_still_lasts() {
        check(&[slow(100.0)], "0 -0", "behave 100, recover web1");
        check(
            &[slow(100.0), slow(200.0)],
            "0 1 -0 -1",
            "behave 100, behave 200, behave 200, recover web1",
        );
        let network = |ms| Fault::Network {
            link: Link::Clients,
            conditions: NetworkConditions {
                latency: Duration::from_millis(ms),
                ..NetworkConditions::default()
            },
        };
        check(
            &[network(50), network(90)],
            "0 1 -1 -0",
            "network 50, network 90, network 50, network 0",
        );
    }

    #[test]
    fn a_killed_server_gets_its_settings_when_it_starts() {
        let kill = Fault::Kill { servers: web1() };
        check(std::slice::from_ref(&kill), "0 -0", "kill web1, start web1");
        check(
            &[kill.clone(), slow(100.0)],
            "0 1 -0 -1",
            "kill web1, , start web1 as 100, recover web1",
        );
        check(&[kill.clone(), kill], "0 1 -0 -1", "kill web1, kill web1, , start web1");
    }

    #[test]
    fn a_version_is_deployed_and_the_one_before_again() {
        let deploy = Fault::Deploy { servers: taking(500.0) };
        check(std::slice::from_ref(&deploy), "0 -0", "deploy 500, deploy 20");
        check(&[deploy.clone(), slow(100.0)], "0 1 -1", "deploy 500, behave 100, recover web1");
        check(
            &[deploy, slow(100.0)],
            "1 0 -1 -0",
            "behave 100, deploy 500 as 100, recover web1, deploy 20",
        );
    }

    #[test]
    fn a_stale_configuration_is_the_one_before_the_last() {
        check(&[door(3), Fault::Stale], "0 1 -1 -0", "door 3, door 2, door 3, door 2");
        check(&[door(3), door(4), Fault::Stale], "0 1 2", "door 3, door 4, door 3");
        check(&[Fault::Stale], "0 -0", "door 2, door 2");
    }

    #[test]
    fn what_the_door_refused_is_not_undone() {
        check(&[door(3)], "0 !0 -0", "door 3, ");
        check(&[door(3), Fault::Stale], "0 1 !1 -1", "door 3, door 2, ");
    }

    #[test]
    fn a_rolling_restart_keeps_the_settings() {
        let roll = Fault::RollingRestart { servers: web1(), pause: Duration::from_secs(1) };
        let events = [roll, slow(100.0)];
        let event =
            |fault: &Fault| Event { at: Duration::ZERO, lasting: None, fault: fault.clone() };
        let mut scene =
            Scene::new(&Drill { events: events.iter().map(event).collect(), ..drill() });
        scene.calls(Step::Begin(1));
        let calls = scene.calls(Step::Restart(0, 0));
        assert_eq!(calls.into_iter().map(said).collect::<Vec<_>>(), ["restart web1 as 100"]);
        assert_eq!(scene.calls(Step::Restart(0, 1)), []);
    }
}
