//! What was last measured of each function, so that a new job of it need not feel
//! its way from a chunk of one.

use std::collections::BTreeMap;

use super::pace::Pace;
use crate::job::Target;
use crate::limit;

/// The pace of each function, as its jobs measured it last.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    by_function: BTreeMap<String, Pace>,
}

impl Paces {
    /// A job has measured this. A program says nothing about the next one: its
    /// arguments are another job's.
    pub(crate) fn learn(&mut self, target: &Target, pace: Pace) {
        let Some(name) = target.function() else {
            return;
        };
        if let Some(known) = self.by_function.get_mut(name) {
            *known = pace;
        } else if self.by_function.len() < limit::FUNCTIONS_MAX {
            self.by_function.insert(name.to_owned(), pace);
        }
    }

    /// What a new job begins with.
    pub(crate) fn guess(&self, target: &Target) -> Pace {
        let Some(name) = target.function() else {
            return Pace::default();
        };
        self.by_function
            .get(name)
            .map_or_else(Pace::default, |pace| pace.guess())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Usage;
    use crate::tables::pace::Room;

    #[test]
    fn a_new_job_begins_near_what_its_function_was_measured_with() {
        let room = Room {
            slots: 1,
            load_us: 0,
            waiting: 1_000_000,
            able_slots: 2,
        };
        let function = Target::Function("f".to_owned());
        let program = Target::Program(vec!["f".to_owned()]);
        let mut paces = Paces::default();
        assert_eq!(paces.guess(&function).chunk(room), 1);

        let mut pace = Pace::default();
        pace.measure(Usage {
            duration_us: 4_096,
            cpu_us: 0,
            attempts: 4_096,
        });
        paces.learn(&function, pace);
        paces.learn(&program, pace);

        assert_eq!(paces.guess(&function).chunk(room), 1_024);
        assert_eq!(paces.guess(&program).chunk(room), 1);
        assert_eq!(
            paces.guess(&Target::Function("g".to_owned())).chunk(room),
            1
        );
    }
}
