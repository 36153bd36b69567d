//! What must be true of closed loops, for real pools and for ideal ones.

use crate::Args;
use crate::bounds::{Curve, Point, curves, elsewhere, exponential, ideal, runs_each, seeds};
use lab::evidence::Findings;
use lab::ideal::{Fault, Ideal};
use lab::moments::Moments;
use lab::program::Program;
use lab::trial;
use queueing_theory::TheoryError;
use std::time::Duration;

/// The tolerated error where theory has one answer; and the same for runs of a few hundred
/// milliseconds on a busy machine.
const TOLERANCE: f64 = 0.02;
const QUICK_TOLERANCE: f64 = 0.15;

/// Random think times and services make throughputs differ by chance. Their variance is known: this
/// many standard errors are exceeded in one of a thousand cases.
const ERRORS: f64 = 3.1;

/// Services may be this much longer than told, as a share.
const INFLATION: f64 = 0.02;

/// A figure of each run over a number.
fn over(of: &Moments, by: f64) -> Moments {
    of.scaled(1.0 / by)
}

/// All checks.
pub fn judge(args: &Args, curves: &[Curve]) -> Result<Findings, TheoryError> {
    let mut findings = Findings::default();
    for curve in curves {
        let exponential = exponential(args, curve, elsewhere(curves))?;
        bounds(&mut findings, args, curve, &exponential);
        beyond(&mut findings, args, curve);
    }
    Ok(findings)
}

fn tolerance(args: &Args) -> f64 {
    if args.common.quick { QUICK_TOLERANCE } else { TOLERANCE }
}

/// No throughput is above the asymptotes, or below what exponential services give.
fn bounds(findings: &mut Findings, args: &Args, curve: &Curve, exponential: &[f64]) {
    let (delays, tolerance) = (curve.delays, tolerance(args));
    let chance = |point: &Point| ERRORS * point.error;
    // X = N/(D+Z) is where clients do nothing but think and be served, and X = W/D where workers do
    // nothing but serve. With the services that were drawn, chance is left in the think times alone
    // (operational analysis: Denning and Buzen, 1978).
    let upper = curve.points.iter().map(|point| {
        let of_clients = point.engaged - ERRORS * point.engaged_error;
        point.told.mean().max(of_clients) - 1.0 - tolerance
    });
    let most = upper.fold(f64::NEG_INFINITY, f64::max);
    findings.check(
        format!(
            "Z = {delays} D: no throughput exceeds min(N/(D+Z), W/D) for the services that were \
             drawn by more than {tolerance} of it and {ERRORS} standard errors of the think \
             times: the largest is {:.3} of it below that",
            -most
        ),
        most <= 0.0,
    );
    // More variable services carry less.
    if args.service().squared_variation() > 1.0 + 1e-9 {
        return;
    }
    let lower = curve.points.iter().zip(exponential);
    let lower = lower.map(|(p, by)| p.throughput.mean() / by - 1.0 + tolerance + chance(p));
    let least = lower.fold(f64::INFINITY, f64::min);
    findings.check(
        format!(
            "Z = {delays} D: each is at least the throughput with exponential services of the \
             measured mean, less {tolerance} of it and {ERRORS} standard errors: the smallest is \
             {least:.3} of it above"
        ),
        least >= 0.0,
    );
}

/// Many clients reach the capacity, and do not overload the pool.
fn beyond(findings: &mut Findings, args: &Args, curve: &Curve) {
    let (delays, tolerance) = (curve.delays, tolerance(args));
    let is_constant = args.service().constant().is_some();
    if let Some(last) = curve.points.last() {
        let least = 1.0 - INFLATION - tolerance;
        findings.least(
            format!(
                "Z = {delays} D: {} clients get {:.3} of W/D with the D that was told: {:.3} \
                 ±{:.3} of what an ideal pool gives, at least {least:.2} required",
                last.clients,
                last.told.mean(),
                last.told_of_ideal.mean(),
                last.told_of_ideal.half_width()
            ),
            &last.told_of_ideal,
            least,
        );
        findings.near(
            format!(
                "Z = {delays} D: {} clients get {:.3} of W/S, with S by the server's clock: {:.3} \
                 ±{:.3} of what an ideal pool gives, within {tolerance} of 1",
                last.clients,
                last.share.mean(),
                last.share_of_ideal.mean(),
                last.share_of_ideal.half_width()
            ),
            &last.share_of_ideal,
            1.0,
            tolerance,
        );
        let worst = last.bound.1 * 2.0;
        let what = format!(
            "Z = {delays} D: {} clients do not overload the pool: no failures, p99 {:.2?}",
            last.clients,
            Duration::from_secs_f64(last.p99)
        );
        let is_prompt = last.p99 <= worst || !is_constant;
        findings.check(what, curve.points.iter().all(|point| point.failed == 0) && is_prompt);
    }
    let at = |clients| curve.points.iter().find(|point| point.clients == clients);
    if let (0, true, Some(alone), Some(full)) = (delays, is_constant, at(1), at(args.workers)) {
        let ratio = over(&full.response, alone.response.mean());
        let most = 1.0 + 2.5 * tolerance;
        findings.most(
            format!(
                "Z = 0: {} clients on as many workers do not wait: R is {:.3} R(1), at most \
                 {most:.3} allowed",
                full.clients,
                ratio.mean()
            ),
            &ratio,
            most,
        );
    }
}

/// Judges ideal pools.
pub fn on_trial(args: &Args, program: &mut Program, count: u64) {
    let faults = [Fault::LostWorker, Fault::SlowServices, Fault::Pauses];
    // The tolerances of the short form are larger, and so are the faults.
    let severity = if args.common.quick { 6 } else { 1 };
    trial::run(program, count, &faults.map(|fault| fault.name(severity)), |number, fault| {
        let fault = fault.map(|fault| faults[fault]);
        let far = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let curves = curves(args, |clients, delays| {
            let runs = seeds(args, runs_each(args)).into_iter().map(|seed| {
                let seed = seed ^ far ^ ((clients as u64) << 32) ^ (u64::from(delays) << 48);
                let pool = Ideal { workers: args.workers, fault, severity, seed };
                ideal(args, &pool, &args.service().with_seed(seed), clients, delays)
            });
            Ok(runs.collect())
        });
        let findings = curves.and_then(|curves| Ok(judge(args, &curves)?));
        findings.unwrap_or_default()
    });
}
