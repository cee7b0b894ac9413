//! The rules that hold after every step, whatever the network did.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::facts::{Facts, key};
use super::invariant::{Invariant, Violation};
use super::model::Model;
use super::node::Store;
use crate::event::SubscriptionState;
use crate::{Endpoint, Event, Flow, Instant, StreamId};

/// 64*T1 (RFC 3261 section 17.1.2.2).
pub(crate) const TIMER_F: Duration = Duration::from_secs(32);

/// A client transaction, as seen on the wire.
#[derive(Debug, Clone)]
struct Sending {
    dialog: u64,
    sent: Instant,
    stream: Option<StreamId>,
    /// How long it may have waited before it left.
    waited: Duration,
    open: bool,
    /// Its connection closed before the answer came.
    cut: bool,
    abandoned: bool,
    bytes: u64,
}

/// One direction of a dialog, as seen from the node that sends.
#[derive(Debug, Clone, Default)]
struct Leg {
    cseq: u32,
    /// The latest request's branch.
    latest: u64,
    /// The latest request, for requests that may follow it.
    accepted: u64,
    notified: u64,
    was_accepted: bool,
    /// Seconds that the latest 2xx grants.
    granted: Option<u32>,
    /// A terminated NOTIFY was sent, or came.
    over: bool,
    /// Its answer asks for it to be sent again.
    again: bool,
}

#[derive(Debug, Clone)]
struct Asked {
    expires: Option<u32>,
    mangled: bool,
    /// The dialog of the 2xx that was sent.
    answered: u64,
    at: Instant,
}

/// A NOTIFY that has come in this step.
#[derive(Debug, Clone)]
struct Came {
    dialog: u64,
    reverse: u64,
    attempt: u64,
    notifier_tag: u64,
    cseq: u32,
    body: u64,
    /// It was damaged: what it says is anybody's guess.
    mangled: bool,
    /// A 2xx has left.
    taken: bool,
}

/// One subscription of a node, as its application sees it.
#[derive(Debug, Clone, Default)]
struct Seen {
    dialog: Option<u64>,
    notifier: Option<usize>,
    /// The notifier's tag in that dialog.
    notifier_tag: u64,
    cseq: u32,
    over: bool,
    /// The dialog as the notifier sees it.
    reverse: u64,
    /// The document that was compared last.
    compared: u64,
    /// What was told last is older than what an earlier life took: a late copy.
    behind: bool,
}

#[derive(Debug, Clone, Default)]
struct Watch {
    now: Option<Instant>,
    sending: BTreeMap<u64, Sending>,
    legs: BTreeMap<u64, Leg>,
    minted: BTreeSet<u64>,
    asked: BTreeMap<u64, Asked>,
    /// By Call-ID and remote tag: SUBSCRIBEs that came over a connection.
    waiting: BTreeMap<u64, u64>,
    seen: BTreeMap<u64, Seen>,
    gone: BTreeSet<u64>,
    /// Dialogs of subscriptions that ended, or left them for a new attempt.
    dead: BTreeSet<u64>,
    /// The latest NOTIFY of each dialog that was told.
    taken: BTreeMap<u64, u32>,
    /// The same of earlier lives, which an older memory has forgotten.
    forgotten: BTreeMap<u64, u32>,
    /// Subscriptions and watchers that were there at the last look.
    living: BTreeSet<u64>,
    watching: BTreeSet<u64>,
    /// The latest NOTIFY of each dialog that no final response has answered:
    /// its branch, and when it left.
    unanswered: BTreeMap<u64, (u64, Instant)>,
    came: Vec<Came>,
    /// Until which time of the world a connection takes nothing.
    blocked: BTreeMap<StreamId, Instant>,
    /// Damaged messages have come.
    damaged: bool,
    ticks: u64,
    /// Rules that are broken unless this connection turns out to be given up.
    suspects: Vec<(StreamId, Invariant, String)>,
}

