//! What was said, as a ladder for people and as a capture for their tools.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::facts::Facts;
use crate::Instant;
use crate::wire::Transport;

/// A message as it was sent, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// When.
    pub at: Instant,
    /// How.
    pub transport: Transport,
    /// By whom.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// On which connection.
    pub stream: Option<u64>,
    /// The whole message.
    pub bytes: Bytes,
}

/// All messages of a world since [`World::keep_log`](super::World::keep_log).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// In the order in which they were sent.
    pub frames: Vec<Frame>,
    /// Names for addresses.
    pub names: BTreeMap<IpAddr, String>,
}

/// Columns that one participant takes in a ladder.
const COLUMN: usize = 26;

impl Log {
    /// Only what was sent from `at` on.
    #[must_use]
    pub fn since(mut self, at: Instant) -> Self {
        self.frames.retain(|frame| frame.at >= at);
        self
    }

    /// The messages as a call-flow ladder, one line each.
    pub fn ladder(&self) -> String {
        let mut seen: Vec<IpAddr> = Vec::new();
        for ip in self.frames.iter().flat_map(|frame| [frame.from.ip(), frame.to.ip()]) {
            if !seen.contains(&ip) {
                seen.push(ip);
            }
        }
        seen.sort_unstable();
        let mut out = format!("{:>14} ", "seconds");
        for ip in &seen {
            let name = self.names.get(ip).cloned().unwrap_or_else(|| ip.to_string());
            out.push_str(&format!("{name:^COLUMN$}"));
        }
        out.push('\n');
        for frame in &self.frames {
            let place = |ip: IpAddr| seen.iter().position(|known| *known == ip).unwrap_or(0);
            let (from, to) = (place(frame.from.ip()), place(frame.to.ip()));
            out.push_str(&format!("{:>14} ", frame.at.to_string()));
            out.push_str(&arrow(seen.len(), from, to, &label(frame)));
            out.push('\n');
        }
        out
    }

    /// The messages as a pcap file (link type 101, raw IPv4 or IPv6). Each
    /// stands there as it left its sender; a connection has sequence numbers,
    /// but no handshake.
    pub fn pcap(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 0x0004_0000, 101] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let mut sequence: BTreeMap<(u64, SocketAddr), u32> = BTreeMap::new();
        for frame in &self.frames {
            // A segment carries at most what an IP packet can.
            for part in frame.bytes.chunks(60_000) {
                let packet = match frame.stream {
                    None => ip_packet(frame, 17, &udp(frame, part)),
                    Some(stream) => {
                        let next = sequence.get(&(stream, frame.from)).copied().unwrap_or(1);
                        let reply = sequence.get(&(stream, frame.to)).copied().unwrap_or(1);
                        let len = u32::try_from(part.len()).unwrap_or(0);
                        sequence.insert((stream, frame.from), next.wrapping_add(len));
                        ip_packet(frame, 6, &tcp(frame, part, next, reply))
                    }
                };
                let micros = frame.at.as_nanos() / 1000;
                let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
                let seconds = u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX);
                for word in [seconds, u32::try_from(micros % 1_000_000).unwrap_or(0), len, len] {
                    out.extend_from_slice(&word.to_le_bytes());
                }
                out.extend_from_slice(&packet);
            }
        }
        out
    }
}

fn label(frame: &Frame) -> String {
    let Some(facts) = Facts::read(&frame.bytes) else { return String::from("(no SIP)") };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut label = match facts.status {
        0 => format!("{} {}", text(facts.method), facts.cseq),
        status => format!("{status} ({} {})", text(facts.cseq_method), facts.cseq),
    };
    if facts.is(b"NOTIFY") {
        label.push(' ');
        label.push_str(&text(facts.substate()));
    } else if let Some(expires) = facts.expires {
        label.push_str(&format!(" ex={expires}"));
    }
    label
}

fn arrow(columns: usize, from: usize, to: usize, label: &str) -> String {
    let (left, right) = (from.min(to), from.max(to));
    let middle = COLUMN / 2;
    let mut line = String::new();
    if from == to {
        // To itself.
        for column in 0..columns {
            let mark = if column == from { "@" } else { "|" };
            line.push_str(&format!("{mark:^COLUMN$}"));
        }
        return format!("{}  {label}", line.trim_end());
    }
    for column in 0..columns {
        for place in 0..COLUMN {
            let x = column.saturating_mul(COLUMN).saturating_add(place);
            let start = left.saturating_mul(COLUMN).saturating_add(middle);
            let end = right.saturating_mul(COLUMN).saturating_add(middle);
            let text_at = start.saturating_add(2);
            line.push(if place == middle && (column == left || column == right) {
                if column == to { if to > from { '>' } else { '<' } } else { '|' }
            } else if x > start && x < end {
                let inside = x.checked_sub(text_at).and_then(|at| label.chars().nth(at));
                inside.unwrap_or('-')
            } else if place == middle {
                '|'
            } else {
                ' '
            });
        }
    }
    let room = right.saturating_sub(left).saturating_mul(COLUMN).saturating_sub(3);
    if label.chars().count() > room {
        line.push_str(label);
    }
    line.trim_end().to_string()
}

fn sum(words: &[u8], start: u32) -> u32 {
    words.chunks(2).fold(start, |sum, pair| {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        sum.wrapping_add(u32::from(u16::from_be_bytes([high, low])))
    })
}

fn fold(sum: u32) -> [u8; 2] {
    let once = (sum & 0xffff).wrapping_add(sum >> 16);
    let twice = (once & 0xffff).wrapping_add(once >> 16);
    (!u16::try_from(twice & 0xffff).unwrap_or(0)).to_be_bytes()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The checksum over the pseudo header and `segment`.
fn checksum(frame: &Frame, protocol: u8, segment: &[u8]) -> [u8; 2] {
    let len = u32::try_from(segment.len()).unwrap_or(0);
    let mut start = sum(&octets(frame.from.ip()), sum(&octets(frame.to.ip()), u32::from(protocol)));
    start = start.wrapping_add(len & 0xffff).wrapping_add(len >> 16);
    fold(sum(segment, start))
}

fn put(segment: &mut [u8], at: usize, bytes: [u8; 2]) {
    for (to, from) in segment.iter_mut().skip(at).zip(bytes) {
        *to = from;
    }
}

fn udp(frame: &Frame, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len().saturating_add(8));
    let len = u16::try_from(payload.len().saturating_add(8)).unwrap_or(u16::MAX);
    for word in [frame.from.port(), frame.to.port(), len, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(payload);
    let checksum = checksum(frame, 17, &out);
    put(&mut out, 6, if checksum == [0, 0] { [0xff, 0xff] } else { checksum });
    out
}

fn tcp(frame: &Frame, payload: &[u8], sequence: u32, acknowledged: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len().saturating_add(20));
    out.extend_from_slice(&frame.from.port().to_be_bytes());
    out.extend_from_slice(&frame.to.port().to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&acknowledged.to_be_bytes());
    // Five words of header; PSH and ACK; a full window.
    out.extend_from_slice(&[0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
    let checksum = checksum(frame, 6, &out);
    put(&mut out, 16, checksum);
    out
}

fn ip_packet(frame: &Frame, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(segment.len().saturating_add(40));
    let len = segment.len();
    match (frame.from.ip(), frame.to.ip()) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(&[protocol, 64]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&u16::try_from(len.saturating_add(20)).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
            out.extend_from_slice(&octets(from));
            out.extend_from_slice(&octets(to));
            let checksum = fold(sum(&out, 0));
            put(&mut out, 10, checksum);
        }
    }
    out.extend_from_slice(segment);
    out
}
