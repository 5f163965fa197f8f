//! A disk that fails or is slow, by hand: what was acknowledged is there again, what was not is
//! refused, and nobody's memory pays for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use umbel_coordinator::{Config, Coordinator, Opener};
use umbel_proto::status::Reason;
use umbel_proto::v1;
use umbel_store::{Engine, Error, Listener, MemoryEngine, Settings};

use crate::support::{Cluster, create, ended, open_request, refused, request, results, soon};

const UNDURABLE_BYTES_MAX: usize = 1 << 20;

/// A disk that keeps up by itself as long as it is not told to stand still, fails when it is told
/// to, and does not open again as long as it is full.
#[derive(Clone)]
struct Disk {
    now: Arc<Mutex<Option<Arc<MemoryEngine>>>>,
    is_full: Arc<AtomicBool>,
    stands: Arc<AtomicBool>,
}

impl Disk {
    fn new() -> Self {
        let disk = Self {
            now: Arc::default(),
            is_full: Arc::default(),
            stands: Arc::default(),
        };
        let moves = disk.clone();
        std::thread::spawn(move || {
            // Until the test has ended, and this is the last that holds the disk.
            while Arc::strong_count(&moves.now) > 1 {
                std::thread::sleep(Duration::from_millis(1));
                if !moves.stands.load(Ordering::Relaxed)
                    && let Some(engine) = &*moves.now.lock().unwrap()
                {
                    engine.commit(usize::MAX);
                }
            }
        });
        disk
    }

    fn opener(&self) -> Opener {
        let disk = self.clone();
        Opener::engine(Settings::new("/full"), move |listener| disk.open(listener))
    }

    fn open(&self, listener: Arc<dyn Listener>) -> Result<Arc<dyn Engine>, Error> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(full());
        }
        let mut now = self.now.lock().unwrap();
        let engine = Arc::new(match &*now {
            None => MemoryEngine::new(UNDURABLE_BYTES_MAX, listener),
            Some(before) => before.crash(0, listener),
        });
        *now = Some(Arc::clone(&engine));
        Ok(engine)
    }

    fn fill(&self) {
        self.is_full.store(true, Ordering::Relaxed);
        let engine = self.now.lock().unwrap().clone().unwrap();
        engine.fail(full());
    }

    fn undurable_bytes(&self) -> usize {
        self.now.lock().unwrap().as_ref().unwrap().undurable_bytes()
    }
}

fn full() -> Error {
    Error::Full {
        dir: "/full".into(),
        what: "no space".to_owned(),
    }
}

impl Cluster {
    async fn on(disk: &Disk) -> Self {
        let mut config = Config::new("/full");
        config.listen = ([127, 0, 0, 1], 0).into();
        let running = Coordinator::start_on(config, disk.opener()).await;
        Self::of(running.expect("it starts"))
    }

