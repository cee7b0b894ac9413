//! What moves between the nodes of a world: messages, connections, wake-ups.

use super::super::checkers::TIMER_F;
use super::*;
use crate::Gone;

/// From the last retransmission of a NOTIFY to its Timer F.
const NOTIFY_SLACK: Duration = Duration::from_secs(5);

/// What an endpoint may have something to say about.
fn objects(endpoint: &Endpoint) -> u32 {
    let (subscriptions, watchers, _, incoming) = endpoint.agent().counts();
    subscriptions.saturating_add(watchers).saturating_add(incoming)
}

impl Hub {
    /// Where the actors are that pass on what others say.
    pub(crate) fn relays(&self) -> impl Iterator<Item = IpAddr> {
        self.actors.iter().filter(|actor| actor.relays()).map(|actor| actor.address().ip())
    }

    pub(super) fn later(&mut self, at: Instant, item: Item) {
        self.order = self.order.saturating_add(1);
        self.queue.push(Due { at, order: self.order, item });
    }

    /// An actor's turn; `mangled` if it acts upon damaged words.
    pub(super) fn act(&mut self, at: usize, mangled: bool, with: impl FnOnce(&mut dyn Actor, &mut Scene<'_>)) {
        let Some(actor) = self.actors.get_mut(at) else { return };
        let from = actor.address();
        let mut counts = FaultCounts::default();
        let mut scene = Scene { now: self.now, rng: &mut self.rng, counts: &mut counts, out: Vec::new() };
        with(actor.as_mut(), &mut scene);
        let out = core::mem::take(&mut scene.out);
        self.net.add_counts(&counts);
        for (to, bytes) in out {
            self.send_datagram(from, to, bytes, mangled);
        }
    }

    pub(super) fn record(
        &mut self,
        transport: Transport,
        from: SocketAddr,
        to: SocketAddr,
        stream: Option<u64>,
        bytes: &Bytes,
    ) {
        self.figures.messages = self.figures.messages.saturating_add(1);
        self.figures.trace = mix_bytes(mix(self.figures.trace, self.now.as_nanos()), bytes);
        if let Some(log) = &mut self.log {
            log.frames.push(Frame { at: self.now, transport, from, to, stream, bytes: bytes.clone() });
        }
    }

    pub(super) fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes, mangled: bool) {
        self.record(Transport::Udp, from, to, None, &bytes);
        let Self { net, queue, order, now, .. } = self;
        net.send(*now, from, to, bytes, mangled, |at, datagram| {
            *order = order.saturating_add(1);
            queue.push(Due { at, order: *order, item: Item::Datagram(datagram) });
        });
    }

    pub(super) fn start<A: Application>(
        &mut self,
        node: &mut Node<A>,
        at: usize,
        mut endpoint: Endpoint,
        store: Store,
    ) {
        let now = node.clock.read(self.now);
        node.objects = objects(&endpoint);
        node.app.start(&mut endpoint, now, store);
        node.endpoint = Some(Box::new(endpoint));
        node.touched = self.now;
        self.drain(node, at, Cause::Own);
    }

    /// Plans the node's next wake-up.
    pub(super) fn arm<A>(&mut self, node: &mut Node<A>) {
        let timeout = node.endpoint.as_ref().and_then(|endpoint| endpoint.poll_timeout());
        node.wake = timeout.map(|local| node.clock.when(local, self.now));
    }

    pub(crate) fn wake<A: Application>(&mut self, node: &mut Node<A>, at: usize) {
        let now = node.clock.read(self.now);
        let Some(endpoint) = node.endpoint.as_mut() else { return };
        let (moment, count) = &mut node.spins;
        *count = if *moment == now { count.saturating_add(1) } else { 0 };
        *moment = now;
        if *count > MAX_SPINS {
            let detail = alloc::format!("{count} wake-ups at {now}: {:?}", endpoint.next_timer());
            self.checkers.fail(Invariant::NoSpin, self.now, at, detail);
        }
        #[cfg(test)]
        let hears = !self.deaf;
        #[cfg(not(test))]
        let hears = true;
        if hears {
            endpoint.handle_timeout(now);
        }
        self.drain(node, at, Cause::Own);
        // A clock that was set back shows less than the endpoint has seen: no claim then.
        let Some(endpoint) = node.endpoint.as_ref() else { return };
        if let Some(next) = endpoint.poll_timeout()
            && next <= now
            && node.spins.1 > 0
        {
            let detail = alloc::format!("due at {next}, but it is {now}: {:?}", endpoint.next_timer());
            self.checkers.fail(Invariant::NoPastWakeUp, self.now, at, detail);
        }
    }

