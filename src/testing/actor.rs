//! Anybody who is no endpoint of this crate: a proxy, a rude peer, your own
//! invention.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use bytes::Bytes;

use super::net::{Fault, FaultCounts};
use super::rng::Rng;
use crate::Instant;

/// Somebody on the network who speaks SIP over datagrams.
pub trait Actor: fmt::Debug {
    /// Its name in ladders.
    fn name(&self) -> String;
    /// Where it receives.
    fn address(&self) -> SocketAddr;
    /// A datagram has come.
    fn receive(&mut self, scene: &mut Scene<'_>, from: SocketAddr, message: &[u8]);
    /// When [`wake`](Self::wake) has to be called.
    fn next_wake(&self) -> Option<Instant> {
        None
    }
    /// The time has come.
    fn wake(&mut self, scene: &mut Scene<'_>) {
        let _ = scene;
    }
    /// Whether it passes on what others say to each other: what goes wrong
    /// between it and them goes wrong between them.
    fn relays(&self) -> bool {
        false
    }
    /// The faults are over: from now on it behaves, and starts nothing new.
    fn calm(&mut self) {}
}

/// What an [`Actor`] may do at one moment.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The world's time.
    pub now: Instant,
    /// Its randomness.
    pub rng: &'a mut Rng,
    pub(crate) counts: &'a mut FaultCounts,
    pub(crate) out: Vec<(SocketAddr, Bytes)>,
}

impl Scene<'_> {
    /// Sends a datagram.
    pub fn send(&mut self, to: SocketAddr, message: Vec<u8>) {
        self.out.push((to, Bytes::from(message)));
    }

    /// Counts a fault that it makes.
    pub fn count(&mut self, fault: Fault) {
        self.counts.add(fault);
    }
}
