//! Functions that do what none should, of every runtime: each fails alone and with words, and the
//! worker goes on.

use std::path::Path;

use serde_json::Value;

use crate::cluster::{Cluster, has, lacks, told};
use crate::publish::{folder, publish, refused};

const PYTHON: &str = "import os, sys, time
def handler(event, context):
    if event == 'large': return 'x' * 100_000_000
    if event == 'print':
        for _ in range(1_000): print('x' * 1_000_000)
        raise ValueError('printed')
    if event == 'fork':
        for _ in range(200):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
        time.sleep(60)
    if event == 'sleep': time.sleep(600)
    if event == 'exit': os._exit(3)
    return 'good'
";

const NODE: &str = "const { spawn } = require('child_process');
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
exports.handler = async (event) => {
  if (event === 'large') return 'x'.repeat(100_000_000);
  if (event === 'print') {
    for (let n = 0; n < 1_000; n++) process.stdout.write('x'.repeat(1_000_000) + '\\n');
    throw new RangeError('printed');
  }
  if (event === 'fork') {
    for (let n = 0; n < 200; n++) spawn('sleep', ['60']).on('error', (error) => { throw error; });
    await sleep(60_000);
  }
  if (event === 'sleep') await sleep(600_000);
  if (event === 'exit') process.exit(3);
  return 'good';
};
";

const EXEC: &str = "#!/bin/sh
read -r word
case $word in
large) head -c 100000000 /dev/zero ;;
print) head -c 1000000000 /dev/zero >&2; exit 4 ;;
fork) n=0; while [ $n -lt 200 ]; do sleep 60 & n=$((n + 1)); done; wait ;;
sleep) exec sleep 600 ;;
exit) kill -9 $$ ;;
*) echo '\"good\"' ;;
esac
";

/// Speaks the Lambda Runtime API by itself, and not well.
const LAMBDA: &str = r"#!/usr/bin/env python3
import http.client, os, time
api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
def ask(method, path, *more):
    api.request(method, '/2018-06-01/runtime/invocation/' + path, *more)
    reply = api.getresponse()
    return reply.headers, reply.read()
while True:
    headers, event = ask('GET', 'next')
    path = headers['Lambda-Runtime-Aws-Request-Id'] + '/response'
    if event == b'large':
        ask('POST', path, b'x' * 60_000_000)
        continue
    if event == b'twice':
        ask('POST', path, b'\'good\'')
    if event == b'another':
        ask('POST', 'job-1-1-1-1/response', b'not for this one')
    if event == b'sleep': time.sleep(600)
    if event == b'exit': os._exit(3)
    if event == b'silent': os.execv(__file__, [__file__])
    ask('POST', path, b'good')
";

/// Gives each word to the function, one after another on one slot, and holds what came of it
/// against the kind and type of failure; none: it is good.
fn story(cluster: &mut Cluster, target: &str, expected: &[(&str, &str, &str)]) {
    let inputs = cluster.inputs(expected.iter().map(|(word, ..)| (*word).to_owned()));
    let submit = ["job", "submit", target, "--max-attempts", "1", "--inputs"];
    let id = cluster.run(&[&submit[..], &[inputs.to_str().expect("UTF-8")]].concat());
    cluster.ended(id.trim());
    let results = cluster.results(id.trim());
    for (result, (word, kind, error_type)) in results.iter().zip(expected) {
        let failure = &result["failure"];
        if kind.is_empty() {
            assert_eq!(failure, &Value::Null, "{target} {word}: {result}");
            let output = result["output"].as_str().expect("a text");
            assert_eq!(output.trim_matches('\''), "good", "{target} {word}");
            continue;
        }
        // The kernel itself refuses more processes to users other than root, and what a language
        // makes of that is its own affair.
        if *word == "fork" && !rustix::process::geteuid().is_root() {
            assert_ne!(failure, &Value::Null, "{target} {word}: {result}");
            continue;
        }
        assert_eq!(failure["kind"], *kind, "{target} {word}: {failure}");
        assert_eq!(failure["type"], *error_type, "{target} {word}: {failure}");
        let message = failure["message"].as_str().unwrap_or_default();
        assert!(message.len() > 5, "{target} {word}: {failure}");
        let log = failure["stderr"].as_str().unwrap_or_default();
        assert!(
            log.len() <= 16 << 10,
            "{target} {word}: {} bytes",
            log.len()
        );
    }
    assert_eq!(results.len(), expected.len());
    assert!(!cluster.workers[0].is_gone(), "the worker lives");
}

