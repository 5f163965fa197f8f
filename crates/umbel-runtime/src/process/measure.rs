//! What a program has used.

use std::fs;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid as RawPid;
use rustix::param::clock_ticks_per_second;
use rustix::process::Pid;

/// The CPU time of a program that ended and is not reaped, with that of the children that it
/// waited for. `stat` knows all of it, in steps of some 10 ms; `schedstat` knows the program's
/// first thread alone, in nanoseconds. The larger is the truer: the first serves long programs,
/// the second the short ones. (The exact figure of wait4(2) has no safe binding in std or rustix.)
pub(super) fn cpu_us(pid: Pid) -> Option<u64> {
    let read = |name| fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_pid())).ok();
    let fine = read("schedstat").and_then(|text| schedstat_us(&text));
    let coarse = read("stat").and_then(|text| stat_us(&text, clock_ticks_per_second()));
    fine.max(coarse)
}

/// The CPU time of all threads of a program that runs, without its children's: of a warm process,
/// what one invocation has used is the difference.
pub(super) fn running_cpu_us(pid: i32) -> Option<u64> {
    let clock = clock_getcpuclockid(RawPid::from_raw(pid)).ok()?;
    let used = Duration::from(clock_gettime(clock).ok()?);
    u64::try_from(used.as_micros()).ok()
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
    fn the_cpu_of_a_running_program_grows_with_its_work() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = running_cpu_us(own).unwrap();
        while running_cpu_us(own).unwrap() < before + 2_000 {}
        // Above the kernel's own bound of process numbers, so nobody's.
        assert_eq!(running_cpu_us(4_194_305), None);
    }

    #[test]
    fn the_cpu_of_a_program_counts_its_children_whatever_its_name() {
        let stat = "42 (a) b (c) R 1 42 42 0 -1 4194304 9 8 7 6 1 2 3 4 20 0 1 0 99";
        assert_eq!(stat_us(stat, 100), Some(100_000));
        assert_eq!(stat_us("42 (cut", 100), None);
        assert_eq!(schedstat_us("1234567 89 10\n"), Some(1_234));
        assert_eq!(schedstat_us(""), None);
    }
}
