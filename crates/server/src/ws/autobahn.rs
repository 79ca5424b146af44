//! The cases of the Autobahn test suite, by its numbers, for a server that echoes. Not here: 6.4.3, 6.4.4 (failing in the middle of a frame,
//! which the suite counts as optional), 9.1.3 to 9.1.6 and their kin (larger than the largest frame that is taken), 12 and 13 (compression, which is declined).

use super::decode::{Decoder, Fault, Incoming};
use super::{Opcode, close_payload};

/// The most bytes of a message.
const MAX: usize = 1 << 20;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame as the suite sends it.
#[derive(Clone)]
struct Frame {
    fin: bool,
    rsv: u8,
    opcode: u8,
    payload: Vec<u8>,
}

fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { fin: true, rsv: 0, opcode, payload: payload.as_ref().to_vec() }
}

fn part(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { fin: false, ..frame(opcode, payload) }
}

fn close(code: u16) -> Frame {
    frame(CLOSE, code.to_be_bytes())
}

impl Frame {
    fn rsv(self, rsv: u8) -> Frame {
        Frame { rsv, ..self }
    }

    /// Masked, as clients send it.
    fn bytes(&self) -> Vec<u8> {
        let mask = [0x11, 0x82, 0xf3, 0x04];
        let mut bytes = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        match self.payload.len() {
            len @ 0..126 => bytes.push(0x80 | len as u8),
            len @ 126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(0x80 | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// The end, with this code if any.
    Closed(Option<u16>),
}

fn closed(code: u16) -> Vec<Sent> {
    vec![Sent::Closed(Some(code))]
}

fn pong(payload: &[u8]) -> Sent {
    Sent::Pong(payload.to_vec())
}

fn text(text: &str) -> Sent {
    Sent::Text(text.to_owned())
}

/// Feeds a server that echoes, as a socket does, with pieces of this size; returns what it sends.
fn echo(bytes: &[u8], chop: usize) -> Vec<Sent> {
    let mut decoder = Decoder::new(MAX);
    let mut sent = Vec::new();
    for piece in bytes.chunks(chop) {
        let mut answer = |incoming| {
            sent.extend(match incoming {
                Incoming::Text(text) => Some(Sent::Text(text)),
                Incoming::Binary(bytes) => Some(Sent::Binary(bytes)),
                Incoming::Ping(payload) => Some(Sent::Pong(payload)),
                Incoming::Pong(_) => None,
                Incoming::Close(code, _) => Some(Sent::Closed(code)),
            });
        };
        let fault = decoder.feed(&mut piece.to_vec(), &mut answer).err();
        if let Some(fault) = fault {
            sent.push(Sent::Closed(Some(match fault {
                Fault::TooLarge => 1009,
                Fault::NotUtf8 => 1007,
                Fault::Protocol => 1002,
            })));
        }
        if matches!(sent.last(), Some(Sent::Closed(_))) {
            break;
        }
    }
    sent
}

/// A case gives the same whether it comes at once, byte by byte, or in pieces that fit nothing.
fn case(number: &str, frames: &[Frame], expected: &[Sent]) {
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    let chops: &[usize] = if bytes.len() > 300_000 { &[997, 65_536, usize::MAX] } else { &[1, 7, 997, usize::MAX] };
    for chop in chops {
        assert_eq!(echo(&bytes, *chop), expected, "case {number} in pieces of {chop}");
    }
}

#[test]
fn autobahn_1_framing() {
    for (i, len) in [0, 125, 126, 127, 128, 65_535, 65_536].into_iter().enumerate() {
        let payload = "*".repeat(len);
        case(&format!("1.1.{}", i + 1), &[frame(TEXT, &payload)], &[text(&payload)]);
        let payload = vec![0xfe; len];
        case(&format!("1.2.{}", i + 1), &[frame(BINARY, &payload)], &[Sent::Binary(payload.clone())]);
    }
}

#[test]
fn autobahn_2_pings_and_pongs() {
    case("2.1", &[frame(PING, "")], &[pong(b"")]);
    case("2.2", &[frame(PING, "Hello, world!")], &[pong(b"Hello, world!")]);
    case("2.3", &[frame(PING, [0, 0xff, 0xfe, 0xfd])], &[pong(&[0, 0xff, 0xfe, 0xfd])]);
    case("2.4", &[frame(PING, [0xfe; 125])], &[pong(&[0xfe; 125])]);
    case("2.5", &[frame(PING, [0xfe; 126])], &closed(1002));
    case("2.7", &[frame(PONG, ""), close(1000)], &closed(1000));
    case("2.8", &[frame(PONG, "unsolicited pong payload"), close(1000)], &closed(1000));
    case("2.9", &[frame(PONG, "unsolicited"), frame(PING, "ping payload")], &[pong(b"ping payload")]);
    let payloads: Vec<String> = (0..10).map(|i| format!("payload-{i}")).collect();
    let pings: Vec<Frame> = payloads.iter().map(|payload| frame(PING, payload)).collect();
    let pongs: Vec<Sent> = payloads.iter().map(|payload| pong(payload.as_bytes())).collect();
    case("2.10 and 2.11", &pings, &pongs);
}

#[test]
fn autobahn_3_reserved_bits() {
    let (hello, ping) = (frame(TEXT, "Hello, world!"), frame(PING, ""));
    case("3.1", &[hello.clone().rsv(1)], &closed(1002));
    for (number, bad) in [
        ("3.2 to 3.4", hello.clone().rsv(2)),
        ("3.4", hello.clone().rsv(4)),
        ("3.5", frame(BINARY, [0, 0xff]).rsv(5)),
        ("3.6", frame(PING, "Hello, world!").rsv(6)),
        ("3.7", close(1000).rsv(7)),
    ] {
        let expected = [text("Hello, world!"), Sent::Closed(Some(1002))];
        case(number, &[hello.clone(), bad, ping.clone()], &expected);
    }
}

#[test]
fn autobahn_4_reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        case("4.1, 4.2", &[frame(opcode, "")], &closed(1002));
        let frames = [frame(TEXT, "Hello, world!"), frame(opcode, "reserved"), frame(PING, "")];
        case("4.1, 4.2", &frames, &[text("Hello, world!"), Sent::Closed(Some(1002))]);
    }
}

#[test]
fn autobahn_5_fragmentation() {
    case("5.1", &[part(PING, "fragment1"), frame(CONTINUATION, "fragment2")], &closed(1002));
    case("5.2", &[part(PONG, "fragment1"), frame(CONTINUATION, "fragment2")], &closed(1002));
    let (one, two) = (part(TEXT, "fragment1"), frame(CONTINUATION, "fragment2"));
    let both = text("fragment1fragment2");
    case("5.3 to 5.5", &[one.clone(), two.clone()], std::slice::from_ref(&both));
    case("5.6 to 5.8", &[one.clone(), frame(PING, "ping"), two.clone()], &[pong(b"ping"), both.clone()]);
    for (number, stray) in [
        ("5.9 to 5.11", frame(CONTINUATION, "non-continuation payload")),
        ("5.12 to 5.14", part(CONTINUATION, "non-continuation payload")),
    ] {
        case(number, &[stray, frame(TEXT, "Hello, world!")], &closed(1002));
    }
    let after = [one.clone(), two.clone(), part(CONTINUATION, "fragment3"), frame(TEXT, "fragment4")];
    case("5.15", &after, &[both, Sent::Closed(Some(1002))]);
    for (number, stray) in [("5.16", part(CONTINUATION, "fragment1")), ("5.17", frame(CONTINUATION, "fragment1"))] {
        case(number, &[stray, part(TEXT, "fragment2"), frame(CONTINUATION, "fragment3")], &closed(1002));
    }
    case("5.18", &[one, frame(TEXT, "fragment2")], &closed(1002));
    let five = [
        part(TEXT, "fragment1"),
        part(CONTINUATION, "fragment2"),
        frame(PING, "pongme 1!"),
        part(CONTINUATION, "fragment3"),
        part(CONTINUATION, "fragment4"),
        frame(PING, "pongme 2!"),
        frame(CONTINUATION, "fragment5"),
    ];
    let whole = text("fragment1fragment2fragment3fragment4fragment5");
    case("5.19 and 5.20", &five, &[pong(b"pongme 1!"), pong(b"pongme 2!"), whole]);
}

/// A text in frames of a byte each.
fn bytewise(bytes: &[u8]) -> Vec<Frame> {
    let last = bytes.len() - 1;
    let frame = |(i, byte): (usize, &u8)| {
        let opcode = if i == 0 { TEXT } else { CONTINUATION };
        if i == last { frame(opcode, [*byte]) } else { part(opcode, [*byte]) }
    };
    bytes.iter().enumerate().map(frame).collect()
}

#[test]
fn autobahn_6_1_and_6_2_texts_in_frames_of_any_size() {
    case("6.1.1", &[frame(TEXT, "")], &[text("")]);
    case("6.1.2", &[part(TEXT, ""), part(CONTINUATION, ""), frame(CONTINUATION, "")], &[text("")]);
    case("6.1.3", &[part(TEXT, ""), part(CONTINUATION, "middle"), frame(CONTINUATION, "")], &[text("middle")]);
    let good = "Hello-µ@ßöäüàá-UTF-8!!";
    case("6.2.1", &[frame(TEXT, good)], &[text(good)]);
    let (one, two) = good.as_bytes().split_at(12);
    case("6.2.2", &[part(TEXT, one), frame(CONTINUATION, two)], &[text(good)]);
    case("6.2.3", &bytewise(good.as_bytes()), &[text(good)]);
    case("6.2.4", &bytewise("κόσμε".as_bytes()), &[text("κόσμε")]);
}

#[test]
fn autobahn_6_3_and_6_4_what_is_not_utf_8_fails_as_soon_as_its_frame_shows_it() {
    let bad = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64";
    case("6.3.1", &[frame(TEXT, bad)], &closed(1007));
    case("6.3.2", &bytewise(bad), &closed(1007));
    // The rest never comes.
    case("6.4.1", &[part(TEXT, "κόσμε"), part(CONTINUATION, b"\xf4\x90\x80\x80")], &closed(1007));
    case("6.4.2", &[part(TEXT, "κόσμε"), part(CONTINUATION, b"\xf4"), part(CONTINUATION, b"\x90")], &closed(1007));
}

#[test]
fn autobahn_6_5_to_6_23_what_is_utf_8_and_what_is_not() {
    let valid: [&[u8]; 24] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        b"\x00",
        b"\xc2\x80",
        b"\xe0\xa0\x80",
        b"\xf0\x90\x80\x80",
        b"\x7f",
        b"\xdf\xbf",
        b"\xef\xbf\xbf",
        b"\xf4\x8f\xbf\xbf",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        b"\xef\xbf\xbe",
        b"\xf0\x9f\xbf\xbe",
        b"\xf0\x9f\xbf\xbf",
        b"\xf0\xaf\xbf\xbe",
        b"\xf1\x8f\xbf\xbf",
        b"\xf2\x8f\xbf\xbe",
        b"\xf3\x8f\xbf\xbf",
        b"\xf3\xbf\xbf\xbe",
        b"\xf4\x8f\xbf\xbe",
        b"\xef\xb7\x90",
        b"\xef\xbb\xbf",
        b"\xe2\x82\xac",
    ];
    for bytes in valid {
        let expected = [Sent::Text(String::from_utf8(bytes.to_vec()).unwrap())];
        case("6.5 to 6.23, valid", &[frame(TEXT, bytes)], &expected);
        case("6.5 to 6.23, valid", &bytewise(bytes), &expected);
    }
    let invalid: [&[u8]; 44] = [
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xfb\xbf\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf",
        b"\x80\xbf\x80",
        b"\x80\xbf\x80\xbf\x80\xbf",
        b"\xc0\x20\xc1\x20",
        b"\xe0\x20\xe1\x20",
        b"\xf0\x20\xf1\x20",
        b"\xf8\x20\xf9\x20",
        b"\xfc\x20",
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xed\xaf\xbf\xed\xbf\xbf",
        b"\xce\xba\xe1\xbd",
    ];
    for bytes in invalid {
        case("6.5 to 6.23, invalid", &[frame(TEXT, bytes)], &closed(1007));
        case("6.5 to 6.23, invalid", &bytewise(bytes), &closed(1007));
    }
}

