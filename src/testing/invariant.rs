//! The rules that hold after every step, in words.

use alloc::string::String;
use core::fmt;

use crate::Instant;

/// A rule. Its `Display` is the rule in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// The CSeq of told NOTIFYs rises.
    NotifyOrder,
    /// A NOTIFY is told once, and only if it came.
    NotifyOnce,
    /// A NOTIFY is told to the subscription whose dialog it belongs to.
    ForeignDialog,
    /// A subscription and a watcher end once, and never without a word.
    OneEnd,
    /// The end is the end.
    NothingAfterEnd,
    /// RFC 6665 section 4.2.1.2.
    AcceptedFirst,
    /// INT-10 and INT-15.
    OneInFlight,
    /// RFC 6665 section 4.2.1.1.
    GrantedAboveAsked,
    /// RFC 3261 section 12.2.1.1.
    CseqBack,
    /// Time is not asked for again.
    NoPastWakeUp,
    /// A timer that fired does not fire at the same moment for ever.
    NoSpin,
    /// Nothing leaks.
    TablesEmpty,
    /// No input causes a flood.
    OutputsBounded,
    /// No watcher pays for another's silence.
    BlackHole,
    /// What was published arrives.
    LostState,
    /// What is sent can be read.
    WellFormed,
    /// A retransmission repeats its bytes (RFC 3261 section 17.1.2.2).
    SameBytes,
    /// A panic is a finding, whatever the input. Reported by what runs the world:
    /// inside it nobody would see the end.
    NoPanic,
    /// A snapshot is taken up as it is, or refused as a whole.
    Restored,
    /// Both sides believe what the reference model says.
    Model,
}

impl Invariant {
    /// All rules.
    pub const ALL: [Self; 20] = [
        Self::NotifyOrder,
        Self::NotifyOnce,
        Self::ForeignDialog,
        Self::OneEnd,
        Self::NothingAfterEnd,
        Self::AcceptedFirst,
        Self::OneInFlight,
        Self::GrantedAboveAsked,
        Self::CseqBack,
        Self::NoPastWakeUp,
        Self::NoSpin,
        Self::TablesEmpty,
        Self::OutputsBounded,
        Self::BlackHole,
        Self::LostState,
        Self::WellFormed,
        Self::SameBytes,
        Self::NoPanic,
        Self::Restored,
        Self::Model,
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotifyOrder => "NOTIFYs reach the application in CSeq order",
            Self::NotifyOnce => "a NOTIFY never reaches the application twice",
            Self::ForeignDialog => "a NOTIFY never reaches the application from a foreign dialog",
            Self::OneEnd => "exactly one final end per subscription",
            Self::NothingAfterEnd => "nothing sent after a terminated NOTIFY",
            Self::AcceptedFirst => "2xx before NOTIFY",
            Self::OneInFlight => "at most one NOTIFY and one SUBSCRIBE in flight per subscription",
            Self::GrantedAboveAsked => "granted never above asked",
            Self::CseqBack => "CSeq never goes back, not across a restart",
            Self::NoPastWakeUp => "no wake-up in the past",
            Self::NoSpin => "no spin",
            Self::TablesEmpty => "all tables empty and timers gone 64*T1 after the last end",
            Self::OutputsBounded => "outputs per input bounded",
            Self::BlackHole => "one black-hole watcher does not delay the others",
            Self::LostState => "no published state lost whose path was up for 64*T1",
            Self::WellFormed => "every message sent reads as SIP",
            Self::SameBytes => "a retransmission repeats its bytes",
            Self::NoPanic => "no panic",
            Self::Restored => "a sound snapshot is restored, a spoiled one refused",
            Self::Model => "every node believes what the reference model says",
        })
    }
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// World time.
    pub at: Instant,
    /// At which node.
    pub node: usize,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    /// A rule broken `at` world time by `node`.
    pub const fn new(invariant: Invariant, at: Instant, node: usize, detail: String) -> Self {
        Self { invariant, at, node, detail }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" broken at {} s, node {}: {}", self.invariant, self.at, self.node, self.detail)
    }
}
