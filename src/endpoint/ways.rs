//! The ways of a request to its next hop: one after the other, until one
//! leads there (RFC 3263 section 4.3).

use alloc::boxed::Box;
use core::net::SocketAddr;
use core::time::Duration;

use super::client::Client;
use super::connections::Way;
use super::core::{Core, Up};
use super::locate::{Means, Plan, Step};
use super::seats::Home;
use crate::Instant;
use crate::error::Failure;
use crate::flow::Flow;
use crate::wire::Transport;

impl Core {
    /// Takes the next way to the next hop, or ends the transaction.
    pub(super) fn locate(&mut self, now: Instant, slot: u32) {
        self.leave(slot);
        let Some(mut plan) = self.clients.list.at_mut(slot).and_then(|client| client.plan.take()) else {
            self.fail_client(slot, Failure::Unresolved);
            return;
        };
        let failure = loop {
            let mut means = Means {
                locals: &self.locals,
                resolver: &mut self.resolver,
                entropy: &mut self.entropy,
                io: &mut self.io,
                down: &self.down,
            };
            match plan.advance(now, &mut means) {
                Step::Fail(failure) => break failure,
                Step::Wait(query) => {
                    self.keep_plan(slot, plan);
                    self.sit(slot, Home::Query(query));
                    return;
                }
                Step::Go(Transport::Udp, remote) => {
                    let Some(local) = self.locals.towards(Transport::Udp, remote) else { continue };
                    let flow = Flow::udp(local.bind, remote);
                    self.keep_plan(slot, plan);
                    self.take_located(slot, flow);
                    return;
                }
                Step::Go(transport, remote) => match self.connect(transport, remote, &plan.server_name(remote)) {
                    Some(Way::Open(flow)) => {
                        self.keep_plan(slot, plan);
                        self.take_located(slot, flow);
                        return;
                    }
                    Some(Way::Opening(connection)) => {
                        self.keep_plan(slot, plan);
                        self.sit(slot, Home::Connection(connection));
                        return;
                    }
                    None => {}
                },
            }
        };
        self.fail_client(slot, failure);
    }

    fn keep_plan(&mut self, slot: u32, plan: Box<Plan>) {
        if let Some(client) = self.clients.list.at_mut(slot) {
            client.plan = Some(plan);
        }
    }

    fn take_located(&mut self, slot: u32, flow: Flow) {
        if let Some(client) = self.clients.list.at(slot) {
            self.up.push_back(Up::Located(client.request, flow));
        }
        self.take_flow(slot, flow);
    }

    /// The request goes along `flow`.
    pub(super) fn take_flow(&mut self, slot: u32, flow: Flow) {
        self.leave(slot);
        if let Some(stream) = flow.stream
            && let Some(connection) = self.connections.slot(stream)
        {
            self.sit(slot, Home::Connection(connection));
        } else if flow.stream.is_none() {
            self.sit_by_remote(slot, flow.remote);
        }
        if let Some(client) = self.clients.list.at_mut(slot) {
            client.flow = Some(flow);
        }
        self.queue_client(slot, &flow);
    }

    /// Its way has failed: the next one is taken if the request is still at
    /// hand (RFC 3263 section 4.3).
    pub(super) fn client_failed(&mut self, now: Instant, slot: u32, why: Failure) {
        self.leave(slot);
        let Some(client) = self.clients.list.at_mut(slot) else { return };
        if client.is_completed() {
            self.end_client(slot);
            return;
        }
        let failed = client.flow.take();
        if let Some((flow, _)) = client.datagrams.take().map(|wait| *wait) {
            client.any_size = true;
            if client.machine.take().is_some() {
                client.repeated = true;
                client.nonce = self.entropy.next_nonce();
            } else if failed.is_none() {
                self.no_stream.mark(now, &self.entropy, flow.remote);
            }
            self.arm_client(slot);
            self.take_flow(slot, flow);
            return;
        }
        let last = client.head.is_empty() || client.plan.is_none();
        if let Some(flow) = failed {
            self.mark_down(now, slot, flow.transport, flow.remote, None);
        }
        if last {
            self.fail_client(slot, why);
            return;
        }
        let Some(client) = self.clients.list.at_mut(slot) else { return };
        if client.machine.is_some() {
            return self.another_server(now, slot);
        }
        self.arm_client(slot);
        self.locate(now, slot);
    }

    /// A server has failed a request. That is worth a place in memory where
    /// there are others.
    pub(super) fn mark_down(
        &mut self,
        now: Instant,
        slot: u32,
        transport: Transport,
        remote: SocketAddr,
        pause: Option<Duration>,
    ) {
        if self.clients.list.at(slot).is_some_and(Client::has_others) {
            self.down.mark(now, transport, remote, pause);
        }
    }

    /// Leaves the server that it was sent to for the next one, in a
    /// transaction of its own (3261-8.1.2-2).
    pub(super) fn another_server(&mut self, now: Instant, slot: u32) {
        self.leave(slot);
        let nonce = self.entropy.next_nonce();
        let Some(client) = self.clients.list.at_mut(slot) else { return };
        client.flow = None;
        client.repeated |= client.machine.take().is_some();
        client.datagrams = None;
        client.nonce = nonce;
        self.arm_client(slot);
        self.locate(now, slot);
    }

    /// The question that it waited for is answered.
    pub(super) fn client_resolved(&mut self, now: Instant, slot: u32) {
        if let Some(client) = self.clients.list.at_mut(slot) {
            client.seat = None;
            self.locate(now, slot);
        }
    }
}
