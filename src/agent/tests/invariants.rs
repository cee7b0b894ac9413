//! What holds in an agent after every input.

use alloc::vec::Vec;

use super::super::list::Queue;
use crate::agent::Agent;
use crate::agent::flows::FlowId;
use crate::agent::message::Subject;
use crate::agent::moves::Sweep;

/// Panics where counts, lists and indices disagree with the records.
pub(super) fn check(agent: &Agent) {
    flows(agent);
    lists(agent);
    attempts(agent);
    resources(agent);
    timers(agent);
    sources(agent);
    shares(agent);
}

/// Who shares a dialog is known, and agrees on what the dialog has once.
fn shares(agent: &Agent) {
    for (name, members) in &agent.shares {
        assert!(!members.is_empty() && members.is_sorted());
        let first = agent.watchers.at(members[0]).expect("a member lives");
        for slot in members {
            let member = agent.watchers.at(*slot).expect("a member lives");
            assert_eq!((member.dialog_name(), member.shared), (*name, true));
            assert_eq!((member.local_cseq, member.remote_cseq), (first.local_cseq, first.remote_cseq));
            assert_eq!(member.dialog.target(), first.dialog.target());
            assert_eq!(member.dialog.call_id(), first.dialog.call_id());
        }
    }
    let shared = agent.watchers.iter().filter(|(_, w)| w.shared).count();
    assert_eq!(agent.shares.values().map(|members| members.len()).sum::<usize>(), shared);
    for (id, watcher) in agent.watchers.iter() {
        assert!(watcher.shared || watcher.tag_slot == id.slot, "{id:?} is alone in another's dialog");
    }
    for (_, incoming) in agent.incoming.iter() {
        assert!(incoming.shares.is_none_or(|name| agent.shares.contains_key(&name)));
    }
}

fn sources(agent: &Agent) {
    let mut addresses: Vec<_> = agent.watchers.iter().map(|(_, w)| agent.flows.get(w.flow).unwrap().flow()).collect();
    addresses.extend(agent.incoming.iter().map(|(_, incoming)| incoming.flow));
    let mut addresses: Vec<_> = addresses.iter().map(|flow| flow.remote.ip()).collect();
    let all = addresses.len();
    addresses.sort();
    for ip in &addresses {
        let count = addresses.iter().filter(|other| *other == ip).count();
        assert_eq!(agent.sources.count(&agent.entropy, *ip) as usize, count, "watchers of {ip}");
    }
    addresses.dedup();
    assert_eq!(agent.sources.total(), (addresses.len(), all as u32));
}

fn flows(agent: &Agent) {
    for (id, record) in agent.flows.iter() {
        let id = FlowId(id);
        let named = |flow: Option<FlowId>| u32::from(flow == Some(id));
        let uses: u32 = agent.watchers.iter().map(|(_, w)| named(Some(w.flow)) + named(w.destination)).sum();
        let uses = uses + agent.subscriptions.iter().map(|(_, s)| named(s.destination)).sum::<u32>();
        let held = |sweep: &&Sweep| matches!(sweep, Sweep::Gone { flow, .. } if *flow == id);
        let uses = uses + agent.sweeps.iter().filter(held).count() as u32;
        assert_eq!(agent.flows.uses(id), uses, "uses of {:?}", record.flow());
        if record.flow().stream.is_some() && !record.gone {
            let watchers = agent.watchers.iter().filter(|(_, w)| w.flow == id || w.destination == Some(id));
            let subscriptions = agent.subscriptions.iter().filter(|(_, s)| s.destination == Some(id));
            let users = watchers.map(|(user, _)| Subject::Watcher(user));
            for user in users.chain(subscriptions.map(|(user, _)| Subject::Subscription(user))) {
                assert!(record.users().contains(&user), "{user:?} is not listed for {:?}", record.flow());
            }
            assert!(record.users().len() <= record.most_users().max(16), "those who left pile up");
        }
        let in_window: u32 = agent.watchers.iter().map(|(_, w)| named(w.in_window)).sum();
        assert_eq!(record.in_window, in_window, "window of {:?}", record.flow());
    }
    for (id, watcher) in agent.watchers.iter() {
        if let Some(flow) = watcher.in_window {
            assert!(agent.flows.get(flow).is_some(), "{id:?} is in the window of a freed flow");
            assert!(watcher.open.is_some(), "{id:?} is in a window without an open NOTIFY");
        }
    }
}

