//! tokio's part of the comparison: locks, and what else tasks meet at. Read beside ../../weft/locks.cpp.
use std::time::Instant;

use tokio::sync::{Mutex, OnceCell, RwLock, Semaphore};
use tokio::task::JoinSet;

use crate::outcome::{check, leak, Outcome, Scenario};

// Lock, increment, unlock by a number of tasks; per increment.
async fn mutex(count: i64, each: i64) -> Outcome {
    let counter = leak(Mutex::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        tasks.spawn(async move {
            for _ in 0..each {
                *counter.lock().await += 1;
            }
        });
    }
    tasks.join_all().await;
    let elapsed = start.elapsed();
    let total = *counter.lock().await;
    check(total == count * each, "counted", total);
    Outcome::new(total, elapsed)
}

// Tasks lock for reading, look at a counter, unlock; every so many'th operation locks for writing and increments it.
// writes_every 0: nobody writes. Per lock and unlock of either kind.
async fn rwmutex(count: i64, each: i64, writes_every: i64) -> Outcome {
    let counter = leak(RwLock::new(1i64));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        tasks.spawn(async move {
            let (mut positive, mut next_write) = (0, writes_every);
            for i in 1..=each {
                if i == next_write {
                    next_write += writes_every;
                    *counter.write().await += 1;
                } else if *counter.read().await > 0 {
                    positive += 1;
                }
            }
            positive
        });
    }
    let seen: i64 = tasks.join_all().await.into_iter().sum();
    let elapsed = start.elapsed();
    let total = seen + *counter.read().await - 1;
    check(total == count * each, "reads and writes", total);
    Outcome::new(total, elapsed)
}

// Eight tasks take one of four units and give it back; per unit. With yields they do so in between.
async fn semaphore(each: i64, yields: bool) -> Outcome {
    const TASKS: i64 = 8;
    let units = leak(Semaphore::new(4));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(async move {
            let mut n = 0;
            while n < each {
                let _unit = units.acquire().await.unwrap();
                if yields {
                    tokio::task::yield_now().await;
                }
                n += 1;
            }
            n
        });
    }
    let total: i64 = tasks.join_all().await.into_iter().sum();
    let elapsed = start.elapsed();
    check(total == TASKS * each && units.available_permits() == 4, "taken", total);
    Outcome::new(total, elapsed)
}

// Ask a OnceCell that is set; per call.
async fn bench_once_fast() -> Outcome {
    const CALLS: i64 = 50_000_000;
    let once = leak(OnceCell::new());
    let mut runs = 0;
    let start = Instant::now();
    for _ in 0..CALLS {
        once.get_or_init(|| {
            runs += 1;
            async {}
        })
        .await;
    }
    let elapsed = start.elapsed();
    check(runs == 1, "runs", runs);
    Outcome::new(CALLS, elapsed)
}

// Start a hundred tasks, wait for all, four thousand times; per task.
async fn bench_wait_group_fanout() -> Outcome {
    const ROUNDS: i64 = 4_000;
    const TASKS: i64 = 100;
    let mut total = 0;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            tasks.spawn(async { 1 });
        }
        while let Some(one) = tasks.join_next().await {
            total += one.unwrap();
        }
    }
    let elapsed = start.elapsed();
    check(total == ROUNDS * TASKS, "tasks that ran", total);
    Outcome::new(total, elapsed)
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "mutex_1", run: || Box::pin(mutex(1, 20_000_000)) },
    Scenario { name: "mutex_8", run: || Box::pin(mutex(8, 2_000_000)) },
    Scenario { name: "rwmutex_1", run: || Box::pin(rwmutex(1, 20_000_000, 0)) },
    Scenario { name: "rwmutex_read", run: || Box::pin(rwmutex(8, 4_000_000, 20)) },
    Scenario { name: "semaphore_4", run: || Box::pin(semaphore(500_000, false)) },
    Scenario { name: "semaphore_4_wait", run: || Box::pin(semaphore(100_000, true)) },
    Scenario { name: "once_fast", run: || Box::pin(bench_once_fast()) },
    Scenario { name: "wait_group_fanout", run: || Box::pin(bench_wait_group_fanout()) },
];
