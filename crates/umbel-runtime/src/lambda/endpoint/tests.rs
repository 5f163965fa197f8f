//! The API as bytes on a socket: what any client may send, and what it is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::Instant;

use super::*;

const LONG: Duration = Duration::from_secs(60);
const OUTPUT_BYTES_MAX: usize = 1_000;

/// A process in the eyes of the endpoint: one connection, and bytes.
struct Client {
    stream: BufReader<std::net::TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The head as one text in lower case, and the body.
    fn receive(&mut self) -> (String, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(
                self.stream.read_line(&mut head).unwrap() > 0,
                "closed: {head}"
            );
        }
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    fn ask(&mut self) {
        self.send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n");
    }

    fn post(&mut self, path: &str, body: &str) {
        let length = body.len();
        self.send(format!(
            "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

/// Serves an endpoint while `story` plays the process; `story` plays the slot's thread as well.
fn with_endpoint(story: impl FnOnce(SocketAddr, &Exchange) + Send) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let entered = runtime.enter();
    let endpoint = Endpoint::bind().unwrap();
    drop(entered);
    let address = endpoint.address();
    let exchange = Arc::new(Exchange::new());
    let served = Arc::clone(&exchange);
    thread::scope(|scope| {
        let told = scope.spawn(move || story(address, &exchange));
        runtime.block_on(async {
            let serving = tokio::spawn(endpoint.serve(served, "arn:f".into()));
            while !told.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            serving.abort();
        });
    });
}

fn hand_over(exchange: &Exchange, id: &str, input: &str) {
    let limit = Instant::now() + LONG;
    while !exchange.is_parked() {
        assert!(Instant::now() < limit, "nobody asks");
        thread::yield_now();
    }
    let invocation = Invocation {
        id: id.to_owned(),
        deadline_ms: 1_700_000_000_123,
        trace_id: "Root=1-2-3".to_owned(),
        input: Bytes::copy_from_slice(input.as_bytes()),
        output_bytes_max: OUTPUT_BYTES_MAX,
    };
    exchange.hand_over(invocation).unwrap();
}

/// A client that was given invocation `a`.
fn given(address: SocketAddr, exchange: &Exchange) -> Client {
    let mut client = Client::connect(address);
    client.ask();
    hand_over(exchange, "a", "{}");
    client.receive();
    client
}

fn output(exchange: &Exchange) -> String {
    match exchange.take_answer() {
        Some(Answer::Output(output)) => String::from_utf8(output).unwrap(),
        other => panic!("no output but {other:?}"),
    }
}

#[test]
fn an_invocation_comes_with_its_four_headers_and_the_connection_is_kept() {
    with_endpoint(|address, exchange| {
        let mut client = Client::connect(address);
        for id in ["a", "b"] {
            client.ask();
            hand_over(exchange, id, "{\"n\":1}");
            let (head, body) = client.receive();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            for header in [
                format!("lambda-runtime-aws-request-id: {id}"),
                "lambda-runtime-deadline-ms: 1700000000123".to_owned(),
                "lambda-runtime-invoked-function-arn: arn:f".to_owned(),
                "lambda-runtime-trace-id: root=1-2-3".to_owned(),
            ] {
                assert!(head.contains(&header), "no {header} in {head}");
            }
            assert_eq!(body, "{\"n\":1}");
            client.post(&format!("invocation/{id}/response"), "done");
            let (head, body) = client.receive();
            assert!(head.starts_with("http/1.1 202"), "{head}");
            assert!(body.contains("\"OK\""), "{body}");
            assert_eq!(output(exchange), "done");
        }
    });
}

#[test]
fn an_output_may_come_in_chunks_after_asking_whether_it_may() {
    with_endpoint(|address, exchange| {
        let mut client = given(address, exchange);
        client.send("POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
        assert!(client.receive().0.starts_with("http/1.1 100"));
        client.send("3\r\none\r\n");
        client.send("4\r\n two\r\n0\r\n\r\n");
        assert!(client.receive().0.starts_with("http/1.1 202"));
        assert_eq!(output(exchange), "one two");
    });
}

#[test]
fn a_streamed_output_that_broke_says_so_in_its_trailers() {
    with_endpoint(|address, exchange| {
        let mut client = given(address, exchange);
        let error = STANDARD.encode(r#"{"errorType":"Late","errorMessage":"half of it"}"#);
        client.send(format!(
            "POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: {ERROR_TYPE}, {ERROR_BODY}\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n3\r\none\r\n0\r\n{ERROR_TYPE}: Function.Late\r\n{ERROR_BODY}: {error}\r\n\r\n"
        ));
        assert!(client.receive().0.starts_with("http/1.1 202"));
        let Some(Answer::Error(report)) = exchange.take_answer() else {
            panic!("it succeeded");
        };
        assert_eq!(
            report.into_failure().to_string(),
            "Late (function): half of it"
        );
    });
}

#[test]
fn an_output_over_the_limit_is_refused_in_the_words_of_the_api() {
    with_endpoint(|address, exchange| {
        let mut client = given(address, exchange);
        client.post("invocation/a/response", &"x".repeat(OUTPUT_BYTES_MAX + 1));
        let (head, body) = client.receive();
        assert!(head.starts_with("http/1.1 413"), "{head}");
        assert!(body.contains("RequestEntityTooLarge"), "{body}");
        assert!(matches!(
            exchange.take_answer(),
            Some(Answer::OutputTooLarge)
        ));
        // The connection is as good as before.
        client.ask();
        hand_over(exchange, "b", "");
        client.receive();
        client.post("invocation/b/response", &"x".repeat(OUTPUT_BYTES_MAX));
        assert!(client.receive().0.starts_with("http/1.1 202"));
        assert_eq!(output(exchange).len(), OUTPUT_BYTES_MAX);
    });
}

#[test]
fn an_answer_for_another_and_a_second_answer_are_refused() {
    with_endpoint(|address, exchange| {
        let mut client = given(address, exchange);
        for (path, status, error_type) in [
            ("invocation/z/response", 400, "InvalidRequestID"),
            ("invocation/z/error", 400, "InvalidRequestID"),
            ("init/error", 403, "InvalidStateTransition"),
            ("invocation/a/response", 202, "OK"),
            ("invocation/a/response", 403, "InvalidStateTransition"),
            ("invocation/a/error", 403, "InvalidStateTransition"),
        ] {
            client.post(path, "{}");
            let (head, body) = client.receive();
            assert!(
                head.starts_with(&format!("http/1.1 {status}")),
                "{path}: {head}"
            );
            assert!(body.contains(error_type), "{path}: {body}");
        }
        assert_eq!(output(exchange), "{}");
    });
}

#[test]
fn who_is_refused_may_finish_what_it_says_and_keeps_its_connection() {
    with_endpoint(|address, exchange| {
        let mut client = given(address, exchange);
        for path in ["invocation/z/response", "no/such/path"] {
            client.send(format!("POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst"));
            // The endpoint sees a request, and for a moment nothing of the rest.
            let mut other = Client::connect(address);
            other.post("init/error", "");
            other.receive();
            client.send(" half");
            assert!(client.receive().0.starts_with("http/1.1 40"), "{path}");
        }
        client.post("invocation/a/response", "done");
        assert!(client.receive().0.starts_with("http/1.1 202"));
        assert_eq!(output(exchange), "done");
    });
}

#[test]
fn an_output_that_ends_too_early_is_no_output() {
    with_endpoint(|address, exchange| {
        let mut client = given(address, exchange);
        client.send("POST /2018-06-01/runtime/invocation/a/response HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
        client.stream.get_ref().shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // It is told or cut off; either way there is no answer.
        let _told = client.stream.read_to_end(&mut rest);
        assert!(exchange.take_answer().is_none());
        let mut again = Client::connect(address);
        again.post("invocation/a/response", "whole");
        assert!(again.receive().0.starts_with("http/1.1 202"));
        assert_eq!(output(exchange), "whole");
    });
}

#[test]
fn who_asks_elsewhere_gives_up_its_first_asking() {
    with_endpoint(|address, exchange| {
        let mut first = Client::connect(address);
        first.ask();
        let limit = Instant::now() + LONG;
        while !exchange.is_parked() {
            assert!(Instant::now() < limit);
        }
        let mut second = Client::connect(address);
        second.ask();
        assert!(first.receive().0.starts_with("http/1.1 403"));
        hand_over(exchange, "a", "for the second");
        assert_eq!(second.receive().1, "for the second");
    });
}

#[test]
fn what_the_api_does_not_have_is_not_found() {
    with_endpoint(|address, _| {
        let mut client = Client::connect(address);
        client.send("GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = client.receive();
        assert!(head.starts_with("http/1.1 404"), "{head}");
        assert!(body.contains("extension"), "{body}");
        client.send("no http at all\r\n\r\n");
        assert!(client.receive().0.starts_with("http/1.1 400"));
    });
}
