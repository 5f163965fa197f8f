use umbel_core::change::{Change, FailedRecord, Record, WaitingRecord};
use umbel_core::history::History;
use umbel_core::id::Index;
use umbel_core::limit::RECORD_SPAN_MAX;
use umbel_core::outcome::{Failure, FailureKind};
use umbel_core::ranges::Ranges;
use umbel_core::redrive::{Filter, Ran};
use umbel_core::route::{ArmId, RanArm};

use super::*;
use crate::testing::{duration_us, job, open, output, record};

mod columns;

use columns::{in_columns, in_order_in_columns};

fn commit(store: &Store, number: u64, record: Record) {
    store
        .commit(number, &[Change::Recorded(Box::new(record))])
        .unwrap();
    store.settle().unwrap();
}

fn failed(index: Index) -> FailedRecord {
    let failure = Failure {
        kind: FailureKind::Function,
        error_type: "ExitCode".to_owned(),
        message: "it failed".to_owned(),
        stderr: String::new(),
    };
    FailedRecord {
        index,
        failure,
        attempts: 3,
        started_at_us: 5,
        duration_us: 7,
        cpu_us: None,
        cold_start: None,
    }
}

/// What a row says in short: `+` succeeded with the right output, `-` failed, `x` cancelled.
fn short(row: &ResultRow) -> String {
    let sign = match &row.outcome {
        Outcome::Succeeded(bytes) => {
            let text = std::str::from_utf8(bytes).unwrap();
            assert_eq!(text.lines().next().unwrap(), output(row.index));
            assert_eq!(row.timing.duration_us, Some(duration_us(row.index)));
            '+'
        }
        Outcome::Failed(_) => '-',
        Outcome::Cancelled => 'x',
    };
    format!("{sign}{}", row.index)
}

fn in_order(store: &Store, range: Range<Index>, gaps: Gaps) -> (Vec<String>, Reached) {
    let mut reader = store.in_order(job(1), range.clone(), Wanted::ALL, gaps);
    let mut rows = Vec::new();
    let reached = loop {
        let page = reader.page(u64::MAX).unwrap();
        rows.extend(page.rows.iter().map(short));
        if page.reached != Reached::Limit {
            break page.reached;
        }
    };
    let (same, same_reached, _) = in_order_in_columns(store, range, gaps);
    assert_eq!(
        (&same, same_reached),
        (&rows, reached),
        "the same in columns"
    );
    (rows, reached)
}

fn as_completed(store: &Store, wanted: Wanted) -> Vec<String> {
    completed_of(store, 0, wanted)
}

fn completed_of(store: &Store, redrives: u32, wanted: Wanted) -> Vec<String> {
    let mut reader = store.as_completed(job(1), redrives, Cursor::default(), wanted);
    let mut rows = Vec::new();
    loop {
        let page = reader.page(u64::MAX).unwrap();
        rows.extend(page.rows.iter().map(|(row, _)| short(row)));
        if !page.more {
            break;
        }
    }
    let (in_columns, _) = in_columns(store, redrives, wanted, 0..Index::MAX, Cursor::default());
    assert_eq!(in_columns, rows, "the same in columns");
    rows
}

#[test]
fn interleaved_records_are_read_in_either_order() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let mut odd = Ranges::new();
    let mut even = Ranges::new();
    for index in 0..4 {
        even.push(2 * index..2 * index + 1);
        odd.push(2 * index + 1..2 * index + 2);
    }
    commit(&store, number, record(1, odd, 100));
    let mut retried = record(1, even, 0);
    retried.failed.push(failed(9));
    retried.cancelled = Ranges::one(10..12);
    commit(&store, number + 1, retried);

    let expected = [
        "+0", "+1", "+2", "+3", "+4", "+5", "+6", "+7", "-9", "x10", "x11",
    ];
    assert_eq!(
        in_order(&store, 0..100, Gaps::Skip),
        (expected.map(str::to_owned).into(), Reached::End)
    );
    let (rows, reached) = in_order(&store, 0..100, Gaps::StopAt);
    assert_eq!((rows.len(), reached), (8, Reached::Gap));
    let expected = [
        "+1", "+3", "+5", "+7", "+0", "+2", "+4", "+6", "-9", "x10", "x11",
    ];
    assert_eq!(as_completed(&store, Wanted::ALL), expected);
    let only = Wanted {
        succeeded: false,
        failed: true,
        cancelled: true,
    };
    assert_eq!(as_completed(&store, only), ["-9", "x10", "x11"]);
}

