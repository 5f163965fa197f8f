//! What provokes the reasons that are about published functions.

use std::fs;

use futures::stream::{self, StreamExt as _};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;
use umbel_artifact::Packed;
use umbel_core::limit::{
    ARTIFACT_PACKED_BYTES_MAX, FUNCTION_ALIASES_MAX, FUNCTION_VERSIONS_MAX, FUNCTIONS_MAX,
    WORKER_FUNCTIONS_MAX,
};
use umbel_proto::convert::FromCoordinator;
use umbel_proto::v1;
use v1::function_service_client::FunctionServiceClient;
use v1::publish_version_request::Part;
use v1::route_service_client::RouteServiceClient;

use crate::errors::status;
use crate::redrives::redrive;
use crate::support::{Cluster, create, hello, request, soon};

/// Publications under way at a time; one waits for the disk while others come.
const AT_ONCE: usize = 32;

/// What is packed of a file.
fn packed(content: &str) -> Packed {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("app.py");
    fs::write(&path, content).expect("a file");
    umbel_artifact::pack(&path).expect("it can be packed")
}

fn publication(function: &str, packed: &Packed) -> v1::Publication {
    v1::Publication {
        function: function.to_owned(),
        spec: Some(v1::VersionSpec {
            runtime: v1::Runtime::Python.into(),
            handler: "app.handler".to_owned(),
            ..v1::VersionSpec::default()
        }),
        artifact_digest: packed.contents.digest.0.to_vec().into(),
        packed_bytes: packed.bytes.len() as u64,
        published_by: "a test".to_owned(),
    }
}

async fn send(
    client: &mut FunctionServiceClient<Channel>,
    publication: v1::Publication,
    bytes: Vec<u8>,
) -> Result<v1::PublishVersionResponse, Status> {
    let parts = [Part::Publication(publication), Part::Data(bytes.into())];
    let messages = parts.map(|part| v1::PublishVersionRequest { part: Some(part) });
    let answer = soon(client.publish_version(stream::iter(messages))).await?;
    Ok(answer.into_inner())
}

/// A coordinator that has a function with these contents as its versions.
pub(crate) async fn cluster_with(function: &str, contents: &[&str]) -> Cluster {
    let cluster = Cluster::start().await;
    let mut client = cluster.functions().await;
    for content in contents {
        let packed = packed(content);
        let wish = publication(function, &packed);
        let sent = send(&mut client, wish, packed.bytes).await;
        sent.expect("it is published");
    }
    cluster
}

async fn try_publish(cluster: &Cluster, function: &str) -> Status {
    let packed = packed("a = 1");
    let wish = publication(function, &packed);
    let mut client = cluster.functions().await;
    let sent = send(&mut client, wish, packed.bytes).await;
    sent.expect_err("it is refused")
}

pub(crate) async fn routes(cluster: &Cluster) -> RouteServiceClient<Channel> {
    RouteServiceClient::new(cluster.channel().await)
}

fn pointed(alias: &str, version: u32) -> v1::PointAliasRequest {
    v1::PointAliasRequest {
        function: "f".to_owned(),
        alias: alias.to_owned(),
        version,
        by: "a test".to_owned(),
    }
}

pub(crate) async fn unknown_version() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    let mut wish = request(&["1"]);
    wish.spec.as_mut().expect("a spec").target = "f@2".to_owned();
    let created = cluster.jobs().await.create_job(wish).await;
    created.expect_err("it is refused")
}

pub(crate) async fn pinned_version_gone() -> Status {
    let cluster = cluster_with("f", &["a = 1", "a = 2"]).await;
    let mut client = cluster.jobs().await;
    let mut submit = async |target: &str, pin: Option<bool>| {
        let mut wish = request(&["1"]);
        let spec = wish.spec.as_mut().expect("a spec");
        spec.target = target.to_owned();
        spec.policy.get_or_insert_default().pin = pin;
        create(&mut client, wish).await.id
    };
    let _holds_the_version = submit("f@2", None).await;
    let job_id = submit("f", Some(true)).await;
    let cancel = v1::CancelJobRequest {
        job_id: job_id.clone(),
    };
    client.cancel_job(cancel).await.expect("cancelled");
    let mut routes = routes(&cluster).await;
    let moved = routes.point_alias(pointed("live", 1)).await;
    moved.expect("the first version is live");
    let retire = v1::RetireVersionRequest {
        function: "f".to_owned(),
        version: 2,
    };
    let retired = cluster.functions().await.retire_version(retire).await;
    retired.expect("nothing new runs it");
    status(client.redrive_job(redrive(job_id)).await)
}

pub(crate) async fn unknown_alias() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    let wish = v1::GetRouteRequest {
        function: "f".to_owned(),
        alias: "canary".to_owned(),
    };
    let route = routes(&cluster).await.get_route(wish).await;
    route.expect_err("it is refused")
}

