"""What the comparison measures, in the order of its table, and how far ahead of Go weft has to be.

The programs (weft/, go/, std/ ...) know how a scenario is run; this list knows what one
operation of it is and which ratio to Go counts as success. A ratio is Go's figure divided by weft's: above 1, weft is
ahead. "Goroutine" stands for what the runtime has: a goroutine, a fiber, a thread.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    name: str
    operation: str  # what is counted
    target: float  # how many times better than Go in the end
    first_bar: float | None = None  # how many times better than Go for the foundation
    bytes_target: float | None = None  # how many times fewer resident bytes than Go
    bytes_limit: int | None = None  # resident bytes per operation that weft may have at most


SCENARIOS = [
    Scenario("yield", "a yield; two goroutines, 2M each", 6, first_bar=2),
    Scenario("spawn_batch", "a goroutine of 1M that count down one WaitGroup", 4, first_bar=2),
    Scenario("spawn_join", "start one goroutine, wait for its message", 5),
    Scenario("pingpong", "a hop; two goroutines, two unbuffered channels", 4, first_bar=2),
    Scenario("chan_unbuf_1p1c", "a value; 1 producer, 1 consumer, unbuffered", 3),
    Scenario("chan_unbuf_4p4c", "a value; 4 producers, 4 consumers, unbuffered", 3),
    Scenario("chan_128_1p1c", "a value; 1 producer, 1 consumer, capacity 128", 3, first_bar=2),
    Scenario("chan_128_4p4c", "a value; 4 producers, 4 consumers, capacity 128", 2.5),
    Scenario("select2", "a receive by select from two senders that select", 4),
    Scenario("select_default", "a select with one empty channel and a default", 1),
    Scenario("skynet", "a goroutine in a tree of 1M leaves, sums over channels", 5, first_bar=2),
    Scenario("park_1m", "a goroutine of 1M parked on one channel, then released", 3, bytes_limit=4_400),
    Scenario("park_1m_fmt", "the same, with a string formatted into a 3,000-byte local", 3, bytes_target=1),
    Scenario("sieve", "a prime of the first 1,500, by a chain of filters", 4),
    Scenario("sieve_select", "a prime of the first 2,000, every wait with a quit case", 4),
    Scenario("timers_1m", "a goroutine of 1M that sleep 0 to 999 ms (floor 1,000 ns)", 3),
    Scenario("timer_stop", "make a one-minute timer and stop it", 5),
    Scenario("hog_latency", "how late a 1 ms sleep returns, mean of 300, while loops hog all processors", 2),
    Scenario("hog_worst", "the same, the worst of 300", 2),
    Scenario("forkjoin_fib29", "a fork of fib(29), joined over a channel of 1", 10),
    Scenario("worker_pool", "a job through 8 workers and two channels of 1,024", 2.5),
    Scenario("ring_1000", "a hop of a token round 1,000 goroutines", 4),
    Scenario("mutex_1", "lock, increment, unlock by 1 goroutine", 1),
    Scenario("mutex_8", "lock, increment, unlock by 8 goroutines", 2),
    Scenario("rwmutex_1", "lock for reading and unlock by 1 goroutine", 1),
    Scenario("rwmutex_read", "lock and unlock by 8 goroutines, 95 of 100 for reading", 1),
    Scenario("semaphore_4", "take one of 4 units, give it back, by 8 goroutines", 1),
    Scenario("semaphore_4_wait", "the same with a yield in between: half of the goroutines wait", 1),
    Scenario("once_fast", "ask a Once that is done", 1),
    Scenario("wait_group_fanout", "a goroutine of 100 that are started and waited for", 1),
    Scenario("context_cancel", "derive a context from a live one, cancel it", 1),
    Scenario("context_timeout", "the same with a timeout of one minute", 1),
    Scenario("context_tree", "a context of 10,000 below one: made, cancelled from the root, dropped", 1),
    Scenario("future", "start a function, wait for its result", 1),
    Scenario("pool_submit", "a job for 8 workers, submitted and waited for", 1),
    Scenario("pool_batch", "a job of 1,000, all submitted, then waited for", 1),
]


@dataclass(frozen=True)
class Scale:
    """A scenario whose size is what matters: how many goroutines or channels there are."""

    name: str
    operation: str
    across: str  # what its size is
    sizes: tuple


GOROUTINES = (100, 1_000, 10_000, 100_000, 1_000_000)
CHANNELS = (1, 10, 100, 1_000, 10_000, 100_000)

SCALES = [
    Scale("yield_n", "a yield", "goroutines that yield", GOROUTINES),
    Scale("spawn_n", "a goroutine, started and waited for", "goroutines at a time", GOROUTINES),
    Scale("park_n", "a goroutine, started, parked, released", "goroutines on one channel", GOROUTINES),
    Scale("mutex_n", "lock, increment, unlock", "goroutines at one mutex", GOROUTINES),
    Scale("timeout_n", "a hop, received with a timeout", "others that wait with a timeout", GOROUTINES),
    Scale("fan_in_n", "a value through a channel of 128", "goroutines that send into it", GOROUTINES),
    Scale("pairs_n", "a value through a channel of 16", "channels, a pair of goroutines each", CHANNELS),
    Scale("ring_n", "a hop over an unbuffered channel", "channels, a goroutine between two", CHANNELS),
    Scale("select_n", "a receive by a select over all", "channels in the select", CHANNELS[:-1]),
]
