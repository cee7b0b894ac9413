//! Answers to the challenges of notifiers, subscribers and proxies.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Verdict;
use super::keys::call_scope;
use crate::Instant;
use crate::agent::Agent;
use crate::agent::dialogs::Placed;
use crate::agent::message::Subject;
use crate::agent::subscribe::Subscribe;
use crate::digest::{Challenge, Choice, Credentials, Info, Request, Session, choose};
use crate::entropy::Entropy;
use crate::error::Misuse;
use crate::event::{Event, ObjectId};
use crate::id::{RawId, SubscriptionId, WatcherId};
use crate::machine::subscriber::SubscribeResult;
use crate::wire::{HeaderName, MessageView, StatusCode};

/// Most realms that one request is authenticated for, all proxies counted.
pub(super) const MAX_REALMS: usize = 4;
/// Most credentials for one subscription, and for the whole agent.
pub(crate) const MAX_CREDENTIALS: usize = 16;
/// How often one request is answered for to the far end, which is one, and to
/// the proxies on the way, which may ask one after the other.
const ROUNDS: [u8; 2] = [1, 2];
/// The same in all, wherever it is redirected to meanwhile.
const MOST_ROUNDS: u8 = 3;
/// Most bytes of one challenge that are kept while the application is asked.
const MAX_KEPT: usize = 4_096;

/// How far one request has come with those who challenge it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trial {
    /// Responses answered, of the far end and of proxies.
    rounds: [u8; 2],
    /// The same, with those of addresses that it was redirected from.
    answered: u8,
    tried: SmallVec<[Tried; 1]>,
    /// The nonces that it carried when it went out last.
    shown: SmallVec<[u64; 1]>,
    asking: Option<Asking>,
    asked: bool,
}

/// A realm that got its answer.
#[derive(Debug, Clone, Copy)]
struct Tried {
    realm: u64,
    /// It said once that the nonce was stale.
    stale: bool,
}

/// Challenges that wait for credentials.
#[derive(Debug, Clone)]
struct Asking {
    until: Instant,
    status: StatusCode,
    lines: Vec<(bool, Box<[u8]>)>,
}

impl Trial {
    /// Until when the application may give credentials.
    pub(in crate::agent) fn asking_until(&self) -> Option<Instant> {
        self.asking.as_ref().map(|asking| asking.until)
    }
}

/// What has come of the challenges of one response.
#[derive(Debug, Default)]
struct Outcome {
    sessions: Vec<Session>,
    /// A session that was begun by another request is good for this one.
    joined: bool,
    wanting: Option<Vec<u8>>,
    refused: bool,
}

impl Outcome {
    const fn is_answer(&self) -> bool {
        self.joined || !self.sessions.is_empty()
    }
}

/// Tells one nonce from others.
fn shown(entropy: &Entropy, proxy: bool, realm: &[u8], nonce: &[u8]) -> u64 {
    entropy.hash(&[&[u8::from(proxy)], realm, nonce])
}

impl Agent {
    /// Credentials for whoever challenges a request of ours that has none of
    /// its own: the subscribers that ask for them in NOTIFYs, above all. They
    /// replace those set before. Credentials without
    /// [`realm`](Credentials::realm) go to anybody who asks.
    ///
    /// # Errors
    /// [`Misuse::Limit`] for more than 16.
    pub fn set_credentials(&mut self, credentials: Vec<Credentials>) -> Result<(), Misuse> {
        if credentials.len() > MAX_CREDENTIALS {
            return Err(Misuse::Limit);
        }
        self.auth.credentials = Arc::new(credentials);
        Ok(())
    }

