//! `StreamResults`: read straight from the store, never beyond what is durable, and never queued
//! behind the engine.

use std::ops::Range;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use umbel_core::id::{Index, JobId};
use umbel_core::view::JobView;
use umbel_proto::convert::{self, Invalid};
use umbel_proto::results::ResultsEncoder;
use umbel_proto::{status, v1};
use umbel_store::{AsCompleted, Cursor, Found, Gaps, InOrder, Outcome, Reached, ResultRow, Wanted};

use super::token::{self, List};
use super::{Api, result, unreadable};

/// A message is closed at so many bytes of outputs and failures, or results.
pub(super) const MESSAGE_BYTES_TARGET: usize = 1 << 20;
const MESSAGE_RESULTS_MAX: usize = 2_048;
/// How often a follower looks for more at most.
pub(super) const EVERY: Duration = Duration::from_millis(10);

pub(super) type Answers = mpsc::Sender<Result<v1::StreamResultsResponse, Status>>;

/// What a client reads.
#[derive(Debug)]
pub(super) struct Wish {
    job: JobId,
    function: String,
    wanted: Wanted,
    range: Range<Index>,
    /// Whether `range` ends where the client says, and not where the job does.
    is_bounded: bool,
    follow: bool,
    /// Whether results may come in columns.
    in_columns: bool,
    place: Place,
}

/// Where to go on.
#[derive(Clone, Copy, Debug)]
enum Place {
    InOrder(Index),
    AsCompleted(Cursor),
}

impl Wish {
    pub(super) fn new(request: &v1::StreamResultsRequest, view: &JobView) -> Result<Self, Status> {
        let job = view.record.id;
        let range = request
            .range
            .map(|range| convert::index_range("range", range));
        let range = range.transpose().map_err(status::invalid)?;
        let is_bounded = range.is_some();
        let range = range.unwrap_or(0..Index::MAX);
        let place = if is_as_completed(request)? {
            let place = token::decode(List::ResultsAsCompleted, &job.0, "token", &request.token)?;
            let cursor = place.map(|place| cursor_of(&place).ok_or_else(|| token::bad("token")));
            Place::AsCompleted(cursor.transpose()?.unwrap_or_default())
        } else {
            let place = token::decode(List::ResultsInOrder, &job.0, "token", &request.token)?;
            let next = place.map(|place| place.try_into().map(Index::from_be_bytes));
            let next = next.transpose().map_err(|_| token::bad("token"))?;
            Place::InOrder(next.map_or(range.start, |next| next.max(range.start)))
        };
        Ok(Self {
            job,
            function: view.record.spec.target.name(),
            wanted: wanted(request)?,
            range,
            is_bounded,
            follow: request.follow,
            in_columns: request.accept_columns,
            place,
        })
    }

    /// How far there are inputs to ask for.
    fn end(&self, view: &JobView) -> Index {
        let total = Index::try_from(view.counts.total).unwrap_or(Index::MAX);
        self.range.end.min(total)
    }

    /// The token that goes on at a place.
    fn token(&self, place: Place) -> String {
        match place {
            Place::InOrder(next) => {
                token::encode(List::ResultsInOrder, &self.job.0, &next.to_be_bytes())
            }
            Place::AsCompleted(cursor) => {
                token::encode(List::ResultsAsCompleted, &self.job.0, &cursor_bytes(cursor))
            }
        }
    }

    /// Whether nothing can come behind what is durable now.
    fn is_over(&self, view: &JobView) -> bool {
        view.status.state.is_final() || !self.follow
    }
}

const CURSOR_BYTES: usize = 16;

/// A place in the story of a job, for a token.
pub(super) fn cursor_bytes(cursor: Cursor) -> [u8; CURSOR_BYTES] {
    let mut place = [0; CURSOR_BYTES];
    place[..8].copy_from_slice(&cursor.commit.to_be_bytes());
    place[8..12].copy_from_slice(&cursor.n.to_be_bytes());
    place[12..].copy_from_slice(&cursor.rows.to_be_bytes());
    place
}

pub(super) fn cursor_of(place: &[u8]) -> Option<Cursor> {
    let place = u128::from_be_bytes(<[u8; CURSOR_BYTES]>::try_from(place).ok()?);
    // The three numbers lie in it one behind the other.
    let part = |shift: u32| u32::try_from(place >> shift & u128::from(u32::MAX)).ok();
    let commit = u64::try_from(place >> 64).ok()?;
    Some(Cursor {
        commit,
        n: part(32)?,
        rows: part(0)?,
    })
}

