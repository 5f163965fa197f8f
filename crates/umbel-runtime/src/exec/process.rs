//! One running program and the group of processes that it leads.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use crate::failure::{Failure, FailureKind};

/// A program in a process group of its own. Dropped, it takes the whole group with it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
    /// Readable once the program has ended.
    pidfd: OwnedFd,
    /// While the program is not reaped its number, which is the group's too, cannot be given to
    /// another process: only so long may the group be killed.
    reaped: bool,
}

impl Process {
    /// Starts the program. stdin is a pipe only if `with_stdin`, else it is empty.
    pub(super) fn spawn(mut command: Command, with_stdin: bool) -> Result<Self, Failure> {
        let stdin = if with_stdin {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| spawn_failure(&command, &error))?;
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self {
                child,
                pid,
                pidfd,
                reaped: false,
            }),
            Err(error) => {
                let failure = spawn_failure(&command, &error.into());
                // Unreaped, so the group is still the child's own.
                let _ended = kill_process_group(pid, Signal::KILL);
                let _status = child.wait();
                Err(failure)
            }
        }
    }

    /// The program's ends of pipes, each to be taken once.
    pub(super) const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Becomes readable when the program ends.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Kills the program and all that it left running in its group.
    pub(super) fn kill_group(&self) {
        if !self.reaped {
            // The only error is that no process of the group is left to be killed.
            let _gone = kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// Waits for the end of the program and answers its status and its CPU time in microseconds.
    pub(super) fn reap(mut self) -> io::Result<(ExitStatus, Option<u64>)> {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = waitid(WaitId::Pid(self.pid), ended) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        // A program that ended and is not reaped still shows what it used.
        let cpu_us = cpu_us(self.pid);
        self.kill_group();
        let status = self.child.wait()?;
        self.reaped = true;
        Ok((status, cpu_us))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill_group();
            let _status = self.child.wait();
        }
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

/// The CPU time of a program that ended and is not reaped, with that of the children that it
/// waited for. `stat` knows all of it, in steps of some 10 ms; `schedstat` knows the program's
/// first thread alone, in nanoseconds. The larger is the truer: the first serves long programs,
/// the second the short ones. (The exact figure of wait4(2) has no safe binding in std or rustix.)
fn cpu_us(pid: Pid) -> Option<u64> {
    let read = |name| fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_pid())).ok();
    let fine = read("schedstat").and_then(|text| schedstat_us(&text));
    let coarse = read("stat").and_then(|text| stat_us(&text, clock_ticks_per_second()));
    fine.max(coarse)
}

fn schedstat_us(text: &str) -> Option<u64> {
    let nanoseconds: u64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1_000)
}

/// utime, stime, cutime and cstime are fields 14 to 17; field 2 is a name in parentheses that may
/// itself hold spaces and parentheses.
fn stat_us(text: &str, ticks_per_second: u64) -> Option<u64> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks: u64 = 0;
    for _ in 0..4 {
        // The kernel prints cutime and cstime as signed numbers.
        let field: i64 = fields.next()?.parse().ok()?;
        ticks = ticks.saturating_add(u64::try_from(field).ok()?);
    }
    ticks
        .saturating_mul(1_000_000)
        .checked_div(ticks_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_a_program_counts_its_children_whatever_its_name() {
        let stat = "42 (a) b (c) R 1 42 42 0 -1 4194304 9 8 7 6 1 2 3 4 20 0 1 0 99";
        assert_eq!(stat_us(stat, 100), Some(100_000));
        assert_eq!(stat_us("42 (cut", 100), None);
        assert_eq!(schedstat_us("1234567 89 10\n"), Some(1_234));
        assert_eq!(schedstat_us(""), None);
    }

    #[test]
    fn a_dropped_process_takes_its_group_with_it() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 600 & sleep 600"]);
        let process = Process::spawn(command, false).unwrap();
        let pid = process.pid;

        drop(process);

        // A killed grandchild stays visible until its new parent reaps it, so its own state is
        // what counts; the leader was reaped and is gone.
        assert!(!fs::exists(format!("/proc/{}", pid.as_raw_pid())).unwrap());
    }
}
