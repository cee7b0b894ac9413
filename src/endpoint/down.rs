//! Servers that failed a short while ago: they are tried after all others
//! (RFC 3263 section 4.3, RFC 3261 section 21.5.4).

use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::time::Duration;

use crate::Instant;
use crate::codec::{Reader, Writer};
use crate::error::RestoreError;
use crate::wire::Transport;

/// Most servers that are remembered.
const CAPACITY: usize = 64;
/// How long, where the server did not say.
pub(super) const USUAL: Duration = Duration::from_secs(32);
/// The longest Retry-After that is believed: one answer must not put a server
/// last for longer.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    transport: Transport,
    remote: SocketAddr,
    until: Instant,
}

fields!(Record { transport, remote, until });

/// The servers, the latest failure last.
#[derive(Debug, Clone, Default)]
pub(super) struct Down(VecDeque<Record>);

impl Down {
    /// A server has failed; it asked to be left alone for `pause`.
    pub(super) fn mark(&mut self, now: Instant, transport: Transport, remote: SocketAddr, pause: Option<Duration>) {
        self.clear(transport, remote);
        self.0.retain(|record| record.until > now);
        if self.0.len() >= CAPACITY {
            self.0.pop_front();
        }
        let until = now.saturating_add(pause.unwrap_or(USUAL).min(LONGEST));
        self.0.push_back(Record { transport, remote, until });
    }

    /// A server has answered.
    pub(super) fn clear(&mut self, transport: Transport, remote: SocketAddr) {
        self.0.retain(|record| (record.transport, record.remote) != (transport, remote));
    }

    pub(super) fn has(&self, now: Instant, transport: Transport, remote: SocketAddr) -> bool {
        let found = self.0.iter().find(|record| (record.transport, record.remote) == (transport, remote));
        found.is_some_and(|record| record.until > now)
    }

    pub(super) fn put(&self, w: &mut Writer<'_>) {
        crate::codec::put_list(w, self.0.iter());
    }

    /// What [`put`](Self::put) wrote.
    pub(super) fn read(&mut self, r: &mut Reader<'_>) -> Result<(), RestoreError> {
        self.0 = crate::codec::list(r)?.into();
        self.0.truncate(CAPACITY);
        Ok(())
    }
}
