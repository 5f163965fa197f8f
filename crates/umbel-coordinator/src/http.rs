//! What the port serves besides gRPC: whether it is well, its figures, and a plain no.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tonic::Status;
use tonic::metadata::GRPC_CONTENT_TYPE;
use umbel_store::Store;

use crate::engine::Engine;
use crate::room::Bounds;

#[derive(Clone)]
struct Http {
    engine: Engine,
    store: Store,
    bounds: Bounds,
}

/// `/healthz` and `/metrics`.
pub(crate) fn router(engine: Engine, store: Store, bounds: Bounds) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .with_state(Http {
            engine,
            store,
            bounds,
        })
}

/// 200 as long as requests are accepted. It does not ask the engine: whether that turns is
/// seen in the figures, and a load balancer should not add to its work.
async fn healthz(State(http): State<Http>) -> (StatusCode, &'static str) {
    let signals = http.engine.signals();
    if signals.failure().is_some() {
        return (StatusCode::SERVICE_UNAVAILABLE, "failed\n");
    }
    if signals.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    (StatusCode::OK, "ok\n")
}

/// The answer where nothing is served. To a gRPC client a missing service is a status in a 200; to
/// all others a 200 would say that something is here.
pub(crate) async fn nothing_here(headers: HeaderMap) -> Response {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |kind| kind.as_bytes());
    if kind.starts_with(GRPC_CONTENT_TYPE.as_bytes()) {
        return Status::unimplemented("no such service").into_http();
    }
    let text = "nothing here; besides gRPC there are /healthz and /metrics\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn metrics(State(http): State<Http>) -> Response {
    let Ok(cluster) = http.engine.look(|machine, _| machine.cluster()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the engine has ended\n").into_response();
    };
    let store = http.store.clone();
    let Ok(stats) = tokio::task::spawn_blocking(move || store.stats()).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let text = http
        .engine
        .signals()
        .metrics
        .render(&cluster, &stats, http.bounds);
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}
