//! Our own addresses: where requests leave from, and what Via and Contact say.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};

use super::Agent;
use super::flows::FlowId;
use crate::error::Misuse;
use crate::flow::Flow;
use crate::wire::{HostPort, Scheme, Transport, UriBuf, Via};

/// An address at which we receive.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) transport: Transport,
    pub(crate) bind: SocketAddr,
    pub(crate) sent_by: HostPort,
    /// The same as text.
    pub(super) sent_by_text: Vec<u8>,
    /// The Contact URI behind its scheme.
    pub(super) contact: Vec<u8>,
    pub(super) gruu: Option<UriBuf>,
}

/// The addresses given to `add_local`, in that order; the first that fits is
/// used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locals {
    pub(crate) list: Vec<Local>,
    /// [`ContactFlow::Same`](crate::ContactFlow).
    pub(crate) same_flow: bool,
    /// What we were known by lately: answers to what was sent then name it.
    pub(super) former: Vec<HostPort>,
    /// Addresses that were ours lately, at most [`MAX_FORMER`](Self::MAX_FORMER).
    pub(super) left: Vec<SocketAddr>,
}

impl Locals {
    /// Most addresses that are kept.
    const MAX: usize = 64;
    /// Most former names that are kept.
    const MAX_FORMER: usize = 8;

