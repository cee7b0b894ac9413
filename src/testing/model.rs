//! The reference model: what RFC 6665 means a subscriber and a notifier to
//! believe, said from what stood on the wire and when, and compared with what
//! an endpoint believes.
//!
//! It knows nothing of how an endpoint works, nor of retransmissions, queues
//! and timers. A **notifier** holds a subscription that it accepted, until the
//! time it granted last or a NOTIFY of its own said terminated, in the state
//! that NOTIFY told (sections 4.2.1, 4.2.2). A **subscriber** holds a dialog
//! whose NOTIFY it accepted, in the state that the latest told, until the time
//! that a NOTIFY or a 2xx told last, or a NOTIFY said terminated (sections
//! 4.1.2, 4.1.3). Where the wire leaves room, such as a request without answer,
//! the model says nothing.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::checkers::TIMER_F;
use super::facts::{Facts, key};
use super::node::Store;
use crate::machine::{notifier, subscriber};
use crate::{Endpoint, Instant};

/// Seconds are whole on the wire.
const SECOND: Duration = Duration::from_secs(2);
/// A message may wait for as long on a connection that is slow or opens.
const STREAM: Duration = Duration::from_secs(60);
/// The longest subscription.
const LONGEST: Duration = Duration::from_secs(7_200);
/// As long as damaged messages may be believed.
const DAMAGE: Duration = LONGEST;
/// A dialog that has ended is remembered for so long.
const MEMORY: Duration = Duration::from_secs(600);

/// What a subscription is, in the words of Subscription-State.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Pending,
    Active,
    Over,
    /// A state that is none of RFC 6665's.
    Other,
}

impl Told {
    fn read(facts: &Facts<'_>) -> Self {
        match facts.substate() {
            b"pending" => Self::Pending,
            b"active" => Self::Active,
            b"terminated" => Self::Over,
            _ => Self::Other,
        }
    }
}

/// A subscription of somebody else, at its notifier.
#[derive(Debug, Clone)]
struct Granted {
    /// The subscriber's tag.
    tag: u64,
    /// Of the SUBSCRIBE that was accepted last.
    cseq: u32,
    until: Instant,
    /// A later refresh that came over a connection, and until when it asks: its
    /// 2xx may wait there, or be lost with it, while a NOTIFY takes another.
    refresh: Option<(u32, Instant)>,
    told: Told,
    /// The NOTIFY that was sent last, and when first, until it is answered with 2xx.
    open: Option<(u64, Instant)>,
    slack: Duration,
}

/// A subscription of its own, at a subscriber.
#[derive(Debug, Clone)]
struct Held {
    /// Call-ID and the node's own tag: what forks share.
    attempt: u64,
    /// Of the latest NOTIFY that was accepted.
    cseq: u32,
    told: Told,
    /// Until when, as the latest NOTIFY and the latest 2xx told.
    notified: Option<Instant>,
    answered: Option<Instant>,
    /// When something was heard last.
    heard: Instant,
    slack: Duration,
}

/// What a NOTIFY told, as it came.
#[derive(Debug, Clone, Copy)]
struct Came {
    told: Told,
    expires: Option<u32>,
    /// Over a connection: its answer may wait there long after it was taken.
    stream: bool,
}

/// A SUBSCRIBE of its own.
#[derive(Debug, Clone)]
struct Asked {
    /// Call-ID and the node's own tag.
    attempt: u64,
    /// When it left first.
    at: Instant,
    expires: Option<u32>,
    /// It was outside a dialog, so that its 2xx may come from any fork.
    is_first: bool,
    is_answered: bool,
}

