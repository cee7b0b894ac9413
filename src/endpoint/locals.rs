//! Our own addresses: where requests leave from and what Via says.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::error::Misuse;
use crate::flow::Flow;
use crate::wire::{HostPort, Transport, Via};

#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) transport: Transport,
    pub(super) bind: SocketAddr,
    pub(super) sent_by: HostPort,
}

/// The addresses given to `add_local`, in that order; the first that fits is
/// used.
#[derive(Debug, Clone, Default)]
pub(super) struct Locals(pub(super) Vec<Local>);

impl Locals {
    /// Most addresses that are kept.
    const MAX: usize = 256;

    pub(super) fn add(
        &mut self,
        transport: Transport,
        bind: SocketAddr,
        advertised: Option<HostPort>,
    ) -> Result<(), Misuse> {
        // A wildcard address is of no use in Via or Contact.
        if advertised.is_none() && bind.ip().is_unspecified() {
            return Err(Misuse::BadValue);
        }
        if self.0.len() >= Self::MAX {
            return Err(Misuse::Limit);
        }
        let sent_by = advertised.unwrap_or_else(|| HostPort::from(bind));
        self.0.retain(|local| (local.transport, local.bind) != (transport, bind));
        self.0.push(Local { transport, bind, sent_by });
        Ok(())
    }

    pub(super) fn has(&self, transport: Transport) -> bool {
        self.0.iter().any(|local| local.transport == transport)
    }

    /// The address to reach `remote` from.
    pub(super) fn towards(&self, transport: Transport, remote: SocketAddr) -> Option<&Local> {
        let fits = |local: &&Local| local.transport == transport && local.bind.is_ipv4() == remote.is_ipv4();
        self.0.iter().find(fits)
    }

    /// What Via names on `flow`: the address bound to it, else one that is
    /// bound to all addresses, else the first of that transport.
    fn of(&self, flow: &Flow) -> Option<&HostPort> {
        let same = || self.0.iter().filter(|local| local.transport == flow.transport);
        let family = |local: &&Local| local.bind.is_ipv4() == flow.local.is_ipv4();
        let exact = same().find(|local| local.bind == flow.local);
        let wildcard = || {
            let port = |local: &&Local| local.bind.port() == flow.local.port() && local.bind.ip().is_unspecified();
            same().filter(family).find(port)
        };
        let address = || same().find(|local| local.bind.ip() == flow.local.ip());
        let any = || same().find(family).or_else(|| same().next());
        exact.or_else(wildcard).or_else(address).or_else(any).map(|local| &local.sent_by)
    }

    /// Appends sent-by of requests on `flow` (RFC 3261 section 18.1.1).
    pub(super) fn write_sent_by(&self, flow: &Flow, out: &mut Vec<u8>) {
        match self.of(flow) {
            Some(sent_by) => sent_by.write(out),
            None => HostPort::from(flow.local).write(out),
        }
    }

    /// Whether `via` is what we wrote on `flow` (3261-18.1.2-1).
    pub(super) fn wrote(&self, flow: &Flow, via: &Via<'_>) -> bool {
        let bound;
        let sent_by = match self.of(flow) {
            Some(sent_by) => sent_by,
            None => {
                bound = HostPort::from(flow.local);
                &bound
            }
        };
        let default = flow.transport.default_port();
        sent_by.host() == via.host() && sent_by.port().unwrap_or(default) == via.port().unwrap_or(default)
    }
}
