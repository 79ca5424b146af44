//! What is behind a [`Disk`](crate::Disk): files, their names, locks and faults.

use std::collections::BTreeMap;

use crate::Rng;
use crate::disk::{Counts, Fault, Operation};
use crate::file::File;

/// What a rewrite writes at a time.
const REWRITE_BYTES: usize = 64 * 1024;

/// Why the disk did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskError {
    Failed,
    Full,
    NotFound,
    Locked,
}

/// What is behind a [`Disk`]. Files are told by number; names point to them.
#[derive(Debug)]
pub(crate) struct Platter {
    rng: Rng,
    powersafe: bool,
    files: BTreeMap<u64, File>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    stored_names: BTreeMap<String, u64>,
    /// What was done to names since they were stored, oldest first.
    pending_names: Vec<(String, Option<u64>)>,
    /// Which open file holds a file's lock.
    locks: BTreeMap<u64, u64>,
    /// Files opened in another era are dead.
    era: u64,
    off: bool,
    lies: bool,
    capacity: Option<usize>,
    armed: Vec<Armed>,
    counts: Counts,
}

#[derive(Debug)]
struct Armed {
    operation: Operation,
    left: u64,
    fault: Fault,
}

impl Platter {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Platter {
            powersafe: rng.chance(500),
            rng,
            files: BTreeMap::new(),
            next_file: 1,
            names: BTreeMap::new(),
            stored_names: BTreeMap::new(),
            pending_names: Vec::new(),
            locks: BTreeMap::new(),
            era: 0,
            off: false,
            lies: false,
            capacity: None,
            armed: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn arm(&mut self, operation: Operation, left: u64, fault: Fault) {
        self.armed.push(Armed { operation, left, fault });
    }

    pub(crate) fn disarm(&mut self) {
        self.armed.clear();
    }

    pub(crate) fn cut_power(&mut self) {
        self.off = true;
    }

    pub(crate) fn is_off(&self) -> bool {
        self.off
    }

    pub(crate) fn set_capacity(&mut self, bytes: Option<usize>) {
        self.capacity = bytes;
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.capacity.is_some()
    }

    pub(crate) fn set_lies(&mut self, lies: bool) {
        self.lies = lies;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn era(&self) -> u64 {
        self.era
    }

    pub(crate) fn is_powersafe(&self) -> bool {
        self.powersafe
    }

    /// Whether files opened in `era` still work.
    pub(crate) fn check(&self, era: u64) -> Result<(), DiskError> {
        if self.off || era != self.era { Err(DiskError::Failed) } else { Ok(()) }
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The number of the file with this name, which is made if it may be.
    pub(crate) fn open(&mut self, name: &str, create: bool) -> Result<u64, DiskError> {
        self.check(self.era)?;
        if let Some(&file) = self.names.get(name) {
            return Ok(file);
        }
        if !create {
            return Err(DiskError::NotFound);
        }
        self.doing(Operation::Write, |platter| {
            let file = platter.create_unnamed();
            platter.rename(name, Some(file));
            Ok(file)
        })
    }

    /// A file that no crash survives and no name leads to.
    pub(crate) fn create_unnamed(&mut self) -> u64 {
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, File::default());
        file
    }

    pub(crate) fn remove_unnamed(&mut self, file: u64) {
        self.files.remove(&file);
    }

    pub(crate) fn delete(&mut self, name: &str, sync: bool) -> Result<(), DiskError> {
        self.check(self.era)?;
        if !self.exists(name) {
            return Err(DiskError::NotFound);
        }
        self.doing(Operation::Write, |platter| {
            platter.rename(name, None);
            if sync && !platter.lies {
                platter.store_names(|_| true);
            }
            Ok(())
        })
    }

    pub(crate) fn len(&self, file: u64) -> usize {
        self.files.get(&file).map_or(0, File::len)
    }

    pub(crate) fn read(&mut self, file: u64, buffer: &mut [u8], offset: usize) -> Result<usize, DiskError> {
        self.doing(Operation::Read, |platter| Ok(platter.file(file)?.read(buffer, offset)))
    }

    pub(crate) fn write(&mut self, file: u64, data: &[u8], offset: usize) -> Result<(), DiskError> {
        self.doing(Operation::Write, |platter| {
            let growth = (offset + data.len()).saturating_sub(platter.len(file));
            if growth > 0 && platter.capacity.is_some_and(|capacity| platter.used() + growth > capacity) {
                return Err(DiskError::Full);
            }
            platter.file(file)?.write(data, offset);
            Ok(())
        })
    }

    pub(crate) fn truncate(&mut self, file: u64, size: usize) -> Result<(), DiskError> {
        self.doing(Operation::Write, |platter| {
            platter.file(file)?.truncate(size);
            Ok(())
        })
    }

    pub(crate) fn sync(&mut self, file: u64) -> Result<(), DiskError> {
        let synced = self.doing(Operation::Sync, |platter| {
            if !platter.lies {
                platter.file(file)?.sync();
                // SQLite syncs the folder when it first syncs a journal or a log, and with it all that was done to names before.
                let is_new = |(name, named): &(String, Option<u64>)| *named == Some(file) && name.contains(".db-");
                let is_all = platter.pending_names.iter().any(is_new);
                platter.store_names(|named| is_all || named == Some(file));
            }
            Ok(())
        });
        // Without powersafe overwrites SQLite pads each commit to a sector's end, and leaves the padding to the next sync:
        // it bears no disk that forgets as well. Such a disk tries again what it could not write.
        if synced.is_err() && !self.off && self.powersafe {
            let Platter { files, rng, .. } = self;
            if let Some(file) = files.get_mut(&file) {
                file.fail_sync(rng);
            }
        }
        synced
    }

    /// Writes again what a file holds, and syncs it. Returns whether it holds anything.
    pub(crate) fn rewrite(&mut self, name: &str) -> Result<bool, DiskError> {
        self.check(self.era)?;
        let Some(&file) = self.names.get(name) else { return Ok(false) };
        let content = self.file(file)?.content().to_owned();
        let mut chunks = content.chunks(REWRITE_BYTES).enumerate();
        chunks.try_for_each(|(index, chunk)| self.write(file, chunk, index * REWRITE_BYTES))?;
        self.sync(file)?;
        Ok(!content.is_empty())
    }

    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.files.get(self.names.get(name)?)?;
        Some(file.content().to_owned())
    }

