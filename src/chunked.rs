//! What the bytes of a chunked body are (RFC 9112 §7.1): its framing, its data, or no longer its own.

/// A place in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunked {
    /// Before the size of a chunk, or in it: what it comes to, and how many digits it has.
    Size { size: u64, digits: u8 },
    /// After the size; to the end of the line.
    Extension { size: u64 },
    /// Before the line feed after the size.
    SizeEnd { size: u64 },
    /// In the data, of which this much is left.
    Data { left: u64 },
    /// Before the carriage return after the data.
    DataEnd,
    /// Before the line feed after the data.
    DataLineEnd,
    /// At the beginning of a line after the last chunk.
    TrailerStart,
    /// In such a line.
    Trailer,
    /// Before the line feed of such a line.
    TrailerEnd,
    /// Before the very last line feed.
    LastEnd,
}

/// What a run of bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walked {
    /// All of them belong to the body, and more do.
    On,
    /// So many belong to the body, which is whole.
    Whole(usize),
    /// The last of so many belongs to no chunked body.
    Astray(usize),
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many are of the framing.
    Framing(usize),
    /// So many are data.
    Data(usize),
    /// So many are of the framing, which ends with them.
    End(usize),
    /// The last of so many belongs to no chunked body.
    Astray(usize),
}

impl Piece {
    /// How many bytes it is.
    pub const fn len(self) -> usize {
        match self {
            Self::Framing(length) | Self::Data(length) => length,
            Self::End(length) | Self::Astray(length) => length,
        }
    }
}

/// More digits do not fit.
const MAX_DIGITS: u8 = 16;

impl Chunked {
    pub const fn new() -> Self {
        Self::Size { size: 0, digits: 0 }
    }

    /// Goes on by these bytes, to the end of the body or of the bytes.
    pub fn walk(&mut self, bytes: &[u8]) -> Walked {
        let mut at = 0;
        while at < bytes.len() {
            match self.step(&bytes[at..]) {
                Piece::Framing(length) | Piece::Data(length) => at += length,
                Piece::End(length) => return Walked::Whole(at + length),
                Piece::Astray(length) => return Walked::Astray(at + length),
            }
        }
        Walked::On
    }

    /// Goes on by the first of these bytes, of which there are some: those that are of one kind.
    pub fn step(&mut self, bytes: &[u8]) -> Piece {
        if let Self::Data { left } = *self {
            // As far as there is data; `left` is never 0.
            let taken = left.min(bytes.len() as u64);
            *self = if taken == left { Self::DataEnd } else { Self::Data { left: left - taken } };
            return Piece::Data(usize::try_from(taken).expect("no more than there are bytes"));
        }
        for (at, &byte) in bytes.iter().enumerate() {
            if (*self, byte) == (Self::LastEnd, b'\n') {
                return Piece::End(at + 1);
            }
            match self.after(byte) {
                Some(next) => *self = next,
                None => return Piece::Astray(at + 1),
            }
            if let Self::Data { .. } = self {
                return Piece::Framing(at + 1);
            }
        }
        Piece::Framing(bytes.len())
    }

    /// The place after one byte outside of data.
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Size { size, digits }, digit) if digit.is_ascii_hexdigit() => {
                let value = char::from(digit).to_digit(16)?;
                (digits < MAX_DIGITS)
                    .then(|| Self::Size { size: size << 4 | u64::from(value), digits: digits + 1 })
            }
            (Self::Size { digits: 0, .. }, _) => None,
            (Self::Size { size, .. } | Self::Extension { size }, b'\r') => {
                Some(Self::SizeEnd { size })
            }
            (Self::Size { size, .. }, b';' | b' ' | b'\t') => Some(Self::Extension { size }),
            (Self::Extension { size }, other) if other != b'\n' => Some(Self::Extension { size }),
            (Self::SizeEnd { size: 0 }, b'\n') => Some(Self::TrailerStart),
            (Self::SizeEnd { size }, b'\n') => Some(Self::Data { left: size }),
            (Self::DataEnd, b'\r') => Some(Self::DataLineEnd),
            (Self::DataLineEnd, b'\n') => Some(Self::new()),
            (Self::TrailerStart, b'\r') => Some(Self::LastEnd),
            (Self::Trailer, b'\r') => Some(Self::TrailerEnd),
            (Self::TrailerStart | Self::Trailer, other) if other != b'\n' => Some(Self::Trailer),
            (Self::TrailerEnd, b'\n') => Some(Self::TrailerStart),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies() {
        for (body, expected) in [
            ("0\r\n\r\n", Walked::Whole(5)),
            ("3\r\nabc\r\n0\r\n\r\nGET", Walked::Whole(13)),
            ("003\r\nabc\r\n000\r\n\r\n", Walked::Whole(17)),
            ("A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", Walked::Whole(26)),
            ("3 \r\nabc\r\n0\r\n\r\n", Walked::Whole(14)),
            ("0\r\nA: b\r\nC: d\r\n\r\n", Walked::Whole(17)),
            ("ffffffffffffffff\r\nx", Walked::On),
            ("", Walked::On),
            ("3\r\nabc\r\n0\r\n\r", Walked::On),
            ("\r\n", Walked::Astray(1)),
            ("g", Walked::Astray(1)),
            ("-1\r\n", Walked::Astray(1)),
            (" 1\r\n", Walked::Astray(1)),
            ("1\nx", Walked::Astray(2)),
            ("1;a\nx", Walked::Astray(4)),
            ("1\rx", Walked::Astray(3)),
            ("1\r\nab", Walked::Astray(5)),
            ("1\r\na\rb", Walked::Astray(6)),
            ("1\r\na\n", Walked::Astray(5)),
            ("00000000000000001\r\n", Walked::Astray(17)),
            ("0\r\n\n", Walked::Astray(4)),
            ("0\r\nA: b\n\r\n", Walked::Astray(8)),
            ("0\r\n\rx", Walked::Astray(5)),
        ] {
            assert_eq!(Chunked::new().walk(body.as_bytes()), expected, "{body:?}");
        }
    }

    proptest! {
        /// However the bytes come, and whatever they are, the body ends at the same one.
        #[test]
        fn pieces_come_to_the_same(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                "([0-3](;a)?\r\n[ab\r\n]{0,4}\r\n){0,4}0\r\n(A: b\r\n)?\r\nGET".prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(1_usize..8, 1..8),
        ) {
            let whole = Chunked::new().walk(&bytes);
            let (mut chunks, mut walked, mut rest) = (Chunked::new(), 0, &bytes[..]);
            let mut cuts = cuts.iter().cycle();
            let pieces = loop {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                match chunks.walk(piece) {
                    Walked::On if after.is_empty() => break Walked::On,
                    Walked::On => (walked, rest) = (walked + piece.len(), after),
                    Walked::Whole(length) => break Walked::Whole(walked + length),
                    Walked::Astray(length) => break Walked::Astray(walked + length),
                }
            };
            prop_assert_eq!(pieces, whole);
        }

        /// What is sent in chunks is walked to its end, and not a byte further.
        #[test]
        fn what_is_sent_is_walked(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..5),
            after in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            let length = bytes.len();
            bytes.extend(after);
            prop_assert_eq!(Chunked::new().walk(&bytes), Walked::Whole(length));
        }
    }
}
