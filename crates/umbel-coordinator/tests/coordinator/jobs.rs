//! Jobs from their creation to their results.

use std::time::Duration;

use tonic::Code;
use tonic::transport::Channel;
use umbel_proto::convert::OpenedResults;
use umbel_proto::status::Reason;
use umbel_proto::v1;
use umbel_proto::v1::job_service_client::JobServiceClient;

use crate::support::{Cluster, create, ended, refused, request, results, soon};

fn all(job: &v1::Job) -> v1::StreamResultsRequest {
    v1::StreamResultsRequest {
        job_id: job.id.clone(),
        follow: true,
        ..v1::StreamResultsRequest::default()
    }
}

#[tokio::test]
async fn inputs_come_back_as_outputs_in_both_orders() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await.shout();
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a", "b", "c"])).await;

    let in_order = results(&mut client, all(&job)).await;
    let outputs: Vec<_> = in_order.iter().map(|result| &result.output[..]).collect();
    assert_eq!(outputs, [b"A", b"B", b"C"]);
    assert_eq!(in_order[2].index, 2);
    assert_eq!(in_order[0].function, "shout");
    assert_eq!(in_order[0].worker, "w");
    assert_eq!(in_order[0].duration_us, Some(5));

    let completion = v1::ResultOrder::Completion.into();
    let mut completed = results(
        &mut client,
        v1::StreamResultsRequest {
            order: completion,
            ..all(&job)
        },
    )
    .await;
    completed.sort_by_key(|result| result.index);
    assert_eq!(completed, in_order);

    let job = ended(&mut client, "last").await;
    assert_eq!(job.state(), v1::JobState::Succeeded);
    assert_eq!(job.counts.expect("counts").succeeded, 3);
    worker.abort();
}

#[tokio::test]
async fn who_accepts_columns_reads_the_same() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await.shout();
    let mut client = cluster.jobs().await;
    let inputs: Vec<String> = (0..500).map(|n| format!("a{n}")).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let job = create(&mut client, request(&inputs)).await;
    let by_itself = results(&mut client, all(&job)).await;
    assert_eq!(by_itself.len(), 500);

    for order in [v1::ResultOrder::Input, v1::ResultOrder::Completion] {
        let (mut read, behind) = in_columns(&mut client, &job, order).await;
        if order == v1::ResultOrder::Completion {
            read.sort_by_key(|result| result.index);
        }
        assert_eq!(read, by_itself, "{order:?}");
        let rest = v1::StreamResultsRequest {
            token: behind,
            order: order.into(),
            accept_columns: true,
            ..all(&job)
        };
        let rest = soon(client.stream_results(rest)).await.unwrap();
        assert_eq!(soon(rest.into_inner().message()).await.unwrap(), None);
    }
    worker.abort();
}

/// Reads a job in columns, of which there must be some; and the token behind all of it.
async fn in_columns(
    client: &mut JobServiceClient<Channel>,
    job: &v1::Job,
    order: v1::ResultOrder,
) -> (Vec<v1::Result>, String) {
    let request = v1::StreamResultsRequest {
        order: order.into(),
        accept_columns: true,
        ..all(job)
    };
    let mut stream = soon(client.stream_results(request))
        .await
        .unwrap()
        .into_inner();
    let (mut read, mut opened, mut token) = (Vec::new(), 0, String::new());
    while let Some(answer) = soon(stream.message()).await.unwrap() {
        for columns in answer.columns {
            let columns = OpenedResults::open(columns).unwrap();
            opened += columns.len();
            read.extend(columns.results());
        }
        read.extend(answer.results);
        token = answer.token;
    }
    assert!(opened > 0, "nothing came in columns");
    (read, token)
}

#[tokio::test]
async fn a_client_goes_on_behind_its_token_and_no_other_will_do() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await.shout();
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a", "b", "c", "d"])).await;
    ended(&mut client, &job.id).await;

    let range = Some(v1::IndexRange { begin: 0, end: 2 });
    let first = v1::StreamResultsRequest { range, ..all(&job) };
    let answer = client
        .stream_results(first)
        .await
        .unwrap()
        .into_inner()
        .message()
        .await;
    let token = answer.unwrap().expect("two results").token;
    let rest = v1::StreamResultsRequest {
        token: token.clone(),
        ..all(&job)
    };
    let rest = results(&mut client, rest).await;
    assert_eq!(
        rest.iter().map(|result| result.index).collect::<Vec<_>>(),
        [2, 3]
    );

    let order = v1::ResultOrder::Completion.into();
    for wrong in [
        v1::StreamResultsRequest {
            token: format!("{token}00"),
            ..all(&job)
        },
        v1::StreamResultsRequest {
            token,
            order,
            ..all(&job)
        },
    ] {
        let answer = client.stream_results(wrong).await.map(|_| ());
        assert_eq!(
            refused(answer),
            (Code::InvalidArgument, Reason::BadPageToken)
        );
    }
    worker.abort();
}

