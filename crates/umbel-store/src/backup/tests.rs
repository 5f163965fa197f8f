use std::collections::BTreeMap;
use std::path::Path;

use umbel_core::job::JobState;
use umbel_core::ranges::Ranges;

use super::*;
use crate::store::scan;
use crate::testing::{Told, created, job, open, record, reopen, status};
use crate::{Listener, MemoryEngine, Settings, SledEngine, WriteBatch, key};

fn contents(engine: &dyn Engine) -> BTreeMap<Bytes, Bytes> {
    let mut contents = BTreeMap::new();
    let mut next = Some(Scan {
        keys: Bytes::from_static(&[0])..Bytes::from_static(&[u8::MAX]),
        direction: Direction::Forward,
        entries_max: 1000,
        bytes_max: 4 << 20,
    });
    while let Some(scan) = next {
        let page = engine.scan(&scan).unwrap();
        contents.extend(
            page.entries
                .into_iter()
                .map(|entry| (entry.key, entry.value)),
        );
        next = page.next;
    }
    contents
}

fn open_dir(dir: &Path) -> SledEngine {
    SledEngine::open(&Settings::new(dir), Told::new().0).unwrap()
}

/// Writes a backup, doing `meanwhile` with the number of each piece.
fn write(store: &Store, dir: &Path, mut meanwhile: impl FnMut(u64)) -> Summary {
    let mut writer = Writer::create(dir).unwrap();
    for (piece, number) in store.backup().zip(1..) {
        writer.push(&piece.unwrap()).unwrap();
        meanwhile(number);
    }
    writer.finish().unwrap()
}

#[test]
fn a_backup_taken_while_turns_go_on_is_the_state_at_its_last_commit() {
    let root = tempfile::tempdir().unwrap();
    let (opened, engine) = open();
    let (store, first) = (opened.store, opened.next_number);
    let mut turn = first;
    let mut commit = |indices: std::ops::Range<u32>| {
        let record = Box::new(record(1, Ranges::one(indices), 4000));
        let change = umbel_core::change::Change::Recorded(record);
        store.commit(turn, &[change]).unwrap();
        turn += 1;
        turn - 1
    };
    store
        .commit(first - 1, &[created(1), status(1, JobState::Running)])
        .unwrap();
    for n in 0..40 {
        commit(n * 50..n * 50 + 50);
    }
    engine.commit(usize::MAX);
    let mut states = BTreeMap::new();
    let mut next = 40;
    let to = root.path().join("backup");
    // Durable and undurable turns go on between its pages, and old keys go.
    let summary = write(&store, &to, |piece| {
        let number = commit(next * 50..next * 50 + 50);
        next += 1;
        let mut removal = WriteBatch::unnumbered();
        let gone = key::under(key::Kind::Columns, job(1)).start;
        let gone = engine.scan(&Scan {
            keys: gone.clone()..key::behind(&gone),
            direction: Direction::Forward,
            entries_max: 2,
            bytes_max: 1 << 20,
        });
        gone.unwrap()
            .entries
            .into_iter()
            .for_each(|entry| removal.delete(entry.key));
        engine.submit(removal);
        if piece % 2 == 0 {
            engine.commit(usize::MAX);
        }
        states.insert(number, contents(&*engine));
    });
    assert!(states.len() > 5, "the copy took {} pieces", states.len());
    let data = root.path().join("data");
    restore(&to, &Settings::new(&data)).unwrap();
    let mut restored = contents(&open_dir(&data));
    let mut expected = states[&summary.durable].clone();
    let format = &Key::Format.encode();
    assert_ne!(restored.remove(format), expected.remove(format));
    // The engine's own, which the one in memory has not.
    assert!(restored.remove(&Key::Mark.encode()).is_some());
    assert_eq!(restored, expected);
}

#[test]
fn a_backup_of_a_busy_engine_on_disk_comes_back_whole() {
    let root = tempfile::tempdir().unwrap();
    let engine = Arc::new(open_dir(&root.path().join("live")));
    let shared: Arc<dyn Engine> = Arc::clone(&engine) as Arc<dyn Engine>;
    let store = Store::with_engine(shared).unwrap().store;
    // Each turn rewrites all of these, far apart from each other: a copy that mixes two shows it.
    let turn = |number: u64| {
        let mut batch = WriteBatch::numbered(number);
        for slot in 0..90_u8 {
            let key = [&[3][..], &[slot; 17]].concat();
            batch.put(key, vec![number as u8; 30_000]).unwrap();
        }
        batch
            .put(vec![4; 17], number.to_le_bytes().to_vec())
            .unwrap();
        batch
    };
    engine.submit(turn(1));
    engine.settle().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let to = root.path().join("backup");
    let summary = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 2.. {
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                engine.submit(turn(number));
                while engine.undurable_bytes() > 4 << 20 {
                    std::thread::yield_now();
                }
            }
        });
        let summary = write(&store, &to, |_| {});
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        summary
    });
    let data = root.path().join("data");
    restore(&to, &Settings::new(&data)).unwrap();
    let contents = contents(&open_dir(&data));
    let number = u64::from_le_bytes(contents[&vec![4; 17][..]][..].try_into().unwrap());
    assert_eq!(number, summary.durable);
    assert!(
        contents
            .iter()
            .filter(|(key, _)| key[0] == 3)
            .all(|(_, value)| value[0] == number as u8)
    );
}

