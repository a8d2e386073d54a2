// What Go needs for one operation of each scenario of the comparison: the yardstick for weft_bench.cpp. Locks, contexts
// and results that somebody else brings are in go_sync.go.
//
// The scenarios stand in the same order, with the same names, counts and checks, as in weft_bench.cpp, so
// that the two files can be read side by side. Builds with Go 1.19 and later, without a module:
//
//	go build -o go_bench go_bench.go go_sync.go && GOMAXPROCS=2 ./go_bench yield pingpong
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// result is what one scenario found out; ops is the number of operations that elapsed is divided by.
type result struct {
	ops     int
	elapsed time.Duration
	bytes   float64 // resident bytes per operation; 0: not measured
}

type scenario struct {
	name string
	run  func() result
}

// check ends the program when a scenario computed something wrong: a fast wrong answer is not a measurement.
func check(ok bool, format string, args ...any) {
	if !ok {
		fmt.Fprintf(os.Stderr, "go_bench: wrong result: "+format+"\n", args...)
		os.Exit(1)
	}
}

// sumTo is 0 + 1 + ... + n-1, what a consumer of the values 0..n-1 has to arrive at.
func sumTo(n int) int { return n * (n - 1) / 2 }

// residentBytes is what the process has in memory now.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	check(err == nil, "cannot read /proc/self/statm: %v", err)
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	check(err == nil, "cannot parse /proc/self/statm: %v", err)
	return pages * int64(os.Getpagesize())
}

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

// Two goroutines, two unbuffered channels, a million round trips; per hop.
func benchPingpong() result {
	const rounds = 1_000_000
	ping, pong := make(chan int), make(chan int)
	start := time.Now()
	go func() {
		for v := range ping {
			pong <- v + 1
		}
		close(pong)
	}()
	v := 0
	for i := 0; i < rounds; i++ {
		ping <- v
		v = <-pong
	}
	close(ping)
	_, open := <-pong
	elapsed := time.Since(start)
	check(v == rounds && !open, "counted %d", v)
	return result{ops: 2 * rounds, elapsed: elapsed}
}

// Producers send total values through one channel of the given capacity to consumers; per value.
func channel(capacity, producers, consumers, total int) result {
	ch := make(chan int, capacity)
	sums := make([]int, consumers)
	var producing, consuming sync.WaitGroup
	start := time.Now()
	producing.Add(producers)
	for p := 0; p < producers; p++ {
		p := p
		go func() {
			defer producing.Done()
			for v := p; v < total; v += producers {
				ch <- v
			}
		}()
	}
	consuming.Add(consumers)
	for c := 0; c < consumers; c++ {
		c := c
		go func() {
			defer consuming.Done()
			sum := 0
			for v := range ch {
				sum += v
			}
			sums[c] = sum
		}()
	}
	producing.Wait()
	close(ch)
	consuming.Wait()
	elapsed := time.Since(start)
	sum := 0
	for _, s := range sums {
		sum += s
	}
	check(sum == sumTo(total), "sum %d", sum)
	return result{ops: total, elapsed: elapsed}
}

func benchChanUnbuf1p1c() result { return channel(0, 1, 1, 2_000_000) }
func benchChanUnbuf4p4c() result { return channel(0, 4, 4, 2_000_000) }
func benchChan128x1p1c() result  { return channel(128, 1, 1, 8_000_000) }
func benchChan128x4p4c() result  { return channel(128, 4, 4, 4_000_000) }

// Two senders select on {send, quit}, one receiver selects on both channels; per receive.
func benchSelect2() result {
	const n = 1_000_000
	a, b := make(chan int), make(chan int)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	sender := func(ch chan<- int) {
		defer wg.Done()
		for {
			select {
			case ch <- 1:
			case <-quit:
				return
			}
		}
	}
	start := time.Now()
	wg.Add(2)
	go sender(a)
	go sender(b)
	fromA, fromB := 0, 0
	for i := 0; i < n; i++ {
		select {
		case v := <-a:
			fromA += v
		case v := <-b:
			fromB += v
		}
	}
	close(quit)
	wg.Wait()
	elapsed := time.Since(start)
	check(fromA+fromB == n, "received %d + %d", fromA, fromB)
	return result{ops: n, elapsed: elapsed}
}

