// Go's half of the comparison: the yardstick for weft. The files beside this one hold the scenarios, a theme each, in the same
// order, with the same names, counts and checks, as those of the same name in ../weft, so that the two can be read side
// by side. Builds with Go 1.19 and later, without a module:
//
//	go build -o go_bench *.go && GOMAXPROCS=2 ./go_bench yield pingpong
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// result is what one scenario found out; ops is the number of operations that elapsed is divided by.
type result struct {
	ops     int
	elapsed time.Duration
	bytes   float64 // resident bytes per operation; 0: not measured
}

// scenario has one of the two functions: run is of one size, sized of any; n is its size when the command line names none.
type scenario struct {
	name  string
	run   func() result
	sized func(n int) result
	n     int
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
	fmt.Fprintln(out, "usage: go_bench [--list | --version | scenario[=size]...]")
	fmt.Fprintln(out, "Runs the scenarios (without names: all) and prints one JSON line each. GOMAXPROCS sets the processors.")
}

// all of them, in the order of the files.
func allScenarios() []scenario {
	var all []scenario
	for _, some := range [][]scenario{goroutineScenarios, channelScenarios, selectScenarios, timerScenarios, lockScenarios,
		contextScenarios, poolScenarios, scaleScenarios} {
		all = append(all, some...)
	}
	return all
}

// find returns the scenario that the argument names, with the size it asks for: `yield`, `yield=1000`.
func find(all []scenario, argument string) (scenario, error) {
	name, size, hasSize := strings.Cut(argument, "=")
	for _, s := range all {
		if s.name != name {
			continue
		}
		if !hasSize {
			return s, nil
		}
		n, err := strconv.Atoi(size)
		if s.sized == nil || err != nil || n < 1 {
			return s, fmt.Errorf("%q: no such size, or the scenario has only one", argument)
		}
		s.n = n
		return s, nil
	}
	return scenario{}, fmt.Errorf("no scenario %q (see --list)", name)
}

func main() {
	all := allScenarios()
	var chosen []scenario
	for _, argument := range os.Args[1:] {
		switch argument {
		case "-h", "--help":
			usage(os.Stdout)
			return
		case "--list":
			for _, s := range all {
				fmt.Println(s.name)
			}
			return
		case "--version":
			fmt.Printf("%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return
		}
		s, err := find(all, argument)
		if err != nil {
			fmt.Fprintf(os.Stderr, "go_bench: %v\n", err)
			usage(os.Stderr)
			os.Exit(2)
		}
		chosen = append(chosen, s)
	}
	if len(chosen) == 0 {
		chosen = all
	}
	out := json.NewEncoder(os.Stdout)
	for _, s := range chosen {
		r := s.measure()
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

func (s scenario) measure() result {
	if s.sized != nil {
		return s.sized(s.n)
	}
	return s.run()
}
