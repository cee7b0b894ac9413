//! Where we receive, and the Contact that says so.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Agent;
use super::flows::FlowId;
use crate::error::Misuse;
use crate::wire::{HostPort, Scheme, Transport, UriBuf};

/// An address at which we receive.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(super) transport: Transport,
    pub(super) bind: SocketAddr,
    /// The Contact URI behind its scheme.
    pub(super) contact: Vec<u8>,
    pub(super) gruu: Option<UriBuf>,
}

impl Agent {
    /// Tells where we receive: Contact comes from here. `advertised` is the
    /// address that peers see, if it is not `bind`; `gruu` replaces the Contact
    /// (RFC 7621 section 2).
    ///
    /// # Errors
    /// [`Misuse::BadValue`] for a wildcard address or port 0 without
    /// `advertised`; [`Misuse::Limit`] for the 65th.
    pub fn add_local(
        &mut self,
        transport: Transport,
        bind: SocketAddr,
        advertised: Option<&HostPort>,
        gruu: Option<UriBuf>,
    ) -> Result<(), Misuse> {
        if advertised.is_none() && (bind.ip().is_unspecified() || bind.port() == 0) {
            return Err(Misuse::BadValue);
        }
        if self.locals.len() >= 64 {
            return Err(Misuse::Limit);
        }
        let mut contact = Vec::with_capacity(48);
        if let Some(user) = self.config.identity.as_uri().user() {
            contact.extend_from_slice(user.split(|b| *b == b':').next().unwrap_or_default());
            contact.push(b'@');
        }
        match advertised {
            Some(host) => host.write(&mut contact),
            None => HostPort::from(bind).write(&mut contact),
        }
        if transport != Transport::Udp {
            contact.extend_from_slice(b";transport=");
            contact.extend_from_slice(transport.param_token().as_bytes());
        }
        self.locals.push(Local { transport, bind, contact, gruu });
        Ok(())
    }

    /// The Contact field line for messages on `flow`.
    pub(super) fn write_contact(&self, flow: FlowId, secure: bool, out: &mut Vec<u8>) {
        let flow = self.flows.get(flow).map(|record| record.flow);
        let transport = flow.map_or(Transport::Udp, |flow| flow.transport);
        self.write_contact_for(transport, flow.map(|flow| flow.local), secure, out);
    }

    pub(super) fn write_contact_for(
        &self,
        transport: Transport,
        local: Option<SocketAddr>,
        secure: bool,
        out: &mut Vec<u8>,
    ) {
        let by_address = self.locals.iter().find(|l| l.transport == transport && Some(l.bind) == local);
        let by_transport = || self.locals.iter().find(|l| l.transport == transport);
        let Some(found) = by_address.or_else(by_transport).or_else(|| self.locals.first()) else { return };
        out.extend_from_slice(b"Contact: <");
        match &found.gruu {
            Some(gruu) => out.extend_from_slice(gruu.as_bytes()),
            None => {
                let sips = secure || self.config.identity.as_uri().scheme() == Scheme::Sips;
                out.extend_from_slice(if sips { b"sips:" } else { b"sip:" });
                out.extend_from_slice(&found.contact);
            }
        }
        out.extend_from_slice(b">\r\n");
    }
}
