//! What the agent saves, and how it goes on from it.
//!
//! Saved are resources, attempts, subscriptions and watchers with what they
//! wait for, and what a lost connection or a new address has yet to do to
//! them. Not saved are requests in flight, undecided SUBSCRIBEs, queued
//! answers and events, and the addresses given to `add_local`: those belong to
//! the life of one process.

mod changes;
mod digest;
mod records;
mod restore;
mod sweeps;
mod tables;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use changes::Changes;
