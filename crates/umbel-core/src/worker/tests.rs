//! The worker's stories, and one random walk through all of them.

mod walk;

use super::*;
use crate::id::{InvokeId, LeaseId};
use crate::limit;
use crate::message::{GrantHead, InvokeDone, OfferAnswer, TakenBack, Welcome};

const T0: u64 = 1_000_000;
const PATIENCE: u64 = 10_000;

/// Columns are the name of who ran the piece.
type TestWorker = Worker<&'static str, &'static str>;

fn lease(number: u64) -> LeaseId {
    LeaseId { epoch: 1, number }
}

fn asked(id: InvokeId, target: Target) -> InvokeHead {
    InvokeHead {
        id,
        target,
        version: None,
        timeout_ms: 100,
    }
}

fn head(number: u64, indices: Range<Index>) -> GrantHead {
    GrantHead {
        lease: lease(number),
        job: JobId([1; 16]),
        target: Target::Function("f".to_owned()),
        version: None,
        arm: None,
        indices: Ranges::one(indices),
        attempt: 1,
        timeout_ms: None,
        slots: 8,
        log_basis_points: 0,
    }
}

fn part(run: Range<Index>, each_us: u64) -> Part<&'static str> {
    let count = u64::from(run.end - run.start);
    Part {
        succeeded: Ranges::one(run.clone()),
        run,
        columns: "done",
        failed: Vec::new(),
        usage: Usage {
            duration_us: each_us * count,
            cpu_us: 0,
            attempts: count,
        },
        bytes: 100,
    }
}

fn welcome(answers: Vec<OfferAnswer>) -> Welcome {
    Welcome {
        heartbeat_ms: 1_000,
        epoch: 1,
        answers,
    }
}

/// A connected worker.
fn worker(slots: usize) -> TestWorker {
    let mut worker = TestWorker::new(slots);
    assert_eq!(worker.welcome(&welcome(Vec::new())), []);
    worker
}

/// Runs one piece in a slot, at so much each; tells what it was.
fn step(worker: &mut TestWorker, slot: Slot, each_us: u64) -> Range<Index> {
    let piece = worker.pull(slot).expect("a piece");
    worker.finished(T0, slot, part(piece.run.clone(), each_us));
    worker.check();
    piece.run
}

fn said(worker: &mut TestWorker, now_us: u64) -> Vec<Outgoing<&'static str>> {
    std::iter::from_fn(|| worker.next_message(now_us)).collect()
}

/// The one report that leaves now.
fn report(worker: &mut TestWorker, now_us: u64) -> ReportPlan<&'static str> {
    let mut said = said(worker, now_us);
    assert_eq!(said.len(), 1, "{said:?}");
    match said.pop() {
        Some(Outgoing::Report(report)) => report,
        other => panic!("no report but {other:?}"),
    }
}

fn runs(chunk: &ChunkPlan<&'static str>) -> Vec<Range<Index>> {
    chunk.parts.iter().map(|part| part.run.clone()).collect()
}

#[test]
fn the_first_piece_is_one_invocation_and_the_next_two_milliseconds() {
    let mut worker = worker(1);
    worker.grant(head(1, 0..4_096), "inputs");

    assert_eq!(step(&mut worker, 0, 20), 0..1);
    assert_eq!(step(&mut worker, 0, 20), 1..101);
    assert_eq!(worker.begun()[0].count, 101);
}

#[test]
fn slots_pull_across_chunks_within_the_slots_of_each() {
    let mut worker = worker(4);
    let narrow = GrantHead {
        slots: 1,
        ..head(1, 0..10)
    };
    worker.grant(narrow, "a");
    worker.grant(head(2, 10..12), "b");

    let pulled: Vec<_> = (0..4)
        .map(|slot| worker.pull(slot).map(|piece| (piece.inputs, piece.run)))
        .collect();

    let expected = [
        Some(("a", 0..1)),
        Some(("b", 10..11)),
        Some(("b", 11..12)),
        None,
    ];
    assert_eq!(pulled, expected, "the narrow chunk has its slot");
    worker.check();
}

#[test]
fn a_busy_worker_reports_what_has_waited_ten_milliseconds() {
    let mut worker = worker(2);
    worker.grant(head(1, 0..10), "inputs");
    let late = worker.pull(1).unwrap();
    step(&mut worker, 0, 5_000);
    step(&mut worker, 0, 5_000);

    assert_eq!(said(&mut worker, T0 + PATIENCE - 1), []);
    let first = report(&mut worker, T0 + PATIENCE);
    assert_eq!(
        (first.number, runs(&first.chunks[0])),
        (1, vec![1..2, 2..3])
    );

    worker.finished(T0, 1, part(late.run, 5_000));
    step(&mut worker, 0, 5_000);
    let second = report(&mut worker, T0 + 2 * PATIENCE);
    assert_eq!(
        (second.number, runs(&second.chunks[0])),
        (2, vec![0..1, 3..4])
    );
    assert_eq!(second.chunks[0].begun.count, 4);
}

