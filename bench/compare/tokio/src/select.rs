//! tokio's part of the comparison: select. Read beside ../../weft/select.cpp.
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::outcome::{check, Outcome, Scenario};

// Two senders select on {send, quit}, one receiver selects on both channels; per receive.
async fn bench_select2() -> Outcome {
    const RECEIVES: i64 = 1_000_000;
    let quit = CancellationToken::new();
    let start = Instant::now();
    let sender = || {
        let (tx, rx) = mpsc::channel(1);
        let quit = quit.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    sent = tx.send(1i64) => sent.unwrap(),
                    () = quit.cancelled() => return,
                }
            }
        });
        (rx, task)
    };
    let ((mut a, task_a), (mut b, task_b)) = (sender(), sender());
    let (mut from_a, mut from_b) = (0, 0);
    for _ in 0..RECEIVES {
        tokio::select! {
            v = a.recv() => from_a += v.unwrap(),
            v = b.recv() => from_b += v.unwrap(),
        }
    }
    quit.cancel();
    task_a.await.unwrap();
    task_b.await.unwrap();
    let elapsed = start.elapsed();
    check(from_a + from_b == RECEIVES, "received", from_a + from_b);
    Outcome::new(RECEIVES, elapsed)
}

// Look at an empty channel without waiting; per look.
async fn bench_select_default() -> Outcome {
    const SELECTS: i64 = 20_000_000;
    let (_tx, mut rx) = mpsc::channel::<i64>(1);
    let (mut received, mut misses) = (0, 0);
    let start = Instant::now();
    for _ in 0..SELECTS {
        match rx.try_recv() {
            Ok(v) => received += v,
            Err(_) => misses += 1,
        }
    }
    let elapsed = start.elapsed();
    check(received == 0 && misses == SELECTS, "misses", misses);
    Outcome::new(SELECTS, elapsed)
}

// The first 2,000 primes; every wait is a select with a quit case, and all tasks end; per prime.
async fn filter(quit: CancellationToken, mut input: mpsc::Receiver<i64>, output: mpsc::Sender<i64>, prime: i64) {
    loop {
        let v = tokio::select! {
            v = input.recv() => match v {
                Some(v) => v,
                None => return,
            },
            () = quit.cancelled() => return,
        };
        if v % prime == 0 {
            continue;
        }
        tokio::select! {
            sent = output.send(v) => if sent.is_err() { return },
            () = quit.cancelled() => return,
        }
    }
}

async fn bench_sieve_select() -> Outcome {
    const PRIMES: i64 = 2_000;
    const LAST: i64 = 17_389;
    let quit = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    let mut prime = 0;
    let start = Instant::now();
    let (tx, mut rx) = mpsc::channel(1);
    let stop = quit.clone();
    tasks.spawn(async move {
        let mut v = 2;
        loop {
            tokio::select! {
                sent = tx.send(v) => if sent.is_err() { return },
                () = stop.cancelled() => return,
            }
            v += 1;
        }
    });
    for _ in 0..PRIMES {
        prime = rx.recv().await.unwrap();
        let (tx, next) = mpsc::channel(1);
        tasks.spawn(filter(quit.clone(), rx, tx, prime));
        rx = next;
    }
    quit.cancel();
    while tasks.join_next().await.is_some() {}
    let elapsed = start.elapsed();
    check(prime == LAST, "prime", prime);
    Outcome::new(PRIMES, elapsed)
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "select2", run: || Box::pin(bench_select2()) },
    Scenario { name: "select_default", run: || Box::pin(bench_select_default()) },
    Scenario { name: "sieve_select", run: || Box::pin(bench_sieve_select()) },
];
