//! Coordinators start and die, and the plan's faults come.

use umbel_core::change::Change;
use umbel_core::event::Event;
use umbel_core::machine::Machine;
use umbel_store::{Engine, Error, Store};

use std::sync::Arc;

use crate::agenda::What;
use crate::client::Ask;
use crate::disk::Disk;
use crate::model::Loss;
use crate::plan::{Fault, FaultKind};
use crate::shell::{Shell, Start};
use crate::world::World;

impl World {
    pub(crate) fn coordinator_starts(&mut self) {
        if self.shell.is_some() {
            return;
        }
        if self.now_ms < self.down_until_ms {
            self.agenda.add(self.down_until_ms, What::CoordinatorStarts);
            return;
        }
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let opened = match Store::with_engine(Arc::clone(&self.disk) as _) {
            Ok(opened) => opened,
            Err(error) => panic!("the store does not open: {error}"),
        };
        let changes: Result<Vec<Change>, Error> = opened.changes.collect();
        let mut changes = match changes {
            Ok(changes) => changes,
            Err(error) => panic!("the store cannot be restored: {error}"),
        };
        self.trace
            .say(&|| format!("epoch {} restores {} changes", opened.epoch, changes.len()));
        self.model.restored(&changes);
        crate::mutate::restored(self.bug, &mut changes);
        let config = crate::mutate::config(self.bug, self.plan.config);
        let epoch = crate::mutate::epoch(self.bug, opened.epoch);
        let now = self.clock();
        let machine = Machine::restore(config, epoch, now, changes);
        machine.check();
        self.model.restored_machine(&machine);
        self.shell = Some(Shell::new(Start {
            incarnation,
            machine,
            store: opened.store,
            next_number: opened.next_number,
            mono_ms: now.mono_ms,
        }));
        self.later(700, What::Sweep(incarnation));
        self.turn_soon(0);
    }

    /// The coordinator's machine loses power, to come back after a while.
    pub(crate) fn coordinator_dies(&mut self, down_ms: u64) {
        let Some(shell) = self.shell.take() else {
            return;
        };
        self.figures.crashes += 1;
        let (disk, survivors) = match shell.broken {
            Some(ref broken) => (None, broken.1),
            None => {
                let some = self.dice.below(self.disk.undurable() as u64 + 1);
                let (disk, survivors) = self.disk.crash(usize::try_from(some).unwrap_or(0));
                (Some(disk), survivors)
            }
        };
        self.trace
            .say(&|| format!("{survivors} turns survive that were not durable"));
        self.model.crashed(survivors);
        let askers = shell.askers();
        let disk = disk.or_else(|| shell.broken.map(|(disk, _)| disk));
        self.disk = Arc::new(disk.unwrap_or_else(Disk::empty));
        self.check_store();
        // Its clock starts anywhere.
        self.mono_ahead_ms += self.dice.below(100_000);
        self.down_until_ms = self.now_ms + down_ms;
        self.agenda.add(self.down_until_ms, What::CoordinatorStarts);
        for link in self.links.of_coordinator(shell.incarnation) {
            self.links.cut(link);
            self.ends_above(link);
            // A worker whose coordinator lost power hears of it late.
            let wait_ms = if self.dice.chance(60) { 20 } else { 8_000 };
            let wait_ms = self.dice.below(wait_ms);
            self.later(wait_ms, What::EndsBelow(link));
        }
        for asker in askers {
            self.ask_was_lost(&asker);
        }
        self.watches_are_lost();
    }

    /// What is found after a crash is whole by the store's own check.
    fn check_store(&self) {
        let engine = Arc::clone(&self.disk) as Arc<dyn Engine>;
        let report = match umbel_store::check::check_engine(&engine, &mut |_| {}) {
            Ok(report) => report,
            Err(error) => panic!("the store cannot be checked: {error}"),
        };
        assert!(
            report.problems.is_empty(),
            "the store is damaged after a crash: {:?}",
            report.problems
        );
    }

    pub(crate) fn store_is_noticed(&mut self, incarnation: u32, down_ms: u64) {
        if self
            .shell
            .as_ref()
            .is_some_and(|shell| shell.incarnation == incarnation)
        {
            self.coordinator_dies(down_ms);
        }
    }

    fn store_fails(&mut self, down_ms: u64, fenced: bool) {
        let some = self.dice.below(self.disk.undurable() as u64 + 1);
        let Some(shell) = self.shell.as_mut().filter(|shell| shell.broken.is_none()) else {
            return;
        };
        shell.broken = Some(self.disk.crash(usize::try_from(some).unwrap_or(0)));
        let (dir, what) = ("/simulated".into(), "simulated".to_owned());
        self.disk.fail(if fenced {
            Error::Fenced { dir }
        } else {
            Error::Full { dir, what }
        });
        let incarnation = shell.incarnation;
        let wait_ms = self.dice.below(30);
        self.later(
            wait_ms,
            What::StoreNoticed {
                incarnation,
                down_ms,
            },
        );
    }

    pub(crate) fn fault(&mut self, number: usize) {
        let Some(Fault { kind, .. }) = self.plan.faults.get(number).copied() else {
            return;
        };
        self.trace.say(&|| format!("fault {kind:?}"));
        let now_ms = self.now_ms;
        // A fault ends with the faults.
        let until = |for_ms: u64, end_ms: u64| (now_ms + for_ms).min(end_ms.max(now_ms + 1));
        let end_ms = self.plan.faults_end_ms;
        match kind {
            FaultKind::CoordinatorDies { down_ms } => self.coordinator_dies(down_ms),
            FaultKind::CoordinatorStalls { for_ms } => {
                if let Some(shell) = &mut self.shell {
                    shell.stalled_until_ms = until(for_ms, end_ms);
                }
            }
            FaultKind::StoreFails { down_ms, fenced } => self.store_fails(down_ms, fenced),
            FaultKind::DiskSlow { for_ms, commit_ms } => {
                self.disk_slow = (until(for_ms, end_ms), commit_ms);
            }
            FaultKind::MonoJumps { by_ms } => {
                self.mono_ahead_ms += by_ms;
                self.turn_soon(1);
            }
            FaultKind::WallJumps { by_ms } => self.wall_off_ms += by_ms,
            FaultKind::WorkerDies {
                worker,
                down_ms,
                silent,
            } => {
                self.process_dies(worker, Loss::Fault, silent);
                self.later(down_ms, What::SeatStarts(worker));
            }
            FaultKind::WorkerStalls { worker, for_ms } => {
                if let Some(seat) = self.seats.get_mut(worker) {
                    seat.stalled_until_ms = until(for_ms, end_ms);
                }
            }
            FaultKind::LinkBreaks { worker } => self.link_breaks(worker),
            FaultKind::Silence {
                worker,
                for_ms,
                up,
                down,
            } => {
                if let Some(seat) = self.seats.get_mut(worker) {
                    let until_ms = until(for_ms, end_ms);
                    seat.silent_up_until_ms = if up {
                        until_ms
                    } else {
                        seat.silent_up_until_ms
                    };
                    seat.silent_down_until_ms = if down {
                        until_ms
                    } else {
                        seat.silent_down_until_ms
                    };
                }
            }
            FaultKind::Drain { worker } => {
                let name = crate::seat::name(worker);
                self.ask(Ask::Drain, |reply| Event::Drain {
                    reply,
                    worker: name,
                });
            }
        }
    }
}
