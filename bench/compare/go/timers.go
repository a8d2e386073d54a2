// Go's half of the comparison: timers, and sleepers on a busy machine. Read beside weft/timers.cpp.
package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A million goroutines sleep 0 to 999 ms, spread evenly; per goroutine, so not below 1,000 ns.
func benchTimers1m() result {
	const n = 1_000_000
	const longest = 999 * time.Millisecond
	nap := func(i int) time.Duration {
		hash := uint64(i) * 0x9E3779B97F4A7C15
		return time.Duration((hash>>32)%1000) * time.Millisecond
	}
	var wg sync.WaitGroup
	start := time.Now()
	wg.Add(n)
	for i := 0; i < n; i++ {
		go func(d time.Duration) {
			time.Sleep(d)
			wg.Done()
		}(nap(i))
	}
	wg.Wait()
	elapsed := time.Since(start)
	check(elapsed >= longest, "all were awake after %v", elapsed)
	return result{ops: n, elapsed: elapsed}
}

// Make a one-minute timer and stop it, two million times; per timer.
func benchTimerStop() result {
	const n = 2_000_000
	stopped := 0
	start := time.Now()
	for i := 0; i < n; i++ {
		if time.NewTimer(time.Minute).Stop() {
			stopped++
		}
	}
	elapsed := time.Since(start)
	check(stopped == n, "stopped %d", stopped)
	return result{ops: n, elapsed: elapsed}
}

// Every processor runs a loop that never yields; how late 300 sleeps of 1 ms return.
func hogLatency() (mean, worst time.Duration) {
	const n = 300
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := 0; i < runtime.GOMAXPROCS(0); i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !stop.Load() {
			}
		}()
	}
	var sum time.Duration
	for i := 0; i < n; i++ {
		start := time.Now()
		time.Sleep(time.Millisecond)
		late := time.Since(start) - time.Millisecond
		check(late >= 0, "early by %v", late)
		sum += late
		if late > worst {
			worst = late
		}
	}
	stop.Store(true)
	wg.Wait()
	return sum / n, worst
}

func benchHogLatency() result {
	mean, _ := hogLatency()
	return result{ops: 1, elapsed: mean}
}

func benchHogWorst() result {
	_, worst := hogLatency()
	return result{ops: 1, elapsed: worst}
}

var timerScenarios = []scenario{
	{name: "timers_1m", run: benchTimers1m},
	{name: "timer_stop", run: benchTimerStop},
	{name: "hog_latency", run: benchHogLatency},
	{name: "hog_worst", run: benchHogWorst},
}
