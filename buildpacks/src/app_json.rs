//! app.json: what an app says about itself beside its Procfile. Read strictly where this version acts on it; what it does
//! not act on is named in a warning, so that nobody believes it was done.
//!
//! <https://devcenter.heroku.com/articles/app-json-schema>, with `cron` and `healthchecks` as Dokku has them.

mod cron;
mod env;
mod formation;
mod healthchecks;
mod place;
mod scripts;

pub use cron::CronEntry;
pub(crate) use env::is_var_name;
pub use place::AppJsonError;

use crate::languages::classic::Line;
use crate::setup::{HealthWish, Setup};
use crate::text::excerpt;
use place::Place;
use scripts::Scripts;

const ADDONS_BYTES_MAX: usize = 200;
/// Keys that describe the app to people: there is nothing to do about them.
const DESCRIPTIVE: &[&str] =
    &["$schema", "name", "description", "keywords", "website", "repository", "logo", "success_url", "stack"];

#[derive(Debug, Default)]
pub(crate) struct AppJson {
    pub(crate) cron: Vec<CronEntry>,
    pub(crate) setup: Setup,
    pub(crate) health: Option<HealthWish>,
    pub(crate) scripts: Scripts,
    buildpacks: Vec<(usize, String)>,
    /// What asks for something which this version does not do.
    unused: Vec<String>,
    addons: Vec<String>,
}

impl AppJson {
    /// What the pusher should know about the rest of the file.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let unused = self.unused.join(", ");
        let rest = (!unused.is_empty()).then(|| format!("app.json: not used by this version: {unused}"));
        rest.into_iter().chain(addons_warning("app.json", &self.addons))
    }

    /// The buildpacks that it lists, as they are written.
    pub(crate) fn buildpacks(&self) -> Vec<Line> {
        let line =
            |(line, source): &(usize, String)| Line { place: format!("app.json line {line}"), source: source.clone() };
        self.buildpacks.iter().map(line).collect()
    }
}

/// Add-ons are services that somebody else runs: what is missing has to be said, or the app starts without it.
pub(crate) fn addons_warning(file: &str, addons: &[String]) -> Option<String> {
    (!addons.is_empty()).then(|| {
        format!(
            "{file}: add-ons are not provided: {}: run each elsewhere, and give its address to the app (`paas config:set DATABASE_URL=…`)",
            addons.join(", ")
        )
    })
}

pub(crate) fn parse(text: &str) -> Result<AppJson, AppJsonError> {
    let file = Place { text, field: "the file".to_owned() };
    let mut parsed = AppJson::default();
    for (key, value) in file.fields(text)? {
        let place = Place { text, field: excerpt(&key) };
        let unused = &mut parsed.unused;
        match key.as_str() {
            "cron" => parsed.cron = cron::cron(&place, value)?,
            "env" => parsed.setup.vars = env::env(&place, value, unused)?,
            "formation" => parsed.setup.formation = formation::formation(&place, value, unused)?,
            "scripts" => parsed.scripts = scripts::scripts(&place, value, unused)?,
            "healthchecks" => parsed.health = healthchecks::healthchecks(&place, value, unused)?,
            "buildpacks" => parsed.buildpacks = buildpacks(&place, value, unused)?,
            "addons" => parsed.addons = addons(&place, value)?,
            known if DESCRIPTIVE.contains(&known) => {}
            _something_else => unused.push(place.field),
        }
    }
    parsed.setup.postdeploy = parsed.scripts.postdeploy.as_deref().map(crate::command::executable);
    Ok(parsed)
}

fn buildpacks<'a>(
    place: &Place<'a>,
    part: &'a str,
    unused: &mut Vec<String>,
) -> Result<Vec<(usize, String)>, AppJsonError> {
    let wanted = "a list: `[ { \"url\": \"https://…\" } ]`";
    let mut all = Vec::new();
    for (at, item) in place.items(part, wanted)?.into_iter().enumerate() {
        let place = Place { text: place.text, field: format!("buildpacks[{at}]") };
        let mut url = None;
        for (key, part) in place.fields(item)? {
            let field = place.below(&format!(".{}", excerpt(&key)));
            match key.as_str() {
                "url" => url = Some((field.line(part), field.words(part, ADDONS_BYTES_MAX * 5)?)),
                _other => unused.push(field.field),
            }
        }
        all.push(url.ok_or_else(|| place.wrong(item, "an object with `url`: `{ \"url\": \"https://…\" }`"))?);
    }
    Ok(all)
}

