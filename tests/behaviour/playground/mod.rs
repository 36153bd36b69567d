//! The playground in a real browser: its formulas and its simulation against the references of the
//! theory, its lessons, and its layout for a phone and a desk, by day and by night.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use crate::support::browser::Page;
use crate::support::{RealServer, command, installed};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const QUEUEING: &str = include_str!("../../../examples/theory/tests/queueing.csv");
const GENERAL: &str = include_str!("../../../examples/theory/tests/general/mgc.csv");
const POLICY: &str = include_str!("policy.csv");

/// The widest of some deviations must be allowed for: two independent means with 95 % intervals
/// differ by more than 1.6 times their common half width in 2 of 1000 cases.
const COMMON: f64 = 1.6;

/// The rows of a table, by the names of its columns.
fn rows(table: &'static str) -> Vec<Value> {
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = lines.next().unwrap().split(',').collect();
    let value = |text: &str| text.parse::<f64>().map_or_else(|_| json!(text), |x| json!(x));
    let row = |line: &str| names.iter().zip(line.split(',')).map(|(n, v)| (*n, value(v))).collect();
    lines.map(row).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/playground")
}

/// The file name of a screenshot, for manual inspection.
fn picture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("playground");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Each formula of the page, for a row of the reference and by the name of its column.
const FORMULAS: &str = "rows => rows.map(({ c, rho }) => {
    const p = playground
    const constant = p.mdc(c, rho)
    return {
        erlang_c: p.erlangC(c, rho), mmc_wq: p.mmcWait(c, rho),
        mdc_pwait: constant.waits, mdc_wq: constant.wait,
        mmc_w_p50: p.mmcPercentile(c, rho, .5), mmc_w_p90: p.mmcPercentile(c, rho, .9),
        mmc_w_p99: p.mmcPercentile(c, rho, .99), mmcK_c_block: p.mmckRefused(c, rho, c),
        mmcK_2c_block: p.mmckRefused(c, rho, 2 * c),
        mmcK_c10_block: p.mmckRefused(c, rho, c + 10),
    }
})";

fn check_formulas(page: &mut Page) {
    let rows = rows(QUEUEING);
    let found = page.value(&format!("({FORMULAS})({})", json!(rows)));
    let mut compared = 0;
    for (row, found) in rows.iter().zip(found.as_array().unwrap()) {
        for (name, found) in found.as_object().unwrap() {
            let (found, expected) = (found.as_f64().unwrap(), row[name].as_f64().unwrap());
            let off = (found - expected).abs();
            assert!(off <= 1e-6 * expected, "{name} of {row}: {found}");
            compared += 1;
        }
    }
    assert_eq!(compared, 150);
    // The interpolation is exact at its two ends; in between, the column has six digits.
    let interpolation = "rows => rows.map(({ c, rho, cs2 }) => [
        playground.allenCunneen(c, rho, cs2),
        playground.mgcWait(c, rho, 0) / playground.mdc(c, rho).wait,
        playground.mgcWait(c, rho, 1) / playground.mmcWait(c, rho)])";
    let rows = self::rows(GENERAL);
    let found = page.value(&format!("({interpolation})({})", json!(rows)));
    for (row, found) in rows.iter().zip(found.as_array().unwrap()) {
        let at = |index: usize| found[index].as_f64().unwrap();
        let expected = row["ac"].as_f64().unwrap();
        assert!((at(0) / expected - 1.0).abs() < 6e-6, "{row}: {found}");
        assert!((at(1) - 1.0).abs() < 1e-12 && (at(2) - 1.0).abs() < 1e-12, "{row}: {found}");
    }
}

/// A figure of the page, with its interval, agrees with one of the reference.
fn agrees(row: &Value, found: &Value, mean: &str, half_width: &str) {
    let at = |index: usize| found[index].as_f64().unwrap_or_else(|| panic!("{row}: {found}"));
    let expected = row[mean].as_f64().unwrap();
    let allowed = COMMON * at(1).hypot(row[half_width].as_f64().unwrap());
    assert!((at(0) - expected).abs() <= allowed, "{mean} of {row}: {found} ± {allowed}");
    // A comparison that allows anything shows nothing.
    assert!(allowed < 0.08 + 0.3 * expected, "{mean} of {row}: {found} ± {allowed}");
}

