//! `PublishVersion`: an artifact is staged as it comes and checked as a whole, then the machine
//! decides.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::SemaphorePermit;
use tonic::{Status, Streaming};
use umbel_core::command::Reply;
use umbel_core::event::{Event, Publication};
use umbel_core::function::{Artifact, Digest, UploadId};
use umbel_core::limit::ARTIFACT_PART_BYTES;
use umbel_proto::convert::{Invalid, Publish};
use umbel_proto::status::{self, Metadata, Reason};
use umbel_proto::v1::publish_version_request::Part;
use umbel_proto::{convert, v1};
use umbel_store::Refused;
use uuid::Uuid;

use super::{Api, accepted, unexpected, unreadable};

/// Artifacts that are taken in at a time: each is held in memory until it was checked.
pub(super) const UNDER_WAY_MAX: usize = 2;
/// Parts that are staged at once.
const STEP_PARTS: usize = 16;
/// How long an upload may send nothing: others wait for its place.
const IDLE: Duration = Duration::from_secs(30);

type Messages = Streaming<v1::PublishVersionRequest>;

/// An upload that came in, whole and checked.
struct Uploaded {
    artifact: Artifact,
    bytes: Bytes,
}

impl Api {
    /// Publishes a version. It goes on to its end though the client goes away, so that what was
    /// staged is accepted or removed.
    pub(super) async fn publish(
        &self,
        mut messages: Messages,
    ) -> Result<v1::PublishVersionResponse, Status> {
        let first = messages.message().await?;
        let Some(Part::Publication(asked)) = first.and_then(|message| message.part) else {
            let invalid = Invalid::bad("publication", "it must come first");
            return Err(status::invalid(invalid));
        };
        let asked = convert::publication(asked).map_err(status::invalid)?;
        // What is there already need not come again.
        let digest = asked.digest;
        let known = self
            .engine
            .look(move |machine, _| machine.artifact(digest))
            .await
            .map_err(|closed| self.gone(closed))?;
        if let Some(artifact) = known
            && let Some(response) = self.propose_version(&asked, artifact, false).await?
        {
            return Ok(response);
        }
        // Nothing of what is refused need come.
        if let Err(refusal) = self.room.check(asked.packed_bytes) {
            return Err(status::refused(&refusal));
        }
        let room = self.publishes.acquire().await;
        let _room: SemaphorePermit<'_> = room.map_err(|error| unreadable(&error.to_string()))?;
        let bytes = receive(&mut messages, &asked).await?;
        let uploaded = verify(bytes, digest).await?;
        let api = self.clone();
        let published = tokio::spawn(async move { api.stage_and_publish(asked, uploaded).await });
        published
            .await
            .map_err(|_| Status::internal("the request broke; see the log"))?
    }

    async fn stage_and_publish(
        &self,
        asked: Publish,
        uploaded: Uploaded,
    ) -> Result<v1::PublishVersionResponse, Status> {
        let upload = uploaded.artifact.upload;
        let staged = self.stage_artifact(upload, uploaded.bytes).await;
        let published = match staged {
            Ok(()) => self.propose_version(&asked, uploaded.artifact, true).await,
            Err(status) => Err(status),
        };
        // Does nothing to what a version was made of.
        let removed = self.read(move |store| store.unstage_artifact(upload));
        if let Err(status) = removed.await {
            // The next start sweeps it.
            tracing::debug!(%status, "a staged artifact stays for now");
        }
        published?.ok_or_else(|| Status::internal("the artifact that was staged is not there"))
    }

    /// Puts the parts of an artifact in line, waiting for room.
    async fn stage_artifact(&self, upload: UploadId, mut bytes: Bytes) -> Result<(), Status> {
        let mut first = 0_u16;
        while !bytes.is_empty() {
            let step = bytes.split_to(bytes.len().min(STEP_PARTS * ARTIFACT_PART_BYTES));
            let room = &self.engine.signals().room;
            loop {
                // Waiting begins before the attempt, so that no room is missed in between.
                let mut freed = std::pin::pin!(room.notified());
                freed.as_mut().enable();
                match self.store.stage_artifact(upload, first, &step) {
                    Ok(()) => break,
                    Err(Refused::Full(_)) => freed.await,
                    Err(Refused::Failed(error)) => return Err(unreadable(&error.to_string())),
                }
            }
            let parts = step.len().div_ceil(ARTIFACT_PART_BYTES);
            first = first.saturating_add(u16::try_from(parts).unwrap_or(u16::MAX));
        }
        Ok(())
    }

