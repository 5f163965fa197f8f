//! The Lambda Runtime API of 2018-06-01, served to one process on a loopback port of its own.
//!
//! With a port for each process there is never a question which of them speaks; a process of another
//! user is not heard.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::exchange::{Answer, Exchange, Invocation, Refusal};
use super::report::Report;

mod peer;

const ROOT: &str = "/2018-06-01/runtime/";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
/// An error's body may be so long; of a longer one only its header is kept.
const ERROR_BYTES_MAX: usize = 256 * 1024;
/// So much of a body over its limit is read and dropped, so that its sender comes to hear why.
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// More connections at a time than any client has.
const CONNECTIONS_MAX: usize = 32;
/// How long to wait when no connection can be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);

type Reply = Response<Full<Bytes>>;

/// A listening endpoint that is not served yet.
#[derive(Debug)]
pub(super) struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Endpoint {
    /// Takes a free port. Belongs into the runtime that is to serve it.
    pub(super) fn bind() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, address })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves whoever connects, until the runtime ends. `arn` is the function's, for its context.
    pub(super) async fn serve(self, exchange: Arc<Exchange>, arn: Arc<str>) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                // Out of files for a moment; the process tries again.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let full = exchange.connections() >= CONNECTIONS_MAX;
            if full || !peer::is_of_this_user(peer, self.address) {
                continue;
            }
            exchange.connected();
            let (exchange, arn) = (Arc::clone(&exchange), Arc::clone(&arn));
            tokio::spawn(async move {
                converse(stream, &exchange, &arn).await;
                exchange.disconnected();
            });
        }
    }
}

