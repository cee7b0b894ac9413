//! The agent's state as bytes to take a digest of.

use alloc::format;
use alloc::vec::Vec;

use super::super::incoming::Incoming;
use super::super::locals::Local;
use super::super::message::{RequestId, Subject};
use super::super::moves::Sweep;
use super::super::subscribe::Subscribe;
use super::super::{Agent, Answer, Close};
use crate::codec::{Mode, Put, Ranks, Table, Writer};
use crate::event::Event;
use crate::id::{Arena, RawId};
use crate::snapshot::put_table;

tags!(Close { Terminate = 0, Persist = 1 });

/// How many live records stand before each slot.
fn ranks<T>(arena: &Arena<T>) -> Vec<u32> {
    let mut before = 0u32;
    let rank = |slot| {
        let own = before;
        before = before.saturating_add(u32::from(arena.at(slot).is_some()));
        own
    };
    (0..arena.slots()).map(rank).collect()
}

/// Which credentials a subscription has: no record holds them.
fn put_credentials(w: &mut Writer<'_>, intent: &Subscribe) {
    if w.is(Mode::Exact) {
        w.put(alloc::format!("{:?}", intent.more().credentials).as_str());
    }
}

impl Agent {
    /// The ranks that a writer of [`Mode::Behaviour`] needs.
    pub(crate) fn ranks(&self) -> Ranks {
        Ranks {
            resources: ranks(&self.resources),
            attempts: ranks(&self.attempts),
            subscriptions: ranks(&self.subscriptions),
            watchers: ranks(&self.watchers),
        }
    }

    /// A digest of all that the agent will do, whatever its identifiers; see
    /// [`Endpoint::digest`](crate::Endpoint::digest).
    pub fn digest(&self) -> u64 {
        let ranks = self.ranks();
        crate::snapshot::digest(self.now, Mode::Behaviour, Some(&ranks), |w| self.put_all(w))
    }

    /// A digest of all that later output depends on; see
    /// [`Endpoint::digest_exact`](crate::Endpoint::digest_exact).
    pub fn digest_exact(&self) -> u64 {
        crate::snapshot::digest(self.now, Mode::Exact, None, |w| self.put_all(w))
    }

    pub(crate) fn put_all(&self, w: &mut Writer<'_>) {
        let Self {
            config: _,
            packages,
            entropy,
            now: _,
            locals,
            flows: _,
            attempts,
            orphans,
            subscriptions,
            watchers,
            shares: _,
            resources,
            resource_index: _,
            incoming,
            auth,
            sources: _,
            attempt_timers: _,
            subscription_timers: _,
            watcher_timers: _,
            incoming_timers: _,
            answers,
            abandoned,
            senders,
            owed,
            ready,
            waiting: _,
            dirty,
            window,
            in_window: _,
            sweeps,
            changes: _,
            events,
            closing,
            drained,
            media_types: _,
            stats: _,
        } = self;
        super::records::put_packages(w, packages, None);
        w.ident(&entropy.fingerprint());
        w.ident(&entropy.counter());
        if w.is(Mode::Exact) {
            w.put(&locals.list);
        }
        put_table(w, resources, |w, _, resource| self.put_resource(w, resource));
        put_table(w, attempts, |w, _, attempt| {
            self.put_attempt(w, attempt);
            put_credentials(w, &attempt.intent);
        });
        put_table(w, subscriptions, |w, id, record| {
            put_credentials(w, &record.intent);
            self.put_attempt_of(w, id, record);
            self.put_subscription(w, record);
        });
        put_table(w, watchers, |w, _, watcher| {
            self.put_resource_of(w, watcher);
            self.put_watcher(w, watcher);
        });
        put_table(w, incoming, |w, _, incoming| self.put_incoming(w, incoming));
        auth.put_all(w);
        let orphans: Vec<_> = orphans.iter().filter(|id| self.is_orphan(**id)).collect();
        put_slots_of(w, Table::Attempts, orphans.into_iter().map(|id| id.slot));
        put_slots_of(w, Table::Subscriptions, live(subscriptions, senders.iter()));
        put_slots_of(w, Table::Watchers, live(watchers, owed.iter()));
        self.put_queue(w, ready.first());
        for (_, record) in self.flows.iter() {
            self.put_queue(w, record.waiting.first());
        }
        put_slots_of(w, Table::Resources, dirty.iter().copied().filter(|slot| resources.at(*slot).is_some()));
        for entry in window {
            let open = watchers.get(entry.watcher).is_some_and(|watcher| watcher.open == Some(entry.seq));
            w.put(&entry.sent);
            w.put(&open);
            if open {
                w.slot(Table::Watchers, entry.watcher.slot);
            }
        }
        w.put(&sweeps.len());
        for sweep in sweeps {
            self.put_sweep(w, sweep);
        }
        w.put(closing);
        w.put(drained);
        for (token, answer) in answers {
            w.ident(&token.0);
            put_answer(w, answer);
        }
        for request in abandoned {
            self.put_request(w, request);
        }
        for event in events {
            put_event(w, event);
        }
    }

