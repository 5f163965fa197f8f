//! What a function can reach: nothing of the machine, in either form of WASI.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use super::*;

/// A WASI p2 command that tries what its input says; `probe/probe.rs` tells how it was made.
const PROBE: &[u8] = include_bytes!("probe/probe.wasm");

fn probe() -> Executable {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("probe.wasm"), PROBE).unwrap();
    let mut spec = Spec::new("probe", Runtime::Wasm);
    spec.environment.insert("MINE".to_owned(), "1".to_owned());
    spec.executable(Some(folder.path())).unwrap()
}

fn asked(probe: &Executable, input: &str) -> String {
    String::from_utf8(output(probe, input.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_command_component_reads_prints_fails_and_crashes() {
    let probe = probe();
    let long = "x".repeat(1_000_000);
    assert_eq!(asked(&probe, &format!("echo {long}")), long);
    let failed = output(&probe, b"exit").unwrap_err();
    assert_eq!(
        failed.to_string(),
        "ExitCode (function): exit status: 1\nit ends here"
    );
    assert_eq!(failed.log, "it ends here\n");
    let crashed = output(&probe, b"abort").unwrap_err();
    assert_eq!(
        (crashed.kind, crashed.error_type.as_str()),
        (FailureKind::Crashed, "Trap"),
        "{crashed}"
    );
    assert_eq!(asked(&probe, "echo on"), "on");
}

#[test]
fn a_command_sees_what_was_declared_and_its_invocation() {
    let seen = asked(&probe(), "variables");
    let mut seen: Vec<_> = seen.split_whitespace().collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        ["MINE", "UMBEL_ATTEMPT", "UMBEL_INDEX", "UMBEL_JOB_ID"]
    );
}

#[test]
fn a_command_reaches_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(asked(&probe(), &format!("connect {port}")), "refused");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

    // The older form has sockets only where it was given one, and it is given none.
    let accept = command_importing(
        r#""sock_accept" (func $other (param i32 i32 i32) (result i32))"#,
        "",
        "(if (i32.eqz (call $other (i32.const 3) (i32.const 0) (i32.const 64))) (then unreachable))",
    );
    assert_eq!(output(&load(&accept).unwrap(), b"").unwrap(), b"");
}

#[test]
fn a_command_reaches_no_file_outside_its_scratch() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let secret = secret.to_str().unwrap();
    let probe = probe();
    assert_eq!(asked(&probe, "write /tmp/mine"), "kept");
    // Another instance has another directory.
    assert_eq!(asked(&probe, "read /tmp/mine"), "refused");
    let climbing = format!("/tmp/../../../../../..{secret}");
    for path in [secret, &climbing, "/etc/passwd", "/tmp/../../../etc/passwd"] {
        assert_eq!(asked(&probe, &format!("read {path}")), "refused", "{path}");
        assert_eq!(
            asked(&probe, &format!("write {path}.new")),
            "refused",
            "{path}"
        );
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);

    let open = command_importing(
        r#""path_open" (func $other (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))"#,
        r#"(data (i32.const 3000) "../../../../../../etc/passwd")"#,
        "(if (i32.eqz (call $other (i32.const 3) (i32.const 0) (i32.const 3000) (i32.const 28)
            (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64)))
          (then unreachable))",
    );
    assert_eq!(output(&load(&open).unwrap(), b"").unwrap(), b"");
}

/// A module of one import, with fields of its own, which does what `body` says.
fn command_importing(import: &str, fields: &str, body: &str) -> String {
    format!(
        "(module (import \"wasi_snapshot_preview1\" {import}) (memory (export \"memory\") 1)
           {fields} (func (export \"_start\") {body}))"
    )
}

#[test]
fn a_command_names_a_file_of_its_own_folder() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path().join("function");
    fs::create_dir(&folder).unwrap();
    fs::write(around.path().join("other.wasm"), command(ECHO)).unwrap();
    fs::write(folder.join("own.wasm"), command(ECHO)).unwrap();
    symlink("../other.wasm", folder.join("link.wasm")).unwrap();
    symlink("own.wasm", folder.join("near.wasm")).unwrap();
    let named = |name: &str| {
        let mut spec = Spec::new("case", Runtime::Wasm);
        spec.command = vec![name.to_owned()];
        spec.executable(Some(&folder))
    };
    let absolute = around.path().join("other.wasm");
    for name in ["../other.wasm", "link.wasm", absolute.to_str().unwrap()] {
        let refused = named(name).unwrap_err().to_string();
        assert!(
            refused.contains("leads out of the function's folder"),
            "{refused}"
        );
    }
    assert!(
        named("gone.wasm")
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    for name in ["own.wasm", "./own.wasm", "near.wasm"] {
        assert_eq!(output(&named(name).unwrap(), b"hey").unwrap(), b"hey");
    }
}
