//! What can go wrong between umbel and its disk, in words that name the place and the way out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the store did not open, read or write.
///
/// It can be cloned, since a failure of the commit thread is told to everyone who waits.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Another process holds the data directory.
    #[error(
        "the data directory {} is in use by another coordinator{}; \
         stop it, or give this one a directory of its own with --data",
        .dir.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, as far as its lock file says.
        pid: Option<u32>,
    },
    /// The directory holds something, and it is not umbel's.
    #[error(
        "{} is not a data directory of umbel: {what}; \
         give a new or an empty directory with --data, or restore a backup if it was one", .dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// What was found in it.
        what: String,
    },
    /// The directory was written in a format that this version does not know.
    #[error(
        "the data directory {} has format {found}, and this version of umbel reads {oldest} to \
         {newest}; start it with the version that wrote it, or give another directory with --data",
        .dir.display()
    )]
    Format {
        /// The data directory.
        dir: PathBuf,
        /// The format that its record names.
        found: u32,
        /// The oldest format that this version reads.
        oldest: u32,
        /// The newest format that this version reads.
        newest: u32,
    },
    /// The engine's files do not make sense to it.
    #[error(
        "the data in {} is damaged ({what}); restore the directory from a backup, or move it away \
         and start with an empty one", .dir.display()
    )]
    Corrupt {
        /// The data directory.
        dir: PathBuf,
        /// What the engine said.
        what: String,
    },
    /// The data open, and commits that were durable are not in them.
    #[error(
        "the data in {} end at commit {found}, and commit {marked} was durable: a file was cut or \
         damaged; restore the directory from a backup, or remove the file {} to go on without what \
         is lost", .dir.display(), .mark.display()
    )]
    Shortened {
        /// The data directory.
        dir: PathBuf,
        /// The last commit that is there.
        found: u64,
        /// A commit that should be.
        marked: u64,
        /// The file that says so.
        mark: PathBuf,
    },
    /// There is no room left for a write.
    #[error(
        "the disk of {} is full ({what}); free some space there: everything that was accepted is \
         kept, and a coordinator that runs goes on by itself", .dir.display()
    )]
    Full {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        what: String,
    },
    /// The directory was removed or replaced under the running coordinator.
    #[error(
        "the data directory {} was removed or replaced while the coordinator used it; \
         nothing more is accepted, start it again", .dir.display()
    )]
    Fenced {
        /// The data directory.
        dir: PathBuf,
    },
    /// The system refused to read or write.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was attempted, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A value that should have been cut into parts.
    #[error("a value of {bytes} bytes is over the store's limit of {bytes_max}")]
    ValueTooLarge {
        /// The length of the value.
        bytes: usize,
        /// The limit, [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX).
        bytes_max: usize,
    },
    /// The engine broke in a way that it should not.
    #[error("the storage engine failed: {what}")]
    Engine {
        /// What the engine said.
        what: String,
    },
    /// The keys and records are of a version that this program does not know.
    #[error(
        "the data have version {found} of the records, and this version of umbel reads {known}; \
         start it with the version that wrote them, or give another directory with --data"
    )]
    Version {
        /// The version of the data.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// A key or a record that does not make sense.
    #[error("the store holds what this version of umbel cannot read: {what}")]
    Damaged {
        /// What and why.
        what: String,
    },
    /// Something that should be in the store is not.
    #[error("the store does not hold {what}; its job may have been deleted")]
    Missing {
        /// What.
        what: String,
    },
    /// Somebody else copies the data.
    #[error("a backup of these data is under way; wait for its end and try again")]
    CopyUnderWay,
    /// More was written meanwhile than is kept for a copy.
    #[error(
        "the backup could not keep up with what was written meanwhile, {} MiB waited for it; \
         nothing of the data is lost: try again at a quieter time, or write it to a faster disk",
        .bytes_max >> 20
    )]
    CopyBehind {
        /// How much is kept, in bytes.
        bytes_max: usize,
    },
    /// A backup that is not whole, or is none.
    #[error("{} is not a backup that can be restored: {what}", .path.display())]
    Backup {
        /// The backup's directory.
        path: PathBuf,
        /// What is wrong with it, and where.
        what: String,
    },
    /// There is something where something new was to be made.
    #[error("{} exists{}; {way_out}", .path.display(), what.map(|what| format!(" {what}")).unwrap_or_default())]
    Exists {
        /// What exists.
        path: PathBuf,
        /// What is the matter with it, if that is not all.
        what: Option<&'static str>,
        /// What to do.
        way_out: &'static str,
    },
    /// A directory into which a restore did not finish.
    #[error(
        "a restore into {} did not finish; remove the directory and restore the backup again",
        .dir.display()
    )]
    Unfinished {
        /// The data directory.
        dir: PathBuf,
    },
    /// There are no data.
    #[error("{} holds no data of umbel; name their directory with --data", .dir.display())]
    NoData {
        /// The directory.
        dir: PathBuf,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// An error of the system while `doing` something to `path`, in the data directory `dir`.
    pub(crate) fn io(doing: &'static str, dir: &Path, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full {
                dir: dir.to_owned(),
                what: source.kind().to_string(),
            },
            _ => Self::Io {
                doing,
                path: path.to_owned(),
                source: Arc::new(source),
            },
        }
    }

    /// An error of sled while it was `doing` something in the data directory `dir`.
    pub(crate) fn sled(doing: &'static str, dir: &Path, error: sled::Error) -> Self {
        match error {
            sled::Error::Io(source) => Self::io(doing, dir, dir, source),
            sled::Error::Corruption { .. } => Self::Corrupt {
                dir: dir.to_owned(),
                what: error.to_string(),
            },
            // Its own settings, which never change, are not what they were.
            sled::Error::Unsupported(what) if doing == "open" => Self::Corrupt {
                dir: dir.to_owned(),
                what,
            },
            other => Self::Engine {
                what: other.to_string(),
            },
        }
    }

    /// What a panic inside the engine said.
    pub(crate) fn panic(panic: &(dyn std::any::Any + Send)) -> String {
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "it panicked without words".to_owned())
    }
}

impl From<crate::key::Error> for Error {
    fn from(error: crate::key::Error) -> Self {
        Self::Damaged {
            what: error.to_string(),
        }
    }
}

impl From<umbel_proto::disk::Error> for Error {
    fn from(error: umbel_proto::disk::Error) -> Self {
        Self::Damaged {
            what: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_errors() {
        let dir = Path::new("/data");
        let full = Error::io("write", dir, dir, io::ErrorKind::StorageFull.into());
        assert!(
            full.to_string().contains("the disk of /data is full"),
            "{full}"
        );
        let other = Error::io("write", dir, dir, io::ErrorKind::PermissionDenied.into());
        assert!(matches!(other, Error::Io { doing: "write", .. }), "{other}");
    }

    #[test]
    fn a_directory_in_use_is_named_with_its_holder() {
        let known = Error::InUse {
            dir: "/data".into(),
            pid: Some(7),
        }
        .to_string();
        assert!(
            known.contains("/data") && known.contains("(pid 7)"),
            "{known}"
        );
        let unknown = Error::InUse {
            dir: "/data".into(),
            pid: None,
        }
        .to_string();
        assert!(unknown.contains("another coordinator; stop"), "{unknown}");
    }
}