/// The rules, and what they have to remember.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkers {
    nodes: Vec<Watch>,
    /// Which node notifies in a dialog.
    notifiers: BTreeMap<u64, usize>,
    violation: Option<Violation>,
    pub(crate) now: Option<Instant>,
    pub(crate) model: Model,
}

impl Checkers {
    pub(crate) fn add_node(&mut self) {
        self.nodes.push(Watch::default());
    }

    pub(crate) const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn fail(&mut self, invariant: Invariant, at: Instant, node: usize, detail: String) {
        self.violation.get_or_insert(Violation::new(invariant, at, node, detail));
    }

    fn complain(&mut self, node: usize, broken: Option<(Invariant, String)>) {
        if let Some((invariant, detail)) = broken {
            self.fail(invariant, self.now.unwrap_or(Instant::ZERO), node, detail);
        }
    }

    /// Who notifies a subscription, the notifier's tag in its dialog, and the
    /// dialog as the notifier sees it.
    pub(crate) fn path(&self, node: usize, subscription: u64) -> Option<(usize, u64, u64)> {
        let seen = self.nodes.get(node)?.seen.get(&subscription)?;
        Some((seen.notifier.filter(|_| !seen.behind)?, seen.notifier_tag, seen.reverse))
    }

    /// Whether a subscription was told a NOTIFY of the dialog that it has, and
    /// not just a late copy of what an earlier life had taken.
    pub(crate) fn has_dialog(&self, node: usize, subscription: u64) -> bool {
        self.nodes
            .get(node)
            .and_then(|watch| watch.seen.get(&subscription))
            .is_some_and(|seen| seen.dialog.is_some() && !seen.behind)
    }

    /// A message reaches a node.
    pub(crate) fn delivered(&mut self, node: usize, now: Instant, message: &[u8], mangled: bool, stream: bool) {
        let Some(watch) = self.nodes.get_mut(node) else { return };
        watch.advance(now);
        watch.came.clear();
        watch.damaged |= mangled;
        // What lost its end may be believed all the same.
        let torn = if mangled { [message, b"\r\n\r\n"].concat() } else { Vec::new() };
        let Some(facts) = Facts::read(message).or_else(|| Facts::read(&torn)) else { return };
        self.model.delivered(node, watch.now.unwrap_or(now), &facts, mangled, stream);
        if facts.status >= 200 {
            let mut again = None;
            let dialog = key(&[facts.call_id, facts.from_tag, facts.to_tag]);
            let branch = key(&[facts.branch]);
            if let Some(sending) = watch.sending.get_mut(&branch) {
                sending.open = false;
                // A proxy repeats what was damaged on its way to it, and nothing shows that but the text.
                let method = facts.answers(b"NOTIFY") || facts.answers(b"SUBSCRIBE");
                again = Some((sending.dialog, mangled || !method || dialog != sending.dialog));
                if watch.unanswered.get(&sending.dialog).is_some_and(|(latest, _)| *latest == branch) {
                    watch.unanswered.remove(&sending.dialog);
                }
            }
            if let Some((dialog, damaged)) = again
                && let Some(leg) = watch.legs.get_mut(&dialog)
            {
                // What is damaged, be it the method in CSeq, may have been dropped, and a restart says it again.
                leg.again |= facts.status >= 300 || damaged || (leg.latest == branch && leg.cseq != facts.cseq);
            }
        } else if facts.is(b"SUBSCRIBE") {
            let now = watch.now.unwrap_or(now);
            let asked = watch.asked.entry(request_key(&facts)).or_insert(Asked {
                expires: facts.expires,
                mangled,
                answered: 0,
                at: now,
            });
            asked.mangled |= mangled;
            if stream {
                // Its 2xx may wait for room on that connection while the NOTIFY takes another way.
                watch.ticks = watch.ticks.saturating_add(1);
                watch.waiting.insert(key(&[facts.call_id, facts.from_tag]), watch.ticks);
            }
        } else if facts.is(b"NOTIFY") {
            watch.came.push(Came {
                dialog: key(&[facts.call_id, facts.to_tag, facts.from_tag]),
                reverse: key(&[facts.call_id, facts.from_tag, facts.to_tag]),
                attempt: key(&[facts.call_id, facts.to_tag]),
                notifier_tag: key(&[facts.from_tag]),
                cseq: facts.cseq,
                body: key(&[facts.body]),
                mangled,
                taken: false,
            });
        }
    }