#[tokio::test]
async fn the_same_request_id_gives_the_same_job_and_no_other_content() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let mut wish = request(&["a"]);
    wish.request_id = "nightly".to_owned();
    let first = client.create_job(wish.clone()).await.unwrap().into_inner();
    let again = client.create_job(wish.clone()).await.unwrap().into_inner();
    assert!(!first.existed && again.existed);
    assert_eq!(first.job.unwrap().id, again.job.unwrap().id);

    let other = v1::CreateJobRequest {
        request_id: wish.request_id,
        ..request(&["b"])
    };
    let answer = client.create_job(other).await;
    assert_eq!(
        refused(answer),
        (Code::AlreadyExists, Reason::RequestIdReused)
    );
    drop(worker);
}

#[tokio::test]
async fn a_function_nobody_announced_is_refused_with_names_like_it() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let mut wish = request(&["a"]);
    wish.spec.as_mut().unwrap().target = "shoot".to_owned();
    let status = client.create_job(wish).await.unwrap_err();
    assert!(
        status.message().contains("did you mean shout?"),
        "{status:?}"
    );
    assert_eq!(
        refused::<()>(Err(status)),
        (Code::NotFound, Reason::UnknownFunction)
    );
    drop(worker);
}

#[tokio::test]
async fn a_watcher_sees_the_job_now_and_its_end() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a", "b"])).await;
    let watch = v1::WatchJobRequest {
        job_id: job.id.clone(),
    };
    let mut stream = client.watch_job(watch).await.unwrap().into_inner();
    let first = soon(stream.message()).await.unwrap().unwrap().job.unwrap();
    assert_eq!(first.state(), v1::JobState::Running);

    let worker = worker.shout();
    let mut last = first;
    while let Some(answer) = soon(stream.message()).await.unwrap() {
        last = answer.job.unwrap();
        let counts = last.counts.unwrap();
        let sum = counts.waiting + counts.leased + counts.succeeded + counts.failed;
        assert_eq!(sum + counts.cancelled, counts.total, "the counts add up");
    }
    assert_eq!(last.state(), v1::JobState::Succeeded);
    worker.abort();
}

#[tokio::test]
async fn what_was_cancelled_is_shown_as_cancelled() {
    let cluster = Cluster::start().await;
    drop(cluster.worker("w").await);
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a", "b"])).await;
    let one = v1::GetInvocationRequest {
        job_id: job.id.clone(),
        index: 1,
    };
    let waiting = client
        .get_invocation(one.clone())
        .await
        .unwrap()
        .into_inner();
    let state = waiting.invocation.unwrap().state();
    assert!(
        matches!(
            state,
            v1::InvocationState::Waiting | v1::InvocationState::Leased
        ),
        "{state:?}"
    );

    let cancel = v1::CancelJobRequest {
        job_id: job.id.clone(),
    };
    let cancelled = client
        .cancel_job(cancel)
        .await
        .unwrap()
        .into_inner()
        .job
        .unwrap();
    assert_eq!(cancelled.state(), v1::JobState::Cancelled);
    let shown = results(&mut client, all(&job)).await;
    let states: Vec<_> = shown.iter().map(v1::Result::state).collect();
    assert_eq!(states, [v1::InvocationState::Cancelled; 2]);
    let one = client
        .get_invocation(one)
        .await
        .unwrap()
        .into_inner()
        .invocation
        .unwrap();
    assert_eq!(one.state(), v1::InvocationState::Cancelled);

    let beyond = v1::GetInvocationRequest {
        job_id: job.id.clone(),
        index: 2,
    };
    let answer = client.get_invocation(beyond).await;
    assert_eq!(refused(answer), (Code::NotFound, Reason::UnknownInvocation));

    client
        .delete_job(v1::DeleteJobRequest {
            job_id: job.id.clone(),
        })
        .await
        .unwrap();
    let answer = client.get_job(v1::GetJobRequest { job_id: job.id }).await;
    assert_eq!(refused(answer), (Code::NotFound, Reason::UnknownJob));
}

