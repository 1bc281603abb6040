//! Counts as a person reads them.

/// A count with commas between thousands.
#[must_use]
pub fn commas(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_off() {
        let told = [0, 999, 1_000, 20_038, 1_234_567].map(commas);
        assert_eq!(told, ["0", "999", "1,000", "20,038", "1,234,567"]);
    }
}
