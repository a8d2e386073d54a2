//! tokio's part of the comparison: results that somebody else brings. Read beside ../../weft/pools.cpp.
use std::time::Instant;

use tokio::sync::oneshot;

use crate::outcome::{check, sum_to, Outcome, Scenario};

// Start a task, wait for its result, half a million times; per result.
async fn bench_future() -> Outcome {
    const RESULTS: i64 = 500_000;
    let mut sum = 0;
    let start = Instant::now();
    for i in 0..RESULTS {
        sum += tokio::spawn(async move { i }).await.unwrap();
    }
    let elapsed = start.elapsed();
    check(sum == sum_to(RESULTS), "sum", sum);
    Outcome::new(RESULTS, elapsed)
}

type Job = Box<dyn FnOnce() + Send>;

// Jobs for eight tasks behind a channel of 1,024; so many are submitted, then their results collected, and again. Per job.
async fn pool(jobs: i64, at_once: usize) -> Outcome {
    let (todo, work) = async_channel::bounded::<Job>(1_024);
    for _ in 0..8 {
        let work = work.clone();
        tokio::spawn(async move {
            while let Ok(job) = work.recv().await {
                job();
            }
        });
    }
    let mut results = Vec::with_capacity(at_once);
    let (mut sum, mut next) = (0, 0);
    let start = Instant::now();
    while next < jobs {
        for _ in 0..at_once {
            let (tx, rx) = oneshot::channel();
            let n = next;
            todo.send(Box::new(move || tx.send(2 * n + 1).unwrap())).await.unwrap();
            results.push(rx);
            next += 1;
        }
        for result in results.drain(..) {
            sum += result.await.unwrap();
        }
    }
    let elapsed = start.elapsed();
    check(sum == 2 * sum_to(jobs) + jobs, "sum", sum);
    Outcome::new(jobs, elapsed)
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "future", run: || Box::pin(bench_future()) },
    Scenario { name: "pool_submit", run: || Box::pin(pool(300_000, 1)) },
    Scenario { name: "pool_batch", run: || Box::pin(pool(1_000_000, 1_000)) },
];
