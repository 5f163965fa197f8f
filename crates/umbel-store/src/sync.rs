//! The real sync: sled's own flush on Linux is `sync_file_range`, which leaves both the file's
//! metadata and the device's cache alone.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// The call that makes a file's bytes durable; tests put a broken disk in its place.
pub(crate) trait Disk: Send + fmt::Debug {
    /// Returns when the bytes of `file`, and its length, would survive a loss of power.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The disk that there is.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Syncs what sled has written.
#[derive(Debug)]
pub(crate) struct Syncer {
    disk: Box<dyn Disk>,
    dir: PathBuf,
    log_path: PathBuf,
    /// Opened once and kept: the system reports a failed write-back once to each open file, and a
    /// handle opened afterwards would miss it. Sled only logs what its own handle is told.
    log: File,
    blobs_path: PathBuf,
    blobs: File,
    /// The blobs that are synced and still there.
    known: BTreeSet<OsString>,
    blobs_synced: Arc<AtomicU64>,
}

impl Syncer {
    /// A syncer of the files that sled has in `sled_dir`, inside the data directory `dir`.
    pub(crate) fn open(disk: Box<dyn Disk>, dir: &Path, sled_dir: &Path) -> Result<Self, Error> {
        let log_path = sled_dir.join("db");
        let blobs_path = sled_dir.join("blobs");
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&log_path)
            .map_err(|error| Error::io("open", dir, &log_path, error))?;
        let blobs =
            File::open(&blobs_path).map_err(|error| Error::io("open", dir, &blobs_path, error))?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            log_path,
            log,
            blobs_path,
            blobs,
            known: BTreeSet::new(),
            blobs_synced: Arc::default(),
        })
    }

    /// How many blobs had to be synced, counted on while the syncer lives.
    pub(crate) fn blobs_synced(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.blobs_synced)
    }

    /// Syncs new blobs first, since the log points to them, then the log.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.sync_blobs()
            .map_err(|error| Error::io("sync", &self.dir, &self.blobs_path, error))?;
        self.disk
            .sync(&self.log)
            .map_err(|error| Error::io("sync", &self.dir, &self.log_path, error))
    }

    /// Sled writes a page over a quarter of its segment to a file of its own. With values of at
    /// most [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX) that should never be; where it is, it costs
    /// a sync and is counted, and acknowledgements stay true.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let mut present = BTreeSet::new();
        let mut news = false;
        for entry in fs::read_dir(&self.blobs_path)? {
            let entry = entry?;
            let name = entry.file_name();
            if !self.known.contains(&name) {
                match File::open(entry.path()) {
                    Ok(file) => self.disk.sync(&file)?,
                    // Sled removed it again: nothing points to it any more.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                self.blobs_synced.fetch_add(1, Ordering::Relaxed);
                news = true;
            }
            present.insert(name);
        }
        self.known = present;
        if news {
            self.disk.sync(&self.blobs)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_blob_is_synced_once_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("db"), "").unwrap();
        fs::create_dir(dir.path().join("blobs")).unwrap();
        fs::write(dir.path().join("blobs/17"), "x").unwrap();
        let mut syncer = Syncer::open(Box::new(RealDisk), dir.path(), dir.path()).unwrap();
        syncer.sync().unwrap();
        syncer.sync().unwrap();
        assert_eq!(syncer.blobs_synced().load(Ordering::Relaxed), 1);
        fs::remove_file(dir.path().join("blobs/17")).unwrap();
        fs::write(dir.path().join("blobs/18"), "y").unwrap();
        syncer.sync().unwrap();
        assert_eq!(syncer.blobs_synced().load(Ordering::Relaxed), 2);
    }
}
