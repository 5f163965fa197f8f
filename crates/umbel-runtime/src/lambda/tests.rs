//! Real interpreters, in all the ways in which a function answers or does not.

mod node;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Instant;

use super::*;
use crate::context::testing::context;
use crate::context::{CancelFlag, Limits};
use crate::failure::FailureKind;
use crate::testing::tool;

/// What no test should ever wait for.
const LONG: Duration = Duration::from_secs(60);

/// A function with its folder, which lives as long.
struct Case {
    lambda: Lambda,
    _folder: tempfile::TempDir,
}

fn python(test: &str, source: &str) -> Option<Case> {
    tool(test, "python", "python3")?;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), source).unwrap();
    let lambda = Lambda::python("case", folder.path(), Some("app.handler")).unwrap();
    Some(Case {
        lambda,
        _folder: folder,
    })
}

fn sh(script: &str) -> Lambda {
    let program = Program::new(["/bin/sh", "-c", script]).unwrap();
    Lambda::command_line("case", program, "")
}

fn execute(
    lambda: &Lambda,
    input: &[u8],
    context: &Context<'_>,
) -> (Result<Vec<u8>, Failure>, bool) {
    let mut outputs = b"before".to_vec();
    let execution = run(lambda, input, &mut outputs, context);
    let own = outputs.split_off(b"before".len());
    assert!(execution.outcome.is_ok() || own.is_empty());
    (
        execution.outcome.map(|()| own),
        execution.cold_start.is_some(),
    )
}

fn output(lambda: &Lambda, input: &str) -> Result<String, Failure> {
    let cancel = CancelFlag::new();
    let (outcome, _) = execute(lambda, input.as_bytes(), &context(&cancel));
    outcome.map(|bytes| String::from_utf8(bytes).unwrap())
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
        !matches!(state, Some(b'Z' | b'X'))
    })
}

/// Waits until the supervisor has told of the end of the instance that is idle.
fn wait_until_known(lambda: &Lambda) {
    let limit = Instant::now() + LONG;
    let instance = lambda.idle.take().unwrap();
    while instance.is_usable() {
        assert!(Instant::now() < limit, "nobody told of its end");
        thread::yield_now();
    }
    lambda.idle.put(instance);
}

fn wait_for_end(pid: &str) {
    let limit = Instant::now() + LONG;
    while is_alive(pid) {
        assert!(Instant::now() < limit, "process {pid} lives on");
        thread::yield_now();
    }
}

