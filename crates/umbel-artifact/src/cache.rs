//! Unpacked artifacts by digest, shared by the workers of a host and kept over their restarts.
//!
//! An artifact lies in a folder named by its digest, which appears whole or not at all. Beside it
//! lies a file that is locked by whoever uses the folder, whose length is the folder's size and
//! whose time that of its last use. What nobody uses is removed when the whole grows beyond its
//! cap, what was used longest ago first.
//!
//! Nothing is synced: a fetch is part of a cold start. So a loss of power may leave a folder with
//! files that are empty or torn. The file beside it names the boot of the machine in which the
//! folder was known to be whole; in another one it is checked against its digest first.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use umbel_core::function::Digest;

use crate::error::Error;
use crate::pack::pack;
use crate::read::unpack;

/// What an earlier process left half done is removed when it is so old.
const STALE: Duration = Duration::from_secs(3_600);

/// Changes of a folder may bear the same time when less than this lies between them.
const SAME_TIME: Duration = Duration::from_secs(2);

/// A folder of unpacked artifacts.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    bytes_max: u64,
    made: AtomicU64,
}

/// An artifact in the cache. It stays there at least as long as this lives.
#[derive(Debug)]
pub struct Cached {
    folder: PathBuf,
    /// Locked, shared.
    _lock: File,
}

impl Cached {
    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Cache {
    /// Opens a cache, or makes one, that only its user can look into. What is in use is kept even
    /// beyond `bytes_max`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(dir: impl Into<PathBuf>, bytes_max: u64) -> Result<Self, Error> {
        let dir = dir.into();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(Error::io(&dir))?;
        let cache = Self {
            dir,
            bytes_max,
            made: AtomicU64::new(0),
        };
        cache.remove_stale();
        Ok(cache)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is in it.
    #[must_use]
    pub fn digests(&self) -> Vec<Digest> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| digest_of(entry.file_name().to_str()?));
        names.collect()
    }

    /// What is in it, if that may have changed since an earlier look, which `seen` is of; and what to
    /// hand in the next time. Where nothing has, the folder is not read.
    #[must_use]
    pub fn news(&self, seen: Option<SystemTime>) -> Option<(Vec<Digest>, Option<SystemTime>)> {
        // Before it is read: what comes meanwhile is news the next time.
        let changed = fs::metadata(&self.dir).and_then(|dir| dir.modified()).ok();
        if changed.is_some() && changed == seen {
            return None;
        }
        // Another change may bear the same time, as long as that is not well past.
        let settled = |at: &SystemTime| at.elapsed().is_ok_and(|age| age > SAME_TIME);
        Some((self.digests(), changed.filter(settled)))
    }

    /// An artifact, if it is there.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn find(&self, digest: Digest) -> Result<Option<Cached>, Error> {
        let folder = self.dir.join(digest.to_string());
        if !folder.is_dir() {
            return Ok(None);
        }
        let lock = self.lock(digest)?;
        // It may have been removed before it was locked.
        if !folder.is_dir() {
            return Ok(None);
        }
        if !is_whole(&lock, digest, &folder) {
            drop(lock);
            self.remove(digest);
            return Ok(None);
        }
        let used = lock.set_modified(SystemTime::now());
        used.map_err(Error::io(&folder))?;
        Ok(Some(Cached {
            folder,
            _lock: lock,
        }))
    }

    /// Unpacks an artifact, checks that it is what it was said to be, and keeps it.
    ///
    /// # Errors
    /// When it is no artifact or another one, or the system refuses; then nothing is kept.
    pub fn insert(&self, digest: Digest, packed: impl Read) -> Result<Cached, Error> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("new-{}-{number}", std::process::id());
        let fresh = Fresh(self.dir.join(name));
        let made = DirBuilder::new().mode(0o700).create(&fresh.0);
        made.map_err(Error::io(&fresh.0))?;
        let contents = unpack(packed, &fresh.0)?;
        if contents.digest != digest {
            return Err(Error::OtherDigest {
                expected: digest,
                found: contents.digest,
            });
        }
        seal(&fresh.0)?;
        let folder = self.dir.join(digest.to_string());
        let lock = self.lock_whole(digest, &folder)?;
        // Whoever was first has put the same there.
        if !folder.is_dir() {
            // A folder that cannot be written cannot be renamed by everybody either.
            writable(&fresh.0).map_err(Error::io(&fresh.0))?;
            match fs::rename(&fresh.0, &folder) {
                Ok(()) => {
                    let mode = fs::set_permissions(&folder, Permissions::from_mode(0o555));
                    mode.map_err(Error::io(&folder))?;
                }
                // Another process was first since it was looked for.
                Err(_) if folder.is_dir() => {}
                Err(error) => return Err(Error::io(&folder)(error)),
            }
        }
        let boot = boot_id();
        let size = contents.unpacked_bytes.max(boot.len() as u64 + 1);
        lock.set_len(size).map_err(Error::io(&folder))?;
        let known = lock.write_all_at(&boot, 0);
        known.map_err(Error::io(&folder))?;
        let used = lock.set_modified(SystemTime::now());
        used.map_err(Error::io(&folder))?;
        self.shrink();
        Ok(Cached {
            folder,
            _lock: lock,
        })
    }

    /// The lock of an artifact whose folder is whole, or not there: one that another boot has left
    /// torn makes room.
    fn lock_whole(&self, digest: Digest, folder: &Path) -> Result<File, Error> {
        let whole = |lock: &File| !folder.is_dir() || is_whole(lock, digest, folder);
        let lock = self.lock(digest)?;
        if whole(&lock) {
            return Ok(lock);
        }
        drop(lock);
        self.remove(digest);
        let lock = self.lock(digest)?;
        if whole(&lock) {
            return Ok(lock);
        }
        let why = "it is torn, and another process holds it; another attempt may replace it";
        Err(Error::io(folder)(std::io::Error::other(why)))
    }

    /// The lock of an artifact, shared with all who use it.
    fn lock(&self, digest: Digest) -> Result<File, Error> {
        let path = self.lock_path(digest);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io(&path))?;
        let locked = flock(&file, FlockOperation::LockShared);
        locked.map_err(|error| Error::io(&path)(error.into()))?;
        Ok(file)
    }

    fn lock_path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{digest}.lock"))
    }

    /// Removes what nobody uses until the rest is within the cap. What cannot be removed stays for
    /// the next time.
    fn shrink(&self) {
        let mut held: Vec<(SystemTime, u64, Digest)> = Vec::new();
        for digest in self.digests() {
            if let Ok(metadata) = fs::metadata(self.lock_path(digest)) {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                held.push((used, metadata.len(), digest));
            }
        }
        let mut total: u64 = held.iter().map(|(_, bytes, _)| bytes).sum();
        held.sort_unstable();
        for (_, bytes, digest) in held {
            if total <= self.bytes_max {
                return;
            }
            if self.remove(digest) {
                total -= bytes;
            }
        }
    }

    /// Removes an artifact, unless somebody uses it.
    fn remove(&self, digest: Digest) -> bool {
        let Ok(lock) = File::open(self.lock_path(digest)) else {
            return false;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("new-{}-{number}", std::process::id());
        let gone = Fresh(self.dir.join(name));
        let folder = self.dir.join(digest.to_string());
        writable(&folder).is_ok() && fs::rename(&folder, &gone.0).is_ok()
    }

    fn remove_stale(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|metadata| metadata.modified());
            let age = age.ok().and_then(|modified| modified.elapsed().ok());
            let is_new = entry.file_name().as_encoded_bytes().starts_with(b"new-");
            if is_new && age.is_some_and(|age| age > STALE) {
                drop(Fresh(entry.path()));
            }
        }
    }
}

