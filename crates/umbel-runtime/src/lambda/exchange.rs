//! Where a slot's thread and an instance's process meet: one invocation at a time.
//!
//! The rules of the Lambda Runtime API stand here, as a small machine without a socket: which
//! word of the process is in its place, and what it means for the invocation that is running.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::report::Report;

/// What a process is given to work on.
#[derive(Debug)]
pub(super) struct Invocation {
    /// Unlike that of any other attempt, so that a late answer is never taken for another's.
    pub(super) id: String,
    /// The deadline in milliseconds since 1970.
    pub(super) deadline_ms: u64,
    pub(super) trace_id: String,
    pub(super) input: Bytes,
    pub(super) output_bytes_max: usize,
}

/// How a process ended an invocation, or its own beginning.
#[derive(Debug)]
pub(super) enum Answer {
    Output(Vec<u8>),
    OutputTooLarge,
    Error(Report),
    /// It asked for the next invocation and had not answered this one.
    Abandoned,
    /// It could not begin.
    InitError(Report),
}

/// Why a word of the process is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It names an invocation that is not the one that runs.
    InvalidRequestId,
    /// It comes out of turn.
    InvalidStateTransition,
}

#[derive(Debug)]
enum Phase {
    /// The process has not asked for anything yet.
    Starting,
    /// It waits for an invocation.
    Parked(oneshot::Sender<Invocation>),
    /// It works on this one.
    Running { id: String, output_bytes_max: usize },
    /// It has answered this one and not asked for another.
    Answered { id: String },
    /// It could not begin, or left an invocation unanswered.
    Failed,
}

/// The state that the endpoint's connections and the slot's thread share.
#[derive(Debug)]
pub(super) struct Exchange {
    state: Mutex<State>,
    /// Told of every answer, of a process that parks, and of a connection that ends.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    answer: Option<Answer>,
    connections: usize,
}

