//! Restored agents: their records agree with each other, whatever moment they
//! were saved at and whatever bytes they are made of.

use alloc::vec::Vec;
use core::time::Duration;

use super::invariants;
use super::rig::ME;
use super::walk::{Random, Walk};
use crate::agent::Agent;
use crate::snapshot::{SNAPSHOT, open, seal};
use crate::wire::Transport;
use crate::{Instant, Progress, Restart, RestoreError, Seed};

pub(super) fn save(agent: &Agent, now: Instant, per_step: u32) -> Vec<u8> {
    let (mut writer, mut out) = (agent.snapshot(now, per_step), Vec::new());
    while writer.step_agent(agent, &mut out) == Progress::More {}
    out
}

pub(super) fn restore(like: &Agent, bytes: &[u8], now: Instant, restart: &Restart) -> Result<Agent, RestoreError> {
    let (config, packages) = (like.config.clone(), like.packages.clone());
    let mut agent = Agent::restore(config, packages, bytes, now, Duration::ZERO, restart)?;
    for transport in [Transport::Udp, Transport::Tcp] {
        agent.add_local(transport, ME.parse().unwrap(), None, None).unwrap();
    }
    Ok(agent)
}

pub(super) fn goes_on() -> Restart {
    Restart::Continue(Seed([9; 32]))
}

/// Covers: PEER-H01
#[test]
fn every_moment_can_be_saved() {
    let mut quiet = 0;
    for seed in 0..40 {
        let mut walk = Walk::new(seed);
        for step in 0..120u32 {
            walk.step();
            if step % 3 > 0 {
                continue;
            }
            let (agent, now) = (&walk.rig.agent, walk.rig.now);
            let saved = save(agent, now, step + 1);
            let same = restore(agent, &saved, now, &goes_on()).unwrap();
            invariants::check(&same);
            assert_eq!(save(&same, now, 100), saved, "seed {seed}, step {step}");
            let fresh = restore(agent, &saved, now, &Restart::Fresh(Seed([step as u8 | 0x80; 32]))).unwrap();
            invariants::check(&fresh);
            // The stack says again which flows are blocked.
            let blocked = agent.flows.iter().any(|(_, flow)| flow.blocked);
            if agent.is_quiescent() && agent.now == now && !blocked {
                quiet += 1;
                assert_eq!(same.digest(), agent.digest(), "seed {seed}, step {step}");
                assert_eq!(same.digest_exact(), agent.digest_exact(), "seed {seed}, step {step}");
                assert_eq!(same.poll_timeout(), agent.poll_timeout());
            }
        }
    }
    assert!(quiet > 20, "{quiet}");
}

/// Covers: PEER-H02
#[test]
fn whoever_is_restored_now_and_then_comes_to_an_end_too() {
    for seed in 200..260 {
        let mut walk = Walk::new(seed);
        for step in 0..200u32 {
            walk.step();
            if walk.random.next(20) == 0 {
                let (agent, now) = (&walk.rig.agent, walk.rig.now);
                let saved = save(agent, now, 10);
                let seed = Seed([step as u8; 32]);
                walk.rig.agent = restore(agent, &saved, now, &Restart::Fresh(seed)).unwrap();
                invariants::check(&walk.rig.agent);
                walk.note();
            }
        }
        walk.wind_up();
    }
}

/// A snapshot that somebody has tampered with and sealed again may be refused
/// or taken, but it does no harm.
#[test]
fn forged_snapshots_do_no_harm() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..30 {
        let mut walk = Walk::new(300 + seed);
        for _ in 0..60 {
            walk.step();
        }
        let (agent, now) = (&walk.rig.agent, walk.rig.now);
        let saved = save(agent, now, 10);
        let body = open(&saved, SNAPSHOT).unwrap().to_vec();
        let head = &saved[..saved.len() - body.len() - 16];
        let mut random = Random(seed);
        for _ in 0..150 {
            let mut forged = body.clone();
            for _ in 0..=random.next(3) {
                let at = usize::try_from(random.next(body.len() as u64)).unwrap();
                match random.next(4) {
                    0 => forged[at] = random.next(256) as u8,
                    1 => forged[at] ^= 1 << random.next(8),
                    2 => forged.truncate(at.max(1)),
                    _ => forged.insert(at.min(forged.len()), random.next(256) as u8),
                }
                if forged.len() < body.len() {
                    break;
                }
            }
            let mut bytes = [head, &forged].concat();
            seal(&mut bytes, 0);
            let restart = if random.next(2) == 0 { goes_on() } else { Restart::Fresh(Seed([7; 32])) };
            let Ok(mut restored) = restore(agent, &bytes, now, &restart) else {
                refused += 1;
                continue;
            };
            taken += 1;
            let mut now = now;
            for _ in 0..40 {
                let mut head = Vec::new();
                while restored.poll_outgoing(now, &mut head).is_some() {}
                while restored.poll_event().is_some() {}
                let Some(at) = restored.poll_timeout() else { break };
                now = now.max(at);
                restored.handle_timeout(now);
            }
            let _ = (restored.digest(), restored.digest_exact(), save(&restored, now, 7));
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}

#[test]
fn forged_records_do_no_harm() {
    let mut taken = 0;
    for seed in 0..20 {
        let mut walk = Walk::new(400 + seed);
        for _ in 0..60 {
            walk.step();
        }
        let (agent, now) = (&walk.rig.agent, walk.rig.now);
        let objects = agent.resources().map(crate::ObjectId::from);
        let objects = objects.chain(agent.subscriptions().map(crate::ObjectId::from));
        let objects: Vec<_> = objects.chain(agent.watchers().map(crate::ObjectId::from)).collect();
        let mut random = Random(seed);
        for object in objects {
            let mut record = Vec::new();
            agent.export(now, object, &mut record).unwrap();
            let body = record[10..record.len() - 16].to_vec();
            for _ in 0..40 {
                let mut forged = record[..10].to_vec();
                forged.extend_from_slice(&body);
                let at = 10 + usize::try_from(random.next(body.len() as u64)).unwrap();
                forged[at] = random.next(256) as u8;
                seal(&mut forged, 0);
                let mut other = agent.clone();
                taken += usize::from(other.import(now, Duration::ZERO, &forged).is_ok());
                invariants::check(&other);
                let mut empty = Agent::new(agent.config.clone(), agent.packages.clone(), &Seed([3; 32]), now);
                let _ = empty.import(now, Duration::ZERO, &forged);
                invariants::check(&empty);
                empty.take_over(now, Duration::ZERO);
                let mut head = Vec::new();
                while empty.poll_outgoing(now, &mut head).is_some() {}
                empty.handle_timeout(now + Duration::from_secs(4_000));
                while empty.poll_event().is_some() {}
                let _ = empty.digest();
            }
        }
    }
    assert!(taken > 100, "{taken}");
}