/// What one node must believe.
#[derive(Debug, Clone, Default)]
struct Beliefs {
    /// By Call-ID and tags, the node's own tag first.
    granted: BTreeMap<u64, Granted>,
    held: BTreeMap<u64, Held>,
    /// NOTIFYs that came and wait for their answer, by dialog and CSeq.
    came: BTreeMap<(u64, u32), Came>,
    /// SUBSCRIBEs that an answer or a NOTIFY may still come to, by branch.
    asked: BTreeMap<u64, Asked>,
    /// Nothing is claimed before: a damaged message was delivered.
    unsure_until: Option<Instant>,
    /// It came back with an older memory, of which the wire said nothing since.
    is_older: bool,
}

/// What RFC 6665 means each of several nodes to believe, from what it sent and
/// got and when; compared with what its endpoint believes. It knows nothing of
/// the implementation.
///
/// A node is a number of the caller's choice. Give it every message, through
/// [`delivered`](Self::delivered) before the endpoint gets it and
/// [`sent`](Self::sent) when the endpoint sends it, and
/// [`compare`](Self::compare) where the endpoint has nothing left to say.
#[derive(Debug, Clone, Default)]
pub struct Model {
    nodes: BTreeMap<usize, Beliefs>,
    /// Times are compared as well as states: only where no clock is set. One that
    /// is set while a node is down moves all that its snapshot remembers.
    pub(crate) times: bool,
}

fn after(now: Instant, seconds: u32) -> Instant {
    now + Duration::from_secs(seconds.into())
}

/// Whether a time is another than what was told, by more than `slack`.
fn apart(a: Instant, b: Instant, slack: Duration) -> bool {
    a > b + slack || b > a + slack
}

impl Model {
    /// A message reaches a node, at `now` on its clock. Of one that is `mangled`
    /// nobody knows what the node makes: nothing is claimed for two hours. One on
    /// a `stream` may wait there.
    pub fn delivered(&mut self, node: usize, now: Instant, facts: &Facts<'_>, mangled: bool, stream: bool) {
        let beliefs = self.nodes.entry(node).or_default();
        if mangled {
            beliefs.unsure_until = Some(now + DAMAGE);
        }
        let own = key(&[facts.call_id, facts.to_tag, facts.from_tag]);
        let answered = key(&[facts.call_id, facts.from_tag, facts.to_tag]);
        if facts.is(b"SUBSCRIBE") {
            if let Some(granted) = beliefs.granted.get_mut(&own).filter(|granted| stream && facts.cseq > granted.cseq) {
                let until = facts.expires.map_or(now + LONGEST, |seconds| after(now, seconds));
                granted.refresh = Some((facts.cseq, until));
            }
        } else if facts.is(b"NOTIFY") {
            let came = Came { told: Told::read(facts), expires: facts.state_expires(), stream };
            beliefs.came.insert((own, facts.cseq), came);
            if let Some(held) = beliefs.held.get_mut(&own).filter(|_| stream) {
                held.slack = STREAM;
            }
        } else if facts.answers(b"NOTIFY") {
            let branch = key(&[facts.branch]);
            if let Some(granted) = beliefs.granted.get_mut(&answered)
                && let Some((_, at)) = granted.open.filter(|(open, _)| *open == branch)
            {
                // The first final answer counts, if it is in time; after a refusal nothing is certain.
                let taken = facts.status < 300 && now < at + TIMER_F;
                granted.open = (!taken).then_some((!branch, at));
            }
        } else if facts.answers(b"SUBSCRIBE") {
            // A second answer, or one that comes too late, tells nothing (RFC 3261 section 17.1.2).
            let asked = beliefs.asked.get_mut(&key(&[facts.branch])).filter(|asked| !asked.is_answered);
            let Some(asked) = asked else { return };
            asked.is_answered = true;
            if facts.status >= 300 || now > asked.at + TIMER_F {
                return;
            }
            let asked = asked.clone();
            // No more than was asked for.
            let granted = facts.expires.map(|granted| granted.min(asked.expires.unwrap_or(granted)));
            let until = granted.map(|seconds| after(now, seconds));
            let attempt = key(&[facts.call_id, facts.from_tag]);
            for held in beliefs.held.values_mut().filter(|held| asked.is_first && held.attempt == attempt) {
                held.answered = until;
            }
            // The NOTIFY may still be on its way, or have come in a life before.
            let told = if beliefs.is_older { Told::Other } else { Told::Nothing };
            let nothing = Held { attempt, cseq: 0, told, notified: None, answered: None, heard: now, slack: SECOND };
            let held = beliefs.held.entry(answered).or_insert(nothing);
            held.answered = until;
            held.heard = now;
            held.slack = held.slack.max(if stream { STREAM } else { SECOND });
        }
    }

