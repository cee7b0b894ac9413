//! Whether the watchers hold what was published, and whether everything ends.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use super::checkers::{Invariant, TIMER_F};
use super::facts::key;
use super::node::Application;
use super::world::World;
use crate::agent::SubscriptionInfo;
use crate::machine::{notifier, subscriber};
use crate::{Endpoint, Instant, ResourceId, SubscriptionId};

/// Damage changes what the two sides know for as long as a dialog may last.
const DAMAGE_LASTS: Duration = Duration::from_secs(7200);

/// A subscription and the state that it ought to hold.
struct Pair {
    node: usize,
    notifier: usize,
    detail: String,
}

impl<A: Application> World<A> {
    /// Compares every active subscription's document with the state that its
    /// notifier holds, where nothing has gone wrong between them, and nothing
    /// was changed, for 64*T1 and `throttle`. With `settled` only the latter
    /// counts: all faults were over long ago.
    ///
    /// It is for packages that carry the state as it was set.
    pub fn check_documents(&mut self, throttle: Duration, settled: bool) {
        let quiet = TIMER_F + throttle + Duration::from_secs(5);
        for node in 0..self.nodes.len() {
            let Some(endpoint) = self.nodes.get(node).and_then(|n| n.endpoint()) else { continue };
            let mut found = None;
            let mut compared = 0u64;
            for id in endpoint.subscriptions() {
                let Ok(info) = endpoint.subscription(id) else { continue };
                match self.compare(node, id, &info, quiet, settled) {
                    None => {}
                    Some(Ok(())) => compared = compared.saturating_add(1),
                    Some(Err(pair)) => found = Some(pair),
                }
            }
            self.add_compared(compared);
            if let Some(pair) = found {
                let detail = format!("notifier {}: {}", pair.notifier, pair.detail);
                self.fail(Invariant::LostState, pair.node, detail);
            }
        }
    }

    fn compare(
        &self,
        node: usize,
        id: SubscriptionId,
        info: &SubscriptionInfo<'_>,
        quiet: Duration,
        settled: bool,
    ) -> Option<Result<(), Pair>> {
        if info.state != subscriber::State::Active || info.retry_at.is_some() {
            return None;
        }
        let seen = self.hub.checkers.seen(node, id.as_u64())?;
        let notifier = seen.notifier?;
        if !self.is_quiet(node, notifier, quiet, settled) {
            return None;
        }
        let other = self.nodes.get(notifier)?.endpoint()?;
        let resource = watched_with(other, seen.own_tag)?;
        let state = other.state(resource.0, resource.1);
        let same = state == info.document;
        Some(if same {
            Ok(())
        } else {
            let show = |body: Option<&crate::Body>| {
                body.map_or_else(|| "nothing".to_string(), |b| String::from_utf8_lossy(&b.data).into_owned())
            };
            let detail = format!("{id} holds {:?}, published is {:?}", show(info.document), show(state));
            Err(Pair { node, notifier, detail })
        })
    }

    /// Whether nothing has happened for so long that the two must agree.
    fn is_quiet(&self, a: usize, b: usize, quiet: Duration, settled: bool) -> bool {
        let now = self.hub.now;
        [a, b].into_iter().filter_map(|node| self.nodes.get(node)).all(|node| {
            let ip = node.address().ip();
            let trouble = if settled { Instant::ZERO } else { self.hub.net.last_trouble(ip) };
            let damaged = !settled && self.hub.net.last_damage(ip).is_some_and(|at| at + DAMAGE_LASTS > now);
            !damaged && node.touched.max(trouble) + quiet < now
        })
    }

    /// Checks that nothing is left at any node: no subscription, no watcher, no
    /// transaction, no timer. Call it 64*T1 after the last end.
    pub fn check_empty(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(endpoint) = self.nodes.get(at).and_then(|node| node.endpoint()) else { continue };
            let (subscriptions, watchers, _, incoming) = endpoint.agent().counts();
            let (clients, servers) = endpoint.transactions();
            let timer = endpoint.next_timer();
            if [subscriptions, watchers, incoming, clients, servers] != [0; 5] || timer.is_some() {
                let objects = endpoint.subscriptions().filter_map(|id| endpoint.explain(id));
                let objects = objects.chain(endpoint.watchers().filter_map(|id| endpoint.explain(id)));
                let objects: alloc::vec::Vec<String> = objects.take(3).map(|e| e.to_string()).collect();
                let detail = format!(
                    "{subscriptions} subscriptions, {watchers} watchers, {incoming} undecided, {clients} client and \
                     {servers} server transactions, next timer {timer:?}: {objects:?}"
                );
                self.fail(Invariant::TablesEmpty, at, detail);
            }
        }
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

/// The resource, and the view of it, that an active watcher with this tag is told.
fn watched_with(endpoint: &Endpoint, tag: u64) -> Option<(ResourceId, crate::View)> {
    endpoint.watchers().find_map(|id| {
        let info = endpoint.watcher(id).ok()?;
        let at = info.from.windows(5).rposition(|w| w == b";tag=")?;
        let own = info.from.get(at.saturating_add(5)..)?;
        let own = own.split(|b| *b == b';').next()?;
        (key(&[own]) == tag && info.state == notifier::State::Active).then_some((info.resource, info.view))
    })
}
