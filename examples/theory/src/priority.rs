//! One worker that serves the most urgent class first, M/G/1 with priorities that do not interrupt.

use crate::basics::{TheoryError, finite};

/// A class of requests with Poisson arrivals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Class {
    /// Arrivals per unit of time.
    pub rate: f64,
    /// The mean service time.
    pub mean: f64,
    /// The second moment of the service time.
    pub square: f64,
}

/// The mean wait of each class, the most urgent first (Cobham, Priority assignment in waiting line
/// problems, Operations Research 2, 1954). With the classes in the order of their service times,
/// these are the waits of the shortest job first (Phipps 1956). The unit is that of the classes.
///
/// # Errors
///
/// If all classes together have no steady state.
pub fn priority_waits(classes: &[Class]) -> Result<Vec<f64>, TheoryError> {
    let mut residual = 0.0;
    for class in classes {
        let Class { rate, mean, square } = *class;
        finite("the load", rate * mean)?;
        residual += finite("the second moment", rate * square)? / 2.0;
    }
    let mut load = 0.0;
    let mut waits = Vec::with_capacity(classes.len());
    for class in classes {
        let above = load;
        load += class.rate * class.mean;
        if load >= 1.0 {
            return Err(TheoryError::NotSteady { utilisation: load });
        }
        waits.push(residual / ((1.0 - above) * (1.0 - load)));
    }
    Ok(waits)
}
