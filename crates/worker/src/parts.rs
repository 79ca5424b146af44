//! A file on its way through memory, which is small here.

use partysync_protocol::limits;

/// What is kept in one piece. Larger ones would be copied as they grow, and need twice the room.
const PART_BYTES: usize = 256 << 10;

/// A file in parts, of at most [`limits::TRANSFER_BYTES`].
#[derive(Default)]
pub(crate) struct Parts {
    parts: Vec<Vec<u8>>,
    bytes: usize,
}

/// More would come than may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Parts {
    /// Adds what comes next.
    pub(crate) fn push(&mut self, mut next: &[u8]) -> Result<(), TooLarge> {
        if next.len() > limits::TRANSFER_BYTES - self.bytes {
            return Err(TooLarge);
        }
        self.bytes += next.len();
        while !next.is_empty() {
            match self.parts.last_mut().filter(|part| part.len() < PART_BYTES) {
                None => self.parts.push(Vec::with_capacity(PART_BYTES)),
                Some(part) => {
                    let (fits, rest) = next.split_at(next.len().min(PART_BYTES - part.len()));
                    part.extend_from_slice(fits);
                    next = rest;
                }
            }
        }
        Ok(())
    }

    /// Shows each line, without its end, until one fails. A line that is no text is an error of its own.
    pub(crate) fn lines<E>(
        &self,
        no_text: impl Fn() -> E,
        mut each: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut line = Vec::new();
        let mut show = |line: &[u8]| each(std::str::from_utf8(line).map_err(|_| no_text())?);
        for part in &self.parts {
            for piece in part.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if line.pop_if(|byte| *byte == b'\n').is_some() {
                    show(line.strip_suffix(b"\r").unwrap_or(&line))?;
                    line.clear();
                }
            }
        }
        if line.is_empty() { Ok(()) } else { show(&line) }
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = Vec<u8>> {
        self.parts.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &Parts) -> Result<Vec<String>, &'static str> {
        let mut lines = Vec::new();
        let each = |line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        parts.lines(|| "no text", each)?;
        Ok(lines)
    }

    #[test]
    fn spec_11_transfer_bytes_as_many_as_may_be_and_one_more() {
        let mut parts = Parts::default();
        let chunk = vec![b'x'; 100_000];
        while parts.bytes + chunk.len() <= limits::TRANSFER_BYTES {
            parts.push(&chunk).unwrap();
        }
        let rest = vec![b'y'; limits::TRANSFER_BYTES - parts.bytes];
        assert_eq!(parts.push(&[&*rest, b"z"].concat()), Err(TooLarge));
        parts.push(&rest).unwrap();
        assert_eq!(parts.push(b"z"), Err(TooLarge));
        assert_eq!(parts.bytes, limits::TRANSFER_BYTES);
        let all: Vec<u8> = parts.into_iter().flatten().collect();
        assert_eq!(all.len(), limits::TRANSFER_BYTES);
        assert!(all.ends_with(&rest));
    }

    #[test]
    fn lines_are_whole_wherever_parts_end() {
        let text = format!("a\n\nü{}\r\nlast", "é".repeat(PART_BYTES));
        for size in [1, 3, PART_BYTES - 1, PART_BYTES + 1, text.len()] {
            let mut parts = Parts::default();
            text.as_bytes().chunks(size).for_each(|chunk| parts.push(chunk).unwrap());
            assert_eq!(lines(&parts).unwrap(), text.lines().collect::<Vec<_>>(), "{size}");
        }
        let mut parts = Parts::default();
        parts.push(b"a\n\xff\n").unwrap();
        assert_eq!(lines(&parts), Err("no text"));
        assert_eq!(lines(&Parts::default()).unwrap(), [""; 0]);
    }
}
