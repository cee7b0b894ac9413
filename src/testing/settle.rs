//! Whether the watchers hold what was published, and whether everything ends.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::checkers::TIMER_F;
use super::facts::key;
use super::invariant::Invariant;
use super::node::Application;
use super::world::World;
use crate::machine::{notifier, subscriber};
use crate::{Endpoint, Instant, ResourceId, SubscriptionId};

/// Damage changes what the two sides know for as long as a dialog may last.
const DAMAGE_LASTS: Duration = Duration::from_secs(7200);

/// So long a watcher has kept silent that counts as a black hole.
const SILENT: Duration = Duration::from_secs(3);

/// What a change needs where nothing goes wrong: two round trips through a proxy
/// with the greatest jitter, and a connection that has to be opened.
const PROMPT: Duration = Duration::from_secs(20);

/// A subscription and the state that it ought to hold.
struct Pair {
    node: usize,
    notifier: usize,
    /// Another watcher keeps silent.
    beside: bool,
    /// The state, hashed, and whether it was published less than 64*T1 ago.
    state: u64,
    recent: bool,
    wrong: Option<String>,
}

impl<A: Application> World<A> {
    /// Looks at every node: subscriptions and watchers that are gone were told
    /// to be over, and those that are there are as the reference model has it; a
    /// node that has had neither for 64*T1 has nothing else left.
    pub fn check_nodes(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(at) else { continue };
            let Some(endpoint) = node.endpoint() else { continue };
            self.hub.checkers.present(at, endpoint);
            let compared = self.hub.checkers.compare(at, endpoint);
            self.hub.figures.believed = self.hub.figures.believed.saturating_add(compared);
            let ip = node.address().ip();
            // A clock that stood still or went back keeps its timers for longer.
            let idle = node.lively.max(self.hub.net.last_trouble(ip, ip));
            let (subscriptions, watchers, _, incoming) = endpoint.agent().counts();
            if [subscriptions, watchers, incoming] == [0; 3] && idle + TIMER_F + Duration::from_secs(10) < self.hub.now
            {
                self.check_node_empty(at);
            }
        }
    }

    /// Compares every active subscription's document with the state that its
    /// notifier holds, where nothing has gone wrong between them for 64*T1 and
    /// nothing was changed for `throttle` and 20 s. With `settled` only the
    /// latter counts, as all faults were over long ago; and no subscription is
    /// active that its notifier does not know, or pending that it has approved.
    ///
    /// It is for packages that carry the state as it was set.
    pub fn check_documents(&mut self, throttle: Duration, settled: bool) {
        for node in 0..self.nodes.len() {
            let Some(endpoint) = self.nodes.get(node).and_then(|n| n.endpoint()) else { continue };
            let ids: Vec<SubscriptionId> = endpoint.subscriptions().collect();
            for id in ids {
                // It has had the time to run out, or to hear what is so.
                if settled && self.hangs(node, id) {
                    self.fail(Invariant::LostState, node, format!("{id} lives on, but nothing is told about it"));
                }
                let Some(pair) = self.compare(node, id, throttle, settled) else { continue };
                let figures = &mut self.hub.figures;
                figures.compared = figures.compared.saturating_add(1);
                figures.beside = figures.beside.saturating_add(u64::from(pair.beside));
                if self.hub.checkers.first_look(node, id.as_u64(), pair.state) {
                    figures.states = figures.states.saturating_add(1);
                }
                if let Some(detail) = pair.wrong {
                    let late = pair.beside && pair.recent;
                    let rule = if late { Invariant::BlackHole } else { Invariant::LostState };
                    self.fail(rule, pair.node, format!("notifier {}: {detail}", pair.notifier));
                }
            }
        }
    }

    /// Whether a subscription that is there was told nothing since it was
    /// restored.
    fn hangs(&self, node: usize, id: SubscriptionId) -> bool {
        let endpoint = self.nodes.get(node).and_then(|node| node.endpoint());
        let info = endpoint.and_then(|endpoint| endpoint.subscription(id).ok());
        info.is_some_and(|info| {
            let alive = matches!(info.state, subscriber::State::Active | subscriber::State::Pending);
            alive && info.retry_at.is_none() && !self.hub.checkers.has_dialog(node, id.as_u64())
        })
    }

    fn compare(&mut self, node: usize, id: SubscriptionId, throttle: Duration, settled: bool) -> Option<Pair> {
        let info = self.nodes.get(node)?.endpoint()?.subscription(id).ok()?;
        let pending = info.state == subscriber::State::Pending && settled;
        if info.state != subscriber::State::Active && !pending || info.retry_at.is_some() {
            return None;
        }
        let (notifier, tag, dialog) = self.hub.checkers.path(node, id.as_u64())?;
        let touched = self.touched_if_quiet(node, notifier, throttle, settled)?;
        let other = self.nodes.get(notifier)?.endpoint()?;
        let (published, unknown) = match watched_with(other, tag) {
            Some((resource, view)) => (other.state(resource, view), false),
            // It has had the time to find out.
            None if settled && !pending => (None, true),
            None => return None,
        };
        let told = info.document;
        let show = |body: Option<&crate::Body>| {
            body.map_or_else(|| "nothing".to_string(), |b| String::from_utf8_lossy(&b.data).into_owned())
        };
        let wrong = if unknown {
            Some(format!("{id} is active, but its notifier does not know it"))
        } else if pending {
            Some(format!("{id} is pending, but its notifier has approved it"))
        } else {
            (told != published).then(|| format!("{id} holds {:?}, published is {:?}", show(told), show(published)))
        };
        let state = key(&[published.map_or(b"", |body| &body.data[..])]);
        let beside = self.hub.checkers.has_silent(notifier, dialog, SILENT);
        Some(Pair { node, notifier, beside, state, recent: touched + TIMER_F > self.hub.now, wrong })
    }

    /// When either of them was last changed, if nothing has happened for so
    /// long that they must agree.
    fn touched_if_quiet(&self, a: usize, b: usize, throttle: Duration, settled: bool) -> Option<Instant> {
        let now = self.hub.now;
        let (a, b) = (self.nodes.get(a)?, self.nodes.get(b)?);
        let (from, to) = (a.address().ip(), b.address().ip());
        let touched = a.touched.max(b.touched);
        if touched + throttle + PROMPT >= now {
            return None;
        }
        let net = &self.hub.net;
        let relays = self.hub.relays().flat_map(|relay| [(from, relay), (to, relay)]);
        let sound = |(a, b)| {
            net.last_trouble(a, b) + TIMER_F + throttle + Duration::from_secs(5) < now
                && net.last_damage(a, b).is_none_or(|at| at + DAMAGE_LASTS < now)
        };
        (settled || relays.chain([(from, to)]).all(sound)).then_some(touched)
    }

    /// Checks that nothing is left at any node: no subscription, no watcher, no
    /// transaction, no timer. Call it 64*T1 after the last end.
    pub fn check_empty(&mut self) {
        for at in 0..self.nodes.len() {
            self.check_node_empty(at);
        }
    }

    fn check_node_empty(&mut self, at: usize) {
        let Some(endpoint) = self.nodes.get(at).and_then(|node| node.endpoint()) else { return };
        let (subscriptions, watchers, _, incoming) = endpoint.agent().counts();
        let (clients, servers) = endpoint.transactions();
        // A connection that is kept open has a timer of its own.
        let pings = self.nodes.get(at).is_some_and(|node| node.pings);
        let timer = endpoint.next_timer().filter(|_| !pings);
        if [subscriptions, watchers, incoming, clients, servers] == [0; 5] && timer.is_none() {
            return;
        }
        let objects = endpoint.subscriptions().filter_map(|id| endpoint.explain(id));
        let objects = objects.chain(endpoint.watchers().filter_map(|id| endpoint.explain(id)));
        let objects: Vec<String> = objects.take(3).map(|e| e.to_string()).collect();
        let detail = format!(
            "{subscriptions} subscriptions, {watchers} watchers, {incoming} undecided, {clients} client and \
             {servers} server transactions, next timer {timer:?}: {objects:?}"
        );
        self.fail(Invariant::TablesEmpty, at, detail);
    }

    /// Nodes that have subscriptions or watchers.
    pub fn is_busy(&self) -> bool {
        self.nodes.iter().any(|node| {
            node.endpoint().is_none_or(|endpoint| {
                let (subscriptions, watchers, _, incoming) = endpoint.agent().counts();
                subscriptions > 0 || watchers > 0 || incoming > 0
            })
        })
    }
}

/// The resource, and the view of it, that the active watcher is told to whose
/// dialog the notifier gave this tag: a subscriber's tag may have two.
fn watched_with(endpoint: &Endpoint, tag: u64) -> Option<(ResourceId, crate::View)> {
    endpoint.watchers().find_map(|id| {
        let own = endpoint.agent().tag_of(id)?;
        let info = endpoint.watcher(id).ok().filter(|_| key(&[&own]) == tag)?;
        (info.state == notifier::State::Active).then_some((info.resource, info.view))
    })
}
