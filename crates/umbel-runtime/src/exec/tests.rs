//! Real programs of a bare Debian, in all the ways in which they end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::context::testing::context;
use crate::context::{CancelFlag, Limits};

/// What no test should ever wait for.
const LONG: Duration = Duration::from_secs(60);

fn sh(script: &str) -> Program {
    Program::new(["/bin/sh", "-c", script]).unwrap()
}

fn run_with(
    program: &Program,
    input: &[u8],
    context: &Context<'_>,
) -> (Result<Vec<u8>, Failure>, Option<u64>) {
    let mut outputs = b"before".to_vec();
    let execution = run(program, input, &mut outputs, context);
    assert!(outputs.starts_with(b"before"));
    let own = outputs.split_off(b"before".len());
    assert!(execution.outcome.is_ok() || own.is_empty());
    (execution.outcome.map(|()| own), execution.cpu_us)
}

fn output(program: &Program, input: &[u8]) -> Result<String, Failure> {
    let cancel = CancelFlag::new();
    let (outcome, _) = run_with(program, input, &context(&cancel));
    outcome.map(|bytes| String::from_utf8(bytes).unwrap())
}

fn failure(program: &Program, input: &[u8]) -> Failure {
    output(program, input).unwrap_err()
}

/// Whether a process is there and alive; one that only waits to be reaped is not.
fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
        !matches!(state, Some(b'Z' | b'X'))
    })
}

fn wait_for_end(pid: &str) {
    let limit = Instant::now() + LONG;
    while is_alive(pid) {
        assert!(Instant::now() < limit, "process {pid} lives on");
        thread::yield_now();
    }
}

#[test]
fn the_input_goes_in_on_stdin_and_stdout_is_the_output() {
    assert_eq!(output(&sh("cat"), b"hello").unwrap(), "hello");
    assert_eq!(output(&sh("cat"), b"").unwrap(), "");
}

#[test]
fn one_final_newline_is_not_output() {
    assert_eq!(output(&sh("printf 'a\\n\\n'"), b"").unwrap(), "a\n");
    assert_eq!(output(&sh("printf '\\n'"), b"").unwrap(), "");
    assert_eq!(output(&sh("printf 'a\\nb'"), b"").unwrap(), "a\nb");
}

#[test]
fn an_argument_takes_the_input_and_leaves_stdin_empty() {
    let program = Program::new(["/bin/sh", "-c", "echo \"$1\"; cat", "sh", "<{}>"]).unwrap();
    assert_eq!(output(&program, b"a; b $HOME").unwrap(), "<a; b $HOME>");
}

#[test]
fn a_program_knows_its_invocation_and_little_else() {
    let program = sh("env | sort").with_variable("GREETING", "hi").unwrap();
    let environment = output(&program, b"").unwrap();
    let names: Vec<&str> = environment
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .collect();
    for expected in [
        "UMBEL_JOB_ID=job-1",
        "UMBEL_INDEX=7",
        "UMBEL_ATTEMPT=1",
        "GREETING=hi",
    ] {
        assert!(environment.lines().any(|line| line == expected));
    }
    // The tests run under cargo, whose variables must not leak.
    assert!(names.iter().all(|name| !name.starts_with("CARGO")));
}

#[test]
fn a_program_runs_in_its_working_directory() {
    let program = sh("pwd").with_working_dir("/usr");
    assert_eq!(output(&program, b"").unwrap(), "/usr");
}

#[test]
fn six_mebibytes_pass_both_ways_at_once() {
    let input = vec![b'x'; Limits::DEFAULT.output_bytes_max];
    let cancel = CancelFlag::new();
    let cat = Program::new(["cat"]).unwrap();
    let (outcome, _) = run_with(&cat, &input, &context(&cancel));
    assert!(outcome.unwrap() == input);
}

#[test]
fn a_program_need_not_read_its_input() {
    let input = vec![b'x'; 1024 * 1024];
    assert_eq!(output(&sh("exec 0<&-; echo done"), &input).unwrap(), "done");
}

