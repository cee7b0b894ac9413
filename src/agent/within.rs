//! Subscriptions of ours that share a dialog (RFC 6665 section 4.5.2): for
//! notifiers older than RFC 6665, and only where the configuration says so.

use smallvec::SmallVec;

use super::Agent;
use super::message::Subject;
use super::subscribe::Subscribe;
use super::subscriptions::Subscription;
use crate::BadGateway;
use crate::DialogSharing;
use crate::Instant;
use crate::error::Misuse;
use crate::id::{RawId, SubscriptionId};
use crate::machine::responses::{SubscribeEffect, subscribe_effect};
use crate::machine::subscriber::State;
use crate::wire::{self, StatusCode, Uri};

/// Slots of subscriptions.
pub(super) type Partners = SmallVec<[u32; 4]>;

impl Agent {
    /// Subscribes inside the dialog of `other`.
    pub(super) fn subscribe_within(
        &mut self,
        now: Instant,
        other: RawId,
        mut record: Subscription,
    ) -> Result<SubscriptionId, Misuse> {
        let host = self.subscriptions.get(other).ok_or(Misuse::StaleId)?;
        let lives = matches!(host.machine.state(), State::Pending | State::Active) && !host.machine.is_ending();
        let (Some(dialog), Some(attempt), true) = (&host.dialog, host.attempt, lives) else {
            return Err(Misuse::WrongState);
        };
        let gruu = Uri::parse(dialog.target()).is_ok_and(|target| target.param(b"gr").is_some());
        if self.config.policy.dialog_sharing == DialogSharing::Refuse || gruu {
            return Err(Misuse::WrongState);
        }
        let mut members = self.partners(other.slot);
        members.push(other.slot);
        if self.partner_for(&members, record.intent.event.as_bytes()).is_some() {
            return Err(Misuse::Exists);
        }
        let full = members.len() >= self.config.limits.usages as usize;
        let own = dialog.for_event(record.intent.event.as_bytes(), dialog.target().to_vec(), self.config.limits.dialog);
        let (false, Ok(own)) = (full, own) else { return Err(Misuse::Limit) };
        record.dialog = Some(own);
        record.attempt = Some(attempt);
        (record.local_cseq, record.remote_cseq) = (host.local_cseq, host.remote_cseq);
        let way = host.destination.and_then(|id| self.flows.get(id)).map(|record| record.flow());
        let way = way.and_then(|flow| self.flows.intern(&self.entropy, flow));
        record.destination = way;
        let Some(id) = self.subscriptions.insert_with(|_| record) else {
            if let Some(way) = way {
                self.flows.release(&self.entropy, way);
            }
            return Err(Misuse::Limit);
        };
        if let Some(way) = way {
            self.use_flow(way, Subject::Subscription(id));
        }
        if let Some(attempt) = self.attempts.at_mut(attempt) {
            attempt.subscriptions.push(id.slot);
        }
        self.want_to_send(id.slot);
        self.settle_subscription(now, id.slot);
        Ok(SubscriptionId(id))
    }

    /// The other subscriptions of its dialog.
    pub(super) fn partners(&self, slot: u32) -> Partners {
        let record = self.subscriptions.at(slot);
        let attempt = record.and_then(|s| self.attempts.at(s.attempt?)).filter(|a| a.subscriptions.len() > 1);
        let (Some(attempt), Some(dialog)) = (attempt, record.and_then(|s| s.dialog.as_ref())) else {
            return Partners::new();
        };
        let mut partners = self.of_dialog(&attempt.subscriptions, dialog.remote_tag());
        partners.retain(|partner| *partner != slot);
        partners
    }

    /// Which of an attempt's subscriptions are in the dialog with `remote_tag`.
    pub(super) fn of_dialog(&self, slots: &[u32], remote_tag: &[u8]) -> Partners {
        let inside = |slot: &u32| {
            let dialog = self.subscriptions.at(*slot).and_then(|s| s.dialog.as_ref());
            dialog.is_some_and(|d| d.remote_tag() == remote_tag)
        };
        slots.iter().copied().filter(inside).collect()
    }

