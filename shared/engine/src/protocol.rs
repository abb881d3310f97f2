//! The record protocol as pure functions: what an evaluation does next, given what came of what it did last.
//!
//! An [`Evaluation`] asks for [`Command`]s, which may run at the same time, and goes on with their [`Answer`]s. It
//! never sees a resource or DynamoDB: [`evaluate`](crate::evaluate) carries its commands out, and a test of this
//! repository searches every interleaving of several evaluations, crashes and lost answers.
//!
//! What it keeps, whatever happens: nothing changes without the way back stored first; one effect for each
//! happening; two evaluations never change one resource at a time; a plan is never made of a state that is gone; no
//! happening is lost; no budget is exceeded; nothing that needs a person is done without one.

use crate::{ledger::Status, policy::Mode};

/// Milliseconds since 1970.
pub type Millis = i64;

/// A state of the resource as a number: two are the same if the control says so.
pub type State = usize;

/// What the protocol knows of a record.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Life {
    pub status: Status,
    /// Grows with every write.
    pub version: u64,
    /// Who wrote it last: by this an evaluation knows its own write when the answer was lost.
    pub writer: String,
    /// Which changes are known to be made, as indices into the plan.
    pub done: Vec<usize>,
    /// The status that people were last told of.
    pub told: Option<Status>,
    /// Whether somebody must still do something about it: recovery looks after open records.
    pub open: bool,
}

/// A record as it was read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Known {
    pub id: String,
    pub life: Life,
    pub before: State,
    pub after: Option<State>,
    /// The length of its plan.
    pub changes: usize,
    /// The order in which the stored plan is taken up.
    pub order: Vec<usize>,
}

/// The lock of a resource as it was read. There is one for each resource, whatever the control.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Lock {
    /// Grows with every taking. Zero: it was never taken.
    pub generation: u64,
    pub holder: Option<Holder>,
    /// How often it was marked dirty.
    pub marks: u64,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Holder {
    /// The evaluation, unlike any other.
    pub evaluation: String,
    /// The invocation, the same in all its attempts.
    pub delivery: String,
    pub control: String,
    pub record: String,
    /// Until when the holder may be alive.
    pub until: Millis,
}

impl Lock {
    fn live(&self, now: Millis) -> Option<&Holder> {
        self.holder.as_ref().filter(|holder| now < holder.until)
    }
}

/// What one batch read of the ledger tells.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Looked {
    /// Whether the event tells of a call of Quell's own.
    pub own: bool,
    pub lock: Lock,
    /// The record of this happening, at this attempt.
    pub record: Option<Known>,
    /// The record that is to be undone.
    pub original: Option<Known>,
    /// What a person ordered about the record, if it counts: not expired, and of this plan.
    pub order: Option<Order>,
    pub halted: bool,
}

/// How far the evaluation may go.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Verdict {
    pub mode: Mode,
    pub exempt: bool,
    /// Why it is parked rather than changed.
    pub park: Option<Park>,
    /// Whether the intent is too large for the ledger.
    pub too_large: bool,
    /// The budgets that it counts against.
    pub counts: Vec<Count>,
}

/// One budget: at most so many changes under this key.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Count {
    pub key: String,
    pub max: u32,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Order {
    Approve,
    Resume,
    Undo,
}

/// Why nothing is changed for now.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Park {
    /// The budget of this key is used up.
    OverBudget(String),
    Halted,
    /// Something breaks the resource again and again; people hear of it once under this key.
    Flapping(String),
}

/// What a look at the resource tells.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Sight {
    Gone,
    /// An open record of Quell needs it as it is for a moment.
    Spared(State),
    There {
        state: State,
        /// How many changes the control would make. None: compliant.
        changes: usize,
    },
}

impl Sight {
    fn state(&self) -> Option<State> {
        match self {
            Self::Gone => None,
            Self::Spared(state) | Self::There { state, .. } => Some(*state),
        }
    }

    fn is_compliant(&self) -> bool {
        matches!(self, Self::There { changes: 0, .. })
    }
}

/// What is to be done. Those of one step may run at the same time.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Command {
    /// One batch read of the ledger, with the record of this attempt.
    Look(usize),
    /// Reads the resource.
    Assess,
    /// Reads the resource until it is as wanted, or patience is at its end.
    Verify,
    /// How far it may go with the resource in this state.
    Judge,
    Commit(Vec<Write>),
    /// Makes one change of the plan.
    Change(usize),
    /// Tells people where the record stands.
    Tell,
    /// Waits a moment.
    Wait,
}

/// One write of a transaction: all are made, or none.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Write {
    /// Takes the lock, if its generation is still this.
    Take { generation: u64, holder: Holder },
    /// Leaves word for the holder that there is something new, if it still holds the lock.
    Mark { generation: u64 },
    /// Gives the lock back, if nobody left word meanwhile.
    Release { generation: u64, marks: u64, fixed: bool },
    /// Writes a new record with plan and way back. There must be none of this id.
    Put { id: String, life: Life },
    /// Writes where a record stands, if it is still of the version before.
    Update { id: String, life: Life },
    /// Counts against a budget, if there is room.
    Count(Count),
    /// Takes a count back.
    Refund(String),
    /// The kill switch must be off.
    Running,
    /// People were not yet told that this budget is used up.
    FirstOver(String),
}

/// Why a transaction was not made.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// Somebody else has, or had, the lock.
    Locked,
    /// Word was left for the holder, so often by now.
    Marked(u64),
    /// There is such a record, or it was changed by somebody else.
    Overtaken,
    OverBudget(String),
    Halted,
    /// People were told that this budget is used up.
    ToldBefore,
}

/// Why one write of a refused transaction was not made.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// It would have been.
    Fine,
    /// Another transaction was at the item, or there were too many.
    Conflict,
    /// Its condition did not hold of what was found.
    Found(Found),
}

/// An item as a refused transaction found it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Found {
    Nothing,
    Lock(Lock),
    Life(Life),
    Count(u32),
    /// The kill switch, or the mark that people were told.
    Set,
}

