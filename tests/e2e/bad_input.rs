//! What is wrong is refused with words, and nothing is lost.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::cluster::{Cluster, Process, UMBEL, eventually, quiet_environment, told};

/// Runs a command that is expected to fail; gives the exit code and what it said.
fn fails(cluster: &Cluster, arguments: &[&str]) -> (i32, String) {
    let output = cluster.umbel(arguments).output().expect("the binary runs");
    assert!(
        !output.status.success(),
        "umbel {arguments:?}: {}",
        told(&output)
    );
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().expect("an exit code"), said)
}

fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
}

#[test]
fn an_unknown_function_is_refused_with_names_like_it() {
    let cluster = Cluster::start();
    let (code, said) = fails(&cluster, &["map", "umbel.incremet", "--input", "1"]);
    assert_eq!(code, 4);
    says(&said, &["umbel.incremet", "umbel.increment"]);
}

#[test]
fn an_input_over_the_limit_is_named_by_index() {
    let cluster = Cluster::with_workers(1, 1);
    let long = "x".repeat((6 << 20) + 1);
    let inputs = cluster.inputs(["small".to_owned(), long].into_iter());
    let path = inputs.to_str().expect("UTF-8");
    let (code, said) = fails(&cluster, &["map", "umbel.echo", "--inputs", path]);
    assert_eq!(code, 2, "{said}");
    says(&said, &["1", "6291456"]);
}

#[test]
fn a_malformed_row_is_named_by_line_and_its_job_cancelled() {
    let cluster = Cluster::with_workers(1, 1);
    let inputs = cluster.inputs(["a,b", "1,2", "3"].map(str::to_owned).into_iter());
    let path = inputs.to_str().expect("UTF-8");
    let (code, said) = fails(
        &cluster,
        &["map", "umbel.echo", "--inputs", path, "--format", "csv"],
    );
    assert_eq!(code, 2, "{said}");
    says(&said, &["line 3"]);
    let jobs = cluster.json(&["job", "list"]);
    for job in jobs["jobs"].as_array().expect("a list") {
        assert_eq!(job["state"], "cancelled", "{job}");
    }
}

/// The id of a job stands on stdout before its inputs are in: it is not left behind half.
#[test]
fn a_job_whose_upload_the_store_has_no_room_for_is_cancelled_with_words() {
    let cluster = Cluster::start_with(&[("UMBEL_STORE_BYTES_MAX", "4MiB")]);
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 33) as u8 % 64)
    };
    let inputs = std::iter::repeat_with(|| (0..1 << 20).map(|_| noise()).collect());
    let inputs: Vec<String> = inputs.take(6).collect();
    let path = cluster.inputs(inputs.into_iter());
    let submit = [
        "job",
        "submit",
        "umbel.echo",
        "--inputs",
        path.to_str().expect("UTF-8"),
    ];
    let output = cluster.umbel(&submit).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(4), "{said}");
    let id = String::from_utf8(output.stdout).expect("UTF-8");
    let cancelled = format!(
        "job {} had not all of its inputs and is cancelled",
        id.trim()
    );
    says(&said, &["takes nothing new", "store_bytes_max", &cancelled]);
    assert_eq!(cluster.job(id.trim())["state"], "cancelled");
    // What would have passed the bound was refused before it did.
    let status = cluster.json(&["cluster", "status"]);
    let live = status["live_bytes"].as_u64().expect("a number");
    assert!(live < (4 << 20) / 10 * 9, "{live}");

    // Who can go on with it is told how.
    let again = [&submit[..], &["--request-id", "large"]].concat();
    let (code, said) = fails(&cluster, &again);
    assert_eq!(code, 4, "{said}");
    says(
        &said,
        &["the same command with the same --request-id goes on"],
    );
}

#[test]
fn a_worker_whose_name_is_taken_waits_and_says_so() {
    let mut cluster = Cluster::with_workers(1, 1);
    let second = cluster.spawn_worker("w0", 1, &[]);
    eventually("it says that the name is taken", || {
        second
            .stderr_text()
            .contains("the name \"w0\"")
            .then_some(())
    });
    cluster.workers[0].kill();
    let mut second = second;
    assert_eq!(second.line(), "umbel worker w0 ready, 1 slot");
}

#[test]
fn a_port_in_use_and_a_directory_in_use_are_named() {
    let cluster = Cluster::start();
    let elsewhere = cluster.dir.path().join("elsewhere");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    let arguments = [
        "coordinator",
        "start",
        "--listen",
        cluster.address(),
        "--data",
        elsewhere,
    ];
    let (_, said) = fails(&cluster, &arguments);
    says(&said, &[cluster.address(), "in use"]);
    let data = cluster.dir.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let (_, said) = fails(
        &cluster,
        &[
            "coordinator",
            "start",
            "--listen",
            "127.0.0.1:0",
            "--data",
            data,
        ],
    );
    says(&said, &[data]);
}