#[test]
fn what_a_report_says_of_others_invocations_is_masked() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let mut masked = record(1, Ranges::one(0..6), 200);
    masked.succeeded = Ranges::one(1..3);
    masked.succeeded.push(5..6);
    commit(&store, number, masked);
    let expected = ["+1", "+2", "+5"].map(str::to_owned);
    assert_eq!(in_order(&store, 0..6, Gaps::Skip).0, expected);
    assert_eq!(as_completed(&store, Wanted::ALL), expected);
}

#[test]
fn nothing_is_read_before_it_is_durable() {
    let (opened, engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let turn = [Change::Recorded(Box::new(record(1, Ranges::one(0..3), 0)))];
    store.commit(number, &turn).unwrap();
    assert_eq!(store.result(job(1), 0).unwrap(), None);
    assert!(in_order(&store, 0..3, Gaps::Skip).0.is_empty());
    assert!(as_completed(&store, Wanted::ALL).is_empty());
    engine.commit(1);
    assert_eq!(short(&store.result(job(1), 0).unwrap().unwrap()), "+0");
    assert_eq!(as_completed(&store, Wanted::ALL).len(), 3);

    let mut reader = store.in_order(job(1), 0..3, Wanted::ALL, Gaps::Skip);
    assert!(
        reader.page(number - 1).unwrap().rows.is_empty(),
        "the caller's number counts too"
    );
}

fn of_type(name: &str) -> Filter {
    Filter {
        types: [name.to_owned()].into(),
        ..Filter::default()
    }
}

#[test]
fn a_redrive_replaces_what_it_ran_again() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let failures = Record {
        failed: vec![failed(0), failed(1)],
        version: Some(3),
        ..record(1, Ranges::new(), 0)
    };
    commit(&store, number, failures);
    let known = |name: &str| {
        store
            .standing(job(1), "umbel.echo", 0, &of_type(name))
            .unwrap()
            .of_types
            .len()
    };
    assert_eq!((known("ExitCode"), known("ValueError")), (2, 0));
    let standing = store.standing(job(1), "f", 0, &Filter::default()).unwrap();
    let ran = Ran::Ended("f".into(), 3, None);
    assert_eq!(standing.ran[&ran].len(), 2, "by the function it was for");
    let again = WaitingRecord {
        indices: Ranges::one(0..2),
        history: History::FRESH,
        due_ms: 0,
    };
    let redriven = Record {
        redrive: 1,
        waiting: vec![again],
        ..record(1, Ranges::new(), 0)
    };
    commit(&store, number + 1, redriven);
    assert_eq!(store.result(job(1), 0).unwrap(), None, "it waits again");
    let second = Record {
        redrive: 1,
        ..record(1, Ranges::one(1..2), 0)
    };
    commit(&store, number + 2, second);
    assert_eq!(in_order(&store, 0..2, Gaps::Skip).0, ["+1"]);
    assert_eq!(completed_of(&store, 1, Wanted::ALL), ["+1"]);
    let before = store.standing(job(1), "umbel.echo", 1, &of_type("ExitCode"));
    let before = before.unwrap();
    assert_eq!(before.succeeded.len(), 1);
    assert!(before.failed.is_empty() && before.of_types.is_empty());
    assert_eq!(store.result(job(1), 1).unwrap().unwrap().redrive, 1);
}

#[test]
fn what_ended_on_an_arm_is_found_and_a_redrive_hides_what_had_succeeded() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let on = |name: &str| {
        Some(RanArm {
            id: ArmId(7),
            name: name.into(),
        })
    };
    let good = Record {
        arm: on("7"),
        ..record(1, Ranges::one(0..4), 0)
    };
    let bad = Record {
        arm: on("8"),
        failed: vec![failed(6)],
        ..record(1, Ranges::one(4..6), 0)
    };
    commit(&store, number, good);
    commit(&store, number + 1, bad);
    let filter = Filter {
        arm: Some("8".into()),
        ..Filter::default()
    };
    let standing = store.standing(job(1), "f", 0, &filter).unwrap();
    assert_eq!(filter.choose(&standing), Ranges::one(4..7));
    let redriven = Record {
        redrive: 1,
        waiting: vec![WaitingRecord {
            indices: Ranges::one(4..7),
            history: History::FRESH,
            due_ms: 0,
        }],
        ..record(1, Ranges::new(), 0)
    };
    commit(&store, number + 2, redriven);
    let standing = store.standing(job(1), "f", 1, &filter).unwrap();
    assert!(standing.succeeded.runs().eq(std::iter::once(0..4)));
    assert!(filter.choose(&standing).is_empty(), "it waits");
    assert_eq!(store.result(job(1), 4).unwrap(), None);
    assert_eq!(completed_of(&store, 1, Wanted::ALL).len(), 4);
    let second = Record {
        redrive: 1,
        arm: on("7"),
        ..record(1, Ranges::one(4..7), 0)
    };
    commit(&store, number + 3, second);
    assert_eq!(store.result(job(1), 4).unwrap().unwrap().redrive, 1);
    let standing = store.standing(job(1), "f", 1, &filter).unwrap();
    assert!(
        filter.choose(&standing).is_empty(),
        "nothing is of that arm any more"
    );
}

