use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use umbel_core::cold_start::ColdStart;
use umbel_core::histogram::Histogram;
use umbel_core::ranges::Ranges;

use super::*;
use crate::columns::ColumnsBuilder;
use crate::convert::testing::{LEASE, columns, failed, some_failure, some_hello, to_coordinator};
use crate::convert::{from_worker, hello};

fn comes_back(message: &FromWorker) {
    let back = to_coordinator(message.clone());
    assert_eq!(back, Ok(Incoming::Message(message.clone())));
}

const COLD: ColdStart = ColdStart {
    fetch_us: 1,
    load_us: 2,
    init_us: 3,
    first_call_us: 4,
};

fn logs() -> Bytes {
    let mut builder = ColumnsBuilder::new();
    for output in [&b"a"[..], b"b"] {
        builder.push(output, 1, None, 0);
        builder.log("printed\n");
    }
    builder.finish_logs()
}

fn some_chunk() -> ChunkReport {
    let mut succeeded = Ranges::one(10..13);
    succeeded.push(20..22);
    let mut warm = Histogram::new();
    warm.add_bucket(10, 5);
    let mut late = failed(30);
    late.cold_start = Some(COLD);
    ChunkReport {
        begun: Begun {
            lease: LEASE,
            count: 9,
        },
        succeeded,
        columns: columns(5),
        logs: logs(),
        failed: vec![failed(14), late],
        usage: Usage {
            duration_us: 60,
            cpu_us: 50,
            attempts: 7,
        },
        handed_back: Ranges::one(40..44),
        warm,
        cold: vec![ColdRun {
            duration_us: 5_000,
            parts: COLD,
        }],
    }
}

fn report(chunks: Vec<ChunkReport>) -> FromWorker {
    FromWorker::Report(Report { number: 1, chunks })
}

/// What the door says of a report with one chunk that was changed.
fn refused(change: impl FnOnce(&mut ChunkReport)) -> String {
    let mut chunk = some_chunk();
    change(&mut chunk);
    let error = to_coordinator(report(vec![chunk])).unwrap_err();
    assert_eq!(error.reason, Reason::ProtocolBroken);
    error.message
}

fn refused_hello(change: impl FnOnce(&mut Hello)) -> Invalid {
    let mut changed = some_hello();
    change(&mut changed);
    incoming(hello(changed)).unwrap_err()
}

#[test]
fn every_message_comes_back() {
    let begun = Begun {
        lease: LEASE,
        count: 4,
    };
    comes_back(&FromWorker::Heartbeat(vec![begun]));
    comes_back(&report(vec![some_chunk(), some_chunk()]));
    comes_back(&FromWorker::TakenBack(TakenBack {
        begun,
        indices: Ranges::one(4..9),
    }));
    comes_back(&FromWorker::Leaving);
    for outcome in [Ok(Bytes::from_static(b"out")), Err(some_failure())] {
        comes_back(&FromWorker::InvokeDone(InvokeDone {
            id: InvokeId(6),
            outcome,
            duration_us: 12,
            cpu_us: None,
            cold_start: None,
        }));
    }
    let hello = incoming(hello(some_hello()));
    assert_eq!(hello, Ok(Incoming::Hello(Box::new(some_hello()))));
}

#[test]
fn another_protocol_is_said_before_anything_else() {
    let error = refused_hello(|hello| {
        hello.protocol = 2;
        hello.name = String::new();
    });
    assert_eq!(error.reason, Reason::ProtocolMismatch);
    assert_eq!(
        (&*error.metadata["theirs"], &*error.metadata["ours"]),
        ("2", "1")
    );
}

#[test]
fn a_hello_outside_its_limits_is_named_by_its_field() {
    let field = |change: fn(&mut Hello)| refused_hello(change).field;
    assert_eq!(field(|hello| hello.name = String::new()), "hello.name");
    assert_eq!(field(|hello| hello.name = "x".repeat(256)), "hello.name");
    assert_eq!(field(|hello| hello.slots = 0), "hello.slots");
    assert_eq!(field(|hello| hello.slots = 4_097), "hello.slots");
    assert_eq!(
        field(|hello| hello.version = "v".repeat(256)),
        "hello.version"
    );
    assert_eq!(
        field(|hello| hello.functions.push("a@b".into())),
        "hello.functions"
    );
    assert_eq!(
        field(|hello| hello.functions = vec!["f".into(); 1_025]),
        "hello.functions"
    );
    assert_eq!(
        field(|hello| hello.offers = vec![hello.offers[0].clone(); 1_025]),
        "hello.offers"
    );
    assert_eq!(
        field(|hello| {
            hello.labels.insert("k".into(), "v".repeat(256));
        }),
        "hello.labels"
    );
}

