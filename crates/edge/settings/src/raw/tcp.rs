//! The shape of what a listener passes on unread; see the module above.

use schemars::JsonSchema;

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum RawMode {
    Http,
    Tcp,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum RawProxyVersion {
    V1,
    V2,
}
