// Go's half of the comparison: contexts. Read beside weft/contexts.cpp.
package main

import (
	"context"
	"time"
)

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

var contextScenarios = []scenario{
	{name: "context_cancel", run: benchContextCancel},
	{name: "context_timeout", run: benchContextTimeout},
	{name: "context_tree", run: benchContextTree},
}
