//! A worker on a simulated host: the real session, with slots that take simulated time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use umbel_core::id::WorkerId;
use umbel_worker::Config;
use umbel_worker::inline::{self, Held};
use umbel_worker::runtime::Catalog;

use crate::dice::Dice;
use crate::trace::Trace;
use crate::wire;

const SLOTS: usize = 2;
/// How often a slot is looked after.
const STEP: Duration = Duration::from_millis(20);

/// What a host starts when it starts.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    name: String,
    dice: Arc<Mutex<Dice>>,
    trace: Trace,
}

/// The function that every job here runs; what it should give for input `n`.
pub(crate) fn expected(n: u64) -> String {
    format!("{n} squared is {}", n * n)
}

fn square(input: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(input);
    let n = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    Ok(expected(n))
}

impl Seat {
    pub(crate) fn new(name: &str, dice: Dice, trace: Trace) -> Self {
        Self {
            name: name.to_owned(),
            dice: Arc::new(Mutex::new(dice)),
            trace,
        }
    }

    fn roll(&self, below: u64) -> u64 {
        self.dice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .below(below)
    }

    /// One process, from its start until its host dies.
    pub(crate) async fn run(self) -> turmoil::Result {
        let mut config = Config {
            coordinator: format!("http://coordinator:{}", wire::PORT),
            name: self.name.clone(),
            slots: u32::try_from(SLOTS)?,
            catalog: Catalog::with_builtins(false),
            ..Config::default()
        };
        config.catalog.register("square", square)?;
        let mut id = [0; 16];
        for half in id.chunks_mut(8) {
            half.copy_from_slice(&self.roll(u64::MAX).to_be_bytes());
        }
        let (handle, mut hands) = inline::start(config, WorkerId(id), wire::dial)?;
        self.trace.note(&format!("{} started", self.name));
        let mut slots: [Option<(Held, Instant)>; SLOTS] = [None, None];
        let mut stood = false;
        loop {
            tokio::time::sleep(STEP).await;
            if !stood && futures::FutureExt::now_or_never(handle.ready()).is_some() {
                stood = true;
                self.trace.note(&format!("{} is connected", self.name));
            }
            for (number, slot) in slots.iter_mut().enumerate() {
                if let Some((held, due)) = slot
                    && *due <= Instant::now()
                {
                    hands.run(held);
                    *slot = None;
                }
                if slot.is_none() {
                    let due = Instant::now() + self.duration();
                    *slot = hands.pull(number).map(|held| (held, due));
                }
            }
            hands.look();
        }
    }

    /// How long a piece takes: mostly nothing; often as long as one invocation that is worth the
    /// watch's notice, which then takes the rest away; now and then seconds, so that a fault meets
    /// work under way.
    fn duration(&self) -> Duration {
        Duration::from_millis(match self.roll(40) {
            0 => 1_000 + self.roll(4_000),
            1..12 => 20 + self.roll(60),
            _ => 0,
        })
    }
}
