//! The record of the format in which a data directory is written.
//!
//! It is text, so that it outlives every engine and can be read by people.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::{Error, directory};

/// The record's file in the data directory.
pub(crate) const FILE: &str = "umbel-format";

/// The record while it is written.
pub(crate) const FILE_NEW: &str = "umbel-format.new";

/// The format that this version writes. It rises when older versions could misread the data.
const NEWEST: u32 = 1;

/// The oldest format that this version reads.
const OLDEST: u32 = 1;

/// Checks the record, and writes it where there is none. The directory is locked, and not foreign.
pub(crate) fn check(dir: &Path) -> Result<(), Error> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let found = parse(&text).ok_or_else(|| {
                directory::foreign(dir, format!("its file {FILE:?} does not name a format"))
            })?;
            if (OLDEST..=NEWEST).contains(&found) {
                return Ok(());
            }
            Err(Error::Format {
                dir: dir.to_owned(),
                found,
                oldest: OLDEST,
                newest: NEWEST,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => write(dir),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(directory::foreign(
            dir,
            format!("its file {FILE:?} is not text"),
        )),
        Err(error) => Err(Error::io("read", dir, &path, error)),
    }
}

fn parse(text: &str) -> Option<u32> {
    text.lines()
        .next()?
        .strip_prefix("umbel-format ")?
        .parse()
        .ok()
}

/// Writes the record aside and renames it, so that it is whole or not there.
fn write(dir: &Path) -> Result<(), Error> {
    let path = dir.join(FILE_NEW);
    let failed = |error| Error::io("write", dir, &path, error);
    let mut file = File::create(&path).map_err(failed)?;
    write!(file, "umbel-format {NEWEST}\nengine sled 0.34\n").map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&path, dir.join(FILE)).map_err(failed)?;
    directory::sync_dir(dir, dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_gets_a_record_that_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path()).unwrap();
        check(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(parse(&text), Some(NEWEST));
    }

    #[test]
    fn a_newer_format_is_refused_with_words() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "umbel-format 99\nengine redb 4\n").unwrap();
        let error = check(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("has format 99") && error.contains("reads 1 to 1"),
            "{error}"
        );
    }

    #[test]
    fn a_record_that_is_none_is_foreign() {
        let dir = tempfile::tempdir().unwrap();
        for text in [&b"hello"[..], b"umbel-format one", b"", b"\xff\xfe"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(
                matches!(check(dir.path()), Err(Error::Foreign { .. })),
                "{text:?}"
            );
        }
    }
}
