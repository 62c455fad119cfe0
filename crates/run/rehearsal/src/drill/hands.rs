//! Makes the calls of one step to the stage, and says what came of them.
//!
//! The calls of a step are made at the same time, as whoever breaks or deploys several servers
//! at once does; the stage does one thing at a time to each server and to the door.

use std::sync::Arc;

use model::sample::SampleSettings;
use tokio::task::JoinSet;

use crate::stage::{NotApplied, Stage};

use super::report::EntryOutcome;
use super::scene::Call;

/// Makes all calls. What the front door had to say, and what came of them in all.
pub(crate) async fn make(stage: Arc<Stage>, calls: Vec<Call>) -> (Vec<String>, EntryOutcome) {
    let mut making = JoinSet::new();
    for call in calls {
        let stage = Arc::clone(&stage);
        making.spawn(async move { one(&stage, call).await });
    }
    let (mut said, mut refused, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(made) = making.join_next().await {
        match made {
            Ok(Ok(words)) => said.extend(words),
            Ok(Err(NotApplied::Refused(why))) => refused.push(why),
            Ok(Err(NotApplied::Failed(why))) => failed.push(why),
            Err(error) => failed.push(error.to_string()),
        }
    }
    let outcome = match (failed.is_empty(), refused.is_empty()) {
        (true, true) => EntryOutcome::Ok,
        (true, false) => EntryOutcome::Refused(refused.join("\n")),
        (false, _) => EntryOutcome::Failed(failed.join("\n")),
    };
    (said, outcome)
}

async fn one(stage: &Stage, call: Call) -> Result<Option<String>, NotApplied> {
    let done = match call {
        Call::Kill(server) => stage.kill(&server).await,
        Call::Start(server, behaving) => match stage.start(&server).await {
            Ok(()) => behave(stage, behaving).await,
            Err(why) => Err(why),
        },
        Call::Stop(server) => stage.stop(&server).await,
        Call::Continue(server) => stage.cont(&server).await,
        Call::Behave(settings) => behave(stage, Some(settings)).await,
        Call::Recover(server) => stage.recover(&server).await,
        Call::Deploy(version) => {
            let (settings, behaving) = *version;
            match stage.deploy(&settings.name, &settings).await {
                Ok(()) => behave(stage, behaving).await,
                Err(why) => Err(why),
            }
        }
        Call::Restart(server, behaving) => match stage.restart(&server).await {
            Ok(()) => behave(stage, behaving).await,
            Err(why) => Err(why),
        },
        Call::Network(link, conditions) => stage.network(&link, conditions),
        Call::Configure(door) => {
            return stage.configure(&door).await.map(|applied| Some(applied.words));
        }
        // The load is the runner's own.
        Call::CutClients(_) => Ok(()),
    };
    done.map(|()| None).map_err(NotApplied::Failed)
}

async fn behave(stage: &Stage, settings: Option<SampleSettings>) -> Result<(), String> {
    match settings {
        Some(settings) => stage.behave(&settings.name, &settings).await,
        None => Ok(()),
    }
}