#[test]
fn a_python_function_takes_json_and_gives_json() {
    let source = "def handler(event, context):\n    return {'got': event, 'ü': None}\n";
    let Some(case) = python("a_python_function_takes_json_and_gives_json", source) else {
        return;
    };
    for (input, expected) in [
        (
            r#"{"a": [1, 2.5]}"#,
            r#"{"got": {"a": [1, 2.5]}, "ü": null}"#,
        ),
        ("42", r#"{"got": 42, "ü": null}"#),
        ("no json", r#"{"got": "no json", "ü": null}"#),
        ("", r#"{"got": "", "ü": null}"#),
    ] {
        assert_eq!(output(&case.lambda, input).unwrap(), expected);
    }
}

#[test]
fn instances_that_are_to_be_kept_stand_ready_before_there_is_work() {
    let test = "instances_that_are_to_be_kept_stand_ready_before_there_is_work";
    let source = "import os, time\ndef handler(event, context):\n    time.sleep(0.05)\n    return os.getpid()\n";
    let Some(case) = python(test, source) else {
        return;
    };
    let (lambda, cancel) = (&case.lambda, CancelFlag::new());
    lambda.keep(2);
    lambda.fill(&context(&cancel)).unwrap();
    assert_eq!((lambda.idle_count(), lambda.ready_count()), (2, 2));

    let both = thread::scope(|scope| {
        let runs = [0, 1].map(|_| scope.spawn(|| execute(lambda, b"", &context(&cancel))));
        runs.map(|run| run.join().unwrap())
    });

    let [one, other] = both.map(|(outcome, cold)| (outcome.unwrap(), cold));
    assert!(!one.1 && !other.1, "neither had to wait for its instance");
    // One that ends by itself is replaced.
    lambda.idle.take().unwrap();
    assert_eq!(lambda.ready_count(), 1);
    lambda.fill(&context(&cancel)).unwrap();
    assert_eq!(lambda.ready_count(), 2);
}

#[test]
fn an_instance_that_cannot_start_takes_no_seat() {
    let lambda = sh("exit 3");
    let cancel = CancelFlag::new();
    lambda.keep(1);
    let failure = lambda.fill(&context(&cancel)).unwrap_err();
    assert_eq!(failure.error_type, "InitError");
    assert_eq!(lambda.ready_count(), 0);
    assert!(lambda.fill(&context(&cancel)).is_err(), "it is tried again");
}

#[test]
fn an_instance_is_made_once_and_used_again() {
    let source = "import os\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return [os.getpid(), count]\n";
    let Some(case) = python("an_instance_is_made_once_and_used_again", source) else {
        return;
    };
    let cancel = CancelFlag::new();

    let (first, first_cold) = execute(&case.lambda, b"", &context(&cancel));
    let (second, second_cold) = execute(&case.lambda, b"", &context(&cancel));

    assert!(first_cold && !second_cold);
    let (first, second) = (first.unwrap(), second.unwrap());
    let first: [i64; 2] = serde_json::from_slice(&first).unwrap();
    let second: [i64; 2] = serde_json::from_slice(&second).unwrap();
    assert_eq!((first[0], 1, 2), (second[0], first[1], second[1]));
    assert_eq!(case.lambda.idle_count(), 1);
}

#[test]
fn a_python_function_knows_its_invocation_and_little_else() {
    let source = r"
import os
def handler(event, context):
    left = context.get_remaining_time_in_millis()
    return {
        'id': context.aws_request_id, 'name': context.function_name, 'arn': context.invoked_function_arn,
        'left': 0 < left <= 60_000, 'cargo': [n for n in os.environ if n.startswith('CARGO')],
        'mine': os.environ['MINE'], 'scratch': os.path.isdir(os.environ['TMPDIR']),
        'here': os.path.samefile(os.getcwd(), os.environ['LAMBDA_TASK_ROOT']),
    }
";
    let name = "a_python_function_knows_its_invocation_and_little_else";
    let Some(case) = python(name, source) else {
        return;
    };
    let lambda = case.lambda.with_variable("MINE", "yes").unwrap();
    let cancel = CancelFlag::new();
    let hurried = Context {
        deadline: Some(Instant::now() + LONG),
        ..context(&cancel)
    };

    let (outcome, _) = execute(&lambda, b"", &hurried);

    let seen: serde_json::Value = serde_json::from_slice(&outcome.unwrap()).unwrap();
    assert!(
        seen["id"].as_str().unwrap().starts_with("job-1-7-1-"),
        "{seen}"
    );
    assert_eq!(seen["name"], "case");
    assert!(seen["arn"].as_str().unwrap().ends_with(":case"), "{seen}");
    assert_eq!(seen["cargo"], serde_json::json!([]));
    assert_eq!(seen["mine"], "yes");
    for fact in ["left", "scratch", "here"] {
        assert_eq!(seen[fact], true, "{fact} in {seen}");
    }
}

#[test]
fn an_exception_is_a_failure_with_its_type_its_stack_and_what_was_printed() {
    let source = "import sys\ndef handler(event, context):\n    print('one')\n    print('two', file=sys.stderr)\n    return deeper(event)\ndef deeper(event):\n    return event['missing']\n";
    let name = "an_exception_is_a_failure_with_its_type_its_stack_and_what_was_printed";
    let Some(case) = python(name, source) else {
        return;
    };
    let failure = output(&case.lambda, "{}").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Function);
    assert_eq!(failure.error_type, "KeyError");
    assert_eq!(failure.message, "'missing'");
    assert!(failure.log.starts_with("one\ntwo\n"), "{}", failure.log);
    assert!(failure.log.contains("in deeper"), "{}", failure.log);
    assert!(!failure.log.contains("bootstrap.py"), "{}", failure.log);
    // The next one does not inherit what the last one printed, and the instance is the same.
    let failure = output(&case.lambda, "{}").unwrap_err();
    assert_eq!(failure.log.matches("one").count(), 1);
    assert_eq!(case.lambda.idle_count(), 1);
}

#[test]
fn what_each_invocation_of_a_warm_process_used_is_its_own() {
    let source = "
import time
def handler(event, context):
    until = time.process_time() + event / 1000
    while time.process_time() < until:
        pass
    return event
";
    let Some(case) = python("what_each_invocation_used", source) else {
        return;
    };
    let cancel = CancelFlag::new();
    let used = |milliseconds: &str| {
        let context = context(&cancel);
        let execution = run(
            &case.lambda,
            milliseconds.as_bytes(),
            &mut Vec::new(),
            &context,
        );
        execution.outcome.unwrap();
        (execution.cpu_us.unwrap(), execution.cold_start.is_some())
    };
    let (with_its_start, cold) = used("0");
    assert!(cold && with_its_start > 1_000, "{with_its_start} us");
    let (busy, cold) = used("50");
    assert!(!cold && busy >= 50_000, "{busy} us");
    let (idle, _) = used("0");
    assert!(idle < 50_000, "{idle} us");
}

#[test]
fn a_module_that_does_not_load_is_an_init_error_with_what_it_printed() {
    let source = "print('loading')\nimport no_such_module\n";
    let name = "a_module_that_does_not_load_is_an_init_error_with_what_it_printed";
    let Some(case) = python(name, source) else {
        return;
    };
    let failure = output(&case.lambda, "{}").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Function);
    assert_eq!(failure.error_type, "InitError");
    assert!(failure.message.contains("no_such_module"), "{failure}");
    assert!(failure.log.starts_with("loading\n"), "{}", failure.log);
    assert!(failure.log.contains("app.py"), "{}", failure.log);
    assert_eq!(case.lambda.idle_count(), 0);
}

#[test]
fn a_process_that_ends_before_its_first_asking_is_an_init_error() {
    let failure = output(&sh("echo cannot begin; exit 3"), "").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Function);
    assert_eq!(failure.error_type, "InitError");
    assert!(failure.message.contains("exit status: 3"), "{failure}");
    assert!(failure.message.ends_with("\ncannot begin"), "{failure}");
}