    /// Takes everything that a node's endpoint has to say to an input.
    pub(super) fn drain<A: Application>(&mut self, node: &mut Node<A>, at: usize, cause: Cause) {
        let now = node.clock.read(self.now);
        let Some(mut endpoint) = node.endpoint.take() else { return };
        let withheld = endpoint.stats().withheld;
        let mut outputs = 0u32;
        let mut turns = 0u32;
        loop {
            let mut idle = true;
            let mut head = core::mem::take(&mut self.head);
            head.clear();
            while turns < ENDLESS
                && let Some(transmit) = endpoint.poll_transmit(now, &mut head)
            {
                idle = false;
                turns += 1;
                outputs = outputs.saturating_add(1);
                transmit.append_body(&mut head);
                let gone = transmit.flow.stream.is_none() && transmit.flow.local != node.blueprint.address;
                if gone {
                    // The socket is closed from which it should leave.
                    self.checkers.sent(at, now, self.now, &transmit.flow, &head);
                    self.checkers.failed(at, &head);
                    endpoint.handle_transmit_failed(now, transmit.id);
                } else {
                    self.transmit(node, &mut endpoint, at, now, transmit.flow, &head);
                }
                head.clear();
            }
            self.head = head;
            while turns < ENDLESS
                && let Some(event) = endpoint.poll_event()
            {
                idle = false;
                turns += 1;
                match event {
                    Event::Io(io) => self.driver(node, &mut endpoint, at, now, io),
                    event => {
                        outputs = outputs.saturating_add(1);
                        self.figures.told = self.figures.told.saturating_add(1);
                        self.checkers.told(at, &event);
                        node.app.event(&mut endpoint, now, &event);
                        match event {
                            Event::Subscribe(_) => node.touched = self.now,
                            Event::WatcherGone { why: Gone::NoAnswer(_), .. }
                                if node.withheld.is_some_and(|at| at + TIMER_F + NOTIFY_SLACK > self.now) =>
                            {
                                self.figures.unproven_lost = self.figures.unproven_lost.saturating_add(1);
                            }
                            _ => {}
                        }
                    }
                }
            }
            if idle || turns >= ENDLESS {
                break;
            }
        }
        self.checkers.has_said_all(at);
        let held_back = endpoint.stats().withheld.wrapping_sub(withheld);
        if held_back > 0 {
            self.figures.withheld = self.figures.withheld.saturating_add(held_back);
            node.withheld = Some(self.now);
        }
        let (subscriptions, watchers, _, incoming) = endpoint.agent().counts();
        if subscriptions > 0 || watchers > 0 || incoming > 0 {
            node.lively = self.now;
        }
        let before = core::mem::replace(&mut node.objects, objects(&endpoint));
        let concerned = if cause == Cause::Own { watchers.max(before) } else { watchers };
        if turns >= ENDLESS || outputs > OUTPUTS_PER_INPUT.saturating_add(concerned.saturating_mul(OUTPUTS_PER_OBJECT))
        {
            let detail = alloc::format!("{outputs} outputs for {concerned} objects");
            self.checkers.fail(Invariant::OutputsBounded, self.now, at, detail);
        }
        node.endpoint = Some(endpoint);
        self.arm(node);
    }

