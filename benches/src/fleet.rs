//! A coordinator's machine, and workers that do as they are told.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use umbel_core::command::{Command, Reply};
use umbel_core::config::Config;
use umbel_core::event::{Event, Proposal};
use umbel_core::id::{JobId, LeaseId, ReplyId, SessionId};
use umbel_core::job::{BlockRef, JobSpec, Source, StartMode, Target, Usage};
use umbel_core::limit::{BLOCK_INPUTS_MAX, PROTOCOL};
use umbel_core::machine::Machine;
use umbel_core::message::{Begun, ChunkReport, FromWorker, Hello, Report, ToWorker};
use umbel_core::policy::{Labels, Policy};
use umbel_core::ranges::Ranges;
use umbel_core::time::Now;
use umbel_proto::columns::ColumnsBuilder;
use umbel_proto::convert::{self, Incoming};
use umbel_proto::v1;

const FUNCTION: &str = "umbel.increment";
/// The run time of one invocation: four thousand of them fill a slot.
const EACH_US: u64 = 10;

/// What one worker holds, and how often it reported.
#[derive(Debug, Default)]
struct Seat {
    open: BTreeMap<LeaseId, Ranges>,
    reports: u64,
}

/// The machine and its workers.
#[derive(Debug)]
pub(crate) struct Fleet {
    machine: Machine,
    now: Now,
    seats: BTreeMap<SessionId, Seat>,
    replies: u64,
}

impl Fleet {
    /// A machine with so many workers of one slot.
    pub(crate) fn new(workers: u32) -> Self {
        let mut fleet = Self {
            machine: Machine::new(Config::default(), 1),
            now: Now {
                mono_ms: 1_000,
                wall_ms: 1_700_000_000_000,
            },
            seats: BTreeMap::new(),
            replies: 0,
        };
        for number in 1..=workers {
            let session = SessionId(number.into());
            fleet.seats.insert(session, Seat::default());
            fleet.turn(hello(number).map(|hello| Event::Hello { session, hello }));
        }
        fleet
    }

    /// One of the sessions; numbers beyond the last begin anew.
    pub(crate) fn session(&self, number: u64) -> SessionId {
        SessionId(number % self.seats.len() as u64 + 1)
    }

    /// Handles events in one turn, some milliseconds after the one before.
    pub(crate) fn turn(&mut self, events: impl IntoIterator<Item = Event>) {
        self.now.mono_ms += 1;
        self.now.wall_ms += 1;
        let mut out = Vec::new();
        for event in events {
            self.machine.handle(self.now, event, &mut out);
        }
        self.machine.advance(self.now, &mut out);
        for command in out {
            let (Command::Send { session, message } | Command::SendDurable { session, message }) =
                command
            else {
                continue;
            };
            if let (Some(seat), ToWorker::Grant(grant)) = (self.seats.get_mut(&session), message) {
                seat.open.insert(grant.head.lease, grant.head.indices);
            }
        }
    }

    /// Submits a job over a range.
    pub(crate) fn submit_range(&mut self, count: u32) {
        self.submit(Source::Range { begin: 0, count }, true);
    }

    /// Submits a job whose inputs lie in full blocks.
    pub(crate) fn submit_blocks(&mut self, count: u32) {
        let job = self.submit(Source::Blocks, false);
        let reply = self.reply();
        let mut out = Vec::new();
        let open = Event::OpenAppend { reply, job };
        self.machine.handle(self.now, open, &mut out);
        let opened = out.into_iter().find_map(|command| match command {
            Command::Reply {
                reply: Reply::AppendOpened { appender, .. },
                ..
            } => Some(appender),
            _ => None,
        });
        let Some(appender) = opened else { return };
        let mut first = 0;
        while first < count {
            let block = BlockRef {
                first,
                count: BLOCK_INPUTS_MAX.min(count - first),
                bytes: 40 << 10,
                appender,
            };
            first += block.count;
            let reply = self.reply();
            self.turn([Event::Append { reply, job, block }]);
        }
        let reply = self.reply();
        let total = count.into();
        self.turn([Event::Seal { reply, job, total }]);
    }

    fn submit(&mut self, source: Source, seal: bool) -> JobId {
        let id = JobId([7; 16]);
        let spec = JobSpec {
            name: String::new(),
            target: Target::Function(FUNCTION.to_owned()),
            policy: Policy::default(),
            labels: Labels::new(),
            start: StartMode::AsSealed,
        };
        let proposal = Box::new(Proposal {
            id,
            spec,
            source,
            blocks: Vec::new(),
            seal,
            request_id: String::new(),
            content_digest: [0; 32],
            refusal: None,
        });
        let reply = self.reply();
        self.turn([Event::CreateJob { reply, proposal }]);
        id
    }

    fn reply(&mut self) -> ReplyId {
        self.replies += 1;
        ReplyId(self.replies)
    }

    /// What a worker would report: that the first of its leases is done, or so much of it.
    pub(crate) fn report_of(&mut self, session: SessionId, most: Option<u32>) -> Option<Event> {
        let seat = self.seats.get_mut(&session)?;
        let (lease, mut indices) = seat.open.pop_first()?;
        if let Some(most) = most {
            let rest = indices.split_off(most.into());
            if !rest.is_empty() {
                seat.open.insert(lease, rest);
            }
        }
        seat.reports += 1;
        let number = seat.reports;
        let attempts = indices.len();
        let mut columns = ColumnsBuilder::new();
        fill(&mut columns, &indices);
        let chunk = ChunkReport {
            begun: Begun { lease, count: 0 },
            succeeded: indices,
            warm: columns.warm(),
            columns: columns.finish(),
            logs: Bytes::new(),
            failed: Vec::new(),
            usage: Usage {
                duration_us: attempts * EACH_US,
                cpu_us: attempts,
                attempts,
            },
            handed_back: Ranges::new(),
            cold: Vec::new(),
        };
        let chunks = vec![chunk];
        let message = FromWorker::Report(Report { number, chunks });
        Some(Event::Worker { session, message })
    }
}

/// Small numbers as outputs.
pub(crate) fn fill(columns: &mut ColumnsBuilder, indices: &Ranges) {
    for index in indices.indices() {
        let output = (u64::from(index) + 1).to_string();
        columns.push(output.as_bytes(), EACH_US, Some(1), 1_700_000_000_000_000);
    }
}

/// What the coordinator takes in of what a worker says.
pub(crate) fn over_the_wire(event: Event) -> Event {
    let Event::Worker { session, message } = event else {
        return event;
    };
    let bytes: Bytes = convert::from_worker(message.clone()).encode_to_vec().into();
    let arrived = v1::ConnectRequest::decode(bytes).map(convert::incoming);
    match arrived {
        Ok(Ok(Incoming::Message(message))) => Event::Worker { session, message },
        _ => Event::Worker { session, message },
    }
}

/// What a worker says first. It comes over the wire, where all that it leaves out has a default.
fn hello(number: u32) -> Option<Box<Hello>> {
    let mut worker = [0; 16];
    worker[..4].copy_from_slice(&number.to_be_bytes());
    let hello = v1::Hello {
        protocol: PROTOCOL,
        worker_id: Bytes::copy_from_slice(&worker),
        name: format!("worker-{number}"),
        slots: 1,
        functions: vec![FUNCTION.to_owned(), "umbel.echo".to_owned()],
        version: "0.1.0".to_owned(),
        ..v1::Hello::default()
    };
    let message = Some(v1::connect_request::Message::Hello(hello));
    match convert::incoming(v1::ConnectRequest { message }) {
        Ok(Incoming::Hello(hello)) => Some(hello),
        _ => None,
    }
}