#[test]
fn a_wide_cancel_is_found_from_every_index() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let wide = 3 * RECORD_SPAN_MAX;
    let cancelled = Record {
        cancelled: Ranges::one(1..wide),
        ..record(1, Ranges::new(), 0)
    };
    commit(&store, number, cancelled);
    for index in [1, RECORD_SPAN_MAX, RECORD_SPAN_MAX + 1, wide - 1] {
        assert_eq!(
            short(&store.result(job(1), index).unwrap().unwrap()),
            format!("x{index}")
        );
    }
    assert_eq!(
        in_order(&store, 0..wide, Gaps::Skip).0.len(),
        (wide - 1) as usize
    );
    assert_eq!(as_completed(&store, Wanted::ALL).len(), (wide - 1) as usize);
}

#[test]
fn far_apart_results_are_found_without_walking_the_gap() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    for (turn, index) in [0, 50_000_000, 99_999_999].into_iter().enumerate() {
        commit(
            &store,
            number + turn as u64,
            record(1, Ranges::one(index..index + 1), 0),
        );
    }
    let mut reader = store.in_order(job(1), 0..100_000_000, Wanted::ALL, Gaps::Skip);
    let mut pages = 0;
    let mut rows = Vec::new();
    loop {
        let page = reader.page(u64::MAX).unwrap();
        rows.extend(page.rows.iter().map(short));
        pages += 1;
        if page.reached == Reached::End {
            break;
        }
    }
    assert_eq!(rows, ["+0", "+50000000", "+99999999"]);
    assert!(pages < 10, "{pages} pages");
}

#[test]
fn a_page_is_bounded_in_bytes_and_goes_on() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let each = PAGE_BYTES_MAX / 2 + 1;
    for turn in 0..5 {
        commit(
            &store,
            number + u64::from(turn),
            record(1, Ranges::one(turn..turn + 1), each),
        );
    }
    let mut reader = store.in_order(job(1), 0..5, Wanted::ALL, Gaps::StopAt);
    let page = reader.page(u64::MAX).unwrap();
    assert_eq!(
        (page.rows.len(), page.next, page.reached),
        (2, 2, Reached::Limit)
    );
    assert_eq!(in_order(&store, 0..5, Gaps::StopAt).0.len(), 5);
    let mut reader = store.as_completed(job(1), 0, Cursor::default(), Wanted::ALL);
    let page = reader.page(u64::MAX).unwrap();
    assert_eq!((page.rows.len(), page.more), (2, true));
    assert_eq!(as_completed(&store, Wanted::ALL).len(), 5);
}

#[test]
fn a_reader_goes_on_behind_any_row() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let mut first = record(1, Ranges::one(0..3), 300);
    first.failed.push(failed(3));
    first.cancelled = Ranges::one(4..6);
    commit(&store, number, first);
    commit(&store, number + 1, record(1, Ranges::one(6..8), 0));
    let all = store
        .as_completed(job(1), 0, Cursor::default(), Wanted::ALL)
        .page(u64::MAX)
        .unwrap();
    assert_eq!(all.rows.len(), 8);
    for (seen, (_, cursor)) in all.rows.iter().enumerate() {
        let rest = store
            .as_completed(job(1), 0, *cursor, Wanted::ALL)
            .page(u64::MAX)
            .unwrap();
        assert_eq!(rest.rows, all.rows[seen + 1..]);
    }
    let mut follower = store.as_completed(job(1), 0, all.cursor, Wanted::ALL);
    assert!(follower.page(u64::MAX).unwrap().rows.is_empty());
    commit(&store, number + 2, record(1, Ranges::one(8..9), 0));
    assert_eq!(follower.page(u64::MAX).unwrap().rows.len(), 1);
}

