//! `GetCapsule`: one ended invocation, with all that it takes to run it again elsewhere.

use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::Status;
use umbel_core::id::Index;
use umbel_core::job::{Source, Target};
use umbel_core::view::JobView;
use umbel_proto::status::{self, Metadata, Reason};
use umbel_proto::{convert, v1};
use umbel_store::{Cursor, Gaps, LogRow, ResultRow, Store, Wanted};

use super::{Api, invocation, result};

pub(super) type Answers = mpsc::Sender<Result<v1::GetCapsuleResponse, Status>>;

/// How many bytes of an input or output travel in a message.
const PIECE_BYTES: usize = 1 << 20;

/// What is read of one invocation.
struct Found {
    row: ResultRow,
    log: Option<LogRow>,
    /// None where the input is a number of a range.
    input: Option<Bytes>,
}

impl Api {
    /// Reads the invocation; what is sent of it comes in pieces.
    pub(super) async fn capsule(
        &self,
        request: v1::GetCapsuleRequest,
    ) -> Result<Vec<v1::GetCapsuleResponse>, Status> {
        let view = self.view(&request.job_id).await?;
        let total = view.counts.total;
        let known = Index::try_from(request.index)
            .ok()
            .filter(|_| request.index < total);
        let job = view.record.id;
        let index = known.ok_or_else(|| invocation::unknown(job, request.index, total))?;
        let is_range = matches!(view.record.source, Source::Range { .. });
        let found = self.read(move |store| find(store, job, index, is_range));
        let found = found.await?.ok_or_else(|| open(&view, index))?;
        let input = found.input.unwrap_or_else(|| match view.record.source {
            Source::Range { begin, .. } => {
                begin.saturating_add(u64::from(index)).to_string().into()
            }
            Source::Blocks => Bytes::new(),
        });
        let function = view.record.spec.target.display();
        let is_latest = found.row.redrive == view.status.redrives;
        let mut result = result::shown(found.row, &function);
        let output = std::mem::take(&mut result.output);
        let log = found.log.map(result::log).map(|log| log.text);
        let program = program(&view, is_latest, &result.function);
        let version = self.version(&result).await?;
        let head = head(
            &view,
            (result, program, version),
            (log, input.len(), output.len()),
        );
        let head = v1::get_capsule_response::Part::Capsule(head);
        let input = pieces(input).map(v1::get_capsule_response::Part::Input);
        let output = pieces(output).map(v1::get_capsule_response::Part::Output);
        let parts = std::iter::once(head).chain(input).chain(output);
        let response = |part| v1::GetCapsuleResponse { part: Some(part) };
        Ok(parts.map(response).collect())
    }

    /// The version that ran, if it is still known.
    async fn version(&self, result: &v1::Result) -> Result<Option<v1::Version>, Status> {
        let Some(number) = result.version else {
            return Ok(None);
        };
        let (name, _) = result
            .function
            .split_once('@')
            .unwrap_or((&result.function, ""));
        let name = name.to_owned();
        let found = self.engine.look(move |machine, _| {
            let found = machine
                .function(&name, Some(number.saturating_add(1)), 1)
                .ok()?;
            found.versions.into_iter().next()
        });
        let found = found.await.map_err(|closed| self.gone(closed))?;
        let version = found.map(|view| convert::version(&view.version));
        Ok(version.filter(|version| version.number == number))
    }
}

/// Sends a capsule until the client has it or is gone.
pub(super) async fn send(parts: Vec<v1::GetCapsuleResponse>, to: Answers) {
    for part in parts {
        if to.send(Ok(part)).await.is_err() {
            return;
        }
    }
}

fn find(
    store: &Store,
    job: umbel_core::id::JobId,
    index: Index,
    is_range: bool,
) -> Result<Option<Found>, umbel_store::Error> {
    let durable = store.durable();
    let one = index..index.saturating_add(1);
    let mut reader = store.in_order(job, one.clone(), Wanted::ALL, Gaps::Skip);
    let Some(row) = reader.page(durable)?.rows.pop() else {
        return Ok(None);
    };
    let mut logs = store.logs(job, one, Cursor::default());
    let mut log = None;
    loop {
        let page = logs.page(durable)?;
        // The last one is of the attempt that counts.
        log = page.rows.into_iter().last().map(|(row, _)| row).or(log);
        if !page.more {
            break;
        }
    }
    let input = if is_range {
        None
    } else {
        Some(store.input(job, index)?)
    };
    Ok(Some(Found { row, log, input }))
}

fn head(
    view: &JobView,
    (result, program, version): (v1::Result, Option<v1::Program>, Option<v1::Version>),
    (log, input, output): (Option<String>, usize, usize),
) -> v1::Capsule {
    let spec = &view.record.spec;
    v1::Capsule {
        job_id: view.record.id.to_string(),
        job_name: spec.name.clone(),
        target: result.function.clone(),
        program,
        policy: Some(convert::wire_policy(&spec.policy)),
        result: Some(result),
        log: log.unwrap_or_default(),
        input_bytes: input as u64,
        output_bytes: output as u64,
        version,
    }
}

/// The program that ran, if one did: a redrive may have run another than the job was accepted with,
/// and one between the first and the latest is not known any more.
fn program(view: &JobView, is_latest: bool, ran: &str) -> Option<v1::Program> {
    let target = if is_latest {
        view.target()
    } else {
        &view.record.spec.target
    };
    match target {
        Target::Program(argv) if target.display() == ran => {
            Some(v1::Program { argv: argv.clone() })
        }
        Target::Program(_) | Target::Function(_) | Target::Version(..) => None,
    }
}

fn pieces(bytes: Bytes) -> impl Iterator<Item = Bytes> {
    let count = bytes.len().div_ceil(PIECE_BYTES);
    (0..count).map(move |piece| {
        let begin = piece * PIECE_BYTES;
        bytes.slice(begin..bytes.len().min(begin + PIECE_BYTES))
    })
}

/// It has no outcome yet.
fn open(view: &JobView, index: Index) -> Status {
    let job = view.record.id;
    let words =
        format!("invocation {index} of job {job} has not ended; a capsule holds its outcome");
    let metadata = [("job", job.to_string()), ("index", index.to_string())];
    let metadata: Metadata = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    status::status(Reason::InvocationOpen, &words, metadata)
}
