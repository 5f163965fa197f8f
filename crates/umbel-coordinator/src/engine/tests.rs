//! The engine over a disk that a test moves by hand.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use umbel_core::config::Config;
use umbel_core::event::Proposal;
use umbel_core::id::{JobId, LeaseId, WorkerId};
use umbel_core::job::{JobSpec, Source, StartMode, Target};
use umbel_core::limit::PROTOCOL;
use umbel_core::message::{InvokeDone, Offer};
use umbel_core::policy::{Labels, Policy};
use umbel_core::ranges::Ranges;
use umbel_proto::v1::connect_response::Message;
use umbel_store::{MemoryEngine, Opened, Store};

use super::*;
use crate::clock::Clock;
use crate::session::blocks::Blocks;
use crate::session::outbox::{self, Network};

struct Bench {
    engine: Engine,
    disk: Arc<MemoryEngine>,
    network: Network,
    session: SessionId,
    blocks: Blocks,
}

impl Bench {
    /// An engine with one worker that is welcome.
    async fn start() -> Self {
        let signals = Signals::new(Arc::new(crate::metrics::Metrics::new()));
        let disk = Arc::new(MemoryEngine::new(1 << 20, Arc::clone(&signals) as _));
        let opened = Store::with_engine(Arc::clone(&disk) as _).unwrap();
        let Opened {
            store,
            epoch,
            next_number,
            ..
        } = opened;
        let machine = Machine::new(Config::default(), epoch);
        let clock = Clock::start(crate::clock::wall_ms);
        let blocks = Blocks::new(store.clone());
        let start = Start {
            machine,
            store,
            next_number,
            clock,
            signals,
            sortings: tokio::sync::mpsc::unbounded_channel().0,
            feeds: tokio::sync::mpsc::unbounded_channel().0,
        };
        let (engine, turns) = Engine::new(start);
        let _thread = turns.spawn().unwrap();
        let (outbox, delivery, network) = outbox::open();
        let session = engine.session();
        let over = CancellationToken::new();
        tokio::spawn(delivery.run(session, engine.clone(), blocks.clone(), over));
        engine
            .join(session, Box::new(hello()), outbox)
            .await
            .unwrap();
        let mut bench = Self {
            engine,
            disk,
            network,
            session,
            blocks,
        };
        let disk = Arc::clone(&bench.disk);
        let told = Self::with_disk(&disk, bench.told()).await;
        assert!(matches!(told, Message::Welcome(_)));
        bench
    }

    /// Waits for something while the disk keeps up with what is handed to it.
    async fn with_disk<T>(disk: &MemoryEngine, what: impl Future<Output = T>) -> T {
        let mut what = std::pin::pin!(what);
        loop {
            disk.commit(usize::MAX);
            if let Ok(done) = tokio::time::timeout(Duration::from_millis(2), &mut what).await {
                return done;
            }
        }
    }

    async fn told(&mut self) -> Message {
        let told = tokio::time::timeout(Duration::from_secs(30), self.network.recv()).await;
        told.unwrap().unwrap().unwrap().message.message.unwrap()
    }

    fn job(&self) -> tokio::task::JoinHandle<Result<Reply, Closed>> {
        let proposal = Box::new(Proposal {
            id: JobId([1; 16]),
            spec: JobSpec {
                name: String::new(),
                target: Target::Function("f".to_owned()),
                policy: Policy::default(),
                labels: Labels::new(),
                start: StartMode::AsSealed,
            },
            source: Source::Range { begin: 0, count: 3 },
            blocks: Vec::new(),
            seal: true,
            request_id: String::new(),
            content_digest: [0; 32],
            refusal: None,
        });
        let engine = self.engine.clone();
        tokio::spawn(async move {
            engine
                .ask(|reply| Event::CreateJob { reply, proposal })
                .await
        })
    }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        worker: WorkerId([7; 16]),
        name: "w".to_owned(),
        slots: 1,
        labels: Labels::new(),
        functions: vec!["f".to_owned()],
        runs_programs: false,
        version: String::new(),
        runtimes: umbel_core::function::Runtimes::NONE,
        holdings: umbel_core::function::Holdings::default(),
        offers: Vec::new(),
    }
}

