//! What other stacks fell into, sent to the endpoint: each test names the trap
//! in its first line (`PEER-A01`, and so on).

#![allow(unreachable_pub, missing_debug_implementations, dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

#[path = "../api_endpoint/kit.rs"]
mod kit;

mod hostile;
mod notifying;
mod subscribing;
