//! The life of a supervisor: one program after another, and nothing left behind by any.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, geteuid, getpid, getpriority_process, pidfd_open, set_child_subreaper,
    setpriority_process,
};
use rustix::thread::set_no_new_privs;

use super::bounds::{Bounds, Crowd};
use super::message::{Order, Report, Request, Streams};
use super::{confine, measure, tree};

/// How the name of a worker's scratch directory begins.
pub(super) const SCRATCH_PREFIX: &str = "umbel-";
/// How often a running program's processes are counted.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// How often the scratch directory is tried to be removed while other supervisors of the worker
/// still end programs that write into it; and the time between.
const REMOVALS_MAX: usize = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// Why a program is attended to no longer.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Exited,
    Killed,
    Overgrown,
    /// The worker asks this process to end.
    Leave,
    /// The worker is gone.
    Alone,
}

/// The whole life of a supervisor, in a process that does nothing else: starts what the worker at
/// the other end of `socket` asks for, one program at a time, and kills all that descends from it
/// when it ends, when it is told to, and when the worker is gone, for whatever reason. Then it
/// also removes `scratch`.
///
/// The process becomes a subreaper, and neither it nor what it starts gains privileges.
///
/// # Errors
/// When the process cannot be a supervisor, what is handed in is no socket of a worker, or `scratch`
/// is there and cannot be removed.
pub fn supervise(socket: OwnedFd, scratch: &Path) -> io::Result<()> {
    let socket = UnixStream::from(socket);
    // Anything else would look like a worker that is gone.
    socket.local_addr()?;
    set_child_subreaper(Some(getpid()))?;
    // None is to be had for a function that its worker does not have.
    set_no_new_privs(true)?;
    let mut crowd = Crowd::default();
    loop {
        let stop = match Request::receive(&socket) {
            Ok(Some(Request::Start(order, streams))) => run(&socket, &order, streams, &mut crowd),
            // It has ended in the meantime.
            Ok(Some(Request::Kill)) => Stop::Killed,
            Ok(Some(Request::Leave)) => Stop::Leave,
            Ok(None) => Stop::Alone,
            Err(error) if is_end(&error) => Stop::Alone,
            // The worker is there, and may have other supervisors that use the scratch directory.
            Err(error) => return Err(error),
        };
        match stop {
            Stop::Exited | Stop::Killed | Stop::Overgrown => {}
            Stop::Leave => return Ok(()),
            Stop::Alone => return remove(scratch),
        }
    }
}

/// Whether the other side went away with something unsaid or unread.
fn is_end(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::ConnectionReset || kind == io::ErrorKind::UnexpectedEof
}

/// Runs one program; nothing of it is left.
fn run(socket: &UnixStream, order: &Order, streams: Streams, crowd: &mut Crowd) -> Stop {
    let started = spawn(order, streams, crowd.count()).and_then(|child| {
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok((pid, pidfd)),
            Err(error) => {
                tree::end_all(None);
                Err(error.into())
            }
        }
    });
    let (pid, pidfd) = match started {
        Ok(started) => started,
        Err(error) => {
            // A program that was started and could not be bound.
            tree::end_all(None);
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            return answered(socket, Report::Failed(errno), Stop::Exited);
        }
    };
    // Nobody may be there any more; the socket tells that below.
    let _alone = Report::Started(pid.as_raw_pid()).send(socket);
    let mut raised = None;
    let stop = attend(socket, pid, &pidfd, &order.bounds, &mut raised);
    // Before it is reaped, as long as there is something to read.
    let cpu_us = measure::cpu_us(pid);
    let status = tree::end_all(Some(pid));
    drop(raised);
    let status = status.map_or_else(|| ExitStatus::from_raw(9).into_raw(), |it| it.as_raw());
    let report = Report::Ended {
        status,
        cpu_us,
        overgrown: stop == Stop::Overgrown,
    };
    answered(socket, report, stop)
}

/// The highest priority, as long as a program runs that is not done at once.
#[derive(Debug)]
struct Priority {
    before: i32,
}

impl Priority {
    fn raise() -> Self {
        let before = getpriority_process(None).unwrap_or(0);
        let _not_root = setpriority_process(None, -20);
        Self { before }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        // A program starts with the priority of its supervisor.
        let _not_root = setpriority_process(None, self.before);
    }
}

fn answered(socket: &UnixStream, report: Report, stop: Stop) -> Stop {
    // Who does not listen any more may be gone, or has asked this process to leave: the next
    // request, or the end of the socket, tells.
    let _unheard = report.send(socket);
    stop
}

fn spawn(order: &Order, streams: Streams, of_user: u64) -> io::Result<Child> {
    let mut command = Command::new(&order.program);
    command
        .args(&order.arguments)
        .env_clear()
        .envs(order.variables.iter().map(|(name, value)| (name, value)))
        .stdin(streams.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(streams.stdout)
        .stderr(streams.stderr)
        // A signal to its own group, as shells send it, is not for its supervisor.
        .process_group(0);
    if let Some(working_dir) = &order.working_dir {
        command.current_dir(working_dir);
    }
    let mut start = || order.bounds.spawn(&mut command, of_user);
    match &order.reach {
        Some(reach) => confine::within(reach, start),
        None => start(),
    }
}

/// Waits until the program ends or has to.
fn attend(
    socket: &UnixStream,
    pid: Pid,
    pidfd: &OwnedFd,
    bounds: &Bounds,
    raised: &mut Option<Priority>,
) -> Stop {
    loop {
        let mut both = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(pidfd, PollFlags::IN),
        ];
        match poll(&mut both, Some(&LOOK)) {
            Ok(0) => {
                // A supervisor that shares the CPU with a thousand processes does not outrun them.
                // Only root may do this; others have RLIMIT_NPROC.
                raised.get_or_insert_with(Priority::raise);
                tree::reap_adopted(pid);
                if tree::is_over(bounds.processes_max()) {
                    return Stop::Overgrown;
                }
                continue;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Stop::Killed,
        }
        let [asked, ended] = both.map(|one| !one.revents().is_empty());
        if ended {
            return Stop::Exited;
        }
        if asked {
            return match Request::receive(socket) {
                Ok(Some(Request::Kill)) => Stop::Killed,
                Ok(Some(Request::Leave)) => Stop::Leave,
                // A second program is never asked for while one runs. The end of the socket is
                // read again when nothing is left of the program.
                Ok(Some(Request::Start(..)) | None) | Err(_) => Stop::Killed,
            };
        }
    }
}

fn remove(scratch: &Path) -> io::Result<()> {
    // Never what was not made for this.
    let name = scratch.file_name().map(OsStr::as_encoded_bytes);
    let is_named = name.is_some_and(|name| name.starts_with(SCRATCH_PREFIX.as_bytes()));
    let is_own = fs::symlink_metadata(scratch)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
    if !(is_named && is_own) {
        return Ok(());
    }
    let mut left = Ok(());
    for _ in 0..REMOVALS_MAX {
        match fs::remove_dir_all(scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => left = Err(error),
            _ => return Ok(()),
        }
        thread::sleep(REMOVAL_PAUSE);
    }
    left
}
