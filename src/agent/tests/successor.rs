//! Who goes on where another stopped finishes what that had begun.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::rig::{ME, PEER, Peer, Rig, Sent, field, notify_text, tcp, udp};
use super::snapshot::{goes_on, restore, save};
use super::subscriber::{forked, forky};
use crate::agent::{Agent, Subscribe};
use crate::config::{FlowGone, Limits, Policy};
use crate::event::{Event, Gone, ObjectId};
use crate::id::SubscriptionId;
use crate::machine::subscriber::State;
use crate::wire::Transport;
use crate::{Instant, Misuse, Progress, Restart, RestoreError, Seed};

const NEW: &str = "192.0.2.99:5060";

fn fresh() -> Restart {
    Restart::Fresh(Seed([77; 32]))
}

fn bob() -> Subscribe {
    Subscribe::new("sip:bob@192.0.2.2", "presence").unwrap().expires(3600)
}

/// Whose work is done one by one.
fn slow(policy: FlowGone) -> Rig {
    let limits = Limits { timers_per_wakeup: 1, ..Limits::default() };
    let policies = Policy { flow_gone: policy, ..Policy::default() };
    Rig::configured(|config| config.with_limits(limits).with_policy(policies))
}

/// Three watchers with answered NOTIFYs, on one connection or over datagrams.
fn three_watchers(rig: &mut Rig, stream: bool) -> Vec<Peer> {
    rig.resource("sip:me@192.0.2.1");
    let flow = if stream { tcp(PEER, 1) } else { udp(PEER) };
    let peers = ["a", "b", "c"].map(|call| {
        let peer = rig.watched(flow, call);
        let first = rig.sent.last().unwrap().clone();
        rig.respond(&first, 200, "");
        peer
    });
    rig.events.clear();
    peers.into()
}

fn restarted(rig: &mut Rig, restart: &Restart) {
    let saved = save(&rig.agent, rig.now, 1);
    rig.agent = restore(&rig.agent, &saved, rig.now, restart).unwrap();
    rig.drain();
}

fn of(id: SubscriptionId) -> ObjectId {
    id.into()
}

fn export(agent: &Agent, now: Instant, object: impl Into<ObjectId>) -> Vec<u8> {
    let mut record = Vec::new();
    agent.export(now, object, &mut record).unwrap();
    record
}

fn empty(like: &Rig) -> Agent {
    let mut agent = Agent::new(like.agent.config.clone(), like.agent.packages.clone(), &Seed([78; 32]), like.now);
    for transport in [Transport::Udp, Transport::Tcp] {
        agent.add_local(transport, ME.parse().unwrap(), None, None).unwrap();
    }
    agent
}

/// Covers: PEER-H03
#[test]
fn a_subscription_over_a_connection_is_refreshed_soon_after_a_restart() {
    let mut rig = Rig::new();
    let (_, sent) = rig.subscribe(bob());
    rig.respond(&sent, 200, "Expires: 3600\r\n");
    let flow = tcp(PEER, 7);
    assert_eq!(rig.receive(flow, &notify_text(&sent, "peer", 1, "active;expires=3600", "", "")).status, 200);
    assert_eq!(rig.agent.users_of(&flow).len(), 1);
    rig.pass(Duration::from_secs(5));
    restarted(&mut rig, &fresh());
    let start = rig.now;
    let sent = rig.pass(Duration::from_secs(60));
    assert_eq!(sent.len(), 1, "the notifier has no connection to tell it anything");
    assert!(field(&sent[0].text, "To").contains(";tag=peer"));
    assert_eq!(sent[0].request.destination, None, "the connection is another's");
    let since = sent[0].at - start;
    assert!(since >= Duration::from_secs(30), "{since:?}");
}

/// Covers: PEER-H03
#[test]
fn a_connection_whose_users_were_half_dealt_with_is_lost_all_the_same() {
    for restart in [fresh(), goes_on()] {
        let mut rig = slow(FlowGone::Remove);
        three_watchers(&mut rig, true);
        assert_eq!(rig.agent.handle_flow_gone(rig.now, tcp(PEER, 1)), (0, 3));
        assert_eq!(rig.agent.watchers.len(), 2, "one at a time");
        rig.agent.events.clear();
        restarted(&mut rig, &restart);
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.agent.watchers.len(), 0, "{restart:?}");
        let gone = |event: &&Event| matches!(event, Event::WatcherGone { why: Gone::FlowGone, .. });
        assert_eq!(rig.events.iter().filter(gone).count(), 2, "{restart:?}: {:?}", rig.events);
        assert_eq!(rig.agent.flows.len(), 0);
    }
}

