//! What the fuzz targets do with their input: plain functions over the public
//! interface, so that `tests/fuzz_bodies.rs` runs them too, without a fuzzer.
//! A finding is a panic; each assertion states a property.
//!
//! With a fuzzer: `cargo +nightly fuzz run message -s none -- -dict=fuzz/sip.dict`.
#![allow(dead_code, unused_imports)]

mod agent;
mod choices;
mod digest;
mod endpoint_ops;
mod machines;
mod restore;
mod wire;
#[cfg(feature = "testing")]
mod witness;
#[cfg(not(feature = "testing"))]
#[path = "no_witness.rs"]
mod witness;
#[cfg(feature = "testing")]
mod world;

pub(crate) use agent::agent;
pub(crate) use digest::digest;
pub(crate) use endpoint_ops::{compared, endpoint_ops};
pub(crate) use machines::machines;
pub(crate) use restore::restore;
pub(crate) use wire::{framer, framer_all_cuts, headers, message, roundtrip};
#[cfg(feature = "testing")]
pub(crate) use world::world;
