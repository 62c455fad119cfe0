//! `tidegate demo`: a front door, three servers and gentle load on this machine, to watch and to
//! break.
//!
//! The load runs in this process, so that what is counted as failed is what a client saw.
//! Invariant: every process it started has ended when it returns.

mod children;
mod scene;
mod screen;

use std::io::IsTerminal;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use model::load::{Arrivals, LoadPlan, Spacing, Stage as RateStage, Stream};
use rehearsal::load::{self, Running, Target};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::cli::DemoArguments;
use crate::commands::{block_on, complain, finish, interrupted, status};
use crate::{exit, output};
use children::Stage;
use scene::{Scene, ServerScene};
use screen::{Key, Screen};

/// Requests under way at once.
const IN_FLIGHT_MAX: usize = 500;
/// For one request of the load.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the load lasts if nobody ends the demo: a year.
const LOAD_DURATION: Duration = Duration::from_secs(365 * 24 * 3_600);

pub(crate) fn run(arguments: &DemoArguments) -> ExitCode {
    block_on(async {
        match play(arguments).await {
            Ok(scene) => {
                let code = if scene.failed_unbroken == 0 { exit::clean() } else { exit::failed() };
                finish(&scene.summary(), code)
            }
            Err(why) => {
                complain(&why);
                exit::failed()
            }
        }
    })
}

/// Raises the stage, plays, and takes it down again, whatever the play came to.
async fn play(arguments: &DemoArguments) -> Result<Scene, String> {
    let interrupted =
        interrupted().map_err(|error| format!("signals cannot be watched: {error}"))?;
    let mut interrupted = pin!(interrupted);
    let mut stage = tokio::select! {
        () = &mut interrupted => return Err("interrupted before it began".to_owned()),
        stage = Stage::raise() => stage?,
    };
    let target =
        Target { address: stage.door_address, host: stage.door_address.to_string(), tls: None };
    let load = load::start(plan(arguments.rate), target, &load::Options::default())
        .map_err(|error| format!("the load cannot start: {error}"))?;
    let mut scene = Scene::new(stage.door_address, stage.socket.clone());
    scene.program = stage.program();
    let played = tokio::select! {
        () = &mut interrupted => Ok(()),
        played = show(arguments, &mut stage, &load, &mut scene) => played,
    };
    // The load ends before the door does, so that the end itself fails no request.
    load.stop();
    let outcome = tokio::task::spawn_blocking(|| load.finish()).await;
    stage.end().await;
    let outcome = outcome.map_err(|error| format!("the load failed: {error}"))?;
    scene.total = outcome.total.into_iter().next().unwrap_or_default();
    played.map(|()| scene)
}

/// A steady rate of requests for `/`.
fn plan(rate: u32) -> LoadPlan {
    let per_second = f64::from(rate);
    let steady = RateStage {
        from_per_second: per_second,
        to_per_second: per_second,
        duration: LOAD_DURATION,
    };
    let arrivals = Arrivals::Open { stages: vec![steady], spacing: Spacing::Even };
    let stream = Stream {
        arrivals,
        timeout: REQUEST_TIMEOUT,
        in_flight_max: IN_FLIGHT_MAX,
        ..Stream::default()
    };
    LoadPlan { streams: vec![stream] }
}

/// Where the demo is shown.
enum Face {
    Screen(Screen, mpsc::Receiver<Key>),
    Plain,
}

impl Face {
    fn open(arguments: &DemoArguments, scene: &Scene) -> Result<Self, String> {
        let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        if terminal && !arguments.plain {
            let (screen, keys) = Screen::open(output::colours_wanted())
                .map_err(|error| format!("the terminal cannot be used: {error}; try --plain"))?;
            return Ok(Self::Screen(screen, keys));
        }
        let next: String = scene
            .suggestions()
            .iter()
            .map(|(command, shows)| format!("  {command}   ({shows})\n"))
            .collect();
        output::print(&format!("tidegate demo on http://{}/; try next:\n{next}", scene.door))
            .map_err(|error| error.to_string())?;
        Ok(Self::Plain)
    }

    fn draw(&mut self, scene: &Scene) -> Result<(), String> {
        let drawn = match self {
            Self::Screen(screen, _) => screen.draw(scene),
            Self::Plain => output::print(&format!("{}\n", scene.line())),
        };
        drawn.map_err(|error| format!("the demo cannot be shown: {error}"))
    }

    async fn key(&mut self) -> Key {
        match self {
            Self::Screen(_, keys) => keys.recv().await.unwrap_or(Key::Quit),
            Self::Plain => std::future::pending().await,
        }
    }
}

/// Shows one second after the other until a key or the time ends it.
async fn show(
    arguments: &DemoArguments,
    stage: &mut Stage,
    load: &Running,
    scene: &mut Scene,
) -> Result<(), String> {
    look(stage, scene).await?;
    let mut face = Face::open(arguments, scene)?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    while arguments.seconds.is_none_or(|seconds| scene.seconds < seconds) {
        tokio::select! {
            _ = second.tick() => {
                look(stage, scene).await?;
                for second in load.take() {
                    scene.advance(second.streams.into_iter().next().unwrap_or_default());
                    face.draw(scene)?;
                }
            }
            key = face.key() => {
                let done = match key {
                    Key::Quit => return Ok(()),
                    Key::Toggle(index) => stage.toggle(index).await,
                    Key::Slow => stage.toggle_slow(0).await,
                    Key::Redraw => Ok(scene.notice.clone()),
                };
                scene.notice = done.unwrap_or_else(|why| why);
                if matches!(face, Face::Screen(..)) {
                    face.draw(scene)?;
                }
            }
        }
    }
    Ok(())
}

/// Asks the processes and the door how they are.
async fn look(stage: &mut Stage, scene: &mut Scene) -> Result<(), String> {
    stage.look()?;
    let mut servers = Vec::new();
    for server in &stage.servers {
        let broken = server.broken().await;
        servers.push(ServerScene {
            name: server.name.to_owned(),
            address: server.address.to_string(),
            pid: server.pid(),
            broken,
            facts: None,
        });
    }
    scene.servers = servers;
    let snapshot = status::fetch(&stage.socket).await;
    scene.tell(snapshot.as_ref().ok());
    Ok(())
}
