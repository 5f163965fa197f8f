//! A backup as a directory: the stream in one file, and a second one that says it is whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::frame::{Decoder, Frame};
use crate::{Error, directory};

/// The stream.
pub(super) const RECORDS_FILE: &str = "records";

/// What says that the stream is whole, in words; it is written last.
pub(super) const FILE: &str = "umbel-backup";

const FILE_NEW: &str = "umbel-backup.new";

/// The format that is written and read.
const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// How often the data had been opened.
    pub epoch: u32,
    /// The number of the commit whose state it is.
    pub durable: u64,
    /// How many writes make that state.
    pub writes: u64,
    /// The length of the stream in bytes.
    pub bytes: u64,
}

/// Puts a backup into a new directory, and knows at its end that it can be restored. A writer that
/// is dropped before removes what it made.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    file: File,
    decoder: Decoder,
    summary: Summary,
    finished: bool,
}

impl Writer {
    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// When there is something of that name, or the system refuses it.
    pub fn create(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists {
                    path: dir,
                    what: None,
                    way_out: "a backup is never written over anything: name a new directory",
                });
            }
            Err(error) => return Err(Error::io("create the directory", &dir, &dir, error)),
        }
        let file = create(&dir, RECORDS_FILE)?;
        Ok(Self {
            dir,
            file,
            decoder: Decoder::default(),
            summary: Summary::default(),
            finished: false,
        })
    }

    /// Adds the next bytes of the stream.
    ///
    /// # Errors
    ///
    /// When they are damaged, or cannot be written.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.decoder.push(bytes);
        let damaged = |what| Error::Backup {
            path: self.dir.clone(),
            what,
        };
        while let Some(frame) = self.decoder.next().map_err(damaged)? {
            self.summary.take(&frame);
        }
        let path = self.dir.join(RECORDS_FILE);
        let written = self.file.write_all(bytes);
        written.map_err(|error| Error::io("write", &self.dir, &path, error))?;
        self.summary.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes there are so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.summary.bytes
    }

    /// Makes the backup durable, and says that it is whole.
    ///
    /// # Errors
    ///
    /// When the stream has not ended, or the disk refuses.
    pub fn finish(mut self) -> Result<Summary, Error> {
        if !self.decoder.ended() {
            return Err(Error::Backup {
                path: self.dir.clone(),
                what: "the stream ended too early".to_owned(),
            });
        }
        let failed = |path: &Path, error| Error::io("sync", &self.dir, path, error);
        let path = self.dir.join(RECORDS_FILE);
        self.file.sync_all().map_err(|error| failed(&path, error))?;
        let mut file = create(&self.dir, FILE_NEW)?;
        let path = self.dir.join(FILE_NEW);
        file.write_all(self.summary.to_text().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&path, self.dir.join(FILE)))
            .map_err(|error| failed(&path, error))?;
        directory::sync_dir(&self.dir, &self.dir)?;
        directory::sync_dir(&self.dir, directory::parent(&self.dir))?;
        self.finished = true;
        Ok(self.summary)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // Without its last file it is no backup; what cannot be removed harms nobody.
            for name in [RECORDS_FILE, FILE_NEW] {
                let _ = fs::remove_file(self.dir.join(name));
            }
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

fn create(dir: &Path, name: &str) -> Result<File, Error> {
    let path = dir.join(name);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Error::io("create", dir, &path, error))
}

impl Summary {
    /// Takes in what a frame says of the whole.
    pub(super) fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Begin(format) => self.epoch = format.epoch,
            Frame::Writes(writes) => self.writes += writes.len() as u64,
            Frame::End { durable, .. } => self.durable = *durable,
        }
    }

    fn to_text(self) -> String {
        format!(
            "umbel-backup {FORMAT}\nepoch {}\ndurable {}\nwrites {}\nbytes {}\n",
            self.epoch, self.durable, self.writes, self.bytes
        )
    }

    /// Reads what [`Writer::finish`] wrote.
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let damaged = |what: String| Error::Backup {
            path: dir.to_owned(),
            what,
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(format!(
                    "it has no file {FILE:?}, so it is none or was not finished"
                )));
            }
            Err(error) => return Err(Error::io("read", dir, &path, error)),
        };
        let mut lines = text.lines();
        let mut number = |name: &str| -> Result<u64, Error> {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            line.and_then(|number| number.trim().parse().ok())
                .ok_or_else(|| damaged(format!("its file {FILE:?} does not name its {name}")))
        };
        let format = number("umbel-backup")?;
        if format != u64::from(FORMAT) {
            return Err(damaged(format!(
                "it has format {format}, and this version of umbel reads {FORMAT}"
            )));
        }
        Ok(Self {
            epoch: number("epoch")?.try_into().unwrap_or(u32::MAX),
            durable: number("durable")?,
            writes: number("writes")?,
            bytes: number("bytes")?,
        })
    }
}