/// What ends by its timeout has a short one, and all else none.
fn publish_both(cluster: &Cluster, name: &str, path: &str) {
    publish(cluster, &[name, path]);
    let sleeper = format!("{name}-sleeper");
    publish(cluster, &[&sleeper, path, "--timeout", "1s"]);
}

#[test]
fn what_no_function_should_do_fails_alone_with_words_and_the_worker_lives() {
    let test = "what_no_function_should_do_fails_alone_with_words_and_the_worker_lives";
    let mut cluster = Cluster::with_workers(1, 1);
    let good = ("good", "", "");
    let large = ("large", "function", "OutputTooLarge");
    let fork = ("fork", "crashed", "TooManyProcesses");
    let sleep = [("sleep", "timeout", "Timeout"), good];

    let manifest = "runtime = \"exec\"\nprocesses_max = 64\ncommand = [\"./run.sh\"]\n";
    let path = folder(
        &cluster,
        "exec",
        &[("run.sh", EXEC), ("umbel.toml", manifest)],
    );
    publish_both(&cluster, "exec", &path);
    let print = ("print", "function", "ExitCode");
    let exit = ("exit", "crashed", "Signal");
    let all = [large, good, print, good, fork, good, exit, good];
    story(&mut cluster, "exec", &all);
    story(&mut cluster, "exec-sleeper", &sleep);

    let exit = ("exit", "crashed", "Exit");
    for (runtime, file, source, printed) in [
        ("python", "app.py", PYTHON, "ValueError"),
        ("node", "app.js", NODE, "RangeError"),
    ] {
        let program = if runtime == "python" {
            "python3"
        } else {
            runtime
        };
        if !has(test, runtime, program, &["--version"]) {
            continue;
        }
        let manifest =
            format!("runtime = \"{runtime}\"\nprocesses_max = 64\nhandler = \"app.handler\"\n");
        let path = folder(
            &cluster,
            runtime,
            &[(file, source), ("umbel.toml", &manifest)],
        );
        publish_both(&cluster, runtime, &path);
        let print = ("print", "function", printed);
        let all = [large, good, print, good, fork, good, exit, good];
        story(&mut cluster, runtime, &all);
        story(&mut cluster, &format!("{runtime}-sleeper"), &sleep);
    }

    if has(test, "python", "python3", &["--version"]) {
        let path = folder(&cluster, "lambda", &[("bootstrap", LAMBDA)]);
        publish_both(&cluster, "lambda", &path);
        let silent = ("silent", "crashed", "NoAnswer");
        let [twice, another] = ["twice", "another"].map(|word| (word, "", ""));
        let all = [large, good, twice, another, exit, good, silent, good];
        story(&mut cluster, "lambda", &all);
        story(&mut cluster, "lambda-sleeper", &sleep);
    }
}

#[test]
fn what_could_never_start_is_refused_when_it_is_published() {
    let cluster = Cluster::with_workers(1, 1);
    let plain = folder(
        &cluster,
        "plain",
        &[("bootstrap", "not marked as a program\n")],
    );
    let publish = ["function", "publish", "f", "--runtime", "lambda", &plain];
    let said = refused(&cluster, &publish, 2);
    assert!(said.contains("no executable `bootstrap`"), "{said}");
    assert!(said.contains("chmod +x"), "{said}");
}

