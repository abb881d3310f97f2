//! The world around the production [`Evaluation`]: DynamoDB's item semantics, a resource, people, time and faults.
//! Nothing of the protocol is written a second time here; what is here is what the protocol must survive.

use std::{collections::BTreeMap, fmt};

use quell_engine::{
    Mode,
    ledger::Status,
    protocol::{
        Answer, Busy, Command, Count, End, Evaluation, Found, Hitch, Holder, Known, Life, Lock,
        Looked, Millis, Next, Order, Purpose, Reason, Refusal, Sight, Verdict, Write, classify,
    },
};

/// What somebody who is not Quell wrote, and Quell must not lose.
const HUMAN: u8 = 0b1000_0000;

/// Time in leases: one begun at an instant is over at the next.
const LEASE: Millis = 1;

/// Rounds of recovery until nothing may be open any more.
const ROUNDS: usize = 10;

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Control {
    /// Bit 0, by writing the whole document.
    A,
    /// Bit 1, by writing the whole document.
    B,
    /// Bits 2 and 3, by one change each, which touches nothing else.
    C,
}

impl Control {
    fn bits(self) -> u8 {
        match self {
            Self::A => 0b1,
            Self::B => 0b10,
            Self::C => 0b1100,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }

    fn plan(self, state: u8) -> Vec<u8> {
        let bad = state & self.bits();
        (0..8).map(|bit| 1 << bit).filter(|bit| bad & bit != 0).collect()
    }

    fn sight(self, resource: Option<u8>) -> Sight {
        resource.map_or(Sight::Gone, |state| Sight::There {
            state: usize::from(state),
            changes: self.plan(state).len(),
        })
    }
}

/// What a person does to the resource.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Edit {
    /// Breaks it again for control A, of which an event tells.
    Reopen,
    /// Puts it right for control A.
    Mend,
    /// Writes something of their own into it.
    Scribble,
    Delete,
}

/// What is true, whatever happens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Invariant {
    /// I1, I2: before a change its record is there, with the true state before; after it, it can be undone.
    WayBack,
    /// I1: the way back is never overwritten.
    Overwritten,
    /// Whoever changes the resource holds its lock, and is alone.
    Alone,
    /// What others wrote into the resource stays.
    Clobbered,
    /// I5: a change is made once.
    Twice,
    /// I4: people are told once of each status; at least once after a fault.
    Told,
    /// I3: nothing is lost.
    Lost,
    /// I3: nothing stays open or locked.
    Open,
    /// I6: what was undone is as it was before.
    Undone,
    UndoneTwice,
    Budget,
    /// At most one change of each evaluation after the kill switch.
    Halted,
    Approved,
    /// An answer that was lost on the way is no failure.
    LostAnswer,
}

#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) story: String,
}

type Checked = Result<(), Violation>;

fn violation(invariant: Invariant, story: impl Into<String>) -> Checked {
    Err(Violation { invariant, story: story.into() })
}

/// A safeguard that is taken away in the world. Production has no such switches.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Without {
    SecondRead,
    /// The second read may begin before the lock was read.
    LockBeforeSecondRead,
    /// The lock is taken though its generation is another by now.
    Generation,
    /// Records are updated though they are of another version by now.
    Version,
    FirstWriterWins,
    /// Takeover takes what it finds for the state before.
    StoredPlan,
    /// The lease may end while a call is under way.
    LeaseOutlastingCalls,
    LastStart,
    /// Nobody waits for the end of a lease.
    Lease,
    /// The lock is one for each control.
    LockAcrossControls,
    /// Released though word was left.
    Marks,
    /// Word is left though nobody holds the lock any more.
    HolderOfMark,
    OwnWrites,
    BudgetCondition,
    KillSwitch,
    Approval,
    /// Undo takes the state that it finds for the one that was left.
    Comparison,
    Recovery,
    /// The record is written after the change.
    WriteAhead,
    /// People are told of a full budget every time.
    FirstOver,
}

/// What may happen, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) start: u8,
    pub(crate) mode: Mode,
    /// Event and control of each delivery. Two of one event are duplicates.
    pub(crate) deliveries: Vec<(u8, Control)>,
    /// How often a delivery comes again at once if it failed or crashed; after the search it comes until it ends.
    pub(crate) retries: u8,
    pub(crate) crashes: u8,
    pub(crate) lost: u8,
    pub(crate) ticks: u8,
    pub(crate) edits: u8,
    pub(crate) kinds: Vec<Edit>,
    pub(crate) halts: u8,
    pub(crate) orders: u8,
    pub(crate) kinds_of_order: Vec<Order>,
    pub(crate) recoveries: u8,
    pub(crate) budget: Option<u32>,
    pub(crate) without: Option<Without>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            start: 0b1,
            mode: Mode::Enforce,
            deliveries: vec![(1, Control::A)],
            retries: 0,
            crashes: 0,
            lost: 0,
            ticks: 0,
            edits: 0,
            kinds: vec![Edit::Reopen, Edit::Scribble],
            halts: 0,
            orders: 0,
            kinds_of_order: Vec::new(),
            recoveries: 0,
            budget: None,
            without: None,
        }
    }
}

/// Something that happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    Deliver(usize),
    /// A command of a worker is carried out.
    Do(usize, usize),
    /// The read that is begun too early, if the safeguard is taken away.
    ReadEarly(usize),
    /// A command is carried out, and something goes wrong with it.
    Trouble(usize, usize, Trouble),
    Crash(usize),
    /// The last call of a worker that died reaches the resource.
    Land(usize),
    /// It never does.
    Vanish(usize),
    Tick,
    Edit(Edit),
    Halt,
    Order(String, Order),
    Recover(String),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// Carried out; the answer is lost, and the SDK sends it again.
    SentAgain,
    /// Carried out, but nobody learns of it.
    NoAnswer,
    /// Not carried out, and that is known.
    Denied,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) resource: Option<u8>,
    pub(crate) locks: BTreeMap<&'static str, Lock>,
    pub(crate) records: BTreeMap<String, Record>,
    used: u32,
    told_over: bool,
    halted: bool,
    pub(crate) workers: Vec<Worker>,
    queue: Vec<Delivery>,
    /// Deliveries that come again after the search.
    owed: Vec<Delivery>,
    left: Left,
    /// How often people edited the resource.
    edits: u8,
    /// After which edit the bits of a control were last broken.
    broken: BTreeMap<Control, u8>,
    recovered: u8,
    orders: u8,
    /// Whether a worker lived longer than its lease.
    zombies: bool,
    word_left: bool,
    pub(crate) reached: Reached,
}

