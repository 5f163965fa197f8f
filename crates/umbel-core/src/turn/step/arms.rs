//! Numbers for the arms of an alias.

use std::collections::BTreeMap;

use super::Out;
use crate::change::Change;
use crate::command::Command;
use crate::function::Alias;
use crate::route::ArmId;
use crate::tables::Tables;

/// Numbers for arms by their names: those they had, or new ones.
#[derive(Debug)]
pub(crate) struct Arms {
    known: BTreeMap<String, ArmId>,
    next: ArmId,
    /// The newest number that was given out.
    pub(crate) last: ArmId,
}

impl Arms {
    /// Those of an alias; new ones from `next` on.
    pub(crate) fn of(alias: Option<&Alias>, next: ArmId) -> Self {
        let known = alias.into_iter().flat_map(|alias| &alias.arms);
        Self {
            known: known.map(|(id, name)| (name.clone(), *id)).collect(),
            next,
            last: ArmId(0),
        }
    }

    /// The number of an arm.
    pub(crate) fn id(&mut self, name: &str) -> ArmId {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let id = self.next;
        self.next = ArmId(id.0.saturating_add(1));
        self.last = id;
        self.known.insert(name.to_owned(), id);
        id
    }
}

/// Numbers up to this were given out to arms of a function: none is ever used again.
pub(crate) fn give_out(t: &mut Tables, out: &mut Out, function: &str, last: ArmId) {
    let record = t.functions.find(function).map(|known| known.record.clone());
    if let Some(mut record) = record.filter(|record| record.last_arm < last) {
        record.last_arm = last;
        // Who kept the newest arm until now may go.
        t.marks.spent.insert(t.functions.last_armed().to_owned());
        t.functions.record(record.clone());
        out.push(Command::Persist(Change::Function(record)));
    }
}
