//! What these commands ask of a door, here or on another machine, and how they name failures.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use console::client::{self, ClientError, Endpoint};
use console::{Changed, Kept, RegisteredClient, SwitchRequest, Waited};
use model::generation::Generation;
use model::recording::Recording;
use model::switch::Switch;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commands::{chain, complain};
use crate::exit;

/// Which door is asked.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoorArguments {
    /// The admin socket of the door; by default where a door of this user has it
    #[arg(long, value_name = "PATH", conflicts_with = "door")]
    socket: Option<PathBuf>,

    /// The admin address of a door on another machine, such as http://10.0.0.5:9900
    #[arg(long, value_name = "URL", requires = "token_file")]
    door: Option<String>,

    /// A file with the token for `--door`
    #[arg(long, value_name = "FILE", requires = "door")]
    token_file: Option<PathBuf>,
}

/// A door that can be asked.
#[derive(Debug)]
pub(crate) struct Door(Endpoint);

impl DoorArguments {
    /// The door that was named.
    ///
    /// # Errors
    /// In words: the address or the token file is of no use.
    pub(crate) fn connect(&self) -> Result<Door, String> {
        let endpoint = match (&self.door, &self.token_file) {
            (Some(url), Some(token)) => Endpoint::tcp(url, token).map_err(|error| chain(&error))?,
            _ => Endpoint::Unix(
                self.socket
                    .clone()
                    .unwrap_or_else(|| settings::Environment::detect().admin_socket()),
            ),
        };
        Ok(Door(endpoint))
    }
}

impl Door {
    /// The door at this place.
    pub(super) fn at(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }

    /// The generations before `before`, newest first.
    pub(super) async fn history(
        &self,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<Generation>, String> {
        let before = before.map(|number| format!("&before={number}")).unwrap_or_default();
        self.read(&format!("/v1/generations?limit={limit}{before}")).await
    }

    /// One generation with its text; the live one without a number.
    pub(super) async fn generation(&self, number: Option<u64>) -> Result<Kept, String> {
        match number {
            Some(number) => self.read(&format!("/v1/generations/{number}")).await,
            None => self.read("/v1/configuration").await,
        }
    }

    /// The traffic of the last minutes.
    pub(super) async fn recording(&self) -> Result<Recording, String> {
        self.read("/v1/recording").await
    }

    /// Waits up to `seconds` for a generation to be settled, and says how it is.
    pub(super) async fn wait(&self, generation: u64, seconds: u32) -> Result<Waited, String> {
        self.read(&format!("/v1/changes/wait?generation={generation}&seconds={seconds}")).await
    }

    /// The registered clients.
    pub(crate) async fn clients(&self) -> Result<Vec<RegisteredClient>, String> {
        self.read("/v1/clients").await
    }

    /// The newest switches of clients, newest first.
    pub(crate) async fn switches(&self, limit: u32) -> Result<Vec<Switch>, String> {
        self.read(&format!("/v1/switches?limit={limit}")).await
    }

    /// Disables or enables a client, and says what came of it.
    pub(crate) async fn switch(
        &self,
        what: &str,
        request: &SwitchRequest,
    ) -> Result<String, String> {
        #[derive(serde::Deserialize)]
        struct Done {
            result: String,
        }
        let done: Done = self.post(&format!("/v1/clients/{what}"), request).await?;
        Ok(done.result)
    }

    /// Orders a change.
    pub(super) async fn order(
        &self,
        path: &str,
        order: &impl Serialize,
    ) -> Result<Changed, String> {
        self.post(path, order).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        order: &impl Serialize,
    ) -> Result<T, String> {
        match client::post(&self.0, path, &serde_json::json!(order)).await {
            Ok(body) => understood(&body),
            Err(ClientError::Refused { detail, .. }) => Err(detail),
            Err(error) => Err(chain(&error)),
        }
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        match client::get(&self.0, path).await {
            Ok(body) => understood(&body),
            Err(ClientError::Refused { detail, .. }) => Err(detail),
            Err(error) => Err(chain(&error)),
        }
    }
}

fn understood<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("the door's answer is not understood: {error}"))
}

/// Says why nothing came of it.
pub(crate) fn failed(why: &str) -> ExitCode {
    complain(why);
    exit::failed()
}
