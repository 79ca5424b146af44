//! Frames that the server sends: whole, and unmasked, as a server's have to be.

use super::{CONTROL_BYTES, Opcode};

/// A frame's first bytes. What it carries follows as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    bytes: [u8; 10],
    len: u8,
}

impl Header {
    pub(crate) fn new(opcode: Opcode, payload_len: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = 0x80 | opcode as u8;
        let len = if payload_len <= CONTROL_BYTES {
            bytes[1] = payload_len as u8;
            2
        } else if let Ok(short) = u16::try_from(payload_len) {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&short.to_be_bytes());
            4
        } else {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        };
        Header { bytes, len }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len.into()]
    }
}

/// What a close frame carries: the code and the reason, as much of it as fits.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    let mut end = reason.len().min(CONTROL_BYTES - payload.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6455_5_2_a_length_takes_the_fewest_bytes() {
        for (len, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(Header::new(Opcode::Text, len).as_bytes(), header);
        }
    }

    #[test]
    fn rfc_6455_5_5_a_reason_is_cut_where_a_character_ends() {
        let payload = close_payload(1008, &"ü".repeat(100));
        assert_eq!(payload.len(), 2 + 122);
        assert!(str::from_utf8(&payload[2..]).is_ok());
        assert_eq!(close_payload(1000, ""), [0x03, 0xe8]);
    }
}
