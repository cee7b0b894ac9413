//! The RFCs' rules, shown through the endpoint: bytes and a virtual clock in,
//! bytes, timers and events out. `docs/conformance/` maps each rule to its tests.

#![allow(unreachable_pub, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod compatibility;
mod dispatch;
mod harness;
mod message;
mod notifier_machine;
mod races;
mod rfc3261_12;
mod rfc3261_20;
mod rfc3261_7;
mod rfc3261_8;
mod rfc3265_3_1;
mod rfc3265_3_2;
mod rfc3265_3_3;
mod rfc3265_4;
mod rfc3265_7;
mod rfc6665_3;
mod rfc6665_4_1_2;
mod rfc6665_4_1_3;
mod rfc6665_4_2;
mod rfc6665_4_4;
mod rfc6665_4_5;
mod rfc6665_5;
mod rfc6665_8;
mod rulings;
mod sharing;
mod subscriber_machine;
mod subscriber_tables;
mod within;
