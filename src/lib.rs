//! SIP-Specific Event Notification (RFC 6665, and RFC 3265 before it) as a
//! sans-IO protocol state machine.
#![no_std]
#![forbid(unsafe_code)]
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
    Answer, ConnectFailure, ConnectId, Io, QueryId, Question, QuestionKind, Record, ResolveFailure, StreamSummary,
    Transmit, TransmitId,
};
pub use package::{Body, EventPackage, Packages, View};
pub use stats::Stats;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use time::Clock;
pub use time::Instant;
