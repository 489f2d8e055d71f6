use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A pile, and the time.
struct Test {
    pile: Pile,
    now: Now,
}

impl Test {
    fn new() -> Self {
        let now = Now {
            instant: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_759_276_800),
        };
        let pile = Pile::default();
        Self { pile, now }
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall += time;
    }

    fn put(&mut self, tenant: &str, cause: AlertCause) -> Put {
        self.pile.put(&notice(tenant, cause, "x"), self.now)
    }

    #[track_caller]
    fn letter(&mut self) -> (Key, Alert) {
        match self.pile.next(self.now.instant) {
            Next::Tell(key, notice, _) => (key, notice),
            other @ (Next::At(_) | Next::Nothing) => panic!("{other:?}"),
        }
    }

    /// What is to be told now.
    #[track_caller]
    fn tell(&mut self) -> Key {
        self.letter().0
    }

    #[track_caller]
    fn deliver(&mut self) -> Key {
        let key = self.tell();
        self.pile.delivered(&key, self.now);
        key
    }

    /// Until when nothing is to be done.
    #[track_caller]
    fn waits(&mut self) -> Duration {
        match self.pile.next(self.now.instant) {
            Next::At(at) => at - self.now.instant,
            other @ (Next::Tell(..) | Next::Nothing) => panic!("{other:?}"),
        }
    }

    fn idle(&mut self) -> bool {
        matches!(self.pile.next(self.now.instant), Next::Nothing)
    }
}

fn notice(tenant: &str, cause: AlertCause, happened: &str) -> Alert {
    Alert {
        tenant: TenantId::new(tenant).unwrap(),
        cause,
        summary: happened.to_owned(),
        remediation: "y".to_owned(),
    }
}

#[test]
fn a_cause_is_told_once_in_a_day_for_each_tenant_and_each_threshold() {
    let mut test = Test::new();
    let causes = [
        ("a", AlertCause::Expiry(7)),
        ("b", AlertCause::Expiry(7)),
        ("a", AlertCause::Expiry(3)),
        ("a", AlertCause::DataAccess(7)),
        ("a", AlertCause::Rejected),
    ];
    for (tenant, cause) in causes {
        assert_eq!(test.put(tenant, cause), Put::Taken);
    }
    for (tenant, cause) in causes {
        let told = test.deliver();
        assert_eq!((told.tenant.as_str(), told.cause), (tenant, cause));
    }
    for _ in 0..23 {
        test.pass(HOUR);
        for (tenant, cause) in causes {
            assert_eq!(test.put(tenant, cause), Put::Known);
        }
        assert!(test.idle());
    }
    test.pass(HOUR);
    for (tenant, cause) in causes {
        assert_eq!(test.put(tenant, cause), Put::Taken);
    }
}

#[test]
fn a_clock_that_is_set_back_by_a_year_does_not_silence_a_cause_for_a_year() {
    let mut test = Test::new();
    test.put("a", AlertCause::Rejected);
    test.deliver();
    test.now.wall -= Duration::from_secs(60);
    assert_eq!(test.put("a", AlertCause::Rejected), Put::Known);
    test.now.wall -= 365 * DAY;
    assert_eq!(test.put("a", AlertCause::Rejected), Put::Taken);
}

#[test]
fn of_two_that_wait_for_the_same_cause_the_newer_is_told() {
    let mut test = Test::new();
    let cause = AlertCause::RenewalFailed;
    test.put("a", cause);
    let newer = notice("a", cause, "newer");
    assert_eq!(test.pile.put(&newer, test.now), Put::Known);
    assert_eq!(test.letter().1, newer);
}

