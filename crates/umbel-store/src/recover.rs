//! Opening sled, also where a crash left something in its way.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::{Error, directory};

/// Fixed for the life of a directory: sled refuses to open one with another segment size. So large
/// that no page of values of 64 KiB outgrows a quarter of it and becomes a file that is not synced.
const SEGMENT_BYTES: usize = 8 << 20;

/// Sled cleans up and writes what is left in this rhythm; no acknowledgement waits for it.
const FLUSH_EVERY_MS: u64 = 500;

/// How often, and with which pause, sled's own lock is tried.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Opens sled in `sled_dir`. Where it says that its files are damaged, snapshots that a crash left
/// half written are moved aside and it is tried once more: sled takes them for whole ones.
pub(crate) fn open(dir: &Path, sled_dir: &Path, cache_bytes: u64) -> Result<sled::Db, Error> {
    match try_open(dir, sled_dir, cache_bytes) {
        Err(Error::Corrupt { what, .. }) if move_snapshots_aside(dir, sled_dir)? > 0 => {
            tracing::warn!(
                dir = %dir.display(), what,
                "the data did not open; tried again without half-written snapshots"
            );
            try_open(dir, sled_dir, cache_bytes)
        }
        other => other,
    }
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

/// Moves `snap.*.generating` out of sled's sight; returns how many there were.
fn move_snapshots_aside(dir: &Path, sled_dir: &Path) -> Result<usize, Error> {
    let failed = |error| Error::io("move snapshots out of", dir, sled_dir, error);
    let aside = dir.join(directory::ASIDE_DIR);
    let mut count = 0;
    for entry in fs::read_dir(sled_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("snap.") && text.ends_with(".generating") {
            directory::create(&aside)?;
            fs::rename(entry.path(), aside.join(&name)).map_err(failed)?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn damage_is_an_error_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let sled_dir = dir.path().join("sled");
        drop(open(dir.path(), &sled_dir, 1 << 20).unwrap());
        fs::write(
            sled_dir.join("snap.FFFFFFFFFFFFFFFF"),
            "not a snapshot at all",
        )
        .unwrap();
        let error = open(dir.path(), &sled_dir, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("restore the directory from a backup"),
            "{error}"
        );
    }
}