#[test]
fn each_report_of_a_worker_that_stays_busy_waits_longer_up_to_a_limit() {
    let mut worker = worker(1);
    worker.grant(head(1, 0..10), "inputs");
    for wait in [1, 2, 4, 8, 8].map(|times| times * PATIENCE) {
        step(&mut worker, 0, 5_000);
        assert_eq!(said(&mut worker, T0 + wait - 1), []);
        report(&mut worker, T0 + wait);
    }
    let rest = worker.pull(0).unwrap();
    worker.finished(T0, 0, part(rest.run, 5_000));
    while let Some(rest) = worker.pull(0) {
        worker.finished(T0, 0, part(rest.run, 5_000));
    }
    report(&mut worker, T0);

    worker.grant(head(2, 10..20), "inputs");
    step(&mut worker, 0, 5_000);
    report(&mut worker, T0 + PATIENCE);
}

#[test]
fn a_worker_that_would_go_idle_reports_at_once() {
    let mut worker = worker(2);
    worker.grant(head(1, 0..2), "inputs");
    let other = worker.pull(1).unwrap();
    step(&mut worker, 0, 1);
    assert_eq!(said(&mut worker, T0), [], "the other slot still runs");

    worker.finished(T0, 1, part(other.run, 1));

    let report = report(&mut worker, T0);
    assert_eq!(runs(&report.chunks[0]), [0..1, 1..2]);
    assert!(!worker.is_settled());
    worker.acknowledged(1);
    assert!(worker.is_settled());
    assert_eq!(worker.begun(), [], "what is settled is forgotten");
}

#[test]
fn a_full_report_leaves_at_once_and_holds_no_more_than_fits() {
    let mut worker = worker(1);
    worker.grant(head(1, 0..10), "inputs");
    for _ in 0..3 {
        let piece = worker.pull(0).unwrap();
        let bytes = limit::REPORT_BYTES_TARGET / 2;
        worker.finished(
            T0,
            0,
            Part {
                bytes,
                ..part(piece.run, 5_000)
            },
        );
    }

    let report = report(&mut worker, T0);

    assert_eq!(runs(&report.chunks[0]), [0..1, 1..2]);
}

#[test]
fn too_much_unacknowledged_stops_the_slots_until_the_acknowledgement() {
    let mut worker = worker(1);
    worker.grant(head(1, 0..100), "inputs");
    let mut reports = 0;
    while let Some(piece) = worker.pull(0) {
        let bytes = 6 << 20;
        worker.finished(
            T0,
            0,
            Part {
                bytes,
                ..part(piece.run, 5_000)
            },
        );
        reports += said(&mut worker, T0).len();
    }
    assert_eq!(reports, 11, "64 MiB are passed by the eleventh");

    worker.acknowledged(1);

    assert!(worker.pull(0).is_some());
}