    /// A connection of a node is closed: what was open on it has failed. The
    /// last NOTIFY may be said again by another way (INT-11).
    pub(crate) fn stream_closed(&mut self, node: usize, stream: StreamId) {
        let Some(watch) = self.nodes.get_mut(node) else { return };
        watch.blocked.remove(&stream);
        watch.suspects.retain(|suspect| suspect.0 != stream);
        let is_open = |sending: &Sending| sending.open && sending.stream == Some(stream);
        for leg in watch.legs.values_mut() {
            leg.again |= leg.over && watch.sending.get(&leg.latest).is_some_and(is_open);
        }
        for sending in watch.sending.values_mut().filter(|sending| sending.stream == Some(stream)) {
            sending.cut |= core::mem::replace(&mut sending.open, false);
        }
    }

    /// What a node sent did not leave its socket: it has failed, as if 503 had
    /// come (RFC 3261 section 8.1.3.1).
    pub(crate) fn failed(&mut self, node: usize, message: &[u8]) {
        let (Some(watch), Some(facts)) = (self.nodes.get_mut(node), Facts::read(message)) else { return };
        let branch = key(&[facts.branch]);
        if facts.status == 0
            && let Some(sending) = watch.sending.get_mut(&branch)
        {
            sending.cut |= core::mem::replace(&mut sending.open, false);
            for leg in watch.legs.values_mut().filter(|leg| leg.latest == branch) {
                leg.again |= leg.over;
            }
        }
    }

    /// A node has said all that it has to say to one input: what the end of a
    /// connection would have explained stays unexplained.
    pub(crate) fn has_said_all(&mut self, node: usize) {
        let Some(watch) = self.nodes.get_mut(node) else { return };
        let suspects = core::mem::take(&mut watch.suspects);
        let kept = |came: &&Came| {
            let told = watch.taken.get(&came.dialog).is_some_and(|cseq| came.cseq <= *cseq);
            came.taken && !came.mangled && !told
        };
        let kept = watch.came.iter().find(kept).map(|came| format!("NOTIFY {} was taken, but not told", came.cseq));
        for (_, invariant, detail) in suspects {
            self.complain(node, Some((invariant, detail)));
        }
        self.complain(node, kept.map(|detail| (Invariant::NotifyOnce, detail)));
    }

    /// A connection of a node takes nothing until then (world time).
    pub(crate) fn blocked(&mut self, node: usize, stream: StreamId, until: Instant) {
        if let Some(watch) = self.nodes.get_mut(node) {
            watch.blocked.insert(stream, until);
        }
    }

    /// A node sends a message.
    pub(crate) fn sent(&mut self, node: usize, now: Instant, world: Instant, flow: &Flow, message: &[u8]) {
        self.now = Some(world);
        if matches!(message, b"\r\n" | b"\r\n\r\n") {
            return;
        }
        let Some(watch) = self.nodes.get_mut(node) else { return };
        let now = watch.advance(now);
        let Some(facts) = Facts::read(message).filter(Facts::is_whole) else {
            // A refusal of a damaged request copies what is left of it.
            if watch.damaged && (message.starts_with(b"SIP/2.0 4") || message.starts_with(b"SIP/2.0 5")) {
                return;
            }
            let text = String::from_utf8_lossy(message).into_owned();
            self.complain(node, Some((Invariant::WellFormed, text)));
            return;
        };
        let broken = match facts.status {
            0 => watch.request(now, world, flow, &facts, message),
            _ => watch.response(&facts),
        };
        if facts.is(b"NOTIFY") {
            self.notifiers.insert(key(&[facts.call_id, facts.from_tag, facts.to_tag]), node);
        }
        self.complain(node, broken);
        let belief = self.model.sent(node, now, &facts, flow.stream.is_some());
        self.complain(node, belief.map(|detail| (Invariant::Model, detail)));
    }

