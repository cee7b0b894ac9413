//! The manual: the documents of the `docs` folder, with the same version as the
//! code. There is nothing here to call. (Its code takes time from `Clock`, so it
//! comes with the feature `std`.)

#[doc = "[limits.md]: crate::manual::limits\n[packages.md]: crate::manual::packages\n\n"]
#[doc = include_str!("../docs/event-loop.md")]
pub mod event_loop {}

#[doc = "[event-loop.md]: crate::manual::event_loop\n\n"]
#[doc = include_str!("../docs/embedding.md")]
pub mod embedding {}

#[doc = "[authentication.md]: crate::digest\n[event-loop.md]: crate::manual::event_loop\n[limits.md]: crate::manual::limits\n[scaling.md]: crate::manual::scaling\n[states.md]: crate::machine\n\n"]
#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[cfg(feature = "digest")]
#[doc = include_str!("../docs/authentication.md")]
pub mod authentication {}

#[doc = include_str!("../docs/scaling.md")]
pub mod scaling {}

#[doc = include_str!("../docs/restarts.md")]
pub mod restarts {}

#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[doc = "[event-loop.md]: crate::manual::event_loop\n\n"]
#[doc = include_str!("../docs/packages.md")]
pub mod packages {}

/// The front page of the repository; its pictures do not travel, its code is run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub mod readme {}
