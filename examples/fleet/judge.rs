//! What must be true of the runs of the policies.

use crate::measure::Run;
use crate::options::Args;
use crate::policy::Policy;
use lab::evidence::Findings;
use lab::moments::Moments;

/// How much the means of measured and simulated waits may differ.
struct Tolerance {
    /// Round robin and the pool of all workers, over which HAProxy has no say.
    pooled: f64,
    /// Least connections: HAProxy counts a request for a little longer than the server does.
    least: f64,
}

fn tolerance(args: &Args) -> Tolerance {
    match args.common.quick {
        true => Tolerance { pooled: 0.15, least: 0.3 },
        false => Tolerance { pooled: 0.02, least: 0.1 },
    }
}

/// The runs of a policy.
pub fn of(runs: &[Run], policy: Policy) -> Vec<&Run> {
    runs.iter().filter(|run| run.policy == policy).collect()
}

/// A figure over the runs of a policy.
pub fn over(runs: &[Run], policy: Policy, figure: impl Fn(&Run) -> f64) -> Moments {
    of(runs, policy).into_iter().map(figure).collect()
}

/// What the runs show. It knows nothing of disturbances.
pub fn judge(args: &Args, runs: &[Run]) -> Findings {
    let mut findings = Findings::default();
    let Tolerance { pooled, least } = tolerance(args);
    let close = |findings: &mut Findings, what: &str, ratio: &Moments, most: f64| {
        let (mean, half) = (ratio.mean(), ratio.half_width());
        let what = format!("{what}: {mean:.3} ±{half:.3} times");
        findings.least(format!("{what}, at least {:.2}", 1.0 - most), ratio, 1.0 - most);
        findings.most(format!("{what}, at most {:.2}", 1.0 + most), ratio, 1.0 + most);
    };
    let ratio = over(runs, Policy::RoundRobin, |run| run.wait.div_duration_f64(run.pooled));
    let what =
        "round robin and equal services: the wait is that of one pool with the same arrivals";
    close(&mut findings, what, &ratio, pooled);
    let ratio =
        over(runs, Policy::LeastConnections, |run| run.wait.div_duration_f64(run.twins.mean()));
    close(&mut findings, "leastconn: the wait is that of the twin", &ratio, least);
    for run in runs.iter().filter(|run| run.policy.is_random()) {
        let [low, high] = [run.twins.percentile(0.001), run.twins.percentile(0.999)];
        let [low, high] = [low.mul_f64(1.0 - least), high.mul_f64(1.0 + least)];
        findings.check(
            format!(
                "{}: the mean wait of {:.2?} is among those of the twin's runs, {low:.2?} to \
                 {high:.2?}",
                run.name(),
                run.wait
            ),
            (low..=high).contains(&run.wait),
        );
    }
    // The runs of two policies have the same arrivals.
    let [random, least] = [Policy::Random, Policy::LeastConnections].map(|policy| of(runs, policy));
    let pairs = least.iter().zip(&random);
    let ratio: Moments =
        pairs.map(|(least, random)| least.wait.div_duration_f64(random.wait)).collect();
    findings.most(
        format!(
            "leastconn waits {:.3} ±{:.3} times as long as random, less required",
            ratio.mean(),
            ratio.half_width()
        ),
        &ratio,
        1.0,
    );
    let faults = runs.iter().fold([0; 3], |sum, run| {
        let mut each = sum.iter().zip(run.faults);
        std::array::from_fn(|_| each.next().map_or(0, |(sum, more)| sum + more))
    });
    let [failed, retries, downs] = faults;
    let requests: usize = runs.iter().map(|run| run.outcomes.len()).sum();
    findings.check(
        format!(
            "of {requests} requests at .9 of the capacity, {failed} failed, HAProxy tried \
             {retries} again, and took out a server {downs} times"
        ),
        faults == [0; 3],
    );
    findings
}
