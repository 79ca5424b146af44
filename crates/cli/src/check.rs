//! Whether a room's file is whole, as far as one can tell without being a room: its first line, its last one, and the sum in that.

use std::fmt::Write;

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The bytes of a file, as they pass.
#[derive(Default)]
pub(crate) struct Check {
    /// Of all lines before the last.
    hash: Sha256,
    /// The last line so far, with its end if that has come.
    line: Vec<u8>,
    lines: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Head {
    partysync: String,
}

#[derive(Deserialize)]
struct End {
    end: bool,
    rows: u64,
    sha256: String,
}

/// What is in a file that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Check {
    /// Takes what comes next.
    ///
    /// # Errors
    ///
    /// It does not begin as a room's file does.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes += bytes.len() as u64;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.ends_with(b"\n") {
                self.next_line()?;
            }
            self.line.extend_from_slice(piece);
        }
        Ok(())
    }

    fn next_line(&mut self) -> Result<(), String> {
        let is_head = || serde_json::from_slice::<Head>(&self.line).is_ok_and(|head| head.partysync == "room");
        if self.lines == 0 && !is_head() {
            return Err("it is no room's file".to_owned());
        }
        self.hash.update(&self.line);
        self.line.clear();
        self.lines += 1;
        Ok(())
    }

    /// The file is at its end.
    ///
    /// # Errors
    ///
    /// It was cut off or changed, or is no room's.
    pub(crate) fn finish(self) -> Result<Whole, String> {
        if self.lines == 0 {
            return Err("it is no room's file".to_owned());
        }
        let end = serde_json::from_slice::<End>(&self.line).ok().filter(|end| end.end && self.line.ends_with(b"\n"));
        let end = end.ok_or_else(|| format!("it was cut off, behind line {}", self.lines))?;
        if end.sha256 != hex(&self.hash.finalize()) {
            return Err("it was changed: the sum in its last line is another one".to_owned());
        }
        Ok(Whole { rows: end.rows, bytes: self.bytes })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String never fails.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> String {
        let body = "{\"partysync\":\"room\",\"format\":1,\"room\":\"a/b\",\"version\":0}\n{\"table\":\"_meta\",\"columns\":[\"name\",\"value\"]}\n[\"floor\",0]\n";
        let sum = hex(&Sha256::digest(body));
        format!("{body}{{\"end\":true,\"rows\":1,\"sha256\":\"{sum}\"}}\n")
    }

    fn check(text: &str, size: usize) -> Result<Whole, String> {
        let mut check = Check::default();
        text.as_bytes().chunks(size).try_for_each(|chunk| check.push(chunk))?;
        check.finish()
    }

    #[test]
    fn spec_7_15_a_whole_file_is_known_in_whatever_pieces_it_comes() {
        let text = file();
        for size in [1, 7, text.len()] {
            assert_eq!(check(&text, size), Ok(Whole { rows: 1, bytes: text.len() as u64 }));
        }
    }

    #[test]
    fn spec_7_15_a_file_that_was_cut_off_anywhere_is_not_whole() {
        let text = file();
        for end in 0..text.len() {
            assert!(check(&text[..end], 10).is_err(), "{end}");
        }
        let first = text.find('\n').unwrap() + 1;
        assert_eq!(check(&text[..first + 20], 10), Err("it was cut off, behind line 1".to_owned()));
    }

    #[test]
    fn spec_7_15_a_changed_file_and_another_file_are_not_whole() {
        for (text, why) in [
            (file().replace("floor", "flaor"), "it was changed: the sum in its last line is another one"),
            (file() + "[1]\n", "it was cut off, behind line 4"),
            (format!("<html>\n{}", file()), "it is no room's file"),
            ("<html></html>".to_owned(), "it is no room's file"),
        ] {
            assert_eq!(check(&text, 9), Err(why.to_owned()));
        }
    }
}
