//! What is in a zip, read without trust.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use umbel_core::limit::{ARTIFACT_FILES_MAX, ARTIFACT_UNPACKED_BYTES_MAX};
use zip::ZipArchive;

use crate::error::Error;
use crate::pack::{Content, Source};
use crate::path::{Names, checked};

/// The kind of file within a mode, and the kinds that are taken.
const KIND_MASK: u32 = 0o170_000;
const KIND_FILE: u32 = 0o100_000;
const KIND_FOLDER: u32 = 0o040_000;

/// The files of a zip by name.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Source>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let unreadable = |error: zip::result::ZipError| Error::Unreadable {
        what: format!("{}: {error}", path.display()),
    };
    let mut archive = ZipArchive::new(file).map_err(unreadable)?;
    if archive.len() > 2 * ARTIFACT_FILES_MAX as usize {
        return Err(Error::TooManyFiles);
    }
    let mut names = Names::default();
    let mut files = BTreeMap::new();
    let mut total = 0;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(unreadable)?;
        let name = checked(entry.name_raw())?;
        let mode = entry.unix_mode().unwrap_or(0);
        if !matches!(mode & KIND_MASK, 0 | KIND_FILE | KIND_FOLDER) {
            let problem = "it is a link or a device; an artifact holds only files and folders";
            return Err(Error::entry(&name, problem));
        }
        if entry.is_dir() {
            names.folder(&name)?;
            continue;
        }
        names.file(&name, entry.size())?;
        // What it says of its size may be a lie; what comes out of it is counted.
        let mut content = Vec::new();
        let most = ARTIFACT_UNPACKED_BYTES_MAX - total;
        let read = entry.by_ref().take(most + 1).read_to_end(&mut content);
        read.map_err(|error| Error::entry(&name, error.to_string()))?;
        total += content.len() as u64;
        if total > ARTIFACT_UNPACKED_BYTES_MAX {
            return Err(Error::TooLarge { bytes: total });
        }
        let source = Source {
            executable: mode & 0o111 != 0,
            bytes: content.len() as u64,
            content: Content::Memory(content),
        };
        files.insert(name, source);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use crate::pack;

    fn zip(dir: &std::path::Path, entries: &[(&str, &[u8], u32)]) -> std::path::PathBuf {
        let path = dir.join("function.zip");
        let mut writer = ZipWriter::new(std::fs::File::create(&path).unwrap());
        for (name, content, mode) in entries {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    #[test]
    fn a_zip_is_what_its_folder_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let packed = pack(&zip(
            dir.path(),
            &[("app.py", b"x", 0o644), ("run", b"y", 0o755)],
        ));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.py"), "x").unwrap();
        std::fs::write(folder.path().join("run"), "y").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(folder.path().join("run"), executable).unwrap();
        assert_eq!(packed.unwrap().bytes, pack(folder.path()).unwrap().bytes);
    }

    #[test]
    fn a_zip_that_climbs_out_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../out.py", "/etc/out.py"] {
            let refused = pack(&zip(dir.path(), &[(name, b"x", 0o644)]));
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let zeros = vec![0; 64 << 20];
        let bombs: Vec<_> = ["a", "b", "c", "d", "e"]
            .iter()
            .map(|name| (*name, &zeros[..], 0o644))
            .collect();
        let path = zip(dir.path(), &bombs);
        assert!(
            path.metadata().unwrap().len() < 1 << 20,
            "it is small packed"
        );
        let refused = pack(&path).unwrap_err();
        assert!(refused.is_too_large(), "{refused}");
    }
}
