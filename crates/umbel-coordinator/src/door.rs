//! What the port serves now: an incarnation, or the word that there is none.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use tonic::metadata::GRPC_CONTENT_TYPE;
use tower::{Service, ServiceExt as _};

use crate::api;
use crate::metrics::Metrics;
use crate::refusals::counted;

/// A service that hands each request on to the incarnation that lives. A clone is the same door.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    behind: Arc<RwLock<Behind>>,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Debug)]
enum Behind {
    Open(Router),
    /// Why nothing is served.
    Closed(Arc<str>),
}

impl Door {
    pub(crate) fn open(router: Router, metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            behind: Arc::new(RwLock::new(Behind::Open(router))),
        }
    }

    /// From now on another incarnation serves.
    pub(crate) fn reopen(&self, router: Router) {
        *self.behind.write().unwrap_or_else(PoisonError::into_inner) = Behind::Open(router);
    }

    /// From now on every request is refused with these words.
    pub(crate) fn close(&self, why: &str) {
        let closed = Behind::Closed(why.into());
        *self.behind.write().unwrap_or_else(PoisonError::into_inner) = closed;
    }

    fn behind(&self) -> Behind {
        let behind = self.behind.read().unwrap_or_else(PoisonError::into_inner);
        behind.clone()
    }
}

impl Service<Request<Body>> for Door {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (behind, metrics) = (self.behind(), Arc::clone(&self.metrics));
        Box::pin(async move {
            let response = match behind {
                Behind::Open(router) => router.oneshot(request).await?,
                Behind::Closed(why) => refused(&request, &why),
            };
            Ok(counted(response, metrics))
        })
    }
}

fn refused(request: &Request<Body>, why: &str) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.map_or(&b""[..], |kind| kind.as_bytes());
    if kind.starts_with(GRPC_CONTENT_TYPE.as_bytes()) {
        return api::unreadable(why).into_http();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}
