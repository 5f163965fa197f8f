//! Opening sled, also where a crash left something in its way.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::{Error, directory, mark};

/// Fixed for the life of a directory: sled refuses to open one with another segment size. So large
/// that no page of values of 64 KiB outgrows a quarter of it and becomes a file that is not synced.
const SEGMENT_BYTES: usize = 8 << 20;

/// Sled cleans up and writes what is left in this rhythm; no acknowledgement waits for it.
const FLUSH_EVERY_MS: u64 = 500;

/// How often, and with which pause, sled's own lock is tried.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The longest log of a directory whose making was cut off.
const BEGUN_BYTES_MAX: u64 = 64 << 10;

/// Opens sled in `sled_dir`. Where it says that its files are damaged, snapshots that a crash left
/// half written, which sled takes for whole ones, and those whose checksum is wrong are moved aside
/// and it is tried once more. A snapshot only saves reading: the log has everything that is in it.
///
/// Files that were never whole are moved aside too: sled syncs nothing while it makes them, so that a
/// loss of power may leave any part, and they are ours only since there is a mark.
pub(crate) fn open(dir: &Path, sled_dir: &Path, cache_bytes: u64) -> Result<sled::Db, Error> {
    match try_open(dir, sled_dir, cache_bytes) {
        Err(Error::Corrupt { what, .. }) if move_snapshots_aside(dir, sled_dir)? > 0 => {
            tracing::warn!(
                dir = %dir.display(), what,
                "the data did not open; tried again without snapshots that are damaged"
            );
            try_open(dir, sled_dir, cache_bytes)
        }
        Err(Error::Corrupt { what, .. }) if is_begun(dir, sled_dir) => {
            tracing::warn!(
                dir = %dir.display(), what,
                "the directory was never ready before; what was begun of it is moved aside"
            );
            move_begun_aside(dir, sled_dir)?;
            try_open(dir, sled_dir, cache_bytes)
        }
        other => other,
    }
}

/// Whether the directory was never open, and so nothing of it was ever acknowledged.
fn is_begun(dir: &Path, sled_dir: &Path) -> bool {
    let log_bytes = fs::metadata(sled_dir.join("db")).map_or(0, |log| log.len());
    let marked = dir.join(mark::FILE).try_exists();
    matches!(marked, Ok(false)) && log_bytes <= BEGUN_BYTES_MAX
}

fn move_begun_aside(dir: &Path, sled_dir: &Path) -> Result<(), Error> {
    let aside = dir.join(directory::ASIDE_DIR);
    directory::create(&aside)?;
    // One of an earlier loss of power is worth no more than this one.
    let to = aside.join("begun");
    let moved = match fs::remove_dir_all(&to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::rename(sled_dir, &to),
    };
    moved.map_err(|error| Error::io("move aside", dir, sled_dir, error))?;
    directory::create(sled_dir)
}

fn try_open(dir: &Path, sled_dir: &Path, cache_bytes: u64) -> Result<sled::Db, Error> {
    let config = sled::Config::new()
        .path(sled_dir)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes)
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    let mut tries = 0;
    loop {
        // On some damage sled panics, where an error would have done.
        let opened =
            catch_unwind(AssertUnwindSafe(|| config.open())).map_err(|panic| Error::Corrupt {
                dir: dir.to_owned(),
                what: Error::panic(&*panic),
            })?;
        match opened {
            // The directory is locked by us, so this is an engine of this process that was closed
            // and whose background threads still hold the file for a moment.
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && tries < LOCK_TRIES =>
            {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            other => return other.map_err(|error| Error::sled("open", dir, error)),
        }
    }
}