#[test]
fn an_exit_code_is_a_failure_that_repeats_the_last_of_stderr() {
    let failure = failure(&sh("echo wrote; echo why >&2; exit 3"), b"");
    assert_eq!(failure.kind, FailureKind::Function);
    assert_eq!(failure.error_type, "ExitCode");
    assert_eq!(failure.message, "exit status: 3\nwhy");
    assert_eq!(failure.log, "why\n");
}

#[test]
fn only_the_last_of_a_long_stderr_is_kept() {
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&2; exit 1";
    let failure = failure(&sh(script), b"");
    assert_eq!(failure.log.len(), Limits::DEFAULT.stderr_bytes_max);
    assert!(failure.log.ends_with("line 19999\n"));
    assert!(failure.message.ends_with("line 19998\nline 19999"));
}

#[test]
fn a_signal_is_a_crash_that_names_it() {
    let failure = failure(&sh("kill -SEGV $$"), b"");
    assert_eq!(failure.kind, FailureKind::Crashed);
    assert!(failure.message.contains("SIGSEGV"), "{failure}");
}

#[test]
fn a_program_that_is_not_there_is_rejected_by_its_path() {
    let absent = Program::new(["/no/such/program"]).unwrap();
    let failure = failure(&absent, b"");
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert!(failure.message.contains("/no/such/program"), "{failure}");
}

#[test]
fn a_file_that_is_no_program_is_rejected_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script");
    let program = Program::new([path.to_str().unwrap()]).unwrap();
    for (content, mode, reason) in [
        ("#!/bin/sh\n", 0o644, "chmod +x"),
        ("#!/no/such/interpreter\n", 0o755, "interpreter"),
        ("echo no first line\n", 0o755, "#!/bin/sh"),
    ] {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let failure = failure(&program, b"");
        assert_eq!(failure.kind, FailureKind::Rejected, "{failure}");
        assert!(failure.message.contains(reason), "{failure}");
        assert!(failure.message.contains("script"), "{failure}");
    }
}

#[test]
fn a_program_that_prints_without_end_is_killed_at_the_limit() {
    let cancel = CancelFlag::new();
    let small = Context {
        limits: Limits {
            output_bytes_max: 100_000,
            ..Limits::DEFAULT
        },
        ..context(&cancel)
    };
    let mut outputs = Vec::new();
    let yes = Program::new(["yes"]).unwrap();

    let execution = run(&yes, b"", &mut outputs, &small);

    let failure = execution.outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Function);
    assert_eq!(failure.error_type, "OutputTooLarge");
    assert!(outputs.capacity() < 1_000_000);
}

#[test]
fn an_output_of_just_the_limit_and_a_newline_is_taken() {
    let cancel = CancelFlag::new();
    let small = Context {
        limits: Limits {
            output_bytes_max: 4,
            ..Limits::DEFAULT
        },
        ..context(&cancel)
    };
    let (outcome, _) = run_with(&sh("echo 1234"), b"", &small);
    assert_eq!(outcome.unwrap(), b"1234");
    let (outcome, _) = run_with(&sh("echo 12345"), b"", &small);
    assert_eq!(outcome.unwrap_err().error_type, "OutputTooLarge");
}

#[test]
fn a_timeout_kills_the_program_and_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let cancel = CancelFlag::new();
    let hurried = Context {
        deadline: Some(Instant::now() + Duration::from_millis(300)),
        ..context(&cancel)
    };
    let program = sh("sleep 600 & echo $! > child; sleep 600").with_working_dir(directory.path());
    let started = Instant::now();

    let (outcome, _) = run_with(&program, b"", &hurried);

    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(failure.message.contains(" ms"), "{failure}");
    assert!(started.elapsed() < LONG);
    let child = fs::read_to_string(directory.path().join("child")).unwrap();
    wait_for_end(child.trim());
}

#[test]
fn a_program_of_its_own_timeout_is_killed_by_it() {
    let hurried = sh("sleep 600").with_timeout(Duration::from_millis(200));
    let failure = failure(&hurried, b"");
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(failure.message.contains("200 ms"), "{failure}");
}