/// The plans' names.
fn addons<'a>(place: &Place<'a>, part: &'a str) -> Result<Vec<String>, AppJsonError> {
    let mut names = Vec::new();
    for (at, item) in place.items(part, "a list of names")?.into_iter().enumerate() {
        let place = Place { text: place.text, field: format!("addons[{at}]") };
        if !item.starts_with('{') {
            names.push(place.words(item, ADDONS_BYTES_MAX)?);
            continue;
        }
        let plan = place.fields(item)?.into_iter().find(|(key, _)| key == "plan");
        let (_, part) = plan.ok_or_else(|| place.wrong(item, "a name, or an object with `plan`"))?;
        names.push(place.below(".plan").words(part, ADDONS_BYTES_MAX)?);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::{WantedVar, Wish};

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn entries_come_with_the_line_of_their_schedule_and_the_rest_is_named() {
        let text = "{\n  \"name\": \"blog\",\n  \"image\": \"x\",\n  \"cron\": [\n    { \"command\": \"a && b\",\n      \"schedule\": \" 0 3 * * * \" }\n  ],\n  \"environments\": {}\n}\n";
        let parsed = parse(text).unwrap();
        let entry = CronEntry { command: "sh -c 'a && exec b'".to_owned(), schedule: "0 3 * * *".to_owned(), line: 6 };
        assert_eq!(parsed.cron, [entry]);
        assert_eq!(parsed.warnings().collect::<Vec<_>>(), ["app.json: not used by this version: image, environments"]);
        assert!(parse("{\"name\": \"blog\"}").unwrap().warnings().next().is_none());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (text, words) in [
            ("{\n\"cron\": [,]\n}", "line 2, column"),
            ("[]", "line 1: the file must be an object"),
            ("{\"cron\": []\n,\"cron\": []}", "line 2: cron is there twice"),
            ("{\"cron\": {}}", "cron must be a list"),
            ("{\"cron\": [\n3]}", "line 2: cron[0] must be an object"),
            ("{\"cron\": [{\"command\": 3, \"schedule\": \"@daily\"}]}", "cron[0].command must be a text"),
            ("{\"cron\": [{\"command\": \" \", \"schedule\": \"@daily\"}]}", "cron[0].command must be 1 to 4096 bytes"),
            ("{\"cron\": [{\"command\": \"a\\u0000\", \"schedule\": \"x\"}]}", "without invisible characters"),
            ("{\"cron\": [{\"command\": \"a\"}]}", "cron[0].schedule is missing"),
            ("{\"cron\": [{\"schedule\": \"@daily\"}]}", "cron[0].command is missing"),
            ("{\"cron\": [{\"command\": \"a\",\n\"size\": \"x\"}]}", "line 2: cron[0].size is unknown"),
            ("{\"cron\": [{\"command\": \"a\",\n\"command\": \"b\"}]}", "line 2: command is there twice"),
            (
                "{\"cron\": [{\"command\": \"a\", \"schedule\": \"x\"},\n{\"command\": \"a\", \"schedule\": \"x\"}]}",
                "line 2: cron[1] is there twice",
            ),
            ("", "line 1, column 0"),
        ] {
            let shown = error(text);
            assert!(shown.contains(words), "{text}: {shown}");
        }
        let many: Vec<String> =
            (0..51).map(|n| format!("{{\"command\": \"c{n}\", \"schedule\": \"@daily\"}}")).collect();
        assert!(error(&format!("{{\"cron\": [{}]}}", many.join(","))).contains("at most 50 entries"));
    }

    #[test]
    fn everything_that_a_first_deploy_sets_up_is_read() {
        let text = r#"{
            "env": {
                "PLAIN": "a b",
                "SECRET": { "description": "signs cookies", "generator": "secret" },
                "KEY": { "description": "of the bank" },
                "MAYBE": { "required": false },
                "BOTH": { "value": "", "generator": "secret" }
            },
            "formation": { "web": { "quantity": 2, "size": "standard-1x" }, "worker": { "quantity": "0" } },
            "scripts": { "predeploy": "./migrate", "postdeploy": "./seed && ./greet", "dokku": { "predeploy": "x" } },
            "buildpacks": [
                { "url": "heroku/nodejs" }
            ],
            "addons": ["heroku-postgresql:mini", { "plan": "papertrail" }],
            "stack": "heroku-24"
        }"#;
        let parsed = parse(text).unwrap();
        let var = |name: &str, wish, description: Option<&str>, line| WantedVar {
            name: name.to_owned(),
            wish,
            description: description.map(str::to_owned),
            place: format!("app.json line {line}"),
        };
        assert_eq!(
            parsed.setup.vars,
            [
                var("PLAIN", Wish::Value("a b".to_owned()), None, 3),
                var("SECRET", Wish::Secret, Some("signs cookies"), 4),
                var("KEY", Wish::Required, Some("of the bank"), 5),
                var("MAYBE", Wish::Optional, None, 6),
                var("BOTH", Wish::Value(String::new()), None, 7),
            ]
        );
        assert_eq!(parsed.setup.formation, [("web".to_owned(), 2), ("worker".to_owned(), 0)].into());
        assert_eq!(parsed.setup.postdeploy.as_deref(), Some("sh -c './seed && exec ./greet'"));
        assert_eq!(parsed.scripts.release_command(None).as_deref(), Some("./migrate"));
        let both = parsed.scripts.release_command(Some("./release it"));
        assert_eq!(both.as_deref(), Some("sh -c ./migrate && sh -c './release it'"));
        let lines = parsed.buildpacks();
        assert_eq!((lines[0].place.as_str(), lines[0].source.as_str()), ("app.json line 12", "heroku/nodejs"));
        let warnings: Vec<String> = parsed.warnings().collect();
        assert!(warnings[0].contains("formation.web.size (`paas ps:limits`"), "{warnings:?}");
        assert!(warnings[0].contains("scripts.dokku.predeploy (write scripts.predeploy"), "{warnings:?}");
        assert!(warnings[1].contains("not provided: heroku-postgresql:mini, papertrail"), "{warnings:?}");
    }

    #[test]
    fn the_start_up_check_of_web_becomes_ours() {
        let text = r#"{ "healthchecks": { "web": [
            { "type": "liveness", "path": "/live" },
            { "type": "startup", "name": "up", "path": "/up", "attempts": 4, "timeout": 2, "wait": 3, "content": "x" },
            { "path": "/again" }
        ] } }"#;
        let parsed = parse(text).unwrap();
        let health = HealthWish { path: Some("/up".to_owned()), timeout_secs: Some(20), line: 3 };
        assert_eq!(parsed.health, Some(health));
        let warnings: Vec<String> = parsed.warnings().collect();
        for words in
            ["healthchecks.web[0] (of this kind", "healthchecks.web[1].content", "healthchecks.web[2] (only web"]
        {
            assert!(warnings[0].contains(words), "{words}: {warnings:?}");
        }
    }

    #[test]
    fn what_is_wrong_in_the_rest_is_named_with_its_line_too() {
        for (text, words) in [
            ("{\"env\": {\n\"A B\": \"x\"}}", "line 2: env.A B must be named with letters"),
            ("{\"env\": {\n\"A\": 1}}", "line 2: env.A must be a text"),
            ("{\"env\": {\"A\": {\"generator\": \"uuid\"}}}", "env.A.generator must be \"secret\""),
            ("{\"env\": {\"A\": {\n\"required\": \"no\"}}}", "line 2: env.A.required must be true or false"),
            ("{\"formation\": [\n]}", "line 1: formation must be an object"),
            (
                "{\"formation\": {\"web\":\n{\"quantity\": 101}}}",
                "line 2: formation.web.quantity must be a whole number",
            ),
            ("{\"formation\": {\"a b\": {}}}", "named like a process type"),
            ("{\"scripts\": {\"postdeploy\": [\"a\"]}}", "scripts.postdeploy must be a text"),
            ("{\"healthchecks\": {\"web\": {}}}", "healthchecks.web must be a list"),
            (
                "{\"healthchecks\": {\"web\": [{\"type\":\n\"ready\"}]}}",
                "line 2: healthchecks.web[0].type must be startup",
            ),
            ("{\"healthchecks\": {\"web\": [{\"path\": \"health\"}]}}", "must be a path such as /health"),
            ("{\"buildpacks\": [\n{}]}", "line 2: buildpacks[0] must be an object with `url`"),
            ("{\"addons\": [{}]}", "addons[0] must be a name"),
        ] {
            let shown = error(text);
            assert!(shown.contains(words), "{text}: {shown}");
        }
    }
}
