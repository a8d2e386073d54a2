// What Go needs for one operation of each scenario of the comparison, the second half: locks (weft_locks.cpp), contexts
// (weft_context.cpp) and results that somebody else brings (weft_pools.cpp). The main function is in go_bench.go.
package main

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Lock, increment, unlock by a number of goroutines; per increment.
func mutex(goroutines, each int) result {
	var mu sync.Mutex
	var wg sync.WaitGroup
	counter := 0
	start := time.Now()
	wg.Add(goroutines)
	for g := 0; g < goroutines; g++ {
		go func() {
			defer wg.Done()
			for i := 0; i < each; i++ {
				mu.Lock()
				counter++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	elapsed := time.Since(start)
	check(counter == goroutines*each, "counted %d", counter)
	return result{ops: goroutines * each, elapsed: elapsed}
}

func benchMutex1() result { return mutex(1, 20_000_000) }
func benchMutex8() result { return mutex(8, 2_000_000) }

// Goroutines lock for reading, look at a counter, unlock; every so many'th operation locks for writing and increments it.
// writesEvery 0: nobody writes. Per lock and unlock of either kind.
func rwmutex(goroutines, each, writesEvery int) result {
	var mu sync.RWMutex
	var wg sync.WaitGroup
	counter := 1
	seen := make([]int, goroutines)
	start := time.Now()
	wg.Add(goroutines)
	for g := 0; g < goroutines; g++ {
		g := g
		go func() {
			defer wg.Done()
			positive := 0
			for i, nextWrite := 1, writesEvery; i <= each; i++ {
				if i == nextWrite {
					nextWrite += writesEvery
					mu.Lock()
					counter++
					mu.Unlock()
				} else {
					mu.RLock()
					if counter > 0 {
						positive++
					}
					mu.RUnlock()
				}
			}
			seen[g] = positive
		}()
	}
	wg.Wait()
	elapsed := time.Since(start)
	total := counter - 1
	for _, s := range seen {
		total += s
	}
	check(total == goroutines*each, "%d reads and writes", total)
	check(writesEvery == 0 && counter == 1 || writesEvery > 0 && counter == 1+goroutines*(each/writesEvery), "counter %d", counter)
	return result{ops: goroutines * each, elapsed: elapsed}
}

func benchRWMutex1() result    { return rwmutex(1, 20_000_000, 0) }
func benchRWMutexRead() result { return rwmutex(8, 4_000_000, 20) }

// Eight goroutines take one of four units and give it back; per unit. With yields they do so in between, so that half of
// the goroutines always wait. A buffered channel of four is the semaphore: x/sync's is not in the standard library.
func semaphore(each int, yields bool) result {
	const goroutines, units = 8, 4
	sem := make(chan struct{}, units)
	var wg sync.WaitGroup
	taken := make([]int, goroutines)
	start := time.Now()
	wg.Add(goroutines)
	for g := 0; g < goroutines; g++ {
		g := g
		go func() {
			defer wg.Done()
			n := 0
			for ; n < each; n++ {
				sem <- struct{}{}
				if yields {
					runtime.Gosched()
				}
				<-sem
			}
			taken[g] = n
		}()
	}
	wg.Wait()
	elapsed := time.Since(start)
	total := 0
	for _, t := range taken {
		total += t
	}
	check(total == goroutines*each && len(sem) == 0, "taken %d", total)
	return result{ops: total, elapsed: elapsed}
}

func benchSemaphore4() result     { return semaphore(500_000, false) }
func benchSemaphore4Wait() result { return semaphore(100_000, true) }

// Ask a Once that is done; per call.
func benchOnceFast() result {
	const n = 50_000_000
	var once sync.Once
	runs := 0
	start := time.Now()
	for i := 0; i < n; i++ {
		once.Do(func() { runs++ })
	}
	elapsed := time.Since(start)
	check(runs == 1, "runs %d", runs)
	return result{ops: n, elapsed: elapsed}
}

// Start a hundred goroutines, wait for all, four thousand times; per goroutine.
func benchWaitGroupFanout() result {
	const rounds, goroutines = 4_000, 100
	ran := make([]int, goroutines)
	start := time.Now()
	for round := 0; round < rounds; round++ {
		var wg sync.WaitGroup
		for g := 0; g < goroutines; g++ {
			mine := &ran[g]
			wg.Add(1)
			go func() {
				defer wg.Done()
				*mine++
			}()
		}
		wg.Wait()
	}
	elapsed := time.Since(start)
	total := 0
	for _, r := range ran {
		total += r
	}
	check(total == rounds*goroutines, "%d goroutines ran", total)
	return result{ops: total, elapsed: elapsed}
}

// Derive a context from one that is not done, as a server does for each request, and cancel it; per context.
func benchContextCancel() result {
	const n = 2_000_000
	parent, cancelParent := context.WithCancel(context.Background())
	defer cancelParent()
	done := 0
	start := time.Now()
	for i := 0; i < n; i++ {
		ctx, cancel := context.WithCancel(parent)
		cancel()
		if ctx.Err() != nil {
			done++
		}
	}
	elapsed := time.Since(start)
	check(done == n && parent.Err() == nil, "done %d", done)
	return result{ops: n, elapsed: elapsed}
}

// The same with a timeout of one minute.
func benchContextTimeout() result {
	const n = 1_000_000
	parent, cancelParent := context.WithCancel(context.Background())
	defer cancelParent()
	done := 0
	start := time.Now()
	for i := 0; i < n; i++ {
		ctx, cancel := context.WithTimeout(parent, time.Minute)
		cancel()
		if ctx.Err() != nil {
			done++
		}
	}
	elapsed := time.Since(start)
	check(done == n && parent.Err() == nil, "done %d", done)
	return result{ops: n, elapsed: elapsed}
}

// A tree of ten thousand contexts, ten below each, is made below one, cancelled there and dropped; per context.
func benchContextTree() result {
	const trees, contexts, children = 50, 10_000, 10
	type pair struct {
		ctx    context.Context
		cancel context.CancelFunc
	}
	done := 0
	start := time.Now()
	for t := 0; t < trees; t++ {
		tree := make([]pair, 0, contexts+1)
		ctx, cancel := context.WithCancel(context.Background())
		tree = append(tree, pair{ctx, cancel})
		for i := 0; i < contexts; i++ {
			ctx, cancel := context.WithCancel(tree[i/children].ctx)
			tree = append(tree, pair{ctx, cancel})
		}
		tree[0].cancel()
		for _, p := range tree {
			if p.ctx.Err() != nil {
				done++
			}
		}
	}
	elapsed := time.Since(start)
	check(done == trees*(contexts+1), "done %d", done)
	return result{ops: trees * contexts, elapsed: elapsed}
}

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
