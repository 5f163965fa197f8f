//! One coordinator for each data directory.
//!
//! Sled has a lock of its own, and its error does not say who holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::Error;

/// The lock's file in the data directory. It holds the process id of the last holder, and stays.
pub(crate) const FILE: &str = "umbel.lock";

/// The lock on a data directory. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    dir: PathBuf,
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let failed = |error| Error::io("lock the file", dir, &path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // Without its words the lock is still taken; only the process stays unnamed.
                let _ = (&file).take(32).read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                return Err(Error::InUse {
                    dir: dir.to_owned(),
                    pid,
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            path,
            file,
        })
    }

    /// Another handle of the same lock, to look at with [`Lock::holds`].
    pub(crate) fn share(&self) -> Result<Self, Error> {
        let file = self
            .file
            .try_clone()
            .map_err(|error| Error::io("share the lock", &self.dir, &self.path, error))?;
        Ok(Self {
            dir: self.dir.clone(),
            path: self.path.clone(),
            file,
        })
    }

    /// Whether the locked file is still the one under its name. When somebody removed the data
    /// directory, another coordinator may hold a new lock there, and what is written here is lost.
    pub(crate) fn holds(&self) -> Result<(), Error> {
        let fenced = || Error::Fenced {
            dir: self.dir.clone(),
        };
        let named = fs::metadata(&self.path).map_err(|_| fenced())?;
        let held = self
            .file
            .metadata()
            .map_err(|error| Error::io("look at the lock", &self.dir, &self.path, error))?;
        if (named.dev(), named.ino()) == (held.dev(), held.ino()) {
            Ok(())
        } else {
            Err(fenced())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).unwrap_err();
        assert!(matches!(error, Error::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        drop(held);
        Lock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_whose_file_was_replaced_does_not_hold() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        lock.holds().unwrap();
        fs::remove_file(dir.path().join(FILE)).unwrap();
        assert!(matches!(lock.holds(), Err(Error::Fenced { .. })));
        let _other = Lock::take(dir.path()).unwrap();
        assert!(matches!(lock.holds(), Err(Error::Fenced { .. })));
    }
}
