//! A line of JSON with a checksum, by which damage is noticed: `{"v":1,…,"crc":"0123abcd"}`.

use serde_json::Value;

/// How a line of this version begins.
pub(super) const START: &[u8] = b"{\"v\":1,";
/// The bytes of `,"crc":"` and `"}` around eight hexadecimal digits.
const SEAL_BYTES: usize = 18;

/// Ends the line that begins at `start` with the CRC-32 of all that is in it.
pub(super) fn seal(lines: &mut Vec<u8>, start: usize) {
    let seal = seal_of(&lines[start..]);
    lines.extend_from_slice(seal.as_bytes());
    lines.push(b'\n');
}

/// Reads a line without its line break; `None` where it is damaged.
pub(super) fn open(line: &[u8]) -> Option<Value> {
    let (content, seal) = line.split_at_checked(line.len().checked_sub(SEAL_BYTES)?)?;
    (line.starts_with(START) && seal == seal_of(content).as_bytes())
        .then(|| serde_json::from_slice(line).ok())?
}

fn seal_of(content: &[u8]) -> String {
    format!(",\"crc\":\"{:08x}\"}}", crc32(content))
}

/// CRC-32 as in ISO 3309 and gzip (RFC 1952, section 8).
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, byte| {
        TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (0xedb8_8320 * (crc & 1)) ^ (crc >> 1);
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut line = b"{\"v\":1,\"text\":\"hi\\n{\\\"crc\\\":\"".to_vec();
        seal(&mut line, 0);
        assert_eq!(line.pop(), Some(b'\n'));
        let text = open(&line).and_then(|json| Some(json["text"].as_str()?.to_owned()));
        assert_eq!(text.as_deref(), Some("hi\n{\"crc\":"));
        for bit in 0..line.len() * 8 {
            let mut damaged = line.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&damaged), None, "bit {bit}");
        }
    }
}
