//! A client of one job: it submits, appends, seals, watches, reads and forgets, and
//! begins again where an answer was lost.

use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::function::UploadId;
use umbel_core::id::{Appender, Index, JobId, ReplyId};
use umbel_core::job::BlockRef;
use umbel_core::view::JobView;

use crate::agenda::What;
use crate::dice::Dice;
use crate::plan::{Aside, FUNCTIONS, Inputs, JobPlan};
use crate::shell::Mail;
use crate::world::World;

/// How often a client asks for a function that nobody knows.
const UNKNOWN_MAX: u32 = 20;
/// Blocks that an upload has under way.
const WINDOW: u32 = 3;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Create {
        id: JobId,
        blocks: Vec<BlockRef>,
        aside: bool,
    },
    Open,
    Append(BlockRef),
    Seal,
    Cancel,
    Redrive {
        aside: bool,
    },
    Delete {
        aside: bool,
    },
    Drain,
    Invoke(usize),
    Publish {
        number: usize,
        upload: Option<UploadId>,
    },
    Move(usize),
}

/// Who waits for a reply.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) reply: ReplyId,
    pub(crate) client: Option<usize>,
    /// The client's step at the time; a later one does not wait for it any more.
    pub(crate) step: u64,
    pub(crate) ask: Ask,
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Create,
    Open,
    Append,
    Seal,
    Watch,
    Read,
    Redrive,
    Delete,
    Done,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    plan: JobPlan,
    pub(crate) dice: Dice,
    pub(crate) stage: Stage,
    pub(crate) step: u64,
    job: Option<JobId>,
    pub(crate) appender: Appender,
    /// The index of the next input to be sent.
    pub(crate) next_index: Index,
    pub(crate) in_flight: u32,
    unknown: u32,
    pub(crate) last_view: Option<Box<JobView>>,
    /// Whether the job may be gone before its client deletes it at the end.
    pub(crate) may_be_gone: bool,
    /// How many of the planned redrives are done with.
    pub(crate) redrives: usize,
}

impl Client {
    pub(crate) fn new(plan: JobPlan, dice: Dice) -> Self {
        Self {
            plan,
            dice,
            stage: Stage::Create,
            step: 0,
            job: None,
            appender: Appender(0),
            next_index: 0,
            in_flight: 0,
            unknown: 0,
            last_view: None,
            may_be_gone: false,
            redrives: 0,
        }
    }

    pub(crate) fn plan(&self) -> &JobPlan {
        &self.plan
    }

    pub(crate) fn job(&self) -> Option<JobId> {
        self.job
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    pub(crate) fn request_id(&self) -> String {
        format!("request {}", self.plan.number)
    }

    /// A new id for this client's job.
    pub(crate) fn propose(&self, number: u64) -> JobId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id[8] = 0x80;
        id[15] = u8::try_from(self.plan.number).unwrap_or(u8::MAX);
        JobId(id)
    }

    /// Whether a job is this client's.
    pub(crate) fn owns(&self, job: JobId) -> bool {
        usize::from(job.0[15]) == self.plan.number
    }

    pub(crate) fn input(&self, index: Index) -> Vec<u8> {
        match self.plan.inputs {
            Inputs::Range { begin } => (begin + u64::from(index)).to_string().into_bytes(),
            Inputs::Inline | Inputs::Appended { .. } => {
                format!("input {index} of {}", self.plan.number).into_bytes()
            }
        }
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "client {} at {:?}, job {:?}",
            self.plan.number, self.stage, self.job
        )
    }
}

impl World {
    /// Asks the coordinator something; false when there is none.
    pub(crate) fn ask_by(
        &mut self,
        client: Option<usize>,
        ask: Ask,
        event: impl FnOnce(ReplyId) -> Event,
    ) -> bool {
        if self.shell.is_none() {
            return false;
        }
        self.asked += 1;
        let reply = ReplyId(self.asked);
        let step = client
            .and_then(|at| self.clients.get(at))
            .map_or(0, |client| client.step);
        let asker = Asker {
            reply,
            client,
            step,
            ask,
        };
        self.post(Mail::Ask(asker, event(reply)));
        true
    }

