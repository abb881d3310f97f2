//! Breadth first, every state once.

use std::{
    collections::{HashSet, VecDeque},
    fmt::Write as _,
    hash::{Hash, Hasher},
};

use crate::world::{Action, Invariant, Reached, Scenario, World};

/// More than any scenario should have: the search is to end.
const MOST: usize = 1_500_000;

#[derive(Debug)]
pub(crate) struct Searched {
    pub(crate) states: usize,
    pub(crate) ends: usize,
    pub(crate) reached: Reached,
    pub(crate) broken: Option<Broken>,
    /// What was broken that was not looked for.
    pub(crate) others: Vec<Invariant>,
}

#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) invariant: Invariant,
    pub(crate) trace: String,
}

/// Until an invariant is broken, or the wanted one if others are, too.
pub(crate) fn search(scenario: &Scenario, wanted: Option<Invariant>) -> Searched {
    let mut others = Vec::new();
    let mut is_wanted = |invariant| {
        let is_wanted = wanted.is_none_or(|wanted| wanted == invariant);
        if !is_wanted && !others.contains(&invariant) {
            others.push(invariant);
        }
        is_wanted
    };
    let first = World::new(scenario);
    let mut seen = HashSet::from([fingerprint(&first)]);
    let mut parents: Vec<(usize, Option<Action>)> = vec![(0, None)];
    let mut queue = VecDeque::from([(first, 0)]);
    let mut reached = 0;
    let mut ends = 0;
    while let Some((world, at)) = queue.pop_front() {
        reached |= world.reached.0;
        if world.is_at_rest() {
            ends += 1;
            if let Err(violation) = world.clone().conclude(scenario)
                && is_wanted(violation.invariant)
            {
                return Searched {
                    states: seen.len(),
                    ends,
                    reached: Reached(reached),
                    broken: Some(Broken {
                        invariant: violation.invariant,
                        trace: trace(scenario, &parents, at, None, &violation.story),
                    }),
                    others,
                };
            }
        }
        for action in world.actions(scenario) {
            let mut next = world.clone();
            if let Err(violation) = next.act(scenario, &action) {
                if !is_wanted(violation.invariant) {
                    continue;
                }
                return Searched {
                    states: seen.len(),
                    ends,
                    reached: Reached(reached),
                    broken: Some(Broken {
                        invariant: violation.invariant,
                        trace: trace(scenario, &parents, at, Some(action), &violation.story),
                    }),
                    others,
                };
            }
            if seen.insert(fingerprint(&next)) {
                assert!(seen.len() <= MOST, "more states than can be searched");
                parents.push((at, Some(action)));
                queue.push_back((next, parents.len() - 1));
            }
        }
    }
    Searched { states: seen.len(), ends, reached: Reached(reached), broken: None, others }
}

fn trace(
    scenario: &Scenario,
    parents: &[(usize, Option<Action>)],
    mut at: usize,
    last: Option<Action>,
    story: &str,
) -> String {
    let is_at_rest = last.is_none();
    let mut actions: Vec<Action> = last.into_iter().collect();
    while let (parent, Some(action)) = &parents[at] {
        actions.push(action.clone());
        at = *parent;
    }
    actions.reverse();
    let mut world = World::new(scenario);
    let mut text = String::new();
    for action in actions {
        let who = match &action {
            Action::Do(w, c) | Action::Trouble(w, c, _) => {
                let worker = &world.workers[*w];
                format!("{worker}: {}", worker.doing(*c))
            }
            Action::Crash(w) | Action::Land(w) | Action::Vanish(w) | Action::ReadEarly(w) => {
                world.workers[*w].to_string()
            }
            _ => String::new(),
        };
        writeln!(text, "{action:?} {who}").unwrap();
        let _ = world.act(scenario, &action);
        writeln!(text, "    now {} resource {:?}", world.now, world.resource).unwrap();
    }
    if is_at_rest {
        writeln!(text, "and nothing else").unwrap();
    }
    for (id, record) in &world.records {
        writeln!(text, "  {id}: {:?} before {:b}", record.life, record.before).unwrap();
    }
    writeln!(text, "  {:?}", world.locks).unwrap();
    writeln!(text, "{story}").unwrap();
    text
}

/// 128 bits: of a million states no two have the same by chance.
fn fingerprint(world: &World) -> u128 {
    let mut hasher = Fingerprint(0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);
    world.hash(&mut hasher);
    let low = mixed(hasher.0 ^ hasher.1.rotate_left(17));
    let high = mixed(hasher.1.wrapping_add(hasher.0.rotate_left(41)));
    u128::from(high) << 64 | u128::from(low)
}

struct Fingerprint(u64, u64);

impl Fingerprint {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.0 ^= self.0 >> 29;
        self.1 = (self.1.rotate_left(23) ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.1 ^= self.1 >> 31;
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0 ^ self.1
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
        self.add(u64::try_from(bytes.len()).unwrap());
    }

    fn write_u8(&mut self, word: u8) {
        self.add(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.add(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_i64(&mut self, word: i64) {
        self.add(u64::from_le_bytes(word.to_le_bytes()));
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.add(u64::from_le_bytes((word as i64).to_le_bytes()));
    }
}

fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}
