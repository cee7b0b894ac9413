//! A call-flow diagram that grows with every message.

use std::collections::HashMap;
use std::time::Instant;

use sip_events::wire::{Frame, Framer, FramerLimits, HeaderName, Message, StartLine};
use sip_events::{Flow, StreamId};

/// Draws our side on the left; `out` gets the lines.
pub struct Ladder {
    start: Instant,
    /// A connection may carry messages in any pieces, either way.
    streams: HashMap<(StreamId, bool), Framer>,
    /// Whether to write the other side's address at the right.
    pub peers: bool,
    out: fn(&str),
}

impl Ladder {
    pub fn new(out: fn(&str)) -> Self {
        Self { start: Instant::now(), streams: HashMap::new(), peers: true, out }
    }

    /// Draws the messages that `bytes` are or complete.
    pub fn message(&mut self, sent: bool, flow: &Flow, bytes: &[u8]) {
        let Some(id) = flow.stream else { return self.rung(sent, flow, bytes) };
        let mut framer = self.streams.remove(&(id, sent)).unwrap_or_else(|| Framer::new(FramerLimits::default()));
        framer.push(sip_events::Instant::ZERO, bytes);
        while let Ok(Some(frame)) = framer.next_message() {
            if let Frame::Message(bytes) = frame {
                self.rung(sent, flow, bytes);
            }
        }
        self.streams.insert((id, sent), framer);
    }

    fn rung(&self, sent: bool, flow: &Flow, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else { return };
        let value = |name| message.field(name, 0).map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default();
        let label = match message.start_line() {
            StartLine::Request { method, .. } => {
                let state = match value(HeaderName::SubscriptionState) {
                    state if state.is_empty() => format!("Expires: {}", value(HeaderName::Expires)),
                    state => state.split(';').next().unwrap_or_default().to_string(),
                };
                format!("{} {state}", String::from_utf8_lossy(method.as_bytes()))
            }
            StartLine::Response { status, .. } => {
                let method = value(HeaderName::CSeq).split(' ').nth(1).unwrap_or_default().to_string();
                format!("{} ({method})", status.as_u16())
            }
        };
        let (left, right) = if sent { ("|", ">|") } else { ("|<", "|") };
        let peer = if self.peers { format!(" {} {}", flow.transport.via_token(), flow.remote) } else { String::new() };
        let (time, label) = (self.start.elapsed(), format!(" {label} "));
        let (seconds, millis) = (time.as_secs(), time.subsec_millis());
        (self.out)(&format!("{seconds:>3}.{millis:03} {left}{label:-^50}{right}{peer}"));
    }
}
