//! Texts that others wrote, made fit to show: nothing in them may move the cursor or turn a line around.

/// No sentence is helped by a longer quotation.
const CHARS_MAX: usize = 200;

/// Control characters, and the marks which make a line read differently from what it does.
pub(crate) fn is_invisible(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text with its invisible characters spelled out, and cut where it becomes too long to read.
pub fn excerpt(text: &str) -> String {
    let mut shown = visible(text.chars().take(CHARS_MAX));
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

pub(crate) fn visible(text: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    for character in text {
        if is_invisible(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_spelled_out_and_long_texts_cut() {
        assert_eq!(excerpt("a\u{1b}[2J\u{202e}é"), "a\\u{1b}[2J\\u{202e}é");
        assert_eq!(excerpt(&"x".repeat(CHARS_MAX)), "x".repeat(CHARS_MAX));
        assert_eq!(excerpt(&"x".repeat(CHARS_MAX + 1)).chars().count(), CHARS_MAX + 1);
    }
}
