//! A scheduler that tries every order of a run with at most a few preemptions.
//!
//! Most bugs need few preemptions, and a limit on them keeps the number of orders small (Musuvathi
//! and Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs", PLDI
//! 2007). A switch away from a thread that waits is not a preemption.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

#[derive(Debug)]
pub struct FewPreemptions {
    most: usize,
    used: usize,
    /// The number of choices made in this run.
    step: usize,
    path: Vec<Choice>,
    has_run: bool,
}

#[derive(Debug)]
struct Choice {
    taken: usize,
    of: usize,
}

impl FewPreemptions {
    pub fn new(most: usize) -> Self {
        Self { most, used: 0, step: 0, path: Vec::new(), has_run: false }
    }
}

impl Scheduler for FewPreemptions {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.has_run {
            // The next run differs from the last one in the latest possible choice.
            while self.path.pop_if(|choice| choice.taken + 1 == choice.of).is_some() {}
            self.path.last_mut()?.taken += 1;
        }
        (self.has_run, self.used, self.step) = (true, 0, 0);
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        let going_on = current.filter(|current| runnable.iter().any(|task| task.id() == *current));
        let mut options: Vec<TaskId> = going_on.into_iter().collect();
        if going_on.is_none() || self.used < self.most {
            options
                .extend(runnable.iter().map(|task| task.id()).filter(|id| going_on != Some(*id)));
        }
        if self.step == self.path.len() {
            self.path.push(Choice { taken: 0, of: options.len() });
        }
        let Choice { taken, of } = self.path[self.step];
        assert_eq!(of, options.len(), "a run depends only on its order");
        self.step += 1;
        self.used += usize::from(going_on.is_some() && taken > 0);
        Some(options[taken])
    }

    fn next_u64(&mut self) -> u64 {
        panic!("a run depends only on its order")
    }
}
