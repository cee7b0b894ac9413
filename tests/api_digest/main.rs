//! Digest authentication through endpoints: bytes in, bytes out, a virtual clock.
#![cfg(feature = "digest")]

mod client;
mod hostile;
mod kit;
mod matrix;
mod notify;
mod server;
