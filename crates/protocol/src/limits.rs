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
/// Actions of one client whose fate is open. Past it the client refuses more itself: `busy`.
pub const OPEN_ACTIONS: usize = OUTCOMES_KEPT as usize;
/// Steps (actions, alarms) in one transaction. The rest waits for the next.
pub const GROUP_ACTIONS: usize = 256;
/// Events that wait for a room. Past it: the socket is not read.
pub const ROOM_QUEUE: usize = 4_096;
/// Connections of one room. Past it: close 1013.
pub const ROOM_CONNECTIONS: usize = 10_000;
/// Rooms that one socket carries, natively.
pub const SOCKET_ROOMS: usize = 32;
/// Frames for one room of a socket that carries several, which wait while the room, a door or a hook holds them back; one counts once more for each 16 KiB. Past it:
/// that socket is not read. On Durable Objects frames that wait for a door or a hook. Past it: close 1013.
pub const LANE_QUEUE: usize = 128;
/// A room's raw path segment. Past it: status 414.
pub const ROOM_NAME_BYTES: usize = 512;
/// A party's raw path segment. Past it: status 414.
pub const PARTY_NAME_BYTES: usize = 64;
/// `_pk`. Past it: status 400.
pub const CONNECTION_ID_BYTES: usize = 256;
/// What a room keeps of a connection while it hibernates, as text: who it is, what it speaks, tags and state. Past it: `app_error`.
pub const CONNECTION_BYTES: usize = 16 << 10;
/// What a home that loses rooms from memory keeps of a handshake, as it is kept: the rest of the path, and the query without the token. Past it: status 414.
pub const HANDSHAKE_BYTES: usize = 2 << 10;
/// An identity that a door attaches. Past it: the handshake gets status 500.
pub const IDENTITY_BYTES: usize = 256;
/// The JSON that a door attaches. Past it: the handshake gets status 500.
pub const ADMISSION_BYTES: usize = 8 << 10;
/// Milliseconds that a door may take. Past it: status 503.
pub const DOOR_MS: u64 = 10_000;
/// Joins that wait at a party's door. Past it: status 503.
pub const DOOR_WAITING: usize = 1_024;
/// The JSON that a hook prepares for an action. Past it: `app_error`.
pub const PREPARED_BYTES: usize = 256 << 10;
/// Milliseconds that a hook may take for an action. Past it: `busy` before the action, reported after it.
pub const HOOK_MS: u64 = 10_000;
/// Actions of a room before which a hook runs. Past it: `busy`.
pub const HOOKS_WAITING: usize = 64;
/// Actions of a party after which a hook runs. Past it: reported.
pub const AFTER_WAITING: usize = 1_024;
/// Tags of a connection. Past it: `app_error`.
pub const CONNECTION_TAGS: usize = 10;
/// A tag. Past it: `app_error`.
pub const TAG_BYTES: usize = 256;
/// Messages that one step of the app sends. Past it: `app_error`.
pub const STEP_MESSAGES: usize = 1_000;
/// What the messages of one step of the app add up to, each counted once whoever gets it. Past it: `app_error`.
pub const STEP_MESSAGE_BYTES: usize = 1 << 20;
/// Messages of the app to a socket that has said nothing yet, kept in case it turns out to speak version 2. Past it they are not
/// kept.
pub const EARLY_MESSAGE_BYTES: usize = 16 << 10;
/// A room as a file, into a Durable Object and out of it. Past it: status 413 on the way in, 422 on the way out.
pub const TRANSFER_BYTES: usize = 32 << 20;
/// The body of a request for the app. Past it: status 413.
pub const REQUEST_BYTES: usize = 1 << 20;
/// Milliseconds until the body of a request must have come. Past it: status 408.
pub const REQUEST_MS: u64 = 30_000;
/// The body of the app's response. Past it: status 500.
pub const RESPONSE_BYTES: usize = 4 << 20;
/// An item of the outbox. Past it: `app_error`.
pub const OUTBOX_ITEM_BYTES: usize = 64 << 10;
/// Items that one step puts into the outbox. Past it: `app_error`.
pub const OUTBOX_STEP_ITEMS: usize = 100;
/// Items in a room's outbox. Past it: `busy`.
pub const OUTBOX_ROOM_ITEMS: usize = 10_000;
/// Milliseconds that a delivery may take. Past it: it failed.
pub const OUTBOX_MS: u64 = 30_000;
/// Milliseconds until an item is tried again that failed once; doubled each time.
pub const OUTBOX_DELAY_MS: i64 = 2_000;
/// Milliseconds that it waits at the most.
pub const OUTBOX_MAX_DELAY_MS: i64 = 60 * 60 * 1_000;
/// Failures after which an item is tried once a day, and the operator hears of each.
pub const OUTBOX_TRIES: u32 = 20;
/// Channels of one room. Past it: refused at start.
pub const CHANNELS: usize = 64;
/// Columns of one channel. Past it: refused at start.
pub const COLUMNS: usize = 100;
/// A statement of the app. Past it: `app_error`.
pub const SQL_BYTES: usize = 64 << 10;
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
/// A room's write-ahead log that is not copied into its file yet, when nothing waits for the room. Past it: it is copied.
pub const LOG_FILE_IDLE_BYTES: u64 = 32 << 20;
/// A room's write-ahead log that is not copied into its file yet, whatever waits for the room. Past it: it is copied.
pub const LOG_FILE_BYTES: u64 = 64 << 20;
/// Rows in one `snapshot`. Past it: another one.
pub const SNAPSHOT_ROWS: usize = 1_000;
/// What the rows of one `snapshot` come to as JSON, the commas between them included. Past it: another one.
pub const SNAPSHOT_BYTES: usize = 1 << 20;
/// A snapshot that a room keeps encoded. Past it: it is encoded anew for each who joins.
pub const SNAPSHOT_KEPT_BYTES: usize = 128 << 20;
/// Milliseconds for which a room keeps a snapshot by which nobody joins.
pub const SNAPSHOT_KEPT_MS: i64 = 30_000;
/// Milliseconds between a client's pings.
pub const PING_MS: u64 = 25_000;
/// Patches after which a client says what it has, and how long after it last did at the latest, in milliseconds.
pub const HAVE_PATCHES: u64 = 32;
/// See [`HAVE_PATCHES`].
pub const HAVE_MS: u64 = 1_000;
/// As [`HAVE_PATCHES`], where the home sees what a socket has not read.
pub const HAVE_SEEN_PATCHES: u64 = 1_000;
/// As [`HAVE_MS`], where the home sees what a socket has not read.
pub const HAVE_SEEN_MS: u64 = PING_MS;
/// Milliseconds after which a version 1 connection that has not asked for a channel is volunteered what it may have missed.
pub const QUIET_MS: u64 = 5_000;
/// Version 1 connections that a room remembers after they are gone. Past it: the oldest is unknown when it comes back.
pub const AWAY_KEPT: usize = 10_000;
/// Days that a room remembers them.
pub const AWAY_DAYS: i64 = 30;
/// Bytes not yet written to one socket. Past it: it is not read, and gets a catch-up.
pub const SOCKET_BACKLOG_BYTES: usize = 4 << 20;
/// The head of an HTTP request. Past it: status 431.
pub const HEAD_BYTES: usize = 32 << 10;
/// Milliseconds that a TLS handshake may take. Past it the connection is closed.
pub const TLS_MS: u64 = 10_000;
/// Milliseconds that the head of an HTTP request may take. Past it the connection is closed.
pub const HEAD_MS: u64 = 10_000;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// What SPEC's table says of a limit: the text behind its name, up to the next column.
    fn spec_value(name: &str) -> String {
        let spec = include_str!("../../../SPEC.md");
        let section = spec.split("## 11").nth(1).unwrap().split("## 12").next().unwrap();
        let row = section.lines().find(|line| line.starts_with("| ") && line.split('|').nth(1).unwrap().contains(name));
        row.unwrap_or_else(|| panic!("SPEC has no limit {name}")).split('|').nth(2).unwrap().trim().to_owned()
    }

    #[test]
    fn spec_11_the_table_of_limits_is_what_the_code_has() {
        let grouped = |n: u64| {
            let digits = n.to_string();
            let mut out = String::new();
            for (i, digit) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i).is_multiple_of(3) {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        };
        let bytes = |n: usize| match n {
            n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
            n if n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
            n if n.is_multiple_of(1_000) => format!("{} KB", n / 1_000),
            n => n.to_string(),
        };
        for (name, value) in [
            ("`frame_bytes`", bytes(FRAME_BYTES)),
            ("`action_bytes`", bytes(ACTION_BYTES)),
            ("`call_id_bytes`", CALL_ID_BYTES.to_string()),
            ("`json_depth`", JSON_DEPTH.to_string()),
            ("`row_bytes`", bytes(ROW_BYTES)),
            ("`action_rows`", grouped(ACTION_ROWS as u64)),
            ("`action_steps`", grouped(ACTION_STEPS)),
            ("`group_actions`", GROUP_ACTIONS.to_string()),
            ("`room_queue`", grouped(ROOM_QUEUE as u64)),
            ("`room_connections`", grouped(ROOM_CONNECTIONS as u64)),
            ("`socket_rooms`", format!("{SOCKET_ROOMS} natively, 1 on Durable Objects")),
            ("`lane_queue`", LANE_QUEUE.to_string()),
            ("`room_name_bytes`", format!("{ROOM_NAME_BYTES}, {PARTY_NAME_BYTES}")),
            ("`connection_id_bytes`", CONNECTION_ID_BYTES.to_string()),
            ("`connection_bytes`", bytes(CONNECTION_BYTES)),
            ("`handshake_bytes`", bytes(HANDSHAKE_BYTES)),
            ("`identity_bytes`", IDENTITY_BYTES.to_string()),
            ("`admission_bytes`", bytes(ADMISSION_BYTES)),
            ("`door_ms`", grouped(DOOR_MS)),
            ("`door_waiting`", grouped(DOOR_WAITING as u64)),
            ("`prepared_bytes`", bytes(PREPARED_BYTES)),
            ("`hook_ms`", grouped(HOOK_MS)),
            ("`hooks_waiting`", HOOKS_WAITING.to_string()),
            ("`after_waiting`", grouped(AFTER_WAITING as u64)),
            ("`connection_tags`", format!("{CONNECTION_TAGS} of {TAG_BYTES}")),
            ("`step_messages`", format!("{}, {}", grouped(STEP_MESSAGES as u64), bytes(STEP_MESSAGE_BYTES))),
            ("`early_message_bytes`", bytes(EARLY_MESSAGE_BYTES)),
            ("`request_bytes`", bytes(REQUEST_BYTES)),
            ("`request_ms`", grouped(REQUEST_MS)),
            ("`response_bytes`", bytes(RESPONSE_BYTES)),
            ("`outbox_item_bytes`", bytes(OUTBOX_ITEM_BYTES)),
            ("`outbox_step_items`", OUTBOX_STEP_ITEMS.to_string()),
            ("`outbox_room_items`", grouped(OUTBOX_ROOM_ITEMS as u64)),
            ("`outbox_ms`", grouped(OUTBOX_MS)),
            (
                "`outbox_delay_ms`",
                format!("{} to {}", grouped(OUTBOX_DELAY_MS as u64), grouped(OUTBOX_MAX_DELAY_MS as u64)),
            ),
            ("`outbox_tries`", OUTBOX_TRIES.to_string()),
            ("`channels`", CHANNELS.to_string()),
            ("`columns`", COLUMNS.to_string()),
            ("`sql_bytes`", bytes(SQL_BYTES)),
            ("`id_bytes`", bytes(ID_BYTES)),
            ("`outcomes_kept`", format!("{} numbers, {OUTCOME_DAYS} days", grouped(OUTCOMES_KEPT))),
            ("`open_actions`", grouped(OPEN_ACTIONS as u64)),
            ("`clients_kept`", format!("{CLIENT_DAYS} days")),
            ("`log_versions`", format!("{}, {LOG_DAYS} days", grouped(LOG_VERSIONS))),
            ("`tombstones`", grouped(TOMBSTONES)),
            ("`tombstone_payload`", format!("{TOMBSTONE_PAYLOAD_DAYS} day")),
            ("`log_file_idle_bytes`", format!("{} MiB, {} MiB", LOG_FILE_IDLE_BYTES >> 20, LOG_FILE_BYTES >> 20)),
            ("`snapshot_rows`", format!("{}, {}", grouped(SNAPSHOT_ROWS as u64), bytes(SNAPSHOT_BYTES))),
            ("`snapshot_kept_bytes`", bytes(SNAPSHOT_KEPT_BYTES)),
            ("`snapshot_kept_ms`", grouped(SNAPSHOT_KEPT_MS as u64)),
            ("`ping_ms`", grouped(PING_MS)),
            (
                "`have_patches`, `have_ms`",
                format!(
                    "{}, {} natively; {HAVE_PATCHES}, {} on Durable Objects",
                    grouped(HAVE_SEEN_PATCHES),
                    grouped(HAVE_SEEN_MS),
                    grouped(HAVE_MS)
                ),
            ),
            ("`socket_backlog_bytes`", bytes(SOCKET_BACKLOG_BYTES)),
            ("`head_bytes`", bytes(HEAD_BYTES)),
            ("`head_ms`", grouped(HEAD_MS)),
            ("`tls_ms`", grouped(TLS_MS)),
        ] {
            assert_eq!(spec_value(name), value, "{name}");
        }
    }
}