#[test]
fn a_process_that_never_asks_is_killed_after_its_init_timeout() {
    let lambda = sh("echo $$; sleep 600").with_init_timeout(Duration::from_millis(300));
    let failure = output(&lambda, "").unwrap_err();
    assert_eq!(failure.error_type, "InitError");
    assert!(failure.message.contains("300 ms"), "{failure}");
    wait_for_end(&failure.log);
}

#[test]
fn a_program_that_is_not_there_is_rejected() {
    let absent = Lambda::command_line("case", Program::new(["/no/such/program"]).unwrap(), "");
    let failure = output(&absent, "").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert!(failure.message.contains("/no/such/program"), "{failure}");
}

#[test]
fn a_process_that_ends_in_the_middle_is_crashed_and_the_next_has_a_new_one() {
    let source = "import os\ndef handler(event, context):\n    if event == 'die':\n        print('dying')\n        os.kill(os.getpid(), 11)\n    return os.getpid()\n";
    let name = "a_process_that_ends_in_the_middle_is_crashed_and_the_next_has_a_new_one";
    let Some(case) = python(name, source) else {
        return;
    };
    let first = output(&case.lambda, "").unwrap();

    let failure = output(&case.lambda, "die").unwrap_err();

    assert_eq!(failure.kind, FailureKind::Crashed);
    assert!(failure.message.contains("SIGSEGV"), "{failure}");
    assert!(failure.message.ends_with("\ndying"), "{failure}");
    assert_ne!(output(&case.lambda, "").unwrap(), first);
}

