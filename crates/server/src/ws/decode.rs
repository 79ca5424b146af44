//! Frames that a client sent, from bytes as they come (RFC 6455, 5).

use super::CONTROL_BYTES;
use crate::proof::Mark;

/// A message, or a control frame, that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// With what it carries, if that is a mark (SPEC 12.11).
    Pong(Option<Mark>),
    /// What a close frame carries: its code, if it has one, and a reason of at most 123 bytes. Nothing after it counts.
    Close(Option<u16>, String),
}

/// The client broke the protocol: nothing after it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Past the limit for a message.
    TooLarge,
    /// A text, or a close frame's reason, is not UTF-8.
    NotUtf8,
    /// Anything else.
    Protocol,
}

/// Reads one connection. It holds memory only while a frame, or a message of several, has come in part.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The most bytes that a message may have.
    max: usize,
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    /// The frames so far of a message whose last has not come.
    message: Option<Message>,
    closed: bool,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    bytes: Vec<u8>,
    /// Of a text: how many bytes are known to be UTF-8.
    valid: usize,
}

/// A frame's header.
struct Head {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes of the header.
    len: usize,
    payload_len: usize,
}

impl Head {
    /// The bytes of the whole frame.
    fn total(&self) -> usize {
        self.len + self.payload_len
    }
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Decoder {
    pub(crate) fn new(max: usize) -> Self {
        Decoder { max, partial: Vec::new(), message: None, closed: false }
    }

    /// Takes the next bytes, which it unmasks where they are, and shows each message that they complete.
    ///
    /// # Errors
    ///
    /// [`Fault`], at the first byte that shows it. What was complete before it has been shown.
    pub(crate) fn feed(&mut self, input: &mut [u8], each: &mut dyn FnMut(Incoming)) -> Result<(), Fault> {
        if self.partial.is_empty() {
            let rest = self.read(input, each)?;
            self.partial.extend_from_slice(rest);
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(input);
        let left = self.read(&mut bytes, each)?.len();
        bytes.drain(..bytes.len() - left);
        self.partial = if bytes.is_empty() { Vec::new() } else { bytes };
        Ok(())
    }

    /// Reads frames until one is not complete; returns what there is of that one.
    fn read<'b>(&mut self, mut bytes: &'b mut [u8], each: &mut dyn FnMut(Incoming)) -> Result<&'b [u8], Fault> {
        while !self.closed {
            let Some(head) = self.head(bytes)? else { return Ok(bytes) };
            if bytes.len() < head.total() {
                return Ok(bytes);
            }
            let (frame, rest) = std::mem::take(&mut bytes).split_at_mut(head.total());
            bytes = rest;
            let payload = &mut frame[head.len..];
            unmask(payload, head.mask);
            if let Some(incoming) = self.frame(&head, payload)? {
                each(incoming);
            }
        }
        Ok(&[])
    }

    /// Reads a frame's header, if it is all there, and checks all that it tells.
    fn head(&self, bytes: &[u8]) -> Result<Option<Head>, Fault> {
        let [first, second, ..] = *bytes else { return Ok(None) };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let is_control = opcode >= CLOSE;
        let known = if is_control { opcode <= PONG } else { opcode <= BINARY };
        // The reserved bits are for extensions, of which none was agreed on. A client masks what it sends.
        if first & 0x70 != 0 || !known || second & 0x80 == 0 {
            return Err(Fault::Protocol);
        }
        if is_control && (!fin || usize::from(second & 0x7f) > CONTROL_BYTES) {
            return Err(Fault::Protocol);
        }
        if !is_control && (opcode == CONTINUATION) != self.message.is_some() {
            return Err(Fault::Protocol);
        }
        let (payload_len, len_bytes) = match second & 0x7f {
            126 => match bytes.get(2..4) {
                Some(len) => (len.iter().fold(0, |n, b| n << 8 | u64::from(*b)), 2),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(len) => (len.iter().fold(0, |n, b| n << 8 | u64::from(*b)), 8),
                None => return Ok(None),
            },
            len => (len.into(), 0),
        };
        let before = self.message.as_ref().map_or(0, |message| message.bytes.len());
        let payload_len = usize::try_from(payload_len).map_err(|_| Fault::TooLarge)?;
        if !is_control && payload_len > self.max - before {
            return Err(Fault::TooLarge);
        }
        let mask_at = 2 + len_bytes;
        let Some(&[a, b, c, d]) = bytes.get(mask_at..mask_at + 4) else { return Ok(None) };
        Ok(Some(Head { fin, opcode, mask: [a, b, c, d], len: mask_at + 4, payload_len }))
    }

    /// Takes a frame whose header was checked.
    fn frame(&mut self, head: &Head, payload: &[u8]) -> Result<Option<Incoming>, Fault> {
        Ok(match (head.opcode, head.fin) {
            (TEXT, true) => Some(Incoming::Text(text(payload.to_vec())?)),
            (BINARY, true) => Some(Incoming::Binary(payload.to_vec())),
            (TEXT | BINARY, false) => {
                self.message = Some(Message { is_text: head.opcode == TEXT, bytes: Vec::new(), valid: 0 });
                self.append(payload)?;
                None
            }
            (CONTINUATION, fin) => {
                self.append(payload)?;
                if fin { self.message.take().map(Message::complete).transpose()? } else { None }
            }
            (CLOSE, _) => {
                self.closed = true;
                Some(close(payload)?)
            }
            (PING, _) => Some(Incoming::Ping(payload.to_vec())),
            _ => Some(Incoming::Pong(Mark::try_from(payload).ok())),
        })
    }

    /// A text is checked as far as it came, so that a client which sends something else is told at once.
    fn append(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let Some(message) = &mut self.message else { return Err(Fault::Protocol) };
        message.bytes.extend_from_slice(payload);
        if message.is_text {
            match str::from_utf8(&message.bytes[message.valid..]) {
                Ok(_) => message.valid = message.bytes.len(),
                // The last character may go on in the next frame.
                Err(error) if error.error_len().is_none() => message.valid += error.valid_up_to(),
                Err(_) => return Err(Fault::NotUtf8),
            }
        }
        Ok(())
    }
}

impl Message {
    fn complete(self) -> Result<Incoming, Fault> {
        Ok(if self.is_text { Incoming::Text(text(self.bytes)?) } else { Incoming::Binary(self.bytes) })
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes).map_err(|_| Fault::NotUtf8)
}

/// A close frame (RFC 6455, 7.4), whose code may travel.
fn close(payload: &[u8]) -> Result<Incoming, Fault> {
    let (code, reason) = match payload {
        [] => return Ok(Incoming::Close(None, String::new())),
        [_] => return Err(Fault::Protocol),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Fault::Protocol);
    }
    Ok(Incoming::Close(Some(code), text(reason.to_vec())?))
}

/// Takes a mask off (RFC 6455, 5.3), eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let pair = u64::from(word) << 32 | u64::from(word);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ pair).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