fn check_waits(page: &mut Page) {
    let simulate = "({ law, cs2, c, rho }) => playground.runs({
        workers: c, service: 1, load: rho, patience: 1e9, cv: Math.sqrt(cs2),
        law: {
            const: 'constant', exp: 'exponential', two: 'two', h2: 'hyper', logn: 'lognormal'
        }[law],
    }, { length: 8000, warmUp: 500 }, ['wait']).wait";
    let rows = rows(GENERAL);
    let rows: Vec<_> =
        rows.iter().filter(|row| row["cs2"].as_f64() <= Some(4.0) && row["rho"] != 0.95).collect();
    assert_eq!(rows.len(), 10);
    for row in rows {
        let found = page.value(&format!("({simulate})({row})"));
        agrees(row, &found, "wq", "wq_hw");
    }
}

fn check_policies(page: &mut Page) {
    let simulate = "({ service, policy, m }) => {
        const [limit, order] = {
            unbounded: ['none', 'fifo'], bound_full: ['full', 'fifo'],
            'bound+age': ['half', 'fifo'],
            lifo: ['none', 'lifo'], 'mage+b': ['measured', 'fifo'],
            'sfq+mage+b': ['measured', 'fair'],
        }[policy]
        return playground.runs({
            workers: 4, service: { x3: 3, x6: 6 }[service] ?? 1, told: 1, spare: 0, patience: 10,
            law: service === 'exp' ? 'exponential' : 'lab', load: m, clients: 2, greed: .9, limit,
            order,
        }, {}, ['goodput', 'polite', 'greedy'])
    }";
    let rows = rows(POLICY);
    for (service, policy, load) in [
        ("lab", "unbounded", 1.1),
        ("lab", "bound_full", 1.1),
        ("lab", "bound_full", 5.0),
        ("lab", "bound+age", 5.0),
        ("lab", "lifo", 1.1),
        ("lab", "sfq+mage+b", 5.0),
        ("exp", "mage+b", 1.1),
        ("exp", "bound_full", 1.1),
        ("x3", "mage+b", 1.1),
        ("x6", "bound+age", 2.0),
        // Not `mage+b`: its bound is below two requests, so its rounding decides.
        ("x6", "lifo", 2.0),
    ] {
        let is_it = |row: &&Value| {
            row["service"] == service && row["policy"] == policy && row["m"] == json!(load)
        };
        let row = rows.iter().find(is_it).unwrap();
        let found = page.value(&format!("({simulate})({row})"));
        agrees(row, &found["goodput"], "good", "good_hw");
        agrees(row, &found["polite"], "polite_ok", "polite_hw");
    }
}

/// The figure of a tile, as a number.
fn tile(page: &mut Page, id: &str) -> f64 {
    page.value(&format!("parseFloat(document.getElementById('{id}').textContent)"))
        .as_f64()
        .unwrap_or(f64::NAN)
}

/// Moves a slider or chooses from a list, as a reader does, and waits for the charts.
fn set(page: &mut Page, name: &str, value: &str) {
    let script = format!(
        "(() => {{ const field = document.getElementById('{name}'); field.focus(); \
         field.value = '{value}'; window.drawn = document.getElementById('wait-point'); \
         field.dispatchEvent(new Event(field.type === 'range' ? 'input' : 'change')) }})()"
    );
    page.value(&script);
    page.wait_until("document.getElementById('wait-point') !== window.drawn");
}

fn choose_lesson(page: &mut Page, name: &str) {
    let script = format!(
        "(() => {{ window.drawn = document.getElementById('wait-point'); \
         [...document.querySelectorAll('#lessons button')]\
         .find(button => button.textContent.includes('{name}')).click() }})()"
    );
    page.value(&script);
    page.wait_until("document.getElementById('wait-point') !== window.drawn");
    let pressed = "document.querySelectorAll('#lessons [aria-pressed=true]').length";
    assert_eq!(page.value(pressed), json!(1));
}

