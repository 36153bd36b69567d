//! A law as text: `lognormal:20ms,cv=2`.

use super::law::{Law, Pareto};
use super::{ServiceTime, ServiceTimeError, trace};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How to write each law.
const FORMS: &str = "a time such as 20ms, exp:20ms, lognormal:20ms,cv=2, \
                     pareto:20ms,tail=1.5[,most=10s], two:1ms,200ms,p=.01, uniform:1ms,9ms, \
                     hyper:20ms,cv=2 or trace:FILE";

impl FromStr for ServiceTime {
    type Err = ServiceTimeError;

    /// Parses a law. A trace is read from its file.
    fn from_str(text: &str) -> Result<Self, ServiceTimeError> {
        let Some((name, parameters)) = text.split_once(':') else {
            return trace::time(text).map(Self::from);
        };
        let (parameters, seed) = match parameters.rsplit_once(",seed=") {
            Some((others, seed)) => (others, parsed("seed", seed, "a whole number")?),
            None => (parameters, Self::SEED),
        };
        let law = match name {
            "trace" => trace::read(parameters.as_ref())?,
            _ => with_parameters(name, &mut Parameters::of(name, parameters)?)?,
        };
        Ok(law.with_seed(seed))
    }
}

fn with_parameters(name: &str, of: &mut Parameters<'_>) -> Result<ServiceTime, ServiceTimeError> {
    let law = match name {
        "exp" => ServiceTime::exponential(of.time("a mean", "exp:20ms")?),
        "lognormal" => {
            let form = "lognormal:20ms,cv=2";
            ServiceTime::lognormal(of.time("a mean", form)?, of.number("cv", form)?)
        }
        "hyper" => {
            let form = "hyper:20ms,cv=2";
            ServiceTime::hyperexponential(of.time("a mean", form)?, of.number("cv", form)?)
        }
        "pareto" => {
            let form = "pareto:20ms,tail=1.5";
            let (mean, tail) = (of.time("a mean", form)?, of.number("tail", form)?);
            match of.take("most") {
                Some(most) => ServiceTime::bounded_pareto(mean, tail, trace::time(most)?),
                None => ServiceTime::pareto(mean, tail),
            }
        }
        "two" => {
            let form = "two:1ms,200ms,p=.01";
            let [short, long] = [of.time("two times", form)?, of.time("two times", form)?];
            ServiceTime::two(short, long, of.number("p", form)?)
        }
        "uniform" => {
            let form = "uniform:1ms,9ms";
            let [from, to] = [of.time("two times", form)?, of.time("two times", form)?];
            ServiceTime::uniform(from, to)
        }
        _ => Err(ServiceTimeError::new(format!("there is no law {name:?} (write {FORMS})"))),
    };
    law.and_then(|law| of.end().map(|()| law))
}

/// The parameters of a law that are not used yet.
struct Parameters<'a> {
    law: &'a str,
    times: std::collections::VecDeque<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    fn of(law: &'a str, text: &'a str) -> Result<Self, ServiceTimeError> {
        let mut of = Self { law, times: [].into(), named: Vec::new() };
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((name, _)) if of.named.iter().any(|(known, _)| *known == name) => {
                    return Err(ServiceTimeError::new(format!("{name}=.. is given twice")));
                }
                Some(named) => of.named.push(named),
                None => of.times.push_back(part),
            }
        }
        Ok(of)
    }

    fn missing(&self, what: &str, form: &str) -> ServiceTimeError {
        ServiceTimeError::new(format!("the law {} needs {what} (write {form})", self.law))
    }

    fn time(&mut self, what: &str, form: &str) -> Result<Duration, ServiceTimeError> {
        match self.times.pop_front() {
            None | Some("") => Err(self.missing(what, form)),
            Some(text) => trace::time(text),
        }
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.named.iter().position(|(known, _)| *known == name)?;
        Some(self.named.remove(at).1)
    }

    fn number(&mut self, name: &str, form: &str) -> Result<f64, ServiceTimeError> {
        let text = self.take(name).ok_or_else(|| self.missing(&format!("{name}=.."), form))?;
        parsed(name, text, "a number")
    }

    fn end(&self) -> Result<(), ServiceTimeError> {
        let named = self.named.first().map(|(name, _)| format!("{name}=.."));
        match named.or(self.times.front().map(|time| format!("{time:?}"))) {
            Some(more) => Err(ServiceTimeError::new(format!(
                "the law {} does not take {more} (write {FORMS})",
                self.law
            ))),
            None => Ok(()),
        }
    }
}

fn parsed<T: FromStr>(name: &str, text: &str, what: &str) -> Result<T, ServiceTimeError> {
    let wrong = |_| ServiceTimeError::new(format!("{name} cannot be {text:?}: it must be {what}"));
    text.parse().map_err(wrong)
}

/// The text from which the law can be parsed, unless its times are from nowhere but memory.
impl fmt::Display for ServiceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |time: f64| {
            let text = humantime::format_duration(super::seconds(time)).to_string();
            text.replace(' ', "")
        };
        match &self.law {
            Law::Constant(time) => return humantime::format_duration(*time).fmt(f),
            Law::Exponential { mean } => write!(f, "exp:{}", shown(*mean)),
            Law::Lognormal { mean, cv } => write!(f, "lognormal:{},cv={cv}", shown(*mean)),
            Law::Hyperexponential { mean, cv } => write!(f, "hyper:{},cv={cv}", shown(*mean)),
            Law::Pareto(Pareto { mean, tail, most, .. }) => {
                write!(f, "pareto:{},tail={tail}", shown(*mean))?;
                if most.is_finite() { write!(f, ",most={}", shown(*most)) } else { Ok(()) }
            }
            Law::Two { short, long, chance } => {
                write!(f, "two:{},{},p={chance}", shown(*short), shown(*long))
            }
            Law::Uniform { from, to } => write!(f, "uniform:{},{}", shown(*from), shown(*to)),
            Law::Trace(trace) => match &trace.file {
                Some(file) => write!(f, "trace:{}", file.display()),
                None => write!(f, "a trace of {} times", trace.sorted.len()),
            },
        }?;
        match self.seed {
            Self::SEED => Ok(()),
            seed => write!(f, ",seed={seed}"),
        }
    }
}
