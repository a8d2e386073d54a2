// Go's half of the comparison: results that somebody else brings. Read beside weft/pools.cpp.
package main

import (
	"sync"
	"time"
)

// Start a function, wait for its result, half a million times; per result.
func benchFuture() result {
	const n = 500_000
	sum := 0
	start := time.Now()
	for i := 0; i < n; i++ {
		i := i
		ch := make(chan int, 1)
		go func() { ch <- i }()
		sum += <-ch
	}
	elapsed := time.Since(start)
	check(sum == sumTo(n), "sum %d", sum)
	return result{ops: n, elapsed: elapsed}
}

// Jobs for eight workers behind a queue of 1,024; so many are submitted, then their results collected, and again. Per job.
// A job is a function, and its result has a channel of its own.
func pool(jobs, atOnce int) result {
	const workers, queue = 8, 1_024
	type job struct {
		run    func() int
		result chan<- int
	}
	todo := make(chan job, queue)
	var wg sync.WaitGroup
	wg.Add(workers)
	for w := 0; w < workers; w++ {
		go func() {
			defer wg.Done()
			for j := range todo {
				j.result <- j.run()
			}
		}()
	}
	results := make([]chan int, atOnce)
	sum, next := 0, 0
	start := time.Now()
	for next < jobs {
		for i := range results {
			n := next
			results[i] = make(chan int, 1)
			todo <- job{func() int { return 2*n + 1 }, results[i]}
			next++
		}
		for _, r := range results {
			sum += <-r
		}
	}
	elapsed := time.Since(start)
	close(todo)
	wg.Wait()
	check(sum == 2*sumTo(jobs)+jobs, "sum %d", sum)
	return result{ops: jobs, elapsed: elapsed}
}

func benchPoolSubmit() result { return pool(300_000, 1) }
func benchPoolBatch() result  { return pool(1_000_000, 1_000) }

var poolScenarios = []scenario{
	{name: "future", run: benchFuture},
	{name: "pool_submit", run: benchPoolSubmit},
	{name: "pool_batch", run: benchPoolBatch},
}