/// Each lesson's settings and its change show what its two sentences say.
fn check_lessons(page: &mut Page) {
    let place = "(() => { const point = document.getElementById('wait-point'); \
                 return [Number(point.getAttribute('cx')), Number(point.getAttribute('cy'))] })()";
    choose_lesson(page, "The knee");
    let calm = page.value(place);
    let knee = |page: &mut Page| {
        let text = page.value("document.getElementById('knee').textContent");
        let text = text.as_str().unwrap();
        let number = |part: &str| part.parse::<u32>().ok();
        text.split(|c: char| !c.is_ascii_digit()).find_map(number).unwrap()
    };
    assert_eq!(knee(page), 90);
    set(page, "load", "0.95");
    let near = page.value(place);
    assert!(near[0].as_f64() > calm[0].as_f64() && near[1].as_f64() < calm[1].as_f64());
    set(page, "workers", "12");
    assert!(knee(page) > 95, "more workers move the knee to the right");
    set(page, "workers", "4");
    set(page, "cv", "2");
    assert!(knee(page) < 80, "services that vary move it to the left");

    choose_lesson(page, "Two pools");
    let two = tile(page, "wait");
    set(page, "pools", "1");
    assert!(tile(page, "wait") < 0.5 * two);

    choose_lesson(page, "Bounds");
    assert!(tile(page, "goodput") < 10.0);
    set(page, "limit", "half");
    assert!(tile(page, "goodput") > 90.0);

    choose_lesson(page, "Fairness");
    assert!(tile(page, "polite") < 60.0);
    set(page, "order", "fair");
    assert!(tile(page, "polite") > 95.0);

    choose_lesson(page, "Retries");
    // The drawn pool itself, two minutes of its time after a burst.
    let after = "limit => { change({ limit }); restart(); live.advance(2000); \
                 live.burst(60 * state.service); live.advance(120000); \
                 live.countFrom = live.now; live.counts.good = live.counts.offered = 0; \
                 live.advance(live.now + 20000); return live.counts.good / live.counts.offered }";
    let share = |page: &mut Page, limit: &str| {
        page.value(&format!("({after})('{limit}')")).as_f64().unwrap()
    };
    assert!(share(page, "none") < 0.1, "the retries keep the overload alive");
    assert!(share(page, "measured") > 0.95, "with limits, it ends");
}

/// Names for those who do not see the page, and keys for those who have no mouse.
fn check_access(page: &mut Page) {
    let unnamed = "[...document.querySelectorAll('input, select, button, [role=img]')].\
        filter(it => \
                   !(it.labels?.length || it.getAttribute('aria-label') || it.textContent.trim()))\
                   .map(it => it.id)";
    assert_eq!(page.value(unnamed), json!([]));
    page.value("document.getElementById('load').focus()");
    let before = page.value("state.load").as_f64().unwrap();
    for kind in ["keyDown", "keyUp"] {
        let key = json!({ "type": kind, "key": "ArrowRight", "code": "ArrowRight",
                          "windowsVirtualKeyCode": 39 });
        page.call("Input.dispatchKeyEvent", key);
    }
    page.wait_until(&format!("state.load > {before}"));
    let told = page.value("document.getElementById('load').getAttribute('aria-valuetext')");
    assert!(told.as_str().unwrap().ends_with("/s"), "{told}");
    let curve = page.value("document.getElementById('wait-chart').getAttribute('aria-label')");
    assert!(curve.as_str().unwrap().starts_with("Mean wait: "), "{curve}");
}

#[test]
fn the_playground_agrees_with_the_theory() {
    let Some(chromium) = installed("chromium") else { return };
    let mut page = Page::open(chromium);
    page.resize(1100, 900, "light");
    page.go(&format!("file://{}/index.html", folder().display()));
    page.wait_until("document.getElementById('wait-point') !== null");
    check_formulas(&mut page);
    check_waits(&mut page);
    check_policies(&mut page);
    let outside = |url: &&str| !url.starts_with("file:") && !url.starts_with("data:");
    assert_eq!(page.requests().into_iter().find(outside), None, "it needs nothing else");
}

#[test]
fn the_playground_teaches_its_five_lessons() {
    let Some(chromium) = installed("chromium") else { return };
    let mut served = command(env!("CARGO_BIN_EXE_server"));
    served.arg(folder()).arg("0");
    let server = RealServer::spawn(served);
    let mut page = Page::open(chromium);
    page.resize(1100, 900, "light");
    page.go(&format!("http://{}/", server.address()));
    page.wait_until("document.getElementById('wait-point') !== null");
    check_lessons(&mut page);
    check_access(&mut page);
    choose_lesson(&mut page, "Fairness");
    page.wait_until("live.now > 60");
    for (name, width, height, scheme) in [
        ("phone-dark.png", 390, 844, "dark"),
        ("phone-light.png", 390, 844, "light"),
        ("desk-dark.png", 1100, 900, "dark"),
        ("desk-light.png", 1100, 900, "light"),
    ] {
        page.resize(width, height, scheme);
        let fits = "document.documentElement.scrollWidth <= window.innerWidth";
        assert_eq!(page.value(fits), json!(true), "{name}: the page fits its width");
        page.draw(&picture(name));
    }
    for word in ["undefined", "NaN", "Infinity"] {
        let told = page.value(&format!("document.body.innerText.includes('{word}')"));
        assert_eq!(told, json!(false), "{word}");
    }
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}
