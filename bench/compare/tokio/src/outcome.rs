//! What the scenarios share: how one is listed, checked and measured.
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// What one scenario found out; ops is the number of operations that elapsed is divided by.
pub struct Outcome {
    pub ops: i64,
    pub elapsed: Duration,
    pub bytes_per_op: Option<f64>,
}

impl Outcome {
    pub fn new(ops: i64, elapsed: Duration) -> Self {
        Outcome { ops, elapsed, bytes_per_op: None }
    }
}

pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub run: fn() -> Boxed<Outcome>,
}

pub fn fail(what: &str) -> ! {
    eprintln!("tokio_bench: {what}");
    std::process::exit(1)
}

/// Ends the program when a scenario computed something wrong: a fast wrong answer is not a measurement.
pub fn check(ok: bool, what: &str, got: i64) {
    if !ok {
        fail(&format!("wrong result: {what} {got}"));
    }
}

/// 0 + 1 + ... + n-1, what a consumer of the values 0..n-1 has to arrive at.
pub const fn sum_to(n: i64) -> i64 {
    n * (n - 1) / 2
}

/// What the process has in memory now.
pub fn resident_bytes() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|word| word.parse::<i64>().ok()).unwrap_or(0);
    check(pages > 0, "resident pages", pages);
    pages * 4096
}

/// For as long as the process lives.
pub fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// What a WaitGroup is elsewhere.
pub struct CountDown {
    left: AtomicI64,
    all: Notify,
}

impl CountDown {
    pub fn new(n: i64) -> &'static Self {
        leak(CountDown { left: AtomicI64::new(n), all: Notify::new() })
    }
    pub fn done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.notify_one();
        }
    }
    /// By one waiter.
    pub async fn wait(&self) {
        self.all.notified().await;
    }
}
