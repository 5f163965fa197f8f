//! The port and the data directory.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use umbel_coordinator::{Config, Coordinator, Error};
use umbel_proto::v1;

use crate::support::{Cluster, create, request};

/// One request of HTTP/1.1, in a thread of its own: status line and body.
pub(crate) async fn get(addr: SocketAddr, path: &'static str) -> String {
    ask(addr, path, "").await
}

/// The same, with headers of its own.
async fn ask(addr: SocketAddr, path: &'static str, headers: &'static str) -> String {
    let got = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: umbel\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    got.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_figures_are_served_beside_grpc() {
    let cluster = Cluster::start().await;
    drop(cluster.worker("w").await);
    create(&mut cluster.jobs().await, request(&["a"])).await;
    let addr = cluster.running.addr();
    let health = get(addr, "/healthz").await;
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with("ok\n"),
        "{health}"
    );
    let metrics = get(addr, "/metrics").await;
    assert!(
        metrics.contains("umbel_jobs{state=\"running\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("umbel_commit_seconds_count"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_where_nothing_is_served_is_not_found() {
    let cluster = Cluster::start().await;
    let answer = get(cluster.running.addr(), "/nothing").await;
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.contains("/healthz"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_hears_of_a_missing_service_in_its_own_way() {
    let cluster = Cluster::start().await;
    let addr = cluster.running.addr();
    let answer = ask(
        addr,
        "/umbel.v0.Nothing/Here",
        "Content-Type: application/grpc+proto\r\n",
    );
    let answer = answer.await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("grpc-status: 12"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_health_tells_each_service() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    let cluster = Cluster::start().await;
    let mut client = HealthClient::new(cluster.channel().await);
    for service in ["", "umbel.v1.JobService"] {
        let check = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(check).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_harms_nobody() {
    let cluster = Cluster::start().await;
    let garbage: [&[u8]; 4] = [
        b"",
        &[0xff; 4096],
        b"GET /nothing HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxx",
    ];
    let mut streams = Vec::new();
    for garbage in garbage {
        let mut stream = TcpStream::connect(cluster.running.addr()).unwrap();
        stream.write_all(garbage).unwrap();
        streams.push(stream);
    }
    let mut client = cluster.jobs().await;
    assert!(
        client
            .list_jobs(v1::ListJobsRequest::default())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let cluster = Cluster::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    let mut config = Config::new(dir.path());
    config.listen = cluster.running.addr();
    let error = Coordinator::start(config).await.unwrap_err();
    assert!(matches!(error, Error::PortInUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&cluster.running.addr().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_data_directory_in_use_is_named() {
    let cluster = Cluster::start().await;
    let mut config = Config::new(cluster.dir());
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let error = Coordinator::start(config).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains(&cluster.dir().display().to_string()) && said.contains("in use"),
        "{said}"
    );
}
