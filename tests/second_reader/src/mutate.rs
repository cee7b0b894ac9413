//! Messages with something changed.

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound.max(1) as u64).expect("below a usize")
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

const PIECES: [&[u8]; 26] = [
    b"\r\n",
    b"\r\n ",
    b" ",
    b"\t",
    b";",
    b",",
    b"\"",
    b"\\",
    b"<",
    b">",
    b"@",
    b":",
    b"=",
    b"\0",
    b"\n",
    b"\r",
    b"\xc3\xa4",
    b"\xff",
    b"%41",
    b"[::1]",
    b"4294967296",
    b"SIP/2.0",
    b";tag=x",
    b";branch=z9hG4bKx",
    b"f: <sip:a@b>\r\n",
    b"Via: SIP/2.0/UDP a;branch=z9hG4bKb\r\n",
];

/// A seed with one to three changes.
pub fn message(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(3) {
        change(random, seeds, &mut bytes);
    }
    bytes
}

/// Most changes hit the head: bodies are not looked into.
fn place(random: &mut Random, bytes: &[u8]) -> usize {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    if random.below(8) == 0 { random.below(bytes.len()) } else { random.below(head) }
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    for byte in bytes {
        lines.last_mut().expect("one at least").push(*byte);
        if *byte == b'\n' {
            lines.push(Vec::new());
        }
    }
    lines
}

fn change(random: &mut Random, seeds: &[Vec<u8>], bytes: &mut Vec<u8>) {
    let at = place(random, bytes);
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).expect("a byte"),
        2 => {
            let piece = random.of(&PIECES);
            bytes.splice(at..at, piece.iter().copied());
        }
        3 => {
            let end = (at + 1 + random.below(12)).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => bytes.truncate(at),
        // A line is lost, doubled, or changes places.
        kind => {
            let mut all = lines(bytes);
            let (from, to) = (random.below(all.len()), random.below(all.len()));
            match kind {
                5 => drop(all.remove(from)),
                6 => all.insert(to, all[from].clone()),
                7 => all.swap(from, to),
                _ => {
                    let other = lines(&seeds[random.below(seeds.len())]);
                    all[to].clone_from(&other[random.below(other.len())]);
                }
            }
            *bytes = all.concat();
        }
    }
}
