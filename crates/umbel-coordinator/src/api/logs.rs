//! `StreamLogs`: read straight from the store, as results are.

use std::ops::Range;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use umbel_core::id::{Index, JobId};
use umbel_core::view::JobView;
use umbel_proto::{convert, status, v1};
use umbel_store::{Cursor, LogRow};

use super::results::{EVERY, MESSAGE_BYTES_TARGET, cursor_bytes, cursor_of, read};
use super::token::{self, List};
use super::{Api, result};

pub(super) type Answers = mpsc::Sender<Result<v1::StreamLogsResponse, Status>>;

/// What a client reads.
#[derive(Debug)]
pub(super) struct Wish {
    job: JobId,
    range: Range<Index>,
    follow: bool,
    after: Cursor,
}

impl Wish {
    pub(super) fn new(request: &v1::StreamLogsRequest, view: &JobView) -> Result<Self, Status> {
        let job = view.record.id;
        let range = request
            .range
            .map(|range| convert::index_range("range", range));
        let range = range.transpose().map_err(status::invalid)?;
        let place = token::decode(List::Logs, &job.0, "token", &request.token)?;
        let after = place.map(|place| cursor_of(&place).ok_or_else(|| token::bad("token")));
        Ok(Self {
            job,
            range: range.unwrap_or(0..Index::MAX),
            follow: request.follow,
            after: after.transpose()?.unwrap_or_default(),
        })
    }
}

/// Sends logs until there are no more, the client is gone or the coordinator stops.
pub(super) async fn stream(api: Api, wish: Wish, answers: Answers) {
    let signals = api.engine.signals();
    let ended = tokio::select! {
        () = answers.closed() => return,
        () = signals.draining.cancelled() => Err(super::gone(signals)),
        ended = send_all(&api, &wish, &answers) => ended,
    };
    if let Err(status) = ended {
        // Who is gone needs no words.
        let _ = answers.send(Err(status)).await;
    }
}

async fn send_all(api: &Api, wish: &Wish, to: &Answers) -> Result<(), Status> {
    let mut watched = api.engine.watch(wish.job);
    let mut reader = api.store.logs(wish.job, wish.range.clone(), wish.after);
    loop {
        let soonest = Instant::now() + EVERY;
        // What the view shows is durable, so what is read after it holds all that it counts.
        let view = api.view_again(wish.job).await?;
        let mut more = true;
        while more {
            let durable = api.store.durable();
            let (back, page) = read(reader, move |reader| reader.page(durable)).await?;
            (reader, more) = (back, page.more);
            send(wish.job, page.rows, to).await;
        }
        if view.status.state.is_final() || !wish.follow {
            return Ok(());
        }
        watched.changed().await;
        tokio::time::sleep_until(soonest).await;
    }
}

/// Sends logs in messages that are not large.
async fn send(job: JobId, rows: Vec<(LogRow, Cursor)>, to: &Answers) {
    let (mut logs, mut bytes) = (Vec::new(), 0);
    let mut rows = rows.into_iter().peekable();
    while let Some((row, cursor)) = rows.next() {
        bytes += row.text.len();
        logs.push(result::log(row));
        if bytes >= MESSAGE_BYTES_TARGET || rows.peek().is_none() {
            bytes = 0;
            let answer = v1::StreamLogsResponse {
                logs: std::mem::take(&mut logs),
                token: token::encode(List::Logs, &job.0, &cursor_bytes(cursor)),
            };
            // The end of the client is noticed where this was started.
            let _ = to.send(Ok(answer)).await;
        }
    }
}