#[test]
fn a_restored_store_goes_on_under_an_epoch_that_nobody_has_seen() {
    let root = tempfile::tempdir().unwrap();
    let (opened, _engine) = open();
    opened
        .store
        .commit(opened.next_number, &[created(1)])
        .unwrap();
    let to = root.path().join("backup");
    let summary = write(&opened.store, &to, |_| {});
    assert_eq!((summary.epoch, summary.durable), (1, opened.next_number));
    let settings = Settings::new(root.path().join("data"));
    assert_eq!(restore(&to, &settings).unwrap().summary, summary);
    let listener: Arc<dyn Listener> = Told::new().0;
    let again = Store::open(&settings, listener).unwrap();
    assert_eq!(again.epoch, 2 + EPOCHS_SKIPPED);
    assert_eq!(
        again.changes.map(Result::unwrap).collect::<Vec<_>>(),
        [created(1)]
    );
}

#[test]
fn nothing_is_written_over_and_nothing_half_is_used() {
    let root = tempfile::tempdir().unwrap();
    let (opened, engine) = open();
    let to = root.path().join("backup");
    write(&opened.store, &to, |_| {});
    let again = Writer::create(&to).unwrap_err().to_string();
    assert!(again.contains("never written over"), "{again}");

    let data = root.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("thesis.tex"), "x").unwrap();
    let occupied = restore(&to, &Settings::new(&data)).unwrap_err().to_string();
    assert!(occupied.contains("not empty"), "{occupied}");

    std::fs::rename(data.join("thesis.tex"), data.join(restore::FILE)).unwrap();
    let unfinished = SledEngine::open(&Settings::new(&data), Told::new().0).unwrap_err();
    assert!(
        matches!(unfinished, Error::Unfinished { .. }),
        "{unfinished}"
    );

    // Who leaves early ends the following, and leaves no directory.
    let early = root.path().join("early");
    let mut writer = Writer::create(&early).unwrap();
    writer
        .push(&opened.store.backup().next().unwrap().unwrap())
        .unwrap();
    assert!(matches!(writer.finish(), Err(Error::Backup { .. })));
    assert!(!early.exists());
    engine.follow().unwrap();
    assert!(matches!(
        opened.store.backup().next(),
        Some(Err(Error::CopyUnderWay))
    ));
}

#[test]
fn a_damaged_backup_is_refused_before_anything_is_made() {
    let root = tempfile::tempdir().unwrap();
    let (opened, _engine) = open();
    opened
        .store
        .commit(opened.next_number, &[created(1)])
        .unwrap();
    let to = root.path().join("backup");
    write(&opened.store, &to, |_| {});
    let records = to.join("records");
    let whole = std::fs::read(&records).unwrap();
    let settings = Settings::new(root.path().join("data"));
    for (damage, words) in [
        (whole[..whole.len() - 3].to_vec(), "ends too early"),
        (
            [&whole[..40], &[whole[40] ^ 4], &whole[41..]].concat(),
            "checksum",
        ),
        (Vec::new(), "ends too early"),
    ] {
        std::fs::write(&records, damage).unwrap();
        let error = restore(&to, &settings).unwrap_err().to_string();
        assert!(
            error.contains(words) && error.contains("at byte"),
            "{error}"
        );
    }
    std::fs::remove_file(to.join("umbel-backup")).unwrap();
    let error = restore(&to, &settings).unwrap_err().to_string();
    assert!(error.contains("was not finished"), "{error}");
    assert!(!settings.dir.exists());
}

#[test]
fn parts_of_long_values_travel_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let (opened, engine) = open();
    let long = Bytes::from(vec![7; 300_000]);
    let mut batch = WriteBatch::unnumbered();
    scan::put(&mut batch, key::Whole::Job(job(1)), &long).unwrap();
    engine.submit(batch);
    let to = root.path().join("backup");
    write(&opened.store, &to, |_| {});
    let data = root.path().join("data");
    restore(&to, &Settings::new(&data)).unwrap();
    let restored = open_dir(&data);
    assert_eq!(
        scan::load(&restored, key::Whole::Job(job(1))).unwrap(),
        Some(long)
    );
    let (_, _again): (_, Arc<MemoryEngine>) = reopen(engine);
}
