//! Writes messages to a capture file. The driver sees bytes, not packets: IP, UDP and TCP headers are
//! made up round them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use sip_events::Flow;

pub struct Pcap {
    file: File,
    /// Octets so far between two addresses: received, sent.
    counts: HashMap<(SocketAddr, SocketAddr), [u32; 2]>,
}

/// What a packet carries at most, well below what its length field can say.
const SEGMENT: usize = 32_768;

impl Pcap {
    pub fn create(path: &str) -> io::Result<Self> {
        let mut file = File::create(path)?;
        // Microseconds, version 2.4, no time zone, 65,535 octets a packet, link type 101: IP itself.
        for word in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
            file.write_all(&word.to_le_bytes())?;
        }
        Ok(Self { file, counts: HashMap::new() })
    }

    pub fn message(&mut self, sent: bool, flow: &Flow, bytes: &[u8]) -> io::Result<()> {
        let (from, to) = if sent { (flow.local, flow.remote) } else { (flow.remote, flow.local) };
        match flow.stream {
            None => self.packet(17, from, to, &udp(from, to, bytes)),
            Some(_) => {
                for piece in bytes.chunks(SEGMENT) {
                    let counts = self.counts.entry((flow.local, flow.remote)).or_default();
                    let (next, seen) = (counts[usize::from(sent)], counts[usize::from(!sent)]);
                    counts[usize::from(sent)] = next.wrapping_add(piece.len() as u32);
                    self.packet(6, from, to, &tcp(from, to, next, seen, piece))?;
                }
                Ok(())
            }
        }
    }

    fn packet(&mut self, protocol: u8, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let mut ip = Vec::with_capacity(40 + payload.len());
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ip.extend([0x45, 0]);
                ip.extend((20 + payload.len() as u16).to_be_bytes());
                ip.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
                ip.extend(from.octets().into_iter().chain(to.octets()));
                let sum = checksum(&[&ip]);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                ip.extend([0x60, 0, 0, 0]);
                ip.extend((payload.len() as u16).to_be_bytes());
                ip.extend([protocol, 64]);
                ip.extend(from.octets().into_iter().chain(to.octets()));
            }
            _ => return Ok(()),
        }
        ip.extend(payload);
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        for word in [time.as_secs() as u32, time.subsec_micros(), ip.len() as u32, ip.len() as u32] {
            self.file.write_all(&word.to_le_bytes())?;
        }
        self.file.write_all(&ip)
    }
}

fn ports(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    from.port().to_be_bytes().into_iter().chain(to.port().to_be_bytes()).collect()
}

fn udp(from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    // An IPv4 datagram's length field covers both headers.
    let bytes = &bytes[..bytes.len().min(65_507)];
    let mut out = ports(from, to);
    out.extend((8 + bytes.len() as u16).to_be_bytes());
    out.extend([0, 0]);
    out.extend(bytes);
    let sum = match pseudo_checksum(17, from, to, &out) {
        0 => 0xffff,
        sum => sum,
    };
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    out
}

fn tcp(from: SocketAddr, to: SocketAddr, next: u32, seen: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = ports(from, to);
    out.extend(next.wrapping_add(1).to_be_bytes());
    out.extend(seen.wrapping_add(1).to_be_bytes());
    // A header of five words; PSH and ACK; the window; checksum and urgent pointer.
    out.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(bytes);
    let sum = pseudo_checksum(6, from, to, &out);
    out[16..18].copy_from_slice(&sum.to_be_bytes());
    out
}

fn pseudo_checksum(protocol: u8, from: SocketAddr, to: SocketAddr, segment: &[u8]) -> u16 {
    let mut head = Vec::new();
    for ip in [from.ip(), to.ip()] {
        match ip {
            IpAddr::V4(ip) => head.extend(ip.octets()),
            IpAddr::V6(ip) => head.extend(ip.octets()),
        }
    }
    head.extend([0, protocol]);
    head.extend((segment.len() as u16).to_be_bytes());
    checksum(&[&head, segment])
}

/// The Internet checksum (RFC 1071); all parts but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words.map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
