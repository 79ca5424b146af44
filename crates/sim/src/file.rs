//! One simulated file: what programs read, what is on the platter, and what lies between.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::Rng;

/// What a disk writes in one piece.
pub(crate) const SECTOR: usize = 512;

/// A file's content. Programs see `cached`; a power cut leaves `stored` and some of `pending`.
#[derive(Debug, Default)]
pub(crate) struct File {
    cached: Vec<u8>,
    stored: Vec<u8>,
    /// What was done since the last sync, oldest first.
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Truncate { size: usize },
}

/// How a power cut treats a file's unsynced changes.
#[derive(Debug, Clone, Copy)]
enum Survival {
    Nothing,
    Everything,
    /// All up to a moment.
    Prefix,
    /// Each sector as it was at a moment of its own, between two truncations.
    Mixed,
}

impl File {
    /// A file that is on the platter.
    pub(crate) fn stored(content: Vec<u8>) -> Self {
        File { cached: content.clone(), stored: content, pending: Vec::new() }
    }

    /// What programs read.
    pub(crate) fn content(&self) -> &[u8] {
        &self.cached
    }

    pub(crate) fn len(&self) -> usize {
        self.cached.len()
    }

    /// Fills as much of `buffer` as there is; returns how much that is.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let rest = self.cached.get(offset..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        count
    }

    pub(crate) fn write(&mut self, data: &[u8], offset: usize) {
        let change = Change::Write { offset, data: data.to_vec() };
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    pub(crate) fn truncate(&mut self, size: usize) {
        if size == self.len() {
            return;
        }
        let change = Change::Truncate { size };
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    /// Everything written so far is safe.
    pub(crate) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.stored);
        }
    }

    /// A sync that failed: what it wrote it wrote, and the system believes that the rest is written too. Linux does so.
    pub(crate) fn fail_sync(&mut self, rng: &mut Rng) {
        self.stored = self.survivors(rng, true);
        self.pending.clear();
    }

    /// The power goes.
    pub(crate) fn crash(&mut self, rng: &mut Rng, powersafe: bool) {
        self.stored = self.survivors(rng, powersafe);
        self.pending.clear();
        self.cached = self.stored.clone();
    }

    /// What is on the platter if the power goes now. `powersafe`: a sector that is being written keeps the bytes that the
    /// write leaves alone; without it, the whole sector may come out as anything.
    fn survivors(&self, rng: &mut Rng, powersafe: bool) -> Vec<u8> {
        let survival = *rng.pick(&[Survival::Nothing, Survival::Everything, Survival::Prefix, Survival::Mixed]);
        let until = match survival {
            Survival::Nothing => 0,
            Survival::Everything => self.pending.len(),
            Survival::Prefix => rng.index(self.pending.len() + 1),
            Survival::Mixed => 0,
        };
        let mut image = self.stored.clone();
        if !matches!(survival, Survival::Mixed) {
            self.pending[..until].iter().for_each(|change| change.apply(&mut image));
            return image;
        }
        // File systems keep a truncation whole: after it there is none of what was cut off, before it all of that.
        let cuts = self.pending.iter().enumerate().filter(|(_, change)| matches!(change, Change::Truncate { .. }));
        let cuts: Vec<usize> = cuts.map(|(index, _)| index).collect();
        let kept = rng.index(cuts.len() + 1);
        let begin = kept.checked_sub(1).map_or(0, |last| cuts[last] + 1);
        let end = cuts.get(kept).copied().unwrap_or(self.pending.len());
        self.pending[..begin].iter().for_each(|change| change.apply(&mut image));
        let until = begin + rng.index(end - begin + 1);
        let size = self.pending[begin..until].iter().fold(image.len(), |size, change| change.size_after(size));
        for (sector, changes) in self.by_sector(begin..end) {
            self.mix_sector(&mut image, sector, &changes, rng, powersafe);
        }
        image.resize(size, 0);
        image
    }

    /// Puts a sector into the state of a random moment, perhaps in the middle of a write.
    fn mix_sector(&self, image: &mut Vec<u8>, sector: usize, changes: &[usize], rng: &mut Rng, powersafe: bool) {
        let start = sector * SECTOR;
        if image.len() < start + SECTOR {
            image.resize(start + SECTOR, 0);
        }
        let bytes = &mut image[start..start + SECTOR];
        let kept = rng.index(changes.len() + 1);
        for &change in &changes[..kept] {
            self.pending[change].apply_to_sector(bytes, start);
        }
        let torn = changes.get(kept).filter(|_| rng.chance(200));
        if let Some(&change) = torn {
            let mut after = bytes.to_vec();
            self.pending[change].apply_to_sector(&mut after, start);
            let cut = rng.index(SECTOR);
            bytes[..cut].copy_from_slice(&after[..cut]);
            if !powersafe {
                bytes[cut..].iter_mut().for_each(|byte| *byte = rng.word() as u8);
            }
        }
    }

    /// The pending writes that touch each sector, by their index.
    fn by_sector(&self, range: Range<usize>) -> BTreeMap<usize, Vec<usize>> {
        let mut sectors: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in range {
            let Change::Write { offset, data } = &self.pending[index] else { continue };
            for sector in offset / SECTOR..(offset + data.len()).div_ceil(SECTOR) {
                sectors.entry(sector).or_default().push(index);
            }
        }
        sectors
    }
}

