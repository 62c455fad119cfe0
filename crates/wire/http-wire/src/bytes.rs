//! Which bytes may stand where: the character classes of RFC 9110 and RFC 3986.

/// True for bytes no line may hold: controls except HTAB, and DEL.
#[inline]
pub(crate) const fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// True when any byte is a control byte. Written without an early exit so that it vectorizes.
#[inline]
pub(crate) fn any_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, &byte| found | is_control(byte))
}

/// True for `tchar` of RFC 9110, section 5.6.2.
#[inline]
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// True for a token: one or more `tchar`.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// The value of a hexadecimal digit.
#[inline]
pub(crate) const fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The upper-case hexadecimal digit of the low four bits.
#[inline]
pub(crate) const fn hex_digit(value: u8) -> u8 {
    let value = value & 0x0f;
    if value < 10 { b'0' + value } else { b'A' + value - 10 }
}

/// `1*DIGIT` without sign, spaces, or leading zeros (which some read as octal), at most `2^63 - 1`
/// (the largest length every server can hold).
#[inline]
pub(crate) fn strict_decimal(bytes: &[u8]) -> Option<u64> {
    const MAX: u64 = i64::MAX.unsigned_abs();
    if bytes.is_empty() || bytes.len() > 19 || (bytes.len() > 1 && bytes.first() == Some(&b'0')) {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits stay below 2^64.
        value = value * 10 + u64::from(digit);
    }
    (value <= MAX).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_strict() {
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(strict_decimal(text.as_bytes()), expected, "{text:?}");
        }
        check("0", Some(0));
        check("10", Some(10));
        check("9223372036854775807", Some(9_223_372_036_854_775_807));
        check("9223372036854775808", None);
        check("18446744073709551616", None);
        for refused in
            ["", "+5", "-5", "0x5", "010", "00", "5 5", " 5", "5 ", "5,5", "1_0", "5\u{0}", "٥"]
        {
            check(refused, None);
        }
    }
}
