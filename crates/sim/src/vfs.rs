//! The disks as an SQLite VFS. This is the one module with unsafe code: it translates between C's terms and `disk.rs`.
//!
//! There is one VFS for all disks; a file's path says on which disk it is. It has no shared memory and no memory maps:
//! a write-ahead log works with `locking_mode = EXCLUSIVE` alone, which is how rooms use it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once};

use rusqlite::ffi;

use crate::disk;
use crate::file::SECTOR;
use crate::platter::{DiskError, Platter};

/// The VFS's name.
pub(crate) const NAME: &str = "partysync-sim";
const NAME_C: &CStr = c"partysync-sim";

/// SQLite's own suffixes fit in.
const PATH_BYTES: c_int = 512;

/// What SQL's `now` says: 2023-11-14, in days of Julian's calendar. Nothing in a world may depend on it.
const JULIAN_DAY: f64 = 2_460_263.0;

/// A file that SQLite has open. SQLite knows it by its first field.
#[repr(C)]
struct Opened {
    base: ffi::sqlite3_file,
    /// Owned; freed by `close`.
    handle: *mut Handle,
}

struct Handle {
    platter: Arc<Mutex<Platter>>,
    file: u64,
    /// The handle's own number, for the lock.
    number: u64,
    era: u64,
    /// What becomes of the file when it is closed.
    on_close: OnClose,
}

enum OnClose {
    Keep,
    /// It has no name.
    Remove,
    Delete(String),
}

/// Makes the VFS known to SQLite, once in a process.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let vfs = Box::leak(Box::new(vfs()));
        // SAFETY: `vfs` lives for ever, and so do the name and the functions in it. Nobody else touches it.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite takes no VFS");
    });
}

fn vfs() -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: size_of::<Opened>() as c_int,
        mxPathname: PATH_BYTES,
        pNext: ptr::null_mut(),
        zName: NAME_C.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(get_last_error),
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(take_lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

impl Handle {
    fn open(path: Option<&str>, flags: c_int) -> Result<Self, DiskError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // A temporary file has no name and so no disk: it gets one of its own.
        let Some(path) = path else {
            let platter = Arc::new(Mutex::new(Platter::new(0)));
            let (file, era) = (disk::lock(&platter).create_unnamed(), 0);
            return Ok(Handle { platter, file, number, era, on_close: OnClose::Remove });
        };
        let (platter, name) = disk::find(path).ok_or(DiskError::NotFound)?;
        let (file, era) = {
            let mut locked = disk::lock(&platter);
            (locked.open(name, flags & ffi::SQLITE_OPEN_CREATE != 0)?, locked.era())
        };
        let deleted = flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
        let on_close = if deleted { OnClose::Delete(name.to_owned()) } else { OnClose::Keep };
        Ok(Handle { platter, file, number, era, on_close })
    }

    /// The disk, if this file still works.
    fn platter(&self) -> Result<MutexGuard<'_, Platter>, DiskError> {
        let platter = disk::lock(&self.platter);
        platter.check(self.era)?;
        Ok(platter)
    }

    fn close(self) {
        let Ok(mut platter) = self.platter() else { return };
        platter.release_lock(self.file, self.number);
        match &self.on_close {
            OnClose::Keep => {}
            OnClose::Remove => platter.remove_unnamed(self.file),
            OnClose::Delete(name) => drop(platter.delete(name, false)),
        }
    }
}

/// A result as SQLite's code; `failed` is the code of an operation that the disk did not do.
fn code(result: Result<(), DiskError>, failed: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(DiskError::Failed | DiskError::NotFound) => failed,
        Err(DiskError::Full) => ffi::SQLITE_FULL,
        Err(DiskError::Locked) => ffi::SQLITE_BUSY,
    }
}

/// The handle of a file that SQLite has open.
///
/// # Safety
///
/// `file` was filled by [`open`] with success and not closed since.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a Handle {
    // SAFETY: `open` made it an `Opened` with a handle from a box, which only `close` takes back; nobody writes to it.
    unsafe { &*(*file.cast::<Opened>()).handle }
}

