//! Breadth-first search, layer by layer. States are told apart by a canonical
//! digest, so what differs only in names is visited once.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use crate::Setup;
use crate::node::{Fast, Nodes};
use crate::world::{Action, World};

/// Steps within which a world has to come to rest.
const CALM: u32 = 1_000;
/// Time within which it has to: what is left of a subscription, and several
/// attempts at a new one.
const CALM_TIME: Duration = Duration::from_secs(3_600);

pub struct Report {
    pub states: usize,
    pub transitions: u64,
    pub depth: u32,
    /// Nothing new is left within the depth.
    pub exhausted: bool,
    /// Nothing new is left at all.
    pub complete: bool,
    /// States that were followed until both sides agreed.
    pub settled: usize,
    pub nodes: usize,
    pub runs: usize,
    pub violation: Option<String>,
    pub seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frontier = match (self.complete, self.exhausted) {
            (true, _) => "nothing is left",
            (_, true) => "exhausted to this depth",
            _ => "cut",
        };
        write!(
            f,
            "{} states, {} transitions, depth {}, {frontier}; {} states followed to rest; {} states of one node, {} \
             runs of the code; {:.1} s",
            self.states, self.transitions, self.depth, self.settled, self.nodes, self.runs, self.seconds
        )
    }
}

struct Search {
    nodes: Nodes,
    seen: HashSet<u64, Fast>,
    /// From which state, by which action.
    parents: Vec<(u32, Action)>,
    /// Worlds known to come to rest.
    calm: HashSet<u64, Fast>,
    transitions: u64,
}

/// What stops a search early.
struct Broken {
    rule: String,
    steps: Vec<Action>,
}

// How long it took is for the report alone.
#[allow(clippy::disallowed_methods)]
pub fn search(setup: Setup, depth: u32, limit: usize) -> Report {
    let began = Instant::now();
    let mut nodes = Nodes::new(setup);
    let start = World::new(setup, &mut nodes);
    let mut search = Search {
        nodes,
        seen: HashSet::default(),
        parents: vec![(0, Action::Timer)],
        calm: HashSet::default(),
        transitions: 0,
    };
    search.seen.insert(start.digest(&search.nodes).1);
    let mut layer = vec![(start.clone(), 0)];
    let (mut reached, mut broken) = (0, None);
    while reached < depth && !layer.is_empty() && search.seen.len() < limit && broken.is_none() {
        let mut next = Vec::new();
        for (world, at) in layer {
            if let Err(found) = search.expand(&world, at, &mut next, limit) {
                broken = Some(found);
                break;
            }
        }
        layer = next;
        reached += 1;
    }
    let (nodes, runs) = search.nodes.counts();
    Report {
        states: search.seen.len(),
        transitions: search.transitions,
        depth: reached,
        exhausted: search.seen.len() < limit,
        complete: layer.is_empty(),
        settled: search.calm.len(),
        nodes,
        runs,
        violation: broken.map(|broken| format!("{}\n{}", broken.rule, tell(start, &mut search.nodes, &broken.steps))),
        seconds: began.elapsed().as_secs_f64(),
    }
}

impl Search {
    /// Takes every step from one state.
    fn expand(&mut self, world: &World, at: u32, next: &mut Vec<(World, u32)>, limit: usize) -> Result<(), Broken> {
        let mut actions = Vec::new();
        world.actions(&self.nodes, &mut actions);
        for action in actions {
            if self.seen.len() >= limit {
                return Ok(());
            }
            let mut after = world.clone();
            match after.step(&mut self.nodes, action) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(rule) => return Err(Broken { rule, steps: self.path(at, &[action]) }),
            }
            self.transitions += 1;
            let (core, whole) = after.digest(&self.nodes);
            if self.seen.insert(whole) {
                self.rest(&after, core).map_err(|(rule, more)| {
                    let steps: Vec<Action> = std::iter::once(action).chain(more).collect();
                    Broken { rule, steps: self.path(at, &steps) }
                })?;
                self.parents.push((at, action));
                next.push((after, self.parents.len() as u32 - 1));
            }
        }
        Ok(())
    }

    /// Follows a world in which nothing goes wrong any more, until both sides
    /// agree or it is known how it goes on.
    fn rest(&mut self, world: &World, digest: u64) -> Result<(), (String, Vec<Action>)> {
        let mut passed = vec![digest];
        let mut steps = Vec::new();
        let mut world = world.clone();
        let until = world.now() + CALM_TIME;
        loop {
            let digest = *passed.last().unwrap();
            if self.calm.contains(&digest) || world.agrees(&self.nodes) {
                self.calm.extend(passed);
                return Ok(());
            }
            if world.differs(&self.nodes) {
                return Err((format!("all is said, and they differ:\n{}", world.describe(&self.nodes)), steps));
            }
            if steps.len() as u32 >= CALM || world.now() > until {
                return Err((format!("they never agree:\n{}", world.describe(&self.nodes)), steps));
            }
            let action = world.calm();
            steps.push(action);
            world.step(&mut self.nodes, action).map_err(|rule| (rule, steps.clone()))?;
            passed.push(world.digest(&self.nodes).0);
        }
    }

    fn path(&self, at: u32, last: &[Action]) -> Vec<Action> {
        let mut steps: Vec<Action> = last.iter().rev().copied().collect();
        let mut at = at;
        while at != 0 {
            let (before, action) = self.parents[at as usize];
            steps.push(action);
            at = before;
        }
        steps.reverse();
        steps
    }
}

/// Walks a path, and draws it: the subscriber on the left, notifiers on the
/// right; what is delivered is an arrow.
fn tell(mut world: World, nodes: &mut Nodes, steps: &[Action]) -> String {
    let mut text = String::new();
    for action in steps {
        let line = match action {
            Action::Deliver(at) | Action::Duplicate(at) | Action::Lose(at) => {
                let packet = nodes.packet(world.packet(*at));
                let message = packet.describe();
                let end = match action {
                    Action::Lose(_) => "x lost",
                    Action::Duplicate(_) => "and kept",
                    _ => "",
                };
                match packet.to {
                    0 => format!("0 <--- {message:-<44} {} {end}", packet.from),
                    to => format!("0 ---- {message:-<43}> {to} {end}"),
                }
            }
            action => format!("* {action:?}"),
        };
        text.push_str(&format!("{:>14} {line}\n", world.now().to_string()));
        if world.step(nodes, *action).is_err() {
            break;
        }
    }
    format!("{text}{}", world.describe(nodes))
}
