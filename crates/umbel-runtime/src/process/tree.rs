//! The processes that descend from this one, and their end.
//!
//! A supervisor is a *subreaper*: whoever loses its parent becomes its child. So all that a
//! function ever started hangs below it, whatever became of sessions, groups and environments, and
//! nothing is left exactly when the kernel says that it has no child.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait, waitpid};

/// How often is looked for processes that were not stopped yet, before the others are killed.
const ROUNDS_MAX: usize = 1_000;
/// Between two attempts to kill; what cannot be killed for now (it waits for a disk, say) is tried
/// for ever, ever more slowly.
const PAUSE_MIN: Duration = Duration::from_micros(200);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Kills and reaps all descendants. Answers the status of `program`, one of them, if that was not
/// reaped before.
pub(super) fn end_all(program: Option<Pid>) -> Option<WaitStatus> {
    let mut status = None;
    let mut pause = PAUSE_MIN;
    loop {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, ended))) if Some(pid) == program => status = Some(ended),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                // There is no child, and so no descendant.
                Err(_) => return status,
            }
        }
        kill_all();
        thread::sleep(pause);
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// Stops all descendants, each before its children are looked for, until there is none that was
/// not stopped, and kills them. Killed at once, some would have the time to start others.
///
/// (That a number is another's by the time it is killed would take all numbers to be used up
/// between a look and the next line.)
fn kill_all() {
    let mut stopped = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let before = stopped.len();
        let mut next = children(getpid()).1;
        let mut seen = BTreeSet::new();
        while let Some(pid) = next.pop() {
            if seen.insert(pid.as_raw_nonzero()) {
                if stopped.insert(pid.as_raw_nonzero()) {
                    // The only error is that it has ended.
                    let _gone = kill_process(pid, Signal::STOP);
                }
                next.extend(children(pid).1);
            }
        }
        if stopped.len() == before {
            break;
        }
    }
    for pid in stopped {
        if let Some(pid) = Pid::from_raw(pid.get()) {
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

/// Reaps the adopted that have ended; `program` is left.
pub(super) fn reap_adopted(program: Pid) {
    for child in children(getpid()).1 {
        if child != program {
            let _running = waitpid(Some(child), WaitOptions::NOHANG);
        }
    }
}

/// Whether this process's descendants have more threads than that, at least one each. Who changes
/// its parent meanwhile may be missed.
pub(super) fn is_over(threads_max: u64) -> bool {
    let mut threads = 0_u64;
    let mut seen = BTreeSet::new();
    let mut next = children(getpid()).1;
    while let Some(pid) = next.pop() {
        if threads > threads_max {
            return true;
        }
        if seen.insert(pid.as_raw_nonzero()) {
            let (own, children) = children(pid);
            threads += own.max(1);
            next.extend(children);
        }
    }
    threads > threads_max
}

/// How many threads the processes of this process's user have.
pub(super) fn threads_of_user() -> u64 {
    let (Ok(all), Ok(own)) = (fs::read_dir("/proc"), fs::metadata("/proc/self")) else {
        return 0;
    };
    all.flatten()
        .filter(|entry| entry.metadata().is_ok_and(|it| it.uid() == own.uid()))
        // A directory has a link for each that is in it, and two of its own.
        .filter_map(|entry| fs::metadata(entry.path().join("task")).ok())
        .map(|tasks| tasks.nlink().saturating_sub(2))
        .sum()
}

/// How many threads a process has, and their children.
fn children(of: Pid) -> (u64, Vec<Pid>) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", of.as_raw_pid())) else {
        return (0, Vec::new());
    };
    let (mut threads, mut children) = (0, Vec::new());
    for task in tasks.flatten() {
        threads += 1;
        match fs::read_to_string(task.path().join("children")) {
            Ok(numbers) => children.extend(numbers.split_whitespace().filter_map(pid)),
            // Told apart from a thread that has ended: a kernel without such files.
            Err(_) if task.path().exists() => return (threads, children_by_parent(of)),
            Err(_) => {}
        }
    }
    (threads, children)
}

/// The same from all processes there are, which takes longer.
fn children_by_parent(of: Pid) -> Vec<Pid> {
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let is_parent = |stat: &str| {
        // The name in parentheses may hold anything; then come the state and the parent.
        let (_, after_name) = stat.rsplit_once(')')?;
        let parent = after_name.split_ascii_whitespace().nth(1).and_then(pid)?;
        (parent == of).then_some(())
    };
    all.flatten()
        .filter_map(|entry| {
            let child = pid(entry.file_name().to_str()?)?;
            is_parent(&fs::read_to_string(entry.path().join("stat")).ok()?)?;
            Some(child)
        })
        .collect()
}

fn pid(number: &str) -> Option<Pid> {
    Pid::from_raw(number.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn children_are_found_by_either_way() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::from_child(&child);

        assert!(children(getpid()).1.contains(&pid));
        assert!(children_by_parent(getpid()).contains(&pid));
        assert_eq!(children(pid), (1, Vec::new()));

        child.kill().unwrap();
        child.wait().unwrap();
    }
}