/// What a refused transaction means, by what was found. `Ok`: it was made; only the answer to an earlier attempt was
/// lost. `Err(None)`: it may be tried again as it is.
pub fn classify(writes: &[Write], reasons: &[Reason]) -> Result<(), Option<Refusal>> {
    let pairs = || writes.iter().zip(reasons);
    let is_ours = pairs().any(|(write, reason)| match (write, reason) {
        (Write::Put { life, .. } | Write::Update { life, .. }, Reason::Found(Found::Life(old))) => {
            life == old
        }
        _ => false,
    });
    if is_ours {
        return Ok(());
    }
    let found = pairs().filter_map(|(write, reason)| match reason {
        Reason::Found(found) => Some((write, found)),
        Reason::Fine | Reason::Conflict => None,
    });
    let mut refusals: Vec<(u8, Refusal)> = found
        .filter_map(|(write, found)| match (write, found) {
            (Write::Put { .. } | Write::Update { .. }, _) => Some((0, Refusal::Overtaken)),
            (Write::Take { .. } | Write::Mark { .. }, _) => Some((1, Refusal::Locked)),
            (Write::Release { generation, marks, .. }, Found::Lock(lock))
                if lock.generation == *generation && lock.marks != *marks =>
            {
                Some((2, Refusal::Marked(lock.marks)))
            }
            (Write::Release { .. }, _) => Some((1, Refusal::Locked)),
            (Write::Running, _) => Some((3, Refusal::Halted)),
            (Write::Count(Count { key, max }), Found::Count(count)) if count >= max => {
                Some((4, Refusal::OverBudget(key.clone())))
            }
            // There is room by now.
            (Write::Count(_), _) => None,
            (Write::FirstOver(_), _) => Some((5, Refusal::ToldBefore)),
            (Write::Refund(_), _) => None,
        })
        .collect();
    refusals.sort_by_key(|(rank, _)| *rank);
    Err(refusals.into_iter().next().map(|(_, refusal)| refusal))
}

/// What a failed change was.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Hitch {
    /// Whether the call may have been applied all the same.
    pub unsure: bool,
    /// Whether the rest of the plan is made without it.
    pub goes_on: bool,
}

impl Hitch {
    /// The rest of the plan was not tried.
    const STOPPED: Self = Self { unsure: false, goes_on: false };

    fn after(self, earlier: Option<Self>) -> Self {
        let unsure = self.unsure || earlier.is_some_and(|earlier| earlier.unsure);
        Self { unsure, ..self }
    }
}

/// What came of a command.
#[allow(clippy::large_enum_variant, reason = "there are never more than two at a time")]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Answer {
    Looked(Looked),
    Seen(Sight),
    Judged(Verdict),
    Committed(Result<(), Refusal>),
    Changed(Result<(), Hitch>),
    Told(bool),
    /// Whether there is time for another look.
    Waited(bool),
    /// It could not be done; whoever carries out commands knows why.
    Failed,
}

/// How an evaluation ended.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum End {
    Own,
    Off,
    Compliant,
    Gone,
    Spared,
    /// This happening was dealt with before, or is being dealt with; nothing was done.
    Duplicate,
    /// The holder of the lock has word, and looks again.
    LeftWord,
    /// The record stands so.
    Closed(Status),
    /// The kill switch is on; the record waits as it is.
    Halted,
    /// The policy, the ceiling or an exemption does not allow by now what was ordered; the record waits as it is.
    Withheld,
    /// The undo is refused: the resource is not as the record left it.
    Changed,
    /// The undo is refused: the record is not one that can be undone.
    NotUndoable(Status),
    /// The undo is refused: the control cannot take this back.
    Irreversible,
    UndoneBefore,
    /// Nothing was lost, but the event must come again: the resource is being worked on, or never rests.
    Again(Busy),
    /// A command failed. Whatever was begun is in the ledger.
    Failed,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Busy {
    /// An earlier attempt of this very delivery may still be alive.
    Alive,
    /// Another control, or a person's undo, works on the resource.
    Locked,
    /// The resource changed every time while it was looked at.
    Restless,
}

/// What an evaluation does next.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Next {
    Do(Vec<Command>),
    End(End),
}

/// Why an evaluation was begun.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Purpose {
    /// An event, or a sweep, says that the resource is worth a look.
    Event,
    /// A person or recovery says that a record is worth a look.
    Record,
    /// A person wants a record undone.
    Undo,
}

/// How often a resource that keeps changing under us is evaluated before giving up.
pub const ROUNDS: usize = 3;

/// One evaluation of one resource under one control.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Evaluation {
    purpose: Purpose,
    /// As the lock will name it. `record` is filled in when there is one.
    holder: Holder,
    /// From when on no write call may start.
    last_start: Millis,
    attempt: usize,
    /// The attempt that it began with.
    first: usize,
    rounds: usize,
    phase: Phase,
    /// The record that is worked on, and the one that it undoes.
    record: Option<(String, Life)>,
    original: Option<(String, Life)>,
    /// The superseded record that the next one closes.
    predecessor: Option<(String, Life)>,
    /// Of the stored plan.
    changes: usize,
    /// The state that the plan was made of.
    before: Option<State>,
    /// What an undo brings back.
    goal: Option<State>,
    held: Option<Held>,
    counted: Vec<Count>,
    /// The lives before the transaction under way, should it be refused.
    previous: Option<(Life, Option<Life>)>,
    /// Where the original stood before this evaluation began to undo it.
    original_was: Option<Status>,
}

