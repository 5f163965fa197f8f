//! An artifact's way to this worker, and from there to what can be invoked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::time::sleep;
use tonic::{Code, Status};
use umbel_artifact::{Cache, Cached};
use umbel_core::function::{Runtime, Version};
use umbel_core::limit::MESSAGE_BYTES_MAX;
use umbel_proto::status::{Reason, reason_of};
use umbel_proto::v1;
use umbel_proto::v1::session_service_client::SessionServiceClient;
use umbel_runtime::{Failure, FailureKind};

use super::ready::{Arrival, Ready};
use super::{Shelf, rejected};
use crate::version;

/// How often a fetch is tried, and the first pause between two; it doubles.
const ATTEMPTS_MAX: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);

impl Shelf {
    /// Fetches what is not there, and makes it ready.
    pub(super) async fn make(
        self: &Arc<Self>,
        version: &Arc<Version>,
    ) -> Result<Arc<Ready>, Failure> {
        let (cached, mut arrival) = match self.cached(version).await? {
            Some(cached) => (cached, None),
            None => {
                let (cached, arrival) = self.fetch(version).await?;
                (cached, Some(arrival))
            }
        };
        let (name, version) = (Arc::clone(version), Arc::clone(version));
        let made = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let executable = version::executable(&version, cached.folder());
            let executable = executable.map_err(|words| unable(&version, &words))?;
            // A module counts its own loading.
            if let Some(arrival) = arrival
                .as_mut()
                .filter(|_| version.spec.runtime != Runtime::Wasm)
            {
                arrival.load += began.elapsed();
            }
            Ok(Arc::new(Ready::new(executable, cached, arrival)))
        });
        made.await
            .unwrap_or_else(|error| Err(passing(&name, &error.to_string())))
    }

    async fn cached(self: &Arc<Self>, version: &Version) -> Result<Option<Cached>, Failure> {
        let digest = version.artifact.digest;
        self.with_cache(version, move |cache| cache.find(digest))
            .await
    }

    /// Uses the cache on a thread that may wait for the disk.
    async fn with_cache<T: Send + 'static>(
        self: &Arc<Self>,
        version: &Version,
        with: impl FnOnce(&Cache) -> Result<T, umbel_artifact::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let shelf = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || shelf.cache.as_ref().map(with));
        match done.await {
            Ok(Some(Ok(done))) => Ok(done),
            Ok(Some(Err(error @ umbel_artifact::Error::Io { .. }))) => {
                Err(passing(version, &error.to_string()))
            }
            Ok(Some(Err(error))) => Err(unable(version, &error.to_string())),
            Ok(None) => Err(unable(version, "this worker keeps no artifacts")),
            Err(error) => Err(passing(version, &error.to_string())),
        }
    }

    /// The artifact, and how long it took to come and to be unpacked.
    async fn fetch(self: &Arc<Self>, version: &Arc<Version>) -> Result<(Cached, Arrival), Failure> {
        let began = Instant::now();
        let mut pause = PAUSE;
        let mut attempt = 1;
        let bytes = loop {
            match self.receive(version).await {
                Ok(bytes) => break bytes,
                Err(status) if attempt < ATTEMPTS_MAX && !is_final(&status) => {
                    let (name, number) = (&version.function, version.number);
                    let words = status.message();
                    tracing::warn!("the artifact of {name}@{number} did not come ({words}); again");
                }
                Err(status) if is_final(&status) => return Err(unable(version, status.message())),
                Err(status) => return Err(passing(version, status.message())),
            }
            sleep(pause).await;
            pause *= 2;
            attempt += 1;
        };
        let (came, digest) = (Instant::now(), version.artifact.digest);
        let cached = self.with_cache(version, move |cache| cache.insert(digest, &bytes[..]));
        let cached = cached.await?;
        let arrival = Arrival {
            fetch: came - began,
            load: came.elapsed(),
        };
        Ok((cached, arrival))
    }

    /// One attempt to fetch.
    async fn receive(&self, version: &Version) -> Result<BytesMut, Status> {
        let dialled = self.dial.dial(&self.endpoint).await?;
        let mut client =
            SessionServiceClient::new(dialled).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let request = v1::FetchArtifactRequest {
            digest: version.artifact.digest.0.to_vec().into(),
        };
        let mut pages = client.fetch_artifact(request).await?.into_inner();
        let expected = version.artifact.packed_bytes;
        let mut bytes = BytesMut::new();
        while let Some(page) = pages.message().await? {
            if (bytes.len() + page.data.len()) as u64 > expected {
                return Err(Status::data_loss("it is longer than it should be"));
            }
            bytes.extend_from_slice(&page.data);
        }
        if bytes.len() as u64 != expected {
            return Err(Status::unavailable(format!(
                "{} bytes of {expected} came",
                bytes.len()
            )));
        }
        Ok(bytes)
    }
}

/// Whether another attempt would end the same.
fn is_final(status: &Status) -> bool {
    let broken = matches!(reason_of(status), Some((Reason::ArtifactBroken, _)));
    broken || matches!(status.code(), Code::Unimplemented | Code::DataLoss)
}

/// A trouble of this worker or of the way to it: another attempt, or another worker, may do better.
fn passing(version: &Version, words: &str) -> Failure {
    let (name, number) = (&version.function, version.number);
    let words = format!("{name}@{number} could not be made ready on this worker: {words}");
    Failure::new(FailureKind::Crashed, "ArtifactUnavailable", words)
}

fn unable(version: &Version, words: &str) -> Failure {
    let (name, number) = (&version.function, version.number);
    rejected(
        "BrokenArtifact",
        format!("{name}@{number} cannot be run: {words}"),
    )
}
