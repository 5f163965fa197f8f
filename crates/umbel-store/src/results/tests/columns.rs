//! Records read in their columns, which must be the same as by the row.

use umbel_proto::columns::Columns;

use super::*;

/// The same as a client that opens columns reads it, and how many columns it opened.
pub(super) fn in_order_in_columns(
    store: &Store,
    range: Range<Index>,
    gaps: Gaps,
) -> (Vec<String>, Reached, usize) {
    let mut reader = store.in_order(job(1), range, Wanted::ALL, gaps);
    let (mut rows, mut opened) = (Vec::new(), 0);
    loop {
        let page = reader.found_page(u64::MAX, true).unwrap();
        for found in &page.rows {
            match found {
                Found::Row(row) => rows.push(short(row)),
                Found::Columns(columns) => {
                    opened += 1;
                    rows.extend(open_columns(columns));
                }
            }
        }
        if page.reached != Reached::Limit {
            return (rows, page.reached, opened);
        }
    }
}

/// The same as a client that opens columns reads it, and how many columns it opened.
pub(super) fn in_columns(
    store: &Store,
    redrives: u32,
    wanted: Wanted,
    range: Range<Index>,
    after: Cursor,
) -> (Vec<String>, usize) {
    let mut reader = store.as_completed(job(1), redrives, after, wanted);
    let (mut rows, mut opened) = (Vec::new(), 0);
    loop {
        let page = reader.found_page(u64::MAX, range.clone()).unwrap();
        for (found, _) in &page.rows {
            match found {
                Found::Row(row) => rows.extend(range.contains(&row.index).then(|| short(row))),
                Found::Columns(columns) => {
                    opened += 1;
                    rows.extend(open_columns(columns));
                }
            }
        }
        if !page.more {
            return (rows, opened);
        }
    }
}

fn open_columns(found: &ResultsInColumns) -> Vec<String> {
    let count = found.reported.len();
    let columns = Columns::parse(found.columns.clone(), count, 1 << 20).unwrap();
    let rows = found.reported.indices().zip(columns.rows());
    let rows = rows.filter(|(index, _)| found.meant.contains(*index));
    let rows = rows.map(|(index, row)| {
        let text = String::from_utf8(row.output.to_vec()).unwrap();
        assert_eq!(text.lines().next().unwrap(), output(index));
        assert_eq!(row.duration_us, Some(duration_us(index)));
        format!("+{index}")
    });
    rows.collect()
}

/// Of a hundred that were reported all but ten count, one failed, two were cancelled.
fn much_and_more(store: &Store, number: u64) {
    let mut most = record(1, Ranges::one(0..100), 0);
    most.succeeded = Ranges::one(10..100);
    most.failed.push(failed(100));
    most.cancelled = Ranges::one(101..103);
    commit(store, number, most);
    commit(store, number + 1, record(1, Ranges::one(200..203), 0));
}

#[test]
fn what_succeeded_of_a_record_is_read_in_its_columns() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    much_and_more(&store, number);

    let all = completed_of(&store, 0, Wanted::ALL);
    assert_eq!(all.len(), 96);
    let start = Cursor::default();
    let read = |wanted, range| in_columns(&store, 0, wanted, range, start);
    assert_eq!(read(Wanted::ALL, 0..1_000), (all.clone(), 1));
    assert_eq!(read(Wanted::ALL, 40..201).0, {
        let middle = all.iter().filter(|row| {
            let index: Index = row[1..].parse().unwrap();
            (40..201).contains(&index)
        });
        middle.cloned().collect::<Vec<_>>()
    });
    assert_eq!(read(Wanted::ALL, 0..20), (all[..10].to_vec(), 0), "few");
    assert_eq!(read(Wanted::ALL, 0..0), (Vec::new(), 0));
    let failures = Wanted {
        succeeded: false,
        ..Wanted::ALL
    };
    assert_eq!(read(failures, 0..1_000).0, ["-100", "x101", "x102"]);
}

#[test]
fn records_are_read_in_their_columns_in_the_order_of_inputs_too() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    let wide = 3 * PAGE_ROWS_MAX as u32;
    commit(&store, number, record(1, Ranges::one(3_000..wide), 0));
    commit(&store, number + 1, record(1, Ranges::one(0..2_000), 0));
    let mut late = record(1, Ranges::one(2_000..3_000), 0);
    late.succeeded = Ranges::one(2_000..2_500);
    late.failed = (2_500..3_000).map(failed).collect();
    commit(&store, number + 2, late);

    let (rows, reached, opened) = in_order_in_columns(&store, 0..wide, Gaps::StopAt);
    assert_eq!((rows.len(), reached), (wide as usize, Reached::End));
    assert!(opened >= 2, "{opened}");
    assert_eq!(in_order(&store, 0..wide, Gaps::Skip).0, rows);
    let few = in_order_in_columns(&store, 100..300, Gaps::Skip);
    assert_eq!(
        (few.0.len(), few.2),
        (200, 0),
        "few of many come by the row"
    );
}

#[test]
fn a_reader_in_columns_goes_on_behind_any_place() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    much_and_more(&store, number);
    let all = completed_of(&store, 0, Wanted::ALL);
    let behind = |after| in_columns(&store, 0, Wanted::ALL, 0..1_000, after).0;

    let mut by_row = store.as_completed(job(1), 0, Cursor::default(), Wanted::ALL);
    for (seen, (_, cursor)) in by_row.page(u64::MAX).unwrap().rows.iter().enumerate() {
        assert_eq!(behind(*cursor), all[seen + 1..], "a row was the last");
    }
    let mut in_columns = store.as_completed(job(1), 0, Cursor::default(), Wanted::ALL);
    let page = in_columns.found_page(u64::MAX, 0..1_000).unwrap();
    let (first, cursor) = &page.rows[0];
    assert!(matches!(first, Found::Columns(_)));
    assert_eq!(behind(*cursor), all[90..]);
    assert_eq!(behind(page.cursor), [""; 0]);
}

#[test]
fn what_a_redrive_ran_again_is_not_meant_in_older_columns() {
    let (opened, _engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    commit(&store, number, record(1, Ranges::one(0..100), 0));
    let again = WaitingRecord {
        indices: Ranges::one(3..5),
        due_ms: 0,
        history: History::default(),
    };
    let redriven = Record {
        redrive: 1,
        waiting: vec![again],
        ..record(1, Ranges::new(), 0)
    };
    commit(&store, number + 1, redriven);
    let second = Record {
        redrive: 1,
        ..record(1, Ranges::one(3..5), 0)
    };
    commit(&store, number + 2, second);

    let rows = completed_of(&store, 1, Wanted::ALL);
    assert_eq!(rows.len(), 100);
    assert_eq!(rows[98..], ["+3", "+4"]);
    let read = in_columns(&store, 1, Wanted::ALL, 0..100, Cursor::default());
    assert_eq!(read, (rows, 1));
}
