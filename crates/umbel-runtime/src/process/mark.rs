//! A mark in the environment of each process that is started, which its children inherit.
//!
//! A process group is left by whoever calls `setsid`; the mark stays. So a function that puts a
//! child in the background is found again when its invocation or its worker ends. A process that
//! wipes its environment as well is out of reach without a control group.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

/// The variable that bears the mark.
pub(crate) const VARIABLE: &str = "UMBEL_PROCESS";
/// Who is found may have made another in the meantime: so often is looked again.
const ROUNDS_MAX: usize = 100;
/// How long a killed process is given to be gone before the next look.
const ROUND_PAUSE: Duration = Duration::from_millis(2);

/// One process's mark: the worker's, and a number.
#[derive(Debug, Clone)]
pub(crate) struct Mark(String);

impl Mark {
    /// A mark that no other process on this machine has had.
    pub(super) fn next() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}{number}", of_worker()))
    }

    /// The mark as it stands in the environment.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// What all marks of this process's children begin with.
pub(crate) fn of_worker() -> &'static str {
    static WORKER: OnceLock<String> = OnceLock::new();
    WORKER.get_or_init(|| {
        // Process numbers come again, the moment does not.
        let moment = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        format!("{}-{moment:x}.", std::process::id())
    })
}

/// Kills what bears this very mark.
pub(super) fn kill_bearers(mark: &Mark) {
    kill_while_found(&format!("{VARIABLE}={mark}\0", mark = mark.text()));
}

/// Kills what bears any mark of the worker whose marks begin so.
pub(crate) fn kill_bearers_of(worker: &str) {
    kill_while_found(&format!("{VARIABLE}={worker}"));
}

fn kill_while_found(variable: &str) {
    for _ in 0..ROUNDS_MAX {
        let bearers = bearers(variable.as_bytes());
        if bearers.is_empty() {
            return;
        }
        for pid in bearers {
            // The only error that matters, that it is gone, is what was wanted.
            let _gone = kill_process(pid, Signal::KILL);
        }
        thread::sleep(ROUND_PAUSE);
    }
}

/// The processes of this user whose environment holds `variable`. Those that have ended and wait
/// to be reaped show no environment, and so are not among them.
fn bearers(variable: &[u8]) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let number: i32 = entry.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let found = environment.starts_with(variable)
                || contains(&environment, &[b"\0", variable].concat());
            found.then(|| Pid::from_raw(number)).flatten()
        })
        .collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn whoever_left_its_group_is_found_by_its_mark_and_nobody_else_is() {
        let (marked, other) = (Mark::next(), Mark::next());
        let start = |mark: &Mark| {
            Command::new("setsid")
                .args(["sleep", "600"])
                .env(VARIABLE, mark.text())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut found = start(&marked);
        let mut left = start(&other);

        kill_bearers(&marked);

        assert!(!found.wait().unwrap().success());
        assert!(left.try_wait().unwrap().is_none());
        kill_bearers(&other);
        left.wait().unwrap();
    }
}
