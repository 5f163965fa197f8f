//! What processes have used, as the kernel tells it in `/proc`.

use std::time::Duration;

/// CPU time, user and system, of a process and of its children that have ended.
///
/// The kernel tells it twice: for the process in hundredths of a second, and for each living
/// thread in nanoseconds. Neither is ever too much, so the larger one is nearer to the truth.
pub(super) fn cpu(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let ticks = cpu_ticks(&text)?;
    let per_second = rustix::param::clock_ticks_per_second();
    let whole = Duration::from_micros(ticks * 1_000_000 / per_second.max(1));
    Some(threads_cpu(process).map_or(whole, |threads| threads.max(whole)))
}

fn threads_cpu(process: u32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let of = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ')
            .next()?
            .parse()
            .ok()
            .map(Duration::from_nanos)
    };
    Some(threads.flatten().filter_map(of).sum())
}

/// The largest part of memory that a process has held, in bytes.
pub(super) fn memory_peak(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status_kib(&text, "VmHWM:").map(|kib| kib * 1024)
}

/// `utime`, `stime`, `cutime` and `cstime`: fields 14 to 17 of proc(5).
fn cpu_ticks(stat: &str) -> Option<u64> {
    // Field 2, the name, may hold blanks and parentheses; all behind the last one is plain.
    let (_, fields) = stat.rsplit_once(") ")?;
    let times: Option<Vec<u64>> = fields
        .split(' ')
        .skip(11)
        .take(4)
        .map(|field| field.parse().ok())
        .collect();
    times
        .filter(|times| times.len() == 4)
        .map(|times| times.iter().sum())
}

fn status_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 90 0 0 0 100 20 3 4 20 0 9 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(127));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_told_in_kib() {
        assert_eq!(
            status_kib("Name:\tumbel\nVmHWM:\t  4096 kB\n", "VmHWM:"),
            Some(4_096)
        );
        assert_eq!(status_kib("Name:\tumbel\n", "VmHWM:"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(memory_peak(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert!(cpu(std::process::id()).is_some());
    }
}