impl Change {
    fn size_after(&self, before: usize) -> usize {
        match self {
            Change::Write { offset, data } => before.max(offset + data.len()),
            Change::Truncate { size } => *size,
        }
    }

    fn apply(&self, content: &mut Vec<u8>) {
        content.resize(self.size_after(content.len()), 0);
        if let Change::Write { offset, data } = self {
            content[*offset..offset + data.len()].copy_from_slice(data);
        }
    }

    /// Does to the sector that begins at `start` what the change does there.
    fn apply_to_sector(&self, sector: &mut [u8], start: usize) {
        let clip = |position: usize| position.clamp(start, start + SECTOR) - start;
        match self {
            Change::Write { offset, data } => {
                let (from, to) = (clip(*offset), clip(offset + data.len()));
                if from < to {
                    let skipped = start + from - offset;
                    sector[from..to].copy_from_slice(&data[skipped..skipped + to - from]);
                }
            }
            // It is done to the whole file, or not at all.
            Change::Truncate { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_what_was_synced_survives_every_crash() {
        for seed in 0..500 {
            let mut file = File::default();
            file.write(&[1; 3_000], 0);
            file.sync();
            file.write(&[2; 1_000], 3_000);
            file.write(&[3; 100], 3_500);
            file.crash(&mut Rng::new(seed), true);
            assert!(file.cached[..3_000].iter().all(|b| *b == 1), "seed {seed}");
        }
    }

    #[test]
    fn a_crash_can_keep_any_of_the_writes_and_tear_one() {
        let (mut none, mut all, mut some, mut torn) = (false, false, false, false);
        for seed in 0..500 {
            let mut file = File::default();
            file.write(&[1; 2 * SECTOR], 0);
            file.sync();
            file.write(&[2; 2 * SECTOR], 0);
            file.crash(&mut Rng::new(seed), true);
            let twos = file.cached.iter().filter(|b| **b == 2).count();
            none |= twos == 0;
            all |= twos == 2 * SECTOR;
            some |= twos == SECTOR;
            torn |= !twos.is_multiple_of(SECTOR);
        }
        assert!(none && all && some && torn);
    }

    #[test]
    fn a_crash_keeps_a_truncation_whole_or_not_at_all() {
        let mut sizes = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let mut file = File::default();
            file.write(&[1; 4 * SECTOR], 0);
            file.sync();
            file.truncate(0);
            file.crash(&mut Rng::new(seed), true);
            assert!(file.cached.iter().all(|byte| *byte == 1), "seed {seed}");
            sizes.insert(file.cached.len());
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [0, 4 * SECTOR]);
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let lost = (0..100).any(|seed| {
            let mut file = File::default();
            file.write(&[1; SECTOR], 0);
            file.fail_sync(&mut Rng::new(seed));
            file.sync();
            assert_eq!(file.cached, [1; SECTOR]);
            file.crash(&mut Rng::new(seed), true);
            file.cached.is_empty()
        });
        assert!(lost);
    }
}
