//! The samples of each law have the mean and the variation that the law declares.

use super::*;
use proptest::prelude::*;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// Mean and second moment of samples over the declared ones.
fn sampled(law: &ServiceTime, count: u64) -> [f64; 2] {
    let mean = law.mean().as_secs_f64();
    let mut sums = [0.0; 2];
    for number in 0..count {
        let sample = law.sample(number).as_secs_f64() / mean;
        sums[0] += sample;
        sums[1] += sample * sample;
    }
    [sums[0] / count as f64, sums[1] / count as f64 / law.moment(2)]
}

/// Laws whose fourth moment is small enough for the second one to be estimated.
fn any_law() -> impl Strategy<Value = ServiceTime> {
    let mean = (1u64..2_000_000).prop_map(Duration::from_micros);
    prop_oneof![
        mean.clone().prop_map(|mean| ServiceTime::exponential(mean).expect("a law")),
        (mean.clone(), 0.1..1.2)
            .prop_map(|(mean, cv)| { ServiceTime::lognormal(mean, cv).expect("a law") }),
        (mean.clone(), 1.0..4.0)
            .prop_map(|(mean, cv)| { ServiceTime::hyperexponential(mean, cv).expect("a law") }),
        (mean.clone(), 0.3..4.0, 2u32..50).prop_map(|(mean, tail, times)| {
            ServiceTime::bounded_pareto(mean, tail, mean * times).expect("a law")
        }),
        (mean.clone(), 9.0..20.0)
            .prop_map(|(mean, tail)| { ServiceTime::pareto(mean, tail).expect("a law") }),
        (mean.clone(), 2u32..100, 0.01..1.0).prop_map(|(mean, times, chance)| {
            ServiceTime::two(mean, mean * times, chance).expect("a law")
        }),
        (mean.clone(), 2u32..100)
            .prop_map(|(mean, times)| { ServiceTime::uniform(mean, mean * times).expect("a law") }),
        prop::collection::vec(mean, 1..40)
            .prop_map(|times| { ServiceTime::trace(times).expect("a law") }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn samples_have_the_declared_mean_and_variation(law in any_law(), seed: u64) {
        let law = law.with_seed(seed);
        let count = 40_000;
        // Six standard errors, and what nanoseconds cut off.
        let error = |n| {
            let spread = law.moment(2 * n) / law.moment(n).powi(2) - 1.0;
            6.0 * (spread.max(0.0) / count as f64).sqrt() + 1e-3
        };
        let [mean, square] = sampled(&law, count);
        prop_assert!((mean - 1.0).abs() < error(1), "{law:?}: mean {mean} of what is declared");
        prop_assert!((square - 1.0).abs() < error(2), "{law:?}: square {square}");
        let declared = law.squared_variation();
        prop_assert!((law.moment(2) - 1.0 - declared).abs() < 1e-9, "{declared}");
    }

    #[test]
    fn no_bits_make_a_sample_negative_or_too_long(law in any_law(), bits: u64) {
        for bits in [bits, 0, u64::MAX, 1 << 63] {
            let sample = law.law.sample(bits);
            prop_assert!(sample >= 0.0 && !sample.is_nan(), "{law:?}: {sample}");
            prop_assert!(seconds(sample) <= seconds(LONGEST));
        }
    }

    #[cfg(feature = "service-time")]
    #[test]
    fn a_law_displays_as_the_text_from_which_it_is_parsed(law in any_law(), seed: u64) {
        let law = law.with_seed(seed);
        prop_assume!(!matches!(law.law, Law::Trace(_)));
        let parsed: ServiceTime = law.to_string().parse().expect("its own text");
        prop_assert_eq!(&parsed.to_string(), &law.to_string());
        // Times are written in nanoseconds.
        for n in 1..4 {
            prop_assert!((parsed.moment(n) / law.moment(n) - 1.0).abs() < 1e-6);
        }
    }
}

#[test]
fn the_extremes_of_the_tails_stay_bounded() {
    let hour = Duration::from_secs(3600);
    let laws = [
        ServiceTime::pareto(hour, 1.01),
        ServiceTime::lognormal(hour, 1000.0),
        ServiceTime::exponential(hour),
        ServiceTime::bounded_pareto(MILLIS(1), 1.1, hour),
    ];
    for law in laws.map(|law| law.expect("a law")) {
        for bits in [0, 1, u64::MAX, u64::MAX - 1, 1 << 12] {
            let sample = law.law.sample(bits).min(LONGEST);
            assert!((0.0..=LONGEST).contains(&sample), "{law:?}: {sample}");
        }
        assert!((0..1000).all(|number| law.sample(number) <= seconds(LONGEST)));
    }
}

#[test]
fn a_heavy_tail_has_an_infinite_variance_and_the_declared_median() {
    let law = ServiceTime::pareto(MILLIS(30), 1.5).expect("a law");
    assert!(law.squared_variation().is_infinite());
    let mut samples: Vec<_> = (0..20_001).map(|number| law.sample(number)).collect();
    samples.sort();
    // The shortest is a third of the mean, and the median is 2^(1/tail) times that.
    let median = MILLIS(10).mul_f64(2f64.powf(1.0 / 1.5)).as_secs_f64();
    assert!((samples[10_000].as_secs_f64() / median - 1.0).abs() < 0.03, "{:?}", samples[10_000]);
    assert!(samples[0] >= MILLIS(10));
}

#[test]
fn the_seed_decides_the_samples() {
    let of = |seed| {
        let law = ServiceTime::exponential(MILLIS(5)).expect("a law").with_seed(seed);
        (0..100).map(|number| law.sample(number)).collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(1));
    let later: Vec<_> = of(2);
    assert!(of(1).iter().all(|sample| !later.contains(sample)), "another sequence altogether");
}

#[test]
fn the_laws_refuse_what_cannot_be() {
    let rows = [
        (ServiceTime::pareto(MILLIS(1), 1.0), "at 1 and below, the mean is infinite"),
        (ServiceTime::pareto(MILLIS(1), f64::NAN), "tail index"),
        (ServiceTime::lognormal(MILLIS(1), 0.0), "0 is a constant time"),
        (ServiceTime::lognormal(MILLIS(1), f64::INFINITY), "at most 1000"),
        (ServiceTime::hyperexponential(MILLIS(1), 0.9), "below it, take lognormal"),
        (ServiceTime::exponential(Duration::ZERO), "longer than zero"),
        (ServiceTime::exponential(Duration::MAX), "longer than an hour"),
        (ServiceTime::two(MILLIS(1), MILLIS(2), 1.5), "a probability between 0 and 1"),
        (ServiceTime::two(MILLIS(2), MILLIS(1), 0.5), "exchange them"),
        (ServiceTime::uniform(MILLIS(2), MILLIS(2)), "exchange them"),
        (ServiceTime::bounded_pareto(MILLIS(2), 1.0, MILLIS(2)), "give a larger"),
        (ServiceTime::trace([]), "no times"),
    ];
    for (law, text) in rows {
        let error = law.expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[cfg(feature = "service-time")]
mod texts {
    use super::*;
    use std::io::Write;

    #[test]
    fn each_form_is_parsed() {
        let rows = [
            ("20ms", 20.0, 0.0),
            ("1s 500ms", 1500.0, 0.0),
            ("exp:20ms", 20.0, 1.0),
            ("exp:20ms,seed=7", 20.0, 1.0),
            ("lognormal:20ms,cv=2", 20.0, 4.0),
            ("pareto:20ms,tail=3", 20.0, 1.0 / 3.0),
            ("pareto:20ms,tail=1.5", 20.0, f64::INFINITY),
            ("two:1ms,201ms,p=.01", 3.0, 0.01 * 0.99 * (200.0f64 / 3.0).powi(2)),
            ("uniform:1ms,9ms", 5.0, 64.0 / 12.0 / 25.0),
            ("hyper:20ms, cv=2", 20.0, 4.0),
        ];
        for (text, mean, variation) in rows {
            let law: ServiceTime = text.parse().expect(text);
            assert!((law.mean().as_secs_f64() * 1e3 - mean).abs() < 1e-6, "{text}: {law:?}");
            let found = law.squared_variation();
            assert!(found == variation || (found - variation).abs() < 1e-9, "{text}: {found}");
            let again: ServiceTime = law.to_string().parse().expect("its own text");
            assert_eq!(again, law, "{text}");
        }
        let bounded: ServiceTime = "pareto:20ms,tail=1.5,most=10s".parse().expect("a law");
        assert!((bounded.moment(1) - 1.0).abs() < 1e-9, "its mean is the one that is given");
        assert_eq!(bounded.to_string(), "pareto:20ms,tail=1.5,most=10s");
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_to_write() {
        let rows = [
            ("20", "write 50ms, 1.5s or 2m"),
            ("", "write 50ms, 1.5s or 2m"),
            ("expo:20ms", "there is no law \"expo\" (write a time such as 20ms, exp:20ms"),
            ("exp:", "the law exp needs a mean (write exp:20ms)"),
            ("exp:20ms,cv=2", "the law exp does not take cv=.."),
            ("exp:20ms,30ms", "the law exp does not take \"30ms\""),
            ("lognormal:20ms", "needs cv=.. (write lognormal:20ms,cv=2)"),
            ("lognormal:20ms,cv=2,cv=3", "cv=.. is given twice"),
            ("lognormal:20ms,cv=x", "cv cannot be \"x\": it must be a number"),
            ("pareto:20ms,tail=.9", "at 1 and below, the mean is infinite"),
            ("two:1ms,p=.1", "the law two needs two times"),
            ("exp:20ms,seed=-1", "seed cannot be \"-1\": it must be a whole number"),
            ("trace:no such file", "cannot take times from no such file: No such file"),
        ];
        for (text, part) in rows {
            let error = text.parse::<ServiceTime>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    fn file(text: &str) -> (tempfile::NamedTempFile, Result<ServiceTime, ServiceTimeError>) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let law = format!("trace:{}", file.path().display()).parse();
        (file, law)
    }

    #[test]
    fn a_trace_has_the_times_of_its_file() {
        let (kept, law) = file("# of Monday\n10ms\n\n30 ms\n");
        let law = law.expect("a law");
        assert_eq!((law.mean(), law.squared_variation()), (MILLIS(20), 0.25));
        assert!((0..100).map(|n| law.sample(n)).all(|t| t == MILLIS(10) || t == MILLIS(30)));
        assert_eq!(law.to_string(), format!("trace:{}", kept.path().display()));
        assert_eq!(law.to_string().parse(), Ok(law.clone()));
        let seeded: ServiceTime = format!("{law},seed=9").parse().expect("a law");
        assert_eq!(seeded, law.with_seed(9));
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let (_kept, law) = file(&format!("10ms\n{}", "1".repeat(1 << 17)));
        let error = law.expect_err("too long").to_string();
        assert!(error.contains("line 2 is longer than 65536 bytes"), "{error}");
        let (_kept, law) = file("10ms");
        assert_eq!(law.expect("a law").mean(), MILLIS(10), "the last line needs no end");
    }

    #[test]
    fn an_access_log_gives_the_times_of_the_requests_that_had_a_worker() {
        let lines = [
            r#"{"handle_us":4000,"worker":1,"status":200}"#,
            r#"{"handle_us":0,"worker":null,"status":503}"#,
            r#"{"handle_us":8000,"worker":2,"status":200}"#,
        ];
        let (_kept, law) = file(&lines.join("\n"));
        assert_eq!(law.expect("a law").mean(), MILLIS(6));
        let rows = [
            ("", "it has none (write one time such as 20ms on each line"),
            (lines[1], "it has none"),
            ("20ms\n\nsoon\n", "line 3: "),
            ("3h", "line 1: longer than an hour"),
            ("{\"worker\":1}", "line 1: it has a worker and no handle_us"),
            ("{\"worker\":", "line 1: no JSON"),
        ];
        for (text, part) in rows {
            let (_kept, law) = file(text);
            let error = law.expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
