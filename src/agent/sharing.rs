//! Watchers that share a dialog, as peers of RFC 3265 make them (RFC 6665
//! section 4.5.2): one CSeq space, route set and remote target, and a
//! subscription each.

use alloc::collections::BTreeMap;
use alloc::string::ToString;

use smallvec::SmallVec;

use super::Agent;
use super::dialogs;
use super::dialogs::Contact;
use super::incoming::{Asked, dialog_event};
use super::message::{Names, Origin, Token};
use super::watchers::Watcher;
use crate::DialogSharing;
use crate::Instant;
use crate::entropy::{Minted, Role};
use crate::event::{Event, Gone};
use crate::id::WatcherId;
use crate::package::PackageIndex;
use crate::wire::{self, MessageView, StatusCode};

use super::Answer;

/// What names a dialog of a watcher: slot and nonce in our tag.
pub(super) type Name = (u32, u64);

/// The slots of the watchers of one dialog.
pub(super) type Members = SmallVec<[u32; 4]>;

/// The dialogs that have had two watchers at once, until their last one ends.
pub(super) type Shares = BTreeMap<Name, Members>;

impl Watcher {
    pub(super) fn dialog_name(&self) -> Name {
        (self.tag_slot, self.nonce)
    }

    /// Our tag in its dialog.
    pub(super) fn tag(&self) -> Minted {
        Minted { role: Role::Notifier, slot: self.tag_slot, nonce: self.nonce }
    }
}

impl Agent {
    /// Our tag in a watcher's dialog.
    #[cfg(feature = "testing")]
    pub(crate) fn tag_of(&self, id: crate::WatcherId) -> Option<[u8; crate::entropy::MINTED_LEN]> {
        self.watchers.get(id.0).map(|watcher| watcher.tag().text())
    }

    /// The watchers of the dialog with our tag `name`, one as a rule.
    pub(super) fn members(&self, name: Name) -> Members {
        if let Some(members) = self.shares.get(&name) {
            return members.clone();
        }
        let alone = self.watchers.at(name.0).is_some_and(|w| w.dialog_name() == name);
        alone.then_some(name.0).into_iter().collect()
    }

    /// The other watchers of its dialog.
    pub(super) fn siblings(&self, slot: u32) -> Members {
        let Some(watcher) = self.watchers.at(slot).filter(|w| w.shared) else { return Members::new() };
        let mut members = self.shares.get(&watcher.dialog_name()).cloned().unwrap_or_default();
        members.retain(|member| *member != slot);
        members
    }

    /// The watchers whose dialog a request belongs to.
    pub(super) fn find_watchers(&self, names: &Names<'_>, to_tag: &[u8]) -> Option<Members> {
        let minted = Minted::read(to_tag).filter(|m| m.role == Role::Notifier)?;
        let members = self.members((minted.slot, minted.nonce));
        let watcher = self.watchers.at(*members.first()?)?;
        let same = watcher.dialog.call_id() == names.call_id
            && watcher.dialog.remote_tag() == names.from.tag().unwrap_or_default();
        same.then_some(members)
    }

    /// Which of `members` an Event names; one that is over only if no other is.
    pub(super) fn member_for(&self, members: &Members, event: &wire::Event<'_>) -> Option<u32> {
        let named = |slot: &u32| {
            let own = self.watchers.at(*slot).and_then(|w| wire::Event::parse(w.dialog.event()).ok());
            own.is_some_and(|own| event.matches(&own))
        };
        let over = |slot: &u32| self.watchers.at(*slot).is_none_or(|w| w.machine.is_terminated());
        let mut named = members.iter().copied().filter(named);
        let first = named.next()?;
        Some(if over(&first) { named.find(|slot| !over(slot)).unwrap_or(first) } else { first })
    }

