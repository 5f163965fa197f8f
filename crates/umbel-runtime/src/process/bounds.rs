//! What a process may take of its worker's machine.

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// The bounds of one process; its children inherit them, each for itself. Unset: the worker's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of private, writable memory (`RLIMIT_DATA`): what is only reserved, as a JavaScript
    /// engine reserves gigabytes, does not count.
    pub memory_bytes_max: Option<u64>,
    /// Open files (`RLIMIT_NOFILE`).
    pub files_max: Option<u64>,
    /// Processes and threads of the worker's whole *user* (`RLIMIT_NPROC`). Root is not bound
    /// by it.
    pub processes_max: Option<u64>,
}

impl Bounds {
    /// Puts a process that has just started under its bounds. (Between its start and this lie
    /// some microseconds: to set them in the child itself takes code between fork and exec, which
    /// has no safe form.)
    pub(super) fn impose(&self, pid: Pid) -> Result<(), Errno> {
        let all = [
            (Resource::Data, self.memory_bytes_max),
            (Resource::Nofile, self.files_max),
            (Resource::Nproc, self.processes_max),
        ];
        for (resource, bound) in all {
            if bound.is_none() {
                continue;
            }
            let limit = Rlimit {
                current: bound,
                maximum: bound,
            };
            match prlimit(Some(pid), resource, limit) {
                // It has ended already, which is for its end to tell.
                Ok(_) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
