//! The folders that a workspace names by patterns, as cargo, npm, pnpm and Yarn write them.

/// A member's pattern against a folder: `*` stands for one part of the path, or a piece of it.
pub(crate) fn matches_folder(pattern: &str, folder: &str) -> bool {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    let (mut wanted, mut parts) = (pattern.split('/'), folder.split('/'));
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) | (Some("**"), Some(_)) => return true,
            (Some(wanted), Some(part)) if matches_part(wanted, part) => {}
            (Some(_) | None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

fn matches_part(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => {
            part.len() >= before.len() + after.len() && part.starts_with(before) && part.ends_with(after)
        }
        None => pattern == part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_matched_part_by_part() {
        for (pattern, folder, is_match) in [
            ("crates/*", "crates/web", true),
            ("crates/*", "crates/web/inner", false),
            ("./web/", "web", true),
            ("app-*", "app-web", true),
            ("app-*", "lib-web", false),
            ("crates/**", "crates/a/b", true),
            ("a/b", "a", false),
        ] {
            assert_eq!(matches_folder(pattern, folder), is_match, "{pattern} {folder}");
        }
    }
}