#[test]
fn an_instance_that_ended_while_idle_is_nobodys_failure() {
    let source = "import os\ndef handler(event, context):\n    return os.getpid()\n";
    let name = "an_instance_that_ended_while_idle_is_nobodys_failure";
    let Some(case) = python(name, source) else {
        return;
    };
    let first = output(&case.lambda, "").unwrap();
    let pid = rustix::process::Pid::from_raw(first.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_until_known(&case.lambda);

    let cancel = CancelFlag::new();
    let (outcome, cold) = execute(&case.lambda, b"", &context(&cancel));

    assert_ne!(outcome.unwrap(), first.as_bytes());
    assert!(cold);
}

#[test]
fn a_timeout_ends_the_instance_and_all_that_it_started() {
    let source = r"
import os, subprocess, time
def handler(event, context):
    near = subprocess.Popen(['sleep', '600'])
    far = subprocess.Popen(['setsid', 'sleep', '600'])
    print(os.getpid(), near.pid, far.pid)
    time.sleep(600)
";
    let name = "a_timeout_ends_the_instance_and_all_that_it_started";
    let Some(case) = python(name, source) else {
        return;
    };
    let lambda = case.lambda.with_timeout(Duration::from_secs(3));

    let failure = output(&lambda, "").unwrap_err();

    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(failure.message.contains("3000 ms"), "{failure}");
    assert_eq!(failure.log.split_whitespace().count(), 3, "{}", failure.log);
    failure.log.split_whitespace().for_each(wait_for_end);
    assert_eq!(lambda.idle_count(), 0);
}

#[test]
fn a_cancelled_invocation_ends_its_instance() {
    let source = "import os, time\ndef handler(event, context):\n    open(event, 'w').write(str(os.getpid()))\n    os.rename(event, event + '.done')\n    time.sleep(600)\n";
    let Some(case) = python("a_cancelled_invocation_ends_its_instance", source) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let done = folder.path().join("pid.done");
    let cancel = CancelFlag::new();

    let outcome = thread::scope(|scope| {
        let input = path.to_str().unwrap().as_bytes();
        let slot = scope.spawn(|| execute(&case.lambda, input, &context(&cancel)).0);
        let limit = Instant::now() + LONG;
        while !done.exists() {
            assert!(Instant::now() < limit, "the function never ran");
            thread::yield_now();
        }
        cancel.set();
        slot.join().unwrap()
    });

    assert_eq!(outcome.unwrap_err().error_type, "Cancelled");
    wait_for_end(&fs::read_to_string(done).unwrap());
}

#[test]
fn an_output_over_the_limit_fails_alone() {
    let source = "def handler(event, context):\n    return b'x' * event\n";
    let Some(case) = python("an_output_over_the_limit_fails_alone", source) else {
        return;
    };
    let cancel = CancelFlag::new();
    let small = Context {
        limits: Limits {
            output_bytes_max: 1_000,
            ..Limits::DEFAULT
        },
        ..context(&cancel)
    };
    let (outcome, _) = execute(&case.lambda, b"1001", &small);
    assert_eq!(outcome.unwrap_err().error_type, "OutputTooLarge");
    // The process was told why, and goes on.
    let (outcome, cold) = execute(&case.lambda, b"1000", &small);
    assert_eq!(outcome.unwrap().len(), 1_000);
    assert!(!cold);
}

#[test]
fn six_mebibytes_pass_both_ways() {
    let Some(case) = python(
        "six_mebibytes_pass_both_ways",
        "def handler(event, context):\n    return event.encode()\n",
    ) else {
        return;
    };
    let input = "x".repeat(Limits::DEFAULT.output_bytes_max);
    assert!(output(&case.lambda, &input).unwrap() == input);
}

#[test]
fn one_who_prints_without_end_is_heard_to_the_end_in_bounded_memory() {
    let source = "def handler(event, context):\n    for n in range(200_000):\n        print('line', n)\n    raise ValueError('enough')\n";
    let name = "one_who_prints_without_end_is_heard_to_the_end_in_bounded_memory";
    let Some(case) = python(name, source) else {
        return;
    };
    let failure = output(&case.lambda, "").unwrap_err();
    assert_eq!(failure.error_type, "ValueError");
    assert_eq!(failure.log.len(), Limits::DEFAULT.stderr_bytes_max);
    assert!(failure.log.contains("line 199999\n"));
}

#[test]
fn a_function_that_takes_more_memory_than_it_may_fails_alone() {
    let source = "def handler(event, context):\n    return len(bytearray(event))\n";
    let name = "a_function_that_takes_more_memory_than_it_may_fails_alone";
    let Some(case) = python(name, source) else {
        return;
    };
    let lambda = case.lambda.with_bounds(Bounds {
        memory_bytes_max: Some(128 * 1024 * 1024),
        ..Bounds::default()
    });
    let failure = output(&lambda, "500000000").unwrap_err();
    assert_eq!(failure.error_type, "MemoryError");
    assert_eq!(output(&lambda, "1000").unwrap(), "1000");
}

#[test]
fn each_slot_has_an_instance_of_its_own_and_none_outlives_the_function() {
    let source = "import os, time\ndef handler(event, context):\n    open(f'{event}/{os.getpid()}', 'w')\n    while len(os.listdir(event)) < 2: time.sleep(0.001)\n    return os.getpid()\n";
    let name = "each_slot_has_an_instance_of_its_own_and_none_outlives_the_function";
    let Some(case) = python(name, source) else {
        return;
    };
    let meeting = tempfile::tempdir().unwrap();
    let input = meeting.path().to_str().unwrap();

    // Neither returns before both are there.
    let pids = thread::scope(|scope| {
        let slots = [(); 2].map(|()| scope.spawn(|| output(&case.lambda, input).unwrap()));
        slots.map(|slot| slot.join().unwrap())
    });

    assert_ne!(pids[0], pids[1]);
    assert_eq!(case.lambda.idle_count(), 2);
    drop(case);
    assert!(pids.iter().all(|pid| !is_alive(pid)));
}

/// A client that is not ours, and not always well-behaved.
const FOREIGN: &str = r"#!/usr/bin/env python3
import http.client, os
api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
def ask(method, path, *more, **options):
    api.request(method, '/2018-06-01/runtime/invocation/' + path, *more, **options)
    reply = api.getresponse()
    return reply.status, reply.headers, reply.read()
while True:
    status, headers, event = ask('GET', 'next')
    path = headers.get('Lambda-Runtime-Aws-Request-Id', '') + '/response'
    if event == b'twice':
        ask('POST', path, b'first')
        ask('POST', path, b'second')
    elif event == b'for another':
        ask('POST', 'another/response', b'not this one')
        ask('POST', path, b'this one')
    elif event != b'none':
        ask('POST', path, iter([event[:1], event[1:]]), {'Transfer-Encoding': 'chunked'}, encode_chunked=True)
";

fn foreign(test: &str) -> Option<(Lambda, tempfile::TempDir)> {
    tool(test, "python", "python3")?;
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap");
    fs::write(&bootstrap, FOREIGN).unwrap();
    fs::set_permissions(&bootstrap, fs::Permissions::from_mode(0o755)).unwrap();
    let lambda = Lambda::folder("case", folder.path(), "").unwrap();
    Some((lambda, folder))
}

#[test]
fn a_bootstrap_of_any_kind_is_served() {
    let Some((lambda, _folder)) = foreign("a_bootstrap_of_any_kind_is_served") else {
        return;
    };
    assert_eq!(output(&lambda, "in chunks").unwrap(), "in chunks");
    assert_eq!(output(&lambda, "twice").unwrap(), "first");
    assert_eq!(output(&lambda, "for another").unwrap(), "this one");
    assert_eq!(output(&lambda, "in chunks").unwrap(), "in chunks");
    assert_eq!(lambda.idle_count(), 1);
}

#[test]
fn one_who_does_not_answer_is_crashed_and_not_asked_again() {
    let name = "one_who_does_not_answer_is_crashed_and_not_asked_again";
    let Some((lambda, _folder)) = foreign(name) else {
        return;
    };
    let failure = output(&lambda, "none").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Crashed);
    assert_eq!(failure.error_type, "NoAnswer");
    assert_eq!(lambda.idle_count(), 0);
}