impl Exchange {
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Starting,
                answer: None,
                connections: 0,
            }),
            changed: Notify::const_new(),
        }
    }

    /// The process asks for an invocation, and will get it from the receiver. A process that asks
    /// twice has given up its first asking, and is refused there.
    pub(super) fn ask(&self) -> Result<oneshot::Receiver<Invocation>, Refusal> {
        let mut state = self.state();
        match state.phase {
            Phase::Starting | Phase::Parked(_) | Phase::Answered { .. } => {
                let (sender, receiver) = oneshot::channel();
                state.phase = Phase::Parked(sender);
                self.changed.notify_one();
                Ok(receiver)
            }
            Phase::Running { .. } => {
                self.end(&mut state, Phase::Failed, Answer::Abandoned);
                Err(Refusal::InvalidStateTransition)
            }
            Phase::Failed => Err(Refusal::InvalidStateTransition),
        }
    }

    /// Whether the process may answer that invocation now, and how large its output may be.
    pub(super) fn may_answer(&self, id: &str) -> Result<usize, Refusal> {
        match &self.state().phase {
            Phase::Running {
                id: running,
                output_bytes_max,
            } if running == id => Ok(*output_bytes_max),
            Phase::Answered { id: answered } if answered == id => {
                Err(Refusal::InvalidStateTransition)
            }
            _ => Err(Refusal::InvalidRequestId),
        }
    }

    /// The process answers that invocation.
    pub(super) fn answer(&self, id: &str, answer: Answer) -> Result<(), Refusal> {
        self.may_answer(id)?;
        let answered = Phase::Answered { id: id.to_owned() };
        self.end(&mut self.state(), answered, answer);
        Ok(())
    }

    /// The process says that it cannot begin.
    pub(super) fn fail_init(&self, report: Report) -> Result<(), Refusal> {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Starting) {
            return Err(Refusal::InvalidStateTransition);
        }
        self.end(&mut state, Phase::Failed, Answer::InitError(report));
        Ok(())
    }

    /// Whether the process waits for an invocation.
    pub(super) fn is_parked(&self) -> bool {
        matches!(&self.state().phase, Phase::Parked(sender) if !sender.is_closed())
    }

    /// Gives a parked process its invocation, or gives it back when there is none any more.
    pub(super) fn hand_over(&self, invocation: Invocation) -> Result<(), Invocation> {
        let mut state = self.state();
        let running = Phase::Running {
            id: invocation.id.clone(),
            output_bytes_max: invocation.output_bytes_max,
        };
        match std::mem::replace(&mut state.phase, running) {
            Phase::Parked(sender) => {
                let handed = sender.send(invocation);
                if handed.is_err() {
                    // Its connection broke: it is as if it had not asked yet.
                    state.phase = Phase::Starting;
                }
                handed
            }
            other => {
                state.phase = other;
                Err(invocation)
            }
        }
    }

    /// What the process has answered, once.
    pub(super) fn take_answer(&self) -> Option<Answer> {
        self.state().answer.take()
    }

    /// Waits for the next change.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn connected(&self) {
        self.state().connections += 1;
    }

    pub(super) fn disconnected(&self) {
        let mut state = self.state();
        state.connections = state.connections.saturating_sub(1);
        self.changed.notify_one();
    }

    /// How many connections of the process are open.
    pub(super) fn connections(&self) -> usize {
        self.state().connections
    }

    fn end(&self, state: &mut State, phase: Phase, answer: Answer) {
        state.phase = phase;
        state.answer = Some(answer);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; if something did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(id: &str) -> Invocation {
        Invocation {
            id: id.to_owned(),
            deadline_ms: 1,
            trace_id: String::new(),
            input: Bytes::from_static(b"{}"),
            output_bytes_max: 10,
        }
    }

    fn running(id: &str) -> (Exchange, oneshot::Receiver<Invocation>) {
        let exchange = Exchange::new();
        let parked = exchange.ask().unwrap();
        exchange.hand_over(invocation(id)).unwrap();
        (exchange, parked)
    }

    #[test]
    fn an_invocation_goes_over_and_its_output_comes_back() {
        let (exchange, mut parked) = running("a");
        assert_eq!(parked.try_recv().unwrap().id, "a");
        assert_eq!(exchange.may_answer("a"), Ok(10));

        exchange.answer("a", Answer::Output(b"1".to_vec())).unwrap();

        assert!(matches!(exchange.take_answer(), Some(Answer::Output(output)) if output == b"1"));
        assert!(exchange.take_answer().is_none());
    }

    #[test]
    fn a_second_answer_and_an_answer_for_another_are_refused() {
        let (exchange, _parked) = running("a");
        assert_eq!(
            exchange.answer("b", Answer::Output(Vec::new())),
            Err(Refusal::InvalidRequestId)
        );
        exchange.answer("a", Answer::Output(Vec::new())).unwrap();
        assert_eq!(
            exchange.answer("a", Answer::Output(b"again".to_vec())),
            Err(Refusal::InvalidStateTransition)
        );
        assert!(
            matches!(exchange.take_answer(), Some(Answer::Output(output)) if output.is_empty())
        );
    }

    #[test]
    fn asking_for_another_without_an_answer_abandons_the_one_that_runs() {
        let (exchange, _parked) = running("a");
        assert_eq!(exchange.ask().unwrap_err(), Refusal::InvalidStateTransition);
        assert!(matches!(exchange.take_answer(), Some(Answer::Abandoned)));
    }

    #[test]
    fn a_process_whose_connection_broke_while_it_waited_asks_again() {
        let exchange = Exchange::new();
        drop(exchange.ask().unwrap());
        assert!(!exchange.is_parked());
        let given_back = exchange.hand_over(invocation("a")).unwrap_err();

        let mut parked = exchange.ask().unwrap();
        exchange.hand_over(given_back).unwrap();

        assert_eq!(parked.try_recv().unwrap().id, "a");
    }

    #[test]
    fn an_init_error_is_only_for_the_beginning() {
        let exchange = Exchange::new();
        exchange.fail_init(Report::default()).unwrap();
        assert!(matches!(exchange.take_answer(), Some(Answer::InitError(_))));

        let (exchange, _parked) = running("a");
        assert_eq!(
            exchange.fail_init(Report::default()),
            Err(Refusal::InvalidStateTransition)
        );
    }
}
