//! What must hold after every step, whatever happened.

use std::hash::Hasher;
use std::time::Duration;

use sip_events::Instant;
use smallvec::SmallVec;

use crate::node::{Mix, Nodes, Packet, Told};

/// How long a transaction lives: Timer F.
const TIMER_F: Duration = Duration::from_secs(32);
/// A dialog that has been silent for longer than any subscription lasts.
const SILENT: Duration = Duration::from_secs(200);

/// One direction of a dialog, as an onlooker saw it.
#[derive(Clone, Copy)]
struct Leg {
    key: u64,
    from: u8,
    /// Of the latest request.
    cseq: u32,
    branch: u64,
    packet: u32,
    sent: Option<Instant>,
    answered: bool,
    /// A NOTIFY said terminated.
    terminal: bool,
    /// Its sender crashed or was refused since: it may say so once more.
    again: bool,
    /// A 2xx to a SUBSCRIBE of the other direction went out after the latest NOTIFY.
    owed: bool,
    /// The number of the latest such 2xx, and the seconds that it grants.
    accepted: Option<u32>,
    granted: u32,
    /// The fork whose 2xx to this SUBSCRIBE the proxy has passed on.
    chosen: Option<u8>,
}

/// What the subscriber's application was told of one subscription.
#[derive(Clone, Copy)]
pub struct Heard {
    pub subscription: u64,
    /// The dialog: its leg from the notifier, its own tag, and who notifies.
    pub leg: u64,
    pub tag: u64,
    pub notifier: u8,
    cseq: u32,
    over: bool,
}

/// What was seen, as far as the rules need it.
#[derive(Clone, Default)]
pub struct Facts {
    legs: SmallVec<[Leg; 6]>,
    heard: SmallVec<[Heard; 2]>,
    gone: SmallVec<[(u8, u64); 2]>,
}

impl Facts {
    fn leg(&mut self, key: u64, from: u8) -> &mut Leg {
        let at = self.legs.iter().position(|leg| leg.key == key).unwrap_or_else(|| {
            let (cseq, branch, packet, sent, answered) = (0, 0, 0, None, true);
            let (terminal, again, owed, accepted, granted, chosen) = (false, false, false, None, 0, None);
            self.legs.push(Leg {
                key,
                from,
                cseq,
                branch,
                packet,
                sent,
                answered,
                terminal,
                again,
                owed,
                accepted,
                granted,
                chosen,
            });
            self.legs.len() - 1
        });
        &mut self.legs[at]
    }

