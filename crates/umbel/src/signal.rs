//! SIGTERM and Ctrl-C: the first asks a process to finish, the second ends it.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{self, SignalKind};

use crate::exit::Exit;

/// Both signals, listened to from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    /// Only kept: where it is listened to, a write beyond the limit of a file's size is an error
    /// that can be told, like a full disk, and not the end of the process.
    _file_size: unix::Signal,
}

impl Signals {
    /// Listens: from here on neither signal ends the process by itself.
    pub(crate) fn listen() -> Result<Self, Exit> {
        let listen = |kind| {
            unix::signal(kind)
                .map_err(|error| Exit::internal(format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            _file_size: listen(SignalKind::from_raw(Signal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for the next signal of either kind.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs a drain to its end, unless another signal says that there is no time for it.
    pub(crate) async fn unless_again<T>(
        &mut self,
        drain: impl Future<Output = T>,
    ) -> Result<T, Exit> {
        tokio::select! {
            drained = drain => Ok(drained),
            () = self.next() => Err(Exit::interrupted("left at once, at the second signal")),
        }
    }
}

/// Lets the kernel kill this process when its parent ends, however that ends.
pub(crate) fn die_with(parent: Option<i32>) -> Result<(), Exit> {
    let Some(parent) = parent else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Exit::internal(format!("cannot follow the parent process: {error}")))?;
    // It may have ended before the kernel was asked.
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        return Err(Exit::interrupted("the parent process has ended"));
    }
    Ok(())
}
