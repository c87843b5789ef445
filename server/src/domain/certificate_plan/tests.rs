//! Situations and what comes of them, and what must hold in every one.
use super::super::renewal::{Cause, Refused};
use super::*;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

fn host(text: &str) -> CertificateHost {
    text.parse().unwrap()
}

fn at(days: u32) -> Moment {
    Moment::default().plus(DAY * days)
}

/// For 90 days from day 100 on.
fn known(source: CertificateSource) -> KnownCertificate {
    KnownCertificate { source, not_before: at(100), not_after: at(190), added_at: at(100) }
}

fn answer(leads_here: bool, asked_at: Moment) -> DnsAnswer {
    DnsAnswer { leads_here, said: String::new(), asked_at, waiting_since: asked_at }
}

fn failed(now: Moment, cause: Cause, retry_after: Option<Duration>) -> Attempt {
    let refused = Refused { complaint: "no".to_owned(), cause, retry_after };
    Attempt::fail(None, &host("www.example.com"), &refused, now)
}

fn wanting(hosts: &[&str], proof: Proof) -> CertificateSituation {
    CertificateSituation { wanted: hosts.iter().map(|name| (host(name), proof)).collect(), ..Default::default() }
}

fn order(name: &str) -> CertificateAction {
    CertificateAction::Order(host(name))
}

#[test]
fn a_new_host_is_ordered_once_dns_leads_it_here() {
    let mut situation = wanting(&["www.example.com"], Proof::Visit);
    let ask = CertificateAction::AskDns(vec![host("www.example.com")]);
    assert_eq!(plan(&situation, at(100)).actions, std::slice::from_ref(&ask));
    situation.dns.insert(host("www.example.com"), answer(false, at(100)));
    let waiting = plan(&situation, at(100));
    assert_eq!((waiting.actions, waiting.wake_at), (vec![], Some(at(100).plus(DNS_AGAIN_MIN))));
    assert_eq!(plan(&situation, at(100).plus(DNS_AGAIN_MIN)).actions, std::slice::from_ref(&ask));
    situation.dns.insert(host("www.example.com"), answer(true, at(100)));
    assert_eq!(plan(&situation, at(100)).actions, [order("www.example.com")]);
    // An old answer proves nothing.
    assert_eq!(plan(&situation, at(101)).actions, [ask]);
}

#[test]
fn a_wildcard_needs_no_way_here() {
    let situation = wanting(&["*.example.com"], Proof::Record);
    assert_eq!(plan(&situation, at(100)).actions, [order("*.example.com")]);
}

#[test]
fn dns_is_asked_more_and_more_rarely() {
    let waited = |span: Duration| {
        let answer = DnsAnswer { waiting_since: at(1), ..answer(false, at(1).plus(span)) };
        answer.next_ask().since(answer.asked_at)
    };
    assert_eq!([waited(Duration::ZERO), waited(MINUTE * 4), waited(DAY)], [DNS_AGAIN_MIN, MINUTE, DNS_AGAIN_MAX]);
}

#[test]
fn a_renewal_comes_in_the_last_third_and_keeps_what_serves() {
    let mut situation = wanting(&["*.example.com"], Proof::Record);
    let own = host("*.example.com");
    situation.certificates.insert(own.clone(), known(CertificateSource::Acme));
    let young = plan(&situation, at(159));
    assert_eq!((young.actions, young.wake_at), (vec![], Some(known(CertificateSource::Acme).renewal(&own))));
    assert_eq!(plan(&situation, at(164)).actions, [order("*.example.com")]);
    situation.attempts.insert(own.clone(), failed(at(164), Cause::Host, None));
    assert_eq!(plan(&situation, at(164)).actions, []);
    assert_eq!(plan(&situation, at(165)).actions, [order("*.example.com")]);
    // Long over, but wanted: it is asked for, and not taken away.
    assert_eq!(plan(&situation, at(400)).actions, [order("*.example.com")]);
}