#[test]
fn what_is_taken_back_is_the_tail_that_nobody_began() {
    let mut worker = worker(1);
    worker.grant(head(1, 0..10), "inputs");
    worker.pull(0).unwrap();

    worker.take_back(lease(1), 3);
    worker.take_back(lease(9), 3);

    let answers: Vec<_> = said(&mut worker, T0)
        .into_iter()
        .map(|message| match message {
            Outgoing::Message(FromWorker::TakenBack(TakenBack { begun, indices })) => {
                (begun.lease, begun.count, indices)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (lease(1), 1, Ranges::one(4..10)),
        (lease(9), 0, Ranges::new()),
    ];
    assert_eq!(answers, expected);
    worker.check();
}

#[test]
fn a_revoked_lease_stops_its_slots_and_its_outcomes_are_never_reported() {
    let mut worker = worker(2);
    worker.grant(head(1, 0..10), "a");
    step(&mut worker, 0, 5_000);
    let piece = worker.pull(1).unwrap();

    assert_eq!(worker.revoke(&[lease(1), lease(7)]), [1]);

    assert!(!worker.has_work());
    worker.finished(T0, 1, part(piece.run, 5_000));
    assert_eq!(said(&mut worker, T0 + PATIENCE), []);
    assert!(worker.is_settled());
    worker.grant(head(2, 0..1), "b");
    assert!(worker.pull(1).is_some(), "the slot is free again");
}

#[test]
fn a_timeout_is_an_outcome_and_the_rest_of_the_piece_is_another_slots() {
    let mut worker = worker(2);
    worker.grant(head(1, 0..101), "inputs");
    step(&mut worker, 0, 20);
    assert_eq!(worker.pull(0).unwrap().run, 1..101);

    worker.timed_out(T0, 0, part(1..41, 20));

    worker.check();
    assert!(worker.pull(0).is_none(), "the slot is taken");
    assert_eq!(worker.pull(1).unwrap().run, 41..101);
    worker.finished(T0, 0, part(1..101, 20));
    worker.check();
    assert!(!worker.has_work(), "what comes late has no effect");
}

#[test]
fn a_piece_that_runs_long_is_cut_and_its_rest_can_be_taken_back() {
    let mut worker = worker(2);
    worker.grant(head(1, 0..101), "inputs");
    step(&mut worker, 0, 20);
    worker.pull(0).unwrap();

    worker.cut(0, 5);
    worker.check();
    worker.take_back(lease(1), 0);

    match said(&mut worker, T0).as_slice() {
        [Outgoing::Message(FromWorker::TakenBack(taken))] => {
            assert_eq!(taken.indices, Ranges::one(5..101));
            assert_eq!(taken.begun.count, 5);
        }
        other => panic!("{other:?}"),
    }
    worker.finished(T0, 0, part(1..5, 20));
    worker.check();
}

#[test]
fn what_was_finished_while_nobody_listened_is_reported_under_the_new_lease() {
    let mut worker = worker(1);
    worker.grant(head(1, 0..3), "a");
    worker.grant(head(2, 3..6), "b");
    step(&mut worker, 0, 5_000);
    report(&mut worker, T0 + PATIENCE);
    assert_eq!(worker.disconnected(), []);
    step(&mut worker, 0, 5_000);
    assert_eq!(said(&mut worker, T0 + PATIENCE), [], "there is no session");

    let offers = worker.offers();
    let held: Vec<_> = (offers.iter())
        .map(|offer| (offer.lease, offer.indices.clone()))
        .collect();
    let expected = [(lease(1), Ranges::one(0..3)), (lease(2), Ranges::one(3..6))];
    assert_eq!(held, expected);

    let kept = Ranges::one(0..2);
    let answers = vec![
        OfferAnswer {
            old_lease: lease(1),
            kept: Some((lease(2), kept)),
            slots: 8,
        },
        OfferAnswer {
            old_lease: lease(2),
            kept: None,
            slots: 0,
        },
    ];
    assert_eq!(worker.welcome(&welcome(answers)), []);
    worker.check();

    let report = report(&mut worker, T0);
    assert_eq!((report.number, report.chunks.len()), (1, 1));
    assert_eq!(report.chunks[0].begun.lease, lease(2));
    assert_eq!(report.chunks[0].begun.count, 2);
    assert_eq!(runs(&report.chunks[0]), [0..1, 1..2]);
    worker.acknowledged(1);
    assert!(worker.is_settled(), "nothing is run again: {worker:?}");
}

#[test]
fn what_a_slow_disk_does_not_acknowledge_never_makes_a_message_too_long() {
    let mut worker = worker(1);
    let count = 2 * limit::WORKER_LEASES_MAX as u64;
    for number in 1..=count {
        let index = Index::try_from(number).unwrap();
        worker.grant(head(number, index..index + 1), "a");
        worker.pull(0).unwrap();
        worker.finished(T0, 0, part(index..index + 1, 1));
        report(&mut worker, T0 + PATIENCE);
    }
    assert_eq!(worker.begun(), [], "all of it is reported");

    assert_eq!(worker.disconnected(), []);
    let offers = worker.offers();
    assert_eq!(offers.len(), limit::WORKER_LEASES_MAX);
    let answers = offers.iter().map(|offer| OfferAnswer {
        old_lease: offer.lease,
        kept: Some((offer.lease, offer.indices.clone())),
        slots: 8,
    });
    assert_eq!(worker.welcome(&welcome(answers.collect())), []);
    worker.check();
    let again = report(&mut worker, T0 + PATIENCE);
    assert_eq!(again.chunks.len(), limit::WORKER_LEASES_MAX);
    worker.acknowledged(again.number);
    assert!(worker.is_settled(), "what was not offered is given up");
}

#[test]
fn what_is_kept_goes_on_in_the_slots_that_are_left_for_it() {
    let mut worker = worker(3);
    worker.grant(head(1, 0..9), "a");
    worker.pull(0).unwrap();
    worker.pull(1).unwrap();
    assert_eq!(worker.disconnected(), []);
    worker.offers();

    let answers = vec![OfferAnswer {
        old_lease: lease(1),
        kept: Some((lease(5), Ranges::one(0..9))),
        slots: 2,
    }];
    assert_eq!(worker.welcome(&welcome(answers)), []);
    assert_eq!(
        worker.pull(2),
        None,
        "both slots of its new lease are taken"
    );
    worker.finished(T0, 0, part(0..1, 1));
    assert!(worker.pull(2).is_some());
    worker.check();
}

#[test]
fn what_runs_and_is_not_kept_is_stopped() {
    let mut worker = worker(2);
    worker.grant(head(1, 0..2), "a");
    worker.pull(0).unwrap();
    worker.pull(1).unwrap();
    assert_eq!(worker.disconnected(), []);
    worker.offers();

    let kept = Some((lease(5), Ranges::one(1..2)));
    let answers = vec![OfferAnswer {
        old_lease: lease(1),
        kept,
        slots: 8,
    }];

    assert_eq!(worker.welcome(&welcome(answers)), [0]);
    worker.check();
    worker.finished(T0, 0, part(0..1, 1));
    worker.finished(T0, 1, part(1..2, 1));
    let chunk = &report(&mut worker, T0).chunks[0];
    assert_eq!(runs(chunk), vec![1..2; 1]);
}

#[test]
fn a_draining_worker_hands_back_finishes_and_waits_to_be_heard() {
    let mut worker = worker(1);
    worker.grant(head(1, 0..4), "a");
    let piece = worker.pull(0).unwrap();

    worker.drain();
    worker.grant(head(2, 4..6), "b");

    match said(&mut worker, T0).as_slice() {
        [
            Outgoing::Message(FromWorker::Leaving),
            Outgoing::Report(report),
        ] => {
            let back: Vec<_> = (report.chunks.iter())
                .map(|chunk| chunk.handed_back.clone())
                .collect();
            assert_eq!(back, [Ranges::one(1..4), Ranges::one(4..6)]);
        }
        other => panic!("{other:?}"),
    }
    assert!(!worker.is_settled(), "it still runs");
    worker.finished(T0, 0, part(piece.run, 1));
    assert_eq!(report(&mut worker, T0).number, 2);
    worker.acknowledged(1);
    assert!(!worker.is_settled(), "its outcome is not durable");
    worker.acknowledged(2);
    assert!(worker.is_settled());
}

fn invoke_done(id: InvokeId) -> InvokeDone {
    InvokeDone {
        id,
        outcome: Ok(bytes::Bytes::from_static(b"out")),
        duration_us: 1,
        cpu_us: None,
        cold_start: None,
    }
}

#[test]
fn an_invoke_goes_ahead_of_the_line_unless_its_caller_left() {
    let mut worker = worker(1);
    worker.grant(head(1, 0..4), "chunk");
    let target = || Target::Function("g".to_owned());
    worker.invoke(asked(InvokeId(1), target()), "left");
    worker.invoke(asked(InvokeId(2), target()), "invoke");
    assert_eq!(worker.invoke_cancelled(InvokeId(1)), None);

    let piece = worker.pull(0).unwrap();
    assert_eq!(piece.origin, Origin::Invoke(InvokeId(2)));
    let done = invoke_done(InvokeId(2));
    worker.invoke_finished(0, done.clone());

    let expected = [Outgoing::Message(FromWorker::InvokeDone(done))];
    assert_eq!(said(&mut worker, T0), expected);
    assert_eq!(worker.pull(0).unwrap().inputs, "chunk");
}

#[test]
fn an_invoke_ends_with_the_session_that_asked() {
    let mut worker = worker(1);
    worker.invoke(asked(InvokeId(1), Target::Function("g".to_owned())), "x");
    worker.pull(0).unwrap();

    assert_eq!(worker.disconnected(), [0]);

    worker.invoke_finished(0, invoke_done(InvokeId(1)));
    let _ = worker.welcome(&welcome(Vec::new()));
    assert_eq!(said(&mut worker, T0), []);
}

#[test]
fn what_is_of_a_version_waits_for_it_and_holds_up_nobody() {
    let mut worker = self::worker(2);
    let of_version = |number, indices| GrantHead {
        version: Some(VersionId(7)),
        ..head(number, indices)
    };
    worker.grant(of_version(1, 0..2), "cold");
    worker.grant(head(2, 2..3), "native");
    let invoke = InvokeHead {
        version: Some(VersionId(7)),
        ..asked(InvokeId(1), Target::Function("f".to_owned()))
    };
    worker.invoke(invoke, "asked");
    assert_eq!(worker.pull(0).unwrap().inputs, "native", "it goes ahead");
    assert!(!worker.has_work() && worker.pull(1).is_none());
    assert!(worker.is_running(), "an invoke is waited for");
    worker.ready(VersionId(8));
    assert!(!worker.has_work());
    worker.ready(VersionId(7));
    assert_eq!(worker.pull(1).unwrap().inputs, "asked");
    worker.check();
    let offers = worker.offers();
    let versions: Vec<_> = offers.iter().map(|offer| offer.version).collect();
    assert_eq!(versions, [Some(VersionId(7)), None], "as what it is");
}
