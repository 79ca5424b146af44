use std::collections::BTreeMap;

use partysync_protocol::{ClientId, Cursor, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// All that a client has to keep to go on after a reload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Its secret.
    pub client: ClientId,
    /// The highest number it has used.
    pub last: u64,
    /// The highest number whose fate it knows.
    pub settled: u64,
    /// The room's version when it first joined under this id.
    #[serde(default)]
    pub born: Option<Version>,
    /// What the rows below are.
    pub cursor: Option<Cursor>,
    /// Confirmed rows by channel, each a JSON array.
    pub rows: BTreeMap<String, Vec<Box<RawValue>>>,
    /// What is not settled yet, in order.
    pub pending: Vec<Pending>,
}

/// An action whose fate is not known yet, or whose effect has not come yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pending {
    /// Its number.
    pub number: u64,
    /// The channel it is for.
    pub channel: String,
    /// Its JSON.
    pub action: Box<RawValue>,
    /// Whether it was ever sent: then it may have been run.
    pub sent: bool,
    /// Whether it was sent on this socket, and the room has not said to try later.
    #[serde(skip)]
    pub in_flight: bool,
    /// Acked: its effect comes with this version.
    pub applied_at: Option<Version>,
    /// Not acked, but the confirmed rows show already what came of it: it is not predicted any more (SPEC 9.4).
    #[serde(default)]
    pub included: bool,
}
