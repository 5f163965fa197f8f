//! A random walk: after each step every index is in exactly one place, and in the end
//! the worker comes to rest.

use proptest::prelude::*;

use super::*;

/// What may happen to a worker, in any order.
#[derive(Clone, Debug)]
enum Step {
    Grant(u32),
    Pull(Slot),
    Finish(Slot, u64),
    TimeOut(Slot),
    Cut(Slot),
    TakeBack(u64, u32),
    Revoke(u64),
    Say,
    Acknowledge,
    Reconnect(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u32..200).prop_map(Step::Grant),
        (0usize..3).prop_map(Step::Pull),
        (0usize..3).prop_map(Step::Pull),
        (0usize..3, 0u64..100).prop_map(|(slot, us)| Step::Finish(slot, us)),
        (0usize..3).prop_map(Step::TimeOut),
        (0usize..3).prop_map(Step::Cut),
        (1u64..9, 0u32..50).prop_map(|(lease, keep)| Step::TakeBack(lease, keep)),
        (1u64..9).prop_map(Step::Revoke),
        Just(Step::Say),
        Just(Step::Acknowledge),
        (1u32..200).prop_map(Step::Reconnect),
    ]
}

/// A worker with its slots' threads and a coordinator that believes it.
struct Walk {
    worker: TestWorker,
    runs: [Option<Range<Index>>; 3],
    leases: u64,
    indices: u32,
    reports: u64,
}

impl Walk {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Grant(count) => {
                self.leases += 1;
                let indices = self.indices..self.indices + count;
                self.indices += count;
                self.worker.grant(head(self.leases, indices), "x");
            }
            Step::Pull(slot) if self.runs[slot].is_none() => {
                self.runs[slot] = self.worker.pull(slot).map(|piece| piece.run);
            }
            Step::Finish(slot, us) => {
                if let Some(run) = self.runs[slot].take() {
                    self.worker.finished(T0, slot, part(run, us));
                }
            }
            Step::TimeOut(slot) => {
                if let Some(run) = self.runs[slot].take() {
                    let run = run.start..run.start + 1;
                    self.worker.timed_out(T0, slot, part(run, 50));
                    self.worker.freed(slot);
                }
            }
            Step::Cut(slot) => {
                if let Some(run) = &mut self.runs[slot] {
                    run.end = run.start + 1;
                    self.worker.cut(slot, run.end);
                }
            }
            Step::TakeBack(number, keep) => self.worker.take_back(lease(number), keep),
            Step::Revoke(number) => {
                for slot in self.worker.revoke(&[lease(number)]) {
                    self.runs[slot] = None;
                    self.worker.freed(slot);
                }
            }
            Step::Say => self.say(),
            Step::Acknowledge => self.worker.acknowledged(self.reports),
            Step::Reconnect(keep) => self.reconnect(keep),
            Step::Pull(_) => {}
        }
        self.worker.check();
    }

    fn say(&mut self) {
        for message in said(&mut self.worker, T0 + PATIENCE) {
            if let Outgoing::Report(report) = message {
                assert_eq!(report.number, self.reports + 1, "no gaps");
                self.reports = report.number;
            }
        }
    }

    fn reconnect(&mut self, keep: u32) {
        assert_eq!(self.worker.disconnected(), []);
        self.reports = 0;
        let mut answers = Vec::new();
        for offer in self.worker.offers() {
            let mut kept = offer.indices.clone();
            let _dropped = kept.split_off(u64::from(keep));
            self.leases += 1;
            answers.push(OfferAnswer {
                old_lease: offer.lease,
                kept: Some((lease(self.leases), kept)),
                slots: 8,
            });
        }
        for slot in self.worker.welcome(&welcome(answers)) {
            self.runs[slot] = None;
            self.worker.freed(slot);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_invocation_is_in_one_place(
        steps in proptest::collection::vec(any_step(), 0..120),
    ) {
        let mut walk = Walk {
            worker: worker(3),
            runs: [None, None, None],
            leases: 0,
            indices: 0,
            reports: 0,
        };
        for step in &steps {
            walk.take(step);
        }
        // Left alone with a coordinator that answers, it comes to rest.
        for _ in 0..5_000 {
            for slot in 0..3 {
                walk.take(&Step::Pull(slot));
                walk.take(&Step::Finish(slot, 5));
            }
            walk.take(&Step::Say);
            walk.take(&Step::Acknowledge);
            if walk.worker.is_settled() {
                break;
            }
        }
        prop_assert!(walk.worker.is_settled(), "{:?}", walk.worker);
        prop_assert_eq!(walk.worker.begun(), []);
    }
}
