//! The subscriber's records: attempts, the subscriptions they made, and the
//! commands on them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::auth::Verdict;
use super::dialogs::Dialog;
use super::flows::FlowId;
use super::forks::ForkWindow;
use super::message::{RequestId, Subject};
use super::retry::Governor;
use super::subscribe::Subscribe;
use super::{Agent, Close};
use crate::Instant;
use crate::entropy::{MINTED_LEN, Minted, Role};
use crate::error::{Failure, Misuse};
use crate::event::{Event, Reason, TimerKind};
use crate::flow::Flow;
use crate::id::{RawId, SubscriptionId};
use crate::machine::responses::{SubscribeEffect, is_fatal};
use crate::machine::subscriber::{self, Outcome, SubscribeResult};
use crate::package::{Body, PackageIndex};
use crate::time::earliest;
use crate::wire::{MessageView, StatusCode, read};

/// Characters of a Call-ID that we mint.
pub(super) const CALL_ID_LEN: usize = 24;

/// One first SUBSCRIBE, and the dialogs that NOTIFYs made of it.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// The subscription that was asked for, be it over or not.
    pub(super) root: Option<RawId>,
    pub(super) call_id: [u8; CALL_ID_LEN],
    /// The unpredictable half of our tag.
    pub(super) nonce: u64,
    pub(super) intent: Arc<Subscribe>,
    pub(super) package: PackageIndex,
    /// CSeq of the latest SUBSCRIBE outside a dialog.
    pub(super) cseq: u32,
    /// While a NOTIFY with a new From tag is taken: from the SUBSCRIBE until
    /// Timer N (6665-SSM-27). Meanwhile a timer runs.
    pub(super) window: Option<Box<ForkWindow>>,
    /// A NOTIFY made a dialog: where the package allows one only, it was that.
    pub(super) made_usage: bool,
    pub(super) subscriptions: SmallVec<[u32; 2]>,
}

const _: () = assert!(size_of::<Attempt>() <= 96);

impl Attempt {
    pub(super) fn call_id(&self) -> &[u8] {
        &self.call_id
    }
}

/// One subscription of ours.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(super) machine: subscriber::Subscription,
    pub(super) attempt: Option<u32>,
    pub(super) intent: Arc<Subscribe>,
    pub(super) package: PackageIndex,
    pub(super) dialog: Option<Dialog>,
    pub(super) local_cseq: u32,
    pub(super) remote_cseq: u32,
    /// Numbers its requests.
    pub(super) seq: u32,
    /// The SUBSCRIBE in flight.
    pub(super) open: Option<u32>,
    pub(super) destination: Option<FlowId>,
    pub(super) document: Option<Box<Body>>,
    /// Of the NOTIFY that said terminated.
    pub(super) last_reason: Option<Box<Reason>>,
    pub(super) last_retry_after: Option<u32>,
    /// When the next attempt is due.
    pub(super) retry_at: Option<Instant>,
    pub(super) governor: Governor,
    pub(super) user_data: u64,
    pub(super) queued: bool,
    /// The attempt that it left, until the next one.
    pub(super) older: Option<RawId>,
    /// How its latest request does with those who challenge it.
    pub(super) trial: Option<Box<super::auth::Trial>>,
    /// Where its latest request was redirected to.
    pub(super) detour: Option<Box<super::detours::Detour>>,
}

impl Subscription {
    /// Until when the application may give credentials.
    pub(super) fn asking_until(&self) -> Option<Instant> {
        self.trial.as_ref().and_then(|trial| trial.asking_until())
    }
}

/// Which dialogs of a forked subscription a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// That one.
    This,
    /// All that came of the same SUBSCRIBE, and forks still to come.
    AllForks,
}

/// A subscription as the application sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo<'a> {
    /// Its state in the words of RFC 6665's figure.
    pub state: subscriber::State,
    /// The resource's URI.
    pub resource: &'a str,
    /// The value of Event.
    pub event: &'a str,
    /// When it runs out, once that is known.
    pub expires_at: Option<Instant>,
    /// When the next attempt is made, if it waits for that.
    pub retry_at: Option<Instant>,
    /// The state of the resource, as far as NOTIFYs have told it.
    pub document: Option<&'a Body>,
    /// Where SUBSCRIBEs in the dialog go: the notifier's Contact URI.
    pub target: Option<&'a [u8]>,
}

