//! Which hosts lead to an app: its own under the base domain, its domains, and, by a redirect, those of its former names
//! and the domains that its owner redirects; and what stands before its instances: its name, maintenance, and what its
//! owner set about HTTPS and the router.
//!
//! The store knows them; here is the copy that passes publish by. It changes by [`Scheduler::rehost`] alone, one app at a
//! time, so that no pass which began before a change can publish what was before it.
use super::{House, Scheduler};
use crate::domain::route::{AppRoute, Backends, Redirect, RouteTable};
use crate::domain::{AppId, AppName, Hostname, Maintenance, RouterPolicy, TlsPolicy};
use crate::store::{self, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts {
    own: Option<Hostname>,
    domains: BTreeSet<Hostname>,
    former: BTreeSet<Hostname>,
    /// Domains whose visitors are sent on to another host of the app.
    sent_on: BTreeMap<Hostname, Hostname>,
    /// `None`: nothing is to be before whatever answers there.
    front: Option<Front>,
}

/// What stands before an app's instances, whichever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Front {
    name: AppName,
    maintenance: Maintenance,
    tls: TlsPolicy,
    policy: Arc<RouterPolicy>,
}

impl Front {
    fn before(&self, backends: Backends) -> AppRoute {
        let Self { name, maintenance, tls, policy } = self.clone();
        AppRoute { name, backends, maintenance, tls, policy }
    }
}

impl Hosts {
    /// Makes the table's hosts of `app` these. `false`: they were.
    pub(super) fn enter(&self, app: AppId, table: &mut RouteTable) -> bool {
        let hosts: BTreeSet<&Hostname> = self.own.iter().chain(&self.domains).collect();
        let mut redirects: BTreeMap<&Hostname, Redirect> = match &self.own {
            Some(to) => self.former.iter().map(|host| (host, Redirect { app, to: to.clone() })).collect(),
            None => BTreeMap::new(),
        };
        redirects.extend(self.sent_on.iter().map(|(host, to)| (host, Redirect { app, to: to.clone() })));
        let is_same_front = match (&self.front, table.apps.get_mut(&app)) {
            (Some(front), Some(route)) => {
                let before = std::mem::replace(route, front.before(route.backends.clone()));
                before == *route
            }
            (None, _) | (_, None) => true,
        };
        let are_same = table.hosts.iter().filter(|(_, id)| **id == app).map(|(host, _)| host).eq(hosts.iter().copied())
            && table
                .redirects
                .iter()
                .filter(|(_, redirect)| redirect.app == app)
                .eq(redirects.iter().map(|(host, to)| (*host, to)));
        if are_same {
            return !is_same_front;
        }
        table.hosts.retain(|_, id| *id != app);
        table.redirects.retain(|_, redirect| redirect.app != app);
        table.hosts.extend(hosts.into_iter().map(|host| (host.clone(), app)));
        table.redirects.extend(redirects.into_iter().map(|(host, redirect)| (host.clone(), redirect)));
        true
    }
}

impl Hosts {
    /// Redirects of domains, as far as they lead to a host of the app: a name that was freed may be another's by now.
    fn send_on(&mut self, redirects: BTreeMap<Hostname, Hostname>) {
        for (host, to) in redirects {
            let leads_home = self.own.as_ref() == Some(&to) || self.domains.contains(&to) || self.former.contains(&to);
            if leads_home && host != to && self.domains.remove(&host) {
                self.sent_on.insert(host, to);
            } else {
                tracing::warn!("{to} does not lead to the app any more; {host} answers itself");
            }
        }
    }
}

impl Scheduler {
    /// An app was renamed, or its domains or what was set about the router changed: visitors are led by it when this
    /// returns, engine or not.
    pub async fn rehost(&self, app: AppId) -> anyhow::Result<()> {
        Ok(self.0.rehost(app).await?)
    }
}