/// Moves snapshots that are not whole out of sled's sight; returns how many there were. Those that
/// are whole stay, whatever else is wrong: without them a damaged log could pass for a shorter one.
fn move_snapshots_aside(dir: &Path, sled_dir: &Path) -> Result<usize, Error> {
    let failed = |error| Error::io("move snapshots out of", dir, sled_dir, error);
    let aside = dir.join(directory::ASIDE_DIR);
    let mut count = 0;
    for entry in fs::read_dir(sled_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let half = || text.ends_with(".generating");
        if text.starts_with("snap.") && (half() || !is_whole(&entry.path()).map_err(failed)?) {
            directory::create(&aside)?;
            fs::rename(entry.path(), aside.join(&name)).map_err(failed)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Whether a snapshot ends with its checksum.
fn is_whole(path: &Path) -> io::Result<bool> {
    /// Behind the content: its length in 8 bytes and its CRC-32 in 4.
    const TAIL_BYTES: usize = 12;
    let bytes = fs::read(path)?;
    let Some((rest, checksum)) = bytes.split_last_chunk() else {
        return Ok(false);
    };
    let content = bytes.len().saturating_sub(TAIL_BYTES);
    let content = rest.get(..content).unwrap_or_default();
    Ok(!content.is_empty() && crc32fast::hash(content) == u32::from_le_bytes(*checksum))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_half_written_snapshot_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let sled_dir = dir.path().join("sled");
        let db = open(dir.path(), &sled_dir, 1 << 20).unwrap();
        db.insert("key", "value").unwrap();
        drop(db);
        // Its name sorts last, as that of the snapshot under way does.
        let half = "snap.FFFFFFFFFFFFFFFF.generating";
        fs::write(sled_dir.join(half), "half").unwrap();
        let db = open(dir.path(), &sled_dir, 1 << 20).unwrap();
        assert_eq!(db.get("key").unwrap().unwrap(), "value");
        assert!(dir.path().join("aside").join(half).exists());
    }

    /// A directory as a loss of power leaves it while sled makes its files: names without bytes.
    fn begun(dir: &Path) -> PathBuf {
        let sled_dir = dir.join("sled");
        drop(open(dir, &sled_dir, 1 << 20).unwrap());
        for name in ["conf", "db"] {
            let bytes = fs::metadata(sled_dir.join(name)).unwrap().len();
            let zeros = vec![0; usize::try_from(bytes.min(37)).unwrap()];
            fs::write(sled_dir.join(name), zeros).unwrap();
        }
        sled_dir
    }

    #[test]
    fn what_was_never_whole_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let sled_dir = begun(dir.path());
        let db = open(dir.path(), &sled_dir, 1 << 20).unwrap();
        assert_eq!(db.len(), 0);
        assert!(dir.path().join("aside/begun/conf").exists());
    }

    #[test]
    fn what_was_whole_once_is_never_taken_for_a_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let sled_dir = begun(dir.path());
        fs::write(dir.path().join(mark::FILE), "").unwrap();
        let error = open(dir.path(), &sled_dir, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        fs::remove_file(dir.path().join(mark::FILE)).unwrap();
        let log = fs::File::options().write(true).open(sled_dir.join("db"));
        log.unwrap().set_len(BEGUN_BYTES_MAX + 1).unwrap();
        let error = open(dir.path(), &sled_dir, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(!dir.path().join("aside").exists());
    }

    #[test]
    fn a_snapshot_with_a_wrong_checksum_is_moved_aside_and_the_log_alone_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let sled_dir = dir.path().join("sled");
        for number in 0..3_u64 {
            let db = open(dir.path(), &sled_dir, 1 << 20).unwrap();
            db.insert(number.to_be_bytes(), "value").unwrap();
        }
        let snapshot = snapshots(&sled_dir).pop().unwrap();
        assert!(is_whole(&snapshot).unwrap(), "{snapshot:?}");
        let mut bytes = fs::read(&snapshot).unwrap();
        bytes[3] ^= 1;
        fs::write(&snapshot, bytes).unwrap();
        let db = open(dir.path(), &sled_dir, 1 << 20).unwrap();
        assert_eq!(db.len(), 3);
        let aside = dir.path().join("aside").join(snapshot.file_name().unwrap());
        assert!(aside.exists());
    }

    #[test]
    fn a_log_that_is_damaged_below_a_whole_snapshot_is_an_error_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let sled_dir = dir.path().join("sled");
        for number in 0..3_u64 {
            let db = open(dir.path(), &sled_dir, 1 << 20).unwrap();
            db.insert(number.to_be_bytes(), "value").unwrap();
        }
        fs::write(sled_dir.join("db"), vec![0; 1 << 20]).unwrap();
        let error = open(dir.path(), &sled_dir, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("restore the directory from a backup"),
            "{error}"
        );
        assert_eq!(snapshots(&sled_dir).len(), 1, "it is not moved");
    }

    fn snapshots(sled_dir: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(sled_dir).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.display().to_string().contains("/snap."))
            .collect()
    }
}
