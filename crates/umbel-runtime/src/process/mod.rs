//! One running program and the group of processes that it leads.

mod bounds;
pub(crate) mod mark;
mod measure;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use rustix::thread::set_no_new_privs;

pub use self::bounds::Bounds;
use self::mark::Mark;
use crate::failure::{Failure, FailureKind};
use crate::reaper;

/// A program in a process group of its own. Dropped, it takes with it the whole group, and
/// whatever left the group and still bears the process's mark.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    mark: Mark,
    /// Readable once the program has ended.
    pidfd: OwnedFd,
    /// While the program is not reaped its number, which is the group's too, cannot be given to
    /// another process: only so long may the group be killed.
    reaped: bool,
}

impl Process {
    /// Starts the program under its bounds; its standard streams are the caller's choice.
    ///
    /// From here on this thread, and whatever it starts, gains no privileges by starting a program:
    /// none is to be had for a function that its worker does not have.
    pub(crate) fn spawn(mut command: Command, bounds: &Bounds) -> Result<Self, Failure> {
        set_no_new_privs(true).map_err(|error| spawn_failure(&command, &error.into()))?;
        let mark = Mark::next();
        command.env(mark::VARIABLE, mark.text()).process_group(0);
        let child = command
            .spawn()
            .map_err(|error| spawn_failure(&command, &error))?;
        let pid = Pid::from_child(&child);
        reaper::watch(pid);
        let held = pidfd_open(pid, PidfdFlags::empty())
            .and_then(|pidfd| bounds.impose(pid).map(|()| pidfd));
        match held {
            Ok(pidfd) => Ok(Self {
                child,
                pid,
                mark,
                pidfd,
                reaped: false,
            }),
            Err(error) => {
                let failure = spawn_failure(&command, &error.into());
                end(child, pid);
                Err(failure)
            }
        }
    }

    /// The program's ends of pipes, each to be taken once.
    pub(crate) const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Becomes readable when the program ends.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether the program has ended, reaped or not.
    pub(crate) fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut ended, Some(&Timespec::default())), Ok(1..))
    }

    /// Kills the program and all that it left running in its group. Cheap; what has left the
    /// group is killed by [`Process::kill_all`].
    pub(crate) fn kill_group(&self) {
        if !self.reaped {
            // The only error is that no process of the group is left to be killed.
            let _gone = kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// Kills the group, and then all that has left it and still bears the mark. Reads all of
    /// `/proc`, and so is for ends that are not the usual one.
    pub(crate) fn kill_all(&self) {
        self.kill_group();
        mark::kill_bearers(&self.mark);
    }

    /// Waits for the end of the program and answers its status and its CPU time in microseconds.
    pub(crate) fn reap(mut self) -> io::Result<(ExitStatus, Option<u64>)> {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = waitid(WaitId::Pid(self.pid), ended) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        // A program that ended and is not reaped still shows what it used.
        let cpu_us = measure::cpu_us(self.pid);
        self.kill_group();
        // First released, then reaped: a reaper never knows a number that may be another's.
        reaper::release(self.pid);
        let status = self.child.wait()?;
        self.reaped = true;
        Ok((status, cpu_us))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill_all();
            reaper::release(self.pid);
            let _status = self.child.wait();
        }
    }
}

/// Ends a process that never came to be a [`Process`].
fn end(mut child: Child, pid: Pid) {
    // Unreaped, so the group is still the child's own.
    let _ended = kill_process_group(pid, Signal::KILL);
    reaper::release(pid);
    let _status = child.wait();
}

/// A status in words, with the reason that is likely.
pub(crate) fn in_words(status: ExitStatus) -> String {
    match status.signal() {
        Some(9) => format!("{status}; the system sends this signal when memory runs out"),
        // std's words name the signal and say whether it left a core file.
        _ => status.to_string(),
    }
}

fn spawn_failure(command: &Command, error: &io::Error) -> Failure {
    let program = command.get_program().display();
    let errno = Errno::from_io_error(error);
    let never = match errno {
        Some(Errno::NOENT) => Some((
            "ProgramNotExecutable",
            "the interpreter that its first line names does not exist on this worker",
        )),
        Some(Errno::NOEXEC) => Some((
            "ProgramNotExecutable",
            "it is no program for this machine; a script needs a first line such as `#!/bin/sh`",
        )),
        Some(Errno::ACCESS | Errno::PERM) => {
            Some(("ProgramNotExecutable", "this worker may not run it"))
        }
        Some(Errno::TOOBIG) => Some((
            "InputTooLong",
            "arguments and environment are too long; without `{}` the input goes to stdin",
        )),
        _ => None,
    };
    never.map_or_else(
        || {
            // Out of processes, files or memory: another moment or another worker may do.
            Failure::new(
                FailureKind::Crashed,
                "SpawnFailed",
                format!("`{program}` could not be started: {error}"),
            )
        },
        |(error_type, why)| {
            Failure::rejected(
                error_type,
                format!("`{program}` cannot be started: {why} ({error})"),
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_dropped_process_takes_its_group_with_it() {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "sleep 600 & sleep 600"])
            .stdout(Stdio::null());
        let process = Process::spawn(command, &Bounds::default()).unwrap();
        let pid = process.pid;

        drop(process);

        // A killed grandchild stays visible until its new parent reaps it, so its own state is
        // what counts; the leader was reaped and is gone.
        assert!(!fs::exists(format!("/proc/{}", pid.as_raw_pid())).unwrap());
    }
}
