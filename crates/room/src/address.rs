//! From a URL's path to a room (SPEC 12.12).

use partysync_protocol::limits;

use crate::{Refusal, RoomName};

/// What a URL's path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The room, by the raw segments of the path.
    pub room: RoomName,
    /// What follows the room: empty, or it begins with a slash.
    pub path: String,
}

impl Address {
    /// Reads a path as it came, not percent-decoded. `prefix` is what stands before the party.
    ///
    /// # Errors
    ///
    /// Status 404 if the path is too short or begins otherwise, 414 if a name is longer than it may be.
    pub fn of_path(path: &str, prefix: &str) -> Result<Self, Refusal> {
        let too_short = || Refusal::new(404, "There is no room at this address.");
        let path = path.strip_prefix(prefix).and_then(|path| path.strip_prefix('/')).ok_or_else(too_short)?;
        let (party, path) = path.split_once('/').ok_or_else(too_short)?;
        let (room, path) = path.split_at(path.find('/').unwrap_or(path.len()));
        if party.len() > limits::PARTY_NAME_BYTES || room.len() > limits::ROOM_NAME_BYTES {
            return Err(Refusal::new(414, "The name is too long."));
        }
        if room.is_empty() {
            return Err(too_short());
        }
        Ok(Address { room: RoomName::new(party, room), path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(path: &str) -> Result<String, u16> {
        let address = Address::of_path(path, "/parties");
        address.map(|a| format!("{}{}", a.room, a.path)).map_err(|refusal| refusal.status())
    }

    #[test]
    fn spec_12_12_a_room_is_named_by_raw_segments() {
        assert_eq!(name_of("/parties/todos/a%20b").unwrap(), "todos/a%20b");
        assert_eq!(name_of("/parties/todos/x/more/segments").unwrap(), "todos/x/more/segments");
        assert_eq!(name_of("/parties/todos/..").unwrap(), "todos/..");
        for too_short in
            ["/parties", "/parties/", "/parties/todos", "/parties/todos/", "/parties/todos//x", "/other/todos/x", ""]
        {
            assert_eq!(name_of(too_short), Err(404), "{too_short}");
        }
    }

    #[test]
    fn p8_party_name_bytes_and_room_name_bytes_at_the_limit_and_one_past_it() {
        let (party, room) = ("p".repeat(limits::PARTY_NAME_BYTES), "r".repeat(limits::ROOM_NAME_BYTES));
        assert!(name_of(&format!("/parties/{party}/{room}")).is_ok());
        assert_eq!(name_of(&format!("/parties/{party}p/{room}")), Err(414));
        assert_eq!(name_of(&format!("/parties/{party}/{room}r")), Err(414));
    }
}
