//! Paths that are kept open by traffic of no meaning (RFC 5626 section 4.4):
//! pings on connections, and the driver's STUN for datagrams.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Endpoint;
use super::core::{Core, Up};
use crate::Instant;
use crate::config::KeepAlive;
use crate::entropy::Entropy;
use crate::error::Misuse;
use crate::flow::Flow;
use crate::io::Io;
use crate::time::earliest;
use crate::wire::{Message, read};

/// How long a pong may take (RFC 5626 section 4.4.1).
const PONG: Duration = Duration::from_secs(10);
/// Most datagram flows that are kept open.
const MAX_FLOWS: usize = 64;
/// No ping comes sooner after another, whatever was asked for.
const LEAST: Duration = Duration::from_secs(1);

/// How one connection is kept open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keeper {
    /// The longest time between two pings.
    pub(super) interval: Duration,
    /// A missing pong means that the flow has failed.
    pub(super) expect: bool,
    pub(super) ping_at: Instant,
    /// Until when a pong is awaited; where none was promised, until the next ping.
    pub(super) pong_by: Option<Instant>,
}

fields!(Keeper { interval, expect, ping_at, pong_by });

/// A datagram flow that the driver keeps open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) flow: Flow,
    pub(super) interval: Duration,
    pub(super) at: Instant,
}

fields!(Kept { flow, interval, at });

impl Keeper {
    fn deadline(&self) -> Option<Instant> {
        earliest(Some(self.ping_at), self.pong_by)
    }
}

/// A random moment in the last fifth of `interval` from `now` on (RFC 5626
/// section 4.4).
fn next(now: Instant, interval: Duration, entropy: &mut Entropy) -> Instant {
    let nanos = u64::try_from(interval.max(LEAST).as_nanos()).unwrap_or(u64::MAX);
    let fifth = nanos / 5;
    let random = entropy.next_u64().checked_rem(fifth.saturating_add(1)).unwrap_or(0);
    now.saturating_add(Duration::from_nanos(nanos.saturating_sub(fifth).saturating_add(random)))
}

impl Core {
    /// The connection in `slot`, which we have opened, is kept open as the
    /// policy says.
    pub(super) fn keep_by_policy(&mut self, now: Instant, slot: u32) {
        let expect = match self.config.policy.keep_alive {
            KeepAlive::Off => return,
            KeepAlive::Send => false,
            KeepAlive::Expect => true,
        };
        self.keep(now, slot, Some((self.config.timers.keep_alive, expect)));
    }

    fn keep(&mut self, now: Instant, slot: u32, how: Option<(Duration, bool)>) {
        let keeper = how.map(|(interval, expect)| {
            let ping_at = next(now, interval, &mut self.entropy);
            Box::new(Keeper { interval, expect, ping_at, pong_by: None })
        });
        if let Some(connection) = self.connections.at_mut(slot) {
            connection.keeper = keeper;
        }
        self.arm_keeper(slot);
    }

    pub(super) fn arm_keeper(&mut self, slot: u32) {
        let keeper = self.connections.at(slot).filter(|c| !c.closing).and_then(|c| c.keeper.as_deref());
        self.keepers.set(slot, keeper.and_then(Keeper::deadline));
    }

    /// Whether pings are sent along `flow`: then they may be offered
    /// (RFC 6223).
    pub(super) fn offers_keep(&self, flow: &Flow) -> bool {
        let slot = flow.stream.and_then(|stream| self.connections.slot(stream));
        slot.and_then(|slot| self.connections.at(slot)).is_some_and(|connection| connection.keeper.is_some())
    }

    /// The next hop has promised pongs, every `seconds` or as we like
    /// (RFC 6223 section 4.3).
    fn keep_agreed(&mut self, now: Instant, flow: &Flow, seconds: u32) {
        let Some(slot) = flow.stream.and_then(|stream| self.connections.slot(stream)) else { return };
        let Some(keeper) = self.connections.at(slot).and_then(|connection| connection.keeper.as_deref()) else {
            return;
        };
        let interval = match seconds {
            0 => keeper.interval,
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        if !keeper.expect || interval != keeper.interval {
            self.keep(now, slot, Some((interval, true)));
        }
    }

    /// A response may accept what its request offered.
    pub(super) fn read_keep(&mut self, now: Instant, slot: u32, message: &Message<'_>) {
        let Some(flow) = self.clients.list.at(slot).and_then(|client| client.flow) else { return };
        let Ok(via) = read::top_via(message) else { return };
        let keep = via.params().filter_map(Result::ok).find(|param| param.name.eq_ignore_ascii_case(b"keep"));
        let digits = keep.and_then(|param| param.value).and_then(|value| core::str::from_utf8(value).ok());
        if let Some(seconds) = digits.and_then(|digits| digits.parse().ok()) {
            self.keep_agreed(now, &flow, seconds);
        }
    }

    /// A lone CRLF has come: whether it was an awaited pong.
    pub(super) fn pong(&mut self, slot: u32) -> bool {
        let keeper = self.connections.at_mut(slot).and_then(|connection| connection.keeper.as_deref_mut());
        let awaited = keeper.and_then(|keeper| keeper.pong_by.take()).is_some();
        if awaited {
            self.arm_keeper(slot);
        }
        awaited
    }

    pub(super) fn next_keep_alive(&self) -> Option<Instant> {
        let datagrams = self.kept.iter().map(|kept| kept.at).min();
        earliest(self.keepers.peek().map(|(at, _)| at), datagrams)
    }

    pub(super) fn keep_alive_timeout(&mut self, now: Instant) {
        for _ in 0..self.config.limits.timers_per_wakeup.max(1) {
            let Some(slot) = self.keepers.pop_due(now) else { break };
            self.keeper_timeout(now, slot);
        }
        for at in 0..self.kept.len() {
            let Some(kept) = self.kept.get_mut(at).filter(|kept| kept.at <= now) else { continue };
            kept.at = next(now, kept.interval, &mut self.entropy);
            self.io.push_back(Io::KeepAlive { flow: kept.flow });
        }
    }

    fn keeper_timeout(&mut self, now: Instant, slot: u32) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        let Some((flow, blocked)) = connection.flow().map(|flow| (flow, connection.blocked)) else { return };
        let unfinished = connection.framer.as_ref().is_some_and(|framer| framer.waiting_since().is_some());
        let heard = connection.framer.as_ref().and_then(|framer| framer.last_activity());
        let Some(keeper) = connection.keeper.as_deref_mut() else { return };
        if keeper.pong_by.is_some_and(|by| by <= now) && !keeper.expect {
            keeper.pong_by = None;
        }
        if keeper.pong_by.is_some_and(|by| by <= now) {
            // It may stand behind a message that is being received.
            match heard.map(|at| at.saturating_add(PONG)).filter(|until| unfinished && *until > now) {
                Some(until) => keeper.pong_by = Some(until),
                None => return self.fail_stream(now, slot),
            }
        }
        if keeper.ping_at <= now {
            keeper.ping_at = next(now, keeper.interval, &mut self.entropy);
            if !blocked {
                self.ping(now, slot, flow);
            }
        }
        self.arm_keeper(slot);
    }

