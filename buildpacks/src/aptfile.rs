//! Aptfile: Debian's packages that an app needs beside its language, one a line, as Heroku's apt buildpack reads it.

use crate::PlanError;
use crate::text::excerpt;
use crate::tree::{SourceTree, config_text, ending};

pub(crate) const FILE: &str = "Aptfile";
const PACKAGES_MAX: usize = 200;

/// Packages by where they are installed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Packages {
    pub(crate) both: Vec<String>,
    pub(crate) build: Vec<String>,
    pub(crate) run: Vec<String>,
}

impl Packages {
    pub(crate) fn is_empty(&self) -> bool {
        self.both.is_empty() && self.build.is_empty() && self.run.is_empty()
    }
}

/// The packages of the Aptfile, or none without one.
pub(crate) fn read(tree: &dyn SourceTree) -> Result<Vec<String>, PlanError> {
    config_text(tree, FILE)?.map_or_else(|| Ok(Vec::new()), |text| parse(&text))
}

fn parse(text: &str) -> Result<Vec<String>, PlanError> {
    let mut packages: Vec<String> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |reason: String| PlanError::Manifest { file: FILE.to_owned(), line: at + 1, reason };
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with(":repo:") {
            return Err(wrong(
                "`:repo:` adds another archive of packages, and only those of Debian 13 are installed: remove the line, or add a Dockerfile that adds the archive".to_owned(),
            ));
        }
        let words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        for word in words {
            if let Some(reason) = refusal(word) {
                return Err(wrong(reason));
            }
            if !packages.iter().any(|known| known == word) {
                packages.push(word.to_owned());
            }
        }
        if packages.len() > PACKAGES_MAX {
            return Err(wrong(format!("more than {PACKAGES_MAX} packages: remove some")));
        }
    }
    Ok(packages)
}

/// Why a word is no package that can be installed.
fn refusal(word: &str) -> Option<String> {
    if word.contains("://") || ending(word) == "deb" {
        return Some(format!(
            "{} is a file to download, and only packages of Debian 13 are installed, by name: name one, or add a Dockerfile that installs the file",
            excerpt(word)
        ));
    }
    if word.starts_with('-') {
        return Some(format!("`{}` is an option of apt-get, and only names of packages can stand here", excerpt(word)));
    }
    (!is_package(word)).then(|| {
        format!(
            "{:?} cannot name a package of Debian: write one name a line, for example `libvips42t64`",
            excerpt(word)
        )
    })
}

/// `name` or `name=version`, in characters that Debian allows.
pub(crate) fn is_package(word: &str) -> bool {
    let (name, version) = word.split_once('=').unwrap_or((word, "0"));
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let is_version = |c: char| c.is_ascii_alphanumeric() || "+-.:~".contains(c);
    name.len() > 1
        && name.len() < 100
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(is_name)
        && !version.is_empty()
        && version.chars().all(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_with_comments_and_each_once() {
        let text = "# pictures\r\nlibvips42t64\r\n\r\nffmpeg libvips42t64 # and sound\ng++=4:14.2.0-1\n";
        assert_eq!(parse(text).unwrap(), ["libvips42t64", "ffmpeg", "g++=4:14.2.0-1"]);
        assert_eq!(parse("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_installed_is_named_with_its_line() {
        for (text, words) in [
            ("a2\n:repo:deb http://x y main\n", "line 2: `:repo:` adds another archive"),
            ("https://x.org/y.deb\n", "line 1: https://x.org/y.deb is a file to download"),
            ("y.deb\n", "is a file to download"),
            ("--allow-downgrades\n", "is an option of apt-get"),
            ("Foo\n", "\"Foo\" cannot name a package"),
            ("a;b\n", "cannot name a package"),
            ("x=\n", "cannot name a package"),
        ] {
            let shown = parse(text).unwrap_err().to_string();
            assert!(shown.starts_with("Aptfile line ") && shown.contains(words), "{shown}");
        }
        let many: Vec<String> = (0..=PACKAGES_MAX).map(|n| format!("p{n}")).collect();
        assert!(parse(&many.join("\n")).unwrap_err().to_string().contains("line 201: more than 200"));
    }
}
