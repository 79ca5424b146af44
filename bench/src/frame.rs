//! WebSocket frames, as a client needs them.

use crate::error::Error;

/// A client has to mask; what with is its own choice.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Continuation,
    Text,
    Ping,
    Close,
    Other,
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) is_last: bool,
    pub(crate) kind: Kind,
    pub(crate) payload: &'a [u8],
}

/// The frame at the beginning of what was read, and its length; or `None` if it is not all there yet.
pub(crate) fn read(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Error> {
    let &[first, second, ..] = input else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(Error::Protocol("a frame of a server is masked"));
    }
    let (header, length) = match (second & 0x7f, &input[2..]) {
        (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        (126 | 127, _) => return Ok(None),
        (length, _) => (2, u64::from(length)),
    };
    let length = usize::try_from(length).map_err(|_| Error::Protocol("a frame is too long"))?;
    let Some(payload) = input.get(header..).and_then(|rest| rest.get(..length)) else { return Ok(None) };
    let kind = match first & 0x0f {
        0x0 => Kind::Continuation,
        0x1 => Kind::Text,
        0x8 => Kind::Close,
        0x9 => Kind::Ping,
        _ => Kind::Other,
    };
    Ok(Some((Frame { is_last: first & 0x80 != 0, kind, payload }, header + length)))
}

/// Appends a text frame.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    push(out, 0x1, text.as_bytes());
}

/// Appends the answer to a ping.
pub(crate) fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push(out, 0xA, payload);
}

fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    let length = payload.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0x80 | 126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    out[start..].iter_mut().zip(MASK.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server would make of it.
    fn unmasked(frame: &[u8]) -> Vec<u8> {
        let header = match frame[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let payload = frame[header + 4..].iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let mut plain = frame[..header].to_vec();
        plain[1] &= 0x7f;
        plain.extend(payload);
        plain
    }

    #[test]
    fn what_is_written_can_be_read_at_each_width_of_the_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let text = "t".repeat(length);
            let mut out = Vec::new();
            push_text(&mut out, &text);
            let plain = unmasked(&out);
            let frame = Frame { is_last: true, kind: Kind::Text, payload: text.as_bytes() };
            assert_eq!(read(&plain).unwrap(), Some((frame, plain.len())), "{length}");
            for cut in [0, 1, plain.len() - 1] {
                assert_eq!(read(&plain[..cut]).unwrap(), None, "{length}: {cut}");
            }
        }
    }

    #[test]
    fn a_masked_frame_is_none_of_a_server() {
        assert!(read(&[0x81, 0x80, 0, 0, 0, 0]).is_err());
    }
}
