//! Every reason of `proto/ERRORS.md` is provoked over gRPC, and is what that table says.
//!
//! A new reason needs a line in [`PROVOCATIONS`], and a function that provokes it.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::future::BoxFuture;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use umbel_core::id::WorkerId;
use umbel_core::limit::{INLINE_INPUTS_MAX, INPUT_BYTES_MAX};
use umbel_proto::convert::FromCoordinator;
use umbel_proto::v1;
use v1::append_inputs_request::Content;
use v1::job_service_client::JobServiceClient;

use crate::support::{Cluster, Worker, create, hello, open_request, request, soon};
use crate::uploads::Upload;
use crate::{published, redrives, rollouts, routes};

type Provocation = fn() -> BoxFuture<'static, Status>;

macro_rules! provocations {
    ($($reason:literal $provoke:path,)*) => {
        const PROVOCATIONS: &[(&str, Provocation)] = &[$(($reason, || Box::pin($provoke()))),*];
    };
}

provocations! {
    "BAD_REQUEST" bad_request,
    "UNKNOWN_FUNCTION" unknown_function,
    "UNKNOWN_VERSION" published::unknown_version,
    "PINNED_VERSION_GONE" published::pinned_version_gone,
    "UNKNOWN_ALIAS" published::unknown_alias,
    "NOT_PUBLISHED" published::not_published,
    "FUNCTION_BROUGHT" published::function_brought,
    "FUNCTION_PUBLISHED" published::function_published,
    "NO_RUNTIME" published::no_runtime,
    "ARTIFACT_TOO_LARGE" published::artifact_too_large,
    "ARTIFACT_BROKEN" published::artifact_broken,
    "TOO_MANY_VERSIONS" published::too_many_versions,
    "TOO_MANY_FUNCTIONS" published::too_many_functions,
    "TOO_MANY_ALIASES" published::too_many_aliases,
    "VERSION_IN_USE" published::version_in_use,
    "NOTHING_TO_ROLL_BACK" published::nothing_to_roll_back,
    "BAD_RULE" routes::bad_rule,
    "BAD_WEIGHTS" routes::bad_weights,
    "ROUTE_LOOP" routes::route_loop,
    "ROUTE_TOO_LONG" routes::route_too_long,
    "ROUTE_TOO_LARGE" routes::route_too_large,
    "ROUTE_IN_USE" routes::route_in_use,
    "NO_EXPERIMENT" routes::no_experiment,
    "ROLLOUT_UNDER_WAY" rollouts::rollout_under_way,
    "NO_ROLLOUT" rollouts::no_rollout,
    "ROLLOUT_OVER" rollouts::rollout_over,
    "ROLLOUT_IMPOSSIBLE" rollouts::rollout_impossible,
    "NOT_PURE" rollouts::not_pure,
    "NO_SHADOW" rollouts::no_shadow,
    "UNKNOWN_JOB" unknown_job,
    "UNKNOWN_INVOCATION" unknown_invocation,
    "INVOCATION_OPEN" invocation_open,
    "UNKNOWN_WORKER" unknown_worker,
    "INPUT_TOO_LARGE" input_too_large,
    "TOO_MANY_INPUTS" too_many_inputs,
    "BLOCK_BROKEN" block_broken,
    "BAD_PAGE_TOKEN" bad_page_token,
    "REQUEST_ID_REUSED" request_id_reused,
    "TOO_MANY_JOBS" too_many_jobs,
    "TOO_MANY_STREAMS" too_many_streams,
    "APPEND_GAP" append_gap,
    "APPEND_SUPERSEDED" append_superseded,
    "JOB_SEALED" job_sealed,
    "SEAL_MISMATCH" seal_mismatch,
    "JOB_FINISHED" job_finished,
    "JOB_RUNNING" job_running,
    "NOT_REDRIVABLE" redrives::not_redrivable,
    "NOTHING_TO_REDRIVE" redrives::nothing_to_redrive,
    "REDRIVE_TOO_LARGE" redrives::redrive_too_large,
    "TOO_MANY_REDRIVES" redrives::too_many_redrives,
    "NO_SLOT" no_slot,
    "NO_ABLE_WORKER" no_able_worker,
    "INVOKE_TIMEOUT" invoke_timeout,
    "INVOKE_LOST" invoke_lost,
    "WORKER_NAME_TAKEN" worker_name_taken,
    "TOO_MANY_WORKERS" too_many_workers,
    "SESSION_SUPERSEDED" session_superseded,
    "SESSION_SILENT" session_silent,
    "PROTOCOL_MISMATCH" protocol_mismatch,
    "PROTOCOL_BROKEN" protocol_broken,
    "BACKUP_UNDER_WAY" backup_under_way,
    "BACKUP_BEHIND" backup_behind,
    "STORE_FULL" store_full,
    "STORE_UNAVAILABLE" store_unavailable,
    "SHUTTING_DOWN" shutting_down,
}

