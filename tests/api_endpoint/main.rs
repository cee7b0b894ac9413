//! The endpoint driven with bytes and a virtual clock.

#![allow(unreachable_pub, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod answers;
mod bodies;
mod failover;
mod hostile;
mod keep_alive;
mod kit;
mod moves;
mod names;
mod peer;
mod pinned;
mod places;
mod redirects;
mod routes;
#[cfg(feature = "digest")]
mod storm;
mod streams;
mod transactions;