#[test]
fn an_uploaded_certificate_is_peoples_matter() {
    let mut situation = wanting(&["www.example.com"], Proof::Record);
    situation.certificates.insert(host("www.example.com"), known(CertificateSource::Uploaded));
    assert_eq!(plan(&situation, at(300)), CertificatePlan::default());
    // A wildcard of theirs serves too, as long as it lasts.
    let mut situation = wanting(&["www.example.com"], Proof::Record);
    situation.certificates.insert(host("*.example.com"), known(CertificateSource::Uploaded));
    assert_eq!(plan(&situation, at(180)), CertificatePlan { actions: vec![], wake_at: Some(at(190)) });
    assert_eq!(plan(&situation, at(190)).actions, [order("www.example.com")]);
}

#[test]
fn a_hand_may_ask_earlier_but_not_against_the_ca() {
    let mut situation = wanting(&["www.example.com"], Proof::Record);
    situation.certificates.insert(host("www.example.com"), known(CertificateSource::Acme));
    situation.attempts.insert(host("www.example.com"), failed(at(120), Cause::Host, None));
    situation.quiet_until = at(121);
    situation.asked_for.insert(host("www.example.com"));
    assert_eq!(plan(&situation, at(120)).actions, [order("www.example.com")]);
    situation.attempts.insert(host("www.example.com"), failed(at(120), Cause::RateLimit, Some(DAY)));
    assert_eq!(plan(&situation, at(120)), CertificatePlan { actions: vec![], wake_at: Some(at(121)) });
}

#[test]
fn few_orders_at_once_and_the_most_urgent_first() {
    let names = ["a.example.com", "b.example.com", "c.example.com", "d.example.com", "e.example.com"];
    let mut situation = wanting(&names, Proof::Record);
    for name in &names[..3] {
        situation.certificates.insert(host(name), known(CertificateSource::Acme));
    }
    situation.asked_for.insert(host("c.example.com"));
    let ordered = plan(&situation, at(180)).actions;
    assert_eq!(ordered, [order("c.example.com"), order("d.example.com"), order("e.example.com")]);
    situation.under_way.insert(host("c.example.com"), at(180));
    assert_eq!(plan(&situation, at(180)).actions.len(), ORDERS_MAX - 1);
}

#[test]
fn troubles_of_the_ca_keep_everybody_waiting_for_a_while() {
    let mut situation = wanting(&["a.example.com"], Proof::Record);
    situation.quiet_until = at(100).plus(MINUTE);
    assert_eq!(plan(&situation, at(100)).wake_at, Some(situation.quiet_until));
    assert_eq!(plan(&situation, situation.quiet_until).actions, [order("a.example.com")]);
}

#[test]
fn what_nobody_wants_goes_a_while_behind_its_end() {
    let mut situation = CertificateSituation::default();
    situation.certificates.insert(host("old.example.com"), known(CertificateSource::Acme));
    situation.certificates.insert(host("own.example.com"), known(CertificateSource::Uploaded));
    assert_eq!(plan(&situation, at(196)).actions, []);
    assert_eq!(plan(&situation, at(198)).actions, [CertificateAction::Forget(host("old.example.com"))]);
}

fn any_host() -> impl Strategy<Value = CertificateHost> {
    prop_oneof![
        Just("a.example.com"),
        Just("b.example.com"),
        Just("*.example.com"),
        Just("c.example.org"),
        Just("d.example.org")
    ]
    .prop_map(host)
}

fn any_moment() -> impl Strategy<Value = Moment> {
    (0_u32..400 * 24 * 4).prop_map(|quarters| Moment::default().plus(Duration::from_mins(15) * quarters))
}

fn any_certificate() -> impl Strategy<Value = KnownCertificate> {
    let source = prop_oneof![Just(CertificateSource::Acme), Just(CertificateSource::Uploaded)];
    (source, any_moment(), 1_u32..120, any_moment()).prop_map(|(source, not_before, days, added_at)| KnownCertificate {
        source,
        not_before,
        not_after: not_before.plus(DAY * days),
        added_at,
    })
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    let cause = prop_oneof![Just(Cause::Host), Just(Cause::Authority), Just(Cause::RateLimit)];
    let span = proptest::option::of((0_u64..2_000_000).prop_map(Duration::from_secs));
    (any_moment(), cause, span).prop_map(|(now, cause, span)| failed(now, cause, span))
}