    /// Asks for the version; none: its artifact is not there and has to be staged.
    async fn propose_version(
        &self,
        asked: &Publish,
        artifact: Artifact,
        staged: bool,
    ) -> Result<Option<v1::PublishVersionResponse>, Status> {
        let publication = Box::new(Publication {
            function: asked.function.clone(),
            spec: asked.spec.clone(),
            artifact,
            staged,
            content: Digest(Sha256::digest(asked.content()).into()),
            by: asked.by.clone(),
            // What is staged is counted already.
            refusal: self.room.check(0).err(),
        });
        let reply = self
            .engine
            .upload(ARTIFACT_PART_BYTES, |reply| Event::Publish {
                reply,
                publication,
            });
        let reply = match reply.await {
            Ok(pending) => pending.reply().await,
            Err(closed) => Err(closed),
        };
        match accepted(reply.map_err(|closed| self.gone(closed))?)? {
            Reply::Published {
                version,
                existed,
                live,
            } => Ok(Some(v1::PublishVersionResponse {
                version: Some(convert::version(&version)),
                existed,
                live,
            })),
            Reply::ArtifactMissing => Ok(None),
            reply => Err(unexpected(&reply)),
        }
    }
}

/// The whole artifact, as long as it was said to be. Who sends nothing for a while is not waited for.
async fn receive<M>(messages: &mut M, asked: &Publish) -> Result<Bytes, Status>
where
    M: Stream<Item = Result<v1::PublishVersionRequest, Status>> + Unpin,
{
    let mut bytes = BytesMut::new();
    loop {
        let next = tokio::time::timeout(IDLE, messages.next()).await;
        let next = next.map_err(|_| {
            let seconds = IDLE.as_secs();
            broken(&format!(
                "nothing of it came for {seconds} s; publish it again"
            ))
        })?;
        let Some(message) = next.transpose()? else {
            break;
        };
        let Some(Part::Data(data)) = message.part else {
            let invalid = Invalid::bad("data", "behind the publication only data may come");
            return Err(status::invalid(invalid));
        };
        let length = (bytes.len() + data.len()) as u64;
        if length > asked.packed_bytes {
            return Err(broken(&format!(
                "it has more than the {} bytes that were announced",
                asked.packed_bytes
            )));
        }
        bytes.extend_from_slice(&data);
    }
    if bytes.len() as u64 != asked.packed_bytes {
        return Err(broken(&format!(
            "it has {} bytes of the {} that were announced",
            bytes.len(),
            asked.packed_bytes
        )));
    }
    Ok(bytes.freeze())
}

/// Checks an artifact, on a thread that may take its time.
async fn verify(bytes: Bytes, expected: Digest) -> Result<Uploaded, Status> {
    let packed = bytes.clone();
    let checked = tokio::task::spawn_blocking(move || umbel_artifact::check(&packed[..])).await;
    let checked = checked.map_err(|error| Status::internal(error.to_string()))?;
    let contents = checked.map_err(|error| {
        if error.is_too_large() {
            let length = bytes.len() as u64;
            let mut invalid = convert::artifact_too_large(length);
            invalid.message = error.to_string();
            return status::invalid(invalid);
        }
        broken(&error.to_string())
    })?;
    if contents.digest != expected {
        let found = contents.digest;
        return Err(broken(&format!("its digest is {found}, not {expected}")));
    }
    Ok(Uploaded {
        artifact: Artifact {
            digest: contents.digest,
            upload: UploadId(Uuid::now_v7().into_bytes()),
            packed_bytes: bytes.len() as u64,
            unpacked_bytes: contents.unpacked_bytes,
            file_count: contents.file_count,
        },
        bytes,
    })
}

fn broken(problem: &str) -> Status {
    let metadata = Metadata::from([("problem".to_owned(), problem.to_owned())]);
    let words = format!("the artifact is refused: {problem}");
    status::status(Reason::ArtifactBroken, &words, metadata)
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use umbel_core::function::Runtime;

    use super::*;

    fn asked(packed_bytes: u64) -> Publish {
        let wish = v1::Publication {
            function: "f".to_owned(),
            spec: Some(v1::VersionSpec {
                runtime: v1::Runtime::Python.into(),
                ..v1::VersionSpec::default()
            }),
            artifact_digest: vec![7; 32].into(),
            packed_bytes,
            published_by: "a test".to_owned(),
        };
        let asked = convert::publication(wish).expect("it is allowed");
        assert_eq!(asked.spec.runtime, Runtime::Python);
        asked
    }

    fn data(bytes: &'static [u8]) -> Result<v1::PublishVersionRequest, Status> {
        let part = Some(Part::Data(Bytes::from_static(bytes)));
        Ok(v1::PublishVersionRequest { part })
    }

    #[tokio::test(start_paused = true)]
    async fn who_falls_silent_is_not_waited_for() {
        let mut silent = stream::iter([data(b"ab")]).chain(stream::pending());
        let refused = receive(&mut silent, &asked(4)).await.unwrap_err();
        assert!(refused.message().contains("for 30 s"), "{refused}");
        let slow = stream::iter([data(b"ab"), data(b"cd")]).then(|message| async {
            tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
            message
        });
        let mut slow = std::pin::pin!(slow);
        assert_eq!(receive(&mut slow, &asked(4)).await.unwrap(), "abcd");
    }
}