// Select with one empty channel and a default; per select.
func benchSelectDefault() result {
	const n = 20_000_000
	ch := make(chan int, 1)
	received, misses := 0, 0
	start := time.Now()
	for i := 0; i < n; i++ {
		select {
		case v := <-ch:
			received += v
		default:
			misses++
		}
	}
	elapsed := time.Since(start)
	check(received == 0 && misses == n, "received %d, misses %d", received, misses)
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

// The first 1,500 primes by a chain of filters; per prime.
func benchSieve() result {
	const primes, last = 1_500, 12_553
	generate := func(out chan<- int) {
		for v := 2; ; v++ {
			out <- v
		}
	}
	filter := func(in <-chan int, out chan<- int, prime int) {
		for {
			if v := <-in; v%prime != 0 {
				out <- v
			}
		}
	}
	prime := 0
	start := time.Now()
	ch := make(chan int)
	go generate(ch)
	for i := 0; i < primes; i++ {
		prime = <-ch
		next := make(chan int)
		go filter(ch, next, prime)
		ch = next
	}
	elapsed := time.Since(start)
	check(prime == last, "prime %d", prime)
	return result{ops: primes, elapsed: elapsed}
}

// The first 2,000 primes; every wait is a select with a quit case, and all goroutines end; per prime.
func benchSieveSelect() result {
	const primes, last = 2_000, 17_389
	quit := make(chan struct{})
	var wg sync.WaitGroup
	generate := func(out chan<- int) {
		defer wg.Done()
		for v := 2; ; v++ {
			select {
			case out <- v:
			case <-quit:
				return
			}
		}
	}
	filter := func(in <-chan int, out chan<- int, prime int) {
		defer wg.Done()
		for {
			select {
			case v := <-in:
				if v%prime == 0 {
					continue
				}
				select {
				case out <- v:
				case <-quit:
					return
				}
			case <-quit:
				return
			}
		}
	}
	prime := 0
	start := time.Now()
	ch := make(chan int)
	wg.Add(1)
	go generate(ch)
	for i := 0; i < primes; i++ {
		prime = <-ch
		next := make(chan int)
		wg.Add(1)
		go filter(ch, next, prime)
		ch = next
	}
	close(quit)
	wg.Wait()
	elapsed := time.Since(start)
	check(prime == last, "prime %d", prime)
	return result{ops: primes, elapsed: elapsed}
}

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

// Two million jobs through eight workers over two channels of 1,024; per job.
func benchWorkerPool() result {
	const workers, queue, n = 8, 1024, 2_000_000
	jobs := make(chan int, queue)
	results := make(chan int, queue)
	start := time.Now()
	for w := 0; w < workers; w++ {
		go func() {
			for job := range jobs {
				results <- 2*job + 1
			}
		}()
	}
	go func() {
		for i := 0; i < n; i++ {
			jobs <- i
		}
		close(jobs)
	}()
	sum := 0
	for i := 0; i < n; i++ {
		sum += <-results
	}
	elapsed := time.Since(start)
	check(sum == 2*sumTo(n)+n, "sum %d", sum)
	return result{ops: n, elapsed: elapsed}
}

// A token goes round a thousand goroutines, each adds one to it; per hop.
func benchRing1000() result {
	const nodes, laps = 1_000, 2_000
	links := make([]chan int, nodes)
	for i := range links {
		links[i] = make(chan int)
	}
	start := time.Now()
	for i := 0; i+1 < nodes; i++ { // the last node is this goroutine
		go func(in <-chan int, out chan<- int) {
			for lap := 0; lap < laps; lap++ {
				out <- 1 + <-in
			}
		}(links[i], links[i+1])
	}
	token := 0
	for lap := 0; lap < laps; lap++ {
		links[0] <- token
		token = 1 + <-links[nodes-1]
	}
	elapsed := time.Since(start)
	check(token == nodes*laps, "token %d", token)
	return result{ops: nodes * laps, elapsed: elapsed}
}

var scenarios = []scenario{
	{"yield", benchYield},
	{"spawn_batch", benchSpawnBatch},
	{"spawn_join", benchSpawnJoin},
	{"pingpong", benchPingpong},
	{"chan_unbuf_1p1c", benchChanUnbuf1p1c},
	{"chan_unbuf_4p4c", benchChanUnbuf4p4c},
	{"chan_128_1p1c", benchChan128x1p1c},
	{"chan_128_4p4c", benchChan128x4p4c},
	{"select2", benchSelect2},
	{"select_default", benchSelectDefault},
	{"skynet", benchSkynet},
	{"park_1m", benchPark1m},
	{"park_1m_fmt", benchPark1mFmt},
	{"sieve", benchSieve},
	{"sieve_select", benchSieveSelect},
	{"timers_1m", benchTimers1m},
	{"timer_stop", benchTimerStop},
	{"hog_latency", benchHogLatency},
	{"hog_worst", benchHogWorst},
	{"forkjoin_fib29", benchForkjoinFib29},
	{"worker_pool", benchWorkerPool},
	{"ring_1000", benchRing1000},
	{"mutex_1", benchMutex1},
	{"mutex_8", benchMutex8},
	{"rwmutex_1", benchRWMutex1},
	{"rwmutex_read", benchRWMutexRead},
	{"semaphore_4", benchSemaphore4},
	{"semaphore_4_wait", benchSemaphore4Wait},
	{"once_fast", benchOnceFast},
	{"wait_group_fanout", benchWaitGroupFanout},
	{"context_cancel", benchContextCancel},
	{"context_timeout", benchContextTimeout},
	{"context_tree", benchContextTree},
	{"future", benchFuture},
	{"pool_submit", benchPoolSubmit},
	{"pool_batch", benchPoolBatch},
}

// line is one measurement as compare.py reads it.
type line struct {
	Runtime    string  `json:"runtime"`
	Scenario   string  `json:"scenario"`
	Ops        int     `json:"ops"`
	NsPerOp    float64 `json:"ns_per_op"`
	BytesPerOp float64 `json:"bytes_per_op,omitempty"`
	Processors int     `json:"processors"`
}

func usage(out *os.File) {
	fmt.Fprintln(out, "usage: go_bench [--list | --version | scenario...]")
	fmt.Fprintln(out, "Runs the scenarios (without names: all) and prints one JSON line each. GOMAXPROCS sets the processors.")
}

func main() {
	names := os.Args[1:]
	chosen := scenarios
	if len(names) > 0 {
		chosen = nil
		byName := map[string]scenario{}
		for _, s := range scenarios {
			byName[s.name] = s
		}
		for _, name := range names {
			switch name {
			case "-h", "--help":
				usage(os.Stdout)
				return
			case "--list":
				for _, s := range scenarios {
					fmt.Println(s.name)
				}
				return
			case "--version":
				fmt.Printf("%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return
			}
			s, known := byName[name]
			if !known {
				fmt.Fprintf(os.Stderr, "go_bench: no scenario %q (see --list)\n", name)
				usage(os.Stderr)
				os.Exit(2)
			}
			chosen = append(chosen, s)
		}
	}
	out := json.NewEncoder(os.Stdout)
	for _, s := range chosen {
		r := s.run()
		err := out.Encode(line{
			Runtime:    "go",
			Scenario:   s.name,
			Ops:        r.ops,
			NsPerOp:    float64(r.elapsed.Nanoseconds()) / float64(r.ops),
			BytesPerOp: r.bytes,
			Processors: runtime.GOMAXPROCS(0),
		})
		check(err == nil, "cannot write: %v", err)
	}
}
