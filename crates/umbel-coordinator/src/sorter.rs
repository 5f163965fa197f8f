//! Asks routes about inputs: a thread that evaluates, and a task that brings it what the machine
//! wants sorted and takes back what it found. Never the engine, and at no cost where no alias has
//! a route.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{Semaphore, mpsc as waiting, oneshot};
use umbel_core::id::Index;
use umbel_core::limit::SORT_BYTES_MAX;
use umbel_core::message::GrantInputs;
use umbel_core::ranges::Ranges;
use umbel_core::route::{Column, Decision, RouteTally, Routing, Sorting};
use umbel_proto::block::Block;
use umbel_route::{Asker, Input, Router};

use crate::engine::{Closed, Engine};
use crate::session::blocks::Blocks;

/// Routings whose expressions are kept parsed: those asked last.
const ROUTERS_MAX: usize = 64;
/// Sortings whose blocks are loaded or that are evaluated at a time.
const SORTINGS_MAX: usize = 4;

type Work = Box<dyn FnOnce(&mut Routers) + Send>;

/// The way to the thread that evaluates. A clone is the same way.
#[derive(Clone)]
pub(crate) struct Evaluator {
    work: Arc<Mutex<Option<Sender<Work>>>>,
}

/// Routings that are ready to be asked.
#[derive(Default)]
pub(crate) struct Routers {
    /// The newest last.
    ready: VecDeque<Arc<Router>>,
}

impl Routers {
    /// A routing, made ready.
    pub(crate) fn ready(&mut self, routing: &Arc<Routing>) -> Arc<Router> {
        let mut known = self.ready.iter();
        let known = known.position(|router| Arc::ptr_eq(router.routing(), routing));
        let router = known.and_then(|at| self.ready.remove(at));
        let router = router.unwrap_or_else(|| Arc::new(Router::new(Arc::clone(routing))));
        self.ready.push_back(Arc::clone(&router));
        while self.ready.len() > ROUTERS_MAX {
            self.ready.pop_front();
        }
        router
    }
}

impl Evaluator {
    /// The thread starts with its first work: most coordinators have no routes.
    pub(crate) fn new() -> Self {
        Self {
            work: Arc::default(),
        }
    }

    /// Runs something on the thread; none when it is gone.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Routers) -> T + Send + 'static,
    ) -> Option<T> {
        let (to, done) = oneshot::channel();
        let work: Work = Box::new(move |routers| drop(to.send(run(routers))));
        self.way()?.send(work).ok()?;
        done.await.ok()
    }

    fn way(&self) -> Option<Sender<Work>> {
        let mut way = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = &*way {
            return Some(way.clone());
        }
        let (to, work) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("umbel-route".to_owned())
            .stack_size(umbel_route::STACK_BYTES);
        match thread.spawn(move || evaluate(&work)) {
            Ok(_) => *way = Some(to.clone()),
            Err(error) => {
                tracing::error!(%error, "no thread to ask routes");
                return None;
            }
        }
        Some(to)
    }
}

/// Runs until nobody is left who could ask.
fn evaluate(work: &Receiver<Work>) {
    let mut routers = Routers::default();
    while let Ok(work) = work.recv() {
        work(&mut routers);
    }
}

/// What the machine wants sorted, on its way. There is at most one for each running job.
pub(crate) type Sortings = waiting::UnboundedReceiver<Box<Sorting>>;

/// Sorts what the machine wants sorted, as long as there is an engine.
pub(crate) async fn run(
    mut sortings: Sortings,
    engine: Engine,
    blocks: Blocks,
    evaluator: Evaluator,
) {
    let room = Arc::new(Semaphore::new(SORTINGS_MAX));
    while let Some(sorting) = sortings.recv().await {
        let Ok(room) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (engine, blocks) = (engine.clone(), blocks.clone());
        let evaluator = evaluator.clone();
        tokio::spawn(async move {
            let _room = room;
            // Once the engine is gone nobody wants it.
            let _: Result<(), Closed> = sort(*sorting, &engine, &blocks, &evaluator).await;
        });
    }
}

async fn sort(
    sorting: Sorting,
    engine: &Engine,
    blocks: &Blocks,
    evaluator: &Evaluator,
) -> Result<(), Closed> {
    let mut loaded = Vec::new();
    if let GrantInputs::Blocks(refs) = &sorting.inputs {
        for at in refs {
            // What cannot be loaded is sorted by its index, and rejected when it is granted.
            match blocks.load(sorting.job, *at).await {
                Ok(block) => loaded.push((at.first, block)),
                Err(reason) => tracing::warn!(job = %sorting.job, reason, "inputs not sorted"),
            }
        }
    }
    let bytes: usize = loaded.iter().map(|(_, block)| block.bytes().len()).sum();
    debug_assert!(loaded.len() <= 1 || bytes as u64 <= 2 * SORT_BYTES_MAX);
    let column = evaluator.run(move |routers| column(routers, &sorting, &loaded));
    match column.await {
        Some(column) => engine.sorted(column).await,
        None => Err(Closed),
    }
}

/// Asks about each input of a sorting.
fn column(routers: &mut Routers, sorting: &Sorting, blocks: &[(Index, Block)]) -> Column {
    let router = routers.ready(&sorting.routing);
    let mut sorter = Sorter {
        asker: router.asker(&sorting.labels),
        sorted: Vec::new(),
        tally: RouteTally::default(),
    };
    match sorting.inputs {
        GrantInputs::Range { begin } => {
            let mut text = String::new();
            for index in sorting.indices.indices() {
                text.clear();
                // A string takes whatever is written to it.
                let _ = fmt::Write::write_fmt(
                    &mut text,
                    format_args!("{}", begin.wrapping_add(index.into())),
                );
                sorter.sort(index, text.as_bytes());
            }
        }
        GrantInputs::Blocks(_) => sorter.blocks(&sorting.indices, blocks),
    }
    Column {
        job: sorting.job,
        revision: sorting.routing.revision,
        indices: sorting.indices.clone(),
        sorted: sorter.sorted,
        tally: sorter.tally,
    }
}

struct Sorter<'a> {
    asker: Asker<'a>,
    /// What goes where; there are few ways.
    sorted: Vec<(Decision, Ranges)>,
    tally: RouteTally,
}

impl Sorter<'_> {
    fn blocks(&mut self, indices: &Ranges, blocks: &[(Index, Block)]) {
        let mut asked = Ranges::new();
        for (first, block) in blocks {
            let end = first.saturating_add(block.count());
            let held = Ranges::one(*first..end).intersect(indices);
            let mut wanted = held.indices().peekable();
            for (index, input) in (*first..).zip(block.entries()) {
                if wanted.next_if_eq(&index).is_some() {
                    self.sort(index, input);
                }
            }
            asked = asked.union(&held);
        }
        for index in indices.minus(&asked).indices() {
            self.sort(index, &[]);
        }
    }

    fn sort(&mut self, index: Index, bytes: &[u8]) {
        let input = Input {
            bytes,
            index: index.into(),
        };
        let decision = self.asker.decide(input, &mut self.tally);
        let known = self.sorted.iter_mut().find(|(known, _)| *known == decision);
        match known {
            Some((_, indices)) if indices.last().is_none_or(|last| last < index) => {
                indices.push(index..index.saturating_add(1));
            }
            Some((_, indices)) => indices.insert(index),
            None => self
                .sorted
                .push((decision, Ranges::one(index..index.saturating_add(1)))),
        }
    }
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator").finish_non_exhaustive()
    }
}