#[test]
fn a_notice_is_tried_eight_times_in_an_hour_at_most_and_may_be_told_the_same_day() {
    for jitter in [0.0, 0.5, 1.0] {
        let mut test = Test::new();
        test.put("a", AlertCause::Rejected);
        let began = test.now.instant;
        for tries in 1..TRIES {
            let key = test.tell();
            let again = test.pile.failed(&key, test.now, None, jitter).unwrap();
            assert_eq!(again.tries, tries);
            test.pass(again.after);
        }
        let key = test.tell();
        assert_eq!(test.pile.failed(&key, test.now, None, jitter), None);
        let took = test.now.instant - began;
        assert!(took <= Duration::from_secs(63 * 60), "{took:?}");
        assert!(test.idle());

        assert_eq!(test.put("a", AlertCause::Rejected), Put::Taken);
        assert_eq!(test.waits(), REST, "a ring is no reason to hammer");
        assert_eq!(test.put("b", AlertCause::Rejected), Put::Taken);
        assert_eq!(test.deliver().tenant.as_str(), "b");
        test.pass(REST);
        assert_eq!(test.deliver().tenant.as_str(), "a");
        assert_eq!(test.put("a", AlertCause::Rejected), Put::Known);
    }
}

#[test]
fn what_is_new_goes_before_what_keeps_failing() {
    let mut test = Test::new();
    for tenant in ["a", "b", "c"] {
        test.put(tenant, AlertCause::Rejected);
        let key = test.tell();
        assert_eq!(key.tenant.as_str(), tenant);
        test.pile.failed(&key, test.now, None, 0.0).unwrap();
    }
    test.put("d", AlertCause::Rejected);
    let told: Vec<_> = (0..4).map(|_| test.deliver().tenant).collect();
    let told: Vec<_> = told.iter().map(TenantId::as_str).collect();
    assert_eq!(told, ["d", "a", "b", "c"]);
}

#[test]
fn a_pause_that_was_asked_for_is_kept_by_all() {
    let mut test = Test::new();
    test.put("a", AlertCause::Rejected);
    let key = test.tell();
    let asked = Duration::from_secs(120);
    let again = test.pile.failed(&key, test.now, Some(asked), 0.0).unwrap();
    assert_eq!(again.after, asked);
    test.pass(Duration::from_secs(20));
    test.put("b", AlertCause::Rejected);
    assert_eq!(test.waits(), Duration::from_secs(100));
    test.pass(Duration::from_secs(100));
    assert_eq!(test.deliver().tenant.as_str(), "b");
    assert_eq!(test.deliver().tenant.as_str(), "a");
}

#[test]
fn a_flood_is_bounded_and_the_newest_remain() {
    let mut test = Test::new();
    let key = {
        test.put("first", AlertCause::Rejected);
        test.tell()
    };
    let mut crowded = Vec::new();
    for number in 0..10_000 {
        let put = test.put(&format!("t{number}"), AlertCause::Rejected);
        if let Put::Crowded { first } = put {
            crowded.push(first);
        }
        assert!(test.pile.waiting.len() <= MOST);
    }
    assert_eq!(crowded.len(), 10_001 - MOST);
    assert!(crowded[0] && !crowded[1..].contains(&true), "it is said once");
    test.pile.delivered(&key, test.now);
    let mut told = Vec::new();
    while !test.idle() {
        told.push(test.deliver().tenant.as_str().to_owned());
    }
    let newest: Vec<_> = (10_001 - MOST..10_000).map(|number| format!("t{number}")).collect();
    assert_eq!(told, newest, "besides the one that was being told");
    assert_eq!(test.pile.past.len(), MOST);
    test.pass(DAY);
    test.put("last", AlertCause::Rejected);
    test.deliver();
    assert_eq!(test.pile.past.len(), 1, "what is of no use is forgotten");
}

#[test]
fn whoever_is_hurried_has_one_try() {
    let mut test = Test::new();
    test.put("a", AlertCause::Rejected);
    let key = test.tell();
    test.pile.failed(&key, test.now, None, 1.0).unwrap();
    test.pile.hurry(test.now.instant);
    test.put("b", AlertCause::Rejected);
    for _ in 0..2 {
        let key = test.tell();
        assert_eq!(test.pile.failed(&key, test.now, None, 1.0), None);
    }
    assert!(test.idle());
    test.put("a", AlertCause::Rejected);
    assert_eq!(test.tell().tenant.as_str(), "a", "nothing rests in a hurry");
    assert_eq!(test.pile.clear(), 1);
    assert!(test.idle());
}
