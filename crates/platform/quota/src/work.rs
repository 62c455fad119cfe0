//! The task that asks: waits for questions, asks them together, comes back after a failure.

use std::time::Duration;

use model::configuration::SharedQuotas;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, timeout};

use crate::bank::{Bank, Grant, QuotaError, Want};
use crate::doors::Doors;

/// Questions in one call: what a server answers within a millisecond or two.
const BATCH: usize = 256;
/// How often a door says that it is there.
const SIGN: Duration = Duration::from_millis(500);
/// The pause after a failure; doubled after each one up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// After so long without a failure the pause is the shortest again.
const CALM: Duration = Duration::from_secs(10);

/// Whose questions they are, and who gets the answers. Nothing here may wait.
pub trait Shares: Send + Sync {
    /// One question.
    type Ask: Send;

    /// The question in the words of the server.
    fn want(&self, ask: &Self::Ask) -> Want;

    /// It was answered.
    fn answer(&self, ask: &Self::Ask, grant: Grant);

    /// It was not, and will not be.
    fn unanswered(&self, ask: &Self::Ask);

    /// The server answers, and so many doors share; told with every answer.
    fn shared(&self, doors: u32);

    /// The server does not answer; told with every failure.
    fn alone(&self);
}

/// Asks the server what comes in by `asks`, for as long as somebody can ask. Never fails: while
/// the server does not answer, it tries again.
pub async fn work<S: Shares>(settings: &SharedQuotas, shares: &S, asks: &mut Receiver<S::Ask>) {
    let door = format!("{:032x}", fastrand::u128(..));
    let mut doors = Doors::new();
    let (mut pause, mut told) = (PAUSE_MIN, None);
    loop {
        let began = Instant::now();
        let Err(error) = serve(settings, &door, (shares, &mut doors, &mut told), asks).await else {
            return;
        };
        shares.alone();
        while let Ok(ask) = asks.try_recv() {
            shares.unanswered(&ask);
        }
        if told != Some(false) {
            told = Some(false);
            tracing::warn!(%error, "quotas are not shared: the door holds to its part of them");
        }
        if began.elapsed() > CALM {
            pause = PAUSE_MIN;
        }
        // Doors that lost the server together must not come back together.
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Asks over one connection until it fails, or nobody asks any more.
async fn serve<S: Shares>(
    settings: &SharedQuotas,
    door: &str,
    (shares, doors, told): (&S, &mut Doors<Instant>, &mut Option<bool>),
    asks: &mut Receiver<S::Ask>,
) -> Result<(), QuotaError> {
    let mut bank = Bank::open(settings, door).await?;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let wants: Vec<Want> = batch.iter().map(|ask| shares.want(ask)).collect();
        match bank.ask(doors.believed(), &wants).await {
            Ok((count, grants)) => {
                shares.shared(doors.tell(count, Instant::now(), |from| from.elapsed()));
                for (ask, grant) in batch.drain(..).zip(grants) {
                    shares.answer(&ask, grant);
                }
            }
            Err(error) => {
                batch.iter().for_each(|ask| shares.unanswered(ask));
                return Err(error);
            }
        }
        if *told != Some(true) {
            *told = Some(true);
            tracing::info!(server = %settings.name, "quotas are shared");
        }
        // Nothing within the time of a sign: the next call is the sign.
        if let Ok(0) = timeout(SIGN, asks.recv_many(&mut batch, BATCH)).await {
            return Ok(());
        }
    }
}
