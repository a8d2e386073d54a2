// Go's half of the comparison: select. Read beside weft/select.cpp.
package main

import (
	"sync"
	"time"
)

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

var selectScenarios = []scenario{
	{name: "select2", run: benchSelect2},
	{name: "select_default", run: benchSelectDefault},
	{name: "sieve_select", run: benchSieveSelect},
}
