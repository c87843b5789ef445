//! The version ranges of package.json (`>=18 <21`, `20.x`, `^22.1 || 24`), as npm reads them. Prereleases
//! are not offered, so they are not read either.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Version {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match Partial::parse(text)? {
            Partial { major: Some(major), minor: Some(minor), patch: Some(patch) } => {
                Some(Self { major, minor, patch })
            }
            Partial { .. } => None,
        }
    }

    pub(crate) fn major(self) -> u64 {
        self.major
    }
}

/// Alternatives, each from its first version up to one before its second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range(Vec<Span>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: Version,
    before: Version,
}

const ZERO: Version = version(0, 0, 0);
const END: Version = version(u64::MAX, 0, 0);
const ANY: Span = Span { from: ZERO, before: END };

const fn version(major: u64, minor: u64, patch: u64) -> Version {
    Version { major, minor, patch }
}

impl Range {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let spans: Option<Vec<Span>> = text.split("||").map(parse_span).collect();
        spans.map(Self)
    }

    pub(crate) fn holds(&self, version: Version) -> bool {
        let inside = |span: &Span| span.from <= version && version < span.before;
        self.0.iter().any(inside)
    }
}

/// Rewrites the ranges of Python, Ruby, Elixir and Composer as npm's: `>=3.11,<3.14`, `~=3.12`, `~> 3.3`, `==3.12.*`.
pub(crate) fn spelled_as_npm(text: &str) -> Option<String> {
    let alternatives: Option<Vec<String>> =
        text.split('|').filter(|part| !part.trim().is_empty()).map(comparators).collect();
    Some(alternatives?.join("||"))
}

fn comparators(text: &str) -> Option<String> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if part.starts_with("!=") {
            continue;
        }
        let part = part.trim_start_matches("===").trim_start_matches("==");
        match part.strip_prefix("~=").or_else(|| part.strip_prefix("~>")) {
            // The last part may grow, what stands before it may not.
            Some(version) => {
                let version = version.trim();
                let (before, _) = version.rsplit_once('.')?;
                let (lead, last) =
                    before.rsplit_once('.').map_or((String::new(), before), |(a, b)| (format!("{a}."), b));
                let after: u64 = last.parse::<u64>().ok()?.checked_add(1)?;
                all.push(format!(">={version} <{lead}{after}"));
            }
            None => all.push(part.to_owned()),
        }
    }
    Some(all.join(" "))
}

/// Comparators that must all hold, or `1.2 - 3.4`.
fn parse_span(text: &str) -> Option<Span> {
    if let Some((from, to)) = text.split_once(" - ") {
        return Some(Span {
            from: Partial::parse(from.trim())?.first(),
            before: Partial::parse(to.trim())?.after_last(),
        });
    }
    let mut span = ANY;
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        // `>= 18` is one comparator in two words.
        let is_operator = word.chars().all(|c| "<>=^~".contains(c));
        let comparator = if is_operator { format!("{word}{}", words.next()?) } else { word.to_owned() };
        let narrower = parse_comparator(&comparator)?;
        span.from = span.from.max(narrower.from);
        span.before = span.before.min(narrower.before);
    }
    Some(span)
}

fn parse_comparator(text: &str) -> Option<Span> {
    let at = text.find(|c: char| !"<>=^~".contains(c)).unwrap_or(text.len());
    let (operator, rest) = text.split_at(at);
    let partial = Partial::parse(rest)?;
    let (first, after) = (partial.first(), partial.after_last());
    let span = match operator {
        "" | "=" => Span { from: first, before: after },
        ">=" => Span { from: first, before: END },
        ">" => Span { from: after, before: END },
        "<=" => Span { from: ZERO, before: after },
        "<" => Span { from: ZERO, before: first },
        "^" => Span { from: first, before: partial.next_breaking() },
        "~" | "~>" => Span { from: first, before: partial.next_minor() },
        _ => return None,
    };
    Some(span)
}

/// `20`, `20.x`, `20.1`, `*`: a version with open ends.
#[derive(Debug, Clone, Copy)]
struct Partial {
    major: Option<u64>,
    minor: Option<u64>,
    patch: Option<u64>,
}

impl Partial {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let mut parts = text.split('.').map(|part| match part {
            "" => None,
            "x" | "X" | "*" => Some(None),
            digits if digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().map(Some)
            }
            _ => None,
        });
        let major = parts.next()??;
        let minor = parts.next().unwrap_or(Some(None))?;
        let patch = parts.next().unwrap_or(Some(None))?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self { major, minor: major.and(minor), patch: major.and(minor).and(patch) })
    }

    fn first(self) -> Version {
        let part = Option::unwrap_or_default;
        version(part(self.major), part(self.minor), part(self.patch))
    }

    /// The first version that is no longer meant.
    fn after_last(self) -> Version {
        match (self.major, self.minor, self.patch) {
            (Some(major), Some(minor), Some(patch)) => version(major, minor, patch + 1),
            (Some(_), _, _) => self.next_minor(),
            (None, _, _) => END,
        }
    }

    fn next_minor(self) -> Version {
        match (self.major, self.minor) {
            (Some(major), Some(minor)) => version(major, minor + 1, 0),
            (Some(major), None) => version(major + 1, 0, 0),
            (None, _) => END,
        }
    }

    /// `^` lets everything move behind the first part that is not zero.
    fn next_breaking(self) -> Version {
        match (self.major, self.minor, self.patch) {
            (Some(0), Some(0), Some(patch)) => version(0, 0, patch + 1),
            (Some(0), Some(minor), _) => version(0, minor + 1, 0),
            (Some(major), _, _) => version(major + 1, 0, 0),
            (None, _, _) => END,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_npm_reads_them() {
        for (range, version, holds) in [
            ("20.x", "20.19.2", true),
            ("20", "20.19.2", true),
            ("20.19", "20.19.2", true),
            ("20.19.3", "20.19.2", false),
            ("v20.19.2", "20.19.2", true),
            (">=18", "20.19.2", true),
            (">= 18 < 20", "20.19.2", false),
            (">=18 <=20", "20.19.2", true),
            (">20", "20.19.2", false),
            (">20.18", "20.19.2", true),
            ("^20.10.1", "20.19.2", true),
            ("^20.19.3", "20.19.2", false),
            ("^18.0.0 || ^22", "20.19.2", false),
            ("^18||>=20.0.0", "20.19.2", true),
            ("~20.19.0", "20.19.2", true),
            ("~20.18.0", "20.19.2", false),
            ("~20", "20.19.2", true),
            ("18 - 20", "20.19.2", true),
            ("18 - 20.18", "20.19.2", false),
            ("*", "20.19.2", true),
            ("", "20.19.2", true),
            ("x", "20.19.2", true),
            ("^0.2.3", "0.2.9", true),
            ("^0.2.3", "0.3.0", false),
            ("^0.0.3", "0.0.4", false),
        ] {
            let parsed = Range::parse(range).unwrap();
            let version = Version::parse(version).unwrap();
            assert_eq!(parsed.holds(version), holds, "{range} over {version:?}");
        }
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in ["latest", "20.x.x.x", "=>18", "20-alpine", "lts/*", ">=", "1e3", "99999999999"] {
            assert_eq!(Range::parse(text), None, "{text}");
        }
    }
}
