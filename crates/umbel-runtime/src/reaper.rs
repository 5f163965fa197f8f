//! Nothing that was started here outlives this process, not even after `kill -9`.
//!
//! A process that is killed cannot clean up, so another does it: a reaper, told of each process
//! group that begins and ends, at the other end of a pipe. When the pipe closes, for whatever
//! reason, it kills the groups that are left. (The kernel's parent-death signal would not do: it
//! follows the *thread* that forked, and does not reach grandchildren.)

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::process::mark;

/// Ends what is left of a process's children when the process itself has ended.
pub trait Reaper: fmt::Debug + Send + Sync {
    /// A process group has begun.
    fn watch(&self, group: i32);
    /// The group has been killed; its number may soon be another's.
    fn release(&self, group: i32);
    /// The directory that is removed with the process; scratch directories lie in it.
    fn scratch(&self) -> &Path;
}

static INSTALLED: OnceLock<Box<dyn Reaper>> = OnceLock::new();

/// Puts every process that this process starts from now on, for any function, under a reaper.
///
/// There is one for the whole process and not one for each catalog, since what it answers for,
/// the end of the process, is the same for all of them.
///
/// # Errors
/// Gives the reaper back when there is one already.
pub fn install_reaper(reaper: Box<dyn Reaper>) -> Result<(), Box<dyn Reaper>> {
    INSTALLED.set(reaper)
}

pub(crate) fn watch(group: Pid) {
    if let Some(reaper) = INSTALLED.get() {
        reaper.watch(group.as_raw_pid());
    }
}

pub(crate) fn release(group: Pid) {
    if let Some(reaper) = INSTALLED.get() {
        reaper.release(group.as_raw_pid());
    }
}

/// Where scratch directories are made.
pub(crate) fn scratch_root() -> PathBuf {
    INSTALLED
        .get()
        .map_or_else(std::env::temp_dir, |reaper| reaper.scratch().to_owned())
}

/// A [`Reaper`] that is a process of its own; its `main` is [`reap`].
#[derive(Debug)]
pub struct ReaperProcess {
    command: Mutex<Command>,
    scratch: TempDir,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The groups that live, so that a reaper which was killed can have a successor.
    groups: BTreeSet<i32>,
    /// None when a successor could not be started either.
    reaper: Option<(Child, ChildStdin)>,
}

impl ReaperProcess {
    /// Starts the process. `command` must do no more than call [`reap`] on its stdin and what
    /// are appended to its arguments: two words.
    ///
    /// # Errors
    /// When no process can be started or no scratch directory be made.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("umbel-").tempdir()?;
        command
            .arg(mark::of_worker())
            .arg(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C in a terminal is for the worker: the reaper follows when that has ended.
            .process_group(0);
        let reaper = spawn(&mut command)?;
        Ok(Self {
            command: Mutex::new(command),
            scratch,
            state: Mutex::new(State {
                groups: BTreeSet::new(),
                reaper: Some(reaper),
            }),
        })
    }

    fn tell(&self, change: impl FnOnce(&mut BTreeSet<i32>), line: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.groups);
        let told = state
            .reaper
            .as_mut()
            .is_some_and(|(_, pipe)| pipe.write_all(line.as_bytes()).is_ok());
        if !told {
            let killed = state.reaper.take();
            state.reaper = self.successor(&state.groups, killed);
        }
    }

    /// A reaper that was killed is replaced, and its successor told all there is to know.
    fn successor(
        &self,
        groups: &BTreeSet<i32>,
        killed: Option<(Child, ChildStdin)>,
    ) -> Option<(Child, ChildStdin)> {
        if let Some((mut child, pipe)) = killed {
            drop(pipe);
            child.wait().ok()?;
        }
        let mut command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        let (child, mut pipe) = spawn(&mut command).ok()?;
        let lines: String = groups.iter().map(|group| begun(*group)).collect();
        pipe.write_all(lines.as_bytes()).ok()?;
        Some((child, pipe))
    }
}

fn spawn(command: &mut Command) -> io::Result<(Child, ChildStdin)> {
    let mut child = command.spawn()?;
    let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((child, pipe))
}

fn begun(group: i32) -> String {
    format!("+{group}\n")
}

impl Reaper for ReaperProcess {
    fn watch(&self, group: i32) {
        let change = |groups: &mut BTreeSet<i32>| {
            groups.insert(group);
        };
        self.tell(change, &begun(group));
    }

    fn release(&self, group: i32) {
        let change = |groups: &mut BTreeSet<i32>| {
            groups.remove(&group);
        };
        self.tell(change, &format!("-{group}\n"));
    }

    fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

/// The whole life of a reaper: reads from `pipe` which groups begin and end; at its end kills
/// what is left, finds by their mark those that left their group (`worker` is the beginning of
/// all marks), and removes the scratch directory.
///
/// # Errors
/// When the scratch directory is there and cannot be removed.
pub fn reap(pipe: impl Read, worker: &str, scratch: &Path) -> io::Result<()> {
    let mut groups = BTreeSet::new();
    for line in BufReader::new(pipe).lines() {
        // A pipe that cannot be read is as good as closed.
        let Ok(line) = line else { break };
        let Some((sign, number)) = line.split_at_checked(1) else {
            continue;
        };
        match (sign, number.parse::<i32>()) {
            // Group 1 would stand for every process there is.
            ("+", Ok(group)) if group > 1 => groups.insert(group),
            ("-", Ok(group)) => groups.remove(&group),
            _ => false,
        };
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // The only error is that no process of the group is left.
        let _gone = kill_process_group(group, Signal::KILL);
    }
    // An empty beginning would be that of every worker's marks.
    if !worker.is_empty() {
        mark::kill_bearers_of(worker);
    }
    match std::fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep")
            .arg("600")
            .process_group(0)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn was_killed(status: ExitStatus) -> bool {
        !status.success() && status.code().is_none()
    }

    #[test]
    fn what_is_left_when_the_pipe_closes_is_killed_and_what_was_released_is_not() {
        let (mut left, mut released) = (sleeper(), sleeper());
        let root = tempfile::tempdir().unwrap();
        let scratch = root.path().join("scratch");
        std::fs::create_dir_all(scratch.join("inner")).unwrap();
        let story = format!("+{0}\n+{1}\nnonsense\n\n-{1}\n", left.id(), released.id());

        reap(story.as_bytes(), "no-such-worker.", &scratch).unwrap();

        assert!(was_killed(left.wait().unwrap()));
        assert!(released.try_wait().unwrap().is_none());
        assert!(!scratch.exists());
        released.kill().unwrap();
        released.wait().unwrap();
    }

    #[test]
    fn a_reaper_that_was_killed_has_a_successor_that_knows_all() {
        let heard = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "exec cat > \"$0/$$\""])
            .arg(heard.path())
            .current_dir(heard.path());
        let reaper = ReaperProcess::start(command).unwrap();
        reaper.watch(11);
        {
            let mut state = reaper.state.lock().unwrap();
            let (child, _) = state.reaper.as_mut().unwrap();
            rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL).unwrap();
            child.wait().unwrap();
        }

        reaper.watch(12);

        let (mut child, pipe) = reaper.state.lock().unwrap().reaper.take().unwrap();
        drop(pipe);
        child.wait().unwrap();
        let heard = std::fs::read_to_string(heard.path().join(child.id().to_string())).unwrap();
        assert_eq!(heard, "+11\n+12\n");
    }
}
