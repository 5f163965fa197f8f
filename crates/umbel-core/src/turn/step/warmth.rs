//! How ready workers are for a version.

use crate::function::Version;
use crate::tables::Tables;
use crate::tables::demands::Ability;

/// How many instances of a version are to be kept ready, and how many of them stand so.
pub(crate) fn instances(t: &Tables, version: &Version) -> (u64, u64) {
    let ready = t.roster.iter().filter(|(_, worker)| worker.is_ready());
    ready.fold((0, 0), |(kept, standing), (_, worker)| {
        let own = worker.instances(version);
        (kept + u64::from(own.0), standing + u64::from(own.1))
    })
}

/// How many workers can run a version.
pub(crate) fn able_len(t: &Tables, version: &Version) -> u32 {
    let runs = |ability: &Ability| ability.runtimes.contains(version.spec.runtime);
    let able = t.demands.abilities().filter(|(_, ability)| runs(ability));
    u32::try_from(able.count()).unwrap_or(u32::MAX)
}
