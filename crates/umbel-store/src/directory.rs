//! The data directory: how it is made, and how its entries survive a loss of power.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::backup::restore;
use crate::{Error, format, lock};

/// Where sled keeps its files, inside the data directory.
pub(crate) const SLED_DIR: &str = "sled";

/// Where files are moved that stood in the way of opening, inside the data directory.
pub(crate) const ASIDE_DIR: &str = "aside";

/// Makes the directory where there is none, for its owner alone, and syncs every name it made.
pub(crate) fn create(dir: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = dir
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    for path in missing.iter().rev() {
        DirBuilder::new()
            .mode(0o700)
            .create(path)
            .or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })
            .map_err(|error| Error::io("create the directory", dir, path, error))?;
        sync_dir(dir, path)?;
        sync_dir(dir, parent(path))?;
    }
    if !dir.is_dir() {
        return Err(foreign(dir, "it is not a directory".to_owned()));
    }
    Ok(())
}

/// Refuses a directory that holds something and has no record of umbel's format.
pub(crate) fn refuse_foreign(dir: &Path) -> Result<(), Error> {
    let entries =
        fs::read_dir(dir).map_err(|error| Error::io("read the directory", dir, dir, error))?;
    let mut stranger = None;
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("read the directory", dir, dir, error))?;
        let name = entry.file_name();
        // The first open may have ended between its lock and its format record; a volume of its own
        // is born with `lost+found`.
        let ours = [
            lock::FILE,
            format::FILE,
            format::FILE_NEW,
            restore::FILE,
            "lost+found",
        ];
        if !ours.iter().any(|known| name == *known) {
            stranger = Some(name);
        }
    }
    // Looked at last, so that a directory which another coordinator just makes is not foreign.
    match stranger {
        Some(name) if !dir.join(format::FILE).exists() => {
            let name = name.to_string_lossy();
            Err(foreign(
                dir,
                format!("it holds {name:?} and no file {:?}", format::FILE),
            ))
        }
        _ => Ok(()),
    }
}

/// Makes the names in `path` durable.
pub(crate) fn sync_dir(dir: &Path, path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::io("sync the directory", dir, path, error))
}

pub(crate) fn foreign(dir: &Path, what: String) -> Error {
    Error::Foreign {
        dir: dir.to_owned(),
        what,
    }
}

/// The directory that holds the name of `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Lets the system forget what it has in memory of the files in `path`, as far as that is not to
/// be written yet.
pub(crate) fn forget_cached(path: &Path) {
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    for file in entries.flatten().filter_map(|e| File::open(e.path()).ok()) {
        // Advice: where it is not taken all is as before.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// What the files under `path` take on the disk in bytes. Files that vanish meanwhile count nothing.
pub(crate) fn disk_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;

    let mut bytes = 0;
    let mut open: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) => bytes += metadata.blocks() * 512,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

/// What the disk under `path` has room for in bytes.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn new_directories_are_their_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("one/two");
        create(&dir).unwrap();
        for path in [root.path().join("one"), dir] {
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
    }

    #[test]
    fn a_directory_with_other_things_in_it_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let error = refuse_foreign(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("not a data directory of umbel: it holds \"thesis.tex\""),
            "{error}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        assert!(
            create(&path)
                .unwrap_err()
                .to_string()
                .contains("it is not a directory")
        );
    }
}