    fn known(&self, key: u64) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.key == key)
    }

    /// A message leaves a node.
    pub fn sent(&mut self, now: Instant, nodes: &Nodes, id: u32) -> Result<(), String> {
        let packet = nodes.packet(id);
        if packet.status == 0 {
            return self.request(now, nodes, id);
        }
        if !packet.notify && (200..300).contains(&packet.status) {
            let leg = self.leg(packet.reverse, packet.from);
            // The same answer again, or an earlier one, allows nothing new.
            if leg.accepted.is_none_or(|accepted| packet.cseq > accepted) {
                leg.owed = true;
                leg.accepted = Some(packet.cseq);
                leg.granted = packet.expires.unwrap_or(0);
            }
        }
        Ok(())
    }

    fn request(&mut self, now: Instant, nodes: &Nodes, id: u32) -> Result<(), String> {
        let packet = nodes.packet(id);
        let what = if packet.notify { "NOTIFY" } else { "SUBSCRIBE" };
        let first = self.known(packet.first_leg).filter(|_| packet.in_dialog && !packet.notify).map(|leg| leg.cseq);
        let leg = self.leg(packet.leg, packet.from);
        if leg.sent.is_some() && leg.branch == packet.branch {
            if nodes.packet(leg.packet).bytes != packet.bytes {
                return Err(format!("{what} {}: a retransmission differs from what was sent", packet.cseq));
            }
            return Ok(());
        }
        if leg.sent.is_some() && packet.cseq <= leg.cseq || first.is_some_and(|first| packet.cseq <= first) {
            return Err(format!("{what} {} follows {} or {first:?}", packet.cseq, leg.cseq));
        }
        let terminal = packet.notify && packet.substate == b"terminated";
        if leg.terminal && !(leg.again && terminal) {
            return Err(format!("{what} {} follows a terminated NOTIFY", packet.cseq));
        }
        if packet.notify && leg.accepted.is_none() {
            return Err(format!("NOTIFY {} comes before the 2xx", packet.cseq));
        }
        if packet.notify && packet.left.is_some_and(|left| left > leg.granted) {
            return Err(format!("NOTIFY {} promises more than {} s", packet.cseq, leg.granted));
        }
        let open = leg.sent.is_some_and(|at| !leg.answered && now - at < TIMER_F);
        if open && !(packet.notify && leg.owed) {
            return Err(format!("{what} {} while {} is in flight", packet.cseq, leg.cseq));
        }
        *leg = Leg {
            cseq: packet.cseq,
            branch: packet.branch,
            packet: id,
            sent: Some(now),
            answered: false,
            terminal,
            again: false,
            owed: false,
            chosen: None,
            ..*leg
        };
        Ok(())
    }

    /// Whether a SUBSCRIBE was accepted, and no NOTIFY followed at once.
    pub fn owes(&self, node: u8) -> bool {
        self.legs.iter().any(|leg| leg.from == node && leg.owed)
    }

    /// Whether it is a 481 to the request that is in flight: that dialog is over.
    pub fn refuses(&self, now: Instant, packet: &Packet) -> bool {
        let in_flight =
            |leg: &&Leg| leg.branch == packet.branch && !leg.answered && leg.sent.is_some_and(|at| now - at < TIMER_F);
        packet.status == 481 && self.known(packet.leg).filter(in_flight).is_some()
    }

    /// Whether this answers a SUBSCRIBE that made the dialog.
    pub fn is_first(&self, packet: &Packet) -> bool {
        !packet.notify && self.known(packet.first_leg).is_some_and(|leg| leg.branch == packet.branch)
    }

    /// Whether a proxy that forks passes on this answer to a first SUBSCRIBE:
    /// one 2xx, whoever sends it.
    pub fn passes(&mut self, packet: &Packet) -> bool {
        let leg = self.leg(packet.first_leg, packet.to);
        (200..300).contains(&packet.status) && *leg.chosen.get_or_insert(packet.from) == packet.from
    }

    /// A message reaches a node.
    pub fn arrived(&mut self, packet: &Packet) {
        if packet.status < 200 {
            return;
        }
        // The first request of a dialog had no To tag.
        for key in [packet.leg, packet.first_leg] {
            if let Some(leg) = self.legs.iter_mut().find(|leg| leg.key == key && leg.branch == packet.branch) {
                leg.answered = true;
                leg.again |= leg.terminal && packet.status >= 300;
            }
        }
    }

    /// A node lost its transactions: what it sent is not in flight any more.
    pub fn crashed(&mut self, node: u8) {
        for leg in self.legs.iter_mut().filter(|leg| leg.from == node) {
            // Nobody will hear the answer to what was in flight.
            leg.again |= !leg.answered;
            leg.answered = true;
            leg.owed = false;
        }
    }

    /// A node forgot everything.
    pub fn forgot(&mut self, node: u8) {
        self.crashed(node);
        self.gone.retain(|(at, _)| *at != node);
        if node == 0 {
            self.heard.clear();
        }
    }

    /// An application was told something, while `packet` came in.
    pub fn told(&mut self, node: u8, told: Told, packet: Option<&Packet>) -> Result<(), String> {
        match told {
            Told::Notify { subscription, cseq, body, .. } => {
                let Some(packet) = packet.filter(|p| p.status == 0 && p.notify && (p.cseq, p.body) == (cseq, body))
                else {
                    return Err(format!("NOTIFY {cseq} is told, which has not come"));
                };
                if self.heard.iter().any(|other| other.leg == packet.leg && other.subscription != subscription) {
                    return Err(format!("NOTIFY {cseq} is told to another dialog's subscription"));
                }
                let heard = self.heard(subscription)?;
                if heard.leg != 0 && heard.leg != packet.leg {
                    return Err(format!("NOTIFY {cseq} is of a foreign dialog"));
                }
                if heard.leg != 0 && cseq <= heard.cseq {
                    return Err(format!("NOTIFY {cseq} is told after {}", heard.cseq));
                }
                (heard.leg, heard.tag, heard.notifier, heard.cseq) = (packet.leg, packet.tag, packet.from, cseq);
            }
            // Another dialog counts anew.
            Told::Retrying { subscription } => self.heard(subscription)?.leg = 0,
            Told::Over { subscription } => self.heard(subscription)?.over = true,
            Told::Gone { watcher } if self.gone.contains(&(node, watcher)) => {
                return Err("a watcher is gone twice".into());
            }
            Told::Gone { watcher } => {
                if self.gone.len() == 8 {
                    self.gone.remove(0);
                }
                self.gone.push((node, watcher));
            }
            Told::OfWatcher { watcher } if self.gone.contains(&(node, watcher)) => {
                return Err("a watcher that is gone is spoken of".into());
            }
            Told::OfWatcher { .. } => {}
        }
        Ok(())
    }

    fn heard(&mut self, subscription: u64) -> Result<&mut Heard, String> {
        let at = self.heard.iter().position(|heard| heard.subscription == subscription).unwrap_or_else(|| {
            let over = |heard: &Heard| heard.over;
            if self.heard.len() == 8 {
                let old = self.heard.iter().position(over).unwrap_or(0);
                self.heard.remove(old);
            }
            self.heard.push(Heard { subscription, leg: 0, tag: 0, notifier: 0, cseq: 0, over: false });
            self.heard.len() - 1
        });
        match &mut self.heard[at] {
            heard if heard.over => Err("something is told of a subscription after its end".into()),
            heard => Ok(heard),
        }
    }

    /// Subscriptions of which something was told, and which have not ended.
    pub fn living(&self) -> impl Iterator<Item = &Heard> {
        self.heard.iter().filter(|heard| !heard.over)
    }

    /// Forgets dialogs that nothing can be asked about any more.
    pub fn forget(&mut self, now: Instant, in_flight: impl Fn(u64) -> bool) {
        self.legs.retain(|leg| leg.sent.is_none_or(|at| now - at < SILENT) || in_flight(leg.key));
    }

    /// What of the facts may still decide whether a rule breaks, names left out.
    pub fn hash(&self, now: Instant, hasher: &mut Mix) {
        for leg in &self.legs {
            let flags = [leg.sent.is_some(), leg.answered, leg.terminal, leg.again, leg.owed, leg.accepted.is_some()];
            hasher.write_u64(flags.iter().fold(u64::from(leg.from), |sum, flag| sum << 1 | u64::from(*flag)));
            let open = leg.sent.filter(|_| !leg.answered).map_or(TIMER_F, |at| now - at);
            hasher.write_u64(TIMER_F.saturating_sub(open).as_nanos() as u64);
            hasher.write_u8(leg.chosen.unwrap_or(u8::MAX));
            hasher.write_u32(leg.granted);
        }
        for heard in &self.heard {
            hasher.write_u8(u8::from(heard.over) << 4 | heard.notifier);
            hasher.write_usize(self.place(heard.leg));
        }
    }

    /// A message's dialog by its place, and its age among the requests of it.
    pub fn hash_packet(&self, packet: &Packet, hasher: &mut Mix) {
        hasher.write_u64(packet.plain);
        let own = if self.known(packet.leg).is_some() { packet.leg } else { packet.first_leg };
        hasher.write_usize(self.place(own));
        if let Some(leg) = self.known(own) {
            hasher.write_u32(leg.cseq.wrapping_sub(packet.cseq));
            hasher.write_u8((leg.branch == packet.branch).into());
        }
        // Which watcher an answer to a first SUBSCRIBE speaks of.
        hasher.write_usize(self.place(packet.reverse));
    }

    fn place(&self, key: u64) -> usize {
        self.legs.iter().position(|leg| leg.key == key).unwrap_or(usize::MAX)
    }
}
