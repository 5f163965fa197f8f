//! One running program, and all that it starts.

mod bounds;
mod confine;
mod measure;
mod message;
mod supervise;
mod supervisor;
mod tree;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

pub use self::bounds::Bounds;
use self::confine::Reach;
pub use self::confine::{ConfineError, Confinement, confine};
pub(crate) use self::message::Streams;
use self::message::{Order, Report, Request};
pub use self::supervise::supervise;
use self::supervisor::Supervisor;
pub use self::supervisor::install_supervisor;
pub(crate) use self::supervisor::scratch_root;
use crate::failure::{Failure, FailureKind};

/// A program under a supervisor. Dropped, it takes with it whatever descends from it.
#[derive(Debug)]
pub(crate) struct Process {
    /// None once its end was reported.
    supervisor: Option<Supervisor>,
    processes_max: u64,
    pid: i32,
}

/// How a program ended. Nothing that it started is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// CPU time in microseconds, with that of the children that it waited for.
    pub(crate) cpu_us: Option<u64>,
    /// The bound of its processes, if it was killed for it.
    overgrown: Option<u64>,
}

impl Process {
    /// Starts the program, of which the command says everything: it inherits no environment. If
    /// programs are confined, `scratch` is where it may write.
    pub(crate) fn spawn(
        command: &Command,
        streams: Streams,
        bounds: &Bounds,
        scratch: Option<&Path>,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| spawn_failure(command, &error);
        let program = Path::new(command.get_program());
        let reach = Reach::of(program, command.get_current_dir(), scratch);
        let order = Order::new(command, *bounds, reach);
        let request = Request::Start(Box::new(order), streams);
        let mut supervisor = Supervisor::take(false).map_err(failed)?;
        if let Err(error) = supervisor.ask(&request) {
            supervisor.dismiss();
            if Errno::from_io_error(&error) == Some(Errno::TOOBIG) {
                return Err(failed(error));
            }
            // It was killed while it had nothing to do.
            supervisor = Supervisor::take(true).map_err(failed)?;
            if let Err(error) = supervisor.ask(&request) {
                supervisor.dismiss();
                return Err(failed(error));
            }
        }
        // Its ends of the streams are the program's alone from here on.
        drop(request);
        match supervisor.report() {
            Ok(Report::Started(pid)) => Ok(Self {
                supervisor: Some(supervisor),
                processes_max: bounds.processes_max(),
                pid,
            }),
            Ok(Report::Failed(errno)) => {
                supervisor.put_back();
                Err(failed(errno.into()))
            }
            Ok(Report::Ended { .. }) | Err(_) => {
                // The program may have begun, and even be what ended it.
                supervisor.dismiss();
                Err(unattended(&io::Error::other("its supervisor ended")))
            }
        }
    }

    /// Becomes readable when the program has ended and nothing of it is left.
    pub(crate) fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.supervisor.as_ref().map(|it| it.as_fd())
    }

    /// Whether it has.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended().is_none_or(|fd| {
            let mut ended = [PollFd::new(&fd, PollFlags::IN)];
            matches!(poll(&mut ended, Some(&Timespec::default())), Ok(1..))
        })
    }

    /// CPU time in microseconds of all threads of the program so far, while it runs.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        let used = measure::running_cpu_us(self.pid)?;
        // After its end the number may be another program's.
        (!self.has_ended()).then_some(used)
    }

    /// Has the program and all that it started killed; [`Process::reap`] waits for that.
    pub(crate) fn kill(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.wake();
            // If it is gone its end will tell.
            let _gone = supervisor.ask(&Request::Kill);
        }
    }

    /// Waits for the end of a program that has ended or was killed.
    pub(crate) fn reap(mut self) -> io::Result<End> {
        let processes_max = self.processes_max;
        let supervisor = self.supervisor.take();
        let supervisor = supervisor.ok_or(io::ErrorKind::NotFound)?;
        match supervisor.report() {
            Ok(Report::Ended {
                status,
                cpu_us,
                overgrown,
            }) => {
                supervisor.put_back();
                Ok(End {
                    status: ExitStatus::from_raw(status),
                    cpu_us,
                    overgrown: overgrown.then_some(processes_max),
                })
            }
            Ok(_) | Err(_) => {
                supervisor.dismiss();
                Err(io::Error::other(
                    "its supervisor ended or did not answer; a program must not signal its parent",
                ))
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.supervisor.is_some() {
            self.kill();
            let supervisor = self.supervisor.take();
            let _end = Self {
                supervisor,
                pid: self.pid,
                processes_max: self.processes_max,
            }
            .reap();
        }
    }
}

impl End {
    /// The failure that is the worker's doing.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.overgrown.map(|processes_max| {
            Failure::new(
                FailureKind::Crashed,
                "TooManyProcesses",
                format!(
                    "the function had more than {processes_max} processes and threads (processes_max), and all were killed"
                ),
            )
        })
    }

    /// The status in words, with the reason that is likely.
    pub(crate) fn in_words(&self) -> String {
        match self.status.signal() {
            Some(9) => format!(
                "{}; the system sends this signal when memory runs out",
                self.status
            ),
            // std's words name the signal and say whether it left a core file.
            _ => self.status.to_string(),
        }
    }
}

/// The worker lost its hold on a program that may have been healthy.
pub(crate) fn unattended(error: &io::Error) -> Failure {
    Failure::new(
        FailureKind::Crashed,
        "Unattended",
        format!("the worker could not attend to the program, and killed it: {error}"),
    )
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
        Some(Errno::OPNOTSUPP) => Some((
            "NotConfined",
            "this worker confines what it runs, and its kernel did not do so",
        )),
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
    use std::io::{Read as _, pipe};

    use super::*;

    #[test]
    fn a_dropped_process_takes_with_it_what_left_it() {
        let (mut out, stdout) = pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args([
                "-c",
                "setsid env -i sh -c '(echo $$; exec /bin/sleep 600)' & sleep 600",
            ])
            .env("PATH", "/usr/bin:/bin");
        let streams = Streams {
            stdin: None,
            stderr: stdout.try_clone().unwrap().into(),
            stdout: stdout.into(),
        };
        let process = Process::spawn(&command, streams, &Bounds::default(), None).unwrap();
        let mut first = [0; 16];
        let length = out.read(&mut first).unwrap();
        let pid = String::from_utf8_lossy(&first[..length]).trim().to_owned();

        drop(process);

        assert!(!pid.is_empty());
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    }
}