/// The lock as it is held.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Held {
    generation: u64,
    /// Words left before the last look at the resource.
    marks: u64,
    /// Whether that look found the resource in a bad state that the record does not know.
    stale: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Phase {
    Looking,
    Judging { looked: Box<Looked>, sight: Sight },
    Beginning { generation: u64, marks: u64, order: Vec<usize>, how: Begin, life: Life },
    Parking(Park),
    Marking,
    Waiting,
    Superseding(Then),
    Changing { order: Vec<usize>, at: usize, hitch: Option<Hitch> },
    Noting { order: Vec<usize>, at: usize, hitch: Option<Hitch> },
    Verifying(Option<Hitch>),
    Settling,
    Telling,
    Closing,
    Reassessing,
    Rejudging,
    Relaying(Status, Vec<Count>),
    Skipping(Status, Vec<Count>),
    Over(End),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Begin {
    /// A new record.
    New,
    /// A stored one that nobody changed anything for yet: it was pending or parked.
    Stored,
    /// A stored one that an earlier evaluation left unfinished.
    Takeover,
    /// A stored one that failed.
    Retry,
}

/// What follows a superseded record.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Then {
    Evaluate,
    Gone,
    Changed,
}

impl Evaluation {
    /// `holder` without its record: that comes with the ids of the records. No write call starts at `last_start` or
    /// later, so that none outlives the lock.
    pub fn new(
        purpose: Purpose,
        holder: Holder,
        last_start: Millis,
        attempt: usize,
    ) -> (Self, Next) {
        let mut evaluation = Self {
            purpose,
            holder,
            last_start,
            attempt,
            first: attempt,
            rounds: 0,
            phase: Phase::Looking,
            record: None,
            original: None,
            predecessor: None,
            changes: 0,
            before: None,
            goal: None,
            held: None,
            counted: Vec::new(),
            previous: None,
            original_was: None,
        };
        let next = evaluation.look();
        (evaluation, next)
    }

    pub fn attempt(&self) -> usize {
        self.attempt
    }

    /// The record that is worked on.
    pub fn record(&self) -> Option<&str> {
        self.record.as_ref().map(|(id, _)| id.as_str())
    }

