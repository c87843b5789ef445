//! The seam between the crate and its languages: what a language has to tell, and the list of all of them.
//!
//! A language is one file below `languages/` and one table (TOML) beside it. The table holds what changes with time or is
//! plain data: the names of its files, where a version may be asked for, what versions there are. The file implements
//! [`Rules`]. Adding a language is that file, that table, its `mod` line and its line in the list below.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::PlanError;
use crate::buildpack::Buildpack;
use crate::detect::{Detection, present, with_endings};
use crate::heroku_yml::HerokuYml;
use crate::languages::{
    classic, deno, dockerfile, dotnet, elixir, go, java, node, php, python, ruby, rust, shell, static_site,
};
use crate::overrides::Overrides;
use crate::plan::{BuildEnv, BuildPlan, Versions};
use crate::procfile::Procfile;
use crate::tree::SourceTree;
use crate::versions::Place;

/// What a language can do. Pure: the tree and the config vars are all it sees.
pub(crate) trait Rules {
    fn about(&self) -> &'static About;

    /// The files that give it away; none when the tree is not written in it.
    fn detect(&self, tree: &dyn SourceTree) -> Vec<String> {
        let about = self.about();
        let together = present(tree, &about.together);
        let is_whole = together.len() == about.together.len();
        let ended = with_endings(tree, &about.endings);
        present(tree, &about.triggers)
            .into_iter()
            .chain(together.into_iter().filter(|_| is_whole))
            .chain(ended)
            .collect()
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError>;

    /// Whether its own step takes `build.install` of paas.toml for its command.
    fn installs_by_itself(&self) -> bool {
        false
    }

    /// Whether its own step takes `build.command`.
    fn builds_by_itself(&self) -> bool {
        false
    }
}

/// The part of a language's table that every language has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    pub(crate) id: String,
    /// How it is called in sentences: `Node.js app detected`.
    pub(crate) name: String,
    /// Files that give it away, each by itself.
    #[serde(default)]
    pub(crate) triggers: Vec<String>,
    /// Files that do so together.
    #[serde(default)]
    pub(crate) together: Vec<String>,
    /// How the names of files at the root end that do so: `csproj`.
    #[serde(default)]
    pub(crate) endings: Vec<String>,
    /// Scripts that do so where no other file does, some by what they hold.
    #[serde(default)]
    pub(crate) scripts: Vec<String>,
    /// Files that ask for it, whatever else is there.
    #[serde(default)]
    pub(crate) asked_by: Vec<String>,
    /// What else it reads at the root: a name that is nearly one of these is told.
    #[serde(default)]
    pub(crate) reads: Vec<String>,
    /// Programs which, in a Procfile's `web` line, say that this language does the serving.
    #[serde(default)]
    pub(crate) programs: Vec<String>,
    /// How the names of config vars begin that steer its installers.
    #[serde(default)]
    pub(crate) env_prefixes: Vec<String>,
    /// The names under which its tools look for certificate authorities.
    #[serde(default)]
    pub(crate) ca_vars: Vec<String>,
    /// Where a version may be asked for; the first that says something counts.
    #[serde(default)]
    pub(crate) versions: Vec<Place>,
}

impl About {
    /// The files that give it away, in words.
    pub(crate) fn sought(&self) -> String {
        let together = (!self.together.is_empty()).then(|| self.together.join(" with "));
        let endings = self.endings.iter().map(|ending| format!("*.{ending}"));
        let script = self.scripts.first().map(|script| format!("a script such as {script}"));
        let named = self.triggers.iter().cloned().chain(together).chain(endings).chain(script);
        named.chain(self.asked_by.iter().cloned()).collect::<Vec<_>>().join(" or ")
    }
}

/// What a plan is made from.
#[derive(Clone, Copy)]
pub(crate) struct App<'a> {
    pub(crate) detection: &'a Detection,
    pub(crate) tree: &'a dyn SourceTree,
    pub(crate) env: &'a BuildEnv,
    /// The Procfile, when it names any process.
    pub(crate) procfile: Option<&'a Procfile>,
    /// Command lines that run once: `release:` and cron.
    pub(crate) once: &'a [&'a str],
    /// The classic buildpacks that a list names.
    pub(crate) buildpacks: &'a [Buildpack],
    /// heroku.yml, when it says how the app is built.
    pub(crate) heroku_yml: Option<&'a HerokuYml>,
    /// What paas.toml decides.
    pub(crate) overrides: &'a Overrides,
    /// What the release before was built with.
    pub(crate) before: &'a Versions,
}