    /// Compares what a node believes with the reference model. How often.
    pub(crate) fn compare(&mut self, node: usize, endpoint: &Endpoint) -> u64 {
        let Some(watch) = self.nodes.get(node) else { return 0 };
        let Some(now) = watch.now else { return 0 };
        let dialog = |id| watch.seen.get(&id).and_then(|seen| seen.dialog);
        match self.model.compare(node, now, endpoint, dialog) {
            Ok(compared) => compared,
            Err(detail) => {
                self.complain(node, Some((Invariant::Model, detail)));
                0
            }
        }
    }

    /// A node's application is told something.
    pub(crate) fn told(&mut self, node: usize, event: &Event) {
        let Some(watch) = self.nodes.get_mut(node) else { return };
        let broken = watch.told(event, &self.notifiers);
        self.complain(node, broken);
    }

    /// What there is at a node now: what is not there any more has been told
    /// to be over.
    pub(crate) fn present(&mut self, node: usize, endpoint: &Endpoint) {
        let Some(watch) = self.nodes.get_mut(node) else { return };
        let living: BTreeSet<u64> = endpoint.subscriptions().map(crate::SubscriptionId::as_u64).collect();
        let watching: BTreeSet<u64> = endpoint.watchers().map(crate::WatcherId::as_u64).collect();
        let lost = watch.living.difference(&living).find(|id| watch.seen.get(id).is_none_or(|seen| !seen.over));
        let lost = lost.map(|id| format!("subscription {id:x} is gone without a word"));
        let left = watch.watching.difference(&watching).find(|id| !watch.gone.contains(id));
        let left = left.map(|id| format!("watcher {id:x} is gone without a word"));
        watch.living = living;
        watch.watching = watching;
        self.complain(node, lost.or(left).map(|detail| (Invariant::OneEnd, detail)));
    }

    /// Whether a watcher of `node`, other than the one in `dialog`, has kept
    /// silent on a NOTIFY for `time` and more.
    pub(crate) fn has_silent(&mut self, node: usize, dialog: u64, time: Duration) -> bool {
        let Some(watch) = self.nodes.get_mut(node) else { return false };
        let Some(now) = watch.now else { return false };
        watch.unanswered.retain(|_, (_, sent)| *sent + TIMER_F > now);
        watch.unanswered.iter().any(|(other, (_, sent))| *other != dialog && *sent + time < now)
    }

    /// Whether this is the first look at this document of a subscription.
    pub(crate) fn first_look(&mut self, node: usize, subscription: u64, document: u64) -> bool {
        let seen = self.nodes.get_mut(node).and_then(|watch| watch.seen.get_mut(&subscription));
        seen.is_some_and(|seen| core::mem::replace(&mut seen.compared, document) != document)
    }

    /// A node moves to another address.
    pub(crate) fn moved(&mut self, node: usize) {
        if let Some(watch) = self.nodes.get_mut(node) {
            watch.loses_answers();
        }
    }

    /// A node's endpoint has got this time: none that is earlier counts for it.
    pub(crate) fn has_seen(&mut self, node: usize, now: Instant) {
        if let Some(watch) = self.nodes.get_mut(node) {
            watch.advance(now);
        }
    }

    /// A node's life begins at `now`: a clock that was set back meanwhile moves
    /// all that it remembers.
    pub(crate) fn begins(&mut self, node: usize, now: Instant) {
        if self.nodes.get(node).and_then(|watch| watch.now).is_some_and(|before| now < before) {
            self.model.restarted(node, Store::Lost);
        }
    }