async fn converse(stream: TcpStream, exchange: &Exchange, arn: &str) {
    // Without it each answer would wait for the other side's delayed acknowledgement.
    let _slower = stream.set_nodelay(true);
    let service =
        service_fn(
            |request| async move { Ok::<_, Infallible>(reply(request, exchange, arn).await) },
        );
    // An error is the process's own breaking off, and its end tells more than the error.
    let _broken = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn reply(request: Request<Incoming>, exchange: &Exchange, arn: &str) -> Reply {
    let path = request.uri().path().to_owned();
    let Some(words) = path.strip_prefix(ROOT) else {
        return not_found(&path);
    };
    let words: Vec<&str> = words.split('/').collect();
    let result = match (request.method(), words.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => return next(exchange, arn).await,
        (&Method::POST, ["invocation", id, "response"]) => response(request, exchange, id).await,
        (&Method::POST, ["invocation", id, "error"]) => {
            error(request, |report| exchange.answer(id, Answer::Error(report))).await
        }
        (&Method::POST, ["init", "error"]) => {
            error(request, |report| exchange.fail_init(report)).await
        }
        _ => {
            drain(request.into_body()).await;
            return not_found(&path);
        }
    };
    result.unwrap_or_else(|refused| refused)
}

async fn next(exchange: &Exchange, arn: &str) -> Reply {
    let parked = match exchange.ask() {
        Ok(parked) => parked,
        Err(refusal) => return refused(refusal),
    };
    // The other end is dropped when the process asks again somewhere else.
    let Ok(invocation) = parked.await else {
        return refused(Refusal::InvalidStateTransition);
    };
    let Invocation {
        id,
        deadline_ms,
        trace_id,
        input,
        ..
    } = invocation;
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header("lambda-runtime-aws-request-id", id)
        .header("lambda-runtime-deadline-ms", deadline_ms)
        .header("lambda-runtime-invoked-function-arn", arn)
        .header("lambda-runtime-trace-id", trace_id)
        .body(Full::new(input))
        .unwrap_or_else(|_| refused(Refusal::InvalidStateTransition))
}

async fn response(
    request: Request<Incoming>,
    exchange: &Exchange,
    id: &str,
) -> Result<Reply, Reply> {
    let bytes_max = match exchange.may_answer(id) {
        Ok(bytes_max) => bytes_max,
        Err(refusal) => {
            drain(request.into_body()).await;
            return Err(refused(refusal));
        }
    };
    let answer = match read(request.into_body(), bytes_max).await {
        Body::Whole(output, trailers) => {
            failed_midway(&trailers).map_or(Answer::Output(output), Answer::Error)
        }
        Body::TooLarge => {
            exchange
                .answer(id, Answer::OutputTooLarge)
                .map_err(refused)?;
            return Err(complaint(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                &format!("the output is over the limit of {bytes_max} bytes"),
            ));
        }
        Body::Truncated => return Err(truncated()),
    };
    exchange.answer(id, answer).map_err(refused)?;
    Ok(accepted())
}

async fn error(
    request: Request<Incoming>,
    take: impl FnOnce(Report) -> Result<(), Refusal>,
) -> Result<Reply, Reply> {
    let header = request.headers().get(ERROR_TYPE).cloned();
    let body = match read(request.into_body(), ERROR_BYTES_MAX).await {
        Body::Whole(body, _) => body,
        Body::TooLarge => b"the error's own description was over its limit".to_vec(),
        Body::Truncated => return Err(truncated()),
    };
    let header = header.as_ref().and_then(|header| header.to_str().ok());
    take(Report::read(&body, header)).map_err(refused)?;
    Ok(accepted())
}

/// A streamed output that broke says so in its trailers.
fn failed_midway(trailers: &HeaderMap) -> Option<Report> {
    let header = trailers.get(ERROR_TYPE)?.to_str().ok();
    let body = trailers
        .get(ERROR_BODY)
        .and_then(|body| STANDARD.decode(body.as_bytes()).ok());
    Some(Report::read(&body.unwrap_or_default(), header))
}

/// Lets the sender of a body that nobody wants come to its end: a reply before that would close
/// the connection, and never be read by who still writes.
async fn drain(body: Incoming) {
    drop(read(body, 0).await);
}

enum Body {
    Whole(Vec<u8>, HeaderMap),
    TooLarge,
    Truncated,
}

/// Reads a body whose size the process chooses, into bounded memory.
async fn read(mut body: Incoming, bytes_max: usize) -> Body {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(announced.min(bytes_max));
    let mut trailers = HeaderMap::new();
    let mut length: usize = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Body::Truncated;
        };
        match frame.into_data() {
            Ok(data) => {
                length = length.saturating_add(data.len());
                if length > DRAIN_BYTES_MAX.max(bytes_max) {
                    return Body::TooLarge;
                }
                if length <= bytes_max {
                    bytes.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    if length > bytes_max {
        Body::TooLarge
    } else {
        Body::Whole(bytes, trailers)
    }
}

fn accepted() -> Reply {
    with_body(
        StatusCode::ACCEPTED,
        Bytes::from_static(b"{\"status\":\"OK\"}\n"),
    )
}

fn refused(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::InvalidRequestId => complaint(
            StatusCode::BAD_REQUEST,
            "InvalidRequestID",
            "no invocation of that id runs here now",
        ),
        Refusal::InvalidStateTransition => complaint(
            StatusCode::FORBIDDEN,
            "InvalidStateTransition",
            "each invocation is answered once, and before the next is asked for",
        ),
    }
}

fn truncated() -> Reply {
    complaint(
        StatusCode::BAD_REQUEST,
        "TruncatedHTTPRequest",
        "the body ended before its announced end",
    )
}

fn not_found(path: &str) -> Reply {
    complaint(
        StatusCode::NOT_FOUND,
        "NotFound",
        &format!("the Lambda Runtime API of 2018-06-01 has no `{path}`"),
    )
}

fn complaint(status: StatusCode, error_type: &str, message: &str) -> Reply {
    let body = serde_json::json!({"errorMessage": message, "errorType": error_type});
    with_body(status, Bytes::from(body.to_string()))
}

fn with_body(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}

#[cfg(test)]
mod tests;
