//! Modules as people write them and as nobody should, in the text form.

mod reach;

use std::sync::Arc;

use super::*;
use crate::context::testing::context;
use crate::context::{CancelFlag, Context, Limits};
use crate::executable::Executable;
use crate::failure::{Failure, FailureKind};
use crate::spec::Runtime;

/// A command that does what `body` says; it may write, read and end, as WASI p1 has it.
fn command(body: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "printed\n")
  (global $count (mut i32) (i32.const 0))
  ;; Prints `length` bytes at `from` to the stream `to`.
  (func $print (param $to i32) (param $from i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") {body}))"#
    )
}

/// All of stdin to stdout, in parts of 4 KiB.
const ECHO: &str = "
  (loop $again
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 4096))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (i32.load (i32.const 8))
      (then
        (call $print (i32.const 1) (i32.const 1024) (i32.load (i32.const 8)))
        (br $again))))";

/// A component that exports `handle`: it fails for an empty input and echoes all others.
const HANDLE_ECHO: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 16) "Emptythere is nothing")
    (global $free (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    (func (export "handle") (param $from i32) (param $length i32) (result i32)
      (if (local.get $length)
        (then
          (i32.store8 (i32.const 64) (i32.const 0))
          (i32.store (i32.const 68) (local.get $from))
          (i32.store (i32.const 72) (local.get $length)))
        (else
          (i32.store8 (i32.const 64) (i32.const 1))
          (i32.store (i32.const 68) (i32.const 16))
          (i32.store (i32.const 72) (i32.const 5))
          (i32.store (i32.const 76) (i32.const 21))
          (i32.store (i32.const 80) (i32.const 16))))
      (i32.const 64)))
  (core instance $i (instantiate $m))
  (func (export "handle") (param "input" (list u8))
    (result (result (list u8) (error (tuple string string))))
    (canon lift (core func $i "handle") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc")))))"#;

fn load(text: &str) -> Result<Executable, SpecError> {
    load_with(text, Spec::new("case", Runtime::Wasm))
}

fn load_with(text: &str, spec: Spec) -> Result<Executable, SpecError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("case.wasm"), text).unwrap();
    spec.executable(Some(folder.path()))
}

fn invoke(
    executable: &Executable,
    input: &[u8],
    context: &Context<'_>,
) -> Result<Vec<u8>, Failure> {
    let mut outputs = b"before".to_vec();
    let execution = executable.invoke(input, &mut outputs, context);
    let own = outputs.split_off(b"before".len());
    assert!(execution.outcome.is_ok() || own.is_empty());
    execution.outcome.map(|()| own)
}

fn output(executable: &Executable, input: &[u8]) -> Result<Vec<u8>, Failure> {
    let cancel = CancelFlag::new();
    invoke(executable, input, &context(&cancel))
}

fn failure(body: &str) -> Failure {
    output(&load(&command(body)).unwrap(), b"").unwrap_err()
}

#[test]
fn a_command_reads_its_input_and_prints_its_output() {
    let echo = load(&command(ECHO)).unwrap();
    let large = vec![b'x'; 1_000_000];
    for input in [&b""[..], b"hey", &large] {
        assert_eq!(output(&echo, input).unwrap(), input);
    }
    // One final newline is no part of the output, as with any program.
    assert_eq!(output(&echo, b"hey\n").unwrap(), b"hey");
}

#[test]
fn each_invocation_has_a_fresh_instance() {
    let counter = command(
        "(global.set $count (i32.add (global.get $count) (i32.const 1)))
         (i32.store8 (i32.const 32) (i32.add (global.get $count) (i32.const 48)))
         (call $print (i32.const 1) (i32.const 32) (i32.const 1))",
    );
    let counter = load(&counter).unwrap();
    assert_eq!(output(&counter, b"").unwrap(), b"1");
    assert_eq!(output(&counter, b"").unwrap(), b"1");
}

#[test]
fn only_the_first_invocation_bears_what_loading_took() {
    let echo = load(&command(ECHO)).unwrap();
    let cancel = CancelFlag::new();
    let cold: Vec<bool> = (0..3)
        .map(|_| {
            let execution = echo.invoke(b"", &mut Vec::new(), &context(&cancel));
            execution.cold_start.is_some_and(|cold| cold.load_us > 0)
        })
        .collect();
    assert_eq!(cold, [true, false, false]);
}

#[test]
fn a_component_handles_inputs_without_stdio() {
    let echo = load(HANDLE_ECHO).unwrap();
    assert_eq!(output(&echo, b"hey").unwrap(), b"hey");
    let failed = output(&echo, b"").unwrap_err();
    assert_eq!(failed.to_string(), "Empty (function): there is nothing");
}

#[test]
fn what_is_printed_on_stderr_is_the_log() {
    let body =
        "(call $print (i32.const 2) (i32.const 16) (i32.const 8)) (call $exit (i32.const 3))";
    let failed = failure(body);
    assert_eq!(failed.kind, FailureKind::Function);
    assert_eq!(failed.error_type, "ExitCode");
    assert_eq!(failed.message, "exit status: 3\nprinted");
    assert_eq!(failed.log, "printed\n");

    let cancel = CancelFlag::new();
    let kept = Context {
        limits: Limits {
            keep_log: true,
            ..Limits::DEFAULT
        },
        ..context(&cancel)
    };
    let body =
        "(call $print (i32.const 2) (i32.const 16) (i32.const 8)) (call $exit (i32.const 0))";
    let execution = load(&command(body))
        .unwrap()
        .invoke(b"", &mut Vec::new(), &kept);
    assert_eq!(execution.log.as_deref(), Some("printed\n"));
}

#[test]
fn a_trap_is_a_crash_with_its_stack() {
    let failed = failure("unreachable");
    assert_eq!(
        (failed.kind, failed.error_type.as_str()),
        (FailureKind::Crashed, "Trap")
    );
    assert!(failed.message.contains("unreachable"), "{failed}");
    assert!(failed.log.contains("wasm backtrace"), "{}", failed.log);
}

#[test]
fn a_loop_and_a_sleep_without_end_outrun_their_timeout() {
    // A subscription to the monotonic clock, in an hour.
    let sleep = "(i64.store (i32.const 1048) (i64.const 3600000000000))
                 (i32.store (i32.const 1040) (i32.const 1))
                 (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 8)))";
    for body in ["(loop $again (br $again))", sleep] {
        let endless = load_with(
            &command(body),
            Spec {
                timeout: Some(Duration::from_millis(30)),
                ..Spec::new("case", Runtime::Wasm)
            },
        );
        let failed = output(&endless.unwrap(), b"").unwrap_err();
        assert_eq!(failed.kind, FailureKind::Timeout, "{failed}");
    }
}