    /// A node comes back after a crash.
    pub(crate) fn restarted(&mut self, node: usize, store: Store) {
        self.model.restarted(node, store);
        let Some(watch) = self.nodes.get_mut(node) else { return };
        if store == Store::Intact {
            watch.loses_answers();
            return;
        }
        // What was said goes on to bind, whatever is remembered of it.
        let mut legs = core::mem::take(&mut watch.legs);
        let mut forgotten = core::mem::take(&mut watch.forgotten);
        if store == Store::Stale {
            // It cannot know of an end that came later.
            // Nor of a shorter duration.
            for leg in legs.values_mut() {
                leg.over = false;
                leg.granted = Some(u32::MAX);
            }
            // Nor of a later NOTIFY: a copy of one before that is news to it.
            for (dialog, cseq) in core::mem::take(&mut watch.taken) {
                let latest = forgotten.entry(dialog).or_default();
                *latest = cseq.max(*latest);
            }
        }
        let minted = core::mem::take(&mut watch.minted);
        *watch = Watch { legs, minted, forgotten, damaged: watch.damaged, ..Watch::default() };
    }
}

fn request_key(facts: &Facts<'_>) -> u64 {
    let cseq = facts.cseq.to_be_bytes();
    key(&[facts.branch, facts.call_id, facts.from_tag, &cseq])
}

impl Watch {
    /// The clock as the endpoint sees it: it never goes back.
    fn advance(&mut self, now: Instant) -> Instant {
        let now = self.now.map_or(now, |before| before.max(now));
        self.now = Some(now);
        now
    }

    fn is_open(sending: &Sending, now: Instant) -> bool {
        sending.open && !sending.abandoned && now + sending.waited < sending.sent + TIMER_F
    }

    /// Nobody will hear the answers to what is open: it is said again in new
    /// requests, and so is the last NOTIFY.
    fn loses_answers(&mut self) {
        for leg in self.legs.values_mut() {
            leg.again |= leg.over && self.sending.get(&leg.latest).is_some_and(|s| s.open || s.cut);
        }
        self.sending.values_mut().for_each(|sending| sending.open = false);
    }

    /// How long a message may have waited that leaves now: its transaction, and
    /// with it Timer F, begins before a connection is opened or takes it (RFC 3261
    /// section 17.1.2.2).
    fn wait(&self, world: Instant, stream: Option<StreamId>) -> Duration {
        let Some(stream) = stream else { return Duration::from_secs(6) };
        // One that was blocked may be blocked again before all that waits has left.
        let was_blocked = self.blocked.get(&stream).is_some_and(|until| world < *until + TIMER_F);
        if was_blocked { TIMER_F } else { Duration::from_secs(20) }
    }

