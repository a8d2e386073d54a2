// Go's half of the comparison: locks, and what else goroutines meet at. Read beside weft/locks.cpp.
package main

import (
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

var lockScenarios = []scenario{
	{name: "mutex_1", run: benchMutex1},
	{name: "mutex_8", run: benchMutex8},
	{name: "rwmutex_1", run: benchRWMutex1},
	{name: "rwmutex_read", run: benchRWMutexRead},
	{name: "semaphore_4", run: benchSemaphore4},
	{name: "semaphore_4_wait", run: benchSemaphore4Wait},
	{name: "once_fast", run: benchOnceFast},
	{name: "wait_group_fanout", run: benchWaitGroupFanout},
}