/// What the search is to come by, so that its invariants are not held by nothing.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Reached(pub(crate) u16);

impl Reached {
    pub(crate) const FIXED: u16 = 1;
    pub(crate) const SUPERSEDED: u16 = 1 << 1;
    pub(crate) const UNDONE: u16 = 1 << 2;
    /// The lock was taken for the third time.
    pub(crate) const TAKEN_OVER: u16 = 1 << 3;
    pub(crate) const LEFT_WORD: u16 = 1 << 4;
    pub(crate) const RELAYED: u16 = 1 << 5;
    /// A write of our own was recognised.
    pub(crate) const RECOGNISED: u16 = 1 << 6;
    pub(crate) const OVER_BUDGET: u16 = 1 << 7;
    pub(crate) const HALTED: u16 = 1 << 8;
    pub(crate) const PENDING: u16 = 1 << 9;
    pub(crate) const REFUSED_UNDO: u16 = 1 << 10;
    pub(crate) const RESUMED: u16 = 1 << 11;
    pub(crate) const PARTIAL: u16 = 1 << 12;
    pub(crate) const LANDED_LATE: u16 = 1 << 13;
    pub(crate) const EXEMPT: u16 = 1 << 14;
}

/// What may still happen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Left {
    crashes: u8,
    lost: u8,
    ticks: u8,
    edits: u8,
    halts: u8,
    orders: u8,
    recoveries: u8,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Delivery {
    id: String,
    tries: u8,
    purpose: Why,
    control: Control,
    /// The record's id without its attempt.
    chain: String,
    attempt: usize,
    original: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Why {
    Event,
    Record,
    Undo,
}

impl From<Why> for Purpose {
    fn from(why: Why) -> Self {
        match why {
            Why::Event => Self::Event,
            Why::Record => Self::Record,
            Why::Undo => Self::Undo,
        }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Record {
    pub(crate) life: Life,
    pub(crate) before: u8,
    after: Option<u8>,
    changes: usize,
    control: Control,
    chain: String,
    attempt: usize,
    pub(crate) undoes: Option<String>,
    order: Option<Order>,
    /// When it was last written.
    written: Millis,
    // What follows is not in the ledger: by it the invariants are checked.
    /// Whether it was counted against the budget.
    counted: bool,
    effects: [u8; 2],
    ever_effective: bool,
    /// The state before its first effect, as the ledger had it then.
    sealed: Option<u8>,
    undone: u8,
    /// Edits when its plan was made, and when its end was seen.
    planned_at: u8,
    seen_at: u8,
    /// People edited the resource between the plan and the look that says what was left behind: no look can tell
    /// their part from Quell's.
    blurred: bool,
    told: BTreeMap<&'static str, u8>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Worker {
    evaluation: Evaluation,
    id: String,
    delivery: Delivery,
    until: Millis,
    pending: Vec<Pending>,
    /// What the plan is made of, and edits by then.
    plan: Option<(u8, usize, u8)>,
    /// What was last seen since the last change, and edits by then.
    seen: Option<(u8, u8)>,
    read_at: u8,
    exempt: bool,
    waited: bool,
    after_halt: u8,
    /// Where it takes its records to stand.
    statuses: BTreeMap<String, Status>,
    /// Whether it never got an answer that it waited for.
    missed: bool,
    /// It crashed; its last call may still reach the resource.
    dead: bool,
    /// A read begun before the lock was read, and its edits.
    early: Option<(Option<u8>, u8)>,
    /// A record that is held back until the change is made.
    held_back: Option<(String, Record)>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Pending {
    command: Command,
    answer: Option<Answer>,
    /// It was carried out before, and is sent again.
    again: bool,
}

impl Worker {
    fn has_change(&self) -> bool {
        self.pending.iter().any(|pending| {
            matches!(pending.command, Command::Change(_)) && pending.answer.is_none()
        })
    }

    pub(crate) fn doing(&self, c: usize) -> String {
        format!("{:?}", self.pending[c].command)
    }

    fn is_undo(&self) -> bool {
        self.delivery.purpose == Why::Undo
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?} {})", self.id, self.delivery.purpose, self.delivery.chain)
    }
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let queue = scenario
            .deliveries
            .iter()
            .enumerate()
            .map(|(number, (event, control))| {
                Delivery::event(&format!("d{number}"), &format!("e{event}"), *control)
            })
            .collect();
        Self {
            now: 0,
            resource: Some(scenario.start),
            locks: BTreeMap::new(),
            records: BTreeMap::new(),
            used: 0,
            told_over: false,
            halted: false,
            workers: Vec::new(),
            queue,
            owed: Vec::new(),
            left: Left {
                crashes: scenario.crashes,
                lost: scenario.lost,
                ticks: scenario.ticks,
                edits: scenario.edits,
                halts: scenario.halts,
                orders: scenario.orders,
                recoveries: scenario.recoveries,
            },
            edits: 0,
            broken: BTreeMap::new(),
            recovered: 0,
            orders: 0,
            zombies: false,
            word_left: false,
            reached: Reached::default(),
        }
    }

    /// What may happen next.
    pub(crate) fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let mut actions = Vec::new();
        for (w, worker) in self.workers.iter().enumerate() {
            if worker.dead {
                actions.extend([Action::Land(w), Action::Vanish(w)]);
                continue;
            }
            let wants_early = self.wants_early(scenario, worker);
            if wants_early {
                actions.push(Action::ReadEarly(w));
            }
            for (c, pending) in worker.pending.iter().enumerate() {
                if pending.answer.is_some() {
                    continue;
                }
                if wants_early && matches!(pending.command, Command::Look(_)) {
                    continue;
                }
                actions.push(Action::Do(w, c));
                if self.left.lost > 0 && !pending.again {
                    let beside = worker.pending.len() > 1;
                    let troubles: &[Trouble] = match pending.command {
                        Command::Commit(_) => &[Trouble::SentAgain, Trouble::NoAnswer],
                        Command::Change(_) => &[Trouble::NoAnswer, Trouble::Denied],
                        Command::Tell => &[Trouble::NoAnswer],
                        Command::Assess | Command::Verify
                            if beside && !matches!(worker.pending[0].command, Command::Look(_)) =>
                        {
                            &[Trouble::NoAnswer]
                        }
                        _ => &[],
                    };
                    actions.extend(troubles.iter().map(|trouble| Action::Trouble(w, c, *trouble)));
                }
            }
            if self.left.crashes > 0 {
                actions.push(Action::Crash(w));
            }
        }
        let has_room = self.workers.len() < 2;
        if has_room {
            // Deliveries that differ only by number are the same.
            for (i, delivery) in self.queue.iter().enumerate() {
                let is_first = self.queue[..i].iter().all(|other| {
                    (&other.chain, other.purpose, other.tries, other.attempt)
                        != (&delivery.chain, delivery.purpose, delivery.tries, delivery.attempt)
                });
                if is_first {
                    actions.push(Action::Deliver(i));
                }
            }
            if self.left.recoveries > 0 {
                let open = self.records.iter().filter(|(id, _)| self.may_recover(id));
                actions.extend(open.map(|(id, _)| Action::Recover(id.clone())));
            }
        }
        if self.left.ticks > 0
            && self.workers.iter().all(|worker| {
                scenario.without == Some(Without::LeaseOutlastingCalls) || !worker.has_change()
            })
        {
            actions.push(Action::Tick);
        }
        if self.left.edits > 0
            && let Some(state) = self.resource
        {
            actions.extend(
                scenario
                    .kinds
                    .iter()
                    .filter(|edit| match edit {
                        Edit::Reopen => state & 1 == 0,
                        Edit::Mend => state & 1 != 0,
                        Edit::Scribble => state & HUMAN == 0,
                        Edit::Delete => true,
                    })
                    .map(|edit| Action::Edit(*edit)),
            );
        }
        if self.left.halts > 0 {
            actions.push(Action::Halt);
        }
        if self.left.orders > 0 {
            for (id, record) in &self.records {
                for order in &scenario.kinds_of_order {
                    let status = record.life.status;
                    let is_possible = match order {
                        Order::Approve => status == Status::Pending && record.order.is_none(),
                        Order::Resume => status == Status::Parked && record.order.is_none(),
                        Order::Undo => {
                            record.undoes.is_none()
                                && matches!(
                                    status,
                                    Status::Fixed
                                        | Status::Partial
                                        | Status::Undoing
                                        | Status::Undone
                                )
                        }
                    };
                    if is_possible {
                        actions.push(Action::Order(id.clone(), *order));
                    }
                }
            }
        }
        actions
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.workers.is_empty() && self.queue.is_empty()
    }

    pub(crate) fn act(&mut self, scenario: &Scenario, action: &Action) -> Checked {
        match action {
            Action::Deliver(i) => {
                let delivery = self.queue.remove(*i);
                self.start(scenario, delivery);
            }
            Action::Do(w, c) => self.carry_out(scenario, *w, *c, None)?,
            Action::ReadEarly(w) => {
                self.workers[*w].early = Some((self.resource, self.edits));
            }
            Action::Trouble(w, c, trouble) => {
                self.left.lost -= 1;
                self.carry_out(scenario, *w, *c, Some(*trouble))?;
            }
            Action::Crash(w) => {
                self.left.crashes -= 1;
                let delivery = self.workers[*w].delivery.clone();
                self.come_again(scenario, delivery);
                if self.workers[*w].has_change() {
                    self.workers[*w].dead = true;
                } else {
                    self.workers.remove(*w);
                }
            }
            Action::Land(w) => {
                let index =
                    self.workers[*w].pending.iter().find_map(|pending| match pending.command {
                        Command::Change(index) => Some(index),
                        _ => None,
                    });
                self.change(scenario, *w, index.unwrap())?;
                self.reached.0 |= Reached::LANDED_LATE;
                self.workers.remove(*w);
            }
            Action::Vanish(w) => {
                self.workers.remove(*w);
            }
            Action::Tick => {
                self.left.ticks -= 1;
                self.tick();
            }
            Action::Edit(edit) => {
                self.left.edits -= 1;
                self.edit(*edit);
            }
            Action::Halt => {
                self.left.halts -= 1;
                self.halted = true;
            }
            Action::Order(id, order) => {
                self.left.orders -= 1;
                self.order(id, *order);
            }
            Action::Recover(id) => {
                self.left.recoveries -= 1;
                let delivery = self.recovery(id);
                self.start(scenario, delivery);
            }
        }
        self.workers.sort_by(|a, b| a.id.cmp(&b.id));
        self.check_way_back()
    }

    /// Goes on without faults until everything is over, and looks at what is left.
    pub(crate) fn conclude(mut self, scenario: &Scenario) -> Checked {
        for round in 0..ROUNDS {
            self.tick();
            // Somebody switches the kill switch off in the end.
            self.halted &= round < 2;
            if scenario.without != Some(Without::Recovery) {
                let ids: Vec<String> = self.records.keys().cloned().collect();
                for id in ids {
                    if self.may_recover(&id) {
                        let delivery = self.recovery(&id);
                        self.run(scenario, delivery)?;
                    }
                }
            }
            for delivery in std::mem::take(&mut self.owed) {
                self.run(scenario, delivery)?;
            }
            while !self.queue.is_empty() {
                let delivery = self.queue.remove(0);
                self.run(scenario, delivery)?;
            }
            if self.owed.is_empty() && self.records.values().all(|record| !record.life.open) {
                break;
            }
        }
        self.check_end(scenario)
    }

    fn run(&mut self, scenario: &Scenario, delivery: Delivery) -> Checked {
        self.start(scenario, delivery);
        while !self.workers.is_empty() {
            if self.wants_early(scenario, &self.workers[0]) {
                self.workers[0].early = Some((self.resource, self.edits));
            }
            let c = self.workers[0].pending.iter().position(|p| p.answer.is_none()).unwrap();
            self.carry_out(scenario, 0, c, None)?;
            self.check_way_back()?;
        }
        Ok(())
    }

    fn wants_early(&self, scenario: &Scenario, worker: &Worker) -> bool {
        scenario.without == Some(Without::LockBeforeSecondRead)
            && worker.early.is_none()
            && worker.pending.iter().any(|pending| {
                matches!(pending.command, Command::Look(_)) && pending.answer.is_none()
            })
    }

    fn tick(&mut self) {
        self.now += LEASE;
        self.zombies |= !self.workers.is_empty();
    }

    fn edit(&mut self, edit: Edit) {
        self.edits += 1;
        let Some(state) = self.resource else { return };
        match edit {
            Edit::Reopen => {
                self.resource = Some(state | 1);
                self.broken.insert(Control::A, self.edits);
                let name = format!("h{}", self.edits);
                self.queue.push(Delivery::event(&name, &name, Control::A));
            }
            Edit::Mend => self.resource = Some(state & !1),
            Edit::Scribble => self.resource = Some(state | HUMAN),
            Edit::Delete => self.resource = None,
        }
        for record in self.records.values_mut() {
            record.effects = [0; 2];
            record.undone = 0;
            record.blurred |= record.after.is_none();
        }
    }

    /// The operator writes what a person wants, and gives a hint.
    fn order(&mut self, id: &str, order: Order) {
        self.orders += 1;
        let record = self.records.get_mut(id).unwrap();
        record.order = Some(order);
        let delivery = match order {
            Order::Undo => Delivery {
                id: format!("o{}", self.orders),
                tries: 0,
                purpose: Why::Undo,
                control: record.control,
                chain: format!("undo/{id}"),
                attempt: 0,
                original: Some(id.to_owned()),
            },
            Order::Approve | Order::Resume => Delivery {
                id: format!("o{}", self.orders),
                tries: 0,
                purpose: Why::Record,
                control: record.control,
                chain: record.chain.clone(),
                attempt: record.attempt,
                original: None,
            },
        };
        self.queue.push(delivery);
    }

    /// Recovery takes up what is open and not being worked on.
    fn may_recover(&self, id: &str) -> bool {
        let record = &self.records[id];
        let is_locked = self
            .locks
            .values()
            .any(|lock| lock.holder.as_ref().is_some_and(|holder| self.now < holder.until));
        record.life.open && record.written < self.now && !is_locked
    }

    fn recovery(&mut self, id: &str) -> Delivery {
        self.recovered += 1;
        let record = &self.records[id];
        Delivery {
            id: format!("r{}", self.recovered),
            tries: 0,
            purpose: if record.undoes.is_some() { Why::Undo } else { Why::Record },
            control: record.control,
            chain: record.chain.clone(),
            attempt: record.attempt,
            original: record.undoes.clone(),
        }
    }

    fn start(&mut self, scenario: &Scenario, delivery: Delivery) {
        let id = format!("{}.{}", delivery.id, delivery.tries);
        let until = self.now + LEASE;
        let holder = Holder {
            evaluation: id.clone(),
            delivery: delivery.id.clone(),
            control: delivery.control.name().to_owned(),
            record: String::new(),
            until,
        };
        let last_start =
            if scenario.without == Some(Without::LastStart) { Millis::MAX } else { until };
        let (evaluation, next) =
            Evaluation::new(delivery.purpose.into(), holder, last_start, delivery.attempt);
        let Next::Do(commands) = next else { panic!("an evaluation that does nothing") };
        self.workers.push(Worker {
            evaluation,
            id,
            delivery,
            until,
            pending: pending(commands),
            plan: None,
            seen: None,
            read_at: self.edits,
            exempt: false,
            waited: false,
            after_halt: 0,
            statuses: BTreeMap::new(),
            missed: false,
            dead: false,
            early: None,
            held_back: None,
        });
    }

    /// Lambda delivers again what failed.
    fn come_again(&mut self, scenario: &Scenario, mut delivery: Delivery) {
        delivery.tries += 1;
        if delivery.tries <= scenario.retries {
            self.queue.push(delivery);
            self.queue.sort();
        } else {
            self.owed.push(delivery);
            self.owed.sort();
        }
    }

    fn carry_out(
        &mut self,
        scenario: &Scenario,
        w: usize,
        c: usize,
        trouble: Option<Trouble>,
    ) -> Checked {
        let command = self.workers[w].pending[c].command.clone();
        self.workers[w].missed |= matches!(trouble, Some(Trouble::NoAnswer | Trouble::Denied));
        let answer = match command {
            Command::Look(attempt) => Answer::Looked(self.look(scenario, w, attempt)),
            Command::Assess | Command::Verify if trouble.is_some() => Answer::Failed,
            Command::Assess | Command::Verify => Answer::Seen(self.assess(scenario, w)),
            Command::Judge => unreachable!("it is judged at once"),
            Command::Commit(writes) => {
                let again = self.workers[w].pending[c].again;
                let committed = self.commit(scenario, w, &writes, again)?;
                match trouble {
                    Some(Trouble::SentAgain) if committed.is_ok() => {
                        self.workers[w].pending[c].again = true;
                        return Ok(());
                    }
                    Some(Trouble::NoAnswer) => Answer::Failed,
                    _ => Answer::Committed(committed),
                }
            }
            Command::Change(index) => {
                // Of several changes the last may fail for good, the others may be left out.
                let goes_on = self.workers[w].delivery.control == Control::C && index == 0;
                if trouble == Some(Trouble::Denied) {
                    Answer::Changed(Err(Hitch { unsure: false, goes_on }))
                } else {
                    let is_there = self.change(scenario, w, index)?;
                    match trouble {
                        _ if !is_there => {
                            Answer::Changed(Err(Hitch { unsure: false, goes_on: false }))
                        }
                        Some(_) => Answer::Changed(Err(Hitch { unsure: true, goes_on })),
                        None => Answer::Changed(Ok(())),
                    }
                }
            }
            Command::Tell => {
                self.tell(scenario, w)?;
                Answer::Told(trouble.is_none())
            }
            Command::Wait => {
                let waited = std::mem::replace(&mut self.workers[w].waited, true);
                Answer::Waited(!waited)
            }
        };
        self.workers[w].pending[c].answer = Some(answer);
        self.go_on(scenario, w)
    }

    /// Steps, once every command is answered.
    fn go_on(&mut self, scenario: &Scenario, w: usize) -> Checked {
        while let Some(answers) =
            self.workers[w].pending.iter().map(|p| p.answer.clone()).collect::<Option<Vec<_>>>()
        {
            let worker = &mut self.workers[w];
            let chain = worker.delivery.chain.clone();
            let id = move |attempt: usize| format!("{chain}/{attempt}");
            let (evaluation, next) = worker.evaluation.clone().step(self.now, &id, &answers);
            worker.evaluation = evaluation;
            match next {
                Next::End(end) => return self.finish(scenario, w, &end),
                Next::Do(commands) if commands == [Command::Judge] => {
                    let exempt = worker.exempt;
                    let counts = scenario
                        .budget
                        .map(|max| Count { key: "all".to_owned(), max })
                        .into_iter()
                        .collect();
                    worker.pending = vec![Pending {
                        command: Command::Judge,
                        answer: Some(Answer::Judged(Verdict {
                            mode: scenario.mode,
                            exempt,
                            park: None,
                            too_large: false,
                            counts,
                        })),
                        again: false,
                    }];
                }
                Next::Do(commands) => {
                    if matches!(commands[0], Command::Look(_)) {
                        worker.early = None;
                    }
                    worker.statuses.extend(statuses(&commands));
                    worker.pending = pending(commands);
                    if worker.has_change() {
                        self.check_alone(scenario, w)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, scenario: &Scenario, w: usize, end: &End) -> Checked {
        let worker = self.workers.remove(w);
        match end {
            End::LeftWord => {
                self.reached.0 |= Reached::LEFT_WORD;
                self.word_left = true;
            }
            End::Changed => self.reached.0 |= Reached::REFUSED_UNDO,
            End::Halted => self.reached.0 |= Reached::HALTED,
            _ => {}
        }
        match end {
            End::Again(_) | End::Failed => {
                if scenario.lost > 0
                    && scenario.crashes + scenario.ticks + scenario.edits + scenario.halts == 0
                    && scenario.deliveries.len() == 1
                    && !worker.missed
                    && *end != End::Again(Busy::Restless)
                {
                    return violation(
                        Invariant::LostAnswer,
                        format!("{worker} ended as {end:?} though its write was made"),
                    );
                }
                self.come_again(scenario, worker.delivery);
            }
            End::Closed(Status::Failed | Status::Partial) => {
                self.reached.0 |= Reached::PARTIAL;
                if worker.delivery.tries < scenario.retries {
                    self.come_again(scenario, worker.delivery);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn look(&mut self, scenario: &Scenario, w: usize, attempt: usize) -> Looked {
        let worker = &self.workers[w];
        let id = format!("{}/{attempt}", worker.delivery.chain);
        let current = self.resource.unwrap_or_default();
        let known = |id: &String| {
            self.records.get(id).map(|record| Known {
                id: id.clone(),
                life: record.life.clone(),
                before: usize::from(record.before),
                after: record.after.map(usize::from),
                changes: record.changes,
                order: (0..record.changes).collect(),
            })
        };
        let mut record = known(&id);
        if scenario.without == Some(Without::StoredPlan)
            && let Some(known) = &mut record
            && known.life.status == Status::Applying
        {
            known.before = usize::from(current);
        }
        let mut original = worker.delivery.original.as_ref().and_then(known);
        if scenario.without == Some(Without::Comparison)
            && let Some(original) = &mut original
        {
            original.after = self.resource.map(usize::from);
        }
        let mut lock = self.locks.get(lock_key(scenario, worker)).cloned().unwrap_or_default();
        if scenario.without == Some(Without::Lease)
            && let Some(holder) = &mut lock.holder
        {
            holder.until = self.now;
        }
        let order = match scenario.without {
            Some(Without::Approval) => Some(Order::Approve),
            _ => self.records.get(&id).and_then(|record| record.order),
        };
        // Who orders an undo exempts the resource for a while.
        let control = worker.delivery.control;
        let exempt = self
            .records
            .values()
            .any(|record| record.control == control && record.order == Some(Order::Undo));
        let halted = self.halted && scenario.without != Some(Without::KillSwitch);
        self.workers[w].exempt = exempt;
        Looked { own: false, lock, record, original, order, halted }
    }

    fn assess(&mut self, scenario: &Scenario, w: usize) -> Sight {
        let (resource, edits) = (self.resource, self.edits);
        let worker = &mut self.workers[w];
        let is_second = worker.pending.iter().any(|pending| {
            matches!(&pending.command, Command::Commit(writes)
                if writes.iter().any(|write| matches!(write, Write::Take { .. })))
        });
        let (mut resource, mut edits) = (resource, edits);
        if is_second {
            match scenario.without {
                Some(Without::SecondRead) => {
                    if let Some((state, _, edits_then)) = worker.plan {
                        (resource, edits) = (Some(state), edits_then);
                    }
                }
                Some(Without::LockBeforeSecondRead) => {
                    if let Some(early) = worker.early {
                        (resource, edits) = early;
                    }
                }
                _ => {}
            }
        }
        let is_first = !worker
            .pending
            .iter()
            .any(|pending| matches!(pending.command, Command::Commit(_) | Command::Verify));
        let sight = match &worker.delivery.original {
            None => worker.delivery.control.sight(resource),
            Some(original) => match resource {
                None => Sight::Gone,
                Some(state) => Sight::There {
                    state: usize::from(state),
                    changes: usize::from(
                        self.records.get(original).is_some_and(|record| record.before != state),
                    ),
                },
            },
        };
        if let Sight::There { state, changes } = &sight {
            let state = u8::try_from(*state).unwrap();
            if is_first {
                worker.plan = Some((state, *changes, edits));
            }
            worker.seen = Some((state, edits));
        } else {
            worker.seen = None;
        }
        worker.read_at = edits;
        sight
    }

    fn commit(
        &mut self,
        scenario: &Scenario,
        w: usize,
        writes: &[Write],
        again: bool,
    ) -> Result<Result<(), Refusal>, Violation> {
        let reasons: Vec<Reason> =
            writes.iter().map(|write| self.reason(scenario, w, write, again)).collect();
        if reasons.iter().any(|reason| *reason != Reason::Fine) {
            let classified = classify(writes, &reasons);
            if classified.is_ok() {
                self.reached.0 |= Reached::RECOGNISED;
            }
            return Ok(match classified {
                Ok(()) => Ok(()),
                Err(Some(refusal)) => {
                    if matches!(refusal, Refusal::OverBudget(_)) {
                        self.reached.0 |= Reached::OVER_BUDGET;
                    }
                    Err(refusal)
                }
                Err(None) => unreachable!("nothing else is at the items: {reasons:?}"),
            });
        }
        let puts = writes.iter().any(|write| matches!(write, Write::Put { .. }));
        let updates = writes.iter().any(|write| matches!(write, Write::Update { .. }));
        if puts && updates && writes.iter().any(|write| matches!(write, Write::Release { .. })) {
            self.reached.0 |= Reached::RELAYED;
        }
        for write in writes {
            self.write(scenario, w, writes, write)?;
        }
        Ok(Ok(()))
    }

    /// Why DynamoDB would refuse this write.
    fn reason(&self, scenario: &Scenario, w: usize, write: &Write, again: bool) -> Reason {
        let worker = &self.workers[w];
        let without = scenario.without;
        let lock = self.locks.get(lock_key(scenario, worker));
        let found_lock =
            || Reason::Found(lock.map_or(Found::Nothing, |lock| Found::Lock(lock.clone())));
        let current = lock.cloned().unwrap_or_default();
        let (holds, found) = match write {
            Write::Take { generation, .. } => (
                current.generation == *generation || without == Some(Without::Generation),
                found_lock(),
            ),
            Write::Mark { generation } => (
                (current.generation == *generation && current.holder.is_some())
                    || without == Some(Without::HolderOfMark),
                found_lock(),
            ),
            Write::Release { generation, marks, .. } => (
                current.generation == *generation
                    && (current.marks == *marks || without == Some(Without::Marks)),
                found_lock(),
            ),
            Write::Put { id, .. } => match self.records.get(id) {
                None => (true, Reason::Fine),
                Some(record) => (
                    without == Some(Without::FirstWriterWins),
                    Reason::Found(Found::Life(unrecognised(scenario, again, &record.life))),
                ),
            },
            Write::Update { id, life } => match self.records.get(id) {
                None => (worker.held_back.is_some(), Reason::Found(Found::Nothing)),
                Some(record) => (
                    record.life.version + 1 == life.version || without == Some(Without::Version),
                    Reason::Found(Found::Life(unrecognised(scenario, again, &record.life))),
                ),
            },
            Write::Count(Count { max, .. }) => (
                self.used < *max || without == Some(Without::BudgetCondition),
                Reason::Found(Found::Count(self.used)),
            ),
            Write::Refund(_) => (true, Reason::Fine),
            Write::Running => {
                (!self.halted || without == Some(Without::KillSwitch), Reason::Found(Found::Set))
            }
            Write::FirstOver(_) => {
                (!self.told_over || without == Some(Without::FirstOver), Reason::Found(Found::Set))
            }
        };
        if holds { Reason::Fine } else { found }
    }

    fn write(&mut self, scenario: &Scenario, w: usize, writes: &[Write], write: &Write) -> Checked {
        let key = lock_key(scenario, &self.workers[w]);
        match write {
            Write::Take { generation, holder } => {
                let lock = self.locks.entry(key).or_default();
                lock.generation = generation + 1;
                lock.holder = Some(holder.clone());
                if lock.generation >= 3 {
                    self.reached.0 |= Reached::TAKEN_OVER;
                }
            }
            Write::Mark { .. } => self.locks.entry(key).or_default().marks += 1,
            Write::Release { .. } => self.locks.entry(key).or_default().holder = None,
            Write::Put { id, life } => self.put(scenario, w, writes, id, life),
            Write::Update { id, life } => self.update(scenario, w, writes, id, life)?,
            Write::Count(_) => self.used += 1,
            Write::Refund(_) => self.used = self.used.saturating_sub(1),
            Write::Running => {}
            Write::FirstOver(_) => self.told_over = true,
        }
        Ok(())
    }

    fn put(&mut self, scenario: &Scenario, w: usize, writes: &[Write], id: &str, life: &Life) {
        let worker = &self.workers[w];
        let (before, changes, planned_at) = worker.plan.expect("a record is put of what was seen");
        let (chain, attempt) = id.rsplit_once('/').expect("ids end with the attempt");
        match life.status {
            Status::Pending => self.reached.0 |= Reached::PENDING,
            Status::Exempt => self.reached.0 |= Reached::EXEMPT,
            _ => {}
        }
        let old = self.records.get(id);
        let record = Record {
            life: life.clone(),
            before,
            after: None,
            changes,
            control: worker.delivery.control,
            chain: chain.to_owned(),
            attempt: attempt.parse().unwrap(),
            undoes: worker.delivery.original.clone(),
            order: None,
            written: self.now,
            counted: writes.iter().any(|write| matches!(write, Write::Count(_))),
            effects: old.map_or([0; 2], |old| old.effects),
            ever_effective: old.is_some_and(|old| old.ever_effective),
            sealed: old.and_then(|old| old.sealed),
            undone: 0,
            planned_at,
            seen_at: planned_at,
            blurred: planned_at != self.edits,
            told: old.map_or_else(BTreeMap::new, |old| old.told.clone()),
        };
        let takes = writes.iter().any(|write| matches!(write, Write::Take { .. }));
        if scenario.without == Some(Without::WriteAhead) && takes {
            self.workers[w].held_back = Some((id.to_owned(), record));
        } else {
            self.records.insert(id.to_owned(), record);
        }
    }

    fn update(
        &mut self,
        scenario: &Scenario,
        w: usize,
        writes: &[Write],
        id: &str,
        life: &Life,
    ) -> Checked {
        if let Some((id, record)) = self.workers[w].held_back.take() {
            self.records.insert(id, record);
        }
        let worker = &self.workers[w];
        let (seen, read_at) = (worker.seen, worker.read_at);
        let is_own = worker.evaluation.record() == Some(id);
        let record = self.records.get_mut(id).expect("only what is there is updated");
        let takes = writes.iter().any(|write| matches!(write, Write::Take { .. }));
        if record.life.status == Status::Parked && takes {
            self.reached.0 |= Reached::RESUMED;
        }
        let is_new = record.life.status != life.status;
        record.life = life.clone();
        record.written = self.now;
        if scenario.without == Some(Without::StoredPlan)
            && takes
            && let Some((state, changes, _)) = worker.plan
        {
            (record.before, record.changes) = (state, changes);
        }
        let ends = matches!(life.status, Status::Fixed | Status::Partial | Status::Failed);
        if is_own && is_new && ends {
            record.after = seen.map(|(state, _)| state);
            if let Some((_, edits)) = seen {
                record.blurred |= edits != record.planned_at;
                record.seen_at = edits;
            }
        }
        match life.status {
            Status::Fixed => self.reached.0 |= Reached::FIXED,
            Status::Superseded => self.reached.0 |= Reached::SUPERSEDED,
            Status::Undone => self.reached.0 |= Reached::UNDONE,
            _ => {}
        }
        let undoes = record.undoes.clone();
        if life.status == Status::Undone
            && is_new
            && let Some(original) = undoes
        {
            let before = self.records[&original].before;
            if self.resource != Some(before) && self.edits == read_at {
                return violation(
                    Invariant::Undone,
                    format!("{original} is undone to {:?}, it was {before:b}", self.resource),
                );
            }
        }
        Ok(())
    }

    /// The resource is changed. False: there is none.
    fn change(&mut self, scenario: &Scenario, w: usize, index: usize) -> Result<bool, Violation> {
        self.check_alone(scenario, w)?;
        let worker = &mut self.workers[w];
        worker.seen = None;
        let is_undo = worker.is_undo();
        let name = worker.to_string();
        let id = worker.evaluation.record().unwrap_or_default().to_owned();
        let is_unseen = worker.read_at != self.edits;
        if self.halted && !is_undo {
            worker.after_halt += 1;
            if worker.after_halt > 1 {
                violation(Invariant::Halted, format!("{name} goes on after the kill switch"))?;
            }
        }
        let held_back = worker.held_back.clone();
        let record = self.records.get(&id).or(held_back.as_ref().map(|(_, record)| record));
        let Some(record) = record.cloned() else {
            violation(Invariant::WayBack, format!("{name} changes without a record"))?;
            return Ok(false);
        };
        let Some(state) = self.resource else { return Ok(false) };
        let control = record.control;
        let goal = match &record.undoes {
            Some(original) => self.records[original].before,
            None => match control {
                Control::A | Control::B => record.before & !control.bits(),
                Control::C => state & !control.plan(record.before)[index],
            },
        };
        let allowed = match control {
            _ if is_undo => control.bits(),
            Control::A | Control::B => control.bits(),
            Control::C => control.plan(record.before)[index],
        };
        self.resource = Some(goal);
        if goal == state {
            return Ok(true);
        }
        if !self.records.contains_key(&id) {
            violation(Invariant::WayBack, format!("{name} changes before {id} is in the ledger"))?;
        }
        let is_whole = is_undo || control != Control::C;
        let is_excused = if is_whole { is_unseen } else { record.planned_at != self.edits };
        if !record.ever_effective && record.before != state && !is_excused {
            violation(
                Invariant::WayBack,
                format!("{id} has {:b} as the way back, it is {state:b}", record.before),
            )?;
        }
        let is_blurred =
            record.undoes.as_ref().is_some_and(|original| self.records[original].blurred);
        let others = (goal ^ state) & !allowed;
        if others != 0 && !is_unseen && !is_blurred {
            violation(
                Invariant::Clobbered,
                format!("{name} writes {goal:b} over {state:b}, which is not its own"),
            )?;
        }
        match (&record.undoes, record.order, scenario.mode) {
            (None, order, Mode::Approve) if order.is_none() => {
                violation(Invariant::Approved, format!("{name} changes {id}, not approved"))?;
            }
            (None, _, Mode::Off | Mode::Observe) => {
                violation(Invariant::Approved, format!("{name} changes in mode observe"))?;
            }
            (Some(original), _, _) => {
                let original = self.records.get_mut(original).unwrap();
                original.undone += 1;
                if original.undone > 1 && !is_unseen {
                    violation(Invariant::UndoneTwice, format!("{name} undoes once more"))?;
                }
            }
            _ => {}
        }
        // What another happening breaks or mends in between may be undone once more.
        if !is_undo {
            let others: Vec<String> = self
                .records
                .values()
                .filter_map(|undo| undo.undoes.clone())
                .filter(|original| self.records[original].chain != record.chain)
                .collect();
            for other in others {
                self.records.get_mut(&other).unwrap().undone = 0;
                for undo in self.records.values_mut() {
                    if undo.undoes.as_ref() == Some(&other) {
                        undo.effects = [0; 2];
                    }
                }
            }
        }
        let record = self.records.get_mut(&id).unwrap();
        record.ever_effective = true;
        record.sealed.get_or_insert(record.before);
        record.effects[index] += 1;
        if record.effects[index] > 1 && !is_unseen {
            violation(Invariant::Twice, format!("change {index} of {id} is made once more"))?;
        }
        if let Some(max) = scenario.budget {
            let counted =
                self.records.values().filter(|record| record.counted && record.ever_effective);
            let effective = counted.count();
            if effective > usize::try_from(max).unwrap() {
                violation(Invariant::Budget, format!("{effective} changed, of {max}"))?;
            }
        }
        Ok(true)
    }

    fn tell(&mut self, scenario: &Scenario, w: usize) -> Checked {
        let is_excused =
            self.left.crashes < scenario.crashes || self.left.lost < scenario.lost || self.zombies;
        let id = self.workers[w].evaluation.record().unwrap_or_default().to_owned();
        let status = self.workers[w].statuses[&id].name();
        let record = self.records.get_mut(&id).unwrap();
        let told = record.told.entry(status).or_default();
        // How often beyond twice says nothing new.
        *told = (*told + 1).min(2);
        if *told > 1 && !is_excused {
            return violation(Invariant::Told, format!("of {id} as {status} once more"));
        }
        let over: u8 = self
            .records
            .values()
            .filter(|record| record.attempt == 0)
            .filter_map(|record| record.told.get(Status::Parked.name()))
            .sum();
        if over > 1 && !is_excused && scenario.budget.is_some() {
            return violation(Invariant::Told, "of the full budget once more");
        }
        Ok(())
    }

    fn check_alone(&self, scenario: &Scenario, w: usize) -> Checked {
        let worker = &self.workers[w];
        let lock = self.locks.get(lock_key(scenario, worker));
        let holder = lock.and_then(|lock| lock.holder.as_ref());
        if holder.is_none_or(|holder| holder.evaluation != worker.id) {
            return violation(Invariant::Alone, format!("{worker} changes without the lock"));
        }
        let others = self.workers.iter().enumerate().filter(|(i, _)| *i != w);
        for (_, other) in others {
            if other.has_change() {
                return violation(Invariant::Alone, format!("{worker} changes beside {other}"));
            }
        }
        Ok(())
    }

    fn check_way_back(&self) -> Checked {
        for (id, record) in &self.records {
            if record.sealed.is_some_and(|before| before != record.before) {
                return violation(Invariant::Overwritten, format!("the way back of {id}"));
            }
        }
        Ok(())
    }

    fn check_end(&self, scenario: &Scenario) -> Checked {
        for (id, record) in &self.records {
            if record.life.open {
                return violation(Invariant::Open, format!("{id} stays {:?}", record.life.status));
            }
            let is_undone = record.undoes.is_none()
                && matches!(record.life.status, Status::Undoing | Status::Undone);
            let status = record.life.status;
            let should_hear = status.outcome().people_should_hear() && status != Status::Parked;
            if should_hear && !is_undone && !record.told.contains_key(status.name()) {
                return violation(Invariant::Told, format!("never of {id} as {status:?}"));
            }
            let is_reversible =
                !matches!(status, Status::Pending | Status::Parked | Status::Superseded);
            if !is_reversible && record.ever_effective && self.edits == 0 {
                return violation(
                    Invariant::WayBack,
                    format!("{id} changed the resource, and stands as {status:?}"),
                );
            }
            // People heard that the undo failed, and may order it once more.
            let is_unfinished = self.records.values().any(|undo| {
                undo.undoes.as_ref() == Some(id)
                    && matches!(undo.life.status, Status::Failed | Status::Partial)
            });
            if status == Status::Undoing && !is_unfinished {
                return violation(Invariant::Open, format!("{id} is being undone for ever"));
            }
        }
        if !self.owed.is_empty() {
            return violation(Invariant::Open, format!("{:?} never ends", self.owed));
        }
        if let Some(holder) = self.locks.values().find_map(|lock| lock.holder.as_ref()) {
            return violation(Invariant::Open, format!("{holder:?} stays"));
        }
        let Some(state) = self.resource else { return Ok(()) };
        let controls: Vec<Control> =
            scenario.deliveries.iter().map(|(_, control)| *control).collect();
        for control in controls {
            let since = self.broken.get(&control).copied().unwrap_or_default();
            if state & control.bits() == 0 {
                continue;
            }
            let is_accounted_for = self.records.values().any(|record| {
                record.control == control
                    && record.undoes.is_none()
                    && match record.life.status {
                        Status::Parked
                        | Status::Pending
                        | Status::Observed
                        | Status::Exempt
                        | Status::Failed
                        | Status::Partial => record.seen_at >= since,
                        Status::Undoing | Status::Undone => record.before & control.bits() != 0,
                        _ => false,
                    }
            });
            if !is_accounted_for {
                return violation(
                    Invariant::Lost,
                    format!("the resource stays {state:b} and nobody looks after {control:?}"),
                );
            }
        }
        Ok(())
    }
}

impl Delivery {
    fn event(id: &str, event: &str, control: Control) -> Self {
        Self {
            id: id.to_owned(),
            tries: 0,
            purpose: Why::Event,
            control,
            chain: format!("{event}/{}", control.name()),
            attempt: 0,
            original: None,
        }
    }
}

fn pending(commands: Vec<Command>) -> Vec<Pending> {
    commands.into_iter().map(|command| Pending { command, answer: None, again: false }).collect()
}

/// What a transaction says of records.
fn statuses(commands: &[Command]) -> Vec<(String, Status)> {
    let writes = commands.iter().filter_map(|command| match command {
        Command::Commit(writes) => Some(writes),
        _ => None,
    });
    writes
        .flatten()
        .filter_map(|write| match write {
            Write::Put { id, life } | Write::Update { id, life } => Some((id.clone(), life.status)),
            _ => None,
        })
        .collect()
}

fn lock_key(scenario: &Scenario, worker: &Worker) -> &'static str {
    match scenario.without {
        Some(Without::LockAcrossControls) => worker.delivery.control.name(),
        _ => "resource",
    }
}

/// As if it were somebody else's.
fn unrecognised(scenario: &Scenario, again: bool, life: &Life) -> Life {
    let mut life = life.clone();
    if again && scenario.without == Some(Without::OwnWrites) {
        life.version += 100;
    }
    life
}