/// Whether a folder holds what it was unpacked from: as long as the machine has not been started again
/// since that was known, it does.
fn is_whole(lock: &File, digest: Digest, folder: &Path) -> bool {
    let boot = boot_id();
    let mut known = vec![0; boot.len()];
    if !boot.is_empty() && lock.read_exact_at(&mut known, 0).is_ok() && known == boot {
        return true;
    }
    let is_whole = pack(folder).is_ok_and(|packed| packed.contents.digest == digest);
    // What cannot be noted is checked again the next time.
    is_whole && lock.write_all_at(&boot, 0).is_ok()
}

/// What tells one start of this machine from another; empty: it does not say.
fn boot_id() -> Vec<u8> {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_ascii_end().to_vec()
}

/// A folder on its way in or out; what is left of it goes when this is dropped.
struct Fresh(PathBuf);

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.0.exists() {
            // What cannot be removed now is stale one day.
            let _ = open_up(&self.0);
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn writable(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Makes all folders below writable, so that they can be removed.
fn open_up(folder: &Path) -> std::io::Result<()> {
    writable(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Takes the leave to write from all folders below.
fn seal(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if entry.file_type().map_err(Error::io(folder))?.is_dir() {
            seal(&entry.path())?;
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(0o555)).map_err(Error::io(folder))
}

/// The digest that is written so, in 64 hexadecimal digits.
#[must_use]
pub fn digest_of(name: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if name.len() != 2 * digest.len() || !name.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Digest(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packed, pack};

    fn packed(content: &str) -> Packed {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lib")).unwrap();
        fs::write(dir.path().join("lib/file"), content).unwrap();
        pack(dir.path()).unwrap()
    }

    fn insert(cache: &Cache, packed: &Packed) -> Result<Cached, Error> {
        cache.insert(packed.contents.digest, &packed.bytes[..])
    }

    #[test]
    fn what_was_put_in_is_found_by_every_process_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1_000).unwrap();
        let one = packed("one");
        assert!(cache.find(one.contents.digest).unwrap().is_none());
        let cached = insert(&cache, &one).unwrap();
        let read = |cached: &Cached| fs::read_to_string(cached.folder().join("lib/file"));
        assert_eq!(read(&cached).unwrap(), "one");
        let again = insert(&cache, &one).unwrap();
        assert_eq!(again.folder(), cached.folder());
        let other = Cache::open(dir.path(), 1_000).unwrap();
        assert_eq!(other.digests(), [one.contents.digest]);
        assert!(other.find(one.contents.digest).unwrap().is_some());
    }

    #[test]
    fn what_another_boot_has_left_torn_is_not_used_and_what_is_whole_is() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1_000).unwrap();
        let one = packed("one");
        let digest = one.contents.digest;
        let folder = insert(&cache, &one).unwrap().folder().to_owned();
        let another_boot = || {
            let lock = File::options().write(true).open(cache.lock_path(digest));
            lock.unwrap().write_all_at(b"another", 0).unwrap();
        };
        another_boot();
        assert!(cache.find(digest).unwrap().is_some(), "it is whole");
        another_boot();
        let file = folder.join("lib/file");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        fs::write(&file, "").unwrap();
        assert!(cache.find(digest).unwrap().is_none(), "it is torn");
        let again = insert(&cache, &one).unwrap();
        let read = fs::read_to_string(again.folder().join("lib/file"));
        assert_eq!(read.unwrap(), "one");
    }

    #[test]
    fn what_is_torn_is_never_taken_for_what_was_put_in() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1_000).unwrap();
        let one = packed("one");
        let digest = one.contents.digest;
        let file = insert(&cache, &one).unwrap().folder().join("lib/file");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        fs::write(&file, "").unwrap();
        let another = cache.lock(digest).unwrap();
        another.write_all_at(b"another", 0).unwrap();
        // Another worker checks it at the same time, so that it cannot be removed now.
        assert!(cache.find(digest).unwrap().is_none());
        let held = insert(&cache, &one);
        assert!(matches!(held, Err(Error::Io { .. })), "{held:?}");
        assert!(cache.find(digest).unwrap().is_none(), "nor is it later");
        drop(another);
        let again = insert(&cache, &one).unwrap();
        let read = fs::read_to_string(again.folder().join("lib/file"));
        assert_eq!(read.unwrap(), "one");
    }

    #[test]
    fn a_folder_in_which_nothing_has_changed_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1_000).unwrap();
        let one = packed("one");
        drop(insert(&cache, &one).unwrap());
        // What has just changed may change again in the same moment.
        assert_eq!(cache.news(None), Some((vec![one.contents.digest], None)));
        let then = SystemTime::now() - Duration::from_secs(60);
        let set = || File::open(dir.path()).unwrap().set_modified(then).unwrap();
        set();
        let (_, seen) = cache.news(None).unwrap();
        assert_eq!(cache.news(seen), None);
        drop(cache.find(one.contents.digest).unwrap());
        assert_eq!(cache.news(seen), None, "to be used changes nothing");
        let two = packed("two");
        drop(insert(&cache, &two).unwrap());
        let (digests, _) = cache.news(seen).unwrap();
        assert_eq!(digests.len(), 2);
    }

    #[test]
    fn another_artifact_than_was_said_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 1_000).unwrap();
        let (one, two) = (packed("one"), packed("two"));
        let other = cache.insert(one.contents.digest, &two.bytes[..]);
        assert!(matches!(other, Err(Error::OtherDigest { .. })));
        let broken = cache.insert(one.contents.digest, &b"garbage"[..]);
        assert!(broken.is_err());
        assert!(cache.digests().is_empty());
        let left = fs::read_dir(dir.path()).unwrap();
        assert_eq!(left.count(), 0, "nothing is left of it");
    }

    #[test]
    fn beyond_the_cap_what_nobody_uses_goes_the_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), 250).unwrap();
        let all = ["a", "b", "c", "d"].map(|content| packed(&content.repeat(100)));
        let digest = |at: usize| all[at].contents.digest;
        let there = |at: usize| cache.digests().contains(&digest(at));
        let in_use = insert(&cache, &all[0]).unwrap();
        drop(insert(&cache, &all[1]).unwrap());
        // Times are not left to the speed of the test.
        for (at, age) in [(0, 300), (1, 200)] {
            let lock = File::options()
                .write(true)
                .open(cache.lock_path(digest(at)));
            let then = SystemTime::now() - Duration::from_secs(age);
            lock.unwrap().set_modified(then).unwrap();
        }
        drop(insert(&cache, &all[2]).unwrap());
        assert!(there(0), "it is in use");
        assert!(!there(1) && there(2));
        drop(in_use);
        drop(insert(&cache, &all[3]).unwrap());
        assert!(!there(0) && there(2) && there(3));
    }

    #[test]
    fn several_processes_may_put_the_same_in_at_once() {
        let one = packed("one");
        for _ in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let start = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                let puts: Vec<_> = (0..4)
                    .map(|number| {
                        let (one, start) = (&one, &start);
                        // Threads share a process id; each cache numbers what it makes apart.
                        let cache = Cache::open(dir.path(), 1_000).unwrap();
                        cache.made.store(number * 100, Ordering::Relaxed);
                        scope.spawn(move || {
                            start.wait();
                            let cached = insert(&cache, one).unwrap();
                            fs::read_to_string(cached.folder().join("lib/file")).unwrap()
                        })
                    })
                    .collect();
                for put in puts {
                    assert_eq!(put.join().unwrap(), "one");
                }
            });
        }
    }
}