#[tokio::test]
async fn a_capsule_is_of_an_invocation_that_has_ended() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a", "b"])).await;
    let ask = |index| v1::GetCapsuleRequest {
        job_id: job.id.clone(),
        index,
    };

    let open = client.get_capsule(ask(1)).await;
    assert_eq!(
        refused(open),
        (Code::FailedPrecondition, Reason::InvocationOpen)
    );
    let beyond = client.get_capsule(ask(2)).await;
    assert_eq!(refused(beyond), (Code::NotFound, Reason::UnknownInvocation));

    let _shouts = worker.shout();
    results(&mut client, all(&job)).await;
    let mut parts = client.get_capsule(ask(1)).await.unwrap().into_inner();
    let mut next = async || parts.message().await.unwrap().and_then(|part| part.part);
    let Some(v1::get_capsule_response::Part::Capsule(head)) = next().await else {
        panic!("the capsule comes first");
    };
    assert_eq!((head.input_bytes, head.output_bytes), (1, 1));
    assert_eq!(head.result.unwrap().output.len(), 0, "it comes in pieces");
    let input = v1::get_capsule_response::Part::Input(b"b"[..].into());
    let output = v1::get_capsule_response::Part::Output(b"B"[..].into());
    assert_eq!((next().await, next().await), (Some(input), Some(output)));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn lists_come_in_pages_to_the_end() {
    let cluster = Cluster::start().await;
    drop(cluster.worker("w").await);
    let mut client = cluster.jobs().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(create(&mut client, request(&["a"])).await.id);
    }
    made.reverse();
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = v1::ListJobsRequest {
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = client.list_jobs(page).await.unwrap().into_inner();
        assert!(page.jobs.len() <= 2);
        seen.extend(page.jobs.into_iter().map(|job| job.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, made, "the newest first");

    let job = create(&mut client, request(&["a", "b", "c"])).await;
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let job_id = job.id.clone();
        let page = v1::ListInvocationsRequest {
            job_id,
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = client.list_invocations(page).await.unwrap().into_inner();
        seen.extend(
            page.invocations
                .into_iter()
                .map(|invocation| invocation.index),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [0, 1, 2]);
    let bad = v1::ListJobsRequest {
        page_token: "7".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        refused(client.list_jobs(bad).await),
        (Code::InvalidArgument, Reason::BadPageToken)
    );
}

#[tokio::test]
async fn an_invoke_is_answered_from_memory() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await.shout();
    let mut client = cluster.functions().await;
    let wish = v1::InvokeRequest {
        target: "shout".to_owned(),
        input: "hey".into(),
        ..v1::InvokeRequest::default()
    };
    let done = soon(client.invoke(wish.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        done.outcome,
        Some(v1::invoke_response::Outcome::Output("HEY".into()))
    );
    assert_eq!((done.worker.as_str(), done.duration_us), ("w", 7));

    let functions = client
        .list_functions(v1::ListFunctionsRequest::default())
        .await
        .unwrap();
    let function = v1::Function {
        name: "shout".to_owned(),
        workers: 1,
        ..v1::Function::default()
    };
    assert!(functions.into_inner().functions.contains(&function));

    let unknown = v1::InvokeRequest {
        target: "whisper".to_owned(),
        ..wish
    };
    let answer = soon(client.invoke(unknown)).await;
    assert_eq!(refused(answer), (Code::NotFound, Reason::UnknownFunction));
    worker.abort();
}

#[tokio::test]
async fn an_invoke_whose_client_leaves_is_cancelled_on_its_worker() {
    use umbel_proto::convert::FromCoordinator;

    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let mut client = cluster.functions().await;
    let wish = v1::InvokeRequest {
        target: "shout".to_owned(),
        ..Default::default()
    };
    let call = tokio::spawn(async move { client.invoke(wish).await });
    let asked = loop {
        if let FromCoordinator::Invoke(invoke) = worker.next().await.unwrap() {
            break invoke.id;
        }
    };
    call.abort();
    loop {
        if let FromCoordinator::InvokeCancel(id) = worker.next().await.unwrap() {
            assert_eq!(id, asked);
            break;
        }
    }
}

#[tokio::test]
async fn a_job_says_why_it_waits() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let mut wish = request(&["a", "b"]);
    let require = [("gpu".to_owned(), "yes".to_owned())].into();
    let policy = v1::Policy {
        require,
        ..v1::Policy::default()
    };
    wish.spec.as_mut().unwrap().policy = Some(policy);
    let job = create(&mut client, wish).await;
    let explain = v1::ExplainJobRequest { job_id: job.id };
    let explained = client.explain_job(explain).await.unwrap().into_inner();
    assert_eq!(explained.reasons[0].reason, "label_unmet", "{explained:?}");
    assert_eq!(explained.reasons[0].invocations, 2);
    drop(worker);
}

#[tokio::test]
async fn a_follower_is_told_of_results_as_they_come() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a"])).await;
    let mut stream = client.stream_results(all(&job)).await.unwrap().into_inner();
    let (head, inputs) = worker.grant().await;
    let early = tokio::time::timeout(Duration::from_millis(30), stream.message()).await;
    assert!(early.is_err(), "there is no result yet: {early:?}");
    let outputs: Vec<_> = inputs
        .iter()
        .map(|input| crate::support::shouted(input))
        .collect();
    worker.succeed(&head, &outputs);
    let answer = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(&answer.results[0].output[..], b"A");
    assert!(
        soon(stream.message()).await.unwrap().is_none(),
        "the job has ended"
    );
}
