//! Clients run their jobs again: as a real shell does, they read what stands in the store, and the
//! machine judges whether it still holds.

use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::id::JobId;
use umbel_core::redrive::Redrive;

use crate::bug::Bug;
use crate::client::{Ask, Stage};
use crate::model::Asked;
use crate::plan::RedrivePlan;
use crate::world::World;

impl World {
    /// Whether a client has a redrive in its plan that it has not come to.
    pub(crate) fn has_redrives(&self, at: usize) -> bool {
        let client = self.clients.get(at);
        client.is_some_and(|client| client.redrives < client.plan().redrives.len())
    }

    /// A client asks for the next redrive of its plan; beside its own course, for any.
    pub(crate) fn redrives(&mut self, at: usize, job: JobId, aside: bool) {
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        let plans = client.plan().redrives.clone();
        let next = if aside {
            usize::try_from(client.dice.below(plans.len() as u64)).unwrap_or(0)
        } else {
            client.redrives
        };
        let (Some(plan), Some(view)) = (plans.get(next), client.last_view.clone()) else {
            return;
        };
        let request_id = if aside {
            format!("aside {} of job {at}", client.dice.roll())
        } else {
            format!("redrive {next} of job {at}")
        };
        let RedrivePlan { filter, target } = plan.clone();
        let asked = Asked {
            filter: filter.clone(),
            elsewhere: target.is_some(),
        };
        self.model.redrive_asked(&request_id, &asked);
        // What was seen last may be outdated, and so may what is read by it.
        let redrives = view.status.redrives;
        let Some(shell) = &self.shell else { return };
        let function = view.record.spec.target.name();
        let standing = shell.store.standing(job, &function, redrives, &filter);
        let mut standing = match standing {
            Ok(standing) => standing,
            Err(error) => panic!("the records of job {job} cannot be read: {error}"),
        };
        if self.bug == Some(Bug::RedriveForgets) {
            standing.ran.clear();
        }
        let redrive = Box::new(Redrive {
            filter: crate::mutate::filter(self.bug, filter, &standing),
            target,
            content_digest: [u8::try_from(next).unwrap_or(0); 32],
            request_id,
            refusal: None,
            standing,
        });
        self.ask_by(Some(at), Ask::Redrive { aside }, |reply| Event::Redrive {
            reply,
            job,
            redrive,
        });
    }

    /// A client hears what became of a redrive.
    pub(crate) fn hears_of_redrive(&mut self, at: usize, aside: bool, reply: Reply) {
        match reply {
            Reply::Redriven { job, .. } => {
                self.model.promises.shown(&job);
                if !aside {
                    self.done_with_redrive(at);
                }
                let stage = self.clients.get(at).map(|client| client.stage);
                // Whoever was done with the job waits for its end again.
                if !aside || matches!(stage, Some(Stage::Read | Stage::Done)) {
                    self.goes_to(at, Stage::Watch, 0);
                }
            }
            Reply::Refused(refusal) => {
                let gone = matches!(
                    refusal,
                    Refusal::UnknownFunction { .. }
                        | Refusal::NotPublished { .. }
                        | Refusal::UnknownVersion { .. }
                        | Refusal::UnknownAlias { .. }
                        | Refusal::PinnedVersionGone { .. }
                );
                let expected = matches!(
                    refusal,
                    Refusal::JobRunning { .. }
                        | Refusal::NotRedrivable { .. }
                        | Refusal::NothingToRedrive { .. }
                        | Refusal::JobChanged { .. }
                        | Refusal::UnknownJob { .. }
                );
                assert!(expected || gone, "a redrive was refused: {refusal}");
                if aside {
                    return;
                }
                if gone || matches!(refusal, Refusal::NothingToRedrive { .. }) {
                    self.done_with_redrive(at);
                }
                // It may have changed since it was seen.
                self.goes_to(at, Stage::Watch, 1);
            }
            reply => panic!("a redrive was answered by {reply:?}"),
        }
    }

    fn done_with_redrive(&mut self, at: usize) {
        if let Some(client) = self.clients.get_mut(at) {
            client.redrives += 1;
        }
    }
}
