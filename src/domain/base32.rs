//! Crockford base32, lower case, over whole 5-bit groups: the text form of an upload id.

/// The alphabet: digits and lower-case letters without `i`, `l`, `o` and `u`. In ASCII order, so
/// that encoded ids sort as their bits do.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Marks a byte that is no symbol in [`VALUES`].
const NO_SYMBOL: u8 = 0xff;

/// The value of each byte, or [`NO_SYMBOL`]. Upper case and the alias letters are no symbols here:
/// an id has exactly one spelling.
const VALUES: [u8; 256] = {
    let mut table = [NO_SYMBOL; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        table[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// Writes the lowest `5 * out.len()` bits of `bits` as symbols, the most significant first.
pub(super) fn encode(bits: u128, out: &mut [u8]) {
    let mut rest = bits;
    for symbol in out.iter_mut().rev() {
        *symbol = ALPHABET[(rest & 0x1f) as usize];
        rest >>= 5;
    }
}

/// Reads up to 25 symbols as one number; `None` if any byte is no canonical symbol.
pub(super) fn decode(symbols: &[u8]) -> Option<u128> {
    debug_assert!(symbols.len() <= 25, "more symbols than a u128 holds");
    symbols.iter().try_fold(0u128, |bits, symbol| match VALUES[*symbol as usize] {
        NO_SYMBOL => None,
        value => Some(bits << 5 | u128::from(value)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(bits in 0u128..(1 << 90)) {
            let mut text = [0u8; 18];
            encode(bits, &mut text);
            prop_assert_eq!(decode(&text), Some(bits));
        }

        #[test]
        fn keeps_order(a in 0u128..(1 << 90), b in 0u128..(1 << 90)) {
            let (mut text_a, mut text_b) = ([0u8; 18], [0u8; 18]);
            encode(a, &mut text_a);
            encode(b, &mut text_b);
            prop_assert_eq!(a.cmp(&b), text_a.cmp(&text_b));
        }
    }

    #[test]
    fn aliases_and_upper_case_are_no_symbols() {
        for alias in [b"i", b"l", b"o", b"u", b"A", b"-", b"%"] {
            assert_eq!(decode(alias), None);
        }
    }
}