#[test]
fn a_handler_that_its_module_has_not_is_an_init_error_that_names_it() {
    let test = "a_handler_that_its_module_has_not_is_an_init_error_that_names_it";
    let cluster = Cluster::with_workers(1, 1);
    for (runtime, program, file) in [("python", "python3", "app.py"), ("node", "node", "app.js")] {
        if !has(test, runtime, program, &["--version"]) {
            continue;
        }
        let source = if runtime == "python" { PYTHON } else { NODE };
        let path = folder(&cluster, runtime, &[(file, source)]);
        let options = ["--runtime", runtime, "--handler", "app.hadnler"];
        publish(&cluster, &[&[runtime, &path][..], &options].concat());
        let output = cluster.umbel(&["invoke", runtime, "1"]).output();
        let output = output.expect("the binary runs");
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        let said = told(&output);
        assert!(
            said.contains("InitError") && said.contains("hadnler"),
            "{said}"
        );
    }
}

/// A command of WebAssembly that does what the first byte of its input says.
const WASM: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "good")
  (func $print (param $to i32) (param $from i32) (param $length i32) (param $times i32)
    (loop $again
      (i32.store (i32.const 0) (local.get $from))
      (i32.store (i32.const 4) (local.get $length))
      (drop (call $write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (local.get $times))))
  (func $deeper (call $deeper) (call $deeper))
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 100))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 108)) ;; large
      (then (call $print (i32.const 1) (i32.const 0) (i32.const 100000) (i32.const 1000))))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 112)) ;; print
      (then (call $print (i32.const 2) (i32.const 0) (i32.const 100000) (i32.const 10000))
            (call $exit (i32.const 4))))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 115)) ;; sleep
      (then (loop $again (br $again))))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 109)) ;; memory
      (then (loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0))))
            unreachable))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 114)) ;; recursion
      (then (call $deeper)))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 101)) ;; exit
      (then unreachable))
    (call $print (i32.const 1) (i32.const 16) (i32.const 4) (i32.const 1))))
"#;

#[test]
fn wasm_that_does_what_it_should_not_fails_alone_with_words_and_the_worker_lives() {
    if !cfg!(feature = "wasm") {
        let test = "wasm_that_does_what_it_should_not_fails_alone_with_words_and_the_worker_lives";
        lacks(test, "wasm", "built without it");
        return;
    }
    let mut cluster = Cluster::start();
    let compiled = cluster.dir.path().join("compiled");
    let mut worker = cluster.spawn_worker_in("w", 1, &[], &[("XDG_CACHE_HOME", &compiled)]);
    worker.line();
    cluster.workers.push(worker);
    let path = folder(&cluster, "wasm", &[("bad.wasm", WASM)]);
    let path = Path::new(&path).join("bad.wasm");
    publish_both(&cluster, "wasm", path.to_str().expect("UTF-8"));
    let good = ("good", "", "");
    let all = [
        ("large", "function", "OutputTooLarge"),
        good,
        ("print", "function", "ExitCode"),
        ("memory", "crashed", "OutOfMemory"),
        ("recursion", "crashed", "Trap"),
        ("exit", "crashed", "Trap"),
        good,
    ];
    story(&mut cluster, "wasm", &all);
    let sleep = [("sleep", "timeout", "Timeout"), good];
    story(&mut cluster, "wasm-sleeper", &sleep);

    for (text, words) in [
        (
            "(module (func (export \"_start\") (i32.add)))",
            "cannot be compiled",
        ),
        (
            "(module (import \"env\" \"system\" (func)) (func (export \"_start\")))",
            "unknown import",
        ),
        ("(module (func (export \"add\")))", "exports no `_start`"),
    ] {
        let path = folder(&cluster, "refused", &[("f.wasm", text)]);
        let said = refused(
            &cluster,
            &["function", "publish", "f", &path, "--runtime", "wasm"],
            2,
        );
        assert!(said.contains(words), "{said}");
    }
}
