//! `Backup`: the data as a stream, copied while the engine goes on.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use umbel_proto::status::{self, Metadata, Reason};
use umbel_proto::v1;

use super::{Api, unreadable};

/// How many pieces, each of about a megabyte, wait for a slow reader.
const PIECES_MAX: usize = 4;

pub(super) type Pieces = ReceiverStream<Result<v1::BackupResponse, Status>>;

impl Api {
    /// Copies the data on a thread that may wait for the disk and for the reader. It ends when the
    /// copy is whole, or the reader is gone.
    pub(super) fn pieces(&self) -> Pieces {
        let (pieces, reader) = mpsc::channel(PIECES_MAX);
        let backup = self.store.backup();
        let draining = self.engine.signals().draining.clone();
        tokio::task::spawn_blocking(move || {
            for piece in backup {
                let piece = match piece {
                    Ok(_) if draining.is_cancelled() => Err(stopping()),
                    Ok(data) => Ok(v1::BackupResponse { data }),
                    Err(error) => Err(refused(&error)),
                };
                let ended = piece.is_err();
                if pieces.blocking_send(piece).is_err() || ended {
                    return;
                }
            }
        });
        ReceiverStream::new(reader)
    }
}

fn stopping() -> Status {
    let words = "the coordinator is stopping; take the backup once it is back";
    status::status(Reason::ShuttingDown, words, Metadata::new())
}

fn refused(error: &umbel_store::Error) -> Status {
    let words = error.to_string();
    match error {
        umbel_store::Error::CopyUnderWay => {
            status::status(Reason::BackupUnderWay, &words, Metadata::new())
        }
        umbel_store::Error::CopyBehind { bytes_max } => {
            let metadata = Metadata::from([("limit".to_owned(), bytes_max.to_string())]);
            status::status(Reason::BackupBehind, &words, metadata)
        }
        _ => unreadable(&words),
    }
}