    pub(crate) fn ask(&mut self, ask: Ask, event: impl FnOnce(ReplyId) -> Event) {
        self.ask_by(None, ask, event);
    }

    /// A client comes to a stage, now or soon.
    pub(crate) fn goes_to(&mut self, at: usize, stage: Stage, wait_ms: u64) {
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        client.stage = stage;
        client.step += 1;
        let step = client.step;
        if stage != Stage::Done {
            self.later(wait_ms, What::Client { client: at, step });
        }
    }

    /// A client tries the same again.
    pub(crate) fn tries_again(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        let (wait_ms, stage) = (client.dice.between(20..=400), client.stage);
        // An upload begins anew, since nobody knows what of it was taken.
        let stage = if stage == Stage::Append {
            Stage::Open
        } else {
            stage
        };
        self.goes_to(at, stage, wait_ms);
    }

    /// The coordinator is gone, and the answer with it.
    pub(crate) fn ask_was_lost(&mut self, asker: &Asker) {
        match asker.ask {
            Ask::Invoke(number) => drop(self.invokes_open.remove(&number)),
            Ask::Publish { number, .. } | Ask::Move(number) => self.move_was_lost(number),
            _ => {}
        }
        let Some(at) = asker.client else { return };
        let aside = matches!(
            asker.ask,
            Ask::Create { aside: true, .. }
                | Ask::Cancel
                | Ask::Delete { aside: true }
                | Ask::Redrive { aside: true }
        );
        if !aside
            && self
                .clients
                .get(at)
                .is_some_and(|client| client.step == asker.step)
        {
            self.tries_again(at);
        }
    }

    /// The coordinator is gone, and its watches with it.
    pub(crate) fn watches_are_lost(&mut self) {
        for at in 0..self.clients.len() {
            if self
                .clients
                .get(at)
                .is_some_and(|client| client.stage == Stage::Watch)
            {
                self.tries_again(at);
            }
        }
    }

    pub(crate) fn client_goes_on(&mut self, at: usize, step: u64) {
        let Some(client) = self.clients.get(at).filter(|client| client.step == step) else {
            return;
        };
        let (stage, job, total) = (client.stage, client.job, u64::from(client.plan.count));
        if self.shell.is_none() {
            return self.tries_again(at);
        }
        let Some(job) = job else {
            return self.creates(at, false);
        };
        match stage {
            Stage::Create => self.creates(at, false),
            Stage::Open => {
                self.ask_by(Some(at), Ask::Open, |reply| Event::OpenAppend {
                    reply,
                    job,
                });
            }
            Stage::Append => self.appends(at, job),
            Stage::Seal => {
                self.ask_by(Some(at), Ask::Seal, |reply| Event::Seal {
                    reply,
                    job,
                    total,
                });
            }
            Stage::Watch => self.post(Mail::Look { client: at, job }),
            Stage::Read => self.reads_the_end(at, job),
            Stage::Redrive => self.redrives(at, job, false),
            Stage::Delete => self.deletes(at, job, false),
            Stage::Done => {}
        }
    }

    pub(crate) fn deletes(&mut self, at: usize, job: JobId, aside: bool) {
        self.model.promises.may_go(job);
        self.ask_by(Some(at), Ask::Delete { aside }, |reply| Event::Delete {
            reply,
            job,
        });
    }

    pub(crate) fn client_aside(&mut self, at: usize, aside: usize) {
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        let Some(job) = client.job else { return };
        let Some((_, aside)) = client.plan.asides.get(aside).copied() else {
            return;
        };
        match aside {
            Aside::Cancel => {
                self.ask_by(Some(at), Ask::Cancel, |reply| Event::Cancel { reply, job });
            }
            Aside::Resubmit => self.creates(at, true),
            Aside::Look => self.post(Mail::Look { client: at, job }),
            Aside::Read => self.reads_some(at, job),
            Aside::Reopen if client.stage == Stage::Append => self.goes_to(at, Stage::Open, 0),
            Aside::Reopen => {}
            Aside::Redrive => self.redrives(at, job, true),
            Aside::Delete => {
                client.may_be_gone = true;
                self.deletes(at, job, true);
            }
        }
    }

