//! Artifacts: staged part by part before a version is made of them, read part by part by workers.

use bytes::Bytes;
use umbel_core::function::UploadId;
use umbel_core::limit::ARTIFACT_PART_BYTES;

use super::Store;
use crate::key::{Key, Whole};
use crate::{Error, Refused, VALUE_BYTES_MAX, WriteBatch};

const _: () = assert!(ARTIFACT_PART_BYTES <= VALUE_BYTES_MAX);

impl Store {
    /// Puts some parts of an artifact in line, ahead of the turn that will make a version of it.
    /// All parts but the last of an artifact have [`ARTIFACT_PART_BYTES`]. With the first goes a
    /// mark, which that turn removes: what is still marked at the next open was never published.
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] above the bound of undurable bytes; try again after the next commit.
    pub fn stage_artifact(
        &self,
        upload: UploadId,
        first: u16,
        parts: &Bytes,
    ) -> Result<(), Refused> {
        let batch = staged(upload, first, parts).map_err(Refused::Failed)?;
        self.engine.try_submit(batch)
    }

    /// Removes an artifact that was staged and of which no version will be made, step by step. One
    /// that became a version's stays; this waits for what lies in line to know it.
    ///
    /// # Errors
    ///
    /// When the engine cannot be read.
    pub fn unstage_artifact(&self, upload: UploadId) -> Result<(), Error> {
        self.engine.settle()?;
        let mark = Key::StagedArtifact(upload).encode();
        if self.engine.get(&mark)?.is_some() {
            let mut batch = WriteBatch::unnumbered();
            batch.delete(mark);
            batch.put(Key::DeletingArtifact(upload).encode(), Bytes::new())?;
            self.engine.submit(batch);
        }
        Ok(())
    }

    /// One part of an artifact; none: it has no more, or is not there any more.
    ///
    /// # Errors
    ///
    /// When the engine cannot be read.
    pub fn artifact_part(&self, upload: UploadId, part: u16) -> Result<Option<Bytes>, Error> {
        let key = Key::Part(Whole::Artifact(upload), part).encode();
        match self.engine.get(&key)? {
            // What was only just staged may still lie in line.
            None if part == 0 => {
                self.engine.settle()?;
                self.engine.get(&key)
            }
            found => Ok(found),
        }
    }
}

fn staged(upload: UploadId, first: u16, parts: &Bytes) -> Result<WriteBatch, Error> {
    let mut batch = WriteBatch::unnumbered();
    if first == 0 {
        batch.put(Key::StagedArtifact(upload).encode(), Bytes::new())?;
    }
    let mut rest = parts.clone();
    let mut part = first;
    while !rest.is_empty() {
        let head = rest.split_to(rest.len().min(ARTIFACT_PART_BYTES));
        batch.put(Key::Part(Whole::Artifact(upload), part).encode(), head)?;
        part = part.checked_add(1).ok_or(Error::ValueTooLarge {
            bytes: parts.len(),
            bytes_max: ARTIFACT_PART_BYTES << u16::BITS,
        })?;
    }
    Ok(batch)
}