    /// Gives credentials for a subscription of ours, or for the NOTIFYs to a
    /// watcher: the answer to [`Event::Challenge`]. A SUBSCRIBE that waits for
    /// them goes out again; a refused NOTIFY comes again by itself. They are
    /// kept for later requests, of all watchers if it is a watcher.
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::Limit`] for the 17th;
    /// [`Misuse::BadValue`] for a resource, and for credentials that are of no
    /// use to the request that waits: it waits on.
    pub fn authenticate(
        &mut self,
        now: Instant,
        object: impl Into<ObjectId>,
        credentials: Credentials,
    ) -> Result<(), Misuse> {
        let now = self.advance(now);
        match object.into() {
            ObjectId::Subscription(id) => self.authenticate_subscription(now, id, credentials),
            ObjectId::Watcher(id) => {
                self.watchers.get(id.0).ok_or(Misuse::StaleId)?;
                let all = Arc::make_mut(&mut self.auth.credentials);
                if all.len() >= MAX_CREDENTIALS {
                    return Err(Misuse::Limit);
                }
                all.insert(0, credentials);
                Ok(())
            }
            ObjectId::Resource(_) => Err(Misuse::BadValue),
        }
    }

    fn authenticate_subscription(
        &mut self,
        now: Instant,
        id: SubscriptionId,
        credentials: Credentials,
    ) -> Result<(), Misuse> {
        let record = self.subscriptions.get_mut(id.0).ok_or(Misuse::StaleId)?;
        if record.intent.more().credentials.len() >= MAX_CREDENTIALS {
            return Err(Misuse::Limit);
        }
        let mut intent: Subscribe = (*record.intent).clone();
        intent.more_mut().credentials.insert(0, credentials);
        let intent = Arc::new(intent);
        let before = core::mem::replace(&mut record.intent, intent.clone());
        let mut trial = record.trial.take();
        let asking = trial.as_mut().and_then(|trial| trial.asking.take());
        if let (Some(asking), Some(trial)) = (asking, &mut trial) {
            let lines = |proxy: bool| {
                let of_kind = asking.lines.iter().filter(move |(own, _)| *own == proxy);
                of_kind.map(|(_, line)| &**line)
            };
            let subject = Subject::Subscription(id.0);
            // What the application asks for is no loop.
            (trial.rounds, trial.answered) = ([0; 2], 0);
            let outcome = self.choose_answers(subject, trial, [lines(false), lines(true)]);
            if !outcome.is_answer() || outcome.refused {
                trial.asking = Some(asking);
                if let Some(record) = self.subscriptions.get_mut(id.0) {
                    record.intent = before;
                    record.trial = Some(core::mem::take(trial));
                }
                return Err(Misuse::BadValue);
            }
            self.keep_sessions(subject, outcome.sessions);
            let timers = self.config.timers.sip;
            if let Some(record) = self.subscriptions.get_mut(id.0) {
                record.machine.handle_subscribe_result(now, SubscribeResult::Retrying, &timers);
            }
            self.want_to_send(id.0.slot);
        }
        let record = self.subscriptions.get_mut(id.0).ok_or(Misuse::StaleId)?;
        record.trial = trial;
        // Forks still to come are of the same mind.
        if let Some(attempt) = record.attempt.and_then(|slot| self.attempts.at_mut(slot)) {
            attempt.intent = intent;
        }
        self.settle_subscription(now, id.0.slot);
        Ok(())
    }

    /// Puts credentials into a request that stands in `head` from `start`,
    /// wherever a challenge is being answered already.
    pub(in crate::agent) fn authorise(
        &mut self,
        whose: Subject,
        method: &[u8],
        start: usize,
        placed: &mut Placed,
        body: &[&[u8]],
        head: &mut Vec<u8>,
    ) {
        if self.auth.wallet.len() == 0 {
            return;
        }
        let Some(keys) = self.keys(whose) else { return };
        let mut slots = self.auth.sessions(&self.entropy, &keys, true);
        slots.extend(self.auth.sessions(&self.entropy, &keys, false));
        let mut lines = Vec::new();
        let mut nonces: SmallVec<[u64; 1]> = SmallVec::new();
        let line = head.get(start..placed.via_at).unwrap_or_default();
        let uri = line.split(|b| *b == b' ').nth(1).unwrap_or_default();
        for slot in slots {
            if let Some(session) = self.auth.wallet.session_mut(slot) {
                session.write(&Request { method, uri, body }, &mut lines);
                nonces.push(shown(&self.entropy, session.is_proxy(), session.realm(), session.nonce()));
            }
        }
        if let Some(trial) = self.trial(whose).filter(|trial| trial.is_some() || !nonces.is_empty()) {
            trial.get_or_insert_default().shown = nonces;
        }
        if placed.next_hop.start >= placed.via_at {
            placed.next_hop.start = placed.next_hop.start.saturating_add(lines.len());
            placed.next_hop.end = placed.next_hop.end.saturating_add(lines.len());
        }
        let at = placed.via_at.min(head.len());
        head.splice(at..at, lines);
    }

    fn trial(&mut self, whose: Subject) -> Option<&mut Option<Box<Trial>>> {
        match whose {
            Subject::Subscription(id) => self.subscriptions.get_mut(id).map(|record| &mut record.trial),
            Subject::Watcher(id) => self.watchers.get_mut(id).map(|record| &mut record.trial),
        }
    }

    /// A request of ours got a 401 or 407 (RFC 3261 section 22.2).
    pub(in crate::agent) fn challenged<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        whose: Subject,
        status: StatusCode,
        message: &V,
    ) -> Verdict {
        let mut trial = self.trial(whose).and_then(Option::take).unwrap_or_default();
        // Both kinds may come in one response (RFC 3261 section 22.3).
        let lines = |name| (0..).map_while(move |nth| message.field(name, nth));
        let kinds = [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate];
        let outcome = self.choose_answers(whose, &mut trial, kinds.map(lines));
        if outcome.refused {
            return Verdict::Fail;
        }
        if outcome.is_answer() {
            self.keep_sessions(whose, outcome.sessions);
            if let Some(own) = self.trial(whose) {
                *own = Some(trial);
            }
            return Verdict::Retry;
        }
        let Some(realm) = outcome.wanting else { return Verdict::Fail };
        if self.events_full() {
            return Verdict::Fail;
        }
        let realm = Bytes::from(realm);
        match whose {
            Subject::Watcher(id) => {
                self.push_event(Event::Challenge { subject: WatcherId(id).into(), realm });
                Verdict::Fail
            }
            Subject::Subscription(_) if core::mem::replace(&mut trial.asked, true) => Verdict::Fail,
            Subject::Subscription(id) => {
                let kept = |proxy: bool, name| {
                    let short = lines(name).filter(|line| line.len() <= MAX_KEPT);
                    short.take(MAX_REALMS).map(move |line| (proxy, line.into()))
                };
                let [www, proxy] = kinds;
                let lines = kept(false, www).chain(kept(true, proxy)).collect();
                trial.asking = Some(Asking { until: now + self.config.timers.decision, status, lines });
                if let Some(own) = self.trial(whose) {
                    *own = Some(trial);
                }
                self.push_event(Event::Challenge { subject: SubscriptionId(id).into(), realm });
                Verdict::Wait
            }
        }
    }

    /// Which challenges to answer; a realm that refuses what it was given, or
    /// calls a fresh nonce stale, ends the matter (3261-22.1-3, ADV-P22).
    fn choose_answers<'a>(
        &mut self,
        whose: Subject,
        trial: &mut Trial,
        lines: [impl Iterator<Item = &'a [u8]>; 2],
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(keys) = self.keys(whose) else { return outcome };
        let mut new_round = false;
        for (proxy, lines) in [false, true].into_iter().zip(lines) {
            let suitable = |realm: &[u8]| keys.suiting(realm);
            let Choice { answers, wanting } = choose(lines, suitable);
            outcome.wanting = outcome.wanting.or(wanting);
            if answers.is_empty() {
                continue;
            }
            // An answer that is accepted, and a nonce that is old by the next request: one round more.
            let again = |challenge: &Challenge| {
                let realm = challenge.realm();
                let hash = self.entropy.hash(&[&[u8::from(proxy)], &realm]);
                let known = self.auth.known(&self.entropy, &keys, proxy, &realm);
                let used = known.and_then(|slot| self.auth.wallet.session(slot)).is_some_and(|s| s.count() > 1);
                challenge.stale && used && trial.tried.iter().any(|tried| tried.realm == hash && !tried.stale)
            };
            let more = u8::from(!proxy && answers.iter().all(|(challenge, _)| again(challenge)));
            let round = trial.rounds.iter_mut().zip(ROUNDS).nth(usize::from(proxy));
            let within = |round: u8, most: u8| round < most.saturating_add(more) && trial.answered < MOST_ROUNDS;
            let Some((round, _)) = round.filter(|(round, most)| within(**round, *most)) else {
                outcome.refused = true;
                continue;
            };
            *round = round.saturating_add(1);
            new_round = true;
            for (challenge, credentials) in answers {
                let realm = challenge.realm();
                let hash = self.entropy.hash(&[&[u8::from(proxy)], &realm]);
                let known = self.auth.known(&self.entropy, &keys, proxy, &realm);
                let session = known.and_then(|slot| self.auth.wallet.session(slot));
                let may = match trial.tried.iter_mut().find(|tried| tried.realm == hash) {
                    // A nonce that was good for something may be good for nothing more.
                    Some(tried) => {
                        let used = session.is_some_and(|session| session.count() > 1);
                        challenge.stale && used && !core::mem::replace(&mut tried.stale, true)
                    }
                    None => {
                        let known = session.is_some_and(|session| session.nonce() == &*challenge.nonce());
                        let nonce = shown(&self.entropy, proxy, &realm, &challenge.nonce());
                        let same = trial.shown.contains(&nonce);
                        let room = trial.tried.len() < MAX_REALMS;
                        trial.tried.push(Tried { realm: hash, stale: false });
                        // The same nonce was given to another request, and its count goes on.
                        if known && room && !same {
                            outcome.joined = true;
                            continue;
                        }
                        room && (challenge.stale || !same)
                    }
                };
                let session = match may {
                    true => Session::new(proxy, &challenge, credentials, self.entropy.next_u64()),
                    false => None,
                };
                match session {
                    Some(session) => outcome.sessions.push(session),
                    None => {
                        outcome.refused = true;
                        if let Some(slot) = known {
                            self.auth.wallet.remove(&self.entropy, slot);
                        }
                    }
                }
            }
        }
        trial.answered = trial.answered.saturating_add(u8::from(new_round));
        outcome
    }

    fn keep_sessions(&mut self, whose: Subject, sessions: Vec<Session>) {
        let Some(keys) = self.keys(whose) else { return };
        for session in sessions {
            self.auth.keep(&self.entropy, &keys, session);
        }
    }

    /// A request of ours got its final answer, or none.
    pub(in crate::agent) fn trial_over(&mut self, whose: Subject) {
        if let Some(trial) = self.trial(whose) {
            *trial = None;
        }
    }

    /// A request of ours goes to another address, where it may be challenged
    /// anew.
    pub(in crate::agent) fn trial_moves(&mut self, whose: Subject) {
        if let Some(Some(trial)) = self.trial(whose) {
            **trial = Trial { answered: trial.answered, ..Trial::default() };
        }
    }

    /// A 2xx may bring the nonce for the next request (RFC 7616 section 3.5).
    pub(in crate::agent) fn take_info<V: MessageView + ?Sized>(&mut self, whose: Subject, message: &V) {
        if self.auth.wallet.len() == 0 {
            return;
        }
        let Some(value) = message.field(HeaderName::AuthenticationInfo, 0) else { return };
        let (Some(info), Some(keys)) = (Info::parse(value), self.keys(whose)) else { return };
        let slots = self.auth.sessions(&self.entropy, &keys, false);
        // Without proof it is for the one server that there is.
        let certain = info.response_auth().is_some() || slots.len() == 1;
        for slot in slots.into_iter().filter(|_| certain) {
            if let Some(session) = self.auth.wallet.session_mut(slot)
                && session.handle_info(&info, &[message.body()])
            {
                return;
            }
        }
        self.stats.tolerated = self.stats.tolerated.wrapping_add(1);
    }

    /// A dialog or attempt is over, and its proxies are forgotten (RFC 3261
    /// section 22.3).
    pub(in crate::agent) fn forget_call(&mut self, of_watcher: bool, call_id: &[u8]) {
        if self.auth.wallet.len() > 0 {
            self.auth.wallet.forget(&self.entropy, &call_scope(of_watcher, call_id));
        }
    }

    /// The application did not give credentials in time: the refusal stands.
    /// Tells its status.
    pub(in crate::agent) fn ask_over(&mut self, now: Instant, id: RawId) -> Option<StatusCode> {
        let record = self.subscriptions.get_mut(id)?;
        let asking = record.trial.as_ref()?.asking.as_ref().filter(|asking| asking.until <= now)?;
        let status = asking.status;
        record.trial = None;
        Some(status)
    }
}