    pub(crate) fn job_changed(&mut self, job: JobId) {
        let watches = |client: &Client| client.job == Some(job) && client.stage == Stage::Watch;
        if let Some(client) = self.clients.iter().position(watches) {
            self.post(Mail::Look { client, job });
        }
    }

    /// A client is shown its job.
    pub(crate) fn client_sees(&mut self, at: usize, job: JobId, view: Option<&JobView>) {
        match view {
            Some(view) => self.model.promises.shown(view),
            None => self.model.promises.unknown(job),
        }
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        if client.stage != Stage::Watch || client.job != Some(job) {
            return;
        }
        match view {
            Some(view) if view.status.state.is_final() => {
                client.last_view = Some(Box::new(view.clone()));
                self.goes_to(at, Stage::Read, 1);
            }
            Some(_) => {}
            None => self.goes_to(at, Stage::Done, 0),
        }
    }

    /// An answer has come.
    pub(crate) fn client_hears(&mut self, asker: &Asker, reply: Reply) {
        self.trace.say(&|| format!("  {asker:?} hears {reply:?}"));
        let Some(at) = asker.client else {
            return self.somebody_hears(asker, reply);
        };
        let Some(client) = self.clients.get(at) else {
            return;
        };
        let current = client.step == asker.step;
        let job = client.job;
        match (&asker.ask, reply) {
            (Ask::Create { id, blocks, aside }, reply) => {
                let unused = self.hears_of_create(at, *id, *aside || !current, reply);
                if unused {
                    self.unstage(*id, blocks);
                }
            }
            (Ask::Open | Ask::Append(_), reply) => self.hears_of_upload(at, asker, reply),
            (Ask::Seal | Ask::Cancel, Reply::Job(view)) => {
                self.model.promises.shown(&view);
                if current && matches!(asker.ask, Ask::Seal) {
                    self.goes_to(at, Stage::Watch, 0);
                }
            }
            (Ask::Seal, Reply::Refused(refusal)) => {
                let back = matches!(refusal, Refusal::SealMismatch { .. });
                let stage = if back { Stage::Open } else { Stage::Watch };
                assert!(
                    back || matches!(
                        refusal,
                        Refusal::JobFinished { .. }
                            | Refusal::UnknownJob { .. }
                            // A redrive has sealed it with what had arrived.
                            | Refusal::JobSealed { .. }
                    ),
                    "a seal was refused: {refusal}"
                );
                if current {
                    self.goes_to(at, stage, 0);
                }
            }
            (Ask::Cancel, Reply::Refused(Refusal::JobFinished { .. })) => {}
            (Ask::Delete { .. }, Reply::Done) => {
                if let Some(job) = job {
                    self.model.promises.deleted(job);
                }
                if current {
                    self.goes_to(at, Stage::Done, 0);
                }
            }
            (Ask::Redrive { aside }, reply) => {
                let aside = *aside || !current;
                self.hears_of_redrive(at, aside, reply);
            }
            (Ask::Delete { aside: true }, Reply::Refused(Refusal::JobRunning { .. })) => {}
            // Somebody redrove it meanwhile.
            (Ask::Delete { .. }, Reply::Refused(Refusal::JobRunning { .. })) => {
                if current {
                    self.goes_to(at, Stage::Watch, 0);
                }
            }
            (Ask::Cancel | Ask::Delete { .. }, Reply::Refused(Refusal::UnknownJob { .. })) => {
                if let Some(job) = job {
                    self.model.promises.unknown(job);
                }
                if current && matches!(asker.ask, Ask::Delete { aside: false }) {
                    self.goes_to(at, Stage::Done, 0);
                }
            }
            (ask, reply) => panic!("{ask:?} was answered by {reply:?}"),
        }
    }

