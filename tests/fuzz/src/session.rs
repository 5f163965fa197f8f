//! What workers and the coordinator say to each other.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use umbel_core::config::Config;
use umbel_core::event::{Event, Proposal, Publication};
use umbel_core::function::{Holdings, Runtime, Runtimes};
use umbel_core::id::{JobId, ReplyId, SessionId, WorkerId};
use umbel_core::job::{JobSpec, Source, StartMode, Target};
use umbel_core::limit::{OUTPUT_BYTES_MAX, PROTOCOL};
use umbel_core::machine::Machine;
use umbel_core::message::{FromWorker, Hello};
use umbel_core::policy::{Labels, Policy};
use umbel_core::time::Now;
use umbel_proto::columns::Columns;
use umbel_proto::convert::{self, FromCoordinator, Incoming, Inputs};
use umbel_proto::v1;

use crate::seeds;

/// A worker's message: what is understood is written back as the same, and no machine falls
/// over it.
pub(crate) fn to_coordinator(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::ConnectRequest::decode(bytes) else {
        return false;
    };
    let Ok(incoming) = convert::incoming(wire) else {
        return false;
    };
    let again = match incoming.clone() {
        Incoming::Hello(hello) => convert::hello(*hello),
        Incoming::Message(message) => convert::from_worker(message),
    };
    assert_eq!(convert::incoming(again).as_ref(), Ok(&incoming));
    if let Incoming::Message(FromWorker::Report(report)) = &incoming {
        for chunk in report
            .chunks
            .iter()
            .filter(|chunk| !chunk.succeeded.is_empty())
        {
            let columns = Columns::parse(
                chunk.columns.clone(),
                chunk.succeeded.len(),
                OUTPUT_BYTES_MAX,
            );
            let columns = columns.expect("they were checked at the door");
            assert_eq!(columns.rows().count() as u64, chunk.succeeded.len());
        }
    }
    machine(incoming);
    true
}

/// A machine with two jobs that one worker runs, one of a published function, to which a message comes.
fn machine(incoming: Incoming) {
    let mut now = Now {
        mono_ms: 1_000,
        wall_ms: 1_700_000_000_000,
    };
    let (mut machine, mut out) = (Machine::new(Config::default(), 3), Vec::new());
    let session = SessionId(1);
    let hello = Hello {
        protocol: PROTOCOL,
        worker: WorkerId([9; 16]),
        name: "w-1".to_owned(),
        slots: 2,
        labels: Labels::new(),
        functions: vec!["f".to_owned()],
        runs_programs: false,
        runtimes: Runtimes::from_iter([Runtime::Python]),
        holdings: Holdings::default(),
        version: String::new(),
        offers: Vec::new(),
    };
    let hello = Box::new(hello);
    machine.handle(now, Event::Hello { session, hello }, &mut out);
    let version = seeds::version();
    let publication = Publication {
        function: version.function.clone(),
        spec: version.spec,
        artifact: version.artifact,
        staged: true,
        content: version.content,
        by: version.published_by,
        refusal: None,
    };
    let event = Event::Publish {
        reply: ReplyId(1),
        publication: Box::new(publication),
    };
    machine.handle(now, event, &mut out);
    for (number, function) in (2..).zip(["f", &version.function]) {
        let reply = ReplyId(number.into());
        let proposal = Box::new(proposal(number, function));
        machine.handle(now, Event::CreateJob { reply, proposal }, &mut out);
        machine.advance(now, &mut out);
    }
    let event = match incoming {
        Incoming::Hello(hello) => Event::Hello {
            session: SessionId(2),
            hello,
        },
        Incoming::Message(message) => Event::Worker { session, message },
    };
    for _ in 0..2 {
        // Said twice, it changes nothing more than once, and harms as little.
        machine.handle(now, event.clone(), &mut out);
        machine.advance(now, &mut out);
        machine.check();
        now.mono_ms += u64::try_from(Duration::from_secs(1).as_millis()).unwrap_or(0);
    }
}

/// A job of a hundred.
fn proposal(number: u8, function: &str) -> Proposal {
    Proposal {
        id: JobId([3 + number; 16]),
        spec: JobSpec {
            name: String::new(),
            target: Target::Function(function.to_owned()),
            policy: Policy::default(),
            labels: Labels::new(),
            start: StartMode::AsSealed,
        },
        source: Source::Range {
            begin: 0,
            count: 100,
        },
        blocks: Vec::new(),
        seal: true,
        request_id: String::new(),
        content_digest: [0; 32],
        refusal: None,
    }
}

/// The coordinator's message: the inputs of a grant can be walked, however they are cut.
pub(crate) fn to_worker(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::ConnectResponse::decode(bytes) else {
        return false;
    };
    let Ok(message) = convert::from_coordinator(wire) else {
        return false;
    };
    if let FromCoordinator::Grant { head, inputs } = &message {
        assert!(!head.indices.is_empty());
        if let Inputs::Slices(slices) = inputs {
            for slice in slices {
                // One that does not fit ends its invocations, and not the worker.
                let Ok(entries) = slice.entries() else {
                    continue;
                };
                let lengths: usize = entries.iter().map(<[u8]>::len).sum();
                assert_eq!(entries.iter().count(), slice.count as usize);
                assert!(lengths <= slice.body.len());
                let shared = entries.shared().map(|entry: Bytes| entry.len());
                assert_eq!(shared.sum::<usize>(), lengths);
            }
        }
    }
    true
}
