//! How a data directory is opened: made, locked, known to be ours, recovered.

use std::fs::File;
use std::path::{Path, PathBuf};

use umbel_core::limit::UNDURABLE_BYTES_MAX;

use crate::key::Key;
use crate::lock::Lock;
use crate::mark::Mark;
use crate::sync::{Disk, Syncer};
use crate::{Error, directory, format, live, recover};

/// How the engine is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The data directory; it is made, with mode 0700, where there is none.
    pub dir: PathBuf,
    /// What the engine may keep in memory of what it has on disk, in bytes.
    pub cache_bytes: u64,
    /// How many bytes may be submitted and not durable before
    /// [`Engine::try_submit`](crate::Engine::try_submit) refuses.
    pub undurable_bytes_max: usize,
}

impl Settings {
    /// The defaults: 64 MiB of cache, and the system's bound of undurable bytes.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            cache_bytes: 64 << 20,
            undurable_bytes_max: UNDURABLE_BYTES_MAX,
        }
    }
}

/// A directory that is open and this process's own.
#[derive(Debug)]
pub(crate) struct Opened {
    // Dropped in this order: the lock is held until sled has let go of its files.
    pub(crate) db: sled::Db,
    pub(crate) lock: Lock,
    pub(crate) mark: Mark,
    /// The number of the last turn that is there.
    pub(crate) number: u64,
    /// The bytes of all keys and values.
    pub(crate) live_bytes: u64,
}

/// Opens the directory, and what syncs it through `disk`.
pub(crate) fn open(settings: &Settings, disk: Box<dyn Disk>) -> Result<(Opened, Syncer), Error> {
    let dir = settings.dir.as_path();
    directory::create(dir)?;
    directory::refuse_foreign(dir)?;
    let lock = Lock::take(dir)?;
    format::check(dir)?;
    let sled_dir = dir.join(directory::SLED_DIR);
    directory::create(&sled_dir)?;
    let db = recover::open(dir, &sled_dir, settings.cache_bytes)?;
    sync_new(dir, &sled_dir)?;
    let found = db
        .get(Key::Mark.encode())
        .map_err(|error| Error::sled("read", dir, error))?;
    let found = found.and_then(|value| live::read_mark(&value));
    let number = found.map_or(0, |(number, _)| number);
    let live_bytes = match found {
        Some((_, Some(live_bytes))) => live_bytes,
        _ => count(dir, &db)?,
    };
    let mut syncer = Syncer::open(disk, dir, &sled_dir)?;
    // What recovery wrote is made durable before anything is built on it.
    syncer.sync()?;
    // Its name is durable before anything is acknowledged, and after all that it stands for: where
    // there is none, nothing ever was (see [`recover`]).
    let mark = Mark::open(dir)?;
    directory::sync_dir(dir, dir)?;
    mark.check(number)?;
    let opened = Opened {
        db,
        lock,
        mark,
        number,
        live_bytes,
    };
    Ok((opened, syncer))
}

/// Counts what there is, once, in data that do not say it themselves.
fn count(dir: &Path, db: &sled::Db) -> Result<u64, Error> {
    let mark = Key::Mark.encode();
    let mut bytes = 0;
    for entry in db.iter() {
        let (key, value) = entry.map_err(|error| Error::sled("read", dir, error))?;
        if key[..] != mark[..] {
            bytes += (key.len() + value.len()) as u64;
        }
    }
    Ok(bytes)
}

/// Makes the files durable that sled creates and never syncs.
fn sync_new(dir: &Path, sled_dir: &Path) -> Result<(), Error> {
    let conf = sled_dir.join("conf");
    File::open(&conf)
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::io("sync", dir, &conf, error))?;
    directory::sync_dir(dir, &sled_dir.join("blobs"))?;
    directory::sync_dir(dir, sled_dir)?;
    directory::sync_dir(dir, dir)
}