    /// A node sends a message, the first time or again. What it may not say, if it does.
    pub fn sent(&mut self, node: usize, now: Instant, facts: &Facts<'_>, stream: bool) -> Option<String> {
        let times = self.times;
        let beliefs = self.nodes.entry(node).or_default();
        let slack = if stream { STREAM } else { SECOND };
        let own = key(&[facts.call_id, facts.from_tag, facts.to_tag]);
        let answered = key(&[facts.call_id, facts.to_tag, facts.from_tag]);
        let branch = key(&[facts.branch]);
        if facts.is(b"NOTIFY") {
            // One that a node without memory speaks of is none of the model's.
            let granted = beliefs.granted.get_mut(&own)?;
            let again = granted.open.is_some_and(|(open, _)| open == branch);
            granted.slack = granted.slack.max(slack);
            granted.open = granted.open.filter(|_| again).or(Some((branch, now)));
            return if again || beliefs.unsure_until.is_some_and(|until| now < until) {
                None
            } else {
                granted.notify(now, facts, times)
            };
        }
        if facts.is(b"SUBSCRIBE") {
            let (attempt, is_first) = (key(&[facts.call_id, facts.from_tag]), facts.to_tag.is_empty());
            beliefs.asked.entry(branch).or_insert(Asked {
                attempt,
                at: now,
                expires: facts.expires,
                is_first,
                is_answered: false,
            });
        }
        if facts.answers(b"SUBSCRIBE") && facts.status < 300 && !facts.to_tag.is_empty() {
            let until = after(now, facts.expires.unwrap_or(0));
            let tag = key(&[facts.from_tag]);
            let (told, open, refresh) = (Told::Nothing, None, None);
            let new = Granted { tag, cseq: facts.cseq, until, refresh, told, open, slack };
            let granted = beliefs.granted.entry(answered).or_insert(new);
            granted.refresh = granted.refresh.filter(|(cseq, _)| *cseq > facts.cseq);
            // The same answer again grants nothing, nor does that of an earlier request.
            if facts.cseq > granted.cseq {
                granted.cseq = facts.cseq;
                granted.until = until;
            }
            granted.slack = granted.slack.max(slack);
        } else if facts.answers(b"SUBSCRIBE") && facts.status >= 300 {
            // What is refused grants nothing.
            if let Some(granted) = beliefs.granted.get_mut(&answered) {
                granted.refresh = granted.refresh.filter(|(cseq, _)| *cseq != facts.cseq);
            }
        } else if facts.answers(b"NOTIFY") {
            let came = beliefs.came.remove(&(answered, facts.cseq));
            let Came { told, expires, .. } = came.filter(|_| facts.status < 300)?;
            let attempt = key(&[facts.call_id, facts.to_tag]);
            let nothing = Held { attempt, cseq: 0, told, notified: None, answered: None, heard: now, slack };
            let held = beliefs.held.entry(answered).or_insert(nothing);
            // A late answer to a NOTIFY that came twice tells nothing new.
            if facts.cseq > held.cseq || held.told == Told::Nothing {
                held.cseq = facts.cseq;
                held.told = told;
                held.notified = expires.map(|seconds| after(now, seconds)).or(held.notified);
                held.heard = now;
            }
            held.slack = held.slack.max(slack);
        }
        None
    }