#[test]
fn columns_that_lie_are_an_error_and_no_panic() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let mut short = record(1, Ranges::one(0..3), 0);
    short.reported = Ranges::one(0..4);
    short.succeeded = Ranges::one(0..4);
    commit(&store, number, short);
    let error = store.result(job(1), 0).unwrap_err().to_string();
    assert!(error.contains("3 for 4 results"), "{error}");
}

#[test]
fn scattered_results_are_read_within_a_bound_of_memory() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    // Forty records of a megabyte each; the first index of every one lies in the same page.
    for turn in 0..40 {
        let mut scattered = Ranges::one(turn..turn + 1);
        scattered.push(2_000 + 100 * turn..2_100 + 100 * turn);
        commit(
            &store,
            number + u64::from(turn),
            record(1, scattered, 10 << 10),
        );
    }
    let mut reader = store.in_order(job(1), 0..40, Wanted::ALL, Gaps::StopAt);
    let mut rows = 0;
    let mut longest = 0;
    loop {
        let page = reader.page(u64::MAX).unwrap();
        rows += page.rows.len();
        longest = longest.max(page.rows.len());
        if page.reached == Reached::End {
            break;
        }
    }
    assert_eq!(rows, 40);
    assert!(
        (2..=17).contains(&longest),
        "a page of {longest} rows had to open as many records"
    );
}

/// What a log row says in short.
fn short_log((row, _): &(LogRow, Cursor)) -> String {
    let sign = if row.succeeded { '+' } else { '-' };
    format!("{sign}{} {}", row.index, String::from_utf8_lossy(&row.text))
}

/// A record in which these indices printed their number.
fn logged(reported: Ranges, printed: &[Index]) -> Record {
    let mut columns = umbel_proto::columns::ColumnsBuilder::new();
    for index in reported.indices() {
        columns.push(b"", 0, None, 0);
        if printed.contains(&index) {
            columns.log(&index.to_string());
        }
    }
    Record {
        logs: columns.finish_logs(),
        ..record(1, reported, 10)
    }
}

#[test]
fn logs_are_read_in_the_order_in_which_invocations_ended() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let mut late = logged(Ranges::one(5..9), &[6, 8]);
    // What came for 8 was reported under a lease that had ended.
    late.succeeded = Ranges::one(5..8);
    late.failed = vec![failed(20)];
    late.failed[0].failure.stderr = "why".to_owned();
    commit(&store, number, late);
    commit(&store, number + 1, record(1, Ranges::one(30..40), 0));
    commit(&store, number + 2, logged(Ranges::one(0..3), &[0, 2]));

    let mut reader = store.logs(job(1), 0..100, Cursor::default());
    let page = reader.page(u64::MAX).unwrap();
    let rows: Vec<_> = page.rows.iter().map(short_log).collect();
    assert_eq!(rows, ["+6 6", "-20 why", "+0 0", "+2 2"]);
    assert!(!page.more && reader.page(u64::MAX).unwrap().rows.is_empty());
    for (at, (_, cursor)) in page.rows.iter().enumerate() {
        let mut rest = store.logs(job(1), 0..100, *cursor);
        let rest = rest.page(u64::MAX).unwrap().rows;
        assert_eq!(
            rest.iter().map(short_log).collect::<Vec<_>>(),
            rows[at + 1..]
        );
    }
    let mut some = store.logs(job(1), 2..7, Cursor::default());
    let some = some.page(u64::MAX).unwrap().rows;
    assert_eq!(
        some.iter().map(short_log).collect::<Vec<_>>(),
        ["+6 6", "+2 2"]
    );
}

#[test]
fn a_page_of_logs_is_bounded() {
    let (opened, _engine) = open();
    let store = opened.store;
    let printed: Vec<Index> = (0..3_000).collect();
    for round in 0..2 {
        let reported = Ranges::one(0..3_000);
        commit(
            &store,
            opened.next_number + round,
            logged(reported, &printed),
        );
    }
    let mut reader = store.logs(job(1), 0..100_000, Cursor::default());
    let first = reader.page(u64::MAX).unwrap();
    assert!(first.more && first.rows.len() == PAGE_ROWS_MAX);
    let second = reader.page(u64::MAX).unwrap();
    assert!(!second.more);
    assert_eq!(first.rows.len() + second.rows.len(), 6_000);
}