/// A connection that closes while the snapshot is written is lost for those,
/// too, who were saved before.
#[test]
fn a_connection_that_closes_while_a_snapshot_is_written() {
    let mut rig = slow(FlowGone::Remove);
    three_watchers(&mut rig, true);
    // A subscription on the same connection shows that it is gone.
    let (_, sent) = rig.subscribe(bob());
    rig.respond(&sent, 200, "Expires: 3600\r\n");
    assert_eq!(rig.receive(tcp(PEER, 1), &notify_text(&sent, "peer", 1, "active;expires=3600", "", "")).status, 200);
    for steps in 0..40 {
        let mut agent = rig.agent.clone();
        let (mut writer, mut saved) = (agent.snapshot(rig.now, 1), Vec::new());
        for _ in 0..steps {
            let _ = writer.step_agent(&agent, &mut saved);
        }
        agent.handle_flow_gone(rig.now, tcp(PEER, 1));
        while writer.step_agent(&agent, &mut saved) == Progress::More {}
        let restored = restore(&agent, &saved, rig.now, &fresh()).unwrap();
        super::invariants::check(&restored);
        assert_eq!(restored.watchers.len(), 0, "closed after {steps} steps");
    }
}

#[test]
fn a_move_to_another_address_goes_on() {
    for restart in [fresh(), goes_on()] {
        let mut rig = slow(FlowGone::Reconnect);
        three_watchers(&mut rig, false);
        rig.pass(Duration::from_secs(10));
        let [old, new]: [SocketAddr; 2] = [ME, NEW].map(|text| text.parse().unwrap());
        rig.agent.add_local(Transport::Udp, new, None, None).unwrap();
        rig.agent.rehome(rig.now, old, new).unwrap();
        let saved = save(&rig.agent, rig.now, 1);
        let (config, packages) = (rig.agent.config.clone(), rig.agent.packages.clone());
        rig.agent = Agent::restore(config, packages, &saved, rig.now, Duration::ZERO, &restart).unwrap();
        rig.agent.add_local(Transport::Udp, new, None, None).unwrap();
        let told: Vec<Sent> = rig.pass(Duration::from_secs(60));
        assert_eq!(told.len(), 3, "{restart:?}: {told:?}");
        for sent in &told {
            assert!(field(&sent.text, "Contact").contains("@192.0.2.99:5060"), "{}", sent.text);
            assert!(sent.request.destination.is_none_or(|flow| flow.local == new), "{:?}", sent.request);
        }
        assert!(rig.agent.watchers.iter().all(|(_, w)| rig.agent.flows.get(w.flow).unwrap().flow().local == new));
    }
}

/// A standby that is fed record after record, and polled by nobody.
#[test]
fn what_waits_at_a_standby_does_not_grow_with_what_it_is_told() {
    let mut rig = Rig::new();
    let (id, sent) = rig.established(bob());
    rig.agent.refresh(rig.now, id, None).unwrap();
    assert_eq!(rig.drain().len(), 1, "in flight, and its window for forks is open");
    let record = export(&rig.agent, rig.now, id);
    let mut standby = empty(&rig);
    for _ in 0..1_000 {
        assert_eq!(standby.import(rig.now, Duration::ZERO, &record), Ok(of(id)));
        super::invariants::check(&standby);
    }
    assert_eq!((standby.senders.len(), standby.orphans.len(), standby.attempts.len()), (1, 0, 1));
    // One that begins again and again leaves nothing of its earlier attempts.
    for round in 0..1_000 {
        let (id, _) = rig.subscribe(bob());
        assert_eq!(standby.import(rig.now, Duration::ZERO, &export(&rig.agent, rig.now, id)), Ok(of(id)), "{round}");
        rig.agent.forget(rig.now, id).unwrap();
        standby.forget(rig.now, id).unwrap();
        rig.drain();
    }
    assert!(standby.senders.len() < 64, "{}", standby.senders.len());
    assert!(standby.orphans.len() < 64, "{}", standby.orphans.len());
    assert_eq!((rig.agent.attempts.len(), standby.attempts.len()), (1, 1));
    // Watchers that come and go, each saved while its first NOTIFY is owed.
    rig.resource("sip:me@192.0.2.1");
    for round in 0..1_000 {
        let peer = Peer {
            flow: udp(PEER),
            call_id: format!("call{round}"),
            cseq: 1,
            tag: None,
            contact: "sip:w@192.0.2.2".into(),
        };
        assert_eq!(rig.try_receive(peer.flow, &peer.subscribe(3600, "")), None);
        let watcher = rig.agent.accept(rig.now, rig.incoming(), crate::Decision::ACCEPT).unwrap();
        standby.import(rig.now, Duration::ZERO, &export(&rig.agent, rig.now, watcher)).unwrap();
        rig.agent.forget(rig.now, watcher).unwrap();
        standby.forget(rig.now, watcher).unwrap();
        rig.drain();
    }
    assert!(standby.owed.len() < 64, "{}", standby.owed.len());
    let free = [standby.subscriptions.free(), standby.attempts.free(), standby.watchers.free()].map(<[u32]>::len);
    assert!(free.iter().all(|free| *free < 16), "{free:?}");
    // What is left goes on as it should.
    standby.take_over(rig.now, Duration::ZERO);
    rig.agent = standby;
    let again = rig.drain();
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(field(&again[0].text, "Call-ID"), field(&sent.text, "Call-ID"));
}