    /// Whoever asked owns no job.
    fn somebody_hears(&mut self, asker: &Asker, reply: Reply) {
        match asker.ask {
            Ask::Invoke(number) => {
                if let Reply::Undecided(routing) = &reply {
                    return self.invokes_decided(number, routing);
                }
                let asked = self.invokes_open.remove(&number).unwrap_or_default();
                self.judge_invoke(number, asked, &reply);
            }
            Ask::Publish { number, upload } => self.hears_of_publication(number, upload, reply),
            Ask::Move(_) => Self::hears_of_move(&reply),
            _ => {}
        }
    }

    /// Tells whether what was staged for the job is not used.
    fn hears_of_create(&mut self, at: usize, id: JobId, aside: bool, reply: Reply) -> bool {
        let Some(client) = self.clients.get_mut(at) else {
            return false;
        };
        match reply {
            Reply::Created {
                job: view, existed, ..
            } => {
                self.model.promises.created(&view);
                let found = view.record.id;
                assert_eq!(existed, found != id, "whether a job is new");
                if !aside {
                    let first = client.job.is_none();
                    client.job = Some(found);
                    let stage = match client.plan.inputs {
                        Inputs::Appended { .. } => Stage::Open,
                        Inputs::Range { .. } | Inputs::Inline => Stage::Watch,
                    };
                    let asides: Vec<u64> = client
                        .plan
                        .asides
                        .iter()
                        .map(|(wait_ms, _)| *wait_ms)
                        .collect();
                    if first {
                        for (aside, wait_ms) in asides.into_iter().enumerate() {
                            self.later(wait_ms, What::Aside { client: at, aside });
                        }
                    }
                    self.goes_to(at, stage, 0);
                }
                existed
            }
            // The job that this request made is gone, and it makes no other.
            Reply::Refused(Refusal::RequestIdSpent { job, .. }) => {
                self.model.promises.unknown(job);
                if !aside {
                    self.goes_to(at, Stage::Done, 0);
                }
                true
            }
            Reply::Refused(
                Refusal::UnknownFunction { .. }
                | Refusal::NotPublished { .. }
                | Refusal::UnknownVersion { .. }
                | Refusal::UnknownAlias { .. },
            ) => {
                client.unknown += 1;
                let Some(target) = FUNCTIONS.first() else {
                    return true;
                };
                let patient = client.plan.spec.target.display() == *target;
                if !aside {
                    if patient || client.unknown < UNKNOWN_MAX {
                        self.tries_again(at);
                    } else {
                        self.goes_to(at, Stage::Done, 0);
                    }
                }
                true
            }
            reply => panic!("a job was asked for, and answered is {reply:?}"),
        }
    }

    fn hears_of_upload(&mut self, at: usize, asker: &Asker, reply: Reply) {
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        let current = client.step == asker.step;
        let Some(job) = client.job else { return };
        match (&asker.ask, reply) {
            (
                Ask::Open,
                Reply::AppendOpened {
                    appender,
                    next_index,
                },
            ) => {
                self.model.promises.appended(job, next_index);
                if current {
                    client.appender = appender;
                    client.next_index = next_index;
                    client.in_flight = 0;
                    self.goes_to(at, Stage::Append, 0);
                }
            }
            (Ask::Append(_), Reply::Appended { next_index }) => {
                self.model.promises.appended(job, next_index);
                if current {
                    client.in_flight -= 1;
                    self.appends(at, job);
                }
            }
            (ask, Reply::Refused(refusal)) => {
                if let Ask::Append(block) = ask {
                    self.unstage(job, &[*block]);
                }
                let stage = match refusal {
                    Refusal::AppendSuperseded { .. } | Refusal::AppendGap { .. } => Stage::Open,
                    Refusal::JobFinished { .. }
                    | Refusal::JobSealed { .. }
                    | Refusal::UnknownJob { .. } => Stage::Watch,
                    refusal => panic!("an upload was refused: {refusal}"),
                };
                if current {
                    self.goes_to(at, stage, 1);
                }
            }
            (ask, reply) => panic!("{ask:?} was answered by {reply:?}"),
        }
    }

    /// Whether another block may be sent.
    pub(crate) fn has_window(client: &Client) -> bool {
        client.in_flight < WINDOW && client.next_index < client.plan.count
    }
}
