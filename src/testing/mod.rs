//! Deterministic simulation: endpoints, applications and rude strangers on a
//! network that loses, doubles, delays and damages, all of it repeated byte for
//! byte by one seed.
//!
//! A [`World`] holds nodes (an [`Endpoint`](crate::Endpoint) with an
//! [`Application`] each) and [`Actor`]s, and jumps from one event to the next:
//! hours pass in milliseconds. After every step it checks the rules that
//! [`Invariant`] lists.
#![doc = include_str!("../../docs/simulation.md")]

mod actor;
mod checkers;
mod citizen;
mod facts;
mod invariant;
mod log;
mod model;
mod net;
mod node;
mod ops;
mod peer;
mod proxy;
mod recorder;
mod rng;
mod scenario;
mod settle;
mod streams;
mod text;
mod world;

pub use actor::{Actor, Scene};
/// What operations are decoded from.
#[doc(no_inline)]
pub use arbitrary;
pub use citizen::{Citizen, PACKAGE};
pub use facts::Facts;
pub use invariant::{Invariant, Violation};
pub use log::{Frame, Log};
pub use model::Model;
pub use net::{Datagram, Fault, FaultCounts, Faults, Network};
pub use node::{Application, Blueprint, Clock, Node, Store};
pub use ops::{Op, Step, Weights, weather};
pub use peer::Peer;
pub use proxy::Proxy;
#[cfg(feature = "digest")]
#[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
pub use recorder::replay_with_users;
pub use recorder::{Recorder, ReplayError, Replayed, recorded_packages, replay};
pub use rng::Rng;
pub use scenario::{Options, Outcome, Scenario};
pub use world::{Figures, World};

#[cfg(test)]
mod tests;
