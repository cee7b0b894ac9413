//! The reference model beside one endpoint: it sees what comes and what goes,
//! and is asked after every step.

use std::collections::BTreeMap;

use sip_events::testing::{Facts, Model};
use sip_events::wire::{Message, StatusCode, Substate, read};
use sip_events::{Endpoint, Event, Flow, Instant};

#[derive(Clone, Default)]
pub(crate) struct Witness {
    model: Model,
    /// The NOTIFYs that came in this step: number and dialog.
    came: Vec<(u32, u64)>,
    /// Of subscriptions.
    dialogs: BTreeMap<u64, u64>,
}

impl Witness {
    /// A message reaches the endpoint: one as we write them, or anything.
    pub(crate) fn delivered(&mut self, now: Instant, bytes: &[u8], ours: bool, stream: bool) {
        let facts = Facts::read(bytes);
        let sure = match (&facts, ours) {
            (_, true) => true,
            (None, _) => Message::scan(bytes).is_err(),
            (Some(facts), _) => Message::scan(bytes).is_ok_and(|message| agree(facts, &message)),
        };
        let facts = facts.unwrap_or_default();
        if facts.is(b"NOTIFY") {
            self.came.push((facts.cseq, facts.dialog()));
        }
        self.model.delivered(0, now, &facts, !sure, stream);
    }

    /// Nobody knows what the endpoint has got.
    pub(crate) fn unsure(&mut self, now: Instant) {
        self.model.delivered(0, now, &Facts::default(), true, true);
    }

    pub(crate) fn sent(&mut self, now: Instant, flow: &Flow, bytes: &[u8]) {
        let facts = Facts::read(bytes).expect("what we send has an end");
        let said = self.model.sent(0, now, &facts, flow.stream.is_some());
        assert_eq!(said, None, "{}", bytes.escape_ascii());
    }

    pub(crate) fn told(&mut self, event: &Event) {
        match event {
            Event::Notify { subscription, cseq, .. } => {
                let came = self.came.iter().find(|came| came.0 == *cseq);
                match came {
                    Some((_, dialog)) => self.dialogs.insert(subscription.as_u64(), *dialog),
                    None => self.dialogs.remove(&subscription.as_u64()),
                };
            }
            Event::Retrying { subscription, .. } | Event::Terminated { subscription, .. } => {
                self.dialogs.remove(&subscription.as_u64());
            }
            _ => {}
        }
    }

    /// The endpoint has nothing left to say.
    pub(crate) fn compare(&mut self, now: Instant, endpoint: &Endpoint) -> u64 {
        self.came.clear();
        let dialogs = &self.dialogs;
        match self.model.compare(0, now, endpoint, |id| dialogs.get(&id).copied()) {
            Ok(compared) => compared,
            Err(difference) => panic!("{difference}"),
        }
    }
}

/// Whether the onlooker and the library read the same off a message.
fn agree(facts: &Facts<'_>, message: &Message<'_>) -> bool {
    let same = || {
        let (from, to, cseq) = (read::from(message).ok()?, read::to(message).ok()?, read::cseq(message).ok()?);
        let (via, state) = (read::top_via(message).ok()?, read::subscription_state(message).ok()?);
        let told = match state.map(|state| state.substate) {
            Some(Substate::Active) => "active",
            Some(Substate::Pending) => "pending",
            Some(Substate::Terminated) => "terminated",
            _ => "",
        };
        let known = ["active", "pending", "terminated"].iter().find(|word| word.as_bytes() == facts.substate());
        Some(
            message.status().map_or(0, StatusCode::as_u16) == facts.status
                && from.tag().unwrap_or_default() == facts.from_tag
                && to.tag().unwrap_or_default() == facts.to_tag
                && read::call_id(message).ok()? == facts.call_id
                && cseq.number == facts.cseq
                && via.branch().unwrap_or_default() == facts.branch
                && read::expires(message) == facts.expires
                && told == known.copied().unwrap_or_default(),
        )
    };
    same() == Some(true)
}
