//! The text in which a home keeps what is to be known of a socket while its room is asleep. It is read by nobody else, and by this library
//! alone: fields in a row, without names. What reads JSON into structures weighs several kilobytes for each of them, in WebAssembly.

use std::fmt::{Display, Write};
use std::str::FromStr;

/// Writes such a text.
#[derive(Debug, Default)]
pub struct KeptWriter(String);

impl KeptWriter {
    /// An empty text.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.0
    }

    /// Writes what has a text without a semicolon: a number, an id.
    pub fn plain(&mut self, value: impl Display) {
        // A string takes whatever is written.
        let _ = write!(self.0, "{value};");
    }

    /// Writes yes or no.
    pub fn flag(&mut self, is_so: bool) {
        self.plain(u8::from(is_so));
    }

    /// Writes any text.
    pub fn text(&mut self, text: &str) {
        self.plain(text.len());
        self.0.push_str(text);
    }

    /// Writes a value that may be absent.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Writes some of the same kind.
    pub fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.plain(values.len());
        values.iter().for_each(|value| write(self, value));
    }
}

/// Reads such a text: in the order in which it was written. `None` is no such text.
#[derive(Debug)]
pub struct KeptReader<'a>(&'a str);

impl<'a> KeptReader<'a> {
    /// A reader of a text.
    pub fn new(text: &'a str) -> Self {
        KeptReader(text)
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads what [`KeptWriter::plain`] wrote.
    pub fn plain<T: FromStr>(&mut self) -> Option<T> {
        let (value, rest) = self.0.split_once(';')?;
        self.0 = rest;
        value.parse().ok()
    }

    /// Reads what [`KeptWriter::flag`] wrote.
    pub fn flag(&mut self) -> Option<bool> {
        match self.plain::<u8>()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Reads what [`KeptWriter::text`] wrote.
    pub fn text(&mut self) -> Option<&'a str> {
        let bytes = self.plain()?;
        let (text, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(text)
    }

    /// Reads what [`KeptWriter::option`] wrote.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    /// Reads what [`KeptWriter::list`] wrote.
    pub fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count: usize = self.plain()?;
        // One after the other: the count may be anything.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(read(self)?);
        }
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type All = (Option<String>, Vec<i64>, bool, u64, Vec<String>);

    fn write((option, numbers, flag, number, texts): &All) -> String {
        let mut writer = KeptWriter::new();
        writer.option(option.as_deref(), KeptWriter::text);
        writer.list(numbers, |writer, number| writer.plain(number));
        writer.flag(*flag);
        writer.plain(number);
        writer.list(texts, |writer, text| writer.text(text));
        writer.finish()
    }

    fn read(text: &str) -> Option<All> {
        let mut reader = KeptReader::new(text);
        let option = reader.option(|reader| reader.text().map(str::to_owned))?;
        let numbers = reader.list(KeptReader::plain)?;
        let (flag, number) = (reader.flag()?, reader.plain()?);
        let texts = reader.list(|reader| reader.text().map(str::to_owned))?;
        reader.is_done().then_some((option, numbers, flag, number, texts))
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(all: All) {
            prop_assert_eq!(read(&write(&all)), Some(all));
        }

        #[test]
        fn whatever_is_read_it_does_not_panic(text in "[0-9;:é-]{0,40}") {
            if let Some(all) = read(&text) {
                prop_assert_eq!(read(&write(&all)), Some(all));
            }
        }

        #[test]
        fn a_text_that_was_cut_is_none(all: All, part in 0.0..1.0) {
            let text = write(&all);
            let cut = (0..text.len()).rev().find(|at| text.is_char_boundary(*at) && *at as f64 <= part * text.len() as f64);
            prop_assert_eq!(cut.and_then(|at| read(&text[..at])), None);
        }
    }
}
