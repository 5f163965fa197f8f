//! Deliberate bugs: each breaks a promise in the simulated shell or on the wire, so
//! that the checks can prove that they would see it. The product itself knows none.

/// One deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Replies and views leave before their batch is durable.
    ShowBeforeFlush,
    /// Reports are acknowledged before they are durable.
    AckBeforeFlush,
    /// A report of a lease that has ended is taken for one of the lease that lives.
    SkipFence,
    /// Invocations that wait for a retry are forgotten when restoring.
    ForgetRetries,
    /// A worker that is silent for a while is taken for lost.
    StallIsLoss,
    /// A restarted coordinator numbers its leases as the one before.
    ReuseLeases,
    /// The end of a lease is not written.
    KeepEndedLease,
    /// A report comes twice, the second time under the next number.
    RepeatReport,
    /// A report is lost on the way, and those behind it close the gap.
    LoseReport,
    /// A grant allows every slot of its worker.
    IgnoreConcurrency,
    /// The request id of a job is not written.
    ForgetRequestId,
    /// The seal of a job is not written.
    ForgetSeal,
    /// The watchers of a job are not told of its end.
    ForgetWatchers,
    /// A loss counts for the neighbours of a suspect too.
    BlameNeighbours,
    /// A coordinator that was stopped takes its own silence for the workers'.
    PauseIsSilence,
    /// A failed attempt does not count.
    ForgetFailure,
    /// A chunk is sent twice, under two leases.
    GrantTwice,
    /// Whether an offered attempt was counted already is not asked.
    CountTwice,
    /// A redrive leaves one out of what it was asked for.
    LeaveOneOut,
    /// What a redrive made wait again is forgotten when restoring.
    ForgetRedrive,
    /// What comes of a redrive is written as if nobody had redriven.
    OldResultWins,
    /// What a worker held before a redrive counts after a restart.
    ForgetFence,
    /// Each success counts twice toward enough.
    CountEnoughTwice,
    /// Which failures are tried again is forgotten when restoring.
    ForgetRetryRules,
    /// The type of a failure is not looked at.
    ForgetTypes,
    /// The slot time of every other job is charged to nobody.
    FreeRide,
    /// All jobs have one priority.
    ForgetPriority,
    /// The version that a waiting invocation keeps is forgotten when restoring.
    ForgetVersion,
    /// Jobs are accepted without their pins.
    ForgetPin,
    /// A worker is granted another version of the function than was leased.
    RunAnother,
    /// A worker is told that a version is another one's code.
    TellAnother,
    /// The aliases of a deleted function are kept.
    KeepAliases,
    /// What was retired takes jobs again after a restart.
    ForgetRetired,
    /// What runs of a deleted function is not pinned after a restart.
    ForgetNeeds,
    /// A redrive knows nothing of the versions that ran.
    RedriveForgets,
    /// The record of a deleted function is let go with the newest id in it.
    ForgetLastId,
    /// A version is removed from the store when it is retired.
    RemoveEarly,
    /// What one arm of a split should get goes to the version of another.
    SwapArms,
    /// What waits comes back without the arm that it was sent to.
    ForgetArm,
    /// The end of a rollout is not written.
    ForgetRollout,
    /// What the arms of a rollout did is not written.
    ForgetFigures,
}

impl Bug {
    pub(crate) const ALL: [Self; 41] = [
        Self::ShowBeforeFlush,
        Self::AckBeforeFlush,
        Self::SkipFence,
        Self::ForgetRetries,
        Self::StallIsLoss,
        Self::ReuseLeases,
        Self::KeepEndedLease,
        Self::RepeatReport,
        Self::LoseReport,
        Self::IgnoreConcurrency,
        Self::ForgetRequestId,
        Self::ForgetSeal,
        Self::ForgetWatchers,
        Self::BlameNeighbours,
        Self::PauseIsSilence,
        Self::ForgetFailure,
        Self::GrantTwice,
        Self::CountTwice,
        Self::LeaveOneOut,
        Self::ForgetRedrive,
        Self::OldResultWins,
        Self::ForgetFence,
        Self::CountEnoughTwice,
        Self::ForgetRetryRules,
        Self::ForgetTypes,
        Self::FreeRide,
        Self::ForgetPriority,
        Self::ForgetVersion,
        Self::ForgetPin,
        Self::RunAnother,
        Self::TellAnother,
        Self::KeepAliases,
        Self::ForgetRetired,
        Self::ForgetNeeds,
        Self::RedriveForgets,
        Self::ForgetLastId,
        Self::RemoveEarly,
        Self::SwapArms,
        Self::ForgetArm,
        Self::ForgetRollout,
        Self::ForgetFigures,
    ];
}
