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

#[cfg(test)]
mod tests {
    use umbel_core::change::Change;

    use super::*;
    use crate::testing::{open, published, reopen};

    const UPLOAD: UploadId = UploadId([7; 16]);

    /// Two whole parts and a piece, of which each part has its own number in it.
    fn parts() -> Bytes {
        let bytes = 0..2 * ARTIFACT_PART_BYTES + 10;
        bytes.map(|at| (at / ARTIFACT_PART_BYTES) as u8).collect()
    }

    fn stage(store: &Store, upload: UploadId) {
        let mut rest = parts();
        let first = rest.split_to(ARTIFACT_PART_BYTES);
        store.stage_artifact(upload, 0, &first).unwrap();
        store.stage_artifact(upload, 1, &rest).unwrap();
    }

    fn read(store: &Store, upload: UploadId) -> Vec<u8> {
        let parts = (0..).map_while(|part| store.artifact_part(upload, part).unwrap());
        parts.flatten().collect()
    }

    fn sweep(store: &Store) {
        while store.sweep_step().unwrap() {}
    }

    #[test]
    fn an_artifact_comes_back_part_by_part_and_is_kept_once_a_version_is_made_of_it() {
        let (opened, engine) = open();
        let (store, number) = (opened.store, opened.next_number);
        stage(&store, UPLOAD);
        assert_eq!(read(&store, UPLOAD), parts(), "while it is still in line");
        let turn = published(UPLOAD, parts().len() as u64);
        store.commit(number, &turn).unwrap();
        store.unstage_artifact(UPLOAD).unwrap();
        sweep(&store);
        let (again, _) = reopen(engine);
        sweep(&again.store);
        assert_eq!(read(&again.store, UPLOAD), parts());
        let told: Vec<Change> = again.changes.map(Result::unwrap).collect();
        assert!(turn.iter().all(|change| told.contains(change)), "{told:?}");
    }

    #[test]
    fn what_was_staged_and_never_published_is_swept_at_open() {
        let (opened, engine) = open();
        let (whole, cut) = (UploadId([8; 16]), UploadId([9; 16]));
        stage(&opened.store, whole);
        let first = parts().split_to(ARTIFACT_PART_BYTES);
        opened.store.stage_artifact(cut, 0, &first).unwrap();
        let (again, _) = reopen(engine);
        sweep(&again.store);
        for upload in [whole, cut] {
            assert_eq!(read(&again.store, upload), [0; 0]);
        }
    }

    #[test]
    fn an_upload_that_is_given_up_is_removed() {
        let (opened, _engine) = open();
        stage(&opened.store, UPLOAD);
        opened.store.unstage_artifact(UPLOAD).unwrap();
        sweep(&opened.store);
        assert_eq!(read(&opened.store, UPLOAD), [0; 0]);
    }
}