#[test]
fn autobahn_7_1_nothing_after_a_close_counts() {
    let hello = frame(TEXT, "Hello, world!");
    case("7.1.1", &[hello.clone(), close(1000)], &[text("Hello, world!"), Sent::Closed(Some(1000))]);
    for (number, late) in [("7.1.2", close(1001)), ("7.1.3", frame(PING, "")), ("7.1.4", hello)] {
        case(number, &[close(1000), late], &closed(1000));
    }
    case("7.1.5", &[part(TEXT, "fragment1"), close(1000), frame(CONTINUATION, "fragment2")], &closed(1000));
    let large = "BAsd7&jh23".repeat(26_215);
    let expected = [Sent::Text(large.clone()), Sent::Closed(Some(1000))];
    case("7.1.6", &[frame(TEXT, &large), close(1000), frame(PING, "")], &expected);
}

#[test]
fn autobahn_7_3_and_7_5_what_a_close_carries() {
    let with = |reason: &[u8]| frame(CLOSE, [&1000_u16.to_be_bytes()[..], reason].concat());
    case("7.3.1", &[frame(CLOSE, "")], &[Sent::Closed(None)]);
    case("7.3.2", &[frame(CLOSE, "a")], &closed(1002));
    case("7.3.3", &[close(1000)], &closed(1000));
    case("7.3.4", &[with(b"Hello World!")], &closed(1000));
    case("7.3.5", &[with(&[b'*'; 123])], &closed(1000));
    case("7.3.6", &[with(&[b'*'; 124])], &closed(1002));
    case("7.5.1", &[with(b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited")], &closed(1007));
}

#[test]
fn autobahn_7_7_and_7_9_which_codes_may_travel() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        case("7.7", &[close(code)], &closed(code));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        case("7.9, 7.13", &[close(code)], &closed(1002));
    }
}

#[test]
fn autobahn_9_and_10_large_messages_whole_and_in_parts() {
    for (number, len) in [("9.1.1, 9.2.1", 65_536), ("9.1.2, 9.2.2", 262_144), ("at the limit", MAX)] {
        let payload = "*".repeat(len);
        case(number, &[frame(TEXT, &payload)], &[text(&payload)]);
        case(number, &[frame(BINARY, &payload)], &[Sent::Binary(payload.clone().into_bytes())]);
    }
    for size in [64, 256, 1_024, 1_300, 4_096, 16_384, 65_536, 262_144] {
        let payload = vec![b'*'; 262_144];
        let last = payload.len().div_ceil(size) - 1;
        let frames: Vec<Frame> = payload
            .chunks(size)
            .enumerate()
            .map(|(i, chunk)| Frame { fin: i == last, ..frame(if i == 0 { TEXT } else { CONTINUATION }, chunk) })
            .collect();
        case("9.3, 10.1.1", &frames, &[Sent::Text(String::from_utf8(payload.clone()).unwrap())]);
    }
    let past = [part(TEXT, vec![b'*'; MAX]), frame(CONTINUATION, "*")];
    case("past the limit", &past, &closed(1009));
    case("past the limit", &[frame(TEXT, vec![b'*'; MAX + 1])], &closed(1009));
}

#[test]
fn rfc_6455_5_1_a_client_masks_what_it_sends() {
    let unmasked = [&[0x80 | Opcode::Close as u8, 2][..], &close_payload(1000, "")].concat();
    assert_eq!(echo(&unmasked, usize::MAX), closed(1002));
}

#[test]
fn a_length_that_no_memory_holds_is_too_large() {
    let mut announced = vec![0x81, 0x80 | 127];
    announced.extend(u64::MAX.to_be_bytes());
    assert_eq!(echo(&announced, 1), closed(1009));
}