#[test]
fn a_cancelled_loop_ends() {
    let endless = load(&command("(loop $again (br $again))")).unwrap();
    let cancel = CancelFlag::new();
    let failed = std::thread::scope(|scope| {
        let running = scope.spawn(|| invoke(&endless, b"", &context(&cancel)));
        cancel.set();
        running.join().unwrap().unwrap_err()
    });
    assert_eq!(failed.error_type, "Cancelled");
}

#[test]
fn more_memory_than_its_own_is_not_given() {
    // Asks for a page at a time until there is none, as an allocator would, and gives up.
    let body = "(loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable";
    let hog = Spec {
        bounds: crate::Bounds {
            memory_bytes_max: Some(8 << 20),
            ..crate::Bounds::default()
        },
        ..Spec::new("case", Runtime::Wasm)
    };
    let failed = output(&load_with(&command(body), hog).unwrap(), b"").unwrap_err();
    assert_eq!(
        (failed.kind, failed.error_type.as_str()),
        (FailureKind::Crashed, "OutOfMemory")
    );
    assert!(failed.message.contains("8 MiB"), "{failed}");
}

#[test]
fn memory_that_it_begins_with_counts_and_a_stack_has_an_end() {
    let large = command("").replace(
        "(memory (export \"memory\") 1)",
        "(memory (export \"memory\") 1000)",
    );
    let spec = Spec {
        bounds: crate::Bounds {
            memory_bytes_max: Some(8 << 20),
            ..crate::Bounds::default()
        },
        ..Spec::new("case", Runtime::Wasm)
    };
    let failed = output(&load_with(&large, spec).unwrap(), b"").unwrap_err();
    assert_eq!(failed.error_type, "OutOfMemory", "{failed}");

    let deep = "(module (func $deeper (call $deeper) (call $deeper)) (func (export \"_start\") (call $deeper)))";
    let failed = output(&load(deep).unwrap(), b"").unwrap_err();
    assert_eq!(
        (failed.kind, failed.error_type.as_str()),
        (FailureKind::Crashed, "Trap")
    );
    assert!(failed.message.contains("stack"), "{failed}");
}

