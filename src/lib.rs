//! SIP-Specific Event Notification (RFC 6665, and RFC 3265 before it) as a
//! sans-IO protocol state machine.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod machine;
mod time;
pub mod wire;

#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use time::Clock;
pub use time::Instant;