    fn put_sweep(&self, w: &mut Writer<'_>, sweep: &Sweep) {
        match sweep {
            Sweep::Gone { flow, users } => {
                w.put(&self.flows.get(*flow).map(|record| record.flow()));
                for user in users {
                    self.put_request(w, &RequestId { subject: *user, seq: 0 });
                }
            }
            Sweep::Move { from, to, subscriptions, watchers } => {
                w.put(from);
                w.put(to);
                w.ident(subscriptions);
                w.ident(watchers);
            }
        }
    }

    /// The watchers of a list, in their order.
    fn put_queue(&self, w: &mut Writer<'_>, first: Option<u32>) {
        let mut next = first;
        while let Some(slot) = next {
            w.slot(Table::Watchers, slot);
            next = self.watchers.at(slot).and_then(|watcher| watcher.link.after());
        }
        w.word(u64::MAX);
    }

    /// Whose request it is, and whether that still waits for its answer.
    pub(crate) fn put_request(&self, w: &mut Writer<'_>, request: &RequestId) {
        let RequestId { subject, seq } = request;
        let (table, id, open) = match subject {
            Subject::Subscription(id) => {
                (Table::Subscriptions, id, self.subscriptions.get(*id).is_some_and(|record| record.open == Some(*seq)))
            }
            Subject::Watcher(id) => {
                (Table::Watchers, id, self.watchers.get(*id).is_some_and(|watcher| watcher.open == Some(*seq)))
            }
        };
        w.word(table as u64);
        w.put(&open);
        if open {
            w.slot(table, id.slot);
        }
        w.ident(id);
        w.ident(seq);
    }

    fn put_incoming(&self, w: &mut Writer<'_>, incoming: &Incoming) {
        let Incoming {
            token,
            package,
            resource,
            key,
            uri,
            dialog,
            flow,
            identity,
            info,
            expires,
            cseq,
            media,
            secure,
            direct,
            body,
            deadline,
            shares,
        } = incoming;
        w.ident(&token.0);
        w.put(&package.0);
        let known = resource.filter(|id| self.resources.get(*id).is_some());
        w.put(&known.is_some());
        if let Some(id) = known {
            w.slot(Table::Resources, id.slot);
        }
        w.put(&key[..]);
        w.put(uri);
        super::records::put_dialog(w, dialog);
        w.put(flow);
        w.put(identity);
        w.ident(&info[..]);
        w.put(expires);
        w.ident(cseq);
        w.put(media);
        w.put(secure);
        w.put(direct);
        w.put(body);
        w.put(deadline);
        self.put_share(w, *shares);
    }

    /// Whether nothing is queued, in flight or undecided.
    pub(crate) fn is_quiescent(&self) -> bool {
        !self.has_output()
            && self.incoming.len() == 0
            && self.auth.is_idle()
            && self.window.is_empty()
            && self.waiting == 0
            && self.closing.is_none()
            && self.dirty.is_empty()
            && self.ready.first().is_none()
            && self.subscriptions.iter().all(|(_, record)| record.open.is_none() && !record.machine.awaits_notify())
            && self.watchers.iter().all(|(_, watcher)| watcher.open.is_none())
    }
}

impl Put for Local {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { transport, bind, sent_by, sent_by_text: _, contact, gruu } = self;
        w.put(transport);
        w.put(bind);
        let mut text = Vec::new();
        sent_by.write(&mut text);
        w.put(&text[..]);
        w.put(&contact[..]);
        w.put(gruu);
    }
}

fn put_slots_of(w: &mut Writer<'_>, table: Table, slots: impl Iterator<Item = u32>) {
    for slot in slots {
        w.slot(table, slot);
    }
    w.word(u64::MAX);
}

fn live<'a, T>(arena: &'a Arena<T>, ids: impl Iterator<Item = &'a RawId> + 'a) -> impl Iterator<Item = u32> + 'a {
    ids.filter(|id| arena.get(**id).is_some()).map(|id| id.slot)
}

fn put_answer(w: &mut Writer<'_>, answer: &Answer) {
    let Answer { status, reason, to_tag, dialog_forming, fields, stateless } = answer;
    w.put(status);
    w.put(reason.map(str::as_bytes).unwrap_or_default());
    w.ident(&to_tag.map(|tag| tag.0.text()).unwrap_or_default()[..]);
    w.put(dialog_forming);
    w.put(stateless);
    w.put(&fields[..]);
}

/// Which event it is; with its data where that is no identifier.
fn put_event(w: &mut Writer<'_>, event: &Event) {
    let text = format!("{event:?}");
    let name = text.split([' ', '(']).next().unwrap_or_default();
    w.put(name);
    w.ident(text.as_str());
}
