//! The marker that every posted text carries, so that a delivery can be recognised
//! and timed in the raw bytes of any server's stream, however it frames them.

use std::time::Duration;

/// First byte of a marker. Nothing else in the traffic of a run contains it, which
/// is what lets the scanner look for one byte instead of parsing events.
const FIRST: u8 = b'~';
const SEQUENCE_DIGITS: usize = 8;
/// Twelve hexadecimal digits of nanoseconds last for three days.
const TIME_DIGITS: usize = 12;
const RUN_DIGITS: usize = 6;
/// Bytes of a marker, and so the least size of a text that can be posted.
pub(crate) const LENGTH: usize = 1 + RUN_DIGITS + SEQUENCE_DIGITS + TIME_DIGITS;

/// What one text says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Marker {
    /// Tells this run's messages from those of a run before, which a server may still hold.
    pub(crate) run: u32,
    pub(crate) sequence: usize,
    /// When it was sent, since the start of the run.
    pub(crate) sent: Duration,
}

impl Marker {
    /// A text of `size` bytes that starts with this marker.
    pub(crate) fn text(self, size: usize) -> String {
        let Self {
            run,
            sequence,
            sent,
        } = self;
        let mut text = format!(
            "{}{run:0RUN_DIGITS$x}{sequence:0SEQUENCE_DIGITS$x}{:0TIME_DIGITS$x}",
            FIRST as char,
            sent.as_nanos()
        );
        text.extend(std::iter::repeat_n('x', size.saturating_sub(LENGTH)));
        text
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(bytes.get(1..LENGTH)?).ok()?;
        let (run, rest) = digits.split_at_checked(RUN_DIGITS)?;
        let (sequence, sent) = rest.split_at_checked(SEQUENCE_DIGITS)?;
        Some(Self {
            run: u32::from_str_radix(run, 16).ok()?,
            sequence: usize::from_str_radix(sequence, 16).ok()?,
            sent: Duration::from_nanos(u64::from_str_radix(sent, 16).ok()?),
        })
    }
}

/// Finds markers in a stream of bytes, also where a marker is split between two reads.
#[derive(Default)]
pub(crate) struct Scanner {
    /// The beginning of a marker whose end was not read yet.
    held: [u8; LENGTH],
    held_length: usize,
}

impl Scanner {
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(Marker)) {
        if self.held_length > 0 {
            let taken = bytes.len().min(LENGTH - self.held_length);
            let (head, rest) = bytes.split_at(taken);
            self.held[self.held_length..self.held_length + taken].copy_from_slice(head);
            self.held_length += taken;
            if self.held_length < LENGTH {
                return;
            }
            self.held_length = 0;
            Marker::parse(&self.held).into_iter().for_each(&mut found);
            bytes = rest;
        }
        while let Some(at) = bytes.iter().position(|&byte| byte == FIRST) {
            bytes = &bytes[at..];
            if bytes.len() < LENGTH {
                self.held[..bytes.len()].copy_from_slice(bytes);
                self.held_length = bytes.len();
                return;
            }
            Marker::parse(bytes).into_iter().for_each(&mut found);
            bytes = &bytes[LENGTH..];
        }
    }
}