#[tokio::test]
async fn a_promise_waits_for_the_disk_and_a_grant_does_not() {
    let mut bench = Bench::start().await;
    let created = bench.job();
    assert!(
        matches!(bench.told().await, Message::Grant(_)),
        "work leaves at once"
    );
    assert!(
        !created.is_finished(),
        "nothing is promised that the disk does not have"
    );
    let shown = {
        let engine = bench.engine.clone();
        tokio::spawn(async move { engine.look(|machine, _| machine.cluster()).await })
    };
    tokio::time::timeout(Duration::from_millis(20), bench.network.recv())
        .await
        .unwrap_err();
    assert!(!shown.is_finished(), "nor is it shown");
    let created = Bench::with_disk(&bench.disk, created).await.unwrap();
    assert!(matches!(created, Ok(Reply::Created { existed: false, .. })));
    let shown = Bench::with_disk(&bench.disk, shown).await.unwrap();
    assert_eq!(shown.unwrap().jobs_running, 1);
}

#[tokio::test]
async fn an_invoke_is_answered_while_the_disk_stands_still() {
    let mut bench = Bench::start().await;
    let engine = bench.engine.clone();
    let invoked = tokio::spawn(async move {
        let target = Target::Function("f".to_owned());
        let invoke = engine.invoke(|reply, id| Event::Invoke {
            reply,
            id,
            target,
            input: "in".into(),
            timeout_ms: 30_000,
            decided: None,
        });
        invoke.await
    });
    let Message::Invoke(invoke) = bench.told().await else {
        panic!("it is asked to invoke")
    };
    let done = FromWorker::InvokeDone(InvokeDone {
        id: InvokeId(invoke.id),
        outcome: Ok("out".into()),
        duration_us: 1,
        cpu_us: None,
        cold_start: None,
    });
    bench.engine.say(bench.session, 3, done).await.unwrap();
    let Ok(Reply::Invoked { outcome, .. }) = invoked.await.unwrap() else {
        panic!("it is answered")
    };
    assert_eq!(outcome.unwrap(), "out");
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_engine_and_what_waited_is_never_promised() {
    let mut bench = Bench::start().await;
    let created = bench.job();
    assert!(matches!(bench.told().await, Message::Grant(_)));
    bench.disk.fail(umbel_store::Error::Closed);
    assert!(matches!(created.await.unwrap(), Err(Closed)));
    bench.engine.signals().ended.cancelled().await;
    assert!(bench.engine.signals().failure().is_some());
    assert!(
        bench.network.recv().await.unwrap().is_err(),
        "the worker is told"
    );
}

/// What a welcome does not keep it acknowledges: the worker forgets it. That may rest on a turn
/// which the disk does not have yet.
#[tokio::test]
async fn a_welcome_that_lets_a_worker_forget_waits_for_the_disk_and_so_does_what_is_said_behind_it()
{
    let bench = Bench::start().await;
    let (outbox, delivery, mut network) = outbox::open();
    let session = bench.engine.session();
    let blocks = bench.blocks.clone();
    let engine = bench.engine.clone();
    tokio::spawn(delivery.run(session, engine, blocks, CancellationToken::new()));
    let lease = LeaseId {
        epoch: 0,
        number: 1,
    };
    let hello = Hello {
        worker: WorkerId([8; 16]),
        name: "returning".to_owned(),
        // Seen for the first time, so that the turn has something for the disk.
        functions: vec!["g".to_owned()],
        offers: vec![Offer {
            lease,
            job: JobId([1; 16]),
            indices: Ranges::one(0..3),
            attempt: 1,
            version: None,
            arm: None,
        }],
        ..hello()
    };
    let joined = bench.engine.join(session, Box::new(hello), outbox);
    joined.await.unwrap();
    let invoke = {
        let engine = bench.engine.clone();
        tokio::spawn(async move {
            let invoke = engine.invoke(|reply, id| Event::Invoke {
                reply,
                id,
                target: Target::Function("g".to_owned()),
                input: "in".into(),
                timeout_ms: 30_000,
                decided: None,
            });
            invoke.await
        })
    };
    tokio::time::timeout(Duration::from_millis(50), network.recv())
        .await
        .expect_err("nothing is said to it as long as the disk stands still");

    let told = Bench::with_disk(&bench.disk, network.recv()).await;
    let Some(Message::Welcome(welcome)) = told.unwrap().unwrap().message.message else {
        panic!("the welcome comes first")
    };
    assert_eq!(welcome.answers.len(), 1, "{welcome:?}");
    let told = Bench::with_disk(&bench.disk, network.recv()).await;
    let told = told.unwrap().unwrap().message.message;
    assert!(matches!(told, Some(Message::Invoke(_))), "{told:?}");
    invoke.abort();
}
