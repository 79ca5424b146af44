use serde::{Deserialize, Serialize};

/// A room's version: the number of steps so far that changed a row (SPEC 2.1).
pub type Version = u64;

/// What tells one history's version from another's: a random integer below 2^53 (SPEC 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(#[serde(deserialize_with = "crate::integer")] u64);

impl Stamp {
    const BITS: u32 = 53;

    /// Makes a stamp from random bits, of which it keeps 53.
    pub fn from_random(random: u64) -> Self {
        Stamp(random >> (u64::BITS - Self::BITS))
    }

    /// The stamp as it is stored and sent.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Reads a stamp that was stored. `None` if it is out of range.
    pub fn from_stored(value: i64) -> Option<Self> {
        u64::try_from(value).ok().filter(|v| v >> Self::BITS == 0).map(Stamp)
    }
}

/// The point of a room's history that a client holds (SPEC 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// All changes up to this version are held.
    #[serde(deserialize_with = "crate::integer")]
    pub version: Version,
    /// The stamp of that version in the history the client followed.
    pub stamp: Stamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_2_2_a_stamp_fits_javascripts_integers() {
        assert_eq!(Stamp::from_random(u64::MAX).get(), crate::MAX_INTEGER as u64);
        assert_eq!(Stamp::from_stored(1 << 53), None);
        assert_eq!(Stamp::from_stored(-1), None);
    }
}
