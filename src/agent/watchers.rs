//! The notifier's records: who watches, and the commands on a watcher.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::auth::Verdict;
use super::dialogs::Dialog;
use super::flows::FlowId;
use super::list::Link;
use super::message::{RequestId, Subject};
use super::{Agent, reason_code};
use crate::Instant;
use crate::error::{Failure, Misuse};
use crate::event::{Event, Gone, NotifyResult as Told, Reason};
use crate::id::{ResourceId, WatcherId};
use crate::machine::ReasonCode;
use crate::machine::notifier::{self, GoneCause, NotifyResult, Outcome};
use crate::machine::responses::{NotifyEffect, notify_effect, notify_effect_rfc3265};
use crate::package::View;
use crate::wire::{MessageView, StatusCode, read};

/// One subscription to a resource of ours.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    pub(crate) machine: notifier::Subscription,
    pub(crate) dialog: Dialog,
    /// The slot that our tag names: that of the dialog's first watcher.
    pub(crate) tag_slot: u32,
    /// The unpredictable half of our tag.
    pub(crate) nonce: u64,
    /// Its dialog has, or had, another watcher.
    pub(crate) shared: bool,
    pub(crate) user_data: u64,
    pub(crate) resource: u32,
    /// Its place in the resource's list.
    pub(crate) position: u32,
    pub(crate) link: Link,
    /// The flow of its latest SUBSCRIBE.
    pub(crate) flow: FlowId,
    /// Where its NOTIFYs were found to go.
    pub(crate) destination: Option<FlowId>,
    /// The flow whose window its open NOTIFY occupies.
    pub(crate) in_window: Option<FlowId>,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: u32,
    /// The open NOTIFY.
    pub(crate) open: Option<u32>,
    /// The resource's version at the latest NOTIFY.
    pub(crate) told: u32,
    /// Documents sent that carry a number.
    pub(crate) numbered: u32,
    /// The open NOTIFY carries a number.
    pub(crate) open_numbered: bool,
    pub(crate) view: View,
    /// The media type, as a place in the package's list.
    pub(crate) media: u8,
    /// In the queue of those owed a NOTIFY.
    pub(crate) owed: bool,
    pub(crate) report: bool,
    /// Who gets its NOTIFYs has answered one, or was authenticated.
    pub(crate) proven: bool,
    pub(crate) authenticated: bool,
    /// SIPS dialog: our Contact is a SIPS URI.
    pub(crate) secure: bool,
    /// The connection of its latest SUBSCRIBE leads to the next hop.
    pub(crate) direct: bool,
    /// The latest status that a NOTIFY was refused with.
    pub(crate) refusal: Option<StatusCode>,
    /// A reason without a word of its own.
    pub(crate) other_reason: Option<Box<[u8]>>,
    /// Who subscribed, if that was verified.
    pub(crate) identity: Option<Box<[u8]>>,
    /// How the open NOTIFY does with those who challenge it.
    #[cfg_attr(not(feature = "digest"), allow(dead_code))]
    pub(crate) trial: Option<Box<super::auth::Trial>>,
    /// Where the open NOTIFY was redirected to.
    pub(crate) detour: Option<Box<super::detours::Detour>>,
    /// The way of the open NOTIFY was known from before; whether it is a
    /// connection.
    pub(crate) pinned: Option<bool>,
}

/// A watcher as the application sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatcherInfo<'a> {
    /// What it watches.
    pub resource: ResourceId,
    /// Its state in the words of RFC 6665's figure.
    pub state: notifier::State,
    /// The value of its From header field, tag included.
    pub from: &'a [u8],
    /// The user whose identity was verified, if any.
    pub identity: Option<&'a [u8]>,
    /// Where NOTIFYs go: its Contact URI.
    pub target: &'a [u8],
    /// The value of its Event header field.
    pub event: &'a [u8],
    /// The view that it is told.
    pub view: View,
    /// When it runs out.
    pub expires_at: Instant,
}

