//! Undoes gzip (RFC 1951 and 1952), for the few clients that do not take it. It trusts what it
//! reads, which is part of this program.

/// Symbols below it are literals, and those above lengths of repetitions.
const END_OF_BLOCK: usize = 256;
/// In which order a block tells the lengths of the code for its lengths.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// A Huffman code: the length of each symbol and the symbol, in the order of their bits.
type Code = Vec<(usize, usize)>;

/// Unpacks a file whose header has no optional fields, and whose blocks are stored as they are or have codes
/// of their own. None has the fixed code, which is for very short texts.
pub(crate) fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut bits = Bits(packed, 8 * 10);
    let mut text = Vec::new();
    loop {
        let is_last = bits.take(1) == 1;
        let is_stored = bits.take(2) == 0;
        if is_stored {
            let from = bits.1.div_ceil(8) + 4;
            bits.1 = 8 * (from - 4);
            let to = from + bits.take(16);
            text.extend(&packed[from..to]);
            bits.1 = 8 * to;
        } else {
            let (literals, distances) = codes(&mut bits);
            repeated(&mut bits, &mut text, &literals, &distances);
        }
        if is_last {
            return text;
        }
    }
}

fn code(lengths: impl IntoIterator<Item = usize>) -> Code {
    let mut code: Code = lengths
        .into_iter()
        .zip(0..)
        .filter(|(length, _)| *length > 0)
        .collect();
    code.sort_unstable();
    code
}

/// The two codes of a block. Their lengths are in a third one.
fn codes(bits: &mut Bits) -> (Code, Code) {
    let (literals, distances) = (257 + bits.take(5), 1 + bits.take(5));
    let mut lengths = [0; 19];
    for at in &ORDER[..4 + bits.take(4)] {
        lengths[*at] = bits.take(3);
    }
    let third = code(lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match bits.symbol(&third) {
            16 => (lengths[lengths.len() - 1], 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        lengths.resize(lengths.len() + times, length);
    }
    let distances = code(lengths.split_off(literals));
    (code(lengths), distances)
}

/// A block of literals, and of repetitions of what came before.
fn repeated(bits: &mut Bits, text: &mut Vec<u8>, literals: &Code, distances: &Code) {
    loop {
        let length = match bits.symbol(literals) {
            END_OF_BLOCK => return,
            285 => 258,
            symbol if symbol > END_OF_BLOCK => 3 + bits.value(symbol - END_OF_BLOCK - 1, 4),
            literal => {
                text.push(literal as u8);
                continue;
            }
        };
        let distance = bits.symbol(distances);
        let from = text.len() - 1 - bits.value(distance, 2);
        // The end of what is repeated may be its own beginning.
        (from..from + length).for_each(|at| text.push(text[at]));
    }
}

/// Bytes, and how many of their bits were taken.
struct Bits<'a>(&'a [u8], usize);

impl Bits<'_> {
    fn take(&mut self, count: usize) -> usize {
        let from = self.1;
        self.1 += count;
        (0..count)
            .map(|n| usize::from(self.0[(from + n) / 8] >> ((from + n) % 8) & 1) << n)
            .sum()
    }

    fn symbol(&mut self, code: &Code) -> usize {
        let (mut taken, mut next, mut bits) = (0, 0, 0);
        for (length, symbol) in code {
            while taken < *length {
                (taken, next, bits) = (taken + 1, 2 * next, 2 * bits + self.take(1));
            }
            if bits == next {
                return *symbol;
            }
            next += 1;
        }
        unreachable!("every sequence of bits begins with a symbol")
    }

    /// A symbol stands for itself in the first group, and in each that follows for one bit more.
    fn value(&mut self, symbol: usize, group: usize) -> usize {
        match (symbol / group).saturating_sub(1) {
            0 => symbol,
            more => ((group + symbol % group) << more) + self.take(more),
        }
    }
}