fn is_as_completed(request: &v1::StreamResultsRequest) -> Result<bool, Status> {
    match v1::ResultOrder::try_from(request.order) {
        Ok(v1::ResultOrder::Unspecified | v1::ResultOrder::Input) => Ok(false),
        Ok(v1::ResultOrder::Completion) => Ok(true),
        Err(_) => {
            let words = format!("result order {} is not known", request.order);
            Err(status::invalid(Invalid::bad("order", words)))
        }
    }
}

/// Which results a state stands for; none stands for all.
fn wanted(request: &v1::StreamResultsRequest) -> Result<Wanted, Status> {
    let none = Wanted {
        succeeded: false,
        failed: false,
        cancelled: false,
    };
    match v1::InvocationState::try_from(request.state) {
        Ok(v1::InvocationState::Unspecified) => Ok(Wanted::ALL),
        Ok(v1::InvocationState::Succeeded) => Ok(Wanted {
            succeeded: true,
            ..none
        }),
        Ok(v1::InvocationState::Failed) => Ok(Wanted {
            failed: true,
            ..none
        }),
        Ok(v1::InvocationState::Cancelled) => Ok(Wanted {
            cancelled: true,
            ..none
        }),
        Ok(v1::InvocationState::Waiting | v1::InvocationState::Leased) | Err(_) => {
            let words = "a result is succeeded, failed or cancelled; \
                         ListInvocations shows what is not final";
            Err(status::invalid(Invalid::bad("state", words)))
        }
    }
}

/// Sends results until there are no more, the client is gone or the coordinator stops.
pub(super) async fn stream(api: Api, wish: Wish, answers: Answers) {
    let signals = api.engine.signals();
    let read = async {
        match wish.place {
            Place::InOrder(next) => in_order(&api, &wish, next, &answers).await,
            Place::AsCompleted(cursor) => as_completed(&api, &wish, cursor, &answers).await,
        }
    };
    let ended = tokio::select! {
        () = answers.closed() => return,
        () = signals.draining.cancelled() => Err(super::gone(signals)),
        ended = read => ended,
    };
    if let Err(status) = ended {
        // Who is gone needs no words.
        let _ = answers.send(Err(status)).await;
    }
}

async fn in_order(api: &Api, wish: &Wish, next: Index, to: &Answers) -> Result<(), Status> {
    let mut watched = api.engine.watch(wish.job);
    let mut reader = api
        .store
        .in_order(wish.job, next..next, wish.wanted, Gaps::StopAt);
    let mut next = next;
    loop {
        let soonest = Instant::now() + EVERY;
        // What the view shows is durable, so what is read after it holds all that it counts.
        let view = api.view_again(wish.job).await?;
        let (is_over, end) = (wish.is_over(&view), wish.end(&view));
        if is_over {
            let rest = next..end.max(next);
            reader = api.store.in_order(wish.job, rest, wish.wanted, Gaps::Skip);
        } else {
            reader.extend(end);
        }
        let mut reached = Reached::Limit;
        while reached == Reached::Limit {
            let durable = api.store.durable();
            let in_columns = wish.in_columns;
            let page = move |reader: &mut InOrder| reader.found_page(durable, in_columns);
            let (back, page) = read(reader, page).await?;
            (reader, next, reached) = (back, page.next, page.reached);
            let behind = |found: &Found| Place::InOrder(found.last().saturating_add(1));
            let rows = page.rows.into_iter();
            let rows = rows.map(|found| (behind(&found), found));
            send(wish, rows, to).await;
        }
        if is_over || (wish.is_bounded && next >= wish.range.end) {
            return Ok(());
        }
        watched.changed().await;
        tokio::time::sleep_until(soonest).await;
    }
}

