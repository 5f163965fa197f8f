//! The names of entries: relative, plain, each once.

use std::collections::BTreeSet;

use umbel_core::limit::{ARTIFACT_FILES_MAX, ARTIFACT_UNPACKED_BYTES_MAX};

use crate::error::Error;

/// Bytes of an entry's name: what a tar header of POSIX can hold.
const NAME_BYTES_MAX: usize = 255;
/// Folders that an entry may lie deep in.
const DEPTH_MAX: usize = 64;

/// An entry's name, if it stays within the artifact's folder.
pub(crate) fn checked(name: &[u8]) -> Result<String, Error> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let bad = |problem: &str| Err(Error::entry(&shown, problem));
    let Ok(text) = std::str::from_utf8(name) else {
        return bad("its name is not UTF-8");
    };
    let text = text.strip_prefix("./").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return bad("it has no name");
    }
    if text.len() > NAME_BYTES_MAX {
        return bad("its name is longer than 255 bytes");
    }
    if text.starts_with('/') {
        return bad("its name is an absolute path; it must stay within the artifact");
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return bad("its name holds a control character or a backslash");
    }
    let parts = text.split('/');
    if parts.clone().count() > DEPTH_MAX {
        return bad("it lies more than 64 folders deep");
    }
    for part in parts {
        if part == ".." {
            return bad("its name climbs out of the artifact with `..`");
        }
        if part.is_empty() || part == "." {
            return bad("its name has an empty part or a `.`");
        }
    }
    Ok(text.to_owned())
}

/// What an artifact holds so far, by name, within the bounds.
#[derive(Debug, Default)]
pub(crate) struct Names {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
    bytes: u64,
}

impl Names {
    /// Takes in a file of so many bytes.
    pub(crate) fn file(&mut self, name: &str, bytes: u64) -> Result<(), Error> {
        self.parents(name)?;
        if self.folders.contains(name) || !self.files.insert(name.to_owned()) {
            return Err(twice(name));
        }
        if self.files.len() > ARTIFACT_FILES_MAX as usize {
            return Err(Error::TooManyFiles);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > ARTIFACT_UNPACKED_BYTES_MAX {
            return Err(Error::TooLarge { bytes: self.bytes });
        }
        Ok(())
    }

    /// Takes in a folder; it may be named again.
    pub(crate) fn folder(&mut self, name: &str) -> Result<(), Error> {
        self.parents(name)?;
        if self.files.contains(name) {
            return Err(twice(name));
        }
        self.folders.insert(name.to_owned());
        self.few_folders()
    }

    fn parents(&mut self, name: &str) -> Result<(), Error> {
        for (at, _) in name.match_indices('/') {
            let parent = name.get(..at).unwrap_or_default();
            if self.files.contains(parent) {
                return Err(twice(parent));
            }
            if !self.folders.contains(parent) {
                self.folders.insert(parent.to_owned());
            }
        }
        self.few_folders()
    }

    /// Those that are named only on the way to a file count too: a few long names make many.
    fn few_folders(&self) -> Result<(), Error> {
        if self.folders.len() > ARTIFACT_FILES_MAX as usize {
            return Err(Error::TooManyFiles);
        }
        Ok(())
    }

    /// How many files.
    pub(crate) fn file_count(&self) -> u32 {
        u32::try_from(self.files.len()).unwrap_or(u32::MAX)
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn twice(name: &str) -> Error {
    Error::Twice {
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within() {
        assert_eq!(checked(b"./a/b.py").unwrap(), "a/b.py");
        assert_eq!(checked(b"a/").unwrap(), "a");
        let deep = ["d"; 65].join("/");
        let long = "x".repeat(256);
        for bad in [
            "",
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a//b",
            "a/./b",
            "a\\b",
            "a\nb",
            &deep,
            &long,
        ] {
            assert!(checked(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(checked(b"\xff").is_err());
    }

    #[test]
    fn a_name_is_a_file_or_a_folder_and_there_once() {
        let mut names = Names::default();
        names.file("a/b", 1).unwrap();
        names.folder("a").unwrap();
        for name in ["a/b", "a", "a/b/c"] {
            let twice = names.file(name, 1).unwrap_err();
            assert!(matches!(twice, Error::Twice { .. }), "{name}");
        }
        assert!(names.folder("a/b").is_err());
        let large = names.file("c", ARTIFACT_UNPACKED_BYTES_MAX).unwrap_err();
        assert!(large.is_too_large());
    }

    #[test]
    fn folders_count_that_are_named_on_the_way_to_a_file_alone() {
        let mut names = Names::default();
        let deep = ["d"; 60].join("/");
        let refused = (0..ARTIFACT_FILES_MAX)
            .map(|at| names.file(&format!("{at}/{deep}/x"), 0))
            .find_map(Result::err);
        assert!(matches!(refused, Some(Error::TooManyFiles)), "{refused:?}");
        assert!(names.file_count() < ARTIFACT_FILES_MAX / 60);
    }
}
