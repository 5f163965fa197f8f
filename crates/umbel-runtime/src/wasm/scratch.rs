//! The private directory of an invocation that may open files.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::process;

thread_local! {
    /// The directory of this thread's last invocation, if that left it empty: to make one and to
    /// remove it costs more than most calls.
    static EMPTY: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// An empty directory for one invocation; what is in it at the end goes with it.
#[derive(Debug)]
pub(super) struct Scratch(Option<TempDir>);

impl Scratch {
    pub(super) fn new() -> io::Result<Self> {
        if let Some(empty) = EMPTY.with(RefCell::take) {
            return Ok(Self(Some(empty)));
        }
        let made = tempfile::Builder::new()
            .prefix("instance-")
            .tempdir_in(process::scratch_root())?;
        Ok(Self(Some(made)))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.as_ref().map_or_else(|| Path::new(""), TempDir::path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let is_empty = |dir: &TempDir| {
            let entries = std::fs::read_dir(dir.path());
            entries.is_ok_and(|mut entries| entries.next().is_none())
        };
        // One that is not empty, or not there any more, is removed here.
        EMPTY.with(|empty| empty.replace(self.0.take().filter(is_empty)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_finds_nothing_of_the_one_before() {
        let first = Scratch::new().unwrap();
        let path = first.path().to_owned();
        drop(first);
        let second = Scratch::new().unwrap();
        assert_eq!(second.path(), path, "it was left empty");
        std::fs::write(path.join("mine"), "x").unwrap();
        drop(second);
        assert!(!path.exists());
        let third = Scratch::new().unwrap();
        assert_eq!(std::fs::read_dir(third.path()).unwrap().count(), 0);
        std::fs::remove_dir(third.path()).unwrap();
        drop(third);
        assert!(Scratch::new().unwrap().path().exists());
    }
}
