// Go's half of the comparison: goroutines that start, yield, park and end. Read beside weft/goroutines.cpp.
package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Two goroutines, each yields two million times; per yield.
func benchYield() result {
	const goroutines, yields = 2, 2_000_000
	var wg sync.WaitGroup
	var done [goroutines]int
	start := time.Now()
	wg.Add(goroutines)
	for g := 0; g < goroutines; g++ {
		g := g
		go func() {
			defer wg.Done()
			n := 0
			for ; n < yields; n++ {
				runtime.Gosched()
			}
			done[g] = n
		}()
	}
	wg.Wait()
	elapsed := time.Since(start)
	check(done[0] == yields && done[1] == yields, "yields %v", done)
	return result{ops: goroutines * yields, elapsed: elapsed}
}

// Start a million goroutines that count down one WaitGroup; per goroutine.
func benchSpawnBatch() result {
	const n = 1_000_000
	ran := make([]uint8, n) // one byte each: shows that every goroutine ran exactly once, and costs next to nothing
	var wg sync.WaitGroup
	start := time.Now()
	wg.Add(n)
	for i := 0; i < n; i++ {
		i := i
		go func() {
			ran[i]++
			wg.Done()
		}()
	}
	wg.Wait()
	elapsed := time.Since(start)
	total := 0
	for _, r := range ran {
		total += int(r)
	}
	check(total == n, "%d goroutines ran, not %d", total, n)
	return result{ops: n, elapsed: elapsed}
}

// Start one goroutine, wait for its message, half a million times; per goroutine.
func benchSpawnJoin() result {
	const n = 500_000
	ch := make(chan int)
	sum := 0
	start := time.Now()
	for i := 0; i < n; i++ {
		go func(i int) { ch <- i }(i)
		sum += <-ch
	}
	elapsed := time.Since(start)
	check(sum == sumTo(n), "sum %d", sum)
	return result{ops: n, elapsed: elapsed}
}

// A tree with a million leaves, ten children each; every node sends its sum to its parent.
func skynet(parent chan<- int, num, size int) {
	if size == 1 {
		parent <- num
		return
	}
	const children = 10
	sums := make(chan int)
	for i := 0; i < children; i++ {
		go skynet(sums, num+i*(size/children), size/children)
	}
	sum := 0
	for i := 0; i < children; i++ {
		sum += <-sums
	}
	parent <- sum
}

// Per goroutine.
func benchSkynet() result {
	const leaves, goroutines = 1_000_000, 1_111_111
	root := make(chan int)
	start := time.Now()
	go skynet(root, 0, leaves)
	sum := <-root
	elapsed := time.Since(start)
	check(sum == sumTo(leaves), "sum %d", sum)
	return result{ops: goroutines, elapsed: elapsed}
}

// A million goroutines parked on one channel, then released; time and resident bytes per goroutine.
func benchPark1m() result {
	const n = 1_000_000
	release := make(chan struct{})
	var parked, done sync.WaitGroup
	before := residentBytes()
	start := time.Now()
	parked.Add(n)
	done.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			parked.Done()
			<-release
			done.Done()
		}()
	}
	parked.Wait()
	resident := residentBytes() - before
	close(release)
	done.Wait()
	elapsed := time.Since(start)
	return result{ops: n, elapsed: elapsed, bytes: float64(resident) / n}
}

// The same; each goroutine first formats a string into a local buffer of 3,000 bytes, and still needs it afterwards.
func benchPark1mFmt() result {
	const n = 1_000_000
	release := make(chan struct{})
	intact := make([]bool, n)
	var parked, done sync.WaitGroup
	before := residentBytes()
	start := time.Now()
	parked.Add(n)
	done.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			var buffer [3000]byte
			text := fmt.Appendf(buffer[:0], "goroutine %d of %d waits for its release", i, n)
			parked.Done()
			<-release
			intact[i] = len(text) > 36 && text[0] == 'g' && text[len(text)-1] == 'e'
			done.Done()
		}(i)
	}
	parked.Wait()
	resident := residentBytes() - before
	close(release)
	done.Wait()
	elapsed := time.Since(start)
	for i, ok := range intact {
		check(ok, "the buffer of goroutine %d changed", i)
	}
	return result{ops: n, elapsed: elapsed, bytes: float64(resident) / n}
}

// fib(n), each call forks one child and joins it over a channel of capacity 1.
func fib(n int) int {
	if n < 2 {
		return n
	}
	ch := make(chan int, 1)
	go func() { ch <- fib(n - 1) }()
	other := fib(n - 2)
	return other + <-ch
}

// Per fork.
func benchForkjoinFib29() result {
	const n, value, forks = 29, 514_229, 832_039
	start := time.Now()
	got := fib(n)
	elapsed := time.Since(start)
	check(got == value, "fib(%d) = %d", n, got)
	return result{ops: forks, elapsed: elapsed}
}

var goroutineScenarios = []scenario{
	{name: "yield", run: benchYield},
	{name: "spawn_batch", run: benchSpawnBatch},
	{name: "spawn_join", run: benchSpawnJoin},
	{name: "skynet", run: benchSkynet},
	{name: "park_1m", run: benchPark1m},
	{name: "park_1m_fmt", run: benchPark1mFmt},
	{name: "forkjoin_fib29", run: benchForkjoinFib29},
}
