//! A line of an app's log, taken apart.

/// `2026-11-23T14:50:36.123Z app[web.1]: text` in its three parts.
pub fn parts(line: &str) -> (&str, &str, &str) {
    let (at, rest) = line.split_once(' ').unwrap_or(("", line));
    let (source, text) = rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""));
    (at, source, text)
}

/// Whether `app[web.1]` is of `web.1` or of `web`.
pub fn is_of_process(source: &str, wanted: &str) -> bool {
    let Some(slot) = source.strip_prefix("app[").and_then(|rest| rest.strip_suffix(']')) else { return false };
    slot == wanted || slot.rsplit_once('.').is_some_and(|(process, _)| process == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_time_a_source_and_a_text() {
        assert_eq!(parts("T app[web.1]: a: b"), ("T", "app[web.1]", "a: b"));
        assert_eq!(parts("T app[web.1]:"), ("T", "app[web.1]", ""));
        assert!(is_of_process("app[web.1]", "web") && is_of_process("app[web.1]", "web.1"));
        assert!(!is_of_process("app[web.1]", "web.2") && !is_of_process("router", "web"));
    }
}