    /// How health checks see it.
    async fn serves(&self) -> bool {
        let mut health = tonic_health::pb::health_client::HealthClient::new(self.channel().await);
        let request = tonic_health::pb::HealthCheckRequest::default();
        let answer = soon(health.check(request)).await.expect("it answers");
        answer.into_inner().status == tonic_health::ServingStatus::Serving as i32
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_everything_and_is_followed_by_all_that_was_acknowledged() {
    let disk = Disk::new();
    let cluster = Cluster::on(&disk).await;
    let worker = cluster.worker("one").await.shout();
    let mut jobs = cluster.jobs().await;
    let done = create(&mut jobs, request(&["a", "b"])).await;
    ended(&mut jobs, &done.id).await;
    let open = create(&mut jobs, open_request()).await;
    assert!(cluster.serves().await);

    disk.fill();
    soon(worker).await.expect("its session is closed");
    soon(async {
        while cluster.serves().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let refusal = refused(soon(jobs.create_job(request(&["c"]))).await);
    assert_eq!(refusal.1, Reason::StoreUnavailable);
    let get = || v1::GetJobRequest {
        job_id: open.id.clone(),
    };
    assert_eq!(
        refused(soon(jobs.get_job(get())).await).1,
        Reason::StoreUnavailable
    );

    disk.is_full.store(false, Ordering::Relaxed);
    soon(async {
        while !cluster.serves().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    soon(jobs.get_job(get())).await.expect("it was accepted");
    let wish = v1::StreamResultsRequest {
        job_id: done.id,
        ..Default::default()
    };
    assert_eq!(results(&mut jobs, wish).await.len(), 2);
    let worker = cluster.worker("one").await.shout();
    let next = create(&mut jobs, request(&["d"])).await;
    ended(&mut jobs, &next.id).await;
    soon(cluster.running.drain())
        .await
        .expect("it ends in order");
    worker.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_coordinator_can_be_stopped() {
    let disk = Disk::new();
    let cluster = Cluster::on(&disk).await;
    disk.fill();
    soon(async {
        while cluster.serves().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    soon(cluster.running.drain())
        .await
        .expect("it ends in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submitter_faster_than_the_disk_is_slowed_and_not_buffered() {
    let disk = Disk::new();
    let cluster = Cluster::on(&disk).await;
    let _worker = cluster.worker("one").await;
    let mut jobs = cluster.jobs().await;
    let job = create(&mut jobs, open_request()).await;
    disk.stands.store(true, Ordering::Relaxed);

    // 32 times as much as may be on its way, as fast as the network takes it.
    let input = Bytes::from(vec![b'x'; 64 << 10]);
    let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let messages = futures::stream::iter(0..512_u64).map(move |at| {
        count.store(at + 1, Ordering::Relaxed);
        v1::AppendInputsRequest {
            job_id: if at == 0 {
                job.id.clone()
            } else {
                String::new()
            },
            first_index: at,
            content: Some(v1::append_inputs_request::Content::Inputs(v1::Inputs {
                inputs: vec![input.clone()],
            })),
        }
    });
    let upload = tokio::spawn(async move {
        let mut answers = jobs.append_inputs(messages).await?.into_inner();
        let mut last = 0;
        while let Some(answer) = answers.message().await? {
            last = answer.next_index;
            if last == 512 {
                break;
            }
        }
        Ok::<_, tonic::Status>(last)
    });
    // The line to the disk has no room for one more block.
    let full = UNDURABLE_BYTES_MAX - (128 << 10);
    soon(async {
        while disk.undurable_bytes() < full {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Whatever else comes and goes on the network, no more is taken in than its windows let through.
    let mut others = cluster.jobs().await;
    for _ in 0..200 {
        let refused = soon(others.get_job(v1::GetJobRequest::default())).await;
        refused.expect_err("at the door, since it names no job");
    }
    let taken = sent.load(Ordering::Relaxed);
    assert!(taken < 256, "{taken} of 512 were taken in");
    let undurable = disk.undurable_bytes();
    assert!(undurable <= 2 * UNDURABLE_BYTES_MAX, "{undurable} bytes");
    disk.stands.store(false, Ordering::Relaxed);
    assert_eq!(soon(upload).await.expect("it ends").expect("accepted"), 512);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reader_too_many_is_refused_by_name_and_counted() {
    let cluster = Cluster::start_with(|config| config.streams.results = 2).await;
    let _worker = cluster.worker("one").await.shout();
    let mut jobs = cluster.jobs().await;
    let job = create(&mut jobs, request(&["a"; 100])).await;
    ended(&mut jobs, &job.id).await;
    let wish = || v1::StreamResultsRequest {
        job_id: job.id.clone(),
        ..Default::default()
    };
    // Followers of a job that has no end yet, and nobody reads them.
    let open = create(&mut jobs, open_request()).await;
    let follow = || v1::StreamResultsRequest {
        job_id: open.id.clone(),
        follow: true,
        ..Default::default()
    };
    let first = soon(jobs.stream_results(follow())).await.expect("a stream");
    let _second = soon(jobs.stream_results(follow())).await.expect("a stream");
    let third = soon(jobs.stream_results(wish())).await;
    assert_eq!(refused(third).1, Reason::TooManyStreams);
    let metrics = cluster.text("/metrics").await;
    assert!(
        metrics.contains("umbel_refusals_total{reason=\"TOO_MANY_STREAMS\"} 1"),
        "{metrics}"
    );
    // Whoever does not read keeps nobody from work.
    let next = create(&mut jobs, request(&["b"])).await;
    ended(&mut jobs, &next.id).await;
    drop(first);
    soon(async {
        while jobs.stream_results(wish()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