    /// A node comes back after a crash: without its memory, nothing that the
    /// wire told it counts.
    pub fn restarted(&mut self, node: usize, store: Store) {
        let Some(beliefs) = self.nodes.get_mut(&node) else { return };
        if store != Store::Intact {
            *beliefs = Beliefs { unsure_until: beliefs.unsure_until, is_older: true, ..Beliefs::default() };
        }
        // What came just before may have been taken, and the answer lost.
        beliefs.came.clear();
        beliefs.asked.clear();
    }

    /// Compares what `endpoint` believes with what the wire told it. `dialog`
    /// names the dialog ([`Facts::dialog`] of the NOTIFY) of a subscription whose
    /// NOTIFY the application was told; a subscription without is passed over.
    ///
    /// Returns the number of comparisons.
    ///
    /// # Errors
    ///
    /// Where they differ, in words.
    pub fn compare(
        &mut self,
        node: usize,
        now: Instant,
        endpoint: &Endpoint,
        dialog: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, String> {
        let times = self.times;
        let Some(beliefs) = self.nodes.get_mut(&node) else { return Ok(0) };
        beliefs.forget(now);
        if beliefs.unsure_until.is_some_and(|until| now < until) {
            return Ok(0);
        }
        let mut compared = 0u64;
        for id in endpoint.watchers() {
            let Ok(info) = endpoint.watcher(id) else { continue };
            let Some(tag) = tag_of(info.from) else { continue };
            let all = || beliefs.granted.values().filter(|granted| granted.tag == tag);
            // It was accepted, but the answer waits; or the node lost its memory.
            if all().next().is_none() {
                continue;
            }
            compared = compared.saturating_add(1);
            if !all().any(|granted| granted.allows(info.state, Some(info.expires_at).filter(|_| times))) {
                let known: alloc::vec::Vec<&Granted> = all().collect();
                return Err(format!("{id} is {:?} until {}, but the wire says {known:?}", info.state, info.expires_at));
            }
        }
        // One whose NOTIFYs are withheld ends in silence.
        let all_sent = endpoint.stats().withheld == 0;
        for granted in beliefs.granted.values().filter(|granted| times && all_sent && granted.is_certain(now)) {
            compared = compared.saturating_add(1);
            let fits = |id| endpoint.watcher(id).is_ok_and(|info| tag_of(info.from) == Some(granted.tag));
            if !endpoint.watchers().any(fits) {
                return Err(format!("a subscription is not held that was granted: {granted:?}, it is {now}"));
            }
        }
        for id in endpoint.subscriptions() {
            let Ok(info) = endpoint.subscription(id) else { continue };
            let Some(dialog) = dialog(id.as_u64()) else { continue };
            let Some(held) = beliefs.held.get(&dialog) else { continue };
            if info.retry_at.is_some() || beliefs.is_answering(dialog, held) {
                continue;
            }
            compared = compared.saturating_add(1);
            // A refresh whose answer or NOTIFY may still come keeps it alive (6665-SSM-23).
            let waits = beliefs.asked.values().any(|asked| asked.attempt == held.attempt);
            if !held.allows(info.state, info.expires_at, Some(now).filter(|_| times), waits) {
                let (state, until) = (info.state, info.expires_at);
                return Err(format!("{id} is {state:?} until {until:?}, but the wire says {held:?}"));
            }
        }
        Ok(compared)
    }
}

impl Granted {
    /// The node tells its subscriber.
    fn notify(&mut self, now: Instant, facts: &Facts<'_>, times: bool) -> Option<String> {
        let before = self.told;
        self.told = Told::read(facts);
        let seconds = facts.state_expires();
        let until = after(now, seconds.unwrap_or(0));
        let broken = match self.told {
            Told::Over if seconds.is_some() => Some("an end with time left"),
            Told::Over => None,
            _ if before == Told::Over => Some("a live NOTIFY after the end"),
            Told::Pending if before == Told::Active => Some("pending after active"),
            // What is withheld from an address without proof may leave with a late retransmission.
            _ if times && until > self.latest() + self.slack + TIMER_F => Some("more time than was granted"),
            _ => None,
        };
        // A notifier may shorten (section 4.2.2).
        if self.told != Told::Over && until + SECOND < self.until {
            self.until = until;
        }
        broken.map(|what| format!("{what}: {}, but {self:?}", String::from_utf8_lossy(facts.state)))
    }