    /// Puts a file in a name's place, stored and all.
    pub(crate) fn replace(&mut self, name: &str, content: Option<Vec<u8>>) {
        self.pending_names.retain(|(pending, _)| pending != name);
        let file = content.map(|content| {
            let number = self.create_unnamed();
            self.files.insert(number, File::stored(content));
            number
        });
        set_name(&mut self.names, name, file);
        set_name(&mut self.stored_names, name, file);
    }

    /// Takes a file's lock for an open file, or says that another has it.
    pub(crate) fn take_lock(&mut self, file: u64, opened: u64) -> Result<(), DiskError> {
        if *self.locks.entry(file).or_insert(opened) == opened { Ok(()) } else { Err(DiskError::Locked) }
    }

    pub(crate) fn release_lock(&mut self, file: u64, opened: u64) {
        if self.locks.get(&file) == Some(&opened) {
            self.locks.remove(&file);
        }
    }

    pub(crate) fn is_locked_by_another(&self, file: u64, opened: u64) -> bool {
        self.locks.get(&file).is_some_and(|holder| *holder != opened)
    }

    pub(crate) fn used(&self) -> usize {
        self.files.values().map(File::len).sum()
    }

    fn file(&mut self, file: u64) -> Result<&mut File, DiskError> {
        self.files.get_mut(&file).ok_or(DiskError::NotFound)
    }

    /// Counts an operation, and lets it fail if that is its fate.
    fn doing<T>(
        &mut self,
        operation: Operation,
        work: impl FnOnce(&mut Self) -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        match operation {
            Operation::Read => self.counts.reads += 1,
            Operation::Write => self.counts.writes += 1,
            Operation::Sync => self.counts.syncs += 1,
        }
        let fault = self.due(operation);
        self.counts.faults += u64::from(fault.is_some());
        match fault {
            None => work(self),
            Some(Fault::Error) => Err(DiskError::Failed),
            Some(Fault::PowerCutBefore) => {
                self.off = true;
                Err(DiskError::Failed)
            }
            Some(Fault::PowerCutAfter) => {
                let _ = work(self);
                self.off = true;
                Err(DiskError::Failed)
            }
        }
    }

    /// Takes the fault that hits this operation, if one does.
    fn due(&mut self, operation: Operation) -> Option<Fault> {
        let mut fault = None;
        self.armed.retain_mut(|armed| {
            let hits = armed.operation == operation && armed.left == 0;
            if hits {
                fault = Some(armed.fault);
            } else if armed.operation == operation {
                armed.left -= 1;
            }
            !hits
        });
        fault
    }

    fn rename(&mut self, name: &str, file: Option<u64>) {
        set_name(&mut self.names, name, file);
        self.pending_names.push((name.to_owned(), file));
    }

    /// Stores what was done to some names, up to the last thing that `which` picks of each.
    fn store_names(&mut self, which: impl Fn(Option<u64>) -> bool) {
        let picked: Vec<String> =
            self.pending_names.iter().filter(|(_, file)| which(*file)).map(|(name, _)| name.clone()).collect();
        for name in picked {
            let last = self.pending_names.iter().rposition(|(n, file)| *n == name && which(*file));
            let mut index = 0;
            self.pending_names.retain(|(n, file)| {
                let stored = *n == name && Some(index) <= last;
                if stored {
                    set_name(&mut self.stored_names, n, *file);
                }
                index += 1;
                !stored
            });
        }
    }

    /// Each name is as it was at a moment since it was stored; so is each file.
    pub(crate) fn crash(&mut self) {
        let mut cut: Vec<String> = Vec::new();
        for (name, file) in std::mem::take(&mut self.pending_names) {
            if cut.contains(&name) {
                continue;
            }
            if self.rng.chance(500) {
                set_name(&mut self.stored_names, &name, file);
            } else {
                cut.push(name);
            }
        }
        self.names = self.stored_names.clone();
        let names = &self.names;
        self.files.retain(|number, _| names.values().any(|named| named == number));
        let Platter { files, rng, powersafe, .. } = self;
        files.values_mut().for_each(|file| file.crash(rng, *powersafe));
        self.off = false;
        self.new_era();
    }

    pub(crate) fn new_era(&mut self) {
        self.era += 1;
        self.locks.clear();
    }
}

fn set_name(names: &mut BTreeMap<String, u64>, name: &str, file: Option<u64>) {
    match file {
        Some(file) => names.insert(name.to_owned(), file),
        None => names.remove(name),
    };
}
