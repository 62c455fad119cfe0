//! `tidegate reload`: the same as SIGHUP, but it says what came of it.

use std::process::ExitCode;

use console::client::{self, ClientError};

use crate::cli::SocketArguments;
use crate::commands::{block_on, chain, complain, finish};
use crate::exit;
use crate::output::printable_lines;

pub(crate) fn run(arguments: &SocketArguments) -> ExitCode {
    let socket = arguments.path();
    block_on(async move {
        match client::post(&socket, "/v1/reload", &serde_json::json!({})).await {
            Ok(body) => {
                let answer: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
                let result = answer
                    .as_ref()
                    .and_then(|answer| answer.get("result"))
                    .and_then(serde_json::Value::as_str);
                finish(
                    &format!("{}\n", printable_lines(result.unwrap_or("reloaded"))),
                    exit::clean(),
                )
            }
            Err(ClientError::Refused { detail, .. }) => {
                complain(&format!("nothing was changed:\n{detail}"));
                exit::failed()
            }
            Err(error) => {
                complain(&chain(&error));
                exit::failed()
            }
        }
    })
}