    fn ping(&mut self, now: Instant, slot: u32, flow: Flow) {
        let mut ping = self.buffer();
        ping.extend_from_slice(b"\r\n\r\n");
        let queued = self.queue_raw(flow, ping, false);
        let Some(connection) = self.connections.at_mut(slot) else { return };
        let Some(keeper) = connection.keeper.as_deref_mut() else { return };
        if !queued {
            // Nobody answers what was not sent: it is due again soon.
            keeper.ping_at = now.saturating_add(LEAST);
            return;
        }
        if keeper.pong_by.is_none() {
            keeper.pong_by = Some(if keeper.expect { now.saturating_add(PONG) } else { keeper.ping_at });
        }
        // A CRLF from before is not to make a ping of the pong.
        if let Some(framer) = connection.framer.as_deref_mut() {
            framer.end_ping();
        }
    }

    /// A connection is of no use any more: everybody is told at once, and the
    /// driver has it to close.
    pub(super) fn fail_stream(&mut self, now: Instant, slot: u32) {
        let Some(connection) = self.connections.at_mut(slot).filter(|connection| !connection.closing) else { return };
        let Some((flow, stream)) = connection.flow().and_then(|flow| Some((flow, flow.stream?))) else { return };
        self.up.push_back(Up::FlowGone(flow));
        self.io.push_back(Io::Close { stream });
        self.abandon_stream(now, slot);
        self.keepers.set(slot, None);
    }

    fn keep_datagrams(&mut self, now: Instant, flow: Flow, interval: Option<Duration>) -> Result<(), Misuse> {
        self.kept.retain(|kept| kept.flow != flow);
        let Some(interval) = interval else { return Ok(()) };
        if self.kept.len() >= MAX_FLOWS {
            return Err(Misuse::Limit);
        }
        let at = next(now, interval, &mut self.entropy);
        self.kept.push(Kept { flow, interval, at });
        Ok(())
    }

    /// Where datagrams are kept flowing from another address now.
    pub(super) fn rehome_kept(&mut self, from: core::net::SocketAddr, to: core::net::SocketAddr) {
        let moved: Vec<Kept> = core::mem::take(&mut self.kept);
        self.kept.extend(moved.into_iter().map(|kept| match kept.flow.local == from {
            true => Kept { flow: Flow { local: to, ..kept.flow }, ..kept },
            false => kept,
        }));
    }
}

impl Endpoint {
    /// Keeps a flow open, for NATs and to learn soon that it has failed (RFC
    /// 5626 section 4.4); `None` ends that. Traffic comes after a random 80 to
    /// 100 % of `interval` each time, not below a second: a Flow-Timer's value,
    /// 120 s for a connection or 29 s for datagrams are usual.
    ///
    /// On a connection it is a double CRLF, and the flow has failed if no
    /// answer comes within 10 s: give an interval only where the peer is known
    /// to answer. Connections that we open are pinged without this if
    /// [`Policy::keep_alive`](crate::Policy) says so. For datagrams it is
    /// [`Io::KeepAlive`], each time.
    ///
    /// # Errors
    /// [`Misuse::StaleId`] for a connection that is not open;
    /// [`Misuse::Limit`] for the 65th datagram flow.
    pub fn keep_alive(&mut self, now: Instant, flow: Flow, interval: Option<Duration>) -> Result<(), Misuse> {
        let now = self.advance(now);
        let Some(stream) = flow.stream else { return self.core.keep_datagrams(now, flow, interval) };
        let slot = self.core.connections.slot(stream).filter(|_| self.core.connections.is_open(&flow));
        self.core.keep(now, slot.ok_or(Misuse::StaleId)?, interval.map(|interval| (interval, true)));
        Ok(())
    }
}