#[test]
fn a_program_lives_within_its_bounds_from_its_first_instruction_on() {
    let bounded = sh("ulimit -d; ulimit -n").with_bounds(crate::Bounds {
        memory_bytes_max: Some(100 * 1024 * 1024),
        files_max: Some(50),
        processes_max: None,
    });
    for _ in 0..20 {
        assert_eq!(output(&bounded, b"").unwrap(), "102400\n50");
    }
    // The same supervisor has none of its own.
    assert_ne!(output(&sh("ulimit -n"), b"").unwrap(), "50");
}

#[test]
fn a_program_cannot_raise_its_bounds() {
    let script = "sleep 0.1; ulimit -n 50 && ! ulimit -n 51 2>/dev/null && ulimit -H -n";
    let bounded = sh(script).with_bounds(crate::Bounds {
        files_max: Some(50),
        ..crate::Bounds::default()
    });
    assert_eq!(output(&bounded, b"").unwrap(), "50");
}

#[test]
fn a_bound_that_is_too_narrow_for_its_supervisor_is_kept_too() {
    let bounded = sh("ulimit -n").with_bounds(crate::Bounds {
        files_max: Some(3),
        ..crate::Bounds::default()
    });
    let limit = Instant::now() + LONG;
    // Set a moment after the start, in this case alone.
    while output(&bounded, b"").ok().as_deref() != Some("3") {
        assert!(Instant::now() < limit, "it is never bound");
    }
}

#[test]
fn one_that_takes_more_memory_than_it_may_fails() {
    let hog = Program::new(["/bin/sh", "-c", "x=x; while :; do x=$x$x; done"])
        .unwrap()
        .with_bounds(crate::Bounds {
            memory_bytes_max: Some(64 * 1024 * 1024),
            ..crate::Bounds::default()
        });
    let failure = failure(&hog, b"");
    assert_ne!(failure.kind, FailureKind::Timeout, "{failure}");
    assert_eq!(output(&sh("echo on"), b"").unwrap(), "on");
}

/// It ends by itself, at some 500 processes: a test that fails must not take the machine along.
const BOMB: &str =
    "b() { [ $1 -gt 0 ] || exec sleep 60; b $(($1 - 1)) & b $(($1 - 1)) & wait; }; b 8";

#[test]
fn a_fork_bomb_fails_alone() {
    let bomb = sh(BOMB).with_bounds(crate::Bounds {
        processes_max: Some(50),
        ..crate::Bounds::default()
    });
    let outcome = output(&bomb, b"");
    // Of another user than root the kernel itself lets no more be started; what its shell makes of
    // that is its own choice.
    if rustix::process::geteuid().is_root() {
        let failure = outcome.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
        assert_eq!(failure.error_type, "TooManyProcesses");
        assert!(failure.message.contains("50"), "{failure}");
    }
    assert_eq!(output(&sh("echo on"), b"").unwrap(), "on");
}

/// What forks twice, leaves its session and wipes its environment.
fn escape(path: &str) -> String {
    format!(
        "(setsid env -i /bin/sh -c '(echo $$ > {path}.new; mv {path}.new {path}; exec /bin/sleep 600) & wait' &)
         until [ -s {path} ]; do sleep 0.01; done"
    )
}

