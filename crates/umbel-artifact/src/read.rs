//! Reading an artifact that may be anything.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};
use umbel_core::function::Digest;
use umbel_core::limit::{ARTIFACT_FILES_MAX, ARTIFACT_UNPACKED_BYTES_MAX};

use crate::error::Error;
use crate::path::{Names, checked};

/// The longest archive that can hold what an artifact may: a header and padding for each entry,
/// folders too, and the end.
const ARCHIVE_BYTES_MAX: u64 =
    ARTIFACT_UNPACKED_BYTES_MAX + 2 * 1_024 * (ARTIFACT_FILES_MAX as u64) + (64 << 10);

/// What an artifact turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The digest of its archive.
    pub digest: Digest,
    /// The bytes of its files.
    pub unpacked_bytes: u64,
    /// How many files it holds.
    pub file_count: u32,
}

/// Reads a whole artifact and checks it, writing nothing.
///
/// # Errors
/// When it is none: see [`Error`].
pub fn check(packed: impl Read) -> Result<Contents, Error> {
    walk(packed, |_| Ok(()))
}

/// Unpacks an artifact into a folder that exists and is empty. Files are made readable, those that
/// were executable are executable, and nothing is writable.
///
/// # Errors
/// When it is none, or the system refuses; the folder may then hold a part of it.
pub fn unpack(packed: impl Read, into: &Path) -> Result<Contents, Error> {
    walk(packed, |entry| {
        let path = into.join(entry.name);
        let Some(content) = entry.file else {
            return fs::create_dir_all(&path).map_err(Error::io(&path));
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        // It is new, so that nothing is followed or written over.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io(&path))?;
        io::copy(content, &mut file).map_err(|error| of_archive(entry.name, &error))?;
        let mode = if entry.executable { 0o555 } else { 0o444 };
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(Error::io(&path))
    })
}

/// One entry, its name checked and its size within the bounds.
struct Entry<'a> {
    name: &'a str,
    executable: bool,
    /// What is in it; none: it is a folder.
    file: Option<&'a mut dyn Read>,
}

fn walk(
    packed: impl Read,
    mut visit: impl FnMut(Entry<'_>) -> Result<(), Error>,
) -> Result<Contents, Error> {
    let mut hashed = Hashed {
        inner: GzDecoder::new(packed).take(ARCHIVE_BYTES_MAX + 1),
        hash: Sha256::new(),
        bytes: 0,
    };
    let mut names = Names::default();
    let mut archive = Archive::new(&mut hashed);
    // Raw: a long name of an extension would be read into memory, however long it says it is.
    let entries = archive.entries().map_err(|error| unreadable(&error))?;
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(|error| unreadable(&error))?;
        let name = checked(&entry.path_bytes())?;
        let header = entry.header();
        let executable = header.mode().is_ok_and(|mode| mode & 0o111 != 0);
        match header.entry_type() {
            EntryType::Directory => {
                names.folder(&name)?;
                visit(Entry {
                    name: &name,
                    executable,
                    file: None,
                })?;
            }
            EntryType::Regular => {
                let bytes = header.size().map_err(|error| unreadable(&error))?;
                names.file(&name, bytes)?;
                let mut counted = Counted {
                    inner: &mut entry,
                    bytes: 0,
                };
                visit(Entry {
                    name: &name,
                    executable,
                    file: Some(&mut counted),
                })?;
                // What a visitor does not want is read all the same: it may end too early.
                io::copy(&mut counted, &mut io::sink()).map_err(|e| of_archive(&name, &e))?;
                if counted.bytes != bytes {
                    return Err(Error::entry(&name, "it ends too early"));
                }
            }
            other => return Err(Error::entry(&name, kind_words(other))),
        }
    }
    io::copy(&mut hashed, &mut io::sink()).map_err(|error| unreadable(&error))?;
    if hashed.bytes > ARCHIVE_BYTES_MAX {
        let bytes = hashed.bytes;
        return Err(Error::TooLarge { bytes });
    }
    Ok(Contents {
        digest: Digest(hashed.hash.finalize().into()),
        unpacked_bytes: names.bytes(),
        file_count: names.file_count(),
    })
}

fn kind_words(kind: EntryType) -> String {
    let what = match kind {
        EntryType::Symlink | EntryType::Link => "a link",
        EntryType::Char | EntryType::Block | EntryType::Fifo => "a device or a pipe",
        _ => "an extension of tar",
    };
    format!("it is {what}; an artifact holds only files and folders")
}

fn unreadable(error: &io::Error) -> Error {
    Error::Unreadable {
        what: error.to_string(),
    }
}

fn of_archive(name: &str, error: &io::Error) -> Error {
    Error::entry(name, error.to_string())
}

/// Computes the digest of all that is read.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Counts what is read.
struct Counted<'a, R> {
    inner: &'a mut R,
    bytes: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    fn archive(build: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        build(&mut builder);
        gzip(&builder.into_inner().unwrap())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// An entry whose header says what it likes.
    fn hostile(name: &[u8], kind: EntryType, size: u64, content: &[u8]) -> Vec<u8> {
        archive(|builder| {
            let mut header = Header::new_ustar();
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name);
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        })
    }

    fn refused(packed: &[u8]) -> String {
        let checked = check(packed).unwrap_err().to_string();
        let into = tempfile::tempdir().unwrap();
        let unpacked = unpack(packed, into.path()).unwrap_err().to_string();
        assert_eq!(checked, unpacked, "the door and the worker agree");
        checked
    }

    #[test]
    fn what_leads_out_or_is_no_file_is_refused_by_name() {
        for (name, kind, words) in [
            (&b"../out"[..], EntryType::Regular, "climbs out"),
            (b"/etc/passwd", EntryType::Regular, "absolute"),
            (b"a/../../b", EntryType::Regular, "climbs out"),
            (b"link", EntryType::Symlink, "it is a link"),
            (b"hard", EntryType::Link, "it is a link"),
            (b"null", EntryType::Char, "a device"),
            (b"pipe", EntryType::Fifo, "a device"),
            (b"././@LongLink", EntryType::GNULongName, ""),
            (b"pax", EntryType::XHeader, "an extension"),
        ] {
            let refused = refused(&hostile(name, kind, 0, b""));
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn a_bomb_is_refused_by_what_it_says_and_by_what_it_is() {
        let says = hostile(b"bomb", EntryType::Regular, 1 << 40, b"");
        assert!(refused(&says).contains("the limit is"));
        let lies = hostile(b"short", EntryType::Regular, 1 << 20, b"ten bytes.");
        assert!(!refused(&lies).is_empty());
        let many = archive(|builder| {
            let mut header = Header::new_ustar();
            header.set_size(0);
            header.set_mode(0o644);
            for number in 0..=ARTIFACT_FILES_MAX {
                let name = number.to_string();
                builder.append_data(&mut header, name, io::empty()).unwrap();
            }
        });
        assert!(
            check(&many[..])
                .unwrap_err()
                .to_string()
                .contains("more than 32768 files")
        );
    }

    #[test]
    fn garbage_is_no_archive() {
        for garbage in [&b""[..], b"hello", &gzip(b"hello")] {
            assert!(matches!(check(garbage), Err(Error::Unreadable { .. })));
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let packed = archive(|builder| {
            for _ in 0..2 {
                let mut header = Header::new_ustar();
                header.set_size(1);
                header.set_mode(0o644);
                builder.append_data(&mut header, "a", &b"x"[..]).unwrap();
            }
        });
        assert!(refused(&packed).contains("twice"));
    }
}
