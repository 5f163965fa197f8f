//! What an operator does with the data: backup while work goes on, restore, check.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::cluster::{Cluster, eventually, told};

/// Runs `umbel admin`, however it ends.
fn admin(cluster: &Cluster, arguments: &[&str]) -> Output {
    let arguments = [&["admin"], arguments].concat();
    cluster.umbel(&arguments).output().expect("the binary runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_backup_taken_while_work_goes_on_is_restored_and_the_work_ends_there() {
    let mut cluster = Cluster::with_workers(2, 4);
    let (data, backup) = (
        cluster.dir.path().join("data"),
        cluster.dir.path().join("backup"),
    );
    let inputs = cluster.inputs((0..30_000).map(|index| index.to_string()));
    let early = cluster.run(&[
        "job",
        "submit",
        "umbel.increment",
        "--inputs",
        text(&inputs),
    ]);
    let late = cluster.run(&["job", "submit", "umbel.sleep", "--range", "0..300"]);
    let (early, late) = (early.trim(), late.trim());
    eventually("some of it is done", || {
        (cluster.job(early)["counts"]["succeeded"] != 0).then_some(())
    });
    cluster.run(&["admin", "backup", text(&backup)]);
    assert_eq!(cluster.ended(early)["counts"]["succeeded"], 30_000);

    // The machine burns down: what is left is the backup, and workers that know more than it.
    cluster.coordinator.kill();
    let checked = admin(&cluster, &["check", "--data", text(&data)]);
    assert!(checked.status.success(), "{}", told(&checked));
    fs::rename(&data, cluster.dir.path().join("burnt")).expect("it is moved");
    cluster.run(&["admin", "restore", text(&backup), "--data", text(&data)]);
    let checked = cluster.json(&["admin", "check", "--data", text(&data)]);
    assert_eq!(
        (&checked["ok"], &checked["jobs"]),
        (&true.into(), &2.into()),
        "{checked}"
    );

    cluster.resume_coordinator();
    assert_eq!(cluster.ended(early)["counts"]["succeeded"], 30_000);
    assert_eq!(cluster.ended(late)["counts"]["succeeded"], 300);
    for (index, result) in cluster.results(early).iter().enumerate() {
        assert_eq!(
            (&result["index"], &result["output"]),
            (&index.into(), &(index + 1).into())
        );
    }
    cluster.coordinator.kill();
    let checked = admin(&cluster, &["check", "--data", text(&data)]);
    assert!(checked.status.success(), "{}", told(&checked));
}

#[test]
fn what_cannot_be_backed_up_checked_or_restored_is_told_with_the_way_out() {
    let cluster = Cluster::start();
    let (data, backup) = (
        cluster.dir.path().join("data"),
        cluster.dir.path().join("backup"),
    );
    let refused = |arguments: &[&str], words: &str| {
        let output = admin(&cluster, arguments);
        let said = told(&output);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(words), "{said}");
    };
    cluster.run(&["admin", "backup", text(&backup)]);
    refused(&["backup", text(&backup)], "never written over anything");
    refused(
        &["check", "--data", text(&data)],
        "stop it to check its data",
    );
    refused(
        &["check", "--data", "/nonexistent/data"],
        "holds no data of umbel",
    );
    refused(
        &["restore", text(&backup), "--data", text(&data)],
        "not empty",
    );
    let records = backup.join("records");
    let whole = fs::read(&records).expect("it is read");
    fs::write(&records, &whole[..whole.len() - 1]).expect("it is cut");
    let new = cluster.dir.path().join("new");
    refused(
        &["restore", text(&backup), "--data", text(&new)],
        "ends too early",
    );
    assert!(!new.exists());
}

#[test]
fn data_that_do_not_open_are_a_problem_and_not_bad_usage() {
    let mut cluster = Cluster::start();
    let data = cluster.dir.path().join("data");
    cluster.run(&["job", "submit", "umbel.sleep", "--range", "0..10"]);
    cluster.coordinator.kill();
    // Once it was opened again it has a snapshot, below which the log must be whole.
    cluster.resume_coordinator();
    cluster.coordinator.kill();
    fs::write(data.join("sled/db"), vec![0; 1 << 20]).expect("it is overwritten");
    let output = admin(&cluster, &["check", "--data", text(&data)]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("is damaged") && said.contains("restore"),
        "{said}"
    );
}