    /// One that is known takes the place of what was said of it.
    fn add(&mut self, new: Local) -> Result<(), Misuse> {
        let room = self.list.len() < Self::MAX;
        self.left.retain(|left| *left != new.bind);
        match self.list.iter_mut().find(|old| (old.transport, old.bind) == (new.transport, new.bind)) {
            Some(old) => {
                let old = core::mem::replace(old, new);
                self.remember(old.sent_by);
            }
            None if room => self.list.push(new),
            None => return Err(Misuse::Limit),
        }
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn is_bound(&self, bind: SocketAddr) -> bool {
        self.list.iter().any(|local| local.bind == bind)
    }

    pub(super) fn remove(&mut self, bind: SocketAddr) {
        let former: Vec<HostPort> =
            self.list.iter().filter(|local| local.bind == bind).map(|local| local.sent_by.clone()).collect();
        self.list.retain(|local| local.bind != bind);
        former.into_iter().for_each(|name| self.remember(name));
        if self.left.len() >= Self::MAX_FORMER {
            self.left.remove(0);
        }
        self.left.push(bind);
    }

    /// Whether `address` was ours, and is no more.
    pub(crate) fn has_left(&self, address: SocketAddr) -> bool {
        self.left.contains(&address)
    }

    fn remember(&mut self, name: HostPort) {
        if self.former.contains(&name) {
            return;
        }
        if self.former.len() >= Self::MAX_FORMER {
            self.former.remove(0);
        }
        self.former.push(name);
    }

    pub(crate) fn has(&self, transport: Transport) -> bool {
        self.list.iter().any(|local| local.transport == transport)
    }

    /// The address to reach `remote` from.
    pub(crate) fn towards(&self, transport: Transport, remote: SocketAddr) -> Option<&Local> {
        let fits = |local: &&Local| local.transport == transport && local.bind.is_ipv4() == remote.is_ipv4();
        self.list.iter().find(fits)
    }

    /// `remote` as we reach it, if we do: an IPv6 socket that is bound to all
    /// addresses takes those of IPv4 in their mapped form (RFC 3493 section
    /// 3.7).
    pub(crate) fn reach(&self, transport: Transport, remote: SocketAddr) -> Option<SocketAddr> {
        if self.towards(transport, remote).is_some() {
            return Some(remote);
        }
        let IpAddr::V4(ip) = remote.ip() else { return None };
        let dual =
            |local: &Local| local.transport == transport && local.bind.is_ipv6() && local.bind.ip().is_unspecified();
        self.list.iter().any(dual).then(|| SocketAddr::new(ip.to_ipv6_mapped().into(), remote.port()))
    }

    /// What is said of `address`: the one bound to it, else one that is bound
    /// to all addresses, else one of that host, of that family, of that
    /// transport.
    fn of(&self, transport: Transport, address: SocketAddr) -> Option<&Local> {
        let rank = |local: &&Local| {
            let bind = local.bind;
            let family = bind.is_ipv4() == address.is_ipv4();
            match () {
                () if bind == address => 4,
                () if family && bind.port() == address.port() && bind.ip().is_unspecified() => 3,
                () if bind.ip() == address.ip() => 2,
                () if family => 1,
                () => 0,
            }
        };
        self.list.iter().filter(|local| local.transport == transport).min_by_key(|local| Reverse(rank(local)))
    }

    /// Appends sent-by of requests on `flow` (RFC 3261 section 18.1.1).
    pub(crate) fn write_sent_by(&self, flow: &Flow, out: &mut Vec<u8>) {
        match self.of(flow.transport, flow.local) {
            Some(local) => out.extend_from_slice(&local.sent_by_text),
            None => HostPort::from(flow.local).write(out),
        }
    }

    /// Whether `via` is what we wrote on `flow` (3261-18.1.2-1).
    pub(crate) fn wrote(&self, flow: &Flow, via: &Via<'_>) -> bool {
        let bound;
        let sent_by = match self.of(flow.transport, flow.local) {
            Some(local) => &local.sent_by,
            None => {
                bound = HostPort::from(flow.local);
                &bound
            }
        };
        let default = flow.transport.default_port();
        let same = |name: &HostPort| {
            name.host() == via.host() && name.port().unwrap_or(default) == via.port().unwrap_or(default)
        };
        same(sent_by) || self.former.iter().any(same)
    }

    /// Appends the Contact field line for messages of `transport` between
    /// `address` and a peer.
    pub(crate) fn write_contact(
        &self,
        transport: Transport,
        address: Option<SocketAddr>,
        secure: bool,
        out: &mut Vec<u8>,
    ) {
        let by_address = address.and_then(|address| self.of(transport, address));
        let by_transport = || self.list.iter().find(|local| local.transport == transport);
        // A SIPS URI leads to where TLS is spoken, if that is anywhere.
        let by_security = || self.list.iter().find(|local| local.transport.is_secure());
        let wrong = secure && !transport.is_secure();
        let found = if wrong { by_security() } else { None }.or(by_address).or_else(by_transport);
        let Some(found) = found.or_else(|| self.list.first()) else { return };
        out.extend_from_slice(b"Contact: <");
        let supported: &[u8] = match &found.gruu {
            Some(gruu) => {
                out.extend_from_slice(gruu.as_bytes());
                b">\r\nSupported: gruu\r\n"
            }
            None => {
                out.extend_from_slice(if secure { b"sips:" } else { b"sip:" });
                out.extend_from_slice(&found.contact);
                if self.same_flow { b";ob>\r\nSupported: outbound\r\n" } else { b">\r\n" }
            }
        };
        out.extend_from_slice(supported);
    }
}

impl Agent {
    /// Tells where we receive: Contact comes from here. `advertised` is the
    /// address that peers see, if it is not `bind`; `gruu` replaces the Contact
    /// (RFC 7621 section 2). An address that is given again is replaced.
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
        let mut contact = Vec::with_capacity(48);
        if let Some(user) = self.config.identity.as_uri().user() {
            contact.extend_from_slice(user.split(|b| *b == b':').next().unwrap_or_default());
            contact.push(b'@');
        }
        let sent_by = advertised.cloned().unwrap_or_else(|| HostPort::from(bind));
        let mut sent_by_text = Vec::with_capacity(24);
        sent_by.write(&mut sent_by_text);
        contact.extend_from_slice(&sent_by_text);
        if transport != Transport::Udp {
            contact.extend_from_slice(b";transport=");
            contact.extend_from_slice(transport.param_token().as_bytes());
        }
        self.locals.add(Local { transport, bind, sent_by, sent_by_text, contact, gruu })
    }

    /// The Contact field line for messages on `flow`.
    pub(super) fn write_contact(&self, flow: FlowId, secure: bool, out: &mut Vec<u8>) {
        let flow = self.flows.get(flow).map(|record| record.flow());
        let transport = flow.map_or(Transport::Udp, |flow| flow.transport);
        let secure = secure || self.is_secure();
        self.locals.write_contact(transport, flow.map(|flow| flow.local), secure, out);
    }

    /// Whether we are known by a SIPS URI.
    pub(super) fn is_secure(&self) -> bool {
        self.config.identity.as_uri().scheme() == Scheme::Sips
    }
}
