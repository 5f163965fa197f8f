//! Counts what is refused, by its reason, wherever it was: at the head of an answer or at the end
//! of a stream.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tonic::{Code, Status};
use umbel_proto::status::reason_of;

use crate::metrics::Metrics;

/// The same response, counted.
pub(crate) fn counted(response: Response, metrics: Arc<Metrics>) -> Response {
    let (head, body) = response.into_parts();
    count(&head.headers, &metrics);
    let body = body.map_frame(move |frame| {
        if let Some(trailers) = frame.trailers_ref() {
            count(trailers, &metrics);
        }
        frame
    });
    Response::from_parts(head, Body::new(body))
}

fn count(headers: &HeaderMap, metrics: &Metrics) {
    if let Some(status) = Status::from_header_map(headers)
        && status.code() != Code::Ok
    {
        metrics.refused(reason_of(&status).map(|(reason, _)| reason));
    }
}
