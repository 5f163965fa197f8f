//! Artifacts on their way to workers, a page at a time.

use std::pin::Pin;

use bytes::BytesMut;
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use umbel_core::function::Artifact;
use umbel_proto::status::{self, Metadata, Reason};
use umbel_proto::v1;
use umbel_store::Store;

use crate::api::unreadable;

/// Parts that travel in one message.
const PAGE_PARTS: u16 = 8;

/// The pages of an artifact, in order.
pub(super) type Pages =
    Pin<Box<dyn Stream<Item = Result<v1::FetchArtifactResponse, Status>> + Send + 'static>>;

/// Reads an artifact as fast as its worker takes it, and gives its turn back when it ends.
pub(super) fn pages(store: Store, artifact: Artifact, turn: OwnedSemaphorePermit) -> Pages {
    let next = move |place: Option<(u16, u64)>| {
        let store = store.clone();
        async move {
            let (part, sent) = place?;
            let read = tokio::task::spawn_blocking(move || page(&store, artifact, part, sent));
            let read = read.await;
            let page = read.unwrap_or_else(|error| Err(Status::internal(error.to_string())));
            Some(match page {
                Ok(data) => {
                    let sent = sent + data.len() as u64;
                    let left = sent < artifact.packed_bytes;
                    let next = left.then(|| (part.saturating_add(PAGE_PARTS), sent));
                    (Ok(v1::FetchArtifactResponse { data: data.into() }), next)
                }
                Err(status) => (Err(status), None),
            })
        }
    };
    let pages = stream::unfold(Some((0, 0)), next);
    pages.inspect(move |_| _ = &turn).boxed()
}

fn page(store: &Store, artifact: Artifact, first: u16, sent: u64) -> Result<BytesMut, Status> {
    let mut page = BytesMut::new();
    for part in first..first.saturating_add(PAGE_PARTS) {
        let read = store.artifact_part(artifact.upload, part);
        let Some(bytes) = read.map_err(|error| unreadable(&error.to_string()))? else {
            break;
        };
        page.extend_from_slice(&bytes);
    }
    let expected = artifact.packed_bytes.saturating_sub(sent);
    if page.is_empty() && expected > 0 {
        let digest = artifact.digest;
        let words = format!("artifact {digest} is not there any more: nothing needs it");
        return Err(broken(&words));
    }
    Ok(page)
}

/// An artifact cannot be had.
pub(super) fn broken(problem: &str) -> Status {
    let metadata = Metadata::from([("problem".to_owned(), problem.to_owned())]);
    status::status(Reason::ArtifactBroken, problem, metadata)
}
