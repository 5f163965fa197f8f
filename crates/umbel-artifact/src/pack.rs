//! Packing what a user has: always into the same bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use umbel_core::function::Digest;
use umbel_core::limit::ARTIFACT_PACKED_BYTES_MAX;

use crate::error::Error;
use crate::path::{Names, checked};
use crate::read::{Contents, check};
use crate::zipped;

/// What is left out of a folder, wherever it lies: it is made again from the rest, or is no part
/// of the function.
pub const LEFT_OUT: [&str; 6] = [".git", ".hg", ".svn", ".DS_Store", "__pycache__", ".cache"];
/// Left out of the top: it says how the function is run, which is kept apart.
const MANIFEST: &str = "umbel.toml";
/// How a zip begins.
const ZIP_MAGIC: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// An artifact, ready to be sent.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What is in it.
    pub contents: Contents,
    /// The names of its files, in order, and whether each is executable.
    pub files: BTreeMap<String, bool>,
}

/// One file that goes in.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) executable: bool,
    pub(crate) bytes: u64,
    pub(crate) content: Content,
}

/// Where its bytes are.
#[derive(Debug)]
pub(crate) enum Content {
    /// In a file.
    File(PathBuf),
    /// Here: they came out of a zip.
    Memory(Vec<u8>),
}

/// Packs a file, a folder or a zip: the same content gives the same bytes and digest, whichever
/// of them it came in. Names are sorted, times and owners left out, modes come down to executable
/// or not, and empty folders go.
///
/// A link in a folder is followed where it stays within the folder, and refused where it leads out.
///
/// # Errors
/// When there is nothing to pack, something cannot be read, or it is over a limit.
pub fn pack(path: &Path) -> Result<Packed, Error> {
    let root = path.canonicalize().map_err(Error::io(path))?;
    let mut files = BTreeMap::new();
    if root.is_dir() {
        let folder = Folder { root: &root };
        folder.walk(&root, "", &mut files)?;
    } else if is_zip(&root)? {
        files = zipped::read(&root)?;
    } else {
        let name = root.file_name().unwrap_or_default();
        let name = checked(name.as_encoded_bytes())?;
        files.insert(name, source(&root)?);
    }
    if files.is_empty() {
        let path = path.to_owned();
        return Err(Error::Empty { path });
    }
    let mut names = Names::default();
    for (name, source) in &files {
        names.file(name, source.bytes)?;
    }
    write(files)
}

/// Whether a file is a zip.
///
/// # Errors
/// When it cannot be read.
pub fn is_zip(path: &Path) -> Result<bool, Error> {
    let mut begin = [0; 4];
    let mut file = File::open(path).map_err(Error::io(path))?;
    match file.read_exact(&mut begin) {
        Ok(()) => Ok(ZIP_MAGIC.contains(&&begin[..])),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Error::io(path)(error)),
    }
}

fn source(path: &Path) -> Result<Source, Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        let name = path.to_string_lossy();
        return Err(Error::entry(&name, "it is no file"));
    }
    Ok(Source {
        executable: metadata.permissions().mode() & 0o111 != 0,
        bytes: metadata.len(),
        content: Content::File(path.to_owned()),
    })
}

struct Folder<'a> {
    root: &'a Path,
}

impl Folder<'_> {
    /// Takes in what lies in a folder whose name within the artifact is `prefix`.
    fn walk(
        &self,
        folder: &Path,
        prefix: &str,
        files: &mut BTreeMap<String, Source>,
    ) -> Result<(), Error> {
        for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
            let entry = entry.map_err(Error::io(folder))?;
            let path = entry.path();
            let file_name = entry.file_name();
            let is_out = |out: &&str| file_name.as_encoded_bytes() == out.as_bytes();
            if LEFT_OUT.iter().any(is_out)
                || (prefix.is_empty() && is_out(&MANIFEST))
                || file_name.as_encoded_bytes().ends_with(b".pyc")
            {
                continue;
            }
            let name = [prefix.as_bytes(), file_name.as_encoded_bytes()].concat();
            let name = checked(&name)?;
            let real = path.canonicalize().map_err(Error::io(&path))?;
            if !real.starts_with(self.root) {
                let problem = format!("it is a link to {}, outside of the folder", real.display());
                return Err(Error::entry(&name, problem));
            }
            if !real.is_dir() {
                files.insert(name, source(&real)?);
                continue;
            }
            // A link to a folder that it lies in has no end.
            if path.starts_with(&real) && path != real {
                return Err(Error::entry(
                    &name,
                    "it is a link to a folder that it lies in",
                ));
            }
            self.walk(&path, &format!("{name}/"), files)?;
        }
        Ok(())
    }
}