fn any_situation() -> impl Strategy<Value = CertificateSituation> {
    use proptest::collection::{btree_map, btree_set};
    let proof = prop_oneof![Just(Proof::Visit), Just(Proof::Record)];
    let dns = (any::<bool>(), any_moment()).prop_map(|(leads_here, asked_at)| answer(leads_here, asked_at));
    (
        btree_map(any_host(), proof, 0..5),
        btree_map(any_host(), any_certificate(), 0..5),
        btree_map(any_host(), any_attempt(), 0..5),
        btree_map(any_host(), dns, 0..5),
        btree_map(any_host(), any_moment(), 0..4),
        btree_set(any_host(), 0..3),
        any_moment(),
    )
        .prop_map(|(wanted, certificates, attempts, dns, under_way, asked_for, quiet_until)| {
            CertificateSituation { wanted, certificates, attempts, dns, under_way, asked_for, quiet_until }
        })
}

fn orders(plan: &CertificatePlan) -> Vec<&CertificateHost> {
    let orders = plan.actions.iter().filter_map(|action| match action {
        CertificateAction::Order(host) => Some(host),
        CertificateAction::AskDns(_) | CertificateAction::Forget(_) => None,
    });
    orders.collect()
}

proptest! {
    #[test]
    fn no_order_while_a_good_certificate_is_young(situation in any_situation(), now in any_moment()) {
        let plan = plan(&situation, now);
        for host in orders(&plan).into_iter().filter(|host| !situation.asked_for.contains(host)) {
            if let Some(own) = situation.certificates.get(host) {
                prop_assert!(own.source == CertificateSource::Acme && own.renewal(host) <= now);
            }
        }
    }

    #[test]
    fn never_two_orders_for_a_host_nor_more_than_a_few(situation in any_situation(), now in any_moment()) {
        let plan = plan(&situation, now);
        let ordered = orders(&plan);
        let different: BTreeSet<_> = ordered.iter().collect();
        prop_assert_eq!(different.len(), ordered.len());
        prop_assert!(ordered.iter().all(|host| !situation.under_way.contains_key(*host)));
        prop_assert!(ordered.len() <= ORDERS_MAX.saturating_sub(situation.under_way.len()));
    }

    #[test]
    fn nothing_that_is_wanted_or_lasts_is_ever_forgotten(situation in any_situation(), now in any_moment()) {
        for action in plan(&situation, now).actions {
            if let CertificateAction::Forget(host) = action {
                let known = situation.certificates[&host];
                prop_assert!(!situation.wanted.contains_key(&host) && known.is_over(now));
                prop_assert_eq!(known.source, CertificateSource::Acme);
            }
        }
    }

    #[test]
    fn the_ca_is_not_asked_before_it_wants_to_be(situation in any_situation(), now in any_moment()) {
        let plan = plan(&situation, now);
        for attempt in orders(&plan).into_iter().filter_map(|host| situation.attempts.get(host)) {
            prop_assert!(attempt.barred_until.is_none_or(|until| until <= now));
        }
    }

    #[test]
    fn who_waits_is_looked_at_again(situation in any_situation(), now in any_moment()) {
        let plan = plan(&situation, now);
        prop_assert!(plan.wake_at.is_none_or(|at| at > now));
        let acts = plan.actions.iter().any(|action| !matches!(action, CertificateAction::Forget(_)));
        let rests = |host: &CertificateHost| {
            situation.under_way.contains_key(host)
                || situation.certificates.get(host).is_some_and(|own| own.source == CertificateSource::Uploaded)
        };
        let all_rest = situation.wanted.keys().all(rests);
        prop_assert!(acts || plan.wake_at.is_some() || all_rest || situation.under_way.len() >= ORDERS_MAX);
    }
}
