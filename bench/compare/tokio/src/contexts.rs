//! tokio's part of the comparison: cancellation tokens for contexts. Read beside ../../weft/contexts.cpp.
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::outcome::{check, Outcome, Scenario};

// Derive a token from one that was not cancelled, and cancel it; per token.
async fn bench_context_cancel() -> Outcome {
    const CONTEXTS: i64 = 2_000_000;
    let parent = CancellationToken::new();
    let mut done = 0;
    let start = Instant::now();
    for _ in 0..CONTEXTS {
        let child = parent.child_token();
        child.cancel();
        if child.is_cancelled() {
            done += 1;
        }
    }
    let elapsed = start.elapsed();
    check(done == CONTEXTS && !parent.is_cancelled(), "done", done);
    Outcome::new(CONTEXTS, elapsed)
}

// A tree of ten thousand tokens, ten below each, is made below one, cancelled there and dropped; per token.
async fn bench_context_tree() -> Outcome {
    const TREES: i64 = 50;
    const CONTEXTS: usize = 10_000;
    const CHILDREN: usize = 10;
    let mut done = 0;
    let start = Instant::now();
    for _ in 0..TREES {
        let mut tree = Vec::with_capacity(CONTEXTS + 1);
        tree.push(CancellationToken::new());
        for i in 0..CONTEXTS {
            let child = tree[i / CHILDREN].child_token();
            tree.push(child);
        }
        tree[0].cancel();
        done += tree.iter().filter(|token| token.is_cancelled()).count() as i64;
    }
    let elapsed = start.elapsed();
    check(done == TREES * (CONTEXTS as i64 + 1), "done", done);
    Outcome::new(TREES * CONTEXTS as i64, elapsed)
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "context_cancel", run: || Box::pin(bench_context_cancel()) },
    Scenario { name: "context_tree", run: || Box::pin(bench_context_tree()) },
];