pub(crate) async fn not_published() -> Status {
    let cluster = Cluster::start().await;
    let _worker = cluster.worker("w").await;
    let mut wish = request(&["a"]);
    wish.spec.as_mut().expect("a spec").target = "shout@live".to_owned();
    let created = cluster.jobs().await.create_job(wish).await;
    created.expect_err("it is refused")
}

pub(crate) async fn function_brought() -> Status {
    let cluster = Cluster::start().await;
    let _worker = cluster.worker("w").await;
    try_publish(&cluster, "shout").await
}

pub(crate) async fn no_runtime() -> Status {
    let cluster = Cluster::start().await;
    let _worker = cluster.worker("w").await;
    let packed = packed("a = 1");
    let mut wish = publication("f", &packed);
    wish.spec = Some(v1::VersionSpec {
        runtime: v1::Runtime::Wasm.into(),
        ..v1::VersionSpec::default()
    });
    let sent = send(&mut cluster.functions().await, wish, packed.bytes).await;
    sent.expect_err("it is refused")
}

pub(crate) async fn function_published() -> Status {
    let cluster = cluster_with("shout", &["a = 1"]).await;
    let mut late = cluster.connect(hello("w")).await.expect("a stream");
    late.last_words().await
}

pub(crate) async fn artifact_too_large() -> Status {
    let cluster = Cluster::start().await;
    let packed = packed("a = 1");
    let mut wish = publication("f", &packed);
    wish.packed_bytes = ARTIFACT_PACKED_BYTES_MAX + 1;
    let sent = send(&mut cluster.functions().await, wish, packed.bytes).await;
    sent.expect_err("it is refused")
}

pub(crate) async fn artifact_broken() -> Status {
    let cluster = Cluster::start().await;
    let mut packed = packed("a = 1");
    let middle = packed.bytes.len() / 2;
    packed.bytes[middle] ^= 0xff;
    let wish = publication("f", &packed);
    let sent = send(&mut cluster.functions().await, wish, packed.bytes).await;
    sent.expect_err("it is refused")
}

/// One artifact, and a variable that differs: each is another version.
pub(crate) async fn too_many_versions() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    let client = cluster.functions().await;
    let packed = &packed("a = 1");
    let publish = |number: usize| {
        let mut client = client.clone();
        let mut wish = publication("f", packed);
        let spec = wish.spec.as_mut().expect("a spec");
        let variable = ("NUMBER".to_owned(), number.to_string());
        spec.environment.extend([variable]);
        async move { send(&mut client, wish, packed.bytes.clone()).await }
    };
    let mut published = stream::iter(1..FUNCTION_VERSIONS_MAX)
        .map(publish)
        .buffer_unordered(AT_ONCE);
    while let Some(one) = published.next().await {
        one.expect("there is room");
    }
    let one_more = publish(FUNCTION_VERSIONS_MAX).await;
    one_more.expect_err("it is refused")
}

/// A worker comes again and again, each time with others.
pub(crate) async fn too_many_functions() -> Status {
    let cluster = Cluster::start().await;
    for first in (0..FUNCTIONS_MAX).step_by(WORKER_FUNCTIONS_MAX) {
        let mut hello = hello("w");
        let numbers = first..first + WORKER_FUNCTIONS_MAX;
        hello.functions = numbers.map(|number| format!("f{number}")).collect();
        let mut worker = cluster.connect(hello).await.expect("a stream");
        let welcome = worker.next().await.expect("it is welcome");
        assert!(matches!(welcome, FromCoordinator::Welcome { .. }));
    }
    try_publish(&cluster, "one-more").await
}

pub(crate) async fn too_many_aliases() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    let mut client = routes(&cluster).await;
    // One is there: `live`.
    for number in 1..FUNCTION_ALIASES_MAX {
        let wish = pointed(&format!("a{number}"), 1);
        client.point_alias(wish).await.expect("there is room");
    }
    let one_more = client.point_alias(pointed("one-more", 1)).await;
    one_more.expect_err("it is refused")
}

pub(crate) async fn version_in_use() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    let wish = v1::RetireVersionRequest {
        function: "f".to_owned(),
        version: 1,
    };
    let retired = cluster.functions().await.retire_version(wish).await;
    retired.expect_err("it is refused")
}

pub(crate) async fn nothing_to_roll_back() -> Status {
    let cluster = cluster_with("f", &["a = 1"]).await;
    let wish = v1::RollbackAliasRequest {
        function: "f".to_owned(),
        alias: "live".to_owned(),
        by: "a test".to_owned(),
    };
    let moved = routes(&cluster).await.rollback_alias(wish).await;
    moved.expect_err("it is refused")
}