#[test]
fn a_report_that_contradicts_itself_is_refused() {
    let message = refused(|chunk| chunk.columns = columns(4));
    assert!(message.contains("4 outputs for 5 invocations"), "{message}");
    let message = refused(|chunk| chunk.columns = Bytes::from_static(b"garbage"));
    assert!(message.contains("report.chunks.columns"), "{message}");
    let message = refused(|chunk| chunk.succeeded = Ranges::new());
    assert!(message.contains("nothing has succeeded"), "{message}");
    let message = refused(|chunk| chunk.failed.push(failed(14)));
    assert!(message.contains("index 14 failed twice"), "{message}");
    let message = refused(|chunk| chunk.failed.push(failed(11)));
    assert!(message.contains("index 11 has two outcomes"), "{message}");
    let message = refused(|chunk| chunk.handed_back = Ranges::one(21..30));
    assert!(message.contains("index 21 has two outcomes"), "{message}");
    let message = refused(|chunk| chunk.failed.push(failed(70_000)));
    assert!(message.contains("too far apart"), "{message}");
    let message = refused(|chunk| chunk.begun.count = 5_000);
    assert!(message.contains("have begun"), "{message}");
}

#[test]
fn logs_belong_to_what_succeeded() {
    let message = refused(|chunk| {
        chunk.succeeded = Ranges::one(10..11);
        chunk.columns = columns(1);
    });
    assert!(message.contains("2 logs among 1"), "{message}");
}

#[test]
fn run_times_are_those_of_the_attempts_that_are_named() {
    let message = refused(|chunk| chunk.warm.add_bucket(3, 3));
    assert!(message.contains("no histogram"), "{message}");
}

#[test]
fn a_report_is_bounded() {
    let large = ChunkReport {
        succeeded: Ranges::new(),
        columns: Bytes::new(),
        logs: Bytes::new(),
        failed: Vec::new(),
        usage: Usage::default(),
        handed_back: Ranges::one(0..4_096),
        warm: Histogram::new(),
        cold: Vec::new(),
        ..some_chunk()
    };
    assert!(to_coordinator(report(vec![large.clone(); 16])).is_ok());
    let error = to_coordinator(report(vec![large; 17])).unwrap_err();
    assert!(error.message.contains("the limit is 65536"), "{error}");
    let unnumbered = FromWorker::Report(Report {
        number: 0,
        chunks: vec![],
    });
    assert!(to_coordinator(unnumbered).is_err());
}

#[test]
fn what_is_missing_is_refused() {
    let empty = v1::ConnectRequest { message: None };
    assert!(incoming(empty).is_err());
    for message in [
        Message::TakenBack(v1::TakenBack::default()),
        Message::InvokeDone(v1::InvokeDone::default()),
        Message::Report(v1::Report {
            number: 1,
            chunks: vec![v1::ChunkReport::default()],
        }),
    ] {
        let wire = v1::ConnectRequest {
            message: Some(message),
        };
        assert_eq!(incoming(wire).unwrap_err().reason, Reason::ProtocolBroken);
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(noise: Vec<u8>, at: usize, byte: u8) {
        let mut bytes = from_worker(report(vec![some_chunk()])).encode_to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        for bytes in [bytes, noise] {
            if let Ok(wire) = v1::ConnectRequest::decode(Bytes::from(bytes)) {
                let _ = incoming(wire);
            }
        }
    }
}

#[test]
fn a_short_report_that_unpacks_to_more_than_a_message_is_refused() {
    let mut builder = crate::columns::ColumnsBuilder::new();
    builder.push(&vec![0; 5 << 20], 10, None, 0);
    let columns = builder.finish();
    assert!(columns.len() < 100 << 10, "it is packed");
    let mut warm = Histogram::new();
    warm.add(10);
    let chunk = |index| ChunkReport {
        succeeded: Ranges::one(index..index + 1),
        columns: columns.clone(),
        logs: Bytes::new(),
        failed: Vec::new(),
        handed_back: Ranges::new(),
        warm: warm.clone(),
        ..some_chunk()
    };

    assert!(to_coordinator(report(vec![chunk(0)])).is_ok());
    let error = to_coordinator(report(vec![chunk(0), chunk(1)])).unwrap_err();

    assert_eq!(error.reason, Reason::ProtocolBroken);
    assert!(error.message.contains("unpack to more than"), "{error:?}");
}