#[test]
fn nobody_escapes_by_a_session_and_an_environment_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("far");
    let script = escape(path.to_str().unwrap());
    let cancel = CancelFlag::new();
    for (script, hurried, error_type) in [
        (script.clone(), false, None),
        (format!("{script}; exit 3"), false, Some("ExitCode")),
        (format!("{script}; kill -9 $$"), false, Some("Signal")),
        (format!("{script}; sleep 600"), true, Some("Timeout")),
    ] {
        let context = Context {
            deadline: hurried.then(|| Instant::now() + Duration::from_secs(2)),
            ..context(&cancel)
        };

        let (outcome, _) = run_with(&sh(&script), b"", &context);

        let ended = outcome.err().map(|failure| failure.error_type);
        assert_eq!(ended.as_deref(), error_type, "{script}");
        let pid = fs::read_to_string(&path).unwrap();
        assert!(!is_alive(pid.trim()), "{script}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn one_that_stops_its_supervisor_is_killed_nevertheless() {
    let program = sh("kill -STOP $PPID; sleep 600").with_timeout(Duration::from_millis(200));
    assert_eq!(failure(&program, b"").kind, FailureKind::Timeout);
}

#[test]
fn one_that_kills_its_supervisor_is_a_failure_and_the_next_runs() {
    let failure = failure(&sh("kill -9 $PPID"), b"");
    assert_eq!(failure.error_type, "Unattended");
    assert!(failure.message.contains("supervisor"), "{failure}");
    assert_eq!(output(&sh("echo on"), b"").unwrap(), "on");
}

#[test]
fn a_cancelled_program_is_killed_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    // One that stays in the group, one that leaves it, and one that leaves all there is.
    let script = format!(
        "sleep 600 & echo $! > new; mv new near
        setsid sh -c 'echo $$ > newer; mv newer far; exec sleep 600' & {}; sleep 600",
        escape("farthest")
    );
    let paths = ["near", "far", "farthest"].map(|name| directory.path().join(name));
    let cancel = Arc::new(CancelFlag::new());
    let slot = thread::spawn({
        let cancel = Arc::clone(&cancel);
        let program = sh(&script).with_working_dir(directory.path());
        move || run_with(&program, b"", &context(&cancel)).0
    });
    let limit = Instant::now() + LONG;
    while !paths.iter().all(|path| path.exists()) {
        assert!(Instant::now() < limit, "the program never started");
        thread::yield_now();
    }

    cancel.set();

    assert_eq!(slot.join().unwrap().unwrap_err().error_type, "Cancelled");
    for path in paths {
        assert!(!is_alive(fs::read_to_string(path).unwrap().trim()));
    }
}

#[test]
fn nothing_is_started_for_work_that_is_already_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let cancel = CancelFlag::new();
    cancel.set();
    let program = sh("touch ran").with_working_dir(directory.path());

    let (outcome, _) = run_with(&program, b"", &context(&cancel));

    assert_eq!(outcome.unwrap_err().error_type, "Cancelled");
    assert!(!directory.path().join("ran").exists());
}

#[test]
fn what_a_program_leaves_in_the_background_ends_with_it() {
    let started = Instant::now();
    let pid = output(&sh("sleep 600 & echo $!"), b"").unwrap();
    assert!(started.elapsed() < LONG);
    wait_for_end(&pid);
}

#[test]
fn one_that_left_the_group_and_holds_stdout_open_does_not_hold_the_answer() {
    let started = Instant::now();
    let pid = output(&sh("setsid sleep 120 & echo $!"), b"").unwrap();
    assert!(started.elapsed() < LONG);
    assert!(!is_alive(&pid));
}

#[test]
fn the_cpu_of_a_program_is_measured() {
    let cancel = CancelFlag::new();
    let busy = sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done");
    let (outcome, cpu_us) = run_with(&busy, b"", &context(&cancel));
    outcome.unwrap();
    assert!(cpu_us.unwrap() > 1_000, "{cpu_us:?} us");
}

#[test]
fn a_program_has_a_directory_of_its_own_that_goes_with_it() {
    let cancel = CancelFlag::new();
    let script = sh("echo x > \"$TMPDIR/file\" && echo \"$TMPDIR\"");
    let (outcome, _) = run_with(&script, b"", &context(&cancel));
    let scratch = String::from_utf8(outcome.unwrap()).unwrap();
    assert!(scratch.contains("/invocation-"), "{scratch}");
    assert!(!std::fs::exists(scratch).unwrap());
}

#[test]
fn a_program_gains_no_privileges() {
    let cancel = CancelFlag::new();
    let script = sh("grep NoNewPrivs /proc/self/status");
    let (outcome, _) = run_with(&script, b"", &context(&cancel));
    assert_eq!(outcome.unwrap(), b"NoNewPrivs:\t1");
}