fn lists(agent: &Agent) {
    let walk = |mut at: Option<u32>| {
        let mut found = Vec::new();
        while let Some(slot) = at {
            found.push(slot);
            assert!(found.len() <= agent.watchers.len() as usize, "a list without end");
            at = agent.watchers.at(slot).expect("a listed watcher lives").link.after();
        }
        found
    };
    let ready = walk(agent.ready.first());
    let mut waiting = 0;
    for (slot, record) in agent.flows.iter() {
        let listed = walk(record.waiting.first());
        waiting += listed.len();
        for watcher in listed {
            assert_eq!(agent.watchers.at(watcher).unwrap().link.queue, Queue::Waiting(FlowId(slot)));
        }
    }
    assert_eq!(agent.waiting as usize, waiting);
    for (id, watcher) in agent.watchers.iter() {
        match watcher.link.queue {
            Queue::Idle => {}
            Queue::Ready => assert!(ready.contains(&id.slot)),
            Queue::Waiting(flow) => {
                assert!(agent.flows.get(flow).is_some());
                assert_eq!(flow, watcher.destination.unwrap_or(watcher.flow), "{id:?} waits for another flow");
            }
        }
    }
    assert_eq!(ready.len(), agent.watchers.iter().filter(|(_, w)| w.link.queue == Queue::Ready).count());
}

fn attempts(agent: &Agent) {
    for (id, attempt) in agent.attempts.iter() {
        for slot in &attempt.subscriptions {
            assert_eq!(agent.subscriptions.at(*slot).and_then(|s| s.attempt), Some(id.slot));
        }
        assert!(!attempt.subscriptions.is_empty() || attempt.window.is_some(), "a leaked attempt");
        let timed = agent.attempt_timers.is_armed(id.slot);
        assert!(attempt.window.is_none() || timed, "a window that never closes");
    }
    for (id, subscription) in agent.subscriptions.iter() {
        for partner in agent.partners(id.slot) {
            let partner = agent.subscriptions.at(partner).unwrap();
            assert_eq!(subscription.local_cseq, partner.local_cseq);
            assert_eq!(subscription.remote_cseq, partner.remote_cseq);
            let dialogs = [subscription, partner].map(|s| s.dialog.as_ref().unwrap());
            assert_eq!(dialogs[0].target(), dialogs[1].target());
            assert!(subscription.open.is_none() || partner.open.is_none(), "two SUBSCRIBEs in one dialog");
        }
        match subscription.attempt {
            Some(slot) => assert!(agent.attempts.at(slot).unwrap().subscriptions.contains(&id.slot)),
            None => assert!(subscription.retry_at.is_some(), "{id:?} has neither an attempt nor a time for one"),
        }
    }
}

fn resources(agent: &Agent) {
    let mut live = 0;
    for (id, resource) in agent.resources.iter() {
        for (position, slot) in (0u32..).zip(&resource.watchers) {
            let watcher = agent.watchers.at(*slot).expect("a watcher of a resource lives");
            assert_eq!((watcher.resource, watcher.position), (id.slot, position));
        }
        live += u32::from(!resource.removed);
        assert!(!resource.removed || !resource.watchers.is_empty(), "a removed resource without watchers");
    }
    assert_eq!(agent.resource_index.iter().count(), live as usize);
    let watched: usize = agent.resources.iter().map(|(_, r)| r.watchers.len()).sum();
    assert_eq!(watched, agent.watchers.len() as usize);
}

fn timers(agent: &Agent) {
    for (id, watcher) in agent.watchers.iter() {
        let due = watcher.machine.poll_timeout();
        assert!(due.is_none() || agent.watcher_timers.is_armed(id.slot), "{id:?} has no timer");
    }
    assert!(agent.watcher_timers.len() <= agent.watchers.len() as usize);
    assert!(agent.subscription_timers.len() <= agent.subscriptions.len() as usize);
    assert!(agent.attempt_timers.len() <= agent.attempts.len() as usize);
    assert!(agent.incoming_timers.len() <= agent.incoming.len() as usize);
}
