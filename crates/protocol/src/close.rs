//! Why a socket was closed (SPEC 8.27).

use std::ops::RangeInclusive;

use crate::ErrorCode;

/// The longest that a client waits before it comes back.
pub const LONGEST_DELAY_MS: u64 = 30_000;

/// A socket that was open for so long is no failure.
pub const GOOD_SOCKET_MS: u64 = 5_000;

/// What a client does after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComeBack {
    /// It was its own wish.
    No,
    /// It opens another socket, after a random delay of up to so many milliseconds.
    Within {
        /// The least delay.
        least_ms: u64,
        /// The greatest.
        most_ms: u64,
    },
    /// Not before something has changed, such as its token or its version.
    NotUnchanged,
}

/// A close code, or several that mean the same.
#[derive(Debug, Clone)]
pub struct CloseCode {
    /// Those it is about.
    pub codes: RangeInclusive<u16>,
    /// Whether a server of partysync sends it. Others come from what is in between, and are no part of the protocol.
    pub is_ours: bool,
    /// What it means, in a few words.
    pub meaning: &'static str,
    /// When it happens, for a developer who meets it.
    pub when: &'static str,
    /// Whether a client comes back.
    pub come_back: ComeBack,
    /// The code of the `left` that takes its place on a socket that carries other rooms (SPEC 8.34). `None`: `rejected`, with the
    /// close code as its `reason`.
    pub left: Option<ErrorCode>,
}

/// What a client does after a code that the table does not have, as after a connection that broke.
pub const USUAL_COME_BACK: ComeBack = AT_ONCE;

const AT_ONCE: ComeBack = ComeBack::Within { least_ms: 0, most_ms: 5_000 };
const LATER: ComeBack = ComeBack::Within { least_ms: 5_000, most_ms: 30_000 };

/// Where two are about one code, the narrower comes first. From this one table `cargo xtask generate` makes SPEC's, `docs/errors.md`
/// and the TypeScript client's.
pub const CLOSE_CODES: &[CloseCode] = &[
    CloseCode {
        codes: 1000..=1000,
        is_ours: true,
        meaning: "done",
        when: "The client closed the socket, or the app did without a reason of its own.",
        come_back: ComeBack::No,
        left: None,
    },
    CloseCode {
        codes: 1001..=1001,
        is_ours: true,
        meaning: "the server's room moved",
        when: "The room goes on elsewhere. From a browser: its page was left.",
        come_back: AT_ONCE,
        left: Some(ErrorCode::Busy),
    },
    CloseCode {
        codes: 1002..=1002,
        is_ours: true,
        meaning: "not WebSocket",
        when: "What came breaks the WebSocket protocol. Browsers don't do that: the client's library or a proxy in between has a fault.",
        come_back: LATER,
        left: None,
    },
    CloseCode {
        codes: 1003..=1003,
        is_ours: true,
        meaning: "binary frame that the app does not take, on version 2",
        when: "The client sent a binary frame, and the app's `on_message` did not take it. Version 2 is text.",
        come_back: LATER,
        left: Some(ErrorCode::BadMessage),
    },
    CloseCode {
        codes: 1006..=1006,
        is_ours: false,
        meaning: "the connection broke",
        when: "Nobody sends it: browsers say it when a socket ended without a close. The network broke, or the handshake was refused; in the second case the server's answer has a status, which the browser's network panel shows.",
        come_back: AT_ONCE,
        left: None,
    },
    CloseCode {
        codes: 1007..=1007,
        is_ours: true,
        meaning: "not UTF-8",
        when: "A text frame is not UTF-8.",
        come_back: LATER,
        left: Some(ErrorCode::BadMessage),
    },
    CloseCode {
        codes: 1008..=1008,
        is_ours: true,
        meaning: "not allowed",
        when: "The app's `on_connect` did not let the socket in. The reason is the app's text.",
        come_back: ComeBack::NotUnchanged,
        left: Some(ErrorCode::NotAllowed),
    },
    CloseCode {
        codes: 1009..=1009,
        is_ours: true,
        meaning: "frame too large",
        when: "A frame is larger than `welcome.frame_bytes`, 1 MiB.",
        come_back: LATER,
        left: Some(ErrorCode::BadMessage),
    },
    CloseCode {
        codes: 1011..=1011,
        is_ours: true,
        meaning: "the server's fault",
        when: "The room could not be opened, or the app's code failed as the socket was opened. The server's log says why.",
        come_back: LATER,
        left: Some(ErrorCode::Busy),
    },
    CloseCode {
        codes: 1012..=1012,
        is_ours: true,
        meaning: "restart",
        when: "The server restarts, or the room was restored from a backup.",
        come_back: AT_ONCE,
        left: Some(ErrorCode::Busy),
    },
    CloseCode {
        codes: 1013..=1013,
        is_ours: true,
        meaning: "overloaded",
        when: "The room or the server has as many sockets or open rooms as it may, or the client reads too slowly.",
        come_back: LATER,
        left: Some(ErrorCode::Busy),
    },
    CloseCode {
        codes: 1014..=1014,
        is_ours: false,
        meaning: "bad gateway",
        when: "A proxy in front of the server did not reach it.",
        come_back: LATER,
        left: Some(ErrorCode::Busy),
    },
    CloseCode {
        codes: 4400..=4400,
        is_ours: true,
        meaning: "the client broke the protocol, or a door refused with 400",
        when: "The first frame was not `hello` though the subprotocol asks for version 2, or no version is one that both speak.",
        come_back: ComeBack::NotUnchanged,
        left: Some(ErrorCode::NotAllowed),
    },
    CloseCode {
        codes: 4410..=4410,
        is_ours: true,
        meaning: "the room was deleted, or a door refused with 410",
        when: "The operator deleted the room. Who comes back makes it anew.",
        come_back: ComeBack::NotUnchanged,
        left: Some(ErrorCode::NotAllowed),
    },
    CloseCode {
        codes: 4401..=4499,
        is_ours: true,
        meaning: "a door refused (13.4) with the status that is 4000 less",
        when: "The app's door refused the handshake of a page: 4401 stands for status 401, and so on. The reason is the door's text.",
        come_back: ComeBack::NotUnchanged,
        left: Some(ErrorCode::NotAllowed),
    },
];

