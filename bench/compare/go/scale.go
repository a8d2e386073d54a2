// What an operation costs in Go with n goroutines, or n channels: n is the scenario's size. Read beside weft/scale.cpp.
//
// Goroutines are made first, and have their stacks when they wait for the start; what is measured begins when all of them are
// let go.
package main

import (
	"reflect"
	"runtime"
	"sync"
	"time"
)

func maxOf(a, b int) int {
	if a > b {
		return a
	}
	return b
}

// share: each of n has that many to do, so that all together do some millions.
func share(total, n int) int { return maxOf(1, total/n) }

// race is goroutines that start when all of them are there.
type race struct {
	start          chan struct{}
	ready, running sync.WaitGroup
}

func newRace() *race { return &race{start: make(chan struct{})} }

func (r *race) add(run func()) {
	r.ready.Add(1)
	r.running.Add(1)
	go func() {
		defer r.running.Done()
		r.ready.Done()
		<-r.start
		run()
	}()
}

func (r *race) run() time.Duration {
	r.ready.Wait()
	start := time.Now()
	close(r.start)
	r.running.Wait()
	return time.Since(start)
}

// n goroutines yield; per yield.
func benchYieldN(n int) result {
	each := share(4_000_000, n)
	done := make([]int, n)
	race := newRace()
	for g := range done {
		mine := &done[g]
		race.add(func() {
			for i := 0; i < each; i++ {
				runtime.Gosched()
				*mine++
			}
		})
	}
	elapsed := race.run()
	total := 0
	for _, d := range done {
		total += d
	}
	check(total == n*each, "yields %d", total)
	return result{ops: total, elapsed: elapsed}
}

