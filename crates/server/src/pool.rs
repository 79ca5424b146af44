//! The threads that may block.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Something to do.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Threads that work through one queue, in order. The queue's bound is its users': a room is in it at most once.
///
/// A thread is started when there is a job and no thread idle, until there are as many as there may be. Of the idle ones the last to have worked
/// is woken: it and its memory are still in the processor's cache, and a server with little to do keeps to a thread or two.
///
/// When it is dropped the threads finish what is queued, and end.
#[derive(Debug)]
pub(crate) struct Pool {
    queue: Arc<Queue>,
    /// Threads that there may be.
    most: usize,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// What wakes each thread that has nothing to do, the last to have worked last.
    idle: Vec<Arc<Condvar>>,
    ended: bool,
}

impl Pool {
    /// Makes a pool of at most so many threads, of which there is always one.
    pub(crate) fn new(most: usize) -> io::Result<Self> {
        let pool = Pool { queue: Arc::default(), most: most.max(1) };
        pool.queue.lock().threads = 1;
        pool.queue.start(0)?;
        Ok(pool)
    }

    pub(crate) fn submit(&self, job: Job) {
        let mut state = self.queue.lock();
        state.jobs.push_back(job);
        if let Some(idle) = state.idle.pop() {
            return idle.notify_one();
        }
        let number = state.threads;
        if number == self.most {
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = self.queue.start(number) {
            // Those that are there will come to it.
            self.queue.lock().threads -= 1;
            tracing::error!(%error, threads = number, "no more threads can be started");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.ended = true;
        state.idle.iter().for_each(|idle| idle.notify_one());
    }
}

impl Queue {
    fn start(self: &Arc<Self>, number: usize) -> io::Result<()> {
        let queue = Arc::clone(self);
        thread::Builder::new().name(format!("partysync-{number}")).spawn(move || queue.work()).map(|_| ())
    }

    fn work(&self) {
        let wake = Arc::new(Condvar::new());
        while let Some(job) = self.next(&wake) {
            job();
        }
    }

    /// Waits for a job. `None`: there will be no more.
    fn next(&self, wake: &Arc<Condvar>) -> Option<Job> {
        let mut state = self.lock();
        loop {
            match state.jobs.pop_front() {
                Some(job) => return Some(job),
                None if state.ended => return None,
                // It may have been woken for nothing.
                None if state.idle.iter().any(|idle| Arc::ptr_eq(idle, wake)) => {}
                None => state.idle.push(Arc::clone(wake)),
            }
            state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn jobs_that_wait_for_each_other_each_have_a_thread_until_there_may_be_no_more() {
        const MOST: usize = 4;

        let pool = Pool::new(MOST).unwrap();
        let all_run = Arc::new(Barrier::new(MOST + 1));
        for _ in 0..MOST {
            let all_run = Arc::clone(&all_run);
            pool.submit(Box::new(move || {
                all_run.wait();
                all_run.wait();
            }));
        }
        all_run.wait();
        let (done, is_done) = mpsc::channel();
        pool.submit(Box::new(move || done.send(()).unwrap()));
        assert_eq!(is_done.try_recv(), Err(mpsc::TryRecvError::Empty), "all threads are at work");
        assert_eq!(pool.queue.lock().threads, MOST);
        all_run.wait();
        is_done.recv().unwrap();
    }

    #[test]
    fn one_job_after_the_other_needs_one_thread() {
        let pool = Pool::new(8).unwrap();
        let until_idle = || {
            while pool.queue.lock().idle.is_empty() {
                thread::yield_now();
            }
        };
        for _ in 0..100 {
            until_idle();
            let (done, is_done) = mpsc::channel();
            pool.submit(Box::new(move || done.send(()).unwrap()));
            is_done.recv().unwrap();
        }
        assert_eq!(pool.queue.lock().threads, 1);
    }

    #[test]
    fn what_is_queued_when_the_pool_is_dropped_is_done() {
        let pool = Pool::new(2).unwrap();
        let (done, is_done) = mpsc::channel();
        for i in 0..100 {
            let done = done.clone();
            pool.submit(Box::new(move || done.send(i).unwrap()));
        }
        drop((pool, done));
        assert_eq!(is_done.iter().count(), 100);
    }
}
