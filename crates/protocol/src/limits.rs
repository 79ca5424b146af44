//! The limits of SPEC section 11. Sizes are bytes unless said otherwise.

/// A frame from a client. Past it: close 1009.
pub const FRAME_BYTES: usize = 1 << 20;
/// An action's JSON. Past it: `too_large`.
pub const ACTION_BYTES: usize = 256 << 10;
/// Nesting of a frame's JSON. Past it: `bad_message`.
pub const JSON_DEPTH: usize = 64;
/// The id of a version 1 call, as JSON. Past it: `bad_message`.
pub const CALL_ID_BYTES: usize = 256;
/// A row as it travels. Past it: `too_large`.
pub const ROW_BYTES: usize = 1 << 20;
/// Rows that one action changes. Past it: `too_many_rows`.
pub const ACTION_ROWS: usize = 10_000;
/// Steps of SQLite's virtual machine for one action. Past it: `action_too_long`.
pub const ACTION_STEPS: u64 = 50_000_000;
/// Steps (actions, alarms) in one transaction. The rest waits for the next.
pub const GROUP_ACTIONS: usize = 256;
/// Events that wait for a room. Past it: the socket is not read.
pub const ROOM_QUEUE: usize = 4_096;
/// Connections of one room. Past it: close 1013.
pub const ROOM_CONNECTIONS: usize = 10_000;
/// Rooms that one socket carries, natively.
pub const SOCKET_ROOMS: usize = 32;
/// A room's raw path segment. Past it: status 414.
pub const ROOM_NAME_BYTES: usize = 512;
/// A party's raw path segment. Past it: status 414.
pub const PARTY_NAME_BYTES: usize = 64;
/// `_pk`. Past it: status 400.
pub const CONNECTION_ID_BYTES: usize = 256;
/// Channels of one room. Past it: refused at start.
pub const CHANNELS: usize = 64;
/// Columns of one channel. Past it: refused at start.
pub const COLUMNS: usize = 100;
/// A statement of the app. Past it: `app_error`.
pub const SQL_BYTES: usize = 100_000;
/// A text id. Past it: `value_unsupported`.
pub const ID_BYTES: usize = 1 << 10;
/// How many numbers back a client's rejections are kept.
pub const OUTCOMES_KEPT: u64 = 1_000;
/// Days that outcomes are kept.
pub const OUTCOME_DAYS: i64 = 30;
/// Days that the outcome of a version 1 call is kept.
pub const CALL_DAYS: i64 = 1;
/// Days that a client is kept after it was last seen.
pub const CLIENT_DAYS: i64 = 90;
/// Versions that the log keeps.
pub const LOG_VERSIONS: u64 = 100_000;
/// Days that the log keeps.
pub const LOG_DAYS: i64 = 30;
/// Tombstones that outlive the log's floor.
pub const TOMBSTONES: u64 = 100_000;
/// Days until what is private of a deleted row is blanked.
pub const TOMBSTONE_PAYLOAD_DAYS: i64 = 1;
/// Rows in one `snapshot`.
pub const SNAPSHOT_ROWS: usize = 1_000;
/// Milliseconds between a client's pings.
pub const PING_MS: u64 = 25_000;
/// Bytes not yet written to one socket. Past it: close 1013.
pub const SOCKET_BACKLOG_BYTES: usize = 4 << 20;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