// Start n goroutines, wait for all, again and again; per goroutine.
func benchSpawnN(n int) result {
	rounds := share(1_000_000, n)
	ran := make([]int, n)
	start := time.Now()
	for round := 0; round < rounds; round++ {
		var wg sync.WaitGroup
		for g := range ran {
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
	check(total == n*rounds, "%d goroutines ran", total)
	return result{ops: total, elapsed: elapsed}
}

// n goroutines park on one channel and are released, again and again; time and resident bytes per goroutine.
func benchParkN(n int) result {
	rounds := share(500_000, n)
	before := residentBytes()
	var resident int64
	start := time.Now()
	for round := 0; round < rounds; round++ {
		release := make(chan struct{})
		var parked, done sync.WaitGroup
		parked.Add(n)
		done.Add(n)
		for i := 0; i < n; i++ {
			go func() {
				defer done.Done()
				parked.Done()
				<-release
			}()
		}
		parked.Wait()
		if round == 0 {
			resident = residentBytes() - before
		}
		close(release)
		done.Wait()
	}
	elapsed := time.Since(start)
	return result{ops: n * rounds, elapsed: elapsed, bytes: float64(resident) / float64(n)}
}

// n goroutines lock, increment, unlock; per increment.
func benchMutexN(n int) result {
	each := share(4_000_000, n)
	var mu sync.Mutex
	counter := 0
	race := newRace()
	for g := 0; g < n; g++ {
		race.add(func() {
			for i := 0; i < each; i++ {
				mu.Lock()
				counter++
				mu.Unlock()
			}
		})
	}
	elapsed := race.run()
	check(counter == n*each, "counted %d", counter)
	return result{ops: counter, elapsed: elapsed}
}

// Two goroutines hand a number to and fro, each wait with a timeout, while n others wait with one; per hop.
func benchTimeoutN(n int) result {
	const rounds = 200_000
	quit := make(chan struct{})
	var ready, waiting sync.WaitGroup
	ready.Add(n)
	waiting.Add(n + 1)
	for i := 0; i < n; i++ {
		go func(hours int) {
			defer waiting.Done()
			ready.Done()
			select {
			case <-quit:
			case <-time.After(time.Duration(hours) * time.Hour):
			}
		}(1 + i%24)
	}
	there, back := make(chan int), make(chan int)
	receive := func(from <-chan int) int {
		select {
		case v := <-from:
			return v
		case <-time.After(time.Minute):
			check(false, "a timeout")
			return 0
		}
	}
	ready.Wait()
	v := 0
	start := time.Now()
	go func() {
		defer waiting.Done()
		for i := 0; i < rounds; i++ {
			back <- 1 + receive(there)
		}
	}()
	for i := 0; i < rounds; i++ {
		there <- v
		v = receive(back)
	}
	elapsed := time.Since(start)
	close(quit)
	waiting.Wait()
	check(v == rounds, "counted %d", v)
	return result{ops: 2 * rounds, elapsed: elapsed}
}

// n channels of 16 places, a producer and a consumer at each; per value.
func benchPairsN(n int) result {
	each := share(4_000_000, n)
	sums := make([]int, n)
	race := newRace()
	for g := range sums {
		mine := &sums[g]
		ch := make(chan int, 16)
		race.add(func() {
			for v := 0; v < each; v++ {
				ch <- v
			}
			close(ch)
		})
		race.add(func() {
			for v := range ch {
				*mine += v
			}
		})
	}
	elapsed := race.run()
	for _, s := range sums {
		check(s == sumTo(each), "sum %d", s)
	}
	return result{ops: n * each, elapsed: elapsed}
}

// n goroutines send into one channel of 128 places, one receives; per value.
func benchFanInN(n int) result {
	each := share(4_000_000, n)
	ch := make(chan int, 128)
	sum := 0
	race := newRace()
	for g := 0; g < n; g++ {
		race.add(func() {
			for v := 0; v < each; v++ {
				ch <- v
			}
		})
	}
	race.add(func() {
		for i := 0; i < n*each; i++ {
			sum += <-ch
		}
	})
	elapsed := race.run()
	check(sum == n*sumTo(each), "sum %d", sum)
	return result{ops: n * each, elapsed: elapsed}
}

// A token goes round n goroutines over n unbuffered channels, each adds one to it; per hop.
func benchRingN(n int) result {
	laps := share(2_000_000, n)
	links := make([]chan int, n+1)
	for i := range links {
		links[i] = make(chan int)
	}
	var ready, wg sync.WaitGroup
	ready.Add(n)
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func(in <-chan int, out chan<- int) {
			defer wg.Done()
			ready.Done()
			for lap := 0; lap < laps; lap++ {
				out <- 1 + <-in
			}
		}(links[i], links[i+1])
	}
	ready.Wait()
	token := 0
	start := time.Now()
	for lap := 0; lap < laps; lap++ {
		links[0] <- token
		token = <-links[n]
	}
	elapsed := time.Since(start)
	wg.Wait()
	check(token == n*laps, "token %d", token)
	return result{ops: token, elapsed: elapsed}
}

// A select over n unbuffered channels, of which one after the other is sent to; per receive.
func benchSelectN(n int) result {
	receives := maxOf(2_000, share(10_000_000, 10*n))
	channels := make([]chan int, n)
	cases := make([]reflect.SelectCase, n)
	for i := range channels {
		channels[i] = make(chan int)
		cases[i] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(channels[i])}
	}
	var wg sync.WaitGroup
	wg.Add(1)
	sum := 0
	start := time.Now()
	go func() {
		defer wg.Done()
		for i := 0; i < receives; i++ {
			channels[i*7_919%n] <- i
		}
	}()
	for i := 0; i < receives; i++ {
		_, v, _ := reflect.Select(cases)
		sum += int(v.Int())
	}
	elapsed := time.Since(start)
	wg.Wait()
	check(sum == sumTo(receives), "sum %d", sum)
	return result{ops: receives, elapsed: elapsed}
}

var scaleScenarios = []scenario{
	{name: "yield_n", sized: benchYieldN, n: 1_000},
	{name: "spawn_n", sized: benchSpawnN, n: 1_000},
	{name: "park_n", sized: benchParkN, n: 1_000},
	{name: "mutex_n", sized: benchMutexN, n: 1_000},
	{name: "timeout_n", sized: benchTimeoutN, n: 1_000},
	{name: "pairs_n", sized: benchPairsN, n: 1_000},
	{name: "fan_in_n", sized: benchFanInN, n: 1_000},
	{name: "ring_n", sized: benchRingN, n: 1_000},
	{name: "select_n", sized: benchSelectN, n: 1_000},
}
