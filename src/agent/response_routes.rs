//! The route set from the 2xx, for proxies older than RFC 6665 that record
//! their route on the SUBSCRIBE alone (6665-BC-15).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Agent;
use super::dialogs::record_routes;
use super::subscriptions::Attempt;
use crate::RouteSet;
use crate::wire::{MessageView, lex::split_list};

/// The route set of a 2xx whose NOTIFY has not come yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResponseRoutes {
    /// The notifier's tag.
    pub(super) tag: Box<[u8]>,
    /// A comma list, in the order in which the subscriber uses it.
    pub(super) routes: Box<[u8]>,
}

impl Agent {
    /// A 2xx from the notifier `tag` has come: its routes are those of the
    /// dialog that has none, if no request went out in it yet.
    pub(super) fn take_response_routes<V: MessageView + ?Sized>(&mut self, slot: u32, tag: &[u8], message: &V) {
        if self.config.policy.route_set != RouteSet::NotifyOrResponse {
            return;
        }
        let Some(attempt_slot) = self.subscriptions.at(slot).and_then(|s| s.attempt) else { return };
        let Some(attempt) = self.attempts.at_mut(attempt_slot) else { return };
        let limit = self.config.limits.dialog;
        let Ok(routes) = record_routes(message) else { return };
        if routes.is_empty() || routes.len().saturating_add(tag.len()) > usize::from(limit) {
            return;
        }
        let routes = reversed(&routes);
        let of_tag = attempt.subscriptions.iter().copied().find(|slot| {
            let dialog = self.subscriptions.at(*slot).and_then(|s| s.dialog.as_ref());
            dialog.is_some_and(|dialog| dialog.remote_tag() == tag)
        });
        let Some(of_tag) = of_tag else {
            if let Some(window) = &mut attempt.window {
                window.response_routes = Some(Box::new(ResponseRoutes { tag: tag.into(), routes: routes.into() }));
            }
            return;
        };
        let cseq = attempt.cseq;
        let Some(record) = self.subscriptions.at_mut(of_tag) else { return };
        if record.local_cseq != cseq {
            return;
        }
        let bare = record.dialog.as_mut().filter(|dialog| dialog.routes().is_empty());
        let moved = bare.is_some_and(|dialog| dialog.set_routes(routes, limit).is_ok());
        // The way to the first route has to be found anew.
        if moved && let Some(old) = record.destination.take() {
            self.flows.release(&self.entropy, old);
        }
    }
}

impl Attempt {
    /// The route set that a 2xx had for the dialog with `tag`, if it is kept.
    pub(super) fn routes_of_response(&self, tag: &[u8]) -> Vec<u8> {
        let kept =
            self.window.as_ref().and_then(|window| window.response_routes.as_ref()).filter(|kept| *kept.tag == *tag);
        kept.map(|kept| kept.routes.to_vec()).unwrap_or_default()
    }
}

/// A comma list backwards (RFC 3261 section 12.1.2).
fn reversed(routes: &[u8]) -> Vec<u8> {
    let elements: Vec<&[u8]> = split_list(routes).collect();
    let mut out = Vec::with_capacity(routes.len());
    for element in elements.into_iter().rev() {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(element);
    }
    out
}
