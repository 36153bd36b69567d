//! Pauses end in order, and turns are fair.

use super::{Asks, Pause, Rate, Throttle, Ticket, turn};
use crate::config;
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::{Duration, Instant};

fn rate(bytes: u64) -> Rate {
    Rate::new(bytes).expect("more than 0")
}

fn at(start: Instant, millis: u64) -> Instant {
    start + Duration::from_millis(millis)
}

#[test]
fn times_come_in_order_and_at_ticks() {
    let start = Instant::now();
    let throttle = Throttle::new(None, start);
    assert!(!throttle.is_waited_for() && throttle.next_look(None, start).is_none());
    let [late, early, same] = [3, 5, 9].map(|key| throttle.ticket(key));
    assert!(throttle.add(late, Pause::Until(at(start, 17))), "the acceptor may sleep");
    assert!(throttle.add(early, Pause::Until(at(start, 2))), "for too long");
    assert!(!throttle.add(same, Pause::Until(at(start, 4))), "it looks then anyway");
    assert_eq!(throttle.next_look(None, start), Some(start + config::LIMIT_TICK));
    assert_eq!(throttle.next_due(at(start, 4)), None);
    let due: Vec<_> = std::iter::from_fn(|| throttle.next_due(at(start, 5))).collect();
    assert_eq!(due, [early, same]);
    assert_eq!(throttle.next_look(None, start), Some(at(start, 20)));
    assert_eq!(throttle.next_due(at(start, 20)), Some(late));
    assert!(!throttle.is_waited_for());
}

#[test]
fn those_that_have_gone_are_forgotten() {
    let start = Instant::now();
    let throttle = Throttle::new(None, start);
    let tickets: Vec<Ticket> = (0..10).map(|key| throttle.ticket(key)).collect();
    for (at, ticket) in tickets.iter().enumerate() {
        let pause = if at % 2 == 0 { Pause::Turn } else { Pause::Until(start) };
        throttle.add(*ticket, pause);
    }
    assert_eq!(throttle.waiting(), 10);
    throttle.retain(|ticket| ticket.key >= 8);
    assert_eq!((throttle.waiting(), throttle.is_waited_for()), (2, true));
    assert_eq!(throttle.next_turn(None, start), Some((tickets[8], 0)), "without a limit at once");
    assert_eq!(throttle.next_due(start), Some(tickets[9]));
    assert!(!throttle.is_waited_for());
}

/// Ten seconds in steps of the tick, in which `waiting` always want more. Returns what each got,
/// and what small responses of `small` bytes got that ask as often as they can.
fn ten_seconds(total: Rate, waiting: usize, small: Option<u64>) -> (HashMap<usize, u64>, u64) {
    let start = Instant::now();
    let throttle = Throttle::new(Some(total), start);
    let (mut got, mut of_small) = (HashMap::new(), 0);
    for key in 0..waiting {
        throttle.add(throttle.ticket(key), Pause::Turn);
    }
    for step in 0..2000 {
        let now = start + step * config::LIMIT_TICK;
        while let Some(bytes) = small.and_then(|of| throttle.ask(total, Asks::Small, of, now)) {
            of_small += bytes;
        }
        assert_eq!(throttle.ask(total, Asks::Large, 1, now), None, "others wait");
        while let Some((ticket, granted)) = throttle.next_turn(Some(total), now) {
            *got.entry(ticket.key).or_default() += granted;
            throttle.add(throttle.ticket(ticket.key), Pause::Turn);
        }
    }
    (got, of_small)
}

#[test]
fn turns_are_equal_and_use_the_whole_rate() {
    for (bytes, waiting) in [(10_000, 3), (1_000_000, 1), (1_000_000, 7), (50_000_000, 8)] {
        let total = rate(bytes);
        let (got, _) = ten_seconds(total, waiting, None);
        let sum: u64 = got.values().sum();
        let lacks = (bytes * 10 + total.burst()).abs_diff(sum);
        assert!(lacks <= 2 * turn(total, 1), "{sum} at {bytes} bytes per second");
        let (least, most) = (got.values().min(), got.values().max());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= turn(total, 1)));
        assert_eq!(got.len(), waiting);
    }
}

