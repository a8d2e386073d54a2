//! tokio's part of the comparison: tasks that start, yield, park and end. Read beside ../../weft/goroutines.cpp.
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, Notify};

use crate::outcome::{check, leak, resident_bytes, sum_to, Boxed, CountDown, Outcome, Scenario};

// Two tasks, each yields two million times; per yield.
async fn bench_yield() -> Outcome {
    const TASKS: i64 = 2;
    const YIELDS: i64 = 2_000_000;
    let start = Instant::now();
    let tasks = [(); TASKS as usize].map(|()| {
        tokio::spawn(async {
            let mut n = 0;
            while n < YIELDS {
                tokio::task::yield_now().await;
                n += 1;
            }
            n
        })
    });
    let mut total = 0;
    for task in tasks {
        total += task.await.unwrap();
    }
    let elapsed = start.elapsed();
    check(total == TASKS * YIELDS, "yields", total);
    Outcome::new(total, elapsed)
}

/// One byte for each task: shows that every one ran exactly once, and costs next to nothing.
fn new_bytes(n: i64) -> &'static [AtomicU8] {
    Vec::leak((0..n).map(|_| AtomicU8::new(0)).collect())
}

fn count(bytes: &[AtomicU8]) -> i64 {
    bytes.iter().map(|byte| i64::from(byte.load(Ordering::Relaxed))).sum()
}

fn increment(byte: &AtomicU8) {
    byte.store(byte.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

// Start a million tasks that count down; per task.
async fn bench_spawn_batch() -> Outcome {
    const TASKS: i64 = 1_000_000;
    let ran = new_bytes(TASKS);
    let running = CountDown::new(TASKS);
    let start = Instant::now();
    for mine in ran {
        tokio::spawn(async move {
            increment(mine);
            running.done();
        });
    }
    running.wait().await;
    let elapsed = start.elapsed();
    let total = count(ran);
    check(total == TASKS, "tasks that ran", total);
    Outcome::new(TASKS, elapsed)
}

// Start one task, wait for its message, half a million times; per task.
async fn bench_spawn_join() -> Outcome {
    const TASKS: i64 = 500_000;
    let (tx, mut rx) = mpsc::channel(1);
    let mut sum = 0;
    let start = Instant::now();
    for i in 0..TASKS {
        let tx = tx.clone();
        tokio::spawn(async move { tx.send(i).await });
        sum += rx.recv().await.unwrap();
    }
    let elapsed = start.elapsed();
    check(sum == sum_to(TASKS), "sum", sum);
    Outcome::new(TASKS, elapsed)
}

// A tree with a million leaves, ten children each; every node sends its sum to its parent.
fn skynet(parent: mpsc::Sender<i64>, num: i64, size: i64) -> Boxed<()> {
    const CHILDREN: i64 = 10;
    Box::pin(async move {
        let mut sum = num;
        if size > 1 {
            let (tx, mut rx) = mpsc::channel(1);
            for i in 0..CHILDREN {
                tokio::spawn(skynet(tx.clone(), num + i * (size / CHILDREN), size / CHILDREN));
            }
            sum = 0;
            for _ in 0..CHILDREN {
                sum += rx.recv().await.unwrap();
            }
        }
        parent.send(sum).await.unwrap();
    })
}

// Per task.
async fn bench_skynet() -> Outcome {
    const LEAVES: i64 = 1_000_000;
    const TASKS: i64 = 1_111_111;
    let (tx, mut rx) = mpsc::channel(1);
    let start = Instant::now();
    tokio::spawn(skynet(tx, 0, LEAVES));
    let sum = rx.recv().await.unwrap();
    let elapsed = start.elapsed();
    check(sum == sum_to(LEAVES), "sum", sum);
    Outcome::new(TASKS, elapsed)
}

// A million tasks wait for one notification, then get it; time and resident bytes per task.
async fn bench_park_1m() -> Outcome {
    const TASKS: i64 = 1_000_000;
    let release = leak(Notify::new());
    let (parked, done) = (CountDown::new(TASKS), CountDown::new(TASKS));
    let before = resident_bytes();
    let start = Instant::now();
    for _ in 0..TASKS {
        tokio::spawn(async move {
            let released = release.notified(); // counts from here, waited for or not
            parked.done();
            released.await;
            done.done();
        });
    }
    parked.wait().await;
    let resident = resident_bytes() - before;
    release.notify_waiters();
    done.wait().await;
    let elapsed = start.elapsed();
    Outcome { ops: TASKS, elapsed, bytes_per_op: Some(resident as f64 / TASKS as f64) }
}

// The same; each task first formats a string into a local buffer of 3,000 bytes, and still needs it afterwards.
async fn bench_park_1m_fmt() -> Outcome {
    const TASKS: i64 = 1_000_000;
    let release = leak(Notify::new());
    let intact = new_bytes(TASKS);
    let (parked, done) = (CountDown::new(TASKS), CountDown::new(TASKS));
    let before = resident_bytes();
    let start = Instant::now();
    for (i, mine) in intact.iter().enumerate() {
        tokio::spawn(async move {
            let mut buffer = [0u8; 3000];
            let mut rest = &mut buffer[..];
            write!(rest, "goroutine {i} of {TASKS} waits for its release").unwrap();
            let length = 3000 - rest.len();
            let released = release.notified();
            parked.done();
            released.await;
            if length > 36 && buffer[0] == b'g' && buffer[length - 1] == b'e' {
                increment(mine);
            }
            done.done();
        });
    }
    parked.wait().await;
    let resident = resident_bytes() - before;
    release.notify_waiters();
    done.wait().await;
    let elapsed = start.elapsed();
    let total = count(intact);
    check(total == TASKS, "buffers that did not change:", total);
    Outcome { ops: TASKS, elapsed, bytes_per_op: Some(resident as f64 / TASKS as f64) }
}

// fib(n), each call forks one child and joins it.
fn fib(n: i64) -> Boxed<i64> {
    Box::pin(async move {
        if n < 2 {
            return n;
        }
        let child = tokio::spawn(fib(n - 1));
        let other = fib(n - 2).await;
        other + child.await.unwrap()
    })
}

// Per fork.
async fn bench_forkjoin_fib29() -> Outcome {
    const N: i64 = 29;
    const VALUE: i64 = 514_229;
    const FORKS: i64 = 832_039;
    let start = Instant::now();
    let got = fib(N).await;
    let elapsed = start.elapsed();
    check(got == VALUE, "fib(29) =", got);
    Outcome::new(FORKS, elapsed)
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "yield", run: || Box::pin(bench_yield()) },
    Scenario { name: "spawn_batch", run: || Box::pin(bench_spawn_batch()) },
    Scenario { name: "spawn_join", run: || Box::pin(bench_spawn_join()) },
    Scenario { name: "skynet", run: || Box::pin(bench_skynet()) },
    Scenario { name: "park_1m", run: || Box::pin(bench_park_1m()) },
    Scenario { name: "park_1m_fmt", run: || Box::pin(bench_park_1m_fmt()) },
    Scenario { name: "forkjoin_fib29", run: || Box::pin(bench_forkjoin_fib29()) },
];
