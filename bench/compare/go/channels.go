// Go's half of the comparison: values and hands on the way through channels. Read beside weft/channels.cpp.
package main

import (
	"sync"
	"time"
)

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

var channelScenarios = []scenario{
	{name: "pingpong", run: benchPingpong},
	{name: "chan_unbuf_1p1c", run: benchChanUnbuf1p1c},
	{name: "chan_unbuf_4p4c", run: benchChanUnbuf4p4c},
	{name: "chan_128_1p1c", run: benchChan128x1p1c},
	{name: "chan_128_4p4c", run: benchChan128x4p4c},
	{name: "sieve", run: benchSieve},
	{name: "worker_pool", run: benchWorkerPool},
	{name: "ring_1000", run: benchRing1000},
}