fn write(files: BTreeMap<String, Source>) -> Result<Packed, Error> {
    let gzip = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    let mut builder = Builder::new(Hashed {
        inner: gzip,
        hash: Sha256::new(),
    });
    let mut listed = BTreeMap::new();
    let mut unpacked_bytes = 0;
    for (name, source) in files {
        let mut header = Header::new_ustar();
        let long = |_| Error::entry(&name, "its name does not fit into a tar header; shorten it");
        header.set_path(&name).map_err(long)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(source.bytes);
        header.set_mode(if source.executable { 0o755 } else { 0o644 });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        let failed = |error: io::Error| Error::entry(&name, error.to_string());
        match &source.content {
            Content::Memory(bytes) => builder.append(&header, &bytes[..]).map_err(failed)?,
            Content::File(path) => {
                let file = File::open(path).map_err(Error::io(path))?;
                // It may have grown; what it has lost is told when the whole is checked.
                builder
                    .append(&header, file.take(source.bytes))
                    .map_err(failed)?;
            }
        }
        unpacked_bytes += source.bytes;
        listed.insert(name, source.executable);
    }
    let whole = |error: io::Error| Error::Unreadable {
        what: error.to_string(),
    };
    let hashed = builder.into_inner().map_err(whole)?;
    let digest = Digest(hashed.hash.finalize().into());
    let bytes = hashed.inner.finish().map_err(whole)?;
    let length = bytes.len() as u64;
    if length > ARTIFACT_PACKED_BYTES_MAX {
        return Err(Error::TooLargePacked { bytes: length });
    }
    let contents = check(&bytes[..])?;
    debug_assert_eq!(
        (contents.digest, contents.unpacked_bytes),
        (digest, unpacked_bytes)
    );
    Ok(Packed {
        bytes,
        contents,
        files: listed,
    })
}

/// Computes the digest of what goes through.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::unpack;

    fn folder(files: &[(&str, &str, u32)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content, mode) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        dir
    }

    #[test]
    fn the_same_content_is_the_same_bytes_whatever_it_came_in() {
        let one = folder(&[("app.py", "x", 0o600), ("lib/run.sh", "y", 0o755)]);
        let two = folder(&[
            ("lib/run.sh", "y", 0o711),
            ("app.py", "x", 0o664),
            ("umbel.toml", "runtime = 'python'", 0o644),
            ("lib/__pycache__/app.pyc", "z", 0o644),
            (".git/HEAD", "z", 0o644),
        ]);
        fs::create_dir(two.path().join("empty")).unwrap();
        let (one, two) = (pack(one.path()).unwrap(), pack(two.path()).unwrap());
        assert_eq!(one.bytes, two.bytes);
        let files: Vec<_> = one
            .files
            .iter()
            .map(|(name, x)| (name.as_str(), *x))
            .collect();
        assert_eq!(files, [("app.py", false), ("lib/run.sh", true)]);
        assert_eq!(
            (one.contents.unpacked_bytes, one.contents.file_count),
            (2, 2)
        );
    }

    #[test]
    fn what_is_packed_is_unpacked_and_cannot_be_written() {
        let from = folder(&[("app.py", "x", 0o600), ("lib/run.sh", "y", 0o755)]);
        let packed = pack(from.path()).unwrap();
        let into = tempfile::tempdir().unwrap();
        let contents = unpack(&packed.bytes[..], into.path()).unwrap();
        assert_eq!(contents, packed.contents);
        let mode = |name| {
            let metadata = fs::metadata(into.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!((mode("app.py"), mode("lib/run.sh")), (0o444, 0o555));
        assert_eq!(
            fs::read_to_string(into.path().join("lib/run.sh")).unwrap(),
            "y"
        );
    }

    #[test]
    fn links_are_followed_within_and_refused_beyond() {
        let dir = folder(&[("lib/real.js", "x", 0o755)]);
        symlink("lib/real.js", dir.path().join("run")).unwrap();
        let packed = pack(dir.path()).unwrap();
        assert_eq!(
            packed.files.get("run"),
            Some(&true),
            "as the file that it leads to"
        );
        symlink("/etc/hostname", dir.path().join("out")).unwrap();
        let out = pack(dir.path()).unwrap_err().to_string();
        assert!(out.contains("\"out\"") && out.contains("outside"), "{out}");
        fs::remove_file(dir.path().join("out")).unwrap();
        symlink("..", dir.path().join("lib/up")).unwrap();
        let up = pack(dir.path()).unwrap_err().to_string();
        assert!(up.contains("lies in"), "{up}");
    }

    #[test]
    fn a_file_is_an_artifact_of_one_and_nothing_is_none() {
        let dir = folder(&[("run.sh", "x", 0o755)]);
        let packed = pack(&dir.path().join("run.sh")).unwrap();
        assert_eq!(packed.files.keys().collect::<Vec<_>>(), ["run.sh"]);
        assert_eq!(packed.contents, pack(dir.path()).unwrap().contents);
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(pack(empty.path()), Err(Error::Empty { .. })));
        assert!(pack(Path::new("/no/such")).is_err());
    }
}
