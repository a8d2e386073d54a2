//! What tokio needs for one operation of each scenario of the comparison.
//!
//! Same names, counts and checks as in ../weft, a theme in each file. tokio's tasks have no stacks: where a scenario is about
//! those, that is the difference that shows. A scenario is left out where tokio has nothing like it: unbuffered channels
//! (pingpong, sieve and ring_1000 take channels of one place, which is less to do: the sender need not wait), loops that
//! hog a thread. Channels with several receivers are those of the crate async-channel, contexts are tokio-util's tokens.
//! $TOKIO_WORKER_THREADS sets the processors. What tasks share is leaked, not counted: that is the cheapest for them, and
//! the process ends with the scenario. Built by peers.py.
mod channels;
mod contexts;
mod goroutines;
mod locks;
mod outcome;
mod pools;
mod select;
mod timers;

use outcome::{fail, Scenario};

fn all() -> Vec<Scenario> {
    [
        goroutines::SCENARIOS,
        channels::SCENARIOS,
        select::SCENARIOS,
        timers::SCENARIOS,
        locks::SCENARIOS,
        contexts::SCENARIOS,
        pools::SCENARIOS,
    ]
    .concat()
}

/// As the lock file has it.
fn version_of(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"\nversion = \"");
    let lock = include_str!("../Cargo.lock");
    lock.split_once(&name)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("?", |(version, _)| version)
}

fn usage() -> String {
    "usage: tokio_bench [--list | --version | scenario...]\n\
     Runs the scenarios (without names: all) and prints one JSON line each. $TOKIO_WORKER_THREADS sets the processors."
        .to_string()
}

/// In a task of a runtime of its own, as code is that runs on tokio.
fn measure(scenario: &Scenario) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|e| fail(&format!("no runtime: {e}")));
    let processors = runtime.metrics().num_workers();
    let run = scenario.run;
    let outcome = runtime.block_on(async move { tokio::spawn(run()).await });
    let outcome = outcome.unwrap_or_else(|e| fail(&format!("{}: {e}", scenario.name)));
    let ns = outcome.elapsed.as_nanos() as f64 / outcome.ops as f64;
    let bytes = match outcome.bytes_per_op {
        Some(bytes) => format!(",\"bytes_per_op\":{bytes:.1}"),
        None => String::new(),
    };
    println!(
        "{{\"runtime\":\"tokio\",\"scenario\":\"{}\",\"ops\":{},\"ns_per_op\":{ns:.3}{bytes},\"processors\":{processors}}}",
        scenario.name, outcome.ops
    );
}

fn main() {
    let all = all();
    let mut chosen = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "-h" | "--help" => return println!("{}", usage()),
            "--list" => return all.iter().for_each(|s| println!("{}", s.name)),
            "--version" => {
                let rustc = option_env!("TOKIO_BENCH_RUSTC").unwrap_or("rustc ?");
                return println!(
                    "tokio {}, async-channel {}, {rustc}, release",
                    version_of("tokio"),
                    version_of("async-channel")
                );
            }
            name => match all.iter().find(|s| s.name == name) {
                Some(scenario) => chosen.push(*scenario),
                None => {
                    eprintln!("tokio_bench: no scenario \"{name}\" (see --list)\n{}", usage());
                    std::process::exit(2);
                }
            },
        }
    }
    if chosen.is_empty() {
        chosen = all;
    }
    chosen.iter().for_each(measure);
}