    fn request(
        &mut self,
        now: Instant,
        world: Instant,
        flow: &Flow,
        facts: &Facts<'_>,
        message: &[u8],
    ) -> Option<(Invariant, String)> {
        let branch = key(&[facts.branch]);
        let bytes = key(&[message]);
        let line = || {
            format!(
                "{} {} in {} from tag {} to tag {}",
                text(facts.method),
                facts.cseq,
                text(facts.call_id),
                text(facts.from_tag),
                text(facts.to_tag)
            )
        };
        if let Some(known) = self.sending.get(&branch) {
            if known.abandoned {
                return Some((Invariant::OneInFlight, format!("given up, yet sent again: {}", line())));
            }
            if known.bytes != bytes && known.stream.is_none() {
                return Some((Invariant::SameBytes, line()));
            }
            return None;
        }
        let dialog = key(&[facts.call_id, facts.from_tag, facts.to_tag]);
        let notify = facts.is(b"NOTIFY");
        if facts.is(b"SUBSCRIBE") {
            self.minted.insert(key(&[facts.call_id, facts.from_tag]));
        }
        self.prune(now);
        self.ticks = self.ticks.saturating_add(1);
        let waiting = self.waiting.get(&key(&[facts.call_id, facts.to_tag])).copied().unwrap_or(0);
        let leg = self.legs.entry(dialog).or_default();
        let known = leg.latest != 0;
        let mut broken = None;
        let previous = self.sending.get_mut(&leg.latest);
        let busy = previous.as_ref().is_some_and(|previous| Self::is_open(previous, now));
        // The node may be about to say that it gave the connection up.
        let excuse = previous.as_ref().filter(|previous| previous.open && notify && previous.stream != flow.stream);
        let excuse = excuse.and_then(|previous| previous.stream);
        if known && facts.cseq < leg.cseq {
            broken = Some((Invariant::CseqBack, format!("{} after {}", line(), leg.cseq)));
        } else if known && facts.cseq == leg.cseq && previous.as_ref().is_none_or(|p| p.sent + TIMER_F < now) {
            broken = Some((Invariant::CseqBack, format!("{} again", line())));
        } else if busy && facts.cseq > leg.cseq && !(notify && leg.accepted.max(waiting) > leg.notified) {
            let detail = format!("{} while {} is open", line(), leg.cseq);
            match excuse {
                Some(stream) => self.suspects.push((stream, Invariant::OneInFlight, detail)),
                None => broken = Some((Invariant::OneInFlight, detail)),
            }
        }
        if let Some(previous) = previous {
            previous.abandoned |= busy;
        }
        let terminated = facts.substate() == b"terminated";
        if leg.over && !(notify && terminated && (leg.again || facts.cseq == leg.cseq)) {
            match excuse.filter(|_| terminated) {
                Some(stream) => self.suspects.push((stream, Invariant::NothingAfterEnd, line())),
                None => broken = broken.or_else(|| Some((Invariant::NothingAfterEnd, line()))),
            }
        }
        if notify && !leg.was_accepted && waiting == 0 {
            broken = broken.or_else(|| Some((Invariant::AcceptedFirst, line())));
        }
        if notify && !terminated && waiting == 0 && facts.state_expires() > leg.granted {
            let detail = format!("{:?} in a NOTIFY, {:?} granted", facts.state_expires(), leg.granted);
            broken = broken.or(Some((Invariant::GrantedAboveAsked, detail)));
        }
        if notify {
            self.unanswered.insert(dialog, (branch, now));
        }
        leg.over |= notify && terminated;
        leg.again = false;
        leg.cseq = leg.cseq.max(facts.cseq);
        leg.latest = branch;
        leg.notified = self.ticks;
        let stream = flow.stream;
        let waited = self.wait(world, stream);
        let sending = Sending { dialog, sent: now, stream, waited, open: true, cut: false, abandoned: false, bytes };
        self.sending.insert(branch, sending);
        broken
    }

    fn response(&mut self, facts: &Facts<'_>) -> Option<(Invariant, String)> {
        if facts.answers(b"NOTIFY") && (200..300).contains(&facts.status) {
            let dialog = key(&[facts.call_id, facts.to_tag, facts.from_tag]);
            for came in self.came.iter_mut().filter(|came| (came.dialog, came.cseq) == (dialog, facts.cseq)) {
                came.taken = true;
            }
        }
        if !facts.answers(b"SUBSCRIBE") || facts.status >= 300 {
            return None;
        }
        let asked = self.asked.get_mut(&request_key(facts))?;
        let dialog = key(&[facts.call_id, facts.to_tag, facts.from_tag]);
        // A retransmission of the same answer allows nothing new.
        if core::mem::replace(&mut asked.answered, dialog) == dialog {
            return None;
        }
        self.ticks = self.ticks.saturating_add(1);
        let leg = self.legs.entry(dialog).or_default();
        leg.was_accepted = true;
        leg.accepted = self.ticks;
        leg.granted = facts.expires;
        match (facts.expires, asked.expires) {
            (None, _) => Some((Invariant::GrantedAboveAsked, String::from("2xx without Expires"))),
            (Some(granted), Some(asked_for)) if granted > asked_for && !asked.mangled => {
                Some((Invariant::GrantedAboveAsked, format!("{granted} granted, {asked_for} asked")))
            }
            _ => None,
        }
    }

