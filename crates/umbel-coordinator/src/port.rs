//! The one port: gRPC and HTTP on the same listener.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};
use umbel_core::limit::MESSAGE_BYTES_MAX;
use umbel_proto::v1;
use v1::cluster_service_server::ClusterServiceServer;
use v1::function_service_server::FunctionServiceServer;
use v1::job_service_server::JobServiceServer;
use v1::rollout_service_server::RolloutServiceServer;
use v1::route_service_server::RouteServiceServer;
use v1::session_service_server::SessionServiceServer;

use crate::Error;
use crate::api::Api;
use crate::door::Door;
use crate::http::nothing_here;
use crate::session::Sessions;

/// HTTP/2 windows: a stream may have a message of full length under way, a connection several.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Requests and streams that one client may have open at a time.
const STREAMS_MAX: u32 = 4_096;
/// How long a peer may be silent before it is asked for a sign, and how long it may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the port waits after it could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes the address; where that is not possible it says why.
pub(crate) async fn listen(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Error::listen(listen, error))?;
    let taken = listener
        .local_addr()
        .map_err(|error| Error::listen(listen, error))?;
    Ok((listener, taken))
}

/// What an incarnation serves.
pub(crate) fn router(api: Api, sessions: Sessions, http: axum::Router) -> axum::Router {
    macro_rules! sized {
        ($service:expr) => {
            $service
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        };
    }
    let routes = Routes::new(sized!(JobServiceServer::new(api.clone())))
        .add_service(sized!(FunctionServiceServer::new(api.clone())))
        .add_service(sized!(RouteServiceServer::new(api.clone())))
        .add_service(sized!(RolloutServiceServer::new(api.clone())))
        .add_service(sized!(ClusterServiceServer::new(api)))
        .add_service(sized!(SessionServiceServer::new(sessions)));
    routes.into_axum_router().merge(http).fallback(nothing_here)
}

/// All that the port serves: what says how it is, always, and the rest as long as there is a store.
pub(crate) fn routes(health: impl HealthService, door: Door) -> Routes {
    let health = tonic_health::pb::health_server::HealthServer::new(health);
    let mut routes = Routes::new(health);
    // The descriptors are a part of this program: it describes itself or not, but it serves.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(umbel_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that a tool can open the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes = routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "the services cannot be described by reflection");
        }
    }
    Routes::from(routes.into_axum_router().fallback_service(door))
}

/// What answers `grpc.health.v1`.
pub(crate) trait HealthService: tonic_health::pb::health_server::Health {}

impl<T: tonic_health::pb::health_server::Health> HealthService for T {}

/// Passes a connection on. After an error, such as too many open files, it waits a little: the
/// next attempt would fail at once, and the one after it.
async fn patient<T>(accepted: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &accepted {
        tracing::warn!(%error, "a connection cannot be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    accepted
}

/// The connections of a listener.
pub(crate) fn connections(
    listener: TcpListener,
) -> impl Stream<Item = io::Result<TcpStream>> + Send + 'static {
    // A small answer must not wait 40 ms for the acknowledgement of the one before it. The
    // builder's own `tcp_nodelay` is not heeded for a listener that is handed in.
    let incoming = TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .with_keepalive(Some(Duration::from_secs(60)));
    incoming.then(patient)
}

/// Serves connections until `over`, then until what is open has ended.
pub(crate) fn serve<S>(
    connections: impl Stream<Item = io::Result<S>> + Send + 'static,
    routes: Routes,
    over: CancellationToken,
) -> JoinHandle<Result<(), tonic::transport::Error>>
where
    S: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let server = Server::builder()
        .accept_http1(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes);
    tokio::spawn(server.serve_with_incoming_shutdown(connections, over.cancelled_owned()))
}
