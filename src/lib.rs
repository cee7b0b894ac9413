//! SIP-Specific Event Notification (RFC 6665, and RFC 3265 before it) as a
//! sans-IO protocol state machine.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations, unreachable_pub)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::todo,
    clippy::unimplemented,
    clippy::dbg_macro,
    clippy::float_arithmetic,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::alloc_instead_of_core
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod agent;
mod config;
mod endpoint;
mod entropy;
mod error;
mod event;
mod flow;
mod id;
mod io;
pub mod machine;
pub mod package;
mod stats;
mod time;
mod timers;
pub mod wire;

pub use agent::{Agent, Close, Decision, IncomingRef, ResourceKey, Scope, StateSet, Subscribe};
pub use config::{
    Config, Delivery, Dialect, DialogSharing, FlowGone, Limits, NotifyTimeout, PackageConfig, Policy, Role, Timers,
    Undecided, UnknownResource,
};
pub use endpoint::Endpoint;
pub use entropy::Seed;
pub use error::{ConfigError, DropReason, Failure, Handled, Misuse, Retry};
pub use event::{Ending, Event, Explanation, Gone, NotifyResult, ObjectId, Reason, SubscriptionState, TimerKind};
pub use flow::{Flow, StreamId};
pub use id::{IncomingId, ResourceId, SubscriptionId, WatcherId};
pub use io::{
    Answer, ConnectFailure, ConnectId, Io, QueryId, Question, QuestionKind, Record, ResolveFailure, StreamInfo,
    StreamSummary, Transmit, TransmitId,
};
pub use package::{Body, EventPackage, Packages, View};
pub use stats::Stats;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use time::Clock;
pub use time::Instant;