impl App<'_> {
    /// The command that installs: paas.toml's, where it has one.
    pub(crate) fn install_command(&self) -> Option<&str> {
        self.overrides.install.as_ref().map(|set| set.value.as_str())
    }

    /// The version that the release before had of a language, where that is of another line than today's usual one: `parts`
    /// say how much of it makes a line.
    pub(crate) fn kept(&self, id: &str, parts: usize, usual: &str) -> Option<String> {
        let line = |version: &str| version.split('.').take(parts).collect::<Vec<_>>().join(".");
        let before = line(self.before.get(id)?);
        (before != line(usual)).then_some(before)
    }

    /// The command that builds: paas.toml's, else the language's usual one.
    pub(crate) fn build_or(&self, usual: String) -> String {
        self.overrides.command.as_ref().map_or(usual, |set| set.value.clone())
    }
}

/// Reads an embedded table. A test reads every one of them.
pub(crate) fn table<T: DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).unwrap_or_else(|error| panic!("an embedded table is broken: {error}"))
}

macro_rules! languages {
    ($($name:ident => $rules:path,)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Language {
            $($name,)+
        }

        impl Language {
            /// Where a tree is written in several, the first of them is built.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            pub(crate) fn rules(self) -> &'static dyn Rules {
                match self {
                    $(Self::$name => &$rules,)+
                }
            }
        }
    };
}

languages! {
    Dockerfile => dockerfile::Dockerfile,
    Go => go::Go,
    Rust => rust::Rust,
    Ruby => ruby::Ruby,
    Php => php::Php,
    Java => java::Java,
    Elixir => elixir::Elixir,
    Dotnet => dotnet::Dotnet,
    Deno => deno::Deno,
    Node => node::Node,
    Python => python::Python,
    Static => static_site::StaticSite,
    Classic => classic::Classic,
    Shell => shell::Shell,
}

impl Language {
    pub fn id(self) -> &'static str {
        &self.rules().about().id
    }

    /// How it is called in sentences: `Node.js app detected`.
    pub fn name(self) -> &'static str {
        &self.rules().about().name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;
    use crate::detect::detect;
    use crate::plan::plan;

    /// What a file has to hold, where its name alone says nothing.
    fn telling(language: Language, file: &str) -> &'static str {
        match (language, file) {
            (Language::Python, "pyproject.toml") => "[project]\n",
            (Language::Deno, script) if script.ends_with("ts") || script.ends_with("js") => "Deno.serve(hello)\n",
            (Language::Go, "app.go") => "package main\n",
            (_, "heroku.yml") => "build:\n  docker:\n    web: web.docker\n",
            (_, ".buildpacks") => "https://github.com/me/buildpack\n",
            (_, _) => "",
        }
    }

    /// What the refusal of a tree lists is true, and is all that there is to it.
    #[test]
    fn every_file_that_is_said_to_give_a_language_away_does() {
        for language in Language::ALL {
            let about = language.rules().about();
            let ended = about.endings.iter().map(|ending| format!("app.{ending}"));
            let named = about.triggers.iter().chain(&about.scripts).cloned().chain(ended);
            let mut trees: Vec<MemoryTree> =
                named.map(|file| MemoryTree::new().file(&file, telling(*language, &file))).collect();
            if !about.together.is_empty() {
                let tree = about.together.iter().fold(MemoryTree::new(), |tree, file| tree.file(file, ""));
                trees.push(tree);
            }
            for tree in trees {
                let found: Vec<Language> = detect(&tree).iter().map(|detection| detection.language).collect();
                assert_eq!(found, [*language], "{:?}", tree.files());
            }
            for file in &about.asked_by {
                let tree = MemoryTree::new().file(file, telling(*language, file)).file("web.docker", "FROM scratch");
                assert_eq!(plan(&tree, &BuildEnv::new()).unwrap().language, *language, "{file}");
            }
        }
    }

    #[test]
    fn half_of_what_gives_a_language_away_together_does_not() {
        for file in ["bin/compile", "bin/detect"] {
            assert_eq!(detect(&MemoryTree::new().file(file, "")), []);
        }
        assert_eq!(detect(&MemoryTree::new().file("global.json", "").file("src/app.csproj", "")), []);
    }

    #[test]
    fn every_table_is_whole_and_goes_by_the_name_of_its_language() {
        for language in Language::ALL {
            let about = language.rules().about();
            let id = serde_json::to_string(language).unwrap();
            assert_eq!(id, format!("\"{}\"", about.id));
            assert!(!about.sought().is_empty() && !about.name.is_empty(), "{id}");
        }
    }
}