/// In the table, and not provoked here: what gives it is a race.
const NOT_PROVOKED: &[&str] = &[
    // Two redrives of one job at the same moment, three times in a row.
    "JOB_CHANGED",
];

/// A row of the table: reason, code, keys of the metadata.
struct Row {
    reason: String,
    code: String,
    keys: BTreeSet<String>,
}

fn table() -> Vec<Row> {
    let text = include_str!("../../../../proto/ERRORS.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let bare = |cell: &str| cell.trim_matches('`').to_owned();
        let keys = cells[3].split(',').map(|key| bare(key.trim()));
        Row {
            reason: bare(cells[1]),
            code: bare(cells[2]),
            keys: keys.filter(|key| !key.is_empty()).collect(),
        }
    };
    rows.map(row).collect()
}

/// What is wrong with a status that should be what a row says.
fn judge(row: &Row, status: &Status) -> Result<(), String> {
    let Some(info) = status.get_details_error_info() else {
        return Err(format!("there is no ErrorInfo in {status:?}"));
    };
    let keys: BTreeSet<String> = info.metadata.keys().cloned().collect();
    let found = (
        info.reason,
        format!("{:?}", status.code()),
        info.domain.as_str(),
        &keys,
    );
    let wanted = (row.reason.clone(), row.code.clone(), "umbel", &row.keys);
    if found != wanted {
        return Err(format!(
            "it is {found:?}, not {wanted:?}: {}",
            status.message()
        ));
    }
    if status.message().is_empty() {
        return Err("it says nothing to people".to_owned());
    }
    let is_field = row.reason == "BAD_REQUEST";
    if is_field && status.get_details_bad_request().is_none() {
        return Err("there is no BadRequest that names the field".to_owned());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_of_the_table_is_given_as_the_table_says() {
    let mut wrong = Vec::new();
    let rows = table();
    for row in &rows {
        let found = PROVOCATIONS
            .iter()
            .find(|(reason, _)| *reason == row.reason);
        let Some((_, provoke)) = found else {
            if NOT_PROVOKED.contains(&row.reason.as_str()) {
                continue;
            }
            wrong.push(format!("{}: nothing here provokes it", row.reason));
            continue;
        };
        if let Err(what) = judge(row, &provoke().await) {
            wrong.push(format!("{}: {what}", row.reason));
        }
    }
    for (reason, _) in PROVOCATIONS {
        if !rows.iter().any(|row| row.reason == *reason) {
            wrong.push(format!("{reason}: it does not stand in the table"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(rows.len() >= 30, "the table was read");
}

pub(crate) fn status<T: std::fmt::Debug>(answer: Result<T, Status>) -> Status {
    answer.map(drop).expect_err("it is refused")
}

/// A coordinator that knows `shout`, a client of it, and a worker that does nothing.
pub(crate) async fn shop() -> (Cluster, JobServiceClient<Channel>, Worker) {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await;
    let client = cluster.jobs().await;
    (cluster, client, worker)
}

async fn bad_request() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let mut wish = request(&["a"]);
    wish.spec.as_mut().expect("a spec").target = String::new();
    status(client.create_job(wish).await)
}

async fn unknown_function() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let mut wish = request(&["a"]);
    wish.spec.as_mut().expect("a spec").target = "whisper".to_owned();
    status(client.create_job(wish).await)
}

async fn unknown_job() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job_id = "nightly".to_owned();
    status(client.get_job(v1::GetJobRequest { job_id }).await)
}

async fn unknown_invocation() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job_id = create(&mut client, request(&["a"])).await.id;
    let wish = v1::GetInvocationRequest { job_id, index: 1 };
    status(client.get_invocation(wish).await)
}

async fn invocation_open() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job_id = create(&mut client, request(&["a"])).await.id;
    let wish = v1::GetCapsuleRequest { job_id, index: 0 };
    match client.get_capsule(wish).await {
        Ok(parts) => status(parts.into_inner().message().await),
        Err(status) => status,
    }
}

async fn unknown_worker() -> Status {
    let cluster = Cluster::start().await;
    let name = "nobody".to_owned();
    let wish = v1::DrainWorkerRequest { name };
    status(cluster.cluster().await.drain_worker(wish).await)
}

async fn input_too_large() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job = create(&mut client, open_request()).await;
    let mut upload = Upload::open(&mut client, &job.id).await.expect("open");
    upload.next().await.expect("open");
    let inputs = vec![Bytes::from(vec![b'x'; INPUT_BYTES_MAX + 1])];
    upload.content(0, Content::Inputs(v1::Inputs { inputs }));
    status(upload.next().await)
}