    /// A SUBSCRIBE for something else inside the dialog of `members`: a
    /// subscription of its own, if that is allowed (RFC 6665 section 4.5.2).
    #[allow(clippy::too_many_arguments)]
    pub(super) fn further_usage<V: MessageView + ?Sized>(
        &mut self,
        now: Instant,
        from: &Origin,
        token: Token,
        message: &V,
        members: &Members,
        package: PackageIndex,
        cseq: u32,
    ) -> Result<(), Answer> {
        let lives = |slot: &u32| self.watchers.at(*slot).is_some_and(|w| !w.machine.is_terminated());
        let Some(host) = members.iter().copied().find(lives).and_then(|slot| self.watchers.at(slot)) else {
            return Err(Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION));
        };
        if self.config.policy.dialog_sharing == DialogSharing::Refuse {
            let mut answer = Answer::new(StatusCode::FORBIDDEN);
            answer.reason = Some("Dialog Sharing Not Supported");
            return Err(answer);
        }
        let name = host.dialog_name();
        let event = dialog_event(message);
        let waits = self.incoming.iter().any(|(_, i)| i.shares == Some(name) && i.dialog.event() == event);
        let full = members.len() >= self.config.limits.usages as usize;
        if self.closing.is_some() || waits || full {
            return Err(self.overload());
        }
        let target = match dialogs::contact(message) {
            Contact::Target(target) => target,
            Contact::Absent => host.dialog.target().to_vec(),
            Contact::Bad => return Err(Answer::new(StatusCode::BAD_REQUEST)),
        };
        let too_large = |_| Answer::new(StatusCode::MESSAGE_TOO_LARGE);
        let dialog = host.dialog.for_event(event, target, self.config.limits.dialog).map_err(too_large)?;
        // The Request-URI is our Contact: what is watched, the dialog says.
        let resource = self.resources.at(host.resource);
        let (uri, key) = resource.map(|r| (r.uri.to_string(), r.key.to_vec())).unwrap_or_default();
        let asked = Asked { package, uri, key, dialog, secure: host.secure, shares: Some(name), cseq };
        self.ask(now, from, token, message, asked).map_err(spare_dialog)?;
        self.set_remote_cseq(members, cseq);
        if let Some(first) = members.first() {
            self.join(*first);
        }
        Ok(())
    }

    /// The dialog of this watcher is shared, or about to be.
    pub(super) fn join(&mut self, slot: u32) {
        let Some(watcher) = self.watchers.at_mut(slot) else { return };
        watcher.shared = true;
        let name = watcher.dialog_name();
        let mut members = self.members(name);
        // By slot, whatever the order in which they came.
        if let Err(place) = members.binary_search(&slot) {
            members.insert(place, slot);
        }
        for member in &members {
            if let Some(member) = self.watchers.at_mut(*member) {
                member.shared = true;
            }
        }
        for id in members.iter().filter_map(|member| self.watchers.id_at(*member)).collect::<SmallVec<[_; 4]>>() {
            self.note(WatcherId(id));
        }
        self.shares.insert(name, members);
        self.align(slot);
    }

    /// Both CSeqs of a dialog are the highest that one of its watchers knows.
    pub(super) fn align(&mut self, slot: u32) {
        let Some(watcher) = self.watchers.at(slot).filter(|w| w.shared) else { return };
        let members = self.members(watcher.dialog_name());
        let known = |of: fn(&Watcher) -> u32| members.iter().filter_map(|m| self.watchers.at(*m)).map(of).max();
        let (local, remote) = (known(|w| w.local_cseq).unwrap_or(0), known(|w| w.remote_cseq).unwrap_or(0));
        for member in members {
            if let Some(member) = self.watchers.at_mut(member) {
                (member.local_cseq, member.remote_cseq) = (local, remote);
            }
        }
    }

    pub(super) fn set_remote_cseq(&mut self, members: &Members, cseq: u32) {
        for member in members {
            if let Some(member) = self.watchers.at_mut(*member) {
                member.remote_cseq = cseq;
            }
        }
    }

    /// The remote target of a dialog is that of all its subscriptions
    /// (5057-5.4-1).
    pub(super) fn retarget_siblings(&mut self, slot: u32) {
        for sibling in self.siblings(slot) {
            let Some(target) = self.watchers.at(slot).map(|w| w.dialog.target().to_vec()) else { return };
            self.retarget_one(sibling, target);
            self.make_ready(sibling);
            if let Some(id) = self.watchers.id_at(sibling) {
                self.note(WatcherId(id));
            }
        }
    }

    /// Whether another watcher of the dialog has a NOTIFY open. A second one
    /// could overtake it, and it would be refused as out of order.
    pub(super) fn must_wait(&self, slot: u32) -> bool {
        self.siblings(slot).iter().any(|sibling| self.watchers.at(*sibling).is_some_and(|w| w.open.is_some()))
    }

    /// A NOTIFY of the dialog is closed: the others may have waited for that.
    pub(super) fn wake(&mut self, members: &Members) {
        for member in members {
            self.make_ready(*member);
        }
    }

    /// A watcher has ended. The dialog lives as long as one is left in it.
    pub(super) fn leave(&mut self, name: Name, slot: u32) {
        let Some(members) = self.shares.get_mut(&name) else { return };
        members.retain(|member| *member != slot);
        let left = members.clone();
        self.wake(&left);
        if !left.is_empty() {
            return;
        }
        self.shares.remove(&name);
        let undecided: SmallVec<[u32; 4]> =
            self.incoming.iter().filter(|(_, i)| i.shares == Some(name)).map(|(id, _)| id.slot).collect();
        for slot in undecided {
            if let Some(incoming) = self.drop_incoming(slot) {
                self.reply(incoming.token, Answer::new(StatusCode::NO_SUCH_SUBSCRIPTION));
            }
        }
    }

    /// A status that ends the dialog ends every subscription in it (RFC 5057
    /// section 5.1).
    pub(super) fn dialog_refused(&mut self, siblings: Members, status: StatusCode) {
        for slot in siblings {
            let Some(id) = self.watchers.id_at(slot) else { continue };
            self.remove_watcher(slot);
            self.push_event(Event::WatcherGone { watcher: WatcherId(id), why: Gone::Refused(status) });
        }
    }
}

/// A refusal must not end the dialog of the others (5057-5.6-1).
pub(super) fn spare_dialog(mut answer: Answer) -> Answer {
    if crate::machine::responses::ends_dialog(answer.status.as_u16()) {
        answer.status = StatusCode::FORBIDDEN;
    }
    answer
}
