//! Rooms as frames name them (SPEC 8.3).

use axum::http::Uri;
use partysync_protocol::{ErrorCode, limits};
use partysync_room::RoomName;

/// The room of an address, `party/room`.
///
/// # Errors
///
/// [`ErrorCode::TooLarge`] if a name is too long, [`ErrorCode::BadMessage`] if no URL's path could hold it (SPEC 8.33).
pub(super) fn read(address: &str) -> Result<RoomName, ErrorCode> {
    let (party, room) = address.split_once('/').ok_or(ErrorCode::BadMessage)?;
    if party.len() > limits::PARTY_NAME_BYTES || room.len() > limits::ROOM_NAME_BYTES {
        return Err(ErrorCode::TooLarge);
    }
    let path = format!("/{address}");
    let is_path = path
        .parse::<Uri>()
        .is_ok_and(|uri| uri.path() == path && uri.path_and_query().is_some_and(|p| p.query().is_none()));
    if party.is_empty() || room.is_empty() || room.contains('/') || !is_path {
        return Err(ErrorCode::BadMessage);
    }
    Ok(RoomName::new(party, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_8_33_a_room_is_named_as_in_a_urls_path() {
        let name = |address: &str| read(address).map(|name| name.address().to_owned());
        for good in ["notes/a", "notes/a%20b", "notes/..", "other-party/a:b@c"] {
            assert_eq!(name(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "notes",
            "/",
            "notes/",
            "/a",
            "notes/a/b",
            "notes/a?b",
            "notes/a#b",
            "notes/a b",
            "notes/\u{0}",
            "notes/a\n",
        ] {
            assert_eq!(name(bad), Err(ErrorCode::BadMessage), "{bad:?}");
        }
    }

    #[test]
    fn p8_room_name_bytes_and_party_name_bytes_of_a_further_room_at_the_limit_and_one_past_it() {
        let (party, room) = ("p".repeat(limits::PARTY_NAME_BYTES), "r".repeat(limits::ROOM_NAME_BYTES));
        assert!(read(&format!("{party}/{room}")).is_ok());
        assert_eq!(read(&format!("{party}p/{room}")), Err(ErrorCode::TooLarge));
        assert_eq!(read(&format!("{party}/{room}r")), Err(ErrorCode::TooLarge));
    }
}