async fn too_many_inputs() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let inputs = vec!["a"; INLINE_INPUTS_MAX + 1];
    status(client.create_job(request(&inputs)).await)
}

async fn block_broken() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job = create(&mut client, open_request()).await;
    let mut upload = Upload::open(&mut client, &job.id).await.expect("open");
    upload.next().await.expect("open");
    upload.content(0, Content::Block(Bytes::from_static(b"no block at all")));
    status(upload.next().await)
}

async fn bad_page_token() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let wish = v1::ListJobsRequest {
        page_token: "7".to_owned(),
        ..Default::default()
    };
    status(client.list_jobs(wish).await)
}

async fn request_id_reused() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let wish = |input| v1::CreateJobRequest {
        request_id: "order-17".to_owned(),
        ..request(&[input])
    };
    create(&mut client, wish("a")).await;
    status(client.create_job(wish("b")).await)
}

async fn too_many_jobs() -> Status {
    let cluster = Cluster::start_with(|config| config.machine.jobs_max = 1).await;
    let _worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    create(&mut client, request(&["a"])).await;
    status(client.create_job(request(&["b"])).await)
}

async fn too_many_streams() -> Status {
    let cluster = Cluster::start_with(|config| config.streams.watches = 0).await;
    let _worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let job_id = create(&mut client, request(&["a"])).await.id;
    status(client.watch_job(v1::WatchJobRequest { job_id }).await)
}

async fn append_gap() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job = create(&mut client, open_request()).await;
    let mut upload = Upload::open(&mut client, &job.id).await.expect("open");
    upload.next().await.expect("open");
    upload.plain(3, &["d"]);
    status(upload.next().await)
}

async fn append_superseded() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job = create(&mut client, open_request()).await;
    let mut older = Upload::open(&mut client, &job.id).await.expect("open");
    older.next().await.expect("open");
    let mut newer = Upload::open(&mut client, &job.id).await.expect("open");
    newer.next().await.expect("open");
    older.plain(0, &["a"]);
    status(older.next().await)
}

async fn job_sealed() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job = create(&mut client, request(&["a"])).await;
    let mut upload = Upload::open(&mut client, &job.id).await.expect("a stream");
    loop {
        if let Err(status) = upload.next().await {
            return status;
        }
        upload.plain(1, &["b"]);
    }
}

async fn seal_mismatch() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job_id = create(&mut client, open_request()).await.id;
    status(
        client
            .seal_job(v1::SealJobRequest { job_id, total: 3 })
            .await,
    )
}

async fn job_finished() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job_id = create(&mut client, open_request()).await.id;
    let cancel = v1::CancelJobRequest {
        job_id: job_id.clone(),
    };
    client.cancel_job(cancel).await.expect("cancelled");
    status(
        client
            .seal_job(v1::SealJobRequest { job_id, total: 0 })
            .await,
    )
}

async fn job_running() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job_id = create(&mut client, request(&["a"])).await.id;
    status(client.delete_job(v1::DeleteJobRequest { job_id }).await)
}

/// An invoke of `shout`, under way.
async fn invoke(cluster: &Cluster, timeout_ms: u64) -> tokio::task::JoinHandle<Status> {
    let mut functions = cluster.functions().await;
    tokio::spawn(async move {
        let wish = v1::InvokeRequest {
            target: "shout".to_owned(),
            timeout_ms,
            ..Default::default()
        };
        status(soon(functions.invoke(wish)).await)
    })
}

/// Waits until a worker is asked to invoke.
async fn invoked(worker: &mut Worker) {
    while !matches!(
        worker.next().await.expect("the session goes on"),
        FromCoordinator::Invoke(_)
    ) {}
}

async fn no_slot() -> Status {
    let cluster = Cluster::start_with(|config| config.machine.invokes_max = 1).await;
    let mut worker = cluster.worker("w").await;
    let _first = invoke(&cluster, 60_000).await;
    invoked(&mut worker).await;
    let second = invoke(&cluster, 60_000).await;
    second.await.expect("an answer")
}

async fn no_able_worker() -> Status {
    let cluster = Cluster::start().await;
    drop(cluster.worker("w").await);
    let mut status = cluster.cluster().await;
    loop {
        let seen = status.get_cluster_status(v1::GetClusterStatusRequest {});
        if soon(seen).await.expect("a status").into_inner().workers == 0 {
            break;
        }
    }
    invoke(&cluster, 50).await.await.expect("an answer")
}

async fn invoke_timeout() -> Status {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let answer = invoke(&cluster, 200).await;
    invoked(&mut worker).await;
    answer.await.expect("an answer")
}