impl Agent {
    /// A watcher's data.
    ///
    /// # Errors
    /// [`Misuse::StaleId`].
    pub fn watcher(&self, id: WatcherId) -> Result<WatcherInfo<'_>, Misuse> {
        let watcher = self.watchers.get(id.0).ok_or(Misuse::StaleId)?;
        let resource = self.resources.id_at(watcher.resource).ok_or(Misuse::StaleId)?;
        Ok(WatcherInfo {
            resource: ResourceId(resource),
            state: watcher.machine.state(),
            from: watcher.dialog.remote(),
            identity: watcher.identity.as_deref(),
            target: watcher.dialog.target(),
            event: watcher.dialog.event(),
            view: watcher.view,
            expires_at: watcher.machine.deadline(),
        })
    }

    /// All watchers, in slot order.
    pub fn watchers(&self) -> impl Iterator<Item = WatcherId> {
        self.watchers.iter().map(|(id, _)| WatcherId(id))
    }

    /// A number of the application's own, kept with the watcher; 0 at first.
    ///
    /// # Errors
    /// [`Misuse::StaleId`].
    pub fn watcher_data(&mut self, id: WatcherId) -> Result<&mut u64, Misuse> {
        self.note(id);
        self.watchers.get_mut(id.0).map(|w| &mut w.user_data).ok_or(Misuse::StaleId)
    }

    /// Makes a pending watcher active; it is told the state at once (RFC 6665
    /// section 4.2.1.3).
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::WrongState`] unless it is pending.
    pub fn approve(&mut self, now: Instant, id: WatcherId) -> Result<(), Misuse> {
        let now = self.advance(now);
        let watcher = self.watchers.get_mut(id.0).ok_or(Misuse::StaleId)?;
        watcher.machine.approve(now).map_err(|_| Misuse::WrongState)?;
        self.make_ready(id.0.slot);
        self.rearm_watcher(id.0.slot);
        Ok(())
    }

    /// Ends a watcher's subscription. `retry_after` (seconds) is told where RFC
    /// 6665 section 4.2.2 gives it a meaning: probation, giveup, invariant, or
    /// an unknown reason. The NOTIFY that says so waits for the answer to one
    /// that is under way, since of two the later might come first; a
    /// watcher that does not answer that one within 64*T1 is gone with it.
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::WrongState`] if it has ended already;
    /// [`Misuse::BadValue`] if an unknown reason is not a token.
    pub fn terminate(
        &mut self,
        now: Instant,
        id: WatcherId,
        reason: &Reason,
        retry_after: Option<u32>,
    ) -> Result<(), Misuse> {
        let now = self.advance(now);
        if !crate::wire::is_token(reason.as_bytes()) {
            return Err(Misuse::BadValue);
        }
        let watcher = self.watchers.get(id.0).ok_or(Misuse::StaleId)?;
        if watcher.machine.is_terminated() {
            return Err(Misuse::WrongState);
        }
        self.end_watcher(now, id.0.slot, reason, retry_after);
        Ok(())
    }

    pub(super) fn end_watcher(&mut self, now: Instant, slot: u32, reason: &Reason, retry_after: Option<u32>) {
        let Some(watcher) = self.watchers.at_mut(slot) else { return };
        if let Reason::Other(token) = reason {
            watcher.other_reason = Some(token.to_vec().into_boxed_slice());
        }
        if watcher.machine.terminate(now, reason_code(reason), retry_after).is_ok() {
            self.make_ready(slot);
            self.rearm_watcher(slot);
        }
    }

    /// Shortens what is left of a subscription to `seconds`; the watcher is
    /// told by the next NOTIFY, which is sent now (RFC 6665 section 4.2.2).
    ///
    /// # Errors
    /// [`Misuse::StaleId`]; [`Misuse::WrongState`] if it has ended;
    /// [`Misuse::LongerThanAsked`] if less is left.
    pub fn shorten(&mut self, now: Instant, id: WatcherId, seconds: u32) -> Result<(), Misuse> {
        let now = self.advance(now);
        let watcher = self.watchers.get_mut(id.0).ok_or(Misuse::StaleId)?;
        if watcher.machine.is_terminated() {
            return Err(Misuse::WrongState);
        }
        watcher.machine.shorten(now, seconds).map_err(|_| Misuse::LongerThanAsked)?;
        self.make_ready(id.0.slot);
        self.rearm_watcher(id.0.slot);
        Ok(())
    }

    /// Moves a watcher to another view; an active one is told its state.
    ///
    /// # Errors
    /// [`Misuse::StaleId`].
    pub fn set_view(&mut self, now: Instant, id: WatcherId, view: View) -> Result<(), Misuse> {
        let now = self.advance(now);
        let watcher = self.watchers.get_mut(id.0).ok_or(Misuse::StaleId)?;
        if core::mem::replace(&mut watcher.view, view) != view {
            watcher.machine.mark_dirty(now);
            self.make_ready(id.0.slot);
            self.note(id);
        }
        Ok(())
    }

    /// Whether [`Event::Notified`] tells what becomes of this watcher's NOTIFYs;
    /// off at first.
    ///
    /// # Errors
    /// [`Misuse::StaleId`].
    pub fn report_delivery(&mut self, id: WatcherId, yes: bool) -> Result<(), Misuse> {
        self.watchers.get_mut(id.0).ok_or(Misuse::StaleId)?.report = yes;
        self.note(id);
        Ok(())
    }

    pub(super) fn rearm_watcher(&mut self, slot: u32) {
        let deadline = self.watchers.at(slot).and_then(|w| w.machine.poll_timeout());
        self.watcher_timers.set(slot, deadline);
        if let Some(id) = self.watchers.id_at(slot) {
            self.note(WatcherId(id));
        }
    }

    pub(super) fn watcher_timeout(&mut self, now: Instant, slot: u32) {
        let Some(watcher) = self.watchers.at_mut(slot) else { return };
        watcher.machine.handle_timeout(now);
        self.settle_watcher(now, slot);
    }

    /// Follows up on whatever the machine has come to.
    pub(super) fn settle_watcher(&mut self, now: Instant, slot: u32) {
        let Some(id) = self.watchers.id_at(slot) else { return };
        let Some(watcher) = self.watchers.at_mut(slot) else { return };
        if let Some(Outcome::Gone(cause)) = watcher.machine.poll_outcome() {
            let why = gone(cause, watcher);
            self.remove_watcher(slot);
            self.push_event(Event::WatcherGone { watcher: WatcherId(id), why });
            return;
        }
        let stale = self.resources.at(watcher.resource).is_some_and(|r| r.version_of(watcher.view) != watcher.told);
        if stale || watcher.machine.wants_notify(now).is_some() {
            self.make_ready(slot);
        }
        self.rearm_watcher(slot);
    }

    pub(super) fn remove_watcher(&mut self, slot: u32) {
        self.leave_window(slot);
        self.unlink(slot);
        self.watcher_timers.set(slot, None);
        let Some(id) = self.watchers.id_at(slot) else { return };
        let Some(watcher) = self.watchers.remove(slot) else { return };
        self.note(WatcherId(id));
        if watcher.shared {
            self.leave(watcher.dialog_name(), slot);
        }
        self.forget_call(true, watcher.dialog.call_id());
        if let Some(seq) = watcher.open {
            self.abandoned.push_back(RequestId { subject: Subject::Watcher(id), seq });
        }
        self.leave_source(watcher.flow);
        self.flows.release(&self.entropy, watcher.flow);
        if let Some(destination) = watcher.destination {
            self.flows.release(&self.entropy, destination);
        }
        let Some(resource) = self.resources.at_mut(watcher.resource) else { return };
        let at = watcher.position as usize;
        if at < resource.watchers.len() {
            resource.watchers.swap_remove(at);
        }
        if let Some(moved) = resource.watchers.get(at).copied() {
            let passed = resource.dirty && watcher.position < resource.cursor;
            if let Some(moved) = self.watchers.at_mut(moved) {
                moved.position = watcher.position;
            }
            // The walk will not come back to where the last one went.
            if passed {
                self.make_ready(moved);
            }
        }
        self.retire(watcher.resource);
    }

    pub(super) fn notify_response<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        slot: u32,
        seq: u32,
        status: StatusCode,
        message: &V,
    ) {
        if status.is_provisional() {
            return;
        }
        let retry_after = read::retry_after(message).map(|r| r.seconds);
        let code = status.as_u16();
        let (dialect, bad_gateway) = (self.config.policy.dialect, self.config.policy.bad_gateway);
        let Some(id) = self.watchers.id_at(slot) else { return };
        let Some(watcher) = self.close_open(slot, seq) else { return };
        let effect = match dialect {
            _ if code == 502 && bad_gateway == crate::BadGateway::EndDialog => NotifyEffect::EndDialog,
            crate::Dialect::Rfc6665 => notify_effect(code, false),
            crate::Dialect::Rfc3265 => notify_effect_rfc3265(code, retry_after.is_some()),
        };
        watcher.refusal = Some(status).filter(|_| !status.is_success());
        watcher.proven = true;
        let (report, cseq) = (watcher.report, watcher.local_cseq);
        if effect == NotifyEffect::Delivered
            && let Some(dialog) = self.watchers.at(slot).map(|watcher| &watcher.dialog)
            && let super::dialogs::Contact::Target(target) = super::dialogs::new_contact(message, dialog.target())
        {
            self.retarget_watcher(slot, target);
        }
        let whose = Subject::Watcher(id);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            self.leave_server(whose);
        }
        let retry = match effect {
            NotifyEffect::Challenge => self.challenged(now, whose, status, message) == Verdict::Retry,
            NotifyEffect::Redirect => self.redirected(whose, status, message),
            NotifyEffect::Keep | NotifyEffect::TimedOut => code < 600 && self.next_stop(whose),
            _ => false,
        };
        if retry {
            // Nobody has seen its number yet (RFC 6665 section 5.3.2).
            if let Some(watcher) = self.watchers.at_mut(slot).filter(|w| w.open_numbered) {
                watcher.numbered = watcher.numbered.saturating_sub(1);
            }
            if effect != NotifyEffect::Challenge {
                self.trial_moves(whose);
            }
            self.finish_notify(now, slot, seq, NotifyResult::Retry);
            return;
        }
        self.trial_over(whose);
        self.detour_over(whose);
        if effect == NotifyEffect::Delivered {
            self.take_info(whose, message);
        }
        self.report_notify(report, slot, cseq, Told::Answered(status));
        let siblings = self.siblings(slot);
        let result = match effect {
            NotifyEffect::Delivered => NotifyResult::Delivered,
            NotifyEffect::EndUsage | NotifyEffect::EndDialog => NotifyResult::Ended,
            NotifyEffect::TimedOut => NotifyResult::TimedOut,
            NotifyEffect::Keep | NotifyEffect::Redirect | NotifyEffect::Challenge => NotifyResult::Kept { retry_after },
        };
        self.finish_notify(now, slot, seq, result);
        if effect == NotifyEffect::EndDialog {
            self.dialog_refused(siblings, status);
        }
    }

    pub(super) fn notify_failed(&mut self, now: Instant, slot: u32, seq: u32, why: Failure) {
        let Some(watcher) = self.close_open(slot, seq) else { return };
        let (report, cseq) = (watcher.report, watcher.local_cseq);
        let lost = why != Failure::Timeout && self.has_other_way(slot);
        self.forget_destination(slot);
        if let Some(id) = self.watchers.id_at(slot) {
            if lost || self.next_stop(Subject::Watcher(id)) {
                self.trial_moves(Subject::Watcher(id));
                return self.finish_notify(now, slot, seq, NotifyResult::Retry);
            }
            self.trial_over(Subject::Watcher(id));
            self.detour_over(Subject::Watcher(id));
        }
        self.report_notify(report, slot, cseq, Told::Failed(why));
        let result = match why {
            Failure::Timeout => NotifyResult::TimedOut,
            Failure::Transport | Failure::Unresolved => NotifyResult::TransportFailed,
        };
        self.finish_notify(now, slot, seq, result);
    }

    /// Takes the open NOTIFY `seq` off the watcher's hands.
    fn close_open(&mut self, slot: u32, seq: u32) -> Option<&mut Watcher> {
        if self.watchers.at(slot)?.open != Some(seq) {
            return None;
        }
        self.leave_window(slot);
        let watcher = self.watchers.at_mut(slot)?;
        watcher.open = None;
        Some(watcher)
    }

    fn finish_notify(&mut self, now: Instant, slot: u32, seq: u32, result: NotifyResult) {
        if let Some(watcher) = self.watchers.at_mut(slot) {
            watcher.machine.handle_notify_result(now, seq, result);
        }
        let siblings = self.siblings(slot);
        self.settle_watcher(now, slot);
        self.wake(&siblings);
    }

    fn report_notify(&mut self, report: bool, slot: u32, cseq: u32, result: Told) {
        if report && let Some(id) = self.watchers.id_at(slot) {
            self.push_news(Event::Notified { watcher: WatcherId(id), cseq, result });
        }
    }

    /// A new remote target: where it leads has to be found anew.
    pub(super) fn retarget_watcher(&mut self, slot: u32, target: Vec<u8>) {
        self.retarget_one(slot, target);
        self.retarget_siblings(slot);
    }

    pub(super) fn retarget_one(&mut self, slot: u32, target: Vec<u8>) {
        let limit = self.config.limits.dialog;
        let Some(watcher) = self.watchers.at_mut(slot) else { return };
        if watcher.dialog.set_target(target, limit) == Ok(true) {
            self.target_moved(slot);
        }
    }

    /// Its NOTIFYs go elsewhere, at the end at least: a route set leads to the
    /// same next hop as before.
    pub(super) fn target_moved(&mut self, slot: u32) {
        match self.watchers.at_mut(slot) {
            Some(watcher) if !watcher.dialog.routes().is_empty() => watcher.proven = watcher.authenticated,
            _ => self.forget_destination(slot),
        }
    }

    /// Whether the way that the open NOTIFY took was known from before and is
    /// not the only one: then that of its route or target is to be found anew
    /// (INT-11). What is found so is not lost for another.
    fn has_other_way(&self, slot: u32) -> bool {
        let Some(watcher) = self.watchers.at(slot) else { return false };
        // A proxy's connection that is in no route set leads nowhere.
        let leads = |arrival: &&super::flows::FlowRecord| watcher.direct && arrival.flow().stream.is_some();
        let arrival = self.flows.get(watcher.flow).filter(leads);
        match watcher.pinned {
            None => false,
            Some(true) => {
                arrival.is_none_or(|arrival| arrival.gone && self.config.policy.flow_gone != crate::FlowGone::Remove)
            }
            Some(false) => self.config.policy.delivery != crate::Delivery::Flow && watcher.dialog.next_hop_is_name(),
        }
    }

    pub(super) fn forget_destination(&mut self, slot: u32) {
        self.unlink(slot);
        self.leave_window(slot);
        let Some(watcher) = self.watchers.at_mut(slot) else { return };
        watcher.proven = watcher.authenticated;
        if let Some(old) = watcher.destination.take() {
            self.flows.release(&self.entropy, old);
        }
    }
}

