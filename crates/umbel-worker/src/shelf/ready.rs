//! A version that is ready to be invoked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use umbel_artifact::Cached;
use umbel_core::cold_start::ColdStart;
use umbel_runtime::Executable;

/// A version that is ready to be invoked. Its artifact stays in the cache as long as this lives.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) executable: Executable,
    /// What it took to get here, in microseconds; whoever has waited for it first takes it.
    fetch_us: AtomicU64,
    load_us: AtomicU64,
    _artifact: Option<Cached>,
}

/// How long an artifact took to come here, and to become what can be invoked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) fetch: Duration,
    pub(super) load: Duration,
}

impl Ready {
    pub(super) fn new(executable: Executable, artifact: Cached, arrival: Option<Arrival>) -> Self {
        let fetch = arrival.map_or(0, |arrival| micros(arrival.fetch).max(1));
        let load = arrival.map_or(0, |arrival| micros(arrival.load));
        Self {
            executable,
            fetch_us: AtomicU64::new(fetch),
            load_us: AtomicU64::new(load),
            _artifact: Some(artifact),
        }
    }

    /// What the worker brings itself, or a job's own program.
    pub(crate) fn own(executable: Executable) -> Self {
        Self {
            executable,
            fetch_us: AtomicU64::new(0),
            load_us: AtomicU64::new(0),
            _artifact: None,
        }
    }

    /// It came before there was work: nobody has waited for it.
    pub(super) fn came_ahead(&self) {
        self.fetch_us.store(0, Ordering::Relaxed);
        self.load_us.store(0, Ordering::Relaxed);
        self.executable.loaded_ahead();
    }

    /// The cold start of an attempt that ran so long, with what it took to get the version here,
    /// which the first one bears. A program has one only if it had to be fetched.
    #[inline]
    pub(crate) fn cold_start(
        &self,
        cold: Option<umbel_runtime::ColdStart>,
        ran_us: u64,
    ) -> Option<ColdStart> {
        let starts = matches!(self.executable, Executable::Exec(_));
        if cold.is_none() && !(starts && self.fetch_us.load(Ordering::Relaxed) > 0) {
            return None;
        }
        let fetch_us = self.fetch_us.swap(0, Ordering::Relaxed);
        let came_us = self.load_us.swap(0, Ordering::Relaxed);
        match cold {
            Some(cold) => Some(ColdStart {
                fetch_us,
                load_us: came_us.saturating_add(cold.load_us),
                init_us: cold.init_us,
                first_call_us: cold.first_call_us,
            }),
            // Another slot was faster.
            None if fetch_us == 0 => None,
            None => Some(ColdStart {
                fetch_us,
                load_us: came_us,
                init_us: 0,
                first_call_us: ran_us,
            }),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use umbel_runtime::Program;

    use super::*;

    const COLD: umbel_runtime::ColdStart = umbel_runtime::ColdStart {
        load_us: 20,
        init_us: 300,
        first_call_us: 4,
    };

    fn fetched(fetch_us: u64) -> Ready {
        let program = Program::new(["true"]).unwrap();
        Ready {
            fetch_us: AtomicU64::new(fetch_us),
            load_us: AtomicU64::new(fetch_us / 10),
            ..Ready::own(Executable::Exec(Arc::new(program)))
        }
    }

    #[test]
    fn the_first_cold_start_bears_the_way_here() {
        let ready = fetched(1_000);
        let parts = |cold| ready.cold_start(cold, 9).map(ColdStart::parts);
        assert_eq!(parts(Some(COLD)), Some([1_000, 120, 300, 4]));
        assert_eq!(parts(Some(COLD)), Some([0, 20, 300, 4]));
    }

    #[test]
    fn a_program_has_one_where_it_had_to_be_fetched_for_it() {
        let ready = fetched(1_000);
        let parts = ready.cold_start(None, 9).map(ColdStart::parts);
        assert_eq!(parts, Some([1_000, 100, 0, 9]));
        assert_eq!(ready.cold_start(None, 9), None);
        let ahead = fetched(1_000);
        ahead.came_ahead();
        assert_eq!(ahead.cold_start(None, 9), None, "nobody has waited");
    }
}
