//! Where the submodules of a commit come from: its `.gitmodules`, which git writes like a configuration file.
use git2::{Repository, Tree};
use std::collections::HashMap;

/// A longer file is not read.
const FILE_BYTES_MAX: usize = 256 << 10;

/// Path of each submodule → its address.
pub(super) fn addresses(repo: &Repository, tree: &Tree) -> HashMap<String, String> {
    let Some(entry) = tree.get_name(".gitmodules") else { return HashMap::new() };
    match repo.find_blob(entry.id()) {
        Ok(blob) if blob.size() <= FILE_BYTES_MAX => parse(&String::from_utf8_lossy(blob.content())),
        Ok(_) | Err(_) => HashMap::new(),
    }
}

fn parse(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let (mut path, mut url) = (None, None);
    for line in text.lines().map(str::trim).chain(["["]) {
        if line.starts_with('[') {
            if let (Some(path), Some(url)) = (path.take(), url.take()) {
                found.insert(path, url);
            }
            (path, url) = (None, None);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim().trim_matches('"').to_owned();
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => path = Some(value),
            "url" => url = Some(value),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_submodule_has_the_address_of_its_own_section() {
        let text = "[submodule \"a\"]\n\tpath = vendor/a\n\turl = https://example.com/a.git\n\
            [submodule \"b\"]\n\turl = \"../b.git\"\n\tpath = b\n\tbranch = main\n[submodule \"c\"]\n\tpath = c\n";
        let found = parse(text);
        assert_eq!(found["vendor/a"], "https://example.com/a.git");
        assert_eq!(found["b"], "../b.git");
        assert!(!found.contains_key("c") && found.len() == 2);
        assert!(parse("").is_empty());
    }
}