    /// Goes on. `id` names the record of an attempt. The answers are those of the commands, in their order.
    pub fn step(
        mut self,
        now: Millis,
        id: &dyn Fn(usize) -> String,
        answers: &[Answer],
    ) -> (Self, Next) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over(End::Failed));
        let next = match (phase, answers) {
            (Phase::Looking, [Answer::Looked(looked), Answer::Seen(sight)]) => match self.purpose {
                Purpose::Undo => self.undo(now, id, looked, sight),
                Purpose::Event | Purpose::Record => self.looked(now, id, looked, sight),
            },
            // What is Quell's own, or not there any more, need not be readable.
            (Phase::Looking, [Answer::Looked(looked), _]) if looked.own => Next::End(End::Own),
            (Phase::Judging { looked, sight }, [Answer::Judged(verdict)]) => {
                self.judged(now, id, &looked, &sight, verdict)
            }
            (Phase::Beginning { order, how, life, generation, marks }, [began, again]) => {
                let held = Held { generation: generation + 1, marks, stale: false };
                self.begun(now, order, how, life, held, began, again)
            }
            (Phase::Parking(park), [Answer::Committed(ended)]) => self.parked(id, &park, ended),
            (Phase::Marking, [Answer::Committed(Ok(()))]) => Next::End(End::LeftWord),
            // The lock was given back meanwhile.
            (Phase::Marking, [Answer::Committed(Err(_))]) => self.look(),
            (Phase::Waiting, [Answer::Waited(true)]) => self.look(),
            (Phase::Waiting, [Answer::Waited(false)]) => Next::End(End::Again(Busy::Locked)),
            (Phase::Superseding(then), [Answer::Committed(ended)]) => self.superseded(then, ended),
            (Phase::Changing { order, at, hitch }, [Answer::Changed(changed)]) => {
                self.changed(order, at, hitch, *changed)
            }
            (Phase::Noting { order, at, hitch }, [Answer::Committed(ended)]) => match ended {
                Ok(()) => self.change(now, order, at, hitch),
                // What was made stays; the rest waits for a person.
                Err(Refusal::Halted) => {
                    self.restore();
                    self.verify(Some(Hitch::STOPPED.after(hitch)))
                }
                Err(_) => Next::End(End::Failed),
            },
            (Phase::Verifying(hitch), [seen]) => self.verified(hitch, seen),
            (Phase::Settling, [Answer::Committed(Ok(()))]) => self.tell(),
            (Phase::Settling, [Answer::Committed(Ok(())), Answer::Told(true)]) => {
                self.previous = None;
                self.close(true)
            }
            // Another delivery of the same happening put the record a moment ago.
            (Phase::Settling, [Answer::Committed(Err(Refusal::Overtaken))])
                if self.held.is_none() =>
            {
                Next::End(End::Duplicate)
            }
            (Phase::Telling, [Answer::Told(true)]) => self.close(true),
            (Phase::Closing, [Answer::Committed(ended)]) => self.closed(ended),
            (Phase::Reassessing, [Answer::Seen(sight)]) => self.reassessed(sight),
            (Phase::Rejudging, [Answer::Judged(verdict)]) => self.rejudged(id, verdict),
            (Phase::Relaying(status, counts), [Answer::Committed(ended)]) => {
                self.relayed(id, status, counts, ended)
            }
            (Phase::Skipping(status, counts), [Answer::Looked(looked)]) => {
                self.skipped(id, status, counts, looked)
            }
            (Phase::Over(end), _) => Next::End(end),
            // A command failed: whatever was begun is open in the ledger, and recovery or a retry goes on with it.
            _ => Next::End(End::Failed),
        };
        if let Next::End(end) = &next {
            self.phase = Phase::Over(end.clone());
        }
        (self, next)
    }

    fn look(&mut self) -> Next {
        self.phase = Phase::Looking;
        Next::Do(vec![Command::Look(self.attempt), Command::Assess])
    }

    fn look_further(&mut self) -> Next {
        self.attempt += 1;
        self.look()
    }

    fn looked(
        &mut self,
        now: Millis,
        id: &dyn Fn(usize) -> String,
        looked: &Looked,
        sight: &Sight,
    ) -> Next {
        if looked.own {
            return Next::End(End::Own);
        }
        let Some(known) = &looked.record else {
            return match sight {
                // What was superseded and not followed needs nothing more.
                _ if self.purpose == Purpose::Record && self.rounds == 0 => {
                    let is_past = self.attempt > self.first;
                    Next::End(if is_past { End::Duplicate } else { End::Failed })
                }
                Sight::Gone => Next::End(End::Gone),
                Sight::Spared(_) => Next::End(End::Spared),
                Sight::There { changes: 0, .. } => Next::End(End::Compliant),
                Sight::There { .. } => self.judge(looked, sight),
            };
        };
        let life = &known.life;
        let wants_more = matches!(sight, Sight::There { changes: 1.., .. });
        match (life.status, looked.order) {
            (Status::Superseded, _) if !life.open || self.purpose == Purpose::Event => {
                self.predecessor = life.open.then(|| (known.id.clone(), life.clone()));
                self.look_further()
            }
            (Status::Pending, Some(Order::Approve)) | (Status::Parked, Some(Order::Resume)) => {
                if sight.state() == Some(known.before) && wants_more {
                    // An order does not reach further than the policy, the ceiling and exemptions of now.
                    return self.judge(looked, sight);
                }
                self.take_up(now, looked, known, sight, Begin::Stored)
            }
            (Status::Applying, _) => self.take_up(now, looked, known, sight, Begin::Takeover),
            // A failed one is tried again when its event comes again, or when a person says so.
            (Status::Failed | Status::Partial, order)
                if life.open || self.purpose == Purpose::Event || order == Some(Order::Resume) =>
            {
                // Its end was told: since then the policy may say otherwise, or a person have permitted it.
                if !life.open && wants_more {
                    return self.judge(looked, sight);
                }
                self.take_up(now, looked, known, sight, Begin::Takeover)
            }
            // It ended, but its evaluation died before it gave the lock back.
            (Status::Fixed | Status::Undone | Status::Superseded, _) if life.open => {
                self.take_up(now, looked, known, sight, Begin::Takeover)
            }
            // Nothing is locked by these; only people were not told yet.
            // The delivery that put it may be about to tell: only recovery, which comes later, does it for it.
            _ if life.open && self.purpose == Purpose::Record && self.attempt == self.first => {
                self.record = Some((known.id.clone(), life.clone()));
                self.settle(life.status)
            }
            // The mode may be another by now, or the exemption over.
            (Status::Observed | Status::Exempt, _)
                if self.purpose == Purpose::Event && wants_more =>
            {
                self.judge(looked, sight)
            }
            _ => {
                self.record = Some((id(self.attempt), life.clone()));
                Next::End(End::Duplicate)
            }
        }
    }

    fn judge(&mut self, looked: &Looked, sight: &Sight) -> Next {
        self.phase = Phase::Judging { looked: Box::new(looked.clone()), sight: sight.clone() };
        Next::Do(vec![Command::Judge])
    }

    fn judged(
        &mut self,
        now: Millis,
        id: &dyn Fn(usize) -> String,
        looked: &Looked,
        sight: &Sight,
        verdict: &Verdict,
    ) -> Next {
        if let Some(known) = &looked.record
            && let status @ (Status::Pending | Status::Parked | Status::Failed | Status::Partial) =
                known.life.status
        {
            let is_begun = matches!(status, Status::Failed | Status::Partial);
            return match verdict.mode {
                _ if verdict.exempt => Next::End(End::Withheld),
                Mode::Off | Mode::Observe => Next::End(End::Withheld),
                // Whoever resumes does not approve: a person is asked, under the record that follows.
                Mode::Approve | Mode::Enforce if is_begun => {
                    self.take_up(now, looked, known, sight, Begin::Takeover)
                }
                Mode::Approve if looked.order == Some(Order::Resume) => {
                    self.record = Some((known.id.clone(), known.life.clone()));
                    self.supersede(Then::Evaluate)
                }
                Mode::Approve | Mode::Enforce => {
                    self.take_up(now, looked, known, sight, Begin::Stored)
                }
            };
        }
        if let Some(known) = &looked.record {
            let is_worth_more = match known.life.status {
                Status::Exempt => !verdict.exempt,
                _ => !verdict.exempt && verdict.mode > Mode::Observe,
            };
            if is_worth_more && verdict.mode != Mode::Off {
                return self.look_further();
            }
            self.record = Some((known.id.clone(), known.life.clone()));
            return Next::End(End::Duplicate);
        }
        let Sight::There { changes, .. } = sight else { return Next::End(End::Failed) };
        (self.changes, self.before) = (*changes, sight.state());
        match verdict.mode {
            Mode::Off => return Next::End(End::Off),
            _ if verdict.exempt => return self.put(id, Status::Exempt),
            Mode::Observe => return self.put(id, Status::Observed),
            Mode::Approve | Mode::Enforce if verdict.too_large => {
                return self.put(id, Status::Refused);
            }
            Mode::Approve | Mode::Enforce => {}
        }
        if let Some(holder) = looked.lock.live(now) {
            if holder.control == self.holder.control {
                self.phase = Phase::Marking;
                let generation = looked.lock.generation;
                return Next::Do(vec![Command::Commit(vec![Write::Mark { generation }])]);
            }
            return self.wait();
        }
        if verdict.mode == Mode::Approve {
            return self.put(id, Status::Pending);
        }
        if let Some(park) = &verdict.park {
            return self.park(id, park.clone());
        }
        if looked.halted {
            return self.park(id, Park::Halted);
        }
        let life = self.new_life(Status::Applying);
        let id = id(self.attempt);
        self.counted.clone_from(&verdict.counts);
        let mut writes = vec![
            Write::Take { generation: looked.lock.generation, holder: self.holder_of(&id) },
            Write::Put { id: id.clone(), life: life.clone() },
            Write::Running,
        ];
        writes.extend(verdict.counts.iter().cloned().map(Write::Count));
        writes.extend(self.close_predecessor());
        self.record = Some((id, life.clone()));
        self.begin(writes, &looked.lock, (0..*changes).collect(), Begin::New, life)
    }

    /// The transaction and the second read. The read stands between a stale plan and a write: it begins after the
    /// lock was read, so that whatever an earlier holder changed is seen, or the lock's generation gives it away.
    fn begin(
        &mut self,
        writes: Vec<Write>,
        lock: &Lock,
        order: Vec<usize>,
        how: Begin,
        life: Life,
    ) -> Next {
        let (generation, marks) = (lock.generation, lock.marks);
        self.phase = Phase::Beginning { generation, marks, order, how, life };
        Next::Do(vec![Command::Commit(writes), Command::Assess])
    }

    /// Goes on with a stored plan.
    fn take_up(
        &mut self,
        now: Millis,
        looked: &Looked,
        known: &Known,
        sight: &Sight,
        how: Begin,
    ) -> Next {
        self.record = Some((known.id.clone(), known.life.clone()));
        self.changes = known.changes;
        self.before = Some(known.before);
        if let Some(holder) = looked.lock.live(now) {
            return match holder {
                holder if holder.record != known.id => self.wait(),
                // Only its end lets it be delivered again: by the next attempt the lease is over.
                holder if holder.delivery == self.holder.delivery => {
                    Next::End(End::Again(Busy::Alive))
                }
                _ => Next::End(End::Duplicate),
            };
        }
        if how == Begin::Stored && sight.state() != Some(known.before) {
            return self.supersede(Then::Evaluate);
        }
        let mut life = known.life.clone();
        life.version += 1;
        life.writer.clone_from(&self.holder.evaluation);
        life.open = true;
        let is_over = matches!(life.status, Status::Fixed | Status::Undone | Status::Superseded);
        // A failed one is tried again: should this attempt die, its change may be what put it right.
        let how = match life.status {
            Status::Failed if how == Begin::Takeover => Begin::Retry,
            _ => how,
        };
        if matches!(how, Begin::Stored | Begin::Retry) {
            life.status = Status::Applying;
        }
        let mut writes = vec![
            Write::Take { generation: looked.lock.generation, holder: self.holder_of(&known.id) },
            Write::Update { id: known.id.clone(), life: life.clone() },
        ];
        if !is_over {
            writes.push(Write::Running);
        }
        self.begin(writes, &looked.lock, known.order.clone(), how, life)
    }

    #[allow(clippy::too_many_arguments)] // What the phase held, and what was answered.
    fn begun(
        &mut self,
        now: Millis,
        order: Vec<usize>,
        how: Begin,
        life: Life,
        held: Held,
        began: &Answer,
        again: &Answer,
    ) -> Next {
        match began {
            Answer::Committed(Ok(())) => {}
            Answer::Committed(Err(Refusal::OverBudget(key))) if how == Begin::New => {
                let Some((id, _)) = self.record.take() else { return Next::End(End::Failed) };
                return self.park(&|_| id.clone(), Park::OverBudget(key.clone()));
            }
            Answer::Committed(Err(Refusal::Halted))
                if how == Begin::New && self.purpose != Purpose::Undo =>
            {
                let Some((id, _)) = self.record.take() else { return Next::End(End::Failed) };
                return self.park(&|_| id.clone(), Park::Halted);
            }
            Answer::Committed(Err(Refusal::Halted)) => return Next::End(End::Halted),
            // Somebody was faster: what they did decides what is still to be done.
            Answer::Committed(Err(_)) => {
                self.record = None;
                self.original = None;
                self.counted.clear();
                return self.look();
            }
            _ => return Next::End(End::Failed),
        }
        if let Some((_, known)) = &mut self.record {
            *known = life;
        }
        self.previous = None;
        self.held = Some(held);
        let Answer::Seen(sight) = again else {
            return match how {
                Begin::New | Begin::Stored => self.settle(Status::Failed),
                Begin::Takeover | Begin::Retry => Next::End(End::Failed),
            };
        };
        let is_unchanged = sight.state().is_some() && sight.state() == self.before;
        match how {
            Begin::New | Begin::Stored if is_unchanged => self.change(now, order, 0, None),
            Begin::New | Begin::Stored if self.purpose == Purpose::Undo => {
                self.supersede(Then::Changed)
            }
            Begin::New | Begin::Stored if *sight == Sight::Gone => self.supersede(Then::Gone),
            Begin::New | Begin::Stored => self.supersede(Then::Evaluate),
            Begin::Takeover | Begin::Retry => self.resume(now, order, how, sight, is_unchanged),
        }
    }

    /// The stored plan, never a new one: a new one would take what was half done for the state before.
    fn resume(
        &mut self,
        now: Millis,
        order: Vec<usize>,
        how: Begin,
        sight: &Sight,
        is_unchanged: bool,
    ) -> Next {
        let Some((_, life)) = &self.record else { return Next::End(End::Failed) };
        let is_good = self.is_good(sight);
        if matches!(life.status, Status::Fixed | Status::Undone | Status::Superseded) {
            let is_new = !is_good && matches!(sight, Sight::There { .. });
            if let Some(held) = &mut self.held {
                held.stale = is_new && self.purpose != Purpose::Undo;
            }
            return self.tell();
        }
        if self.purpose == Purpose::Undo {
            let is_halfway = self.changes > 1 && how != Begin::Retry;
            if !is_unchanged && !is_good && !is_halfway {
                // Somebody else wrote into it: what they wrote must not be lost, and people must hear.
                return self.settle(self.unfinished(None, None));
            }
            return self.change(now, order, 0, None);
        }
        let all_done = (0..self.changes).all(|index| life.done.contains(&index));
        match sight {
            Sight::Gone => self.supersede(Then::Gone),
            _ if is_good && (self.changes == 1 || life.done.is_empty()) => {
                // A change that failed is not what put it right; any other may be.
                self.settle(if how == Begin::Retry { Status::Superseded } else { Status::Fixed })
            }
            // Something new is wrong, which the stored plan cannot know.
            _ if all_done && !is_good => self.supersede(Then::Evaluate),
            _ if self.changes == 1 && !is_unchanged => self.supersede(Then::Evaluate),
            _ => self.change(now, order, 0, None),
        }
    }

    fn change(&mut self, now: Millis, order: Vec<usize>, at: usize, hitch: Option<Hitch>) -> Next {
        let Some(&index) = order.get(at) else { return self.verify(hitch) };
        if now >= self.last_start {
            return self.verify(Some(Hitch::STOPPED.after(hitch)));
        }
        self.phase = Phase::Changing { order, at, hitch };
        Next::Do(vec![Command::Change(index)])
    }

    fn changed(
        &mut self,
        order: Vec<usize>,
        at: usize,
        hitch: Option<Hitch>,
        changed: Result<(), Hitch>,
    ) -> Next {
        let is_last = at + 1 >= order.len();
        match changed {
            Ok(()) => {
                let Some((_, life)) = &mut self.record else { return Next::End(End::Failed) };
                if let Some(&index) = order.get(at)
                    && !life.done.contains(&index)
                {
                    life.done.push(index);
                }
                if is_last {
                    return self.verify(hitch);
                }
                self.note(order, at + 1, hitch)
            }
            Err(failed) if failed.goes_on && !is_last => {
                self.note(order, at + 1, Some(failed.after(hitch)))
            }
            Err(failed) => self.verify(Some(failed.after(hitch))),
        }
    }

    /// What was made must be known to whoever takes over, and the kill switch may be on by now.
    fn note(&mut self, order: Vec<usize>, at: usize, hitch: Option<Hitch>) -> Next {
        let mut writes: Vec<_> = self.update(|_| {}).into_iter().collect();
        writes.push(Write::Running);
        self.phase = Phase::Noting { order, at, hitch };
        Next::Do(vec![Command::Commit(writes)])
    }

    fn verify(&mut self, hitch: Option<Hitch>) -> Next {
        self.phase = Phase::Verifying(hitch);
        Next::Do(vec![Command::Verify])
    }

    fn verified(&mut self, hitch: Option<Hitch>, seen: &Answer) -> Next {
        let Answer::Seen(sight) = seen else {
            return self.settle(self.unfinished(hitch, None));
        };
        let ended = match self.purpose {
            Purpose::Undo => Status::Undone,
            Purpose::Event | Purpose::Record => Status::Fixed,
        };
        let is_undo = self.purpose == Purpose::Undo;
        match (sight, hitch) {
            (Sight::Gone, _) if !is_undo => self.settle(Status::Superseded),
            (sight, None) if self.is_good(sight) => self.settle(ended),
            // Of several changes the last may be clean-up: a failure there is not hidden by a good state.
            (sight, Some(hitch)) if self.is_good(sight) && self.changes == 1 => {
                // No answer may mean that it was made; a refusal means that somebody else made it.
                self.settle(if hitch.unsure || is_undo { ended } else { Status::Superseded })
            }
            _ => self.settle(self.unfinished(hitch, Some(sight))),
        }
    }

    fn is_good(&self, sight: &Sight) -> bool {
        match self.goal {
            Some(goal) => sight.state() == Some(goal),
            None => sight.is_compliant(),
        }
    }

    /// Partial, once any change is made or may have been: only that can be undone.
    fn unfinished(&self, hitch: Option<Hitch>, sight: Option<&Sight>) -> Status {
        let may_be_changed = hitch.is_some_and(|hitch| hitch.unsure)
            && sight.is_none_or(|sight| sight.state() != self.before);
        match &self.record {
            Some((_, life)) if !life.done.is_empty() => Status::Partial,
            Some(_) if may_be_changed => Status::Partial,
            _ => Status::Failed,
        }
    }

    /// Writes how the record ended. Nobody else writes it while the lock is held, so that people are told meanwhile.
    fn settle(&mut self, status: Status) -> Next {
        let update = self.update(|life| life.status = status);
        let mut writes: Vec<_> = update.into_iter().collect();
        match status {
            Status::Undone => writes.extend(self.update_original(Status::Undone)),
            // Nothing was taken back, and nobody else began before: the exemption that an undo brings must not count.
            Status::Failed if let Some(was) = self.original_was => {
                writes.extend(self.update_original(was));
            }
            _ => {}
        }
        self.phase = Phase::Settling;
        let mut commands = vec![Command::Commit(writes)];
        if self.held.is_some() && self.owes_a_message() {
            commands.push(Command::Tell);
        }
        Next::Do(commands)
    }

    /// Whether people should hear where the record stands, and did not.
    fn owes_a_message(&self) -> bool {
        self.record.as_ref().is_some_and(|(_, life)| {
            life.told != Some(life.status) && life.status.outcome().people_should_hear()
        })
    }

    fn tell(&mut self) -> Next {
        self.previous = None;
        let Some((_, life)) = &self.record else { return Next::End(End::Failed) };
        if !life.open {
            return Next::End(End::Closed(life.status));
        }
        if !self.owes_a_message() {
            return self.close(false);
        }
        self.phase = Phase::Telling;
        Next::Do(vec![Command::Tell])
    }

    /// Closes the record and gives the lock back, unless somebody left word.
    fn close(&mut self, told: bool) -> Next {
        if told && let Some((_, life)) = &mut self.record {
            life.told = Some(life.status);
        }
        if self.held.is_some_and(|held| held.stale) {
            return self.reassess();
        }
        let mut writes: Vec<_> = self.update(|life| life.open = false).into_iter().collect();
        writes.extend(self.release());
        self.phase = Phase::Closing;
        Next::Do(vec![Command::Commit(writes)])
    }

    fn closed(&mut self, ended: &Result<(), Refusal>) -> Next {
        match ended {
            Ok(()) => {
                self.held = None;
                let status = self.record.as_ref().map(|(_, life)| life.status);
                Next::End(status.map_or(End::Failed, End::Closed))
            }
            Err(Refusal::Marked(marks)) => {
                self.restore();
                if let Some(held) = &mut self.held {
                    held.marks = *marks;
                }
                self.reassess()
            }
            Err(_) => Next::End(End::Failed),
        }
    }

    fn reassess(&mut self) -> Next {
        self.phase = Phase::Reassessing;
        Next::Do(vec![Command::Assess])
    }

    fn reassessed(&mut self, sight: &Sight) -> Next {
        if let Some(held) = &mut self.held {
            held.stale = false;
        }
        match sight {
            Sight::There { state, changes: changes @ 1.. } => {
                (self.changes, self.before) = (*changes, Some(*state));
                self.phase = Phase::Rejudging;
                Next::Do(vec![Command::Judge])
            }
            _ => self.close(false),
        }
    }

    /// The old record ends and the next one begins in one transaction, so that what somebody left word of is never
    /// without a record.
    fn rejudged(&mut self, id: &dyn Fn(usize) -> String, verdict: &Verdict) -> Next {
        let status = match verdict.mode {
            Mode::Off => return self.close(false),
            _ if verdict.exempt => Status::Exempt,
            Mode::Observe => Status::Observed,
            Mode::Approve | Mode::Enforce if verdict.too_large => Status::Refused,
            Mode::Approve => Status::Pending,
            Mode::Enforce if verdict.park.is_some() || self.rounds >= ROUNDS => Status::Parked,
            Mode::Enforce => Status::Applying,
        };
        let counts = if status == Status::Applying { verdict.counts.clone() } else { Vec::new() };
        self.relay(id, status, counts)
    }

    fn relay(&mut self, id: &dyn Fn(usize) -> String, status: Status, counts: Vec<Count>) -> Next {
        let mut writes: Vec<_> = self.update(|life| life.open = false).into_iter().collect();
        writes.extend(self.release());
        writes.push(Write::Put { id: id(self.attempt + 1), life: self.new_life(status) });
        if status == Status::Applying {
            writes.push(Write::Running);
            writes.extend(counts.iter().cloned().map(Write::Count));
        }
        self.phase = Phase::Relaying(status, counts);
        Next::Do(vec![Command::Commit(writes)])
    }

    fn relayed(
        &mut self,
        id: &dyn Fn(usize) -> String,
        status: Status,
        counts: Vec<Count>,
        ended: &Result<(), Refusal>,
    ) -> Next {
        match ended {
            Ok(()) => {
                self.previous = None;
                self.held = None;
                self.attempt += 1;
                self.rounds += 1;
                if status == Status::Applying {
                    self.counted = counts;
                    self.record = None;
                    return self.look();
                }
                self.record = Some((id(self.attempt), self.new_life(status)));
                self.tell()
            }
            Err(Refusal::Marked(marks)) => {
                self.restore();
                if let Some(held) = &mut self.held {
                    held.marks = *marks;
                }
                self.reassess()
            }
            Err(Refusal::OverBudget(_) | Refusal::Halted) => {
                self.restore();
                self.relay(id, Status::Parked, Vec::new())
            }
            Err(Refusal::Overtaken) => {
                self.restore();
                self.phase = Phase::Skipping(status, counts);
                Next::Do(vec![Command::Look(self.attempt + 1)])
            }
            Err(_) => Next::End(End::Failed),
        }
    }

    /// There may be a next record: a duplicate took this one up once more after it was followed. Without another
    /// number it would stay open, and every recovery of it would keep the lock from the record that follows.
    fn skipped(
        &mut self,
        id: &dyn Fn(usize) -> String,
        status: Status,
        counts: Vec<Count>,
        looked: &Looked,
    ) -> Next {
        let is_held = self.held.is_some_and(|held| held.generation == looked.lock.generation);
        if !is_held || looked.record.is_none() {
            return Next::End(End::Failed);
        }
        self.attempt += 1;
        self.relay(id, status, counts)
    }

    /// The resource changed before the first write: nothing was done under this record. It stays open until the next
    /// one is there, lest the happening be lost between the two.
    fn supersede(&mut self, then: Then) -> Next {
        let update = self.update(|life| {
            life.status = Status::Superseded;
            life.open = then == Then::Evaluate;
        });
        let mut writes: Vec<_> = update.into_iter().collect();
        if self.purpose == Purpose::Undo {
            writes.extend(self.original_was.and_then(|was| self.update_original(was)));
        }
        writes.extend(self.release());
        writes.extend(self.counted.drain(..).map(|count| Write::Refund(count.key)));
        self.phase = Phase::Superseding(then);
        Next::Do(vec![Command::Commit(writes)])
    }

    fn superseded(&mut self, then: Then, ended: &Result<(), Refusal>) -> Next {
        match ended {
            Ok(()) => {}
            Err(Refusal::Marked(marks)) => {
                self.restore();
                if let Some(held) = &mut self.held {
                    held.marks = *marks;
                }
                return self.supersede(if then == Then::Gone { Then::Evaluate } else { then });
            }
            Err(_) => return Next::End(End::Failed),
        }
        self.held = None;
        self.previous = None;
        self.rounds += 1;
        match then {
            Then::Gone => Next::End(End::Gone),
            Then::Changed => Next::End(End::Changed),
            Then::Evaluate if self.rounds >= ROUNDS => Next::End(End::Again(Busy::Restless)),
            Then::Evaluate => {
                self.predecessor = self.record.take();
                self.look_further()
            }
        }
    }

    /// A record of something that changes nothing.
    fn put(&mut self, id: &dyn Fn(usize) -> String, status: Status) -> Next {
        let life = self.new_life(status);
        let id = id(self.attempt);
        self.record = Some((id.clone(), life.clone()));
        let mut writes = vec![Write::Put { id, life }];
        writes.extend(self.close_predecessor());
        self.phase = Phase::Settling;
        Next::Do(vec![Command::Commit(writes)])
    }

    fn park(&mut self, id: &dyn Fn(usize) -> String, park: Park) -> Next {
        self.counted.clear();
        let id = id(self.attempt);
        let mut life = self.new_life(Status::Parked);
        let mut writes = Vec::new();
        match &park {
            Park::OverBudget(key) | Park::Flapping(key) => {
                writes.push(Write::FirstOver(key.clone()));
            }
            // Who halted knows.
            Park::Halted => life.open = false,
        }
        writes.push(Write::Put { id: id.clone(), life: life.clone() });
        writes.extend(self.close_predecessor());
        self.record = Some((id, life));
        self.phase = Phase::Parking(park);
        Next::Do(vec![Command::Commit(writes)])
    }

    fn parked(
        &mut self,
        id: &dyn Fn(usize) -> String,
        park: &Park,
        ended: &Result<(), Refusal>,
    ) -> Next {
        match ended {
            Ok(()) => self.tell(),
            Err(Refusal::ToldBefore) => {
                let id = self.record.take().map_or_else(|| id(self.attempt), |(id, _)| id);
                let mut life = self.new_life(Status::Parked);
                life.open = false;
                self.record = Some((id.clone(), life.clone()));
                let mut writes = vec![Write::Put { id, life }];
                writes.extend(self.close_predecessor());
                self.phase = Phase::Parking(park.clone());
                Next::Do(vec![Command::Commit(writes)])
            }
            Err(Refusal::Overtaken) => {
                self.record = None;
                self.look()
            }
            Err(_) => Next::End(End::Failed),
        }
    }

    fn wait(&mut self) -> Next {
        self.record = None;
        self.phase = Phase::Waiting;
        Next::Do(vec![Command::Wait])
    }

    fn undo(
        &mut self,
        now: Millis,
        id: &dyn Fn(usize) -> String,
        looked: &Looked,
        sight: &Sight,
    ) -> Next {
        let Some(original) = &looked.original else { return Next::End(End::Failed) };
        let is_undoing = original.life.status == Status::Undoing;
        self.goal = Some(original.before);
        self.original = Some((original.id.clone(), original.life.clone()));
        if let Some(earlier) = &looked.record {
            return match earlier.life.status {
                Status::Superseded if !earlier.life.open => self.look_further(),
                Status::Undone if !earlier.life.open => {
                    self.record = Some((earlier.id.clone(), earlier.life.clone()));
                    Next::End(End::UndoneBefore)
                }
                _ => {
                    let is_here = sight.state() == Some(earlier.before) || self.is_good(sight);
                    let is_halfway = earlier.changes > 1 && earlier.life.status != Status::Failed;
                    // An open one must be closed all the same.
                    if !is_here && !is_halfway && !earlier.life.open {
                        return Next::End(End::Changed);
                    }
                    self.take_up(now, looked, earlier, sight, Begin::Takeover)
                }
            };
        }
        match original.life.status {
            Status::Fixed | Status::Partial => {}
            Status::Undone => return Next::End(End::UndoneBefore),
            other if !is_undoing => return Next::End(End::NotUndoable(other)),
            _ => {}
        }
        if sight.state().is_none() || sight.state() != original.after {
            return Next::End(End::Changed);
        }
        let Sight::There { changes, .. } = sight else { return Next::End(End::Changed) };
        if *changes == 0 && sight.state() != self.goal {
            return Next::End(End::Irreversible);
        }
        if looked.lock.live(now).is_some() {
            return self.wait();
        }
        self.original_was = Some(original.life.status);
        (self.changes, self.before) = (*changes, sight.state());
        let life = self.new_life(Status::Applying);
        let id = id(self.attempt);
        let mut writes = vec![
            Write::Take { generation: looked.lock.generation, holder: self.holder_of(&id) },
            Write::Put { id: id.clone(), life: life.clone() },
        ];
        writes.push(Write::Running);
        writes.extend(self.update_original(Status::Undoing));
        self.record = Some((id, life.clone()));
        self.begin(writes, &looked.lock, (0..*changes).collect(), Begin::New, life)
    }

    fn new_life(&self, status: Status) -> Life {
        Life {
            status,
            version: 1,
            writer: self.holder.evaluation.clone(),
            done: Vec::new(),
            told: None,
            open: status.outcome().people_should_hear() || status == Status::Applying,
        }
    }

    fn close_predecessor(&self) -> Option<Write> {
        let (id, life) = self.predecessor.clone()?;
        let version = life.version + 1;
        let writer = self.holder.evaluation.clone();
        Some(Write::Update { id, life: Life { open: false, version, writer, ..life } })
    }

    fn holder_of(&self, record: &str) -> Holder {
        Holder { record: record.to_owned(), ..self.holder.clone() }
    }

    fn release(&self) -> Option<Write> {
        let held = self.held?;
        let fixed = self.record.as_ref().is_some_and(|(_, life)| life.status == Status::Fixed);
        Some(Write::Release { generation: held.generation, marks: held.marks, fixed })
    }

    /// The record's next version.
    fn update(&mut self, alter: impl FnOnce(&mut Life)) -> Option<Write> {
        let writer = self.holder.evaluation.clone();
        let (id, life) = self.record.as_mut()?;
        self.previous = Some((life.clone(), self.original.as_ref().map(|(_, life)| life.clone())));
        alter(life);
        life.version += 1;
        life.writer = writer;
        Some(Write::Update { id: id.clone(), life: life.clone() })
    }

    fn update_original(&mut self, status: Status) -> Option<Write> {
        let (id, life) = self.original.as_mut()?;
        life.status = status;
        life.version += 1;
        life.writer.clone_from(&self.holder.evaluation);
        Some(Write::Update { id: id.clone(), life: life.clone() })
    }

    /// A refused transaction wrote nothing.
    fn restore(&mut self) {
        let Some((life, original)) = self.previous.take() else { return };
        if let Some((_, known)) = &mut self.record {
            *known = life;
        }
        if let (Some((_, known)), Some(life)) = (&mut self.original, original) {
            *known = life;
        }
    }
}