#[test]
fn another_address_than_loopback_must_be_meant() {
    let cluster = Cluster::start();
    let data = cluster.dir.path().join("open");
    let data = data.to_str().expect("UTF-8");
    let (code, said) = fails(
        &cluster,
        &[
            "coordinator",
            "start",
            "--listen",
            "0.0.0.0:0",
            "--data",
            data,
        ],
    );
    assert_eq!(code, 2, "{said}");
    says(&said, &["--insecure"]);
}

#[test]
fn a_config_with_an_unknown_key_names_file_and_key() {
    let cluster = Cluster::start();
    let path = cluster.dir.path().join("coordinator.toml");
    std::fs::write(&path, "listn = \"127.0.0.1:0\"\n").expect("a file");
    let path = path.to_str().expect("UTF-8");
    let (code, said) = fails(&cluster, &["coordinator", "start", "--config", path]);
    assert_eq!(code, 2, "{said}");
    says(&said, &[path, "listn", "listen"]);
}

#[test]
fn a_program_that_prints_without_end_fails_and_its_worker_lives() {
    let cluster = Cluster::with_workers(1, 1);
    let (code, said) = fails(&cluster, &["map", "--input", "x", "--", "yes"]);
    assert_eq!(code, 1, "{said}");
    says(&said, &["OutputTooLarge"]);
    assert_eq!(
        cluster.run(&["map", "umbel.increment", "--input", "41"]),
        "42\n"
    );
}

#[test]
fn a_program_that_does_not_exist_is_rejected_with_worker_and_path() {
    let cluster = Cluster::with_workers(1, 1);
    let (code, said) = fails(&cluster, &["map", "--input", "x", "--", "/no/such/program"]);
    assert_eq!(code, 1, "{said}");
    says(&said, &["rejected", "w0", "/no/such/program"]);
}

#[test]
fn garbage_on_the_port_harms_nobody() {
    let cluster = Cluster::with_workers(1, 1);
    for garbage in [
        &b"GET /nothing HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxx",
    ] {
        let mut stream = TcpStream::connect(cluster.address()).expect("it listens");
        stream.write_all(garbage).expect("it takes bytes");
    }
    assert_eq!(
        cluster.run(&["map", "umbel.increment", "--input", "41"]),
        "42\n"
    );
}

#[test]
fn nobody_there_is_exit_code_3_with_the_url() {
    let mut command = Command::new(UMBEL);
    quiet_environment(&mut command);
    command.args(["job", "list", "--coordinator", "http://127.0.0.1:9"]);
    let output = command.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    says(
        &String::from_utf8_lossy(&output.stderr),
        &["http://127.0.0.1:9"],
    );
}

/// A disk that is full, and is freed: the coordinator's files may not grow beyond a size, until they
/// may. It accepts nothing meanwhile and says so, goes on by itself, and nothing acknowledged is missing.
#[test]
fn a_full_disk_closes_the_store_until_there_is_room_and_loses_nothing() {
    let mut cluster = Cluster::with_workers(1, 1);
    let kept = cluster.run(&["job", "submit", "umbel.echo", "--wait", "--input", "kept"]);
    let kept = kept.trim().to_owned();
    cluster.coordinator.kill();

    let data = cluster.dir.path().join("data");
    // `ulimit -f` counts blocks of 512 bytes in most shells, of 1,024 in bash: 24 or 48 MiB, and the
    // upload is of 120.
    let script = format!(
        "ulimit -S -f 49152; exec {UMBEL} coordinator start --listen {} --data {}",
        cluster.address(),
        data.display()
    );
    let mut command = Command::new("/bin/sh");
    quiet_environment(&mut command);
    command.args(["-c", &script]);
    let mut full = Process::start(&mut command, cluster.dir.path().join("full.log"));
    full.line();
    let big = cluster.inputs((0..120).map(|_| "x".repeat(1 << 20)));
    let submit = [
        "job",
        "submit",
        "umbel.echo",
        "--wait",
        "--inputs",
        big.to_str().expect("UTF-8"),
    ];
    let mut upload = cluster.umbel(&submit);
    upload.stdout(Stdio::piped()).stderr(Stdio::piped());
    let upload = upload.spawn().expect("the binary starts");
    eventually("the store is closed", || {
        full.stderr_text()
            .contains("the store is closed")
            .then_some(())
    });
    let list = cluster.umbel(&["job", "list"]).output();
    let list = list.expect("the binary runs");
    assert!(!list.status.success(), "{}", told(&list));

    let pid = i32::try_from(full.id()).ok().and_then(Pid::from_raw);
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, unlimited).expect("it may have more room");
    let uploaded = upload.wait_with_output().expect("it ends");
    assert!(uploaded.status.success(), "{}", told(&uploaded));
    let said = full.stderr_text();
    assert!(!said.contains("panicked"), "{said}");
    says(&said, &["disk", "the store is open again"]);

    let results = cluster.results(&kept);
    assert_eq!(results[0]["output"], "kept");
    let big = String::from_utf8_lossy(&uploaded.stdout).trim().to_owned();
    assert_eq!(cluster.job(&big)["counts"]["succeeded"], 120);
    full.kill();
}
