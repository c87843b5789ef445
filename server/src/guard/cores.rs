//! Lists of cores as the kernel writes them: `0-3,6` (cpuset(7), "List format").

/// Cores of one machine are fewer.
const CORES_MAX: usize = 8192;

/// All of them; `None` when it is no list.
pub(super) fn list(text: &str) -> Option<String> {
    written(&cores(text)?)
}

/// All but the first; `None` when that leaves nothing.
pub(super) fn all_but_the_first(text: &str) -> Option<String> {
    written(cores(text)?.get(1..)?)
}

/// Each of them, in the order of the list; `None` when it is no list.
pub(super) fn cores(text: &str) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= CORES_MAX {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

/// In the kernel's own spelling, so that what was written compares equal to what is read back.
fn written(cores: &[usize]) -> Option<String> {
    let runs = cores.chunk_by(|a, b| a + 1 == *b);
    let words: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            run => run.iter().map(usize::to_string).collect(),
        })
        .collect();
    (!words.is_empty()).then(|| words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read_and_lose_their_first() {
        assert_eq!(all_but_the_first("0-1").as_deref(), Some("1"));
        assert_eq!(all_but_the_first("0-2,6").as_deref(), Some("1-2,6"));
        assert_eq!(list("3,5-6").as_deref(), Some("3,5-6"));
        for nothing in ["", "0", "a-b", "0-99999999999"] {
            assert_eq!(all_but_the_first(nothing), None, "{nothing:?}");
        }
    }
}