    pub(super) fn transmit<A>(
        &mut self,
        node: &Node<A>,
        endpoint: &mut Endpoint,
        at: usize,
        now: Instant,
        flow: Flow,
        message: &[u8],
    ) {
        self.checkers.sent(at, now, self.now, &flow, message);
        let bytes = Bytes::copy_from_slice(message);
        let Some(stream) = flow.stream else {
            self.send_datagram(node.blueprint.address, flow.remote, bytes, false);
            return;
        };
        self.record(flow.transport, flow.local, flow.remote, Some(Streams::number(stream)), &bytes);
        let (a, b) = (flow.local.ip(), flow.remote.ip());
        let faults = self.net.faults;
        if self.net.rng().chance(faults.cut) {
            self.net.harm(self.now, Fault::Cut, a, b);
            self.cut(Streams::number(stream), faults.latency);
            return;
        }
        if self.net.rng().chance(faults.block) {
            let until = self.now + self.net.rng().within(Duration::from_secs(20));
            self.net.harm(until, Fault::Blocked, a, b);
            self.checkers.blocked(at, stream, until);
            if let Some((number, side)) = self.streams.block(stream) {
                let _ = endpoint.set_writable(now, stream, false);
                self.later(until, Item::Writable { stream: number, side });
            }
        }
        // What meets a wall is sent again when it falls; a minute is too long.
        let mut depart = self.now;
        if let Some((until, both)) = self.net.walled(self.now, a, b) {
            let fault = if both { Fault::Partition } else { Fault::OneWay };
            self.net.harm(until, fault, a, b);
            if until - self.now > Duration::from_secs(60) {
                self.cut(Streams::number(stream), Duration::from_secs(60));
                return;
            }
            depart = until;
        }
        let arrive = depart + faults.latency;
        let mut chunks = Vec::new();
        self.streams.write(stream, arrive, bytes, self.net.rng(), |at, chunk| chunks.push((at, chunk)));
        for (at, chunk) in chunks {
            self.later(at, Item::Chunk(chunk));
        }
    }

    /// Both sides learn that the stream is closed.
    pub(super) fn cut(&mut self, stream: u64, delay: Duration) {
        self.streams.cut(stream);
        for side in 0..2 {
            self.later(self.now + delay, Item::Closed { stream, side });
        }
    }

    pub(super) fn driver<A>(&mut self, node: &mut Node<A>, endpoint: &mut Endpoint, at: usize, now: Instant, io: Io) {
        match io {
            Io::Resolve { query, question } => {
                let name = core::str::from_utf8(&question.name).unwrap_or_default();
                let found = self.names.get(name).copied();
                let ttl = Duration::from_secs(60);
                let answer = match (question.kind, &found) {
                    (QuestionKind::Address, Some(ip)) => {
                        Answer::Addresses { addresses: core::slice::from_ref(ip), ttl }
                    }
                    (QuestionKind::Address, None) => Answer::Failed(ResolveFailure::NotFound),
                    _ => Answer::Failed(ResolveFailure::NotSupported),
                };
                let _ = endpoint.handle_resolved(now, query, answer);
            }
            Io::Connect { connect, transport, remote, .. } => {
                let local = node.blueprint.address;
                let peer = self.addresses.get(&remote).copied();
                node.connects.push(connect);
                let walled = self.net.walled(self.now, local.ip(), remote.ip()).is_some()
                    || self.net.walled(self.now, remote.ip(), local.ip()).is_some();
                let (Some(peer), Transport::Tcp, false) = (peer, transport, walled) else {
                    let wait = Duration::from_millis(if walled { 5000 } else { 40 });
                    let why = if walled { ConnectFailure::TimedOut } else { ConnectFailure::Refused };
                    self.net.harm(self.now, Fault::Refused, local.ip(), remote.ip());
                    self.later(self.now + wait, Item::ConnectFailed { node: at, connect, why });
                    return;
                };
                let stream = self.streams.connect((at, local), (peer, remote));
                let open = self.now + self.net.faults.latency;
                self.later(open, Item::Opened { stream, side: 1, connect: None });
                self.later(open + self.net.faults.latency, Item::Opened { stream, side: 0, connect: Some(connect) });
            }
            Io::Close { stream } => {
                self.checkers.stream_closed(at, stream);
                self.cut(Streams::number(stream), Duration::ZERO);
            }
            _ => {}
        }
    }
}