impl Agent {
    /// Subscribes. The SUBSCRIBE goes out with the next poll.
    ///
    /// # Errors
    /// [`Misuse::UnknownPackage`], [`Misuse::NoLocalAddress`],
    /// [`Misuse::Limit`] ([`Limits::subscriptions`](crate::Limits::subscriptions)),
    /// [`Misuse::Closing`].
    pub fn subscribe(&mut self, now: Instant, request: Subscribe) -> Result<SubscriptionId, Misuse> {
        let now = self.advance(now);
        if self.closing.is_some() {
            return Err(Misuse::Closing);
        }
        let package = self.packages.index(request.package().as_bytes()).ok_or(Misuse::UnknownPackage)?;
        if self.locals.is_empty() {
            return Err(Misuse::NoLocalAddress);
        }
        if self.subscriptions.is_full() {
            return Err(Misuse::Limit);
        }
        let destination = match request.more().flow.filter(|_| request.more().within.is_none()) {
            Some(flow) => Some(self.flows.intern(&self.entropy, flow).ok_or(Misuse::Limit)?),
            None => None,
        };
        let intent = Arc::new(request);
        let machine = self.new_machine(&intent, package);
        let record = Subscription {
            machine,
            attempt: None,
            user_data: intent.user_data,
            intent,
            package,
            dialog: None,
            local_cseq: 0,
            remote_cseq: 0,
            seq: 0,
            open: None,
            destination,
            document: None,
            last_reason: None,
            last_retry_after: None,
            retry_at: None,
            governor: Governor::default(),
            queued: false,
            older: None,
            trial: None,
            detour: None,
        };
        if let Some(other) = record.intent.more().within {
            return self.subscribe_within(now, other, record);
        }
        let id = self.subscriptions.insert_with(|_| record).ok_or(Misuse::Limit)?;
        if let Some(flow) = destination {
            self.use_flow(flow, Subject::Subscription(id));
        }
        self.start_attempt(id.slot);
        Ok(SubscriptionId(id))
    }

    pub(super) fn new_machine(&mut self, intent: &Subscribe, package: PackageIndex) -> subscriber::Subscription {
        let jitter = self.entropy.next_u16();
        let default = self.packages.get(package).map_or(3600, |p| self.durations(p.as_ref()).default);
        let params = subscriber::Params {
            expires: intent.expires.unwrap_or(default),
            default_expires: default,
            refresh: subscriber::Refresh { auto: intent.auto_refresh, jitter, ..subscriber::Refresh::default() },
        };
        subscriber::Subscription::new(&params)
    }

    /// A fresh attempt: new Call-ID, new tag, no route set (RFC 6665 section 4.1.2.2).
    pub(super) fn start_attempt(&mut self, slot: u32) {
        let mut call_id = [0u8; CALL_ID_LEN];
        for part in call_id.chunks_mut(CALL_ID_LEN / 2) {
            let minted = Minted { role: Role::Subscriber, slot: 0, nonce: self.entropy.next_u64() }.text();
            // The last twelve characters hold the unpredictable bits.
            let digits = minted.get(MINTED_LEN.saturating_sub(part.len())..).unwrap_or_default();
            part.copy_from_slice(digits);
        }
        let nonce = self.entropy.next_nonce();
        let cseq = u32::from(self.entropy.next_u16());
        if self.attempts.is_full() {
            self.close_oldest_orphan();
        }
        let root = self.subscriptions.id_at(slot);
        let Some(record) = self.subscriptions.at_mut(slot) else { return };
        let attempt = Attempt {
            root,
            call_id,
            nonce,
            intent: record.intent.clone(),
            package: record.package,
            cseq,
            window: None,
            made_usage: false,
            subscriptions: SmallVec::from_slice(&[slot]),
        };
        record.attempt = self.attempts.insert_with(|_| attempt).map(|id| id.slot);
        self.want_to_send(slot);
    }

