//! Functions that a worker brings itself: warm ones of other languages, and what is
//! left of any of them when their worker is killed.

use crate::cluster::{Cluster, eventually, has};
use crate::examples::examples;

fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
        !matches!(state, Some(b'Z' | b'X'))
    })
}

#[test]
fn a_result_says_whether_it_was_a_cold_start_and_what_that_took() {
    let test = "a_result_says_whether_it_was_a_cold_start_and_what_that_took";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let mut cluster = Cluster::start();
    let config = examples().join("worker.toml");
    cluster.add_worker("w0", 1, &["--config", config.to_str().expect("UTF-8")]);
    let input = r#"{"width": 32, "height": 16, "box": 640}"#;
    let submit = ["job", "submit", "resize-python"];
    let inputs = ["--input", input].repeat(20);

    let id = cluster.run(&[&submit[..], &inputs].concat());
    assert_eq!(cluster.ended(id.trim())["state"], "succeeded");
    let results = cluster.results(id.trim());

    let cold: Vec<_> = (results.iter())
        .filter_map(|result| result.get("cold_start").map(|parts| (result, parts)))
        .collect();
    let [(result, parts)] = &cold[..] else {
        panic!("the only slot needs one instance: {cold:?}");
    };
    let part = |name: &str| parts[name].as_u64().expect("a time");
    assert_eq!(part("fetch_us"), 0, "it is the worker's own");
    let started = part("load_us") + part("init_us");
    assert!(part("load_us") > 0 && part("init_us") > 0, "{parts}");
    let all = started + part("first_call_us");
    assert!(Some(all) <= result["duration_us"].as_u64(), "{parts}");
    let table = cluster.run(&["job", "results", id.trim()]);
    let cold_rows = table.lines().filter(|row| row.contains("  cold  "));
    assert_eq!(cold_rows.count(), 1, "{table}");
    let invoked = cluster.json(&["invoke", "resize-python", input]);
    assert!(invoked.get("cold_start").is_none(), "{invoked}");
}

#[test]
fn what_a_function_left_in_the_background_ends_with_a_killed_worker() {
    let mut cluster = Cluster::start();
    let pids = cluster.dir.path().join("pids");
    let script = format!(
        "slow=sh -c 'setsid sh -c \"echo $$ $PPID > {0}.new; mv {0}.new {0}; exec sleep 600\" & sleep 600'",
        pids.display()
    );
    cluster.add_worker("w0", 1, &["--exec", &script]);
    let submit = ["job", "submit", "slow", "--range", "0..1"];
    let id = cluster.run(&submit);
    let pids = eventually("the function runs", || std::fs::read_to_string(&pids).ok());
    assert!(pids.split_whitespace().all(is_alive), "{pids}");

    cluster.workers[0].kill();

    eventually("nothing is left of it", || {
        (!pids.split_whitespace().any(is_alive)).then_some(())
    });
    cluster.run(&["job", "cancel", id.trim()]);
}
