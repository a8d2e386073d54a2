//! tokio's part of the comparison: values and hands on the way through channels. Read beside ../../weft/channels.cpp.
use std::time::Instant;

use tokio::sync::mpsc;

use crate::outcome::{check, sum_to, Outcome, Scenario};

// Two tasks, two channels of one place, a million round trips; per hop.
async fn bench_pingpong() -> Outcome {
    const ROUNDS: i64 = 1_000_000;
    let (ping, mut pings) = mpsc::channel(1);
    let (pong, mut pongs) = mpsc::channel(1);
    let start = Instant::now();
    tokio::spawn(async move {
        while let Some(v) = pings.recv().await {
            pong.send(v + 1).await.unwrap();
        }
    });
    let mut v = 0;
    for _ in 0..ROUNDS {
        ping.send(v).await.unwrap();
        v = pongs.recv().await.unwrap();
    }
    drop(ping);
    let open = pongs.recv().await.is_some();
    let elapsed = start.elapsed();
    check(v == ROUNDS && !open, "counted", v);
    Outcome::new(2 * ROUNDS, elapsed)
}

// Eight million values through a channel of 128 places, one task at each end; per value.
async fn bench_chan_128_1p1c() -> Outcome {
    const VALUES: i64 = 8_000_000;
    let (tx, mut rx) = mpsc::channel(128);
    let start = Instant::now();
    tokio::spawn(async move {
        for v in 0..VALUES {
            tx.send(v).await.unwrap();
        }
    });
    let mut sum = 0;
    while let Some(v) = rx.recv().await {
        sum += v;
    }
    let elapsed = start.elapsed();
    check(sum == sum_to(VALUES), "sum", sum);
    Outcome::new(VALUES, elapsed)
}

// Four million values through a channel of 128 places, four tasks at each end; per value.
async fn bench_chan_128_4p4c() -> Outcome {
    const VALUES: i64 = 4_000_000;
    const EACH_END: i64 = 4;
    let (tx, rx) = async_channel::bounded(128);
    let start = Instant::now();
    for p in 0..EACH_END {
        let tx = tx.clone();
        tokio::spawn(async move {
            for v in (p..VALUES).step_by(EACH_END as usize) {
                tx.send(v).await.unwrap();
            }
        });
    }
    drop(tx);
    let consumers = [(); EACH_END as usize].map(|()| {
        let rx = rx.clone();
        tokio::spawn(async move {
            let mut sum = 0;
            while let Ok(v) = rx.recv().await {
                sum += v;
            }
            sum
        })
    });
    let mut sum = 0;
    for consumer in consumers {
        sum += consumer.await.unwrap();
    }
    let elapsed = start.elapsed();
    check(sum == sum_to(VALUES), "sum", sum);
    Outcome::new(VALUES, elapsed)
}

// The first 1,500 primes by a chain of filters; per prime.
async fn filter(mut input: mpsc::Receiver<i64>, output: mpsc::Sender<i64>, prime: i64) {
    while let Some(v) = input.recv().await {
        if v % prime != 0 && output.send(v).await.is_err() {
            return;
        }
    }
}

async fn bench_sieve() -> Outcome {
    const PRIMES: i64 = 1_500;
    const LAST: i64 = 12_553;
    let mut prime = 0;
    let start = Instant::now();
    let (tx, mut rx) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut v = 2;
        while tx.send(v).await.is_ok() {
            v += 1;
        }
    });
    for _ in 0..PRIMES {
        prime = rx.recv().await.unwrap();
        let (tx, next) = mpsc::channel(1);
        tokio::spawn(filter(rx, tx, prime));
        rx = next;
    }
    let elapsed = start.elapsed();
    check(prime == LAST, "prime", prime);
    Outcome::new(PRIMES, elapsed)
}

// Two million jobs through eight workers over two channels of 1,024; per job.
async fn bench_worker_pool() -> Outcome {
    const WORKERS: usize = 8;
    const JOBS: i64 = 2_000_000;
    const QUEUE: usize = 1_024;
    let (job_tx, job_rx) = async_channel::bounded(QUEUE);
    let (result_tx, mut result_rx) = mpsc::channel(QUEUE);
    let start = Instant::now();
    for _ in 0..WORKERS {
        let (jobs, results) = (job_rx.clone(), result_tx.clone());
        tokio::spawn(async move {
            while let Ok(job) = jobs.recv().await {
                results.send(2 * job + 1).await.unwrap();
            }
        });
    }
    tokio::spawn(async move {
        for i in 0..JOBS {
            job_tx.send(i).await.unwrap();
        }
    });
    let mut sum = 0;
    for _ in 0..JOBS {
        sum += result_rx.recv().await.unwrap();
    }
    let elapsed = start.elapsed();
    check(sum == 2 * sum_to(JOBS) + JOBS, "sum", sum);
    Outcome::new(JOBS, elapsed)
}

// A token goes round a thousand tasks, each adds one to it; per hop.
async fn bench_ring_1000() -> Outcome {
    const NODES: i64 = 1_000;
    const LAPS: i64 = 2_000;
    let (first, mut input) = mpsc::channel(1);
    let start = Instant::now();
    for _ in 1..NODES {
        // the last node is this task
        let (output, next) = mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..LAPS {
                let token: i64 = input.recv().await.unwrap();
                output.send(token + 1).await.unwrap();
            }
        });
        input = next;
    }
    let mut token = 0;
    for _ in 0..LAPS {
        first.send(token).await.unwrap();
        token = 1 + input.recv().await.unwrap();
    }
    let elapsed = start.elapsed();
    check(token == NODES * LAPS, "token", token);
    Outcome::new(NODES * LAPS, elapsed)
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "pingpong", run: || Box::pin(bench_pingpong()) },
    Scenario { name: "chan_128_1p1c", run: || Box::pin(bench_chan_128_1p1c()) },
    Scenario { name: "chan_128_4p4c", run: || Box::pin(bench_chan_128_4p4c()) },
    Scenario { name: "sieve", run: || Box::pin(bench_sieve()) },
    Scenario { name: "worker_pool", run: || Box::pin(bench_worker_pool()) },
    Scenario { name: "ring_1000", run: || Box::pin(bench_ring_1000()) },
];
