//! A mark beside the data that says how far they were durable.
//!
//! Sled takes damage near the end of its log for a write that a crash cut off: it opens with less,
//! and says nothing. So each commit leaves its number among the data and, once it is synced, in a
//! small file of its own. The file is not synced: after a loss of power it may name an earlier
//! commit, never a later one than is durable.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// The mark's file in the data directory.
pub(crate) const FILE: &str = "umbel-mark";

/// A number in 20 digits, a blank, its checksum in 8, and a line's end.
const BYTES: usize = 30;

/// The open file.
#[derive(Debug)]
pub(crate) struct Mark {
    dir: PathBuf,
    path: PathBuf,
    file: File,
}

impl Mark {
    /// Opens the file, or makes it.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Error::io("open", dir, &path, error))?;
        Ok(Self {
            dir: dir.to_owned(),
            path,
            file,
        })
    }

    /// Another handle of the same file.
    pub(crate) fn share(&self) -> Result<Self, Error> {
        let file = self.file.try_clone();
        Ok(Self {
            dir: self.dir.clone(),
            path: self.path.clone(),
            file: file.map_err(|error| Error::io("share", &self.dir, &self.path, error))?,
        })
    }

    /// Holds the number that was found among the data against the mark.
    pub(crate) fn check(&self, found: u64) -> Result<(), Error> {
        match self.read() {
            Some(marked) if marked > found => Err(Error::Shortened {
                dir: self.dir.clone(),
                found,
                marked,
                mark: self.path.clone(),
            }),
            Some(_) => Ok(()),
            None => {
                self.warn_of_damage();
                Ok(())
            }
        }
    }

    /// A mark that cannot be read keeps nobody out, since a loss of power may leave it so; but then
    /// nothing tells whether the data are whole.
    fn warn_of_damage(&self) {
        let bytes = self.file.metadata().map_or(0, |metadata| metadata.len());
        if bytes > 0 {
            tracing::warn!(
                file = %self.path.display(),
                "the mark cannot be read, so a shortened log would not be noticed; `umbel admin check` looks at what there is"
            );
        }
    }

    /// Sets the mark: all up to this number is durable.
    pub(crate) fn set(&self, number: u64) -> Result<(), Error> {
        self.file
            .write_all_at(text(number).as_bytes(), 0)
            .map_err(|error| Error::io("write", &self.dir, &self.path, error))
    }

    /// The mark; none where there is none yet, or it cannot be read: it can only warn.
    fn read(&self) -> Option<u64> {
        let mut bytes = [0; BYTES];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        let line = std::str::from_utf8(&bytes).ok()?;
        let number = line.get(..20)?.parse().ok()?;
        (line == text(number)).then_some(number)
    }
}

fn text(number: u64) -> String {
    let digits = format!("{number:020}");
    let checksum = crc32fast::hash(digits.as_bytes());
    format!("{digits} {checksum:08x}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn data_that_end_before_the_mark_are_told_of_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::open(dir.path()).unwrap();
        mark.check(0).unwrap();
        mark.set(7).unwrap();
        let mark = Mark::open(dir.path()).unwrap();
        mark.check(7).unwrap();
        mark.check(8).unwrap();
        for number in [0, 6] {
            let error = mark.check(number).unwrap_err().to_string();
            assert!(error.contains("commit 7 was durable"), "{error}");
            assert!(error.contains(&format!("remove the file {}", mark.path.display())));
        }
    }

    #[test]
    fn a_mark_that_cannot_be_read_does_not_keep_anybody_out() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::open(dir.path()).unwrap();
        for damaged in ["", "7", "00000000000000000007 00000000\n", &"9".repeat(30)] {
            fs::write(dir.path().join(FILE), damaged).unwrap();
            mark.check(0).unwrap();
        }
    }
}