/// Milliseconds until a client opens another socket after this close code (SPEC 8.27), at a random point of the time that the code
/// allows. `failures`: how many tries in a row failed before this one; each doubles the time, up to [`LONGEST_DELAY_MS`]. `None`: it
/// does not come back by itself; after 4401 it does with another token (SPEC 9.8), whose delay is that of 1006.
pub fn delay_ms(code: u16, failures: u32, random: u32) -> Option<u64> {
    let come_back = close_code(code).map_or(USUAL_COME_BACK, |close| close.come_back);
    let ComeBack::Within { least_ms, most_ms } = come_back else { return None };
    let most_ms =
        1_u64.checked_shl(failures).map_or(u64::MAX, |times| most_ms.saturating_mul(times)).min(LONGEST_DELAY_MS);
    Some(least_ms + ((u128::from(most_ms - least_ms) * u128::from(random)) >> u32::BITS) as u64)
}

/// What a close code means. `None`: it is the app's own, or nothing that partysync knows.
pub fn close_code(code: u16) -> Option<&'static CloseCode> {
    CLOSE_CODES.iter().find(|close| close.codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_8_27_no_code_lets_a_client_wait_longer_than_the_longest_delay() {
        for close in CLOSE_CODES {
            let ComeBack::Within { least_ms, most_ms } = close.come_back else { continue };
            assert!(least_ms <= most_ms && most_ms <= LONGEST_DELAY_MS, "{close:?}");
            for failures in [0, 1, 63, 64, u32::MAX] {
                let delay = |random| delay_ms(*close.codes.start(), failures, random).unwrap();
                assert_eq!(delay(0), least_ms);
                assert!(delay(u32::MAX) < LONGEST_DELAY_MS && delay(u32::MAX) >= most_ms - 1, "{close:?}");
            }
        }
    }
}
