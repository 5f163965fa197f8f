//! A worker's side of its supervisors: the processes that start and end all others for it.
//!
//! A process that is killed cannot clean up, so what could outlive it is the child of another
//! that can. Each program runs under a supervisor ([`supervise`](super::supervise::supervise)),
//! which is used again for the next one, so that a program costs no second start. (The kernel's
//! parent-death signal would not do: it follows the *thread* that forked, and does not reach
//! grandchildren.)

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::message::{Report, Request};
use super::supervise::SCRATCH_PREFIX;

/// So many stay ready when they have nothing to do.
const IDLE_MAX: usize = 32;
/// How often, and how long each time, a supervisor is waited for before it is taken for broken.
const REPORT_ROUNDS_MAX: usize = 30;
const REPORT_ROUND: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// All supervisors of this process.
#[derive(Debug)]
struct Supervision {
    command: Mutex<Command>,
    scratch: TempDir,
    idle: Mutex<Vec<Supervisor>>,
}

static INSTALLED: OnceLock<Supervision> = OnceLock::new();

/// Says how this process starts its supervisors, without which it runs no function that is a
/// process. `command` must do no more than call [`supervise`](crate::supervise) on its stdin and
/// what is appended to its arguments: a directory, which is removed with this process.
///
/// It is for the whole process and not for each catalog, since what it answers for, the end of
/// the process, is the same for all of them.
///
/// # Errors
/// When none can be started, or it was said before (`AlreadyExists`).
pub fn install_supervisor(mut command: Command) -> io::Result<()> {
    let scratch = tempfile::Builder::new().prefix(SCRATCH_PREFIX).tempdir()?;
    command
        .arg(scratch.path())
        .stdout(Stdio::null())
        // Ctrl-C in a terminal is for the worker: the supervisor follows when that has ended.
        .process_group(0);
    // The first is there for the directory's sake, even if nothing is ever started.
    let first = Supervisor::start(&mut command)?;
    let supervision = Supervision {
        command: Mutex::new(command),
        scratch,
        idle: Mutex::new(vec![first]),
    };
    INSTALLED
        .set(supervision)
        .map_err(|_| io::ErrorKind::AlreadyExists.into())
}

fn installed() -> Option<&'static Supervision> {
    #[cfg(test)]
    crate::testing::install_supervisor();
    INSTALLED.get()
}

/// Where scratch directories are made.
pub(crate) fn scratch_root() -> PathBuf {
    installed().map_or_else(std::env::temp_dir, |it| it.scratch.path().to_owned())
}

/// One supervisor, which runs nothing or what its holder asked for.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Child,
    socket: UnixStream,
}

impl Supervisor {
    /// One that is ready, or a new one; `fresh` asks for a new one.
    pub(super) fn take(fresh: bool) -> io::Result<Self> {
        let supervision = installed().ok_or_else(|| {
            io::Error::other("this process has no supervisor (umbel_runtime::install_supervisor)")
        })?;
        let idle = (!fresh).then(|| lock(&supervision.idle).pop()).flatten();
        idle.map_or_else(|| Self::start(&mut lock(&supervision.command)), Ok)
    }

    /// Keeps it for the next program; nothing runs.
    pub(super) fn put_back(self) {
        if let Some(supervision) = installed() {
            let mut idle = lock(&supervision.idle);
            if idle.len() < IDLE_MAX {
                idle.push(self);
                return;
            }
        }
        self.dismiss();
    }

    fn start(command: &mut Command) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        command.stdin(OwnedFd::from(theirs));
        let child = command.spawn();
        // The command would keep its end open.
        command.stdin(Stdio::null());
        Ok(Self {
            child: child?,
            socket,
        })
    }

    /// Lets it end all that it runs, and itself; nobody waits for that.
    pub(super) fn dismiss(self) {
        // If it is gone already, so much the better.
        let _gone = Request::Leave.send(&self.socket);
        self.wake();
        let _burial = thread::Builder::new()
            .name("umbel-supervisor".to_owned())
            .spawn(move || {
                // Its socket is open until then: a closed one would say that the worker is gone.
                let mut leaving = self;
                leaving.child.wait()
            });
    }

    pub(super) fn ask(&self, request: &Request) -> io::Result<()> {
        request.send(&self.socket)
    }

    /// Wakes it: it runs as the same user as the program, which may have stopped it.
    pub(super) fn wake(&self) {
        let _gone = kill_process(Pid::from_child(&self.child), Signal::CONT);
    }

    /// Waits for the next report.
    pub(super) fn report(&self) -> io::Result<Report> {
        for _ in 0..REPORT_ROUNDS_MAX {
            let mut reported = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut reported, Some(&REPORT_ROUND)) {
                Ok(0) => self.wake(),
                Err(Errno::INTR) => {}
                Ok(_) => return Report::receive(&self.socket),
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl AsFd for Supervisor {
    /// Readable when there is a report, or never will be one.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics under these locks; if something did, the state would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