async fn invoke_lost() -> Status {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let answer = invoke(&cluster, 60_000).await;
    invoked(&mut worker).await;
    drop(worker);
    answer.await.expect("an answer")
}

async fn worker_name_taken() -> Status {
    let cluster = Cluster::start().await;
    let _first = cluster.worker("w").await;
    let mut second = hello("w");
    second.worker = WorkerId([9; 16]);
    let mut second = cluster.connect(second).await.expect("a stream");
    second.last_words().await
}

async fn too_many_workers() -> Status {
    let cluster = Cluster::start_with(|config| config.machine.sessions_max = 1).await;
    let _first = cluster.worker("a").await;
    let mut second = cluster.connect(hello("b")).await.expect("a stream");
    second.last_words().await
}

async fn session_superseded() -> Status {
    let cluster = Cluster::start().await;
    let mut older = cluster.worker("w").await;
    let _newer = cluster.worker("w").await;
    older.last_words().await
}

async fn session_silent() -> Status {
    let cluster = Cluster::start_with(|config| config.machine.lease_timeout_ms = 300).await;
    cluster.worker("w").await.last_words().await
}

async fn protocol_mismatch() -> Status {
    let cluster = Cluster::start().await;
    let mut strange = hello("w");
    strange.protocol = 77;
    let mut strange = cluster.connect(strange).await.expect("a stream");
    strange.last_words().await
}

async fn protocol_broken() -> Status {
    let cluster = Cluster::start().await;
    let mut rude = cluster.worker("w").await;
    rude.say_raw(v1::ConnectRequest { message: None });
    rude.last_words().await
}

/// Puts so many inputs of full length into a job of its own.
async fn fill(client: &mut JobServiceClient<Channel>, inputs: u64) {
    let job = create(client, open_request()).await;
    let mut upload = Upload::open(client, &job.id).await.expect("open");
    upload.next().await.expect("open");
    for index in 0..inputs {
        // A byte that differs: no two values are one.
        let fill = u8::try_from(index).expect("few");
        let inputs = vec![Bytes::from(vec![fill; INPUT_BYTES_MAX])];
        upload.content(index, Content::Inputs(v1::Inputs { inputs }));
        upload.next().await.expect("room on the disk");
    }
}

async fn backup(cluster: &Cluster) -> Result<tonic::Streaming<v1::BackupResponse>, Status> {
    let mut client = cluster.cluster().await;
    Ok(soon(client.backup(v1::BackupRequest {}))
        .await?
        .into_inner())
}

/// Reads a backup until it fails.
async fn read(backup: &mut tonic::Streaming<v1::BackupResponse>) -> Status {
    loop {
        match soon(backup.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the backup is whole"),
            Err(status) => return status,
        }
    }
}

async fn backup_under_way() -> Status {
    let (cluster, mut client, _worker) = shop().await;
    // More than waits on the way to a reader, so that the first one is under way still.
    fill(&mut client, 4).await;
    let mut first = backup(&cluster).await.expect("a stream");
    soon(first.message()).await.expect("it begins");
    let second = backup(&cluster).await;
    match second {
        Ok(mut second) => read(&mut second).await,
        Err(status) => status,
    }
}

async fn backup_behind() -> Status {
    let (cluster, mut client, _worker) = shop().await;
    fill(&mut client, 4).await;
    let mut slow = backup(&cluster).await.expect("a stream");
    soon(slow.message()).await.expect("it begins");
    let inputs = umbel_store::FOLLOWED_BYTES_MAX / INPUT_BYTES_MAX + 1;
    fill(&mut client, inputs as u64).await;
    read(&mut slow).await
}

async fn store_full() -> Status {
    let cluster = Cluster::start_with(|config| config.bounds.store_bytes_max = 1).await;
    let _worker = cluster.worker("w").await;
    status(cluster.jobs().await.create_job(request(&["a"])).await)
}

async fn store_unavailable() -> Status {
    let (cluster, mut client, _worker) = shop().await;
    std::fs::remove_dir_all(cluster.dir()).expect("it is removed");
    status(soon(client.create_job(request(&["a"]))).await)
}

async fn shutting_down() -> Status {
    let (cluster, mut client, _worker) = shop().await;
    let job = create(&mut client, request(&["a"])).await;
    let watch = v1::WatchJobRequest { job_id: job.id };
    let mut watcher = client.watch_job(watch).await.expect("seen").into_inner();
    let drained = tokio::spawn(cluster.running.drain());
    let told = loop {
        match soon(watcher.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the job has not ended"),
            Err(status) => break status,
        }
    };
    soon(drained).await.expect("it ends").expect("in order");
    told
}
