//! tokio's part of the comparison: timers. Read beside ../../weft/timers.cpp.
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::outcome::{check, CountDown, Outcome, Scenario};

// A million tasks sleep 0 to 999 ms, spread evenly; per task, so not below 1,000 ns.
async fn bench_timers_1m() -> Outcome {
    const TASKS: i64 = 1_000_000;
    const LONGEST: Duration = Duration::from_millis(999);
    let nap = |i: i64| {
        let hash = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Duration::from_millis((hash >> 32) % 1000)
    };
    let awake = CountDown::new(TASKS);
    let start = Instant::now();
    for i in 0..TASKS {
        let d = nap(i);
        tokio::spawn(async move {
            tokio::time::sleep(d).await;
            awake.done();
        });
    }
    awake.wait().await;
    let elapsed = start.elapsed();
    check(elapsed >= LONGEST, "all were awake after ns:", elapsed.as_nanos() as i64);
    Outcome::new(TASKS, elapsed)
}

// Make a one-minute timer and stop it, two million times; per timer. A sleep is a timer from its first poll until it is dropped.
async fn bench_timer_stop() -> Outcome {
    const TIMERS: i64 = 2_000_000;
    let mut stopped = 0;
    let start = Instant::now();
    for _ in 0..TIMERS {
        let mut sleep = pin!(tokio::time::sleep(Duration::from_secs(60)));
        let is_over = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context).is_ready())).await;
        if !is_over {
            stopped += 1;
        }
    }
    let elapsed = start.elapsed();
    check(stopped == TIMERS, "stopped", stopped);
    Outcome::new(TIMERS, elapsed)
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "timers_1m", run: || Box::pin(bench_timers_1m()) },
    Scenario { name: "timer_stop", run: || Box::pin(bench_timer_stop()) },
];
