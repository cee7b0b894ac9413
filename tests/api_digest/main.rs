//! Digest authentication through endpoints: bytes in, bytes out, a virtual clock.
#![cfg(feature = "digest")]

mod claims;
mod client;
mod hostile;
mod kit;
mod matrix;
mod notify;
mod owners;
mod server;
