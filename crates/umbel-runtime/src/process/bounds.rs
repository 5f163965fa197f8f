//! What a process may take of its worker's machine.

use std::io;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, geteuid, getrlimit, prlimit, setrlimit};

use super::tree;

/// So many processes and threads has a function at a time, if nothing else was said.
const PROCESSES_MAX: u64 = 1_024;

/// The bounds of one function. Unset: the worker's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of private, writable memory of each process (`RLIMIT_DATA`): what is only reserved,
    /// as a JavaScript engine reserves gigabytes, does not count.
    pub memory_bytes_max: Option<u64>,
    /// Open files of each process (`RLIMIT_NOFILE`).
    pub files_max: Option<u64>,
    /// Processes and threads that the function has at a time; 1,024 if nothing is said. They are
    /// counted some twenty times a second, and all killed when they are more. Where the worker is
    /// not root, the user also has no more than so many beyond those at the program's start
    /// (`RLIMIT_NPROC`).
    pub processes_max: Option<u64>,
}

impl Bounds {
    /// How many processes and threads there may be at a time.
    pub(super) fn processes_max(&self) -> u64 {
        self.processes_max.unwrap_or(PROCESSES_MAX)
    }

    /// Starts a program under its bounds, where its user has `of_user` threads already.
    ///
    /// It inherits them as soft limits from its first instruction on, and has them as hard ones
    /// some microseconds later. (To set a hard limit between fork and exec has no safe form, and
    /// this process could not raise its own again.)
    pub(super) fn spawn(&self, command: &mut Command, of_user: u64) -> io::Result<Child> {
        let own: Vec<_> = self
            .limits(of_user)
            .map(|(resource, bound)| (resource, bound, getrlimit(resource)))
            .collect();
        for (resource, bound, own) in &own {
            let current = Some(own.maximum.map_or(*bound, |maximum| maximum.min(*bound)));
            // Refused, the hard limit below still holds.
            let _refused = setrlimit(*resource, Rlimit { current, ..*own });
        }
        let spawned = command.spawn();
        for (resource, _, own) in own {
            setrlimit(resource, own)?;
        }
        let child = match spawned {
            // The bounds may be too narrow for this process, and not for that.
            Err(_) => command.spawn()?,
            Ok(child) => child,
        };
        self.impose(Pid::from_child(&child), of_user)?;
        Ok(child)
    }

    fn impose(&self, pid: Pid, of_user: u64) -> Result<(), Errno> {
        for (resource, bound) in self.limits(of_user) {
            let maximum = getrlimit(resource).maximum;
            let bound = Some(maximum.map_or(bound, |maximum| maximum.min(bound)));
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

    fn limits(&self, of_user: u64) -> impl Iterator<Item = (Resource, u64)> {
        [
            (Resource::Data, self.memory_bytes_max),
            (Resource::Nofile, self.files_max),
            // Root is not bound by it, and what root starts as another user should not be.
            (
                Resource::Nproc,
                (!geteuid().is_root()).then(|| of_user.saturating_add(self.processes_max())),
            ),
        ]
        .into_iter()
        .filter_map(|(resource, bound)| Some((resource, bound?)))
    }
}

/// How many threads a user has, counted once a second.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    counted: Option<(Instant, u64)>,
}

impl Crowd {
    pub(super) fn count(&mut self) -> u64 {
        if geteuid().is_root() {
            return 0;
        }
        match self.counted {
            Some((at, count)) if at.elapsed() < Duration::from_secs(1) => count,
            _ => {
                let count = tree::threads_of_user();
                self.counted = Some((Instant::now(), count));
                count
            }
        }
    }
}
