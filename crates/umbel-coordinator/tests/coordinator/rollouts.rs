//! Rollouts over gRPC: what is refused, what is shown, and that a restart changes nothing.

use tonic::Status;
use tonic::transport::Channel;
use umbel_proto::v1;
use umbel_proto::v1::rollout_service_client::RolloutServiceClient;

use crate::published::cluster_with;
use crate::support::Cluster;

async fn rollouts(cluster: &Cluster) -> RolloutServiceClient<Channel> {
    RolloutServiceClient::new(cluster.channel().await)
}

/// `f@live` points at version 2; version 1 is rolled out in place of it.
fn wish() -> v1::StartRolloutRequest {
    v1::StartRolloutRequest {
        function: "f".to_owned(),
        alias: "live".to_owned(),
        to_version: 1,
        plan: Some(v1::RolloutPlan {
            steps: vec![100, 10_000],
            guards: vec!["failure_rate<=+0.5%".to_owned(), "p95<=+20%".to_owned()],
            min_invocations: 500,
            bake_ms: 0,
        }),
        by: "a test".to_owned(),
        ..v1::StartRolloutRequest::default()
    }
}

async fn start(cluster: &Cluster, wish: v1::StartRolloutRequest) -> Result<v1::Rollout, Status> {
    let started = rollouts(cluster).await.start_rollout(wish).await?;
    Ok(started.into_inner().rollout.unwrap_or_default())
}

async fn pause(cluster: &Cluster) -> Result<v1::Rollout, Status> {
    let asked = v1::PauseRolloutRequest {
        function: "f".to_owned(),
        alias: "live".to_owned(),
        by: "a test".to_owned(),
    };
    let paused = rollouts(cluster).await.pause_rollout(asked).await?;
    Ok(paused.into_inner().rollout.unwrap_or_default())
}

async fn promote(cluster: &Cluster) -> v1::Rollout {
    let asked = v1::PromoteRolloutRequest {
        function: "f".to_owned(),
        alias: "live".to_owned(),
        by: "a test".to_owned(),
    };
    let promoted = rollouts(cluster).await.promote_rollout(asked).await;
    promoted
        .expect("promoted")
        .into_inner()
        .rollout
        .unwrap_or_default()
}

pub(crate) async fn rollout_under_way() -> Status {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    start(&cluster, wish()).await.expect("it begins");
    start(&cluster, wish()).await.expect_err("it is refused")
}

pub(crate) async fn no_rollout() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    pause(&cluster).await.expect_err("it is refused")
}

pub(crate) async fn rollout_over() -> Status {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    start(&cluster, wish()).await.expect("it begins");
    promote(&cluster).await;
    pause(&cluster).await.expect_err("it is refused")
}

pub(crate) async fn rollout_impossible() -> Status {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    let same = v1::StartRolloutRequest {
        to_version: 2,
        ..wish()
    };
    start(&cluster, same).await.expect_err("it is refused")
}

#[tokio::test]
async fn a_rollout_is_shown_watched_and_moved() {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    let started = start(&cluster, wish()).await.expect("it begins");
    assert_eq!(started.state(), v1::RolloutState::Advancing);
    assert_eq!((started.from_version, started.share), (2, 100));
    assert_eq!(started.waits_for(), v1::RolloutWait::Invocations);
    let undecided = |guard: &v1::GuardFinding| guard.state() == v1::GuardState::Undecided;
    assert!(started.guards.len() == 2 && started.guards.iter().all(undecided));
    let asked = v1::WatchRolloutRequest {
        function: "f".to_owned(),
        alias: "live".to_owned(),
    };
    let watched = rollouts(&cluster).await.watch_rollout(asked).await;
    let mut watched = watched.expect("it is there").into_inner();
    let mut next = async || {
        let answer = watched.message().await.expect("the stream goes on");
        answer.and_then(|answer| answer.rollout)
    };
    assert_eq!(
        next().await.expect("now").state(),
        v1::RolloutState::Advancing
    );
    assert_eq!(
        pause(&cluster).await.expect("paused").state(),
        v1::RolloutState::Paused
    );
    let promoted = promote(&cluster).await;
    assert_eq!(
        (promoted.state(), promoted.share),
        (v1::RolloutState::Promoted, 10_000)
    );
    let mut last = next().await.expect("and when it has changed");
    while let Some(rollout) = next().await {
        last = rollout;
    }
    assert_eq!(last.state(), v1::RolloutState::Promoted);
}

#[tokio::test]
async fn a_pointer_that_is_none_is_refused_by_its_field() {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    let bad = v1::StartRolloutRequest {
        key: "user/id".to_owned(),
        ..wish()
    };
    let status = start(&cluster, bad).await.expect_err("it is refused");
    assert!(
        status.message().starts_with("key: "),
        "{}",
        status.message()
    );
}

async fn copy_to(cluster: &Cluster, to_version: u32) -> Result<v1::Shadow, Status> {
    let asked = v1::StartShadowRequest {
        function: "f".to_owned(),
        alias: "live".to_owned(),
        to_version,
        sample: 500,
        ..v1::StartShadowRequest::default()
    };
    let started = rollouts(cluster).await.start_shadow(asked).await?;
    Ok(started.into_inner().shadow.unwrap_or_default())
}

pub(crate) async fn not_pure() -> Status {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    copy_to(&cluster, 1).await.expect_err("it is not pure")
}

pub(crate) async fn no_shadow() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    let asked = v1::StopShadowRequest {
        function: "f".to_owned(),
        alias: "live".to_owned(),
    };
    let stopped = rollouts(&cluster).await.stop_shadow(asked).await;
    stopped.expect_err("there is none")
}