async fn as_completed(api: &Api, wish: &Wish, after: Cursor, to: &Answers) -> Result<(), Status> {
    let mut watched = api.engine.watch(wish.job);
    let (mut after, mut redrives) = (after, None);
    let mut reader = api.store.as_completed(wish.job, 0, after, wish.wanted);
    loop {
        let soonest = Instant::now() + EVERY;
        let view = api.view_again(wish.job).await?;
        if redrives.replace(view.status.redrives) != Some(view.status.redrives) {
            let redrives = view.status.redrives;
            reader = api
                .store
                .as_completed(wish.job, redrives, after, wish.wanted);
        }
        let mut more = true;
        while more {
            let durable = api.store.durable();
            let columns_of = if wish.in_columns {
                wish.range.clone()
            } else {
                0..0
            };
            let page = move |reader: &mut AsCompleted| reader.found_page(durable, columns_of);
            let (back, page) = read(reader, page).await?;
            (reader, more, after) = (back, page.more, page.cursor);
            let is_wanted = |found: &Found| match found {
                Found::Row(row) => wish.range.contains(&row.index),
                Found::Columns(_) => true,
            };
            let rows = page.rows.into_iter();
            let rows = rows.filter(|(found, _)| is_wanted(found));
            let rows = rows.map(|(found, cursor)| (Place::AsCompleted(cursor), found));
            send(wish, rows, to).await;
        }
        if wish.is_over(&view) {
            return Ok(());
        }
        watched.changed().await;
        tokio::time::sleep_until(soonest).await;
    }
}

/// Reads a page on a thread that may wait for the disk.
pub(super) async fn read<R: Send + 'static, P: Send + 'static>(
    mut reader: R,
    page: impl FnOnce(&mut R) -> Result<P, umbel_store::Error> + Send + 'static,
) -> Result<(R, P), Status> {
    let read = tokio::task::spawn_blocking(move || page(&mut reader).map(|page| (reader, page)));
    let read = read.await.map_err(|error| unreadable(&error.to_string()))?;
    read.map_err(|error| unreadable(&error.to_string()))
}

/// Sends results in messages that are neither long nor large.
async fn send(wish: &Wish, rows: impl Iterator<Item = (Place, Found)>, to: &Answers) {
    let mut message = Message::default();
    for (place, found) in rows {
        if !message.has_room_for(&found, wish) {
            message.send(wish, to).await;
        }
        message.add(place, found, wish);
    }
    message.send(wish, to).await;
}

/// A message as it fills.
#[derive(Default)]
struct Message {
    encoder: ResultsEncoder,
    columns: Vec<v1::ResultsInColumns>,
    bytes: usize,
    /// The place behind what it holds; none: it holds nothing.
    behind: Option<Place>,
}

impl Message {
    /// Whether it takes something more; one that is empty takes anything.
    fn has_room_for(&self, found: &Found, wish: &Wish) -> bool {
        let is_full = self.bytes >= MESSAGE_BYTES_TARGET
            || self.bytes + bytes_of(found, wish) > 2 * MESSAGE_BYTES_TARGET
            || self.encoder.count() >= MESSAGE_RESULTS_MAX;
        // What is in columns is read ahead of what is not.
        let fits = self.encoder.count() == 0 || matches!(found, Found::Row(_));
        self.behind.is_none() || (!is_full && fits)
    }

    fn add(&mut self, place: Place, found: Found, wish: &Wish) {
        self.bytes += bytes_of(&found, wish);
        self.behind = Some(place);
        match found {
            Found::Row(row) => result::encode(&mut self.encoder, row, &wish.function),
            Found::Columns(columns) => {
                self.columns
                    .push(result::in_columns(columns, &wish.function));
            }
        }
    }

    /// Sends what it holds, if it holds anything, and begins anew.
    async fn send(&mut self, wish: &Wish, to: &Answers) {
        let Some(behind) = self.behind.take() else {
            return;
        };
        self.bytes = 0;
        let answer = v1::StreamResultsResponse {
            encoded: self.encoder.finish(),
            token: wish.token(behind),
            columns: std::mem::take(&mut self.columns),
            ..v1::StreamResultsResponse::default()
        };
        // The end of the client is noticed where this was started.
        let _ = to.send(Ok(answer)).await;
    }
}

/// About how long a result is, or many in columns. What runs may be a program with a long path.
fn bytes_of(found: &Found, wish: &Wish) -> usize {
    let found = match found {
        Found::Row(row) => outcome_bytes(row),
        Found::Columns(columns) => columns.bytes(),
    };
    found + wish.function.len()
}

fn outcome_bytes(row: &ResultRow) -> usize {
    match &row.outcome {
        Outcome::Succeeded(output) => output.len(),
        Outcome::Failed(failure) => failure.message.len() + failure.stderr.len(),
        Outcome::Cancelled => 0,
    }
}
