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

/// The candidate that a misspelt word most likely was to be: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let ranked = candidates.map(|candidate| (distance(word, candidate), candidate));
    let best = ranked.min_by_key(|(distance, _)| *distance)?;
    (best.0 <= 1 + best.1.len() / 4).then_some(best.1)
}

/// How many letters have to be added, removed or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(CHARS_MAX).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near_or_none() {
        let words = ["command", "install", "node"];
        assert_eq!(nearest("comand", words.into_iter()), Some("command"));
        assert_eq!(nearest("instal", words.into_iter()), Some("install"));
        assert_eq!(nearest("nodejs", words.into_iter()), Some("node"));
        assert_eq!(nearest("volumes", words.into_iter()), None);
    }

    #[test]
    fn invisible_characters_are_spelled_out_and_long_texts_cut() {
        assert_eq!(excerpt("a\u{1b}[2J\u{202e}é"), "a\\u{1b}[2J\\u{202e}é");
        assert_eq!(excerpt(&"x".repeat(CHARS_MAX)), "x".repeat(CHARS_MAX));
        assert_eq!(excerpt(&"x".repeat(CHARS_MAX + 1)).chars().count(), CHARS_MAX + 1);
    }
}