impl House {
    pub(super) async fn rehost(&self, app: AppId) -> store::Result<()> {
        let mut hosting = self.publisher.hosting.lock().await;
        let hosts = match self.read_hosts(app).await {
            Ok(Some(hosts)) => hosts,
            Ok(None) => return Ok(()),
            Err(error) => {
                // What is not known is asked for by the next pass.
                hosting.remove(&app);
                return Err(error);
            }
        };
        hosting.insert(app, hosts.clone());
        let is_changed = {
            let mut table = self.publisher.table.lock().unwrap_or_else(PoisonError::into_inner);
            // One that has no route yet is published by its first pass.
            if !table.apps.contains_key(&app) {
                return Ok(());
            }
            let is_changed = hosts.enter(app, &mut table);
            if is_changed {
                self.tools.proxy.set_routes(&table);
            }
            is_changed
        };
        drop(hosting);
        if is_changed {
            self.save_routes_or_report().await;
        }
        Ok(())
    }

    /// What the store says now; `None` of an app that is gone or going.
    async fn read_hosts(&self, app: AppId) -> store::Result<Option<Hosts>> {
        let store = &self.tools.store;
        let row = match store.app_by_id(app).await {
            Ok(row) if row.destroying => return Ok(None),
            Ok(row) => row,
            Err(StoreError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut domains = BTreeSet::new();
        for domain in store.domains(app).await? {
            if self.is_of_another(app, &domain.host).await? {
                tracing::warn!("{} is another app's own host; {} does not answer there", domain.host, row.name);
            } else {
                domains.insert(domain.host);
            }
        }
        let former = store.former_names(app).await?;
        let (maintenance, tls) = (store.maintenance(app).await?, store.tls_policy(app).await?);
        let policy = Arc::new(store.router_policy(app).await?);
        let mut hosts = Hosts {
            own: self.host_of(&row.name),
            domains,
            former: former.iter().filter_map(|name| self.host_of(name)).collect(),
            sent_on: BTreeMap::new(),
            front: Some(Front { name: row.name, maintenance, tls, policy }),
        };
        hosts.send_on(store.domain_redirects(app).await?);
        Ok(Some(hosts))
    }

    /// A domain that was added when the server had another base domain may be an app's own host by now.
    async fn is_of_another(&self, app: AppId, host: &Hostname) -> store::Result<bool> {
        let Some(name) = self.tools.site.app_of(host) else { return Ok(false) };
        Ok(self.tools.store.find_app(&name).await?.is_some_and(|owner| owner.id != app))
    }

    /// Publishes who answers at an app's hosts, if either changed. Every pass sees to it first that they are known, but those
    /// of an app that is being destroyed since before this start: its route stays under the hosts of the saved table.
    pub(super) async fn publish_backends(&self, app: AppId, backends: Backends) {
        let hosting = self.publisher.hosting.lock().await;
        let is_changed = {
            let mut table = self.publisher.table.lock().unwrap_or_else(PoisonError::into_inner);
            let has_other_hosts = hosting.get(&app).is_some_and(|hosts| hosts.enter(app, &mut table));
            let front = hosting.get(&app).and_then(|hosts| hosts.front.as_ref());
            let has_other_backends = match (table.apps.get_mut(&app), front) {
                (Some(route), _) => std::mem::replace(&mut route.backends, backends) != route.backends,
                (None, Some(front)) => table.apps.insert(app, front.before(backends)).is_none(),
                // It was taken out of the table.
                (None, None) => return,
            };
            if has_other_hosts || has_other_backends {
                self.tools.proxy.set_routes(&table);
            }
            has_other_hosts || has_other_backends
        };
        drop(hosting);
        if is_changed {
            self.save_routes_or_report().await;
        }
    }

    /// Asks the store for an app's hosts, unless that was done since the start.
    pub(super) async fn know_hosts(&self, app: AppId) -> store::Result<()> {
        let is_known = self.publisher.hosting.lock().await.contains_key(&app);
        if is_known { Ok(()) } else { self.rehost(app).await }
    }

    /// Takes everything of an app out of the table, for good: it must not come back with the next start either.
    pub(super) async fn retract(&self, app: AppId) -> store::Result<()> {
        let mut hosting = self.publisher.hosting.lock().await;
        hosting.remove(&app);
        {
            let mut table = self.publisher.table.lock().unwrap_or_else(PoisonError::into_inner);
            Hosts::default().enter(app, &mut table);
            table.apps.remove(&app);
            self.tools.proxy.set_routes(&table);
        }
        drop(hosting);
        self.tools.router_lines.forget(app);
        self.save_routes().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(own: &str, domains: &[&str], former: &[&str]) -> Hosts {
        let set = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Hosts { own: Some(own.parse().unwrap()), domains: set(domains), former: set(former), ..Hosts::default() }
    }

    #[test]
    fn only_the_apps_own_hosts_are_exchanged_and_no_change_is_told_as_none() {
        let (blog, shop) = (AppId(1), AppId(2));
        let mut table = RouteTable::default();
        assert!(hosts("shop.test", &["buy.example"], &[]).enter(shop, &mut table));
        let first = hosts("blog.test", &["www.example.com"], &["old.test"]);
        assert!(first.enter(blog, &mut table));
        assert!(!first.enter(blog, &mut table));
        assert_eq!(table.redirects[&"old.test".parse().unwrap()].to.as_str(), "blog.test");
        assert!(hosts("news.test", &["www.example.com"], &["blog.test", "old.test"]).enter(blog, &mut table));
        let hosts: Vec<&str> = table.hosts.keys().map(Hostname::as_str).collect();
        assert_eq!(hosts, ["buy.example", "news.test", "shop.test", "www.example.com"]);
        assert!(table.redirects.values().all(|redirect| redirect.to.as_str() == "news.test"));
        assert!(Hosts::default().enter(blog, &mut table));
        assert!(table.hosts.values().all(|app| *app == shop) && table.redirects.is_empty());
    }

    #[test]
    fn a_domain_is_sent_on_only_to_a_host_of_its_own_app() {
        let of = |texts: &[(&str, &str)]| {
            let redirects = texts.iter().map(|(host, to)| (host.parse().unwrap(), to.parse().unwrap()));
            let mut hosts = hosts("blog.test", &["www.example.com", "example.com"], &["old.test"]);
            hosts.send_on(redirects.collect());
            let mut table = RouteTable::default();
            hosts.enter(AppId(1), &mut table);
            table.redirects.iter().map(|(host, to)| format!("{host}>{}", to.to)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[("www.example.com", "example.com")]), ["old.test>blog.test", "www.example.com>example.com"]);
        for foreign in [("www.example.com", "evil.example"), ("example.com", "example.com"), ("x.example", "blog.test")]
        {
            assert_eq!(of(&[foreign]), ["old.test>blog.test"], "{foreign:?}");
        }
        // Round in a circle nobody would ever arrive: the second answers itself.
        let circle = of(&[("example.com", "www.example.com"), ("www.example.com", "example.com")]);
        assert_eq!(circle, ["example.com>www.example.com", "old.test>blog.test"]);
    }

    #[test]
    fn a_changed_front_alone_is_a_change() {
        let mut front = Front {
            name: "blog".parse().unwrap(),
            maintenance: Maintenance::Off,
            tls: TlsPolicy::default(),
            policy: Arc::default(),
        };
        let mut table = RouteTable::default();
        table.apps.insert(AppId(1), front.before(Backends::Starting));
        let mut hosts = hosts("blog.test", &[], &[]);
        assert!(hosts.enter(AppId(1), &mut table) && !hosts.enter(AppId(1), &mut table));
        let steps: [fn(&mut Front); 4] = [
            |front| front.policy = Arc::new(RouterPolicy { bypass: Some(String::new()), ..RouterPolicy::default() }),
            |front| front.maintenance = Maintenance::Pause,
            |front| front.tls = TlsPolicy { redirect: false, hsts_seconds: Some(1) },
            |front| front.name = "news".parse().unwrap(),
        ];
        for step in steps {
            step(&mut front);
            hosts.front = Some(front.clone());
            assert!(hosts.enter(AppId(1), &mut table) && !hosts.enter(AppId(1), &mut table));
            assert_eq!(table.apps[&AppId(1)], front.before(Backends::Starting));
        }
    }
}