#[test]
fn a_subscription_that_began_anew_leaves_its_attempt_behind_at_a_standby() {
    let mut rig = Rig::new();
    let (id, mut sent) = rig.established(bob());
    let mut standby = empty(&rig);
    for round in 2..24 {
        standby.import(rig.now, Duration::ZERO, &export(&rig.agent, rig.now, id)).unwrap();
        super::invariants::check(&standby);
        assert_eq!(rig.notify(&sent, "peer", round, "terminated;reason=deactivated").status, 200);
        if round % 2 == 0 {
            // The moment between two attempts is not always seen.
            standby.import(rig.now, Duration::ZERO, &export(&rig.agent, rig.now, id)).unwrap();
        }
        sent = loop {
            if let Some(again) = rig.pass(Duration::from_secs(1)).pop() {
                break again;
            }
        };
        rig.respond(&sent, 200, "Expires: 3600\r\n");
        assert_eq!(rig.notify(&sent, "peer", 1, "active;expires=3600").status, 200);
    }
    standby.import(rig.now, Duration::ZERO, &export(&rig.agent, rig.now, id)).unwrap();
    assert_eq!((standby.attempts.len(), standby.orphans.len()), (1, 0));
}

#[test]
fn what_was_forgotten_does_not_come_back_to_life() {
    let mut rig = Rig::new();
    let (id, sent) = rig.subscribe(bob());
    rig.agent.forget(rig.now, id).unwrap();
    rig.drain();
    assert_eq!(rig.abandoned, 1, "the SUBSCRIBE is another's to repeat");
    assert_eq!(rig.notify(&sent, "peer", 1, "active;expires=3600").status, 481);
    assert_eq!((rig.agent.subscriptions.len(), rig.agent.attempts.len()), (0, 0));
    assert_eq!(rig.agent.forget(rig.now, id), Err(Misuse::StaleId));
}

#[test]
fn a_fork_that_stays_keeps_the_window_of_one_that_is_forgotten() {
    let mut rig = forky();
    let (id, sent) = rig.established(forked("sip:bob@192.0.2.2"));
    assert_eq!(rig.notify(&sent, "second", 1, "active;expires=3600").status, 200);
    rig.agent.forget(rig.now, id).unwrap();
    rig.drain();
    assert_eq!(rig.notify(&sent, "third", 1, "active;expires=3600").status, 200);
    assert_eq!(rig.agent.subscriptions.len(), 2);
}

