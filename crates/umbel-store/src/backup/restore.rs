//! Data from a backup.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use umbel_proto::disk;

use super::frame::{Decoder, Frame};
use super::writer::{RECORDS_FILE, Summary};
use crate::key::Key;
use crate::{Commit, Engine, Error, Listener, Settings, SledEngine, Write, WriteBatch, directory};

/// What stands in a data directory as long as it is being restored.
pub(crate) const FILE: &str = "umbel-restoring";

/// How many epochs are left out. The data that a backup was taken of may have been opened many more
/// times since. Leases that workers still hold from then, and places in results that clients still
/// have, must not mean something here.
pub const EPOCHS_SKIPPED: u32 = 1_000;

/// How much of a backup is read at once.
const READ_BYTES: usize = 1 << 20;

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says of itself.
    pub summary: Summary,
}

/// Makes the data directory of `settings` from the backup in `from`. The whole backup is checked
/// before anything is made. A coordinator that opens the data goes on as after a restart, so that
/// whatever was leased is void; its epoch is [`EPOCHS_SKIPPED`] higher than after one.
///
/// # Errors
///
/// When the backup is damaged or of another version, when the data directory holds something, and
/// when the system refuses.
pub fn restore(from: &Path, settings: &Settings) -> Result<Restored, Error> {
    let summary = verify(from)?;
    let dir = settings.dir.as_path();
    directory::create(dir)?;
    refuse_occupied(dir)?;
    let mark = dir.join(FILE);
    let failed = |error| Error::io("write", dir, &mark, error);
    File::create_new(&mark)
        .and_then(|file| file.sync_all())
        .map_err(failed)?;
    directory::sync_dir(dir, dir)?;

    let engine = SledEngine::open_unfinished(settings, Arc::new(Unheard))?;
    read(from, |frame| match frame {
        Frame::Writes(writes) => write(&engine, writes),
        Frame::Begin(_) | Frame::End { .. } => Ok(()),
    })?;
    engine.settle()?;
    skip_epochs(&engine)?;
    engine.close()?;
    drop(engine);
    fs::remove_file(&mark).map_err(failed)?;
    directory::sync_dir(dir, dir)?;
    Ok(Restored { summary })
}

/// Whether a restore into the directory did not finish.
pub(crate) fn is_unfinished(dir: &Path) -> bool {
    dir.join(FILE).exists()
}

/// Reads the whole backup and holds it against what it says of itself.
fn verify(from: &Path) -> Result<Summary, Error> {
    let told = Summary::read(from)?;
    let damaged = |what| Error::Backup {
        path: from.to_owned(),
        what,
    };
    let mut found = Summary::default();
    found.bytes = read(from, |frame| {
        if let Frame::Begin(format) = &frame
            && format.version != disk::VERSION
        {
            return Err(Error::Version {
                found: format.version,
                known: disk::VERSION,
            });
        }
        found.take(&frame);
        Ok(())
    })?;
    if found == told {
        Ok(told)
    } else {
        Err(damaged(format!(
            "it says {told:?} of itself and is {found:?}"
        )))
    }
}

/// Reads the stream frame by frame; gives its length.
fn read(from: &Path, mut take: impl FnMut(Frame) -> Result<(), Error>) -> Result<u64, Error> {
    let path = from.join(RECORDS_FILE);
    let failed = |error| Error::io("read", from, &path, error);
    let damaged = |what| Error::Backup {
        path: from.to_owned(),
        what,
    };
    let mut file = File::open(&path).map_err(failed)?;
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        bytes += count as u64;
        decoder.push(buffer.get(..count).unwrap_or_default());
        while let Some(frame) = decoder.next().map_err(damaged)? {
            take(frame)?;
        }
    }
    if decoder.ended() {
        Ok(bytes)
    } else {
        Err(damaged(format!("it ends too early, at byte {bytes}")))
    }
}

fn write(engine: &SledEngine, writes: Vec<Write>) -> Result<(), Error> {
    let mut batch = WriteBatch::unnumbered();
    for write in writes {
        match write {
            Write::Put { key, value } => batch.put(key, value)?,
            Write::Delete { key } => batch.delete(key),
        }
    }
    engine.submit(batch);
    // The next frame is read while this one is written, and no more than that.
    if engine.undurable_bytes() > 4 * READ_BYTES {
        engine.settle()?;
    }
    Ok(())
}

fn skip_epochs(engine: &SledEngine) -> Result<(), Error> {
    let key = Key::Format.encode();
    if let Some(format) = engine.get(&key)? {
        let mut format = disk::decode_format(format)?;
        format.epoch = format.epoch.saturating_add(EPOCHS_SKIPPED);
        let mut batch = WriteBatch::unnumbered();
        batch.put(key, disk::encode_format(format))?;
        engine.submit(batch);
    }
    engine.settle()
}

/// Refuses a directory that holds anything.
fn refuse_occupied(dir: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("read the directory", dir, dir, error);
    if is_unfinished(dir) {
        return Err(Error::Unfinished {
            dir: dir.to_owned(),
        });
    }
    for entry in fs::read_dir(dir).map_err(failed)? {
        // A volume of its own is born with it.
        if entry.map_err(failed)?.file_name() != "lost+found" {
            return Err(Error::Exists {
                path: dir.to_owned(),
                what: Some("and is not empty"),
                way_out: "a backup is restored into a new or an empty directory",
            });
        }
    }
    Ok(())
}

/// Whoever restores waits with [`Engine::settle`] and needs to hear nothing.
struct Unheard;

impl Listener for Unheard {
    fn durable(&self, _: u64) {}

    fn committed(&self, _: &Commit) {}

    fn failed(&self, _: &Error) {}

    fn fenced(&self, _: &Error) {}
}