    fn told(&mut self, event: &Event, notifiers: &BTreeMap<u64, usize>) -> Option<(Invariant, String)> {
        let id = match event {
            Event::Accepted { subscription, .. }
            | Event::Notify { subscription, .. }
            | Event::Retrying { subscription, .. }
            | Event::RefreshFailed { subscription, .. }
            | Event::Terminated { subscription, .. } => subscription.as_u64(),
            Event::WatcherGone { watcher, .. } => {
                let again = !self.gone.insert(watcher.as_u64());
                return again.then(|| (Invariant::OneEnd, format!("{watcher} is gone twice")));
            }
            Event::Refreshed { watcher, .. } | Event::Notified { watcher, .. }
                if self.gone.contains(&watcher.as_u64()) =>
            {
                return Some((Invariant::OneEnd, format!("{watcher} is gone, yet {event:?}")));
            }
            _ => return None,
        };
        if self.seen.get(&id).is_some_and(|seen| seen.over) {
            return Some((Invariant::OneEnd, format!("{event:?} after the end")));
        }
        match event {
            Event::Notify { state, cseq, body, .. } => {
                let body = body.as_ref().map_or(key(&[b""]), |body| key(&[&body.data]));
                let fits = |came: &Came| came.mangled || (came.cseq == *cseq && came.body == body);
                let Some(at) = self.came.iter().position(fits) else {
                    return Some((Invariant::NotifyOnce, format!("{event:?} has not come")));
                };
                let came = self.came.remove(at);
                self.taken.insert(came.dialog, *cseq);
                if came.mangled {
                    let seen = self.seen.entry(id).or_default();
                    let order = seen.dialog.is_some() && *cseq <= seen.cseq;
                    seen.cseq = *cseq;
                    return order.then(|| (Invariant::NotifyOrder, format!("{event:?} came again")));
                }
                if !self.minted.contains(&came.attempt) {
                    return Some((Invariant::ForeignDialog, format!("{event:?}: no SUBSCRIBE of ours")));
                }
                if self.dead.contains(&came.dialog) {
                    return Some((Invariant::ForeignDialog, format!("{event:?} is of a dialog that is over")));
                }
                let other = self.seen.iter().find(|(other, seen)| **other != id && seen.dialog == Some(came.dialog));
                if let Some((other, _)) = other {
                    return Some((Invariant::ForeignDialog, format!("{event:?} belongs to subscription {other:x}")));
                }
                let behind = self.forgotten.get(&came.dialog).is_some_and(|latest| cseq < latest);
                let seen = self.seen.entry(id).or_default();
                if seen.dialog.is_some_and(|dialog| dialog != came.dialog) {
                    return Some((Invariant::ForeignDialog, format!("{event:?} is of another dialog")));
                }
                if seen.dialog.is_some() && *cseq <= seen.cseq {
                    return Some((Invariant::NotifyOrder, format!("{event:?} after {}", seen.cseq)));
                }
                seen.dialog = Some(came.dialog);
                seen.behind = behind;
                seen.reverse = came.reverse;
                seen.cseq = *cseq;
                seen.notifier_tag = came.notifier_tag;
                seen.notifier = notifiers.get(&came.reverse).copied();
                if *state == SubscriptionState::Terminated {
                    self.legs.entry(came.dialog).or_default().over = true;
                }
            }
            Event::Retrying { .. } => {
                let seen = core::mem::take(self.seen.entry(id).or_default());
                self.dead.extend(seen.dialog);
            }
            Event::Terminated { .. } => {
                let seen = core::mem::replace(self.seen.entry(id).or_default(), Seen { over: true, ..Seen::default() });
                self.dead.extend(seen.dialog);
            }
            _ => {}
        }
        None
    }

    /// Forgets what no rule asks about any more.
    fn prune(&mut self, now: Instant) {
        if self.ticks.is_multiple_of(1024) {
            let old = |at: Instant| at + Duration::from_secs(7200) < now;
            self.sending.retain(|_, sending| !old(sending.sent));
            self.asked.retain(|_, asked| !old(asked.at));
        }
    }
}

fn text(bytes: &[u8]) -> alloc::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests;