#[test]
fn turns_are_short_while_many_wait() {
    let of = |bytes, waiting| turn(rate(bytes), waiting);
    assert_eq!(
        [1, 10, 100, 1000].map(|waiting| of(1_000_000, waiting)),
        [25_000, 25_000, 4096, 4096]
    );
    assert_eq!([1, 100].map(|waiting| of(10_000, waiting)), [512, 512]);
    assert_eq!([1, 100, 10_000].map(|waiting| of(20_000_000, waiting)), [262_144, 50_000, 4096]);
    assert_eq!(of(1_000_000_000, 100_000), 100_000);
    // A hundred that wait have had equal parts after ten seconds.
    let (got, _) = ten_seconds(rate(1_000_000), 100, None);
    assert!(got.len() == 100 && got.values().all(|got| got.abs_diff(100_500) <= 2 * 4096));
}

#[test]
fn small_responses_need_no_turn_but_leave_half_of_the_rate() {
    let total = rate(1_000_000);
    let (got, small) = ten_seconds(total, 5, Some(300));
    let large: u64 = got.values().sum();
    assert!(small.abs_diff(5_000_000) < 100_000, "{small}");
    assert!((4_900_000..=5_100_000).contains(&large), "{large}");
    // The first of them goes at once, however many wait.
    let throttle = Throttle::new(Some(total), Instant::now());
    (0..1000).for_each(|key| _ = throttle.add(throttle.ticket(key), Pause::Turn));
    assert_eq!(throttle.ask(total, Asks::Small, 300, Instant::now()), Some(300));
}

#[test]
fn whoever_asks_while_nobody_waits_gets_what_is_there() {
    let (total, start) = (rate(1_000_000), Instant::now());
    let throttle = Throttle::new(Some(total), start);
    let ask = |wanted, now| throttle.ask(total, Asks::Large, wanted, now);
    assert_eq!(ask(10_000, start), Some(10_000));
    assert_eq!(ask(u64::MAX, start), Some(25_000), "a share at a time");
    assert_eq!(ask(u64::MAX, start), None, "less than a share");
    assert_eq!(ask(15_000, start), Some(15_000), "all that it wants");
    throttle.put_back(15_000);
    assert_eq!(ask(u64::MAX, at(start, 10)), Some(25_000));
    assert_eq!(ask(1, start), None);
}

proptest! {
    /// Whoever asks, and however often: all together get what the rate gives, what may go out at
    /// once, and what small responses may borrow.
    #[test]
    fn all_together_stay_within_the_rate(
        bytes in prop_oneof![1024_u64..1_u64 << 30, Just(u64::MAX)],
        steps in prop::collection::vec((0..100_u64, 0..4_u8, 1..1_u64 << 20), 1..200),
    ) {
        let (total, start) = (rate(bytes), Instant::now());
        let throttle = Throttle::new(Some(total), start);
        let (mut now, mut sent) = (start, 0_u128);
        for (wait, what, wanted) in steps {
            now += Duration::from_millis(wait);
            let granted = match what {
                0 => throttle.ask(total, Asks::Small, wanted % config::LIMIT_SMALL, now),
                1 => throttle.ask(total, Asks::Large, wanted, now),
                2 => {
                    throttle.add(throttle.ticket(0), Pause::Turn);
                    None
                }
                _ => throttle.next_turn(Some(total), now).map(|(_, granted)| granted),
            };
            let granted = granted.unwrap_or(0);
            let unsent = granted.min(wanted % 1000);
            throttle.put_back(unsent);
            sent += u128::from(granted - unsent);
            let earned = (now - start).as_nanos() * u128::from(bytes) / 1_000_000_000;
            let ahead = u128::from(total.burst()) * 2 + 1000 * 200;
            prop_assert!(sent <= earned + ahead, "{sent} of {earned}");
        }
    }
}
