//! A copy of all data.

use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _};
use umbel_proto::v1;

use crate::{Client, Error};

impl Client {
    /// Copies all data of the coordinator while it runs: pieces that, one behind the other, are a
    /// backup as `proto/BACKUP.md` describes it. It is whole when the stream ends without an error.
    /// A copy that broke off cannot go on: begin again.
    ///
    /// # Errors
    /// Another backup is under way, or the coordinator cannot be reached.
    pub async fn backup(
        &self,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + use<>, Error> {
        let request = v1::BackupRequest {};
        let pieces = self.answer(self.cluster().backup(request).await)?;
        let client = self.clone();
        Ok(pieces
            .into_inner()
            .map(move |piece| client.answer(piece).map(|piece| piece.data)))
    }
}