fn gone(cause: GoneCause, watcher: &Watcher) -> Gone {
    match cause {
        GoneCause::Expired => Gone::Expired,
        GoneCause::Unsubscribed => Gone::Unsubscribed,
        GoneCause::Terminated { reason } => Gone::Terminated(match reason {
            ReasonCode::Deactivated => Reason::Deactivated,
            ReasonCode::Probation | ReasonCode::Absent => Reason::Probation,
            ReasonCode::Rejected => Reason::Rejected,
            ReasonCode::Timeout => Reason::Timeout,
            ReasonCode::Giveup => Reason::Giveup,
            ReasonCode::NoResource => Reason::NoResource,
            ReasonCode::Invariant => Reason::Invariant,
            ReasonCode::BadFilter => Reason::BadFilter,
            ReasonCode::Other => {
                Reason::Other(watcher.other_reason.as_deref().map(bytes::Bytes::copy_from_slice).unwrap_or_default())
            }
        }),
        GoneCause::NotifyFailed { why: notifier::Failure::Refused } => match watcher.refusal {
            Some(status) => Gone::Refused(status),
            None => Gone::NoAnswer(Failure::Timeout),
        },
        GoneCause::NotifyFailed { why: notifier::Failure::TimedOut } => Gone::NoAnswer(Failure::Timeout),
        GoneCause::NotifyFailed { why: notifier::Failure::Transport } => Gone::NoAnswer(Failure::Transport),
    }
}
