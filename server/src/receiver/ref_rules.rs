//! Which refs a push may change: one branch, the deploy branch. Pure.
use super::frames::{RefCommand, RefCommands};
use super::limits::BRANCH_BYTES_MAX;
use crate::domain::{App, RefMove};
use crate::logs::printable;
use std::borrow::Cow;

/// What the rules say about a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    Deploy(RefMove),
    /// Every ref is refused; a reason for each that was told, in order.
    Refuse(Vec<String>),
}

/// What one ref is about.
enum Wish<'a> {
    Deploy(&'a str),
    Bad(String),
}

/// Rules on a push to `app`. One bad ref refuses all of them, so that nobody has to find out which half went through.
pub(super) fn rule(app: &App, commands: &RefCommands) -> Ruling {
    if app.destroying {
        let reason = format!("{} is being destroyed; push again when that is done, to a new app", app.name);
        return Ruling::Refuse(vec![reason; commands.told.len()]);
    }
    let wishes: Vec<Wish> = commands.told.iter().map(|command| wish(app, command)).collect();
    if let ([Wish::Deploy(branch)], [command], 1) = (&wishes[..], &commands.told[..], commands.count) {
        let moves = RefMove { branch: (*branch).to_owned(), old: command.old.clone(), new: command.new.clone() };
        return Ruling::Deploy(moves);
    }
    let bad = wishes.iter().position(|wish| matches!(wish, Wish::Bad(_)));
    let deploy = deploy_branch(app);
    Ruling::Refuse(
        wishes
            .into_iter()
            .map(|wish| match (wish, bad) {
                (Wish::Bad(reason), _) => reason,
                (Wish::Deploy(_), Some(at)) => {
                    format!("refused together with {}; push the branch alone", shown(&commands.told[at].reference))
                }
                (Wish::Deploy(_), None) => format!("push one branch at a time: `git push paas {deploy}`"),
            })
            .collect(),
    )
}

fn wish<'a>(app: &App, command: &'a RefCommand) -> Wish<'a> {
    let deploy = deploy_branch(app);
    let name = shown(&command.reference);
    let Some(branch) = command.reference.strip_prefix("refs/heads/") else {
        return Wish::Bad(match command.reference.strip_prefix("refs/tags/") {
            Some(_) => format!("tags are not deployed; push the branch: `git push paas {deploy}`"),
            None => format!("{name} is no branch; push the branch: `git push paas {deploy}`"),
        });
    };
    if command.new.is_zero() {
        return Wish::Bad(if branch == deploy {
            let app = &app.name;
            format!(
                "`{deploy}` is what {app} runs and cannot be deleted; `paas apps:destroy --app {app} --confirm {app}` removes the app"
            )
        } else {
            format!("branches cannot be deleted here; {} keeps only `{deploy}`", app.name)
        });
    }
    if !is_plain(&command.reference) {
        return Wish::Bad(format!("{name} is no branch name that can be deployed; rename the branch"));
    }
    if branch != deploy && app.deploy_branch.is_some() {
        let app = &app.name;
        return Wish::Bad(format!(
            "{app} deploys `{deploy}`; to deploy {branch} type `git push paas {branch}:{deploy}`"
        ));
    }
    Wish::Deploy(branch)
}

/// The branch that the advice names: the app's own, or the usual one while it has none.
fn deploy_branch(app: &App) -> &str {
    app.deploy_branch.as_deref().unwrap_or("main")
}

/// Whether a name is valid, of bearable length, and reads on a terminal as what it is.
fn is_plain(reference: &str) -> bool {
    reference.len() <= BRANCH_BYTES_MAX
        && git2::Reference::is_valid_name(reference)
        && !reference.contains(char::REPLACEMENT_CHARACTER)
        && matches!(printable(reference), Cow::Borrowed(_))
}

fn shown(reference: &str) -> Cow<'_, str> {
    let end = reference.char_indices().map(|(at, _)| at).find(|at| *at >= 100).unwrap_or(reference.len());
    printable(&reference[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AppId, AppKey, Moment};

    const ONE: &str = "1111111111111111111111111111111111111111";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    fn app(deploy_branch: Option<&str>) -> App {
        App {
            id: AppId(1),
            key: AppKey::new("k"),
            name: "blog".parse().unwrap(),
            deploy_branch: deploy_branch.map(str::to_owned),
            stopped: false,
            destroying: false,
            created_at: Moment::default(),
        }
    }

    fn reasons(deploy_branch: Option<&str>, refs: &[(&str, &str)]) -> Vec<String> {
        let told: Vec<RefCommand> = refs
            .iter()
            .map(|(new, reference)| RefCommand {
                old: ZERO.parse().unwrap(),
                new: new.parse().unwrap(),
                reference: (*reference).to_owned(),
            })
            .collect();
        let count = told.len();
        match rule(&app(deploy_branch), &RefCommands { told, count }) {
            Ruling::Deploy(moves) => vec![format!("deploy {}", moves.branch)],
            Ruling::Refuse(reasons) => reasons,
        }
    }

    #[test]
    fn the_first_branch_of_any_name_deploys_and_later_only_that_one() {
        assert_eq!(reasons(None, &[(ONE, "refs/heads/trunk")]), ["deploy trunk"]);
        assert_eq!(reasons(Some("trunk"), &[(ONE, "refs/heads/trunk")]), ["deploy trunk"]);
        assert_eq!(
            reasons(Some("main"), &[(ONE, "refs/heads/fix/1")]),
            ["blog deploys `main`; to deploy fix/1 type `git push paas fix/1:main`"]
        );
    }

    #[test]
    fn deletes_tags_and_other_refs_are_refused_with_what_to_type() {
        assert!(reasons(Some("main"), &[(ZERO, "refs/heads/main")])[0].contains("apps:destroy --app blog"));
        assert!(reasons(Some("main"), &[(ZERO, "refs/heads/x")])[0].contains("keeps only `main`"));
        assert!(reasons(None, &[(ONE, "refs/tags/v1")])[0].starts_with("tags are not deployed"));
        assert!(reasons(None, &[(ONE, "refs/notes/commits")])[0].contains("is no branch"));
        assert!(reasons(None, &[(ONE, "HEAD")])[0].contains("is no branch"));
    }

    #[test]
    fn one_bad_ref_refuses_all_of_them() {
        assert_eq!(
            reasons(None, &[(ONE, "refs/heads/main"), (ONE, "refs/tags/v1")]),
            [
                "refused together with refs/tags/v1; push the branch alone",
                "tags are not deployed; push the branch: `git push paas main`"
            ]
        );
        let two = reasons(None, &[(ONE, "refs/heads/a"), (ONE, "refs/heads/b")]);
        assert!(two.len() == 2 && two.iter().all(|reason| reason.starts_with("push one branch at a time")));
    }

    #[test]
    fn names_that_lie_or_are_invalid_are_refused() {
        let long = format!("refs/heads/{}", "a".repeat(300));
        for bad in ["refs/heads/a\u{202e}b", "refs/heads/a..b", "refs/heads/a b", "refs/heads/\u{fffd}", &long] {
            assert!(reasons(None, &[(ONE, bad)])[0].contains("is no branch name"), "{bad} was accepted");
        }
    }

    #[test]
    fn a_push_with_more_refs_than_told_is_refused() {
        let told = vec![RefCommand {
            old: ZERO.parse().unwrap(),
            new: ONE.parse().unwrap(),
            reference: "refs/heads/main".into(),
        }];
        assert!(matches!(rule(&app(None), &RefCommands { told, count: 2 }), Ruling::Refuse(_)));
    }
}