#[test]
fn an_output_without_end_is_ended_and_a_log_without_end_is_bounded() {
    let forever = |to: u32| {
        command(&format!(
            "(loop $again
               (global.set $count (i32.add (global.get $count) (i32.const 1)))
               (call $print (i32.const {to}) (i32.const 0) (i32.const 65536))
               (br_if $again (i32.lt_u (global.get $count) (i32.const 16384))))"
        ))
    };
    let failed = output(&load(&forever(1)).unwrap(), b"").unwrap_err();
    assert_eq!(failed.error_type, "OutputTooLarge");
    assert_eq!(output(&load(&forever(2)).unwrap(), b"").unwrap(), b"");
}

#[test]
fn what_could_never_run_is_refused_when_it_is_loaded() {
    let outside = "(module (import \"env\" \"system\" (func)) (func (export \"_start\")))";
    let library = "(module (func (export \"add\")))";
    let invalid = "(module (func (export \"_start\") (i32.add)))";
    let nothing = "(component)";
    let foreign = "(component (import \"a:b/c\" (instance (export \"f\" (func)))))";
    for (text, said) in [
        (foreign, "a:b/c"),
        (outside, "unknown import: `env::system`"),
        (library, "it exports no `_start`"),
        (invalid, "it cannot be compiled"),
        (nothing, "it exports neither `handle`"),
        ("hello", "it cannot be compiled"),
        ("", "it cannot be compiled"),
    ] {
        let refused = load(text).unwrap_err().to_string();
        assert!(
            refused.contains("case.wasm") && refused.contains(said),
            "{refused}"
        );
    }
    // One that was cut off, at any place.
    let cut = tempfile::tempdir().unwrap();
    let example = include_bytes!("../../../../examples/functions/resize_c/resize.wasm");
    for length in [8, 100, example.len() / 2, example.len() - 1] {
        fs::write(cut.path().join("case.wasm"), &example[..length]).unwrap();
        let refused = Spec::new("case", Runtime::Wasm).executable(Some(cut.path()));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("case.wasm` cannot run: it "), "{refused}");
    }
    let empty = tempfile::tempdir().unwrap();
    let refused = Spec::new("case", Runtime::Wasm).executable(Some(empty.path()));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("no file that ends in .wasm")
    );
}

#[test]
fn an_executable_can_be_shared_by_many_slots() {
    let echo = Arc::new(load(&command(ECHO)).unwrap());
    std::thread::scope(|scope| {
        for slot in 0..8_u8 {
            let echo = Arc::clone(&echo);
            scope.spawn(move || {
                for _ in 0..50 {
                    assert_eq!(output(&echo, &[slot]).unwrap(), [slot]);
                }
            });
        }
    });
}