    /// Until when it may have granted.
    fn latest(&self) -> Instant {
        self.refresh.map_or(self.until, |(_, until)| self.until.max(until))
    }

    /// Whether a notifier may believe that.
    fn allows(&self, state: notifier::State, until: Option<Instant>) -> bool {
        match (state, self.told) {
            // The NOTIFY that says so may not have left yet.
            (notifier::State::Terminated, _) => true,
            (_, Told::Over) => false,
            (notifier::State::Pending, Told::Active) => false,
            // The 2xx that grants more may wait, or be lost with its connection.
            _ if self.slack >= STREAM => true,
            // A time that was shortened is told by a NOTIFY that may wait.
            _ => until.is_none_or(|until| until <= self.until + self.slack),
        }
    }

    /// Whether the notifier must hold it: it was accepted, the latest NOTIFY was
    /// taken, and its time has not come. One on a connection may end with that.
    fn is_certain(&self, now: Instant) -> bool {
        let is_told = matches!(self.told, Told::Active | Told::Pending) && self.open.is_none();
        is_told && self.slack < STREAM && now + self.slack < self.until
    }
}

impl Held {
    /// Whether a subscriber may believe that.
    fn allows(&self, state: subscriber::State, until: Option<Instant>, now: Option<Instant>, waits: bool) -> bool {
        let told = match state {
            // Without times nothing is claimed of a dialog that the model has not seen from its start.
            _ if now.is_none() && self.told == Told::Nothing => true,
            subscriber::State::Active => matches!(self.told, Told::Active | Told::Other),
            subscriber::State::Pending => matches!(self.told, Told::Pending | Told::Other),
            // What it waits for is another NOTIFY.
            _ => return self.told != Told::Over,
        };
        let Some(now) = now else { return told };
        let fits = |told: Option<Instant>| match (told, until) {
            (Some(told), Some(until)) => !apart(told, until, self.slack),
            _ => false,
        };
        // A NOTIFY without a time counts from then on, for as long as the package says (6665-BC-2).
        let silent = self.notified.is_none() && (self.answered.is_none() || self.told != Told::Nothing);
        let late = !waits && until.is_some_and(|until| until + self.slack < now);
        told && !late && (silent || fits(self.notified) || fits(self.answered))
    }
}

impl Beliefs {
    /// Whether a later NOTIFY than the model counts may have been taken, its
    /// answer waiting for room on its connection.
    fn is_answering(&self, dialog: u64, held: &Held) -> bool {
        self.came.range((dialog, held.cseq.saturating_add(1))..=(dialog, u32::MAX)).any(|(_, came)| came.stream)
    }

    /// Drops what can be compared with nothing any more.
    fn forget(&mut self, now: Instant) {
        self.granted.retain(|_, granted| now < granted.until + MEMORY);
        self.held.retain(|_, held| {
            let until = held.notified.max(held.answered).unwrap_or(held.heard);
            now < until.max(held.heard) + MEMORY
        });
        self.asked.retain(|_, asked| now <= asked.at + TIMER_F + SECOND);
        if self.came.len() > 256 {
            self.came.clear();
        }
    }
}

/// The key of the tag in the value of a From field.
fn tag_of(from: &[u8]) -> Option<u64> {
    let at = from.windows(5).rposition(|w| w == b";tag=")?;
    let tag = from.get(at.saturating_add(5)..)?.split(|b| *b == b';').next()?;
    Some(key(&[tag]))
}

#[cfg(test)]
mod tests;