    /// A subscription's data.
    ///
    /// # Errors
    /// [`Misuse::StaleId`].
    pub fn subscription(&self, id: SubscriptionId) -> Result<SubscriptionInfo<'_>, Misuse> {
        let record = self.subscriptions.get(id.0).ok_or(Misuse::StaleId)?;
        Ok(SubscriptionInfo {
            state: record.machine.state(),
            resource: record.intent.resource.as_str(),
            event: &record.intent.event,
            expires_at: record.machine.deadline(),
            retry_at: record.retry_at,
            document: record.document.as_deref(),
            target: record.dialog.as_ref().map(Dialog::target),
        })
    }

    /// All subscriptions of ours, in slot order.
    pub fn subscriptions(&self) -> impl Iterator<Item = SubscriptionId> {
        self.subscriptions.iter().map(|(id, _)| SubscriptionId(id))
    }

    /// A number of the application's own, kept with the subscription.
    ///
    /// # Errors
    /// [`Misuse::StaleId`].
    pub fn subscription_data(&mut self, id: SubscriptionId) -> Result<&mut u64, Misuse> {
        self.note(id);
        self.subscriptions.get_mut(id.0).map(|s| &mut s.user_data).ok_or(Misuse::StaleId)
    }

    /// Refreshes at once, for `expires` seconds from now on if given; `Some(0)`
    /// unsubscribes. Waits for a SUBSCRIBE in flight.
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::WrongState`] before the first NOTIFY and
    /// after `unsubscribe`.
    pub fn refresh(&mut self, now: Instant, id: SubscriptionId, expires: Option<u32>) -> Result<(), Misuse> {
        let now = self.advance(now);
        let record = self.subscriptions.get_mut(id.0).ok_or(Misuse::StaleId)?;
        if record.retry_at.is_some() {
            return Err(Misuse::WrongState);
        }
        record.machine.refresh(now, expires).map_err(|_| Misuse::WrongState)?;
        self.want_to_send(id.0.slot);
        self.settle_subscription(now, id.0.slot);
        Ok(())
    }

    /// Ends a subscription: Expires 0, then the notifier's last NOTIFY, then
    /// [`Event::Terminated`]. Before the first NOTIFY it is remembered and done
    /// in each dialog as its NOTIFY comes (INT-16).
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::WrongState`] the second time;
    /// [`Misuse::Closing`] after [`Close::Persist`].
    pub fn unsubscribe(&mut self, now: Instant, id: SubscriptionId, scope: Scope) -> Result<(), Misuse> {
        let now = self.advance(now);
        if self.is_frozen() {
            return Err(Misuse::Closing);
        }
        let record = self.subscriptions.get(id.0).ok_or(Misuse::StaleId)?;
        if record.retry_at.is_some() {
            self.give_up_retry(id.0.slot);
            return Ok(());
        }
        let attempt = record.attempt.filter(|_| !self.is_guest(id.0.slot));
        let mut slots: SmallVec<[u32; 2]> = SmallVec::from_slice(&[id.0.slot]);
        if scope == Scope::AllForks
            && let Some(attempt) = attempt.and_then(|slot| self.attempts.at_mut(slot))
        {
            slots = attempt.subscriptions.clone();
            // Forks that come later unsubscribe at once.
            if let Some(window) = &mut attempt.window {
                let _ = window.template.unsubscribe(now);
            }
            slots.retain(|slot| !self.is_guest(*slot));
        }
        let mut any = false;
        for slot in slots {
            let Some(record) = self.subscriptions.at_mut(slot) else { continue };
            let waiting = record.machine.state() == subscriber::State::NotifyWait;
            if record.machine.unsubscribe(now).is_ok() {
                any = true;
                if waiting
                    && let Some(attempt) = attempt.and_then(|slot| self.attempts.at_mut(slot))
                    && let Some(window) = &mut attempt.window
                {
                    let _ = window.template.unsubscribe(now);
                }
                self.want_to_send(slot);
                self.settle_subscription(now, slot);
            }
        }
        if any { Ok(()) } else { Err(Misuse::WrongState) }
    }

    pub(super) fn subscribe_response<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        id: RawId,
        seq: u32,
        (status, tag): (StatusCode, Option<&[u8]>),
        message: &V,
    ) {
        let code = status.as_u16();
        let effect = self.subscribe_effect(code);
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        if record.open != Some(seq) {
            return;
        }
        // A 2xx of another fork than the dialog's completes the transaction, no more (6665-5.4.9-2).
        let tag = tag.unwrap_or_default();
        let own = record.dialog.as_ref().is_none_or(|dialog| dialog.remote_tag() == tag);
        let in_dialog = record.dialog.is_some();
        let expires = read::expires(message).filter(|_| own);
        let retry_after = read::retry_after(message).map(|r| r.seconds);
        let result = match effect {
            _ if status.is_provisional() => SubscribeResult::Provisional,
            SubscribeEffect::Accepted => SubscribeResult::Accepted { expires },
            SubscribeEffect::NoNotify => SubscribeResult::NoNotify { expires },
            SubscribeEffect::TooBrief => SubscribeResult::TooBrief { min_expires: read::min_expires(message) },
            SubscribeEffect::TimedOut => SubscribeResult::TimedOut,
            _ => SubscribeResult::Failed { status: code, retry_after },
        };
        if !status.is_provisional() {
            record.open = None;
            record.last_retry_after = retry_after;
        }
        let whose = Subject::Subscription(id);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            self.leave_server(whose);
        }
        let result = match effect {
            SubscribeEffect::Challenge => match self.challenged(now, whose, status, message) {
                Verdict::Retry => SubscribeResult::Retrying,
                Verdict::Wait => return self.rearm_subscription(id.slot),
                Verdict::Fail => result,
            },
            // The longer request that follows is the same one still.
            SubscribeEffect::TooBrief => result,
            _ if status.is_provisional() => result,
            _ => {
                let elsewhere = match effect {
                    SubscribeEffect::Redirect => self.redirected(whose, status, message),
                    SubscribeEffect::Accepted | SubscribeEffect::NoNotify => false,
                    // A refusal of one address says little of the others; 6xx speaks for all.
                    _ => {
                        let final_here = in_dialog && effect != SubscribeEffect::TransactionOnly;
                        code < 600 && !final_here && self.next_stop(whose)
                    }
                };
                match elsewhere {
                    true => self.trial_moves(whose),
                    false => self.trial_over(whose),
                }
                if elsewhere { SubscribeResult::Retrying } else { result }
            }
        };
        if status.is_success() {
            self.take_info(whose, message);
        }
        let timers = self.config.timers.sip;
        let partners = self.partners(id.slot);
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        let failed = matches!(result, SubscribeResult::Failed { .. });
        let lost = failed && in_dialog && own && effect == SubscribeEffect::EndDialog;
        if lost && !is_fatal(code) {
            record.machine.handle_dialog_lost(code, retry_after);
        } else {
            record.machine.handle_subscribe_result(now, result, &timers);
        }
        let again = matches!(result, SubscribeResult::Retrying | SubscribeResult::TooBrief { .. });
        if !(status.is_provisional() || (again && record.machine.wants_subscribe())) {
            self.detour_over(whose);
        }
        if status.is_success() {
            self.take_response_routes(id.slot, tag, message);
        }
        // A 2xx to a target refresh moves the target (RFC 3261 section 12.2.1.2).
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        if status.is_success()
            && own
            && let Some(dialog) = &record.dialog
            && let super::dialogs::Contact::Target(target) = super::dialogs::new_contact(message, dialog.target())
        {
            self.retarget_subscription(id.slot, target);
        }
        self.settle_with_status(now, id.slot, Some(status));
        if lost {
            self.dialog_lost(now, &partners, status, retry_after);
        }
        self.wake_partners(&partners);
    }

    pub(super) fn subscribe_failed(&mut self, now: Instant, id: RawId, seq: u32, why: Failure) {
        let timers = self.config.timers.sip;
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        if record.open != Some(seq) {
            return;
        }
        let partners = self.partners(id.slot);
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        record.open = None;
        record.last_retry_after = None;
        let whose = Subject::Subscription(id);
        let result = match why {
            // As good as a 408 or 503 of that one address (3261-8.1.3.1-1).
            _ if self.next_stop(whose) => SubscribeResult::Retrying,
            Failure::Timeout => SubscribeResult::TimedOut,
            Failure::Transport | Failure::Unresolved => SubscribeResult::TransportFailed,
        };
        if result == SubscribeResult::Retrying {
            self.trial_moves(whose);
        } else {
            self.trial_over(whose);
            self.detour_over(whose);
        }
        let Some(record) = self.subscriptions.get_mut(id) else { return };
        record.machine.handle_subscribe_result(now, result, &timers);
        if let Some(old) = record.destination.take() {
            self.flows.release(&self.entropy, old);
        }
        self.settle_subscription(now, id.slot);
        self.wake_partners(&partners);
    }

    /// A NOTIFY made this subscription's dialog (RFC 6665 section 4.4.1). If a
    /// connection carried it, that carries what follows.
    pub(super) fn establish(&mut self, slot: u32, attempt: u32, dialog: Dialog, connection: Option<Flow>) {
        let Some(attempt) = self.attempts.at_mut(attempt) else { return };
        attempt.made_usage = true;
        let cseq = attempt.cseq;
        let reuse = connection.and_then(|flow| self.flows.intern(&self.entropy, flow));
        let Some(record) = self.subscriptions.at_mut(slot) else { return };
        let old = core::mem::replace(&mut record.destination, reuse);
        record.dialog = Some(dialog);
        record.local_cseq = cseq;
        record.governor.established();
        if let Some((flow, id)) = reuse.zip(self.subscriptions.id_at(slot)) {
            self.use_flow(flow, Subject::Subscription(id));
        }
        if let Some(old) = old {
            self.flows.release(&self.entropy, old);
        }
    }

    /// A new remote target: where it leads has to be found anew.
    pub(super) fn retarget_subscription(&mut self, slot: u32, target: Vec<u8>) {
        // It is the dialog's, so all of its subscriptions move (5057-5.4-1).
        for partner in self.partners(slot) {
            self.retarget_one_subscription(partner, target.clone());
            if let Some(id) = self.subscriptions.id_at(partner) {
                self.note(SubscriptionId(id));
            }
        }
        self.retarget_one_subscription(slot, target);
    }

    fn retarget_one_subscription(&mut self, slot: u32, target: Vec<u8>) {
        let limit = self.config.limits.dialog;
        let Some(record) = self.subscriptions.at_mut(slot) else { return };
        let moved = record.dialog.as_mut().is_some_and(|d| d.set_target(target, limit) == Ok(true));
        // A route set leads to the same next hop as before.
        let routed = record.dialog.as_ref().is_some_and(|dialog| !dialog.routes().is_empty());
        if moved
            && !routed
            && let Some(old) = record.destination.take()
        {
            self.flows.release(&self.entropy, old);
        }
    }

    pub(super) fn rearm_subscription(&mut self, slot: u32) {
        let deadline = self.subscriptions.at(slot).and_then(|s| match s.retry_at {
            Some(at) => Some(at),
            None => earliest(s.machine.poll_timeout(), s.asking_until()),
        });
        self.subscription_timers.set(slot, deadline);
        if let Some(id) = self.subscriptions.id_at(slot) {
            self.note(SubscriptionId(id));
        }
    }

    pub(super) fn subscription_timer(&self, slot: u32) -> TimerKind {
        match self.subscriptions.at(slot) {
            Some(record) if record.retry_at.is_some() => TimerKind::Retry,
            Some(record)
                if record.asking_until().is_some_and(|at| record.machine.poll_timeout().is_none_or(|m| at <= m)) =>
            {
                TimerKind::Decision
            }
            Some(record) => match record.machine.next_timer() {
                Some((_, subscriber::TimerKind::TimerN)) => TimerKind::AwaitNotify,
                Some((_, subscriber::TimerKind::Refresh)) => TimerKind::Refresh,
                Some((_, subscriber::TimerKind::Retry)) => TimerKind::Retry,
                Some((_, subscriber::TimerKind::ForkWindow)) => TimerKind::ForkWindow,
                Some((_, subscriber::TimerKind::Expiry)) | None => TimerKind::Expiry,
            },
            None => TimerKind::Expiry,
        }
    }

    pub(super) fn subscription_timeout(&mut self, now: Instant, slot: u32) {
        let timers = self.config.timers.sip;
        let Some(record) = self.subscriptions.at_mut(slot) else { return };
        if record.retry_at.take().is_some() {
            let intent = record.intent.clone();
            self.begin_again(slot, &intent);
            return;
        }
        record.machine.handle_timeout(now);
        if let Some(status) = self.subscriptions.id_at(slot).and_then(|id| self.ask_over(now, id))
            && let Some(record) = self.subscriptions.at_mut(slot)
        {
            let result = SubscribeResult::Failed { status: status.as_u16(), retry_after: None };
            record.machine.handle_subscribe_result(now, result, &timers);
            return self.settle_with_status(now, slot, Some(status));
        }
        self.want_to_send(slot);
        self.settle_subscription(now, slot);
    }

    pub(super) fn settle_subscription(&mut self, now: Instant, slot: u32) {
        self.settle_with_status(now, slot, None);
    }

    /// Follows up on whatever the machine has come to.
    pub(super) fn settle_with_status(&mut self, now: Instant, slot: u32, status: Option<StatusCode>) {
        let Some(id) = self.subscriptions.id_at(slot).map(SubscriptionId) else { return };
        loop {
            let Some(record) = self.subscriptions.at_mut(slot) else { return };
            let Some(outcome) = record.machine.poll_outcome() else { break };
            match outcome {
                Outcome::Accepted { expires } => {
                    let status = status.unwrap_or(StatusCode::OK);
                    self.push_news(Event::Accepted { subscription: id, status, expires });
                }
                Outcome::RefreshFailed { status: code, .. } => {
                    let status = status.or_else(|| StatusCode::new(code).filter(|_| code != 408 && code != 503));
                    self.push_news(Event::RefreshFailed { subscription: id, status });
                }
                Outcome::PeerViolation { .. } => self.stats.tolerated = self.stats.tolerated.wrapping_add(1),
                Outcome::Ended(end) => {
                    self.subscription_ended(now, slot, &end, status);
                    return;
                }
                Outcome::UnknownState | Outcome::BecamePending | Outcome::BecameActive | Outcome::ForkWindowClosed => {}
            }
        }
        self.want_to_send_if_due(slot);
        self.rearm_subscription(slot);
    }

    /// Queues the subscription if its machine has a SUBSCRIBE to give.
    pub(super) fn want_to_send_if_due(&mut self, slot: u32) {
        if self.subscriptions.at(slot).is_some_and(|s| s.retry_at.is_none() && s.machine.wants_subscribe()) {
            self.want_to_send(slot);
        }
    }

    /// Takes the subscription off its attempt, and its dialog and destination
    /// off it. `close` if no further fork of the attempt is wanted.
    pub(super) fn detach(&mut self, slot: u32, close: bool) {
        let Some(attempt_slot) = self.leave_dialog(slot) else { return };
        let own = self.attempts.id_at(attempt_slot);
        if let Some(attempt) = self.attempts.at_mut(attempt_slot) {
            attempt.subscriptions.retain(|s| *s != slot);
            let before = attempt.window.as_ref().and_then(|window| window.older);
            let older = if attempt.subscriptions.is_empty() { before } else { own };
            if let Some(record) = self.subscriptions.at_mut(slot) {
                record.older = older;
            }
            let orphaned = attempt.subscriptions.is_empty();
            if close || attempt.window.is_none() {
                self.close_window(attempt_slot);
            } else if orphaned {
                self.orphans.extend(self.attempts.id_at(attempt_slot));
            }
        }
    }

    /// Takes its dialog and destination off a subscription. The attempt that it
    /// had, which still lists it.
    pub(super) fn leave_dialog(&mut self, slot: u32) -> Option<u32> {
        let id = self.subscriptions.id_at(slot)?;
        let partners = self.partners(slot);
        let record = self.subscriptions.at_mut(slot)?;
        record.trial = None;
        record.detour = None;
        let open = record.open.take();
        if record.dialog.take().is_some()
            && let Some(seq) = open
        {
            // In a dialog that is over nothing is sent (again), least of all what waited for a stream.
            self.abandoned.push_back(RequestId { subject: Subject::Subscription(id), seq });
        }
        let (attempt, destination) = (record.attempt.take(), record.destination.take());
        if let Some(destination) = destination {
            self.flows.release(&self.entropy, destination);
        }
        self.wake_partners(&partners);
        attempt
    }

    pub(super) fn remove_subscription(&mut self, slot: u32, close: bool) {
        self.detach(slot, close);
        self.subscription_timers.set(slot, None);
        if let Some(id) = self.subscriptions.id_at(slot) {
            self.note(SubscriptionId(id));
        }
        self.subscriptions.remove(slot);
    }

    pub(super) const fn may_resubscribe(&self) -> bool {
        !matches!(self.closing, Some(Close::Terminate | Close::Persist))
    }

    pub(super) fn subscription_reasons(&self, slot: u32) -> (Option<Reason>, Option<u32>) {
        self.subscriptions.at(slot).map_or((None, None), |s| (s.last_reason.as_deref().cloned(), s.last_retry_after))
    }
}