    /// Which of the subscriptions of one dialog an Event names.
    pub(super) fn partner_for(&self, members: &Partners, event: &[u8]) -> Option<u32> {
        let event = wire::Event::parse(event).ok()?;
        let named = |slot: &u32| {
            let own = self.subscriptions.at(*slot).and_then(|s| wire::Event::parse(s.intent.event.as_bytes()).ok());
            own.is_some_and(|own| event.matches(&own))
        };
        members.iter().copied().find(named)
    }

    /// Whether it came into a dialog that another subscription had made.
    pub(super) fn is_guest(&self, slot: u32) -> bool {
        let Some(record) = self.subscriptions.at(slot).filter(|s| !s.governor.is_fork) else { return false };
        let root = record.attempt.and_then(|attempt| self.attempts.at(attempt)).and_then(|attempt| attempt.root);
        record.attempt.is_some() && root != self.subscriptions.id_at(slot)
    }

    /// Both CSeqs of a dialog are the highest that one of its subscriptions knows.
    pub(super) fn in_step(&mut self, slot: u32) {
        let mut members = self.partners(slot);
        if members.is_empty() {
            return;
        }
        members.push(slot);
        let known =
            |of: fn(&Subscription) -> u32| members.iter().filter_map(|m| self.subscriptions.at(*m)).map(of).max();
        let (local, remote) = (known(|s| s.local_cseq).unwrap_or(0), known(|s| s.remote_cseq).unwrap_or(0));
        for member in members {
            if let Some(member) = self.subscriptions.at_mut(member) {
                (member.local_cseq, member.remote_cseq) = (local, remote);
            }
        }
    }

    /// A subscription that was read has come to those of its dialog.
    pub(super) fn meet_partners(&mut self, slot: u32) {
        let target = self.subscriptions.at(slot).and_then(|s| s.dialog.as_ref()).map(|d| d.target().to_vec());
        let Some(target) = target.filter(|_| !self.partners(slot).is_empty()) else { return };
        self.in_step(slot);
        self.retarget_subscription(slot, target);
    }

    /// Whether another SUBSCRIBE of the dialog is in flight: a second one could
    /// overtake it, and it would be refused as out of order.
    pub(super) fn partner_sends(&self, slot: u32) -> bool {
        self.partners(slot).iter().any(|partner| self.subscriptions.at(*partner).is_some_and(|s| s.open.is_some()))
    }

    /// A SUBSCRIBE of their dialog is answered: they may have waited for that.
    pub(super) fn wake_partners(&mut self, partners: &Partners) {
        for partner in partners {
            self.want_to_send_if_due(*partner);
        }
    }

    /// What a final response to a SUBSCRIBE does, under the policy.
    pub(super) fn subscribe_effect(&self, code: u16) -> SubscribeEffect {
        match code {
            502 if self.config.policy.bad_gateway == BadGateway::EndDialog => SubscribeEffect::EndDialog,
            _ => subscribe_effect(code),
        }
    }

    /// A status that ends the dialog ends every subscription in it (RFC 5057
    /// section 5.1).
    pub(super) fn dialog_lost(
        &mut self,
        now: Instant,
        partners: &Partners,
        status: StatusCode,
        retry_after: Option<u32>,
    ) {
        for partner in partners {
            if let Some(record) = self.subscriptions.at_mut(*partner) {
                record.last_retry_after = retry_after;
                record.machine.handle_dialog_lost(status.as_u16(), retry_after);
            }
            self.settle_with_status(now, *partner, Some(status));
        }
    }
}

impl Subscribe {
    /// Subscribes inside the dialog of `other`, as RFC 3265 had it, to the
    /// resource that `other` watches: with another event package, or with
    /// another `id`. Should it be subscribed again by itself, it gets a dialog
    /// of its own.
    ///
    /// [`Agent::subscribe`] then fails with [`Misuse::WrongState`] unless
    /// [`DialogSharing::Allow`] is set, `other` has had a NOTIFY and is not
    /// ending, and the notifier's Contact is no GRUU, since a notifier that has
    /// one knows better (RFC 6665 section 4.5.2); with [`Misuse::Exists`] for
    /// an Event that the dialog has; with [`Misuse::Limit`] above
    /// [`Limits::usages`](crate::Limits::usages).
    #[must_use]
    pub fn within(mut self, other: SubscriptionId) -> Self {
        self.more_mut().within = Some(other.0);
        self
    }
}
