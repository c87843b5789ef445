//! All routes in one list, each with what it is and the permission it wants: nothing is reachable that is not here.
use super::door::{self, Rule};
use super::problem::Problem;
use super::{Room, app, apps, assets, deploy, deploys, login, logs, rollback};
use crate::domain::Permission;
use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// What logging in needs: nothing here shows or does anything else.
    Anybody,
    Holder(Permission),
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Read by GET; changes nothing.
    Page,
    /// Read by GET, and goes on.
    Stream,
    /// Changes something, by POST.
    Form,
}

pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) kind: Kind,
    handler: MethodRouter<Room>,
}

impl Route {
    pub(super) fn page<H, T>(path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Room>,
        T: 'static,
    {
        Self { path, access, kind: Kind::Page, handler: get(handler) }
    }

    pub(super) fn stream<H, T>(path: &'static str, permission: Permission, handler: H) -> Self
    where
        H: Handler<T, Room>,
        T: 'static,
    {
        Self { path, access: Access::Holder(permission), kind: Kind::Stream, handler: get(handler) }
    }

    pub(super) fn form<H, T>(path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Room>,
        T: 'static,
    {
        Self { path, access, kind: Kind::Form, handler: post(handler) }
    }
}

pub(super) fn all() -> Vec<Route> {
    let pages = [
        login::routes(),
        apps::routes(),
        app::routes(),
        rollback::routes(),
        deploys::routes(),
        deploy::routes(),
        logs::routes(),
        assets::routes(),
    ];
    pages.into_iter().flatten().collect()
}

pub(super) fn router(room: &Room) -> Router {
    let mut router = Router::new();
    for Route { path, access, kind, handler } in all() {
        let rule = Rule { room: room.clone(), access, kind };
        router = router.route(path, handler.route_layer(from_fn_with_state(rule, door::pass)));
    }
    // What is not there asks for a login like everything else: strangers cannot tell it from what is.
    let rule = Rule { room: room.clone(), access: Access::Holder(Permission::ReadServer), kind: Kind::Page };
    let nowhere = Router::new()
        .fallback(async || Problem::NotFound)
        .layer(from_fn_with_state(rule.clone(), door::pass))
        .with_state::<()>(());
    router.method_not_allowed_fallback(async || Problem::NotFound).fallback_service(nowhere).with_state(room.clone())
}