/// A path that SQLite hands over; `None` if it has none or it is no UTF-8.
///
/// # Safety
///
/// `path` is null or ends with a NUL and lives for `'a`.
unsafe fn text<'a>(path: *const c_char) -> Option<&'a str> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(path) }.to_str().ok()
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let opened = file.cast::<Opened>();
    // SAFETY: SQLite gives `szOsFile` bytes, aligned. No methods: SQLite does not close what was not opened.
    unsafe {
        ptr::write(opened, Opened { base: ffi::sqlite3_file { pMethods: ptr::null() }, handle: ptr::null_mut() })
    };
    let is_temporary = path.is_null();
    // SAFETY: SQLite's paths end with a NUL and live through the call.
    let path = unsafe { text(path) };
    if path.is_none() && !is_temporary {
        return ffi::SQLITE_CANTOPEN;
    }
    match Handle::open(path, flags) {
        Ok(handle) => {
            // SAFETY: as above; `out_flags` may be null, else it is writable.
            unsafe {
                (*opened).handle = Box::into_raw(Box::new(handle));
                (*opened).base.pMethods = &raw const METHODS;
                if !out_flags.is_null() {
                    *out_flags = flags;
                }
            }
            ffi::SQLITE_OK
        }
        Err(error) => code(Err(error), ffi::SQLITE_CANTOPEN),
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    // SAFETY: SQLite's paths end with a NUL and live through the call.
    let Some((platter, name)) = unsafe { text(path) }.and_then(disk::find) else { return ffi::SQLITE_IOERR_DELETE };
    match disk::lock(&platter).delete(name, sync != 0) {
        Err(DiskError::NotFound) => ffi::SQLITE_IOERR_DELETE_NOENT,
        result => code(result, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, path: *const c_char, _: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite's paths end with a NUL and live through the call.
    let found = unsafe { text(path) }.and_then(disk::find);
    let exists = found.is_some_and(|(platter, name)| disk::lock(&platter).exists(name));
    // SAFETY: SQLite hands over a writable integer.
    unsafe { *out = c_int::from(exists) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    len: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite's paths end with a NUL and live through the call.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if path.len() > len as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: `out` has `len` bytes, enough as was just checked, and is SQLite's own buffer.
    unsafe { ptr::copy_nonoverlapping(path.as_ptr().cast(), out, path.len()) };
    ffi::SQLITE_OK
}

/// Nobody asks: SQLite takes its randomness from the default VFS.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, _: c_int) -> c_int {
    0
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite hands over a writable number.
    unsafe { *out = JULIAN_DAY };
    ffi::SQLITE_OK
}

unsafe extern "C" fn get_last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: `open` filled it, with a handle from a box; SQLite closes a file once and does not use it again.
    let handle = unsafe { Box::from_raw((*file.cast::<Opened>()).handle) };
    handle.close();
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, len: c_int, offset: i64) -> c_int {
    let len = len as usize;
    // SAFETY: SQLite hands over `len` writable bytes. They may hold nothing yet: they are filled before they are a slice.
    let buffer = unsafe {
        ptr::write_bytes(out.cast::<u8>(), 0, len);
        std::slice::from_raw_parts_mut(out.cast::<u8>(), len)
    };
    // SAFETY: SQLite reads open files only.
    let handle = unsafe { handle(file) };
    match handle.platter().and_then(|mut platter| platter.read(handle.file, buffer, offset as usize)) {
        Ok(count) if count < len => ffi::SQLITE_IOERR_SHORT_READ,
        result => code(result.map(|_| ()), ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, data: *const c_void, len: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite hands over `len` bytes to read, and writes to open files only.
    let (handle, data) = unsafe { (handle(file), std::slice::from_raw_parts(data.cast::<u8>(), len as usize)) };
    let written = handle.platter().and_then(|mut platter| platter.write(handle.file, data, offset as usize));
    code(written, ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite truncates open files only.
    let handle = unsafe { handle(file) };
    let truncated = handle.platter().and_then(|mut platter| platter.truncate(handle.file, size as usize));
    code(truncated, ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite syncs open files only.
    let handle = unsafe { handle(file) };
    code(handle.platter().and_then(|mut platter| platter.sync(handle.file)), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: SQLite asks about open files only.
    let handle = unsafe { handle(file) };
    let size = handle.platter().map(|platter| platter.len(handle.file));
    // SAFETY: SQLite hands over a writable integer.
    unsafe { *out = size.unwrap_or(0) as i64 };
    code(size.map(|_| ()), ffi::SQLITE_IOERR_FSTAT)
}

/// Any lock keeps everybody else out: a room's file has one owner.
unsafe extern "C" fn take_lock(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite locks open files only.
    let handle = unsafe { handle(file) };
    let locked = handle.platter().and_then(|mut platter| platter.take_lock(handle.file, handle.number));
    code(locked, ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite unlocks open files only.
    let handle = unsafe { handle(file) };
    if let (ffi::SQLITE_LOCK_NONE, Ok(mut platter)) = (level, handle.platter()) {
        platter.release_lock(handle.file, handle.number);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite asks about open files only.
    let handle = unsafe { handle(file) };
    // Whoever asks has the lock itself, shared: if it counted, no journal that a crash left would ever be rolled back.
    let locked = handle.platter().map(|platter| platter.is_locked_by_another(handle.file, handle.number));
    // SAFETY: SQLite hands over a writable integer.
    unsafe { *out = c_int::from(locked == Ok(true)) };
    code(locked.map(|_| ()), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    SECTOR as c_int
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite asks about open files only.
    let handle = unsafe { handle(file) };
    let powersafe = disk::lock(&handle.platter).is_powersafe();
    if powersafe { ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE } else { 0 }
}
