//! SIP-Specific Event Notification (RFC 6665, and RFC 3265 before it) as a
//! sans-IO protocol state machine.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod entropy;
mod error;
mod id;
pub mod machine;
mod stats;
mod time;
mod timers;
pub mod wire;

pub use entropy::Seed;
pub use error::{ConfigError, DropReason, Failure, Handled, Misuse, Retry};
pub use id::{IncomingId, ResourceId, SubscriptionId, WatcherId};
pub use stats::Stats;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use time::Clock;
pub use time::Instant;