#[test]
fn a_folder_without_a_bootstrap_and_a_file_that_is_no_program_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Lambda::folder("case", folder.path(), "").unwrap_err();
    assert!(error.to_string().contains("`bootstrap`"), "{error}");
    let file = folder.path().join("plain");
    fs::write(&file, "").unwrap();
    let error = Lambda::folder("case", &file, "").unwrap_err();
    assert!(error.to_string().contains("chmod +x"), "{error}");
}

/// The client that AWS publishes for Python, as pip installs it.
#[test]
fn the_unmodified_python_client_is_served() {
    let test = "the_unmodified_python_client_is_served";
    if tool(test, "python", "python3").is_none() || !imports(test, "awslambdaric") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = "def handler(event, context):\n    print('seen', event)\n    return {'half': event['n'] / 2}\n";
    fs::write(folder.path().join("app.py"), source).unwrap();
    let mut program = Program::new(["python3", "-m", "awslambdaric", "app.handler"])
        .unwrap()
        .with_working_dir(folder.path());
    if let Ok(path) = env::var("PYTHONPATH") {
        program = program.with_variable("PYTHONPATH", path).unwrap();
    }
    let lambda = Lambda::command_line("case", program, "app.handler").with_init_timeout(LONG);
    assert_eq!(output(&lambda, r#"{"n": 5}"#).unwrap(), r#"{"half": 2.5}"#);

    let failure = output(&lambda, r#"{"m": 5}"#).unwrap_err();

    assert_eq!(failure.to_string(), "KeyError (function): 'n'");
    assert!(failure.log.contains("seen {'m': 5}"), "{}", failure.log);
    assert!(failure.log.contains("app.py"), "no stack: {}", failure.log);
    // An error is no reason for a new instance.
    assert_eq!(lambda.idle_count(), 1);
}

/// Whether Python has the module; if not, the test says so, or fails where it is required.
fn imports(test: &str, module: &str) -> bool {
    let found = Command::new("python3")
        .args(["-c", &format!("import {module}")])
        .output()
        .is_ok_and(|asked| asked.status.success());
    if !found {
        let required = env::var("UMBEL_TEST_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|one| one.trim() == module),
            "{test} needs {module}, which UMBEL_TEST_REQUIRE asks for"
        );
        println!("SKIPPED {test}: python3 has no module {module}; pip install {module}");
    }
    found
}
