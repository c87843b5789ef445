//! Text from apps and builds made safe for a terminal: nothing in it moves the cursor, sets a title or reverses reading.
use std::borrow::Cow;

/// Strips colour sequences, makes every other control and bidirectional character visible (security rule R10).
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = skip_colour(rest) {
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if is_unsafe(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// What follows a colour sequence (`ESC [ … m`) at the start of `text`.
fn skip_colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'))?;
    parameters[end..].strip_prefix('m')
}

/// Whether a character does more than show itself.
pub fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn colours_go_and_everything_dangerous_becomes_visible() {
        assert_eq!(printable("\u{1b}[1;31mred\u{1b}[0m plain\ttab"), "red plain\ttab");
        assert_eq!(printable("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(printable("a\u{202e}b\rc"), "a\\u{202e}b\\u{d}c");
        assert_eq!(printable("grüße"), "grüße");
    }
}