/// Records that change places on their way.
#[test]
fn an_older_record_does_not_replace_a_newer_one() {
    let mut rig = Rig::new();
    let resource = rig.resource("sip:me@192.0.2.1");
    let mut peer = rig.watched(udp(PEER), "w");
    let first = rig.sent.last().unwrap().clone();
    rig.respond(&first, 200, "");
    let watcher = rig.agent.watchers().next().unwrap();
    let (id, _) = rig.established(bob());
    let older = [export(&rig.agent, rig.now, watcher), export(&rig.agent, rig.now, id)];
    rig.pass(Duration::from_secs(10));
    let refresh = peer.refresh(3600);
    assert_eq!(rig.receive(udp(PEER), &refresh).status, 200);
    rig.agent.refresh(rig.now, id, None).unwrap();
    let sent = rig.drain();
    for sent in &sent {
        rig.respond(sent, 200, "Expires: 3600\r\n");
    }
    let newer = [export(&rig.agent, rig.now, watcher), export(&rig.agent, rig.now, id)];
    let mut standby = empty(&rig);
    standby.import(rig.now, Duration::ZERO, &export(&rig.agent, rig.now, resource)).unwrap();
    for (older, newer) in older.iter().zip(&newer) {
        standby.import(rig.now, Duration::ZERO, older).unwrap();
        let object = standby.import(rig.now, Duration::ZERO, newer).unwrap();
        standby.import(rig.now, Duration::ZERO, newer).unwrap();
        let digest = standby.digest_exact();
        assert_eq!(standby.import(rig.now, Duration::ZERO, older), Err(RestoreError::Outdated));
        assert_eq!(standby.digest_exact(), digest, "nothing has changed");
        // Whoever means it forgets the newer one first.
        let mut back = standby.clone();
        back.forget(rig.now, object).unwrap();
        assert_eq!(back.import(rig.now, Duration::ZERO, older), Ok(object));
        // What a successor writes is newer than all that was before it.
        let mut successor = standby.clone();
        successor.take_over(rig.now, Duration::ZERO);
        let record = export(&successor, rig.now, object);
        assert_eq!(standby.import(rig.now, Duration::ZERO, &record), Ok(object));
        assert_eq!(standby.import(rig.now, Duration::ZERO, newer), Err(RestoreError::Outdated));
    }
    let state = standby.subscriptions.iter().map(|(_, record)| record.machine.state()).collect::<Vec<_>>();
    assert_eq!(state, [State::Active]);
}

/// Objects that change faster than they are saved starve no others.
#[test]
fn every_change_gets_its_turn() {
    let mut rig = Rig::new();
    let resource = rig.resource("sip:me@192.0.2.1");
    rig.watched(udp(PEER), "w");
    let watcher = rig.agent.watchers().next().unwrap();
    let mut named: Vec<String> = Vec::new();
    for round in 0..20u8 {
        rig.agent.set_state(rig.now, resource, crate::Body::new("application/pidf+xml", vec![round])).unwrap();
        named.extend(rig.agent.poll_changed().map(|object| format!("{object:?}")));
        if named.last() == Some(&format!("{:?}", ObjectId::from(watcher))) {
            return;
        }
    }
    panic!("{named:?}");
}

/// Does at the standby what has changed.
fn keep_up(rig: &mut Rig, standby: &mut Agent) {
    while let Some(object) = rig.agent.poll_changed() {
        let mut record = Vec::new();
        match rig.agent.export(rig.now, object, &mut record) {
            Ok(()) => assert_eq!(standby.import(rig.now, Duration::ZERO, &record), Ok(object)),
            Err(_) => standby.forget(rig.now, object).unwrap(),
        }
    }
}

/// A resource that took the place of another is told before those who watch
/// it, wherever the round is, and after the end of that one.
#[test]
fn a_watcher_is_named_behind_its_resource() {
    let mut rig = Rig::new();
    let first = rig.resource("sip:me@192.0.2.1");
    let mut peer = rig.watched(udp(PEER), "a");
    let mut standby = empty(&rig);
    keep_up(&mut rig, &mut standby);
    let notify = rig.sent.last().unwrap().clone();
    rig.respond(&notify, 200, "");
    let end = peer.refresh(0);
    rig.receive(udp(PEER), &end);
    let last = rig.pass(Duration::from_secs(6)).pop().unwrap_or_else(|| rig.sent.last().unwrap().clone());
    rig.respond(&last, 200, "");
    assert_eq!(rig.agent.watchers().count(), 0);
    keep_up(&mut rig, &mut standby);
    rig.agent.remove_resource(rig.now, first, &crate::Reason::NoResource).unwrap();
    let second = rig.resource("sip:me@192.0.2.1");
    rig.watched(udp(PEER), "b");
    keep_up(&mut rig, &mut standby);
    assert_eq!(standby.resources().collect::<Vec<_>>(), [second]);
    assert_eq!(standby.watchers().count(), 1);
}
